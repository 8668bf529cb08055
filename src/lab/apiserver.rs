//! A real API server for a lab or a test: etcd and kube-apiserver from a folder of programs,
//! with keys of their own that are worth nothing elsewhere.
//!
//! There is no scheduler, controller manager or kubelet; whoever starts it plays what it needs
//! of them. Versions from 1.20 on will do.

mod keys;

use std::ffi::OsString;
use std::fs;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::json;

use super::netns;
use crate::cluster::kubernetes::client::{self, ClientSettings};

/// The environment variable that names the folder of programs, as users of envtest know it.
pub const ASSETS: &str = "KUBEBUILDER_ASSETS";
/// Where Services get their addresses from.
pub const SERVICE_RANGE: &str = "10.96.0.0/16";
/// How long a server may take from its start until it is ready, on a busy machine.
pub const READY_LIMIT: Duration = Duration::from_secs(120);
/// For how long tokens are good, in seconds: longer than any lab lives.
const TOKEN_SECONDS: i64 = 365 * 24 * 3600;
/// What tokens are issued by and for.
const ISSUER: &str = "https://kubernetes.default.svc";

/// Where an API server's programs, files and ports are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The folder with `etcd` and `kube-apiserver`.
    pub assets: PathBuf,
    /// Its keys, data and kubeconfig; nobody else may look into it.
    pub folder: PathBuf,
    /// What it listens on, and what its certificate is for.
    pub address: SocketAddr,
    /// The ports of etcd on the loopback interface: for clients, and for peers it has none of.
    pub etcd_ports: [u16; 2],
}

/// The folder that `given` or else the environment names.
///
/// # Errors
/// Neither does, or a program is missing there.
pub fn assets(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let named = given.map(Path::to_owned).or_else(|| std::env::var_os(ASSETS).map(PathBuf::from));
    let folder = named.filter(|folder| !folder.as_os_str().is_empty()).with_context(|| {
        format!(
            "no programs of Kubernetes: --kube-assets or {ASSETS} must name a folder with etcd \
             and kube-apiserver"
        )
    })?;
    for program in ["etcd", "kube-apiserver"] {
        let file = folder.join(program);
        if !file.is_file() {
            bail!("{} is not there; {ASSETS} must name a folder that has it", file.display());
        }
    }
    folder.canonicalize().with_context(|| folder.display().to_string())
}

impl Setup {
    /// One on free ports of 127.0.0.1.
    ///
    /// # Errors
    /// There are no free ports.
    pub fn on_loopback(assets: PathBuf, folder: PathBuf) -> anyhow::Result<Self> {
        let [server, client, peer] = free_ports()?;
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), server);
        Ok(Self { assets, folder, address, etcd_ports: [client, peer] })
    }

    /// One in a network namespace of its own, where no port is taken.
    pub fn at(assets: PathBuf, folder: PathBuf, address: IpAddr) -> Self {
        let address = SocketAddr::new(address, 6443);
        Self { assets, folder, address, etcd_ports: [2379, 2380] }
    }

    /// Makes the folder, the keys and the administrator's kubeconfig. What is there from
    /// earlier stays, so that a server that is started again knows its clients.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn prepare(&self) -> anyhow::Result<()> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.with_context(|| format!("cannot make {}", self.folder.display()))?;
        if !self.kubeconfig().exists() {
            keys::write(&self.folder, self.address.ip())?;
            let user = json!({
                "client-certificate": self.file("admin.crt"),
                "client-key": self.file("admin.key"),
            });
            self.write_kubeconfig(&self.kubeconfig(), "admin", "default", &user)?;
        }
        Ok(())
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.file("kubeconfig")
    }

    /// The certificate that the server's own is signed with.
    pub fn ca(&self) -> PathBuf {
        self.file("ca.crt")
    }

    /// Where the server is.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Writes a kubeconfig for whom `token` belongs to, at home in `namespace`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_token_kubeconfig(
        &self,
        file: &Path,
        namespace: &str,
        token: &str,
    ) -> anyhow::Result<()> {
        self.write_kubeconfig(file, "token", namespace, &json!({ "token": token }))
    }

    fn write_kubeconfig(
        &self,
        file: &Path,
        name: &str,
        namespace: &str,
        user: &serde_json::Value,
    ) -> anyhow::Result<()> {
        let cluster = json!({"server": self.url(), "certificate-authority": self.ca()});
        let text = serde_yaml::to_string(&json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "lab", "context":
                {"cluster": "lab", "user": name, "namespace": namespace}}],
            "current-context": "lab",
        }))
        .context("kubeconfig")?;
        write_private(file, &text)
    }

    /// What starts etcd.
    ///
    /// # Errors
    /// The program cannot be run.
    pub fn etcd_command(&self) -> anyhow::Result<Vec<OsString>> {
        let program = self.assets.join("etcd");
        let help = help(&program)?;
        let [client, peer] = self.etcd_ports.map(|port| format!("http://127.0.0.1:{port}"));
        let mut command = vec![program.into_os_string()];
        let mut option = |name: &str, value: &str| command.push(format!("--{name}={value}").into());
        option("name", "default");
        option("data-dir", &self.file("etcd").to_string_lossy());
        option("listen-client-urls", &client);
        option("advertise-client-urls", &client);
        option("listen-peer-urls", &peer);
        option("initial-advertise-peer-urls", &peer);
        option("initial-cluster", &format!("default={peer}"));
        // its data is worth nothing after a power failure; etcd knows this since 3.4.15
        if help.contains("--unsafe-no-fsync") {
            command.push("--unsafe-no-fsync".into());
        }
        Ok(command)
    }

    /// What starts kube-apiserver.
    ///
    /// # Errors
    /// The program cannot be run.
    pub fn server_command(&self) -> anyhow::Result<Vec<OsString>> {
        let program = self.assets.join("kube-apiserver");
        // until 1.20 a Node has one range of pods unless this is on; later it cannot be said
        let is_asked_for = help(&program)?.contains("IPv6DualStack=true|false (ALPHA");
        let mut command = vec![program.into_os_string()];
        let mut option = |name: &str, value: &str| command.push(format!("--{name}={value}").into());
        let file = |name: &str| self.file(name).to_string_lossy().into_owned();
        let address = self.address.ip().to_string();
        option("bind-address", &address);
        option("advertise-address", &address);
        option("secure-port", &self.address.port().to_string());
        option("etcd-servers", &format!("http://127.0.0.1:{}", self.etcd_ports[0]));
        option("tls-cert-file", &file("server.crt"));
        option("tls-private-key-file", &file("server.key"));
        option("client-ca-file", &file("ca.crt"));
        option("cert-dir", &self.folder.to_string_lossy());
        // 1.20 wants all of these; later versions know them too
        option("service-account-issuer", ISSUER);
        option("api-audiences", ISSUER);
        option("service-account-key-file", &file("tokens.pub"));
        option("service-account-signing-key-file", &file("tokens.key"));
        option("authorization-mode", "RBAC");
        // there is no controller that gives namespaces their account `default`
        option("disable-admission-plugins", "ServiceAccount");
        option("service-cluster-ip-range", SERVICE_RANGE);
        option("endpoint-reconciler-type", "none");
        option("allow-privileged", "true");
        option("profiling", "false");
        if is_asked_for {
            option("feature-gates", "IPv6DualStack=true");
        }
        Ok(command)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// What a program says about its options.
fn help(program: &Path) -> anyhow::Result<String> {
    let said = Command::new(program).arg("--help").output();
    let said = said.with_context(|| format!("cannot run {}", program.display()))?;
    Ok(String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned())
}

/// Writes a file that nobody else can read.
fn write_private(file: &Path, text: &str) -> anyhow::Result<()> {
    let write = || {
        fs::write(file, "")?;
        fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
        fs::write(file, text)
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}

/// Three ports of 127.0.0.1 that nobody listens on. They are below those that the kernel gives
/// to clients, so that a stopped server's port is still free when it comes back.
fn free_ports() -> anyhow::Result<[u16; 3]> {
    let (first, last) = (20_000, 32_000);
    // others look for ports at the same time: each begins somewhere else
    let begin = (std::process::id() * 37 + thread_number() * 1009) % (last - first);
    let candidates = (0..last - first).map(|step| first + (begin + step) % (last - first));
    let mut found = Vec::new();
    for port in candidates.filter_map(|port| u16::try_from(port).ok()) {
        // held until all are found
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            found.push((port, listener));
        }
        if let [(a, _), (b, _), (c, _)] = found.as_slice() {
            return Ok([*a, *b, *c]);
        }
    }
    bail!("no free ports between {first} and {last}")
}

/// Another number for each call.
fn thread_number() -> u32 {
    static CALLS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// Does `work` with a client as `kubeconfig` says, inside the network namespace `namespace` or
/// where we are.
///
/// # Errors
/// The kubeconfig cannot be read, the namespace cannot be entered, or what `work` fails with.
pub fn ask<T, F>(
    kubeconfig: &Path,
    namespace: Option<&str>,
    work: impl FnOnce(Client) -> F + Send,
) -> anyhow::Result<T>
where
    T: Send,
    F: Future<Output = anyhow::Result<T>>,
{
    let run = || {
        // one thread does everything, so that sockets are made where it is
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { work(client(kubeconfig).await?).await })
    };
    match namespace {
        Some(name) => netns::within(name, run),
        // the caller may be part of a runtime, which takes no other within it
        None => std::thread::scope(|scope| {
            let worker = scope.spawn(run);
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        }),
    }
}

/// A client as this kubeconfig says.
///
/// # Errors
/// The file cannot be read or names keys that cannot be.
pub async fn client(kubeconfig: &Path) -> anyhow::Result<Client> {
    let settings = ClientSettings { kubeconfig: Some(kubeconfig.to_owned()), context: None };
    Ok(client::connect(&settings).await?)
}

/// Waits until the server says that it is ready: its default roles and namespaces are there.
/// `ended` says what has ended meanwhile, if anything has.
///
/// # Errors
/// Something has ended, or [`READY_LIMIT`] has passed.
pub fn wait_ready(
    kubeconfig: &Path,
    namespace: Option<&str>,
    ended: impl Fn() -> Option<String> + Send + Sync,
) -> anyhow::Result<()> {
    ask(kubeconfig, namespace, |client| async move {
        let start = Instant::now();
        loop {
            let request = http_get("/readyz")?;
            let Err(error) = client.request_text(request).await else { return Ok(()) };
            if let Some(what) = ended() {
                bail!("{what}");
            }
            if start.elapsed() > READY_LIMIT {
                return Err(error).context(format!("not ready after {READY_LIMIT:?}"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
}

fn http_get(path: &str) -> anyhow::Result<hyper::Request<Vec<u8>>> {
    hyper::Request::get(path).body(Vec::new()).context("request")
}

/// A token for this service account, as the server issues them.
///
/// # Errors
/// There is no such account, or the server does not answer.
pub async fn create_token(
    client: Client,
    namespace: &str,
    account: &str,
) -> anyhow::Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client, namespace);
    let request = TokenRequest {
        spec: TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..Default::default() },
        ..Default::default()
    };
    let answer = accounts.create_token_request(account, &PostParams::default(), &request).await;
    let answer = answer.with_context(|| format!("no token for {namespace}/{account}"))?;
    Ok(answer.status.context("the server gave no token")?.token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_for_two_servers_differ() {
        let (one, two) = (free_ports().unwrap(), free_ports().unwrap());
        assert!(one.iter().all(|port| !two.contains(port)), "{one:?} and {two:?}");
    }

    #[test]
    fn a_folder_without_the_programs_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = assets(Some(folder.path())).unwrap_err().to_string();
        assert!(error.contains("etcd is not there; KUBEBUILDER_ASSETS"), "{error}");
    }

    #[test]
    fn keys_are_private_and_stay() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("api");
        let setup = Setup::at("/nowhere".into(), inner.clone(), [10, 0, 0, 200].into());
        setup.prepare().unwrap();
        assert_eq!(fs::metadata(&inner).unwrap().permissions().mode() & 0o777, 0o700);
        for file in ["ca.crt", "server.key", "admin.key", "tokens.key", "kubeconfig"] {
            let mode = fs::metadata(inner.join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        let before = fs::read(setup.ca()).unwrap();
        setup.prepare().unwrap();
        assert_eq!(fs::read(setup.ca()).unwrap(), before);
        let config = fs::read_to_string(setup.kubeconfig()).unwrap();
        assert!(config.contains("server: https://10.0.0.200:6443"), "{config}");
    }
}
