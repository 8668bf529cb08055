//! Runs a program to its end, or to the end of our patience.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::figures::{Figures, Op};
use super::own::OwnWrites;

/// The most of what a program complains that is kept, in octets.
const MOST_COMPLAINT: usize = 4096;

/// Why a program did not do what it was to do.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It cannot be started.
    #[error("cannot run {}: {source}", program.display())]
    Start {
        /// Which.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It did not end in time and was killed.
    #[error("{} did not end within {} s and was killed", program.display(), limit.as_secs_f32())]
    Hung {
        /// Which.
        program: PathBuf,
        /// How long it had.
        limit: Duration,
    },
    /// It ended and said no.
    #[error("{} failed{}: {complaint}", program.display(), code.map_or(String::new(), |code| format!(" ({code})")))]
    Refused {
        /// Which.
        program: PathBuf,
        /// What it ended with; `None` if a signal ended it.
        code: Option<i32>,
        /// What it wrote to standard error, trimmed.
        complaint: String,
    },
}

impl CommandError {
    /// What the program complained of; empty if it did not get to that.
    pub fn complaint(&self) -> &str {
        match self {
            CommandError::Start { .. } | CommandError::Hung { .. } => "",
            CommandError::Refused { complaint, .. } => complaint,
        }
    }

    /// Whether the xtables lock was held by another program for as long as we wait.
    pub fn is_lock_held(&self) -> bool {
        /// `RESOURCE_PROBLEM` of iptables.
        const RESOURCE_PROBLEM: i32 = 4;
        match self {
            CommandError::Refused { code: Some(RESOURCE_PROBLEM), complaint, .. } => {
                complaint.contains("xtables lock")
            }
            CommandError::Start { .. }
            | CommandError::Hung { .. }
            | CommandError::Refused { .. } => false,
        }
    }
}

impl CommandError {
    /// Whether the program took objection to what it was given, so that something else might
    /// please it.
    pub(super) fn is_about_content(&self) -> bool {
        matches!(self, CommandError::Refused { code: Some(_), .. }) && !self.is_lock_held()
    }
}

/// Runs programs in the network namespace of the thread, and keeps count.
#[derive(Clone, Debug)]
pub(super) struct Runner {
    /// How long a program may take.
    pub limit: Duration,
    /// What we write ourselves.
    pub own: OwnWrites,
    /// What was run.
    pub figures: Figures,
}

impl Runner {
    /// Runs a program that changes nothing, and returns what it printed.
    pub(super) async fn read(
        &self,
        op: Op,
        program: &Path,
        args: &[&str],
    ) -> Result<String, CommandError> {
        let child = self.start(op, program, args)?;
        self.counted(op, program, self.finish(program, child, "")).await
    }

    /// Runs a program that writes to the kernel what it is given.
    pub(super) async fn write(
        &self,
        op: Op,
        program: &Path,
        args: &[&str],
        input: &str,
    ) -> Result<(), CommandError> {
        let child = self.start(op, program, args)?;
        let write = self.own.begin(program, child.id());
        let result = self.counted(op, program, self.finish(program, child, input)).await;
        if result.is_err() {
            write.nothing_written();
        }
        result.map(drop)
    }

    fn start(&self, op: Op, program: &Path, args: &[&str]) -> Result<Child, CommandError> {
        start(program, args).inspect_err(|_| self.figures.count(op, false, Duration::ZERO))
    }

    async fn counted(
        &self,
        op: Op,
        program: &Path,
        work: impl Future<Output = Result<String, CommandError>>,
    ) -> Result<String, CommandError> {
        let begin = Instant::now();
        let result = work.await;
        self.figures.count(op, result.is_ok(), begin.elapsed());
        let taken = begin.elapsed();
        tracing::debug!(program = %program.display(), ok = result.is_ok(), ?taken, "ran");
        result
    }

    async fn finish(
        &self,
        program: &Path,
        mut child: Child,
        input: &str,
    ) -> Result<String, CommandError> {
        let group = child.id();
        match tokio::time::timeout(self.limit, talk(&mut child, input)).await {
            Ok(Ok((true, _, printed, _))) => Ok(printed),
            Ok(Ok((false, code, _, complaint))) => {
                Err(CommandError::Refused { program: program.into(), code, complaint })
            }
            Ok(Err(source)) => Err(CommandError::Start { program: program.into(), source }),
            Err(_) => {
                kill(&mut child, group).await;
                Err(CommandError::Hung { program: program.into(), limit: self.limit })
            }
        }
    }
}

/// Starts it as the leader of a group of its own, so that whatever it starts can be killed
/// with it.
fn start(program: &Path, args: &[&str]) -> Result<Child, CommandError> {
    Command::new(program)
        .args(args)
        // Messages are read by us, and no locale is to change them.
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| CommandError::Start { program: program.into(), source })
}

/// Success, exit code, what it printed and what it complained of.
async fn talk(child: &mut Child, input: &str) -> io::Result<(bool, Option<i32>, String, String)> {
    let mut stdin = child.stdin.take().expect("asked for a pipe");
    let mut stdout = child.stdout.take().expect("asked for a pipe");
    let mut stderr = child.stderr.take().expect("asked for a pipe");
    let feed = async move {
        // Who ends at an error reads no further; its exit code tells.
        let _ = stdin.write_all(input.as_bytes()).await;
    };
    let (mut printed, mut complaint) = (Vec::new(), Vec::new());
    let listen = async {
        stderr.read_to_end(&mut complaint).await?;
        complaint.truncate(MOST_COMPLAINT);
        io::Result::Ok(())
    };
    let ((), read, heard) = tokio::join!(feed, stdout.read_to_end(&mut printed), listen);
    read?;
    heard?;
    let status = child.wait().await?;
    let text = |octets: Vec<u8>| String::from_utf8_lossy(&octets).trim_end().to_owned();
    let complaint = text(complaint).trim().to_owned();
    Ok((status.success(), status.code(), text(printed), complaint))
}

async fn kill(child: &mut Child, group: Option<u32>) {
    let group = group.and_then(|id| i32::try_from(id).ok()).filter(|id| *id > 1);
    if let Some(group) = group {
        // It may just have ended.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    let _ = child.kill().await;
}
