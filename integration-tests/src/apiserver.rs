//! A real API server for a test: etcd and kube-apiserver on free ports of the loopback
//! interface, from the folder that `KUBEBUILDER_ASSETS` names.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};
use brindle::lab::apiserver::{self, Setup};
use kube::Client;
use tempfile::TempDir;

use crate::process::Process;
use crate::skip;

/// How often a start is tried: another test may be quicker to take a port that was free.
const ATTEMPTS: usize = 3;

/// A running API server that nothing else uses, not even controllers. It ends, and its data go,
/// when this is dropped or the test ends in any other way.
#[derive(Debug)]
pub struct ApiServer {
    server: Option<Process>,
    _etcd: Process,
    setup: Setup,
    folder: TempDir,
    kubectl: PathBuf,
}

impl ApiServer {
    /// Starts one and waits until it is ready; `None`, said loudly, where there are no programs
    /// to start, and `test` is to return.
    ///
    /// # Panics
    /// If the programs are there, but do not work.
    #[track_caller]
    pub fn start(test: &str) -> Option<Self> {
        let (assets, kubectl) = programs(test)?;
        let mut last = None;
        for _ in 0..ATTEMPTS {
            match Self::try_start(&assets, &kubectl) {
                Ok(started) => return Some(started),
                Err(error) => last = Some(error),
            }
        }
        panic!("no API server: {:#}", last.expect("it was tried"));
    }

    fn try_start(assets: &Path, kubectl: &Path) -> Result<Self> {
        let folder = tempfile::tempdir().context("a folder")?;
        let setup = Setup::on_loopback(assets.to_owned(), folder.path().join("api"))?;
        setup.prepare()?;
        let etcd = start(folder.path(), "etcd", &setup.etcd_command()?)?;
        let kubectl = kubectl.to_owned();
        let mut this = Self { server: None, _etcd: etcd, setup, folder, kubectl };
        this.run_server()?;
        Ok(this)
    }

    fn run_server(&mut self) -> Result<()> {
        let command = self.setup.server_command()?;
        let server = self.server.insert(start(self.folder.path(), "kube-apiserver", &command)?);
        // asked from another thread
        let server = std::sync::Mutex::new(server);
        apiserver::wait_ready(&self.setup.kubeconfig(), None, || {
            server.lock().expect("nobody panics with it").running().err()
        })
    }

    /// Kills the server; its data stay.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Starts it again on the same data and port, and waits until it is ready.
    ///
    /// # Panics
    /// If it does not come up.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.stop();
        self.run_server().expect("it started before");
    }

    /// Where it is: `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.setup.url()
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.setup.kubeconfig()
    }

    /// The certificate of its certificate authority.
    pub fn ca(&self) -> PathBuf {
        self.setup.ca()
    }

    /// A folder for the test's own files, which goes with the server.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// An administrator's client; it belongs to the caller's runtime.
    ///
    /// # Panics
    /// If its own kubeconfig is not good.
    pub async fn client(&self) -> Client {
        apiserver::client(&self.kubeconfig()).await.expect("our own kubeconfig is good")
    }

    /// A token for this service account, which must be there.
    ///
    /// # Panics
    /// If the server issues none.
    #[track_caller]
    pub fn create_token(&self, namespace: &str, account: &str) -> String {
        let (namespace, account) = (namespace.to_owned(), account.to_owned());
        let token = apiserver::ask(&self.kubeconfig(), None, |client| async move {
            apiserver::create_token(client, &namespace, &account).await
        });
        token.expect("a token")
    }

    /// A kubeconfig that knows whoever uses it by this token. `name` is the file's own.
    ///
    /// # Panics
    /// If it cannot be written.
    #[track_caller]
    pub fn kubeconfig_with_token(&self, name: &str, token: &str) -> PathBuf {
        let file = self.folder.path().join(format!("{name}.kubeconfig"));
        self.setup
            .write_token_kubeconfig(&file, "default", token)
            .expect("the folder takes a file");
        file
    }

    /// Runs kubectl as administrator; it must end well. Returns what it printed.
    #[track_caller]
    pub fn kubectl(&self, words: &[&str]) -> String {
        good(words, self.try_kubectl(&self.kubeconfig(), words, ""))
    }

    /// The same, however it ends, as whoever this kubeconfig is for; `input` is what it reads.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn try_kubectl(&self, kubeconfig: &Path, words: &[&str], input: &str) -> Result<Output> {
        let mut child = Command::new(&self.kubectl)
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .arg("--cache-dir")
            .arg(self.folder.path().join("kubectl-cache"))
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run kubectl")?;
        let sent = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
        let output = child.wait_with_output().context("kubectl")?;
        if output.status.success() {
            sent.context("kubectl did not read its input")?;
        }
        Ok(output)
    }

    /// Creates or changes the objects of these manifests: YAML, which kubectl takes for JSON if
    /// it begins with a `{`.
    #[track_caller]
    pub fn apply(&self, manifests: &str) -> String {
        let words = ["apply", "-f", "-"];
        good(&words, self.try_kubectl(&self.kubeconfig(), &words, manifests))
    }
}

#[track_caller]
fn good(words: &[&str], output: Result<Output>) -> String {
    let output = output.expect("kubectl runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {words:?}:\n{text}\n{said}");
    text.into_owned()
}

/// The folder of etcd and kube-apiserver, and kubectl; `None`, said loudly, if the environment
/// names none.
///
/// # Panics
/// If it names one without them.
#[track_caller]
pub fn programs(test: &str) -> Option<(PathBuf, PathBuf)> {
    let set = std::env::var_os(apiserver::ASSETS).is_some_and(|folder| !folder.is_empty());
    let kubectl = skip::find("kubectl");
    let missing = match (set, &kubectl) {
        (false, _) => Some(format!(
            "{} names no folder of etcd and kube-apiserver to test with",
            apiserver::ASSETS
        )),
        (true, None) => Some("not installed: kubectl".to_owned()),
        (true, Some(_)) => None,
    };
    if !skip::unless(test, missing) {
        return None;
    }
    Some((apiserver::assets(None).expect("it is set"), kubectl?))
}

fn start(folder: &Path, name: &str, command: &[std::ffi::OsString]) -> Result<Process> {
    match command {
        [program, args @ ..] => Process::start_here(name, folder, program, args),
        [] => bail!("no command"),
    }
}
