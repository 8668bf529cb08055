//! The way to the API server: where it is found, who we are to it, and a connection that
//! notices when nobody is at the other end any more.
//!
//! Looked at in this order: the configuration's kubeconfig; `KUBECONFIG`; the service account
//! of the pod that we run in; `~/.kube/config`. The first that there is counts, right or wrong:
//! talking to another cluster than the one that was meant would be worse than not talking.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::header::{HeaderValue, USER_AGENT};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tower::{BoxError, ServiceExt};

/// How long to wait for a connection. Requests have no time limit of their own: a watch may
/// be silent for minutes. Who asks for something short gives it one, [`REQUEST`].
const CONNECT: Duration = Duration::from_secs(10);
/// The longest that a request other than a watch may take.
pub const REQUEST: Duration = Duration::from_secs(30);
/// A silent connection is asked whether it still stands after this time,
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
/// and again after this,
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// so many times,
const KEEPALIVE_PROBES: u32 = 3;
/// and given up when what was sent has not arrived for this long: together well under a minute.
const UNACKNOWLEDGED: Duration = Duration::from_secs(45);

/// Where the API server is, as far as the configuration says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientSettings {
    /// A kubeconfig file; `None` looks around as described above.
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; `None` takes its `current-context`.
    pub context: Option<String>,
}

/// There is no way to the API server, for a reason on this machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConnectError {
    message: String,
}

impl ConnectError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// A client of the API server. Files are read here and now: the kubeconfig, certificates, the
/// token. Of them only a token's file is read again later (by the client, within a minute), so
/// that whoever is told 401 does best to connect anew. No connection is made yet.
pub async fn connect(settings: &ClientSettings) -> Result<Client, ConnectError> {
    let way = choose(settings, &Surroundings::look())?;
    let options =
        KubeConfigOptions { context: settings.context.clone(), ..KubeConfigOptions::default() };
    let config = match &way {
        Way::InCluster => Config::incluster().map_err(|error| {
            let hint = "accepted is a pod with a mounted service account token";
            ConnectError::new(format!("{way}: {error}; {hint}"))
        })?,
        Way::Files { files, .. } => {
            let kubeconfig = read_files(files)?;
            let names: Vec<_> = kubeconfig.contexts.iter().map(|c| c.name.clone()).collect();
            Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .map_err(|error| ConnectError::new(explain(&way, &error, &names)))?
        }
    };
    if let Some(proxy) = &config.proxy_url {
        let message =
            format!("{way}: proxy-url: {proxy} is not supported; accepted is a direct connection");
        return Err(ConnectError::new(message));
    }
    // A credential plug-in of the kubeconfig is run here, and may take its time.
    tokio::task::spawn_blocking(move || {
        build(config).map_err(|error| ConnectError::new(format!("{way}: {error}")))
    })
    .await
    .map_err(|error| ConnectError::new(format!("the client could not be made: {error}")))?
}

/// What kube's own builder makes, on a connector that notices dead connections.
fn build(mut config: Config) -> Result<Client, kube::Error> {
    let agent = concat!("brindle/", env!("CARGO_PKG_VERSION"));
    config.headers.push((USER_AGENT, HeaderValue::from_static(agent)));
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_nodelay(true);
    connector.set_keepalive(Some(KEEPALIVE_IDLE));
    connector.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    connector.set_keepalive_retries(Some(KEEPALIVE_PROBES));
    connector.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let http = HttpClient::builder(TokioExecutor::new()).build::<_, Body>(connector);
    let http = http.map_err(BoxError::from);
    let builder = ClientBuilder::new(http, config.default_namespace.clone())
        .with_layer(&config.extra_headers_layer()?);
    let base = config.base_uri_layer();
    Ok(match config.auth_layer()? {
        Some(auth) => builder.with_layer(&auth).with_layer(&base).build(),
        None => builder.with_layer(&base).build(),
    })
}

/// What there is on this machine that could lead to an API server.
#[derive(Clone, Debug, Default)]
struct Surroundings {
    /// `KUBECONFIG`, its parts that are not empty.
    kubeconfig: Vec<PathBuf>,
    /// Whether we run in a pod.
    in_cluster: bool,
    /// `~/.kube/config`.
    home: Option<PathBuf>,
    /// Whether that is there.
    home_exists: bool,
}

impl Surroundings {
    fn look() -> Self {
        let kubeconfig = env::var_os("KUBECONFIG").unwrap_or_default();
        let set = |name| env::var_os(name).is_some_and(|value| value != OsStr::new(""));
        let home = env::home_dir().map(|home| home.join(".kube").join("config"));
        Self {
            kubeconfig: env::split_paths(&kubeconfig)
                .filter(|path| !path.as_os_str().is_empty())
                .collect(),
            in_cluster: set("KUBERNETES_SERVICE_HOST") && set("KUBERNETES_SERVICE_PORT"),
            home_exists: home.as_deref().is_some_and(Path::exists),
            home,
        }
    }
}

/// How the API server is found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    /// By kubeconfig files, of which the first that says something counts.
    Files {
        /// Who named them.
        named_by: &'static str,
        files: Vec<PathBuf>,
    },
    /// As a pod of the cluster.
    InCluster,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Files { named_by, files } => {
                let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
                write!(f, "{} ({named_by})", files.join(", "))
            }
            Way::InCluster => write!(f, "the pod's service account"),
        }
    }
}

fn choose(settings: &ClientSettings, here: &Surroundings) -> Result<Way, ConnectError> {
    let files = |named_by, files| Ok(Way::Files { named_by, files });
    if let Some(file) = &settings.kubeconfig {
        return files("source.kubeconfig", vec![file.clone()]);
    }
    if !here.kubeconfig.is_empty() {
        return files("KUBECONFIG", here.kubeconfig.clone());
    }
    // Only a kubeconfig has contexts: who names one does not mean the pod's own cluster.
    if here.in_cluster && settings.context.is_none() {
        return Ok(Way::InCluster);
    }
    if let Some(home) = here.home.clone().filter(|_| here.home_exists) {
        return files("the default", vec![home]);
    }
    let home = match &here.home {
        Some(home) => format!("there is no {}", home.display()),
        None => "there is no home directory".to_owned(),
    };
    let pod = match (here.in_cluster, &settings.context) {
        (true, Some(context)) => {
            format!("source.context is {context:?}, which a pod's service account does not have")
        }
        _ => "KUBERNETES_SERVICE_HOST and _PORT are not set, as they are in a pod".to_owned(),
    };
    Err(ConnectError::new(format!(
        "no way to the API server: source.kubeconfig is not set; KUBECONFIG is not set; {pod}; \
         {home}; set source.kubeconfig to a kubeconfig file"
    )))
}

fn read_files(files: &[PathBuf]) -> Result<Kubeconfig, ConnectError> {
    files.iter().try_fold(Kubeconfig::default(), |before, file| {
        Kubeconfig::read_from(file).and_then(|kubeconfig| before.merge(kubeconfig)).map_err(
            |error| {
                let message = match &error {
                    KubeconfigError::ReadConfig(error, _) => format!("cannot be read: {error}"),
                    KubeconfigError::Parse(error) => format!("is no kubeconfig: {error}"),
                    error => error.to_string(),
                };
                ConnectError::new(format!("{}: {message}", file.display()))
            },
        )
    })
}

/// What is wrong with a kubeconfig that could be read, and what would be right.
fn explain(way: &Way, error: &KubeconfigError, contexts: &[String]) -> String {
    let accepted = match contexts {
        [] => "it has none".to_owned(),
        contexts => format!("accepted are {}", contexts.join(", ")),
    };
    match error {
        KubeconfigError::CurrentContextNotSet => {
            format!("{way}: current-context is not set; set source.context: {accepted}")
        }
        KubeconfigError::LoadContext(name) => {
            format!("{way}: contexts: there is no {name:?}; {accepted}")
        }
        KubeconfigError::LoadClusterOfContext(name) => {
            format!("{way}: clusters: there is no {name:?}, which the context names")
        }
        KubeconfigError::MissingClusterUrl => {
            format!("{way}: clusters[].cluster.server is missing; accepted is https://host:port")
        }
        error => format!("{way}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(kubeconfig: &[&str], in_cluster: bool, home_exists: bool) -> Surroundings {
        Surroundings {
            kubeconfig: kubeconfig.iter().map(PathBuf::from).collect(),
            in_cluster,
            home: Some("/root/.kube/config".into()),
            home_exists,
        }
    }

    #[test]
    fn the_first_way_that_there_is_counts() {
        let own = |file: Option<&str>, context: Option<&str>| ClientSettings {
            kubeconfig: file.map(PathBuf::from),
            context: context.map(str::to_owned),
        };
        for (settings, here, want) in [
            (own(Some("/a"), None), here(&["/b"], true, true), "/a (source.kubeconfig)"),
            (own(None, None), here(&["/b", "/c"], true, true), "/b, /c (KUBECONFIG)"),
            (own(None, None), here(&[], true, true), "the pod's service account"),
            (own(None, Some("x")), here(&[], true, true), "/root/.kube/config (the default)"),
            (own(None, None), here(&[], false, true), "/root/.kube/config (the default)"),
        ] {
            let way = choose(&settings, &here).expect("a way");
            assert_eq!(way.to_string(), want, "{settings:?} {here:?}");
        }
    }

    #[test]
    fn no_way_says_what_was_tried() {
        let settings = ClientSettings::default();
        let error = choose(&settings, &here(&[], false, false)).expect_err("no way");
        assert_eq!(
            error.to_string(),
            "no way to the API server: source.kubeconfig is not set; KUBECONFIG is not set; \
             KUBERNETES_SERVICE_HOST and _PORT are not set, as they are in a pod; there is no \
             /root/.kube/config; set source.kubeconfig to a kubeconfig file"
        );
        let settings = ClientSettings { context: Some("lab".to_owned()), ..settings };
        let error = choose(&settings, &here(&[], true, false)).expect_err("no way").to_string();
        assert!(error.contains("source.context is \"lab\", which a pod's"), "{error}");
    }

    /// What connecting by a kubeconfig of this text says; `FILE` stands for its path.
    async fn connected(text: &str, context: Option<&str>) -> Result<(), String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("config");
        std::fs::write(&file, text).expect("a file");
        let settings =
            ClientSettings { kubeconfig: Some(file.clone()), context: context.map(str::to_owned) };
        let path = file.display().to_string();
        connect(&settings).await.map(drop).map_err(|error| error.to_string().replace(&path, "FILE"))
    }

    #[tokio::test]
    async fn a_wrong_kubeconfig_is_named_with_its_field() {
        let good = "
clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]
contexts: [{name: a, context: {cluster: c, user: u}}, {name: b, context: {cluster: d}}]
users: [{name: u, user: {token: t}}]
";
        assert_eq!(connected(good, Some("a")).await, Ok(()));
        let at = "FILE (source.kubeconfig)";
        for (text, context, want) in [
            (
                good,
                None,
                format!("{at}: current-context is not set; set source.context: accepted are a, b"),
            ),
            (good, Some("x"), format!("{at}: contexts: there is no \"x\"; accepted are a, b")),
            (
                good,
                Some("b"),
                format!("{at}: clusters: there is no \"d\", which the context names"),
            ),
            ("contexts: []", Some("x"), format!("{at}: contexts: there is no \"x\"; it has none")),
            (
                "{current-context: a, clusters: [{name: c, cluster: {}}], contexts: [{name: a, context: {cluster: c}}]}",
                None,
                format!(
                    "{at}: clusters[].cluster.server is missing; accepted is https://host:port"
                ),
            ),
        ] {
            assert_eq!(connected(text, context).await, Err(want), "{text} {context:?}");
        }
        let error = connected("[", None).await.expect_err("no YAML");
        assert!(error.starts_with("FILE: is no kubeconfig: "), "{error}");
        let settings = ClientSettings { kubeconfig: Some("/nowhere/config".into()), context: None };
        let error = connect(&settings).await.err().expect("no file").to_string();
        assert!(error.starts_with("/nowhere/config: cannot be read: No such file"), "{error}");
        let proxied = good.replace("server:", "proxy-url: 'http://p:1', server:");
        let error = connected(&proxied, Some("a")).await.expect_err("a proxy");
        assert!(error.starts_with(&format!("{at}: proxy-url: http://p:1/ is not")), "{error}");
    }
}
