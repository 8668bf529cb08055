//! A program running in a namespace: its log, its end.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::netns::Netns;
use crate::wait;

/// How many lines of a log a failing test shows.
const TAIL: usize = 40;

/// A running program. Killed when dropped; if that happens because the test failed, the
/// end of its log is printed.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` inside, standard output and error into a file `NAME.log` in
    /// `folder`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start<A: AsRef<OsStr>>(
        netns: &Arc<Netns>,
        name: &str,
        folder: &Path,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Self> {
        let place = Some(netns.clone());
        Self::launch(place, format!("{name} in {}", netns.name()), name, folder, program, args)
    }

    /// The same where the test itself is.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_here<A: AsRef<OsStr>>(
        name: &str,
        folder: &Path,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Self> {
        Self::launch(None, name.to_owned(), name, folder, program, args)
    }

    fn launch<A: AsRef<OsStr>>(
        netns: Option<Arc<Netns>>,
        called: String,
        name: &str,
        folder: &Path,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        // setpriv asks the kernel for the end of the program at the end of ours, then
        // becomes it: nothing is left running when a test is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program.as_ref()).args(args);
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = spawn(netns, command)
            .with_context(|| format!("cannot start {:?}", program.as_ref()))?;
        Ok(Self { name: called, child, log })
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().expect("process ids are positive"))
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// If it is not running any more.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal)
            .unwrap_or_else(|error| panic!("cannot send {signal} to {}: {error}", self.name));
    }

    /// Kills it with SIGKILL and waits for its end.
    pub fn kill(&mut self) {
        // It may have ended by itself: then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// If it does not within `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let name = self.name.clone();
        wait::until(&format!("the end of {name}"), limit, || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("still running".into()),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Whether it still runs; if not, how it ended.
    ///
    /// # Errors
    /// If it has ended.
    pub fn running(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("{} ended: {status}\n{}", self.name, self.tail())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// All that it has printed so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines that it printed.
    pub fn tail(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- last lines of {}\n{}\n----", self.name, self.tail());
        }
    }
}

/// The kernel ties "end with your parent" to the parent's thread, and tests come and go on
/// threads of their own: so one thread that stays starts all programs, and one that enters no
/// namespace those that stay where we are.
fn spawn(netns: Option<Arc<Netns>>, mut command: Command) -> std::io::Result<Child> {
    type Job = Box<dyn FnOnce() + Send>;
    static INSIDE: OnceLock<Sender<Job>> = OnceLock::new();
    static HERE: OnceLock<Sender<Job>> = OnceLock::new();
    let starter = if netns.is_some() { &INSIDE } else { &HERE }.get_or_init(|| {
        let (jobs, queue) = channel::<Job>();
        std::thread::spawn(move || queue.into_iter().for_each(|job| job()));
        jobs
    });
    let (answer, result) = channel();
    let job = Box::new(move || {
        if let Some(netns) = netns {
            netns.enter();
        }
        // The receiver waits below.
        let _ = answer.send(command.spawn());
    });
    starter.send(job).expect("the thread never ends");
    result.recv().expect("the job answers")
}
