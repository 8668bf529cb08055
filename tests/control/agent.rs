//! A server whose questions are answered by a closure.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use assert_cmd::Command;
use brindle::control::calls::CallCounts;
use brindle::control::server::{Limits, bind, serve_on};
use brindle::control::{Answer, Failure, Query, Request};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::skipped;

/// What is answered; `None` keeps the asker waiting.
pub(crate) type Reply = Option<Result<Answer, Failure>>;

/// A running server; stops when dropped.
pub(crate) struct Agent {
    pub(crate) socket: PathBuf,
    /// What it was asked.
    pub(crate) calls: CallCounts,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
    _folder: Option<TempDir>,
}

impl Agent {
    /// Answers with `reply` on a socket in a new folder.
    pub(crate) fn start(reply: impl FnMut(Query) -> Reply + Send + 'static) -> Self {
        Self::with_limits(Limits::default(), reply)
    }

    pub(crate) fn with_limits(
        limits: Limits,
        reply: impl FnMut(Query) -> Reply + Send + 'static,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut agent = Self::at(folder.path().join("run/brindle.sock"), limits, reply);
        agent._folder = Some(folder);
        agent
    }

    pub(crate) fn at(
        socket: PathBuf,
        limits: Limits,
        mut reply: impl FnMut(Query) -> Reply + Send + 'static,
    ) -> Self {
        let stop = CancellationToken::new();
        let (path, token) = (socket.clone(), stop.clone());
        let calls = CallCounts::default();
        let counted = calls.clone();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (sender, mut questions) = mpsc::channel::<Request>(16);
                let bound = bind(&path).unwrap();
                ready.send(()).unwrap();
                let answering = async {
                    let mut kept = Vec::new();
                    while let Some((query, to)) = questions.recv().await {
                        match reply(query) {
                            Some(answer) => drop(to.send(answer)),
                            None => kept.push(to),
                        }
                    }
                };
                tokio::join!(serve_on(bound, sender, token, limits, counted), answering);
            });
        });
        is_ready.recv().unwrap();
        Self { socket, calls, stop, thread: Some(thread), _folder: None }
    }

    /// The binary, told to ask here.
    pub(crate) fn brindle(&self, words: &[&str]) -> Command {
        let mut command = brindle(words);
        command.env("BRINDLE_SOCKET", &self.socket);
        command
    }

    /// What the binary wrote to standard output, and its exit code.
    pub(crate) fn run(&self, words: &[&str]) -> (String, i32) {
        let output = self.brindle(words).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(!complaint.contains("panicked"), "{words:?}: {complaint}");
        (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the agent's thread panicked");
        }
    }
}

/// Somebody who is neither root nor the agent's user, and may open its socket.
pub(crate) struct SomebodyElse {
    /// A program where they may run it.
    program: PathBuf,
}

impl SomebodyElse {
    const IDS: [&str; 3] = ["--reuid=65534", "--regid=65534", "--clear-groups"];

    /// With a copy of `program`; `None`, noted as skipped, where nobody can be somebody else.
    pub(crate) fn new(test: &str, agent: &Agent, program: &Path) -> Option<Self> {
        let tried = std::process::Command::new("setpriv").args(Self::IDS).arg("true").output();
        if !tried.is_ok_and(|output| output.status.success()) {
            skipped::note(test, "only root can ask as another");
            return None;
        }
        // Open to everybody, as for members of the group; the folder of the test is closed too.
        let open = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        open(&agent.socket, 0o666);
        let top = agent.socket.parent().unwrap().parent().unwrap();
        open(top, 0o755);
        // By a program: a file that we had open for writing could not be run while another
        // test's thread starts a program, which inherits what is open.
        let copy = top.join("program");
        let mut copying = std::process::Command::new("cp");
        assert!(copying.args([program, copy.as_path()]).status().unwrap().success());
        Some(Self { program: copy })
    }

    /// The program, run by them.
    pub(crate) fn command(&self) -> std::process::Command {
        let mut command = std::process::Command::new("setpriv");
        command.args(Self::IDS).arg(&self.program);
        command
    }
}

/// The binary, free of the surroundings.
pub(crate) fn brindle(words: &[&str]) -> Command {
    let mut command = Command::cargo_bin("brindle").unwrap();
    for name in ["BRINDLE_SOCKET", "NO_COLOR", "BRINDLE_LOG"] {
        command.env_remove(name);
    }
    command.args(words).timeout(Duration::from_secs(30));
    command
}

/// Waits until something holds; for at most ten seconds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "still not: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
