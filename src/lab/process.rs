//! The lab's processes: started so that they outlive us, known by more than a number.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, setsid};
use serde::{Deserialize, Serialize};

use super::netns;

/// Environment variable that marks every process of a lab with the lab's id.
pub const MARK: &str = "BRINDLE_LAB_ID";

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessId {
    /// Its number.
    pub pid: i32,
    /// When it started, in clock ticks since the machine did.
    pub started: u64,
}

/// What a process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Condition {
    /// It runs.
    Running,
    /// It was stopped with SIGSTOP.
    Stopped,
    /// It is gone.
    Ended,
}

impl ProcessId {
    /// The process that has the number `pid` now; `None` if there is none.
    pub fn of(pid: i32) -> Option<Self> {
        let (_, started) = stat(pid)?;
        Some(Self { pid, started })
    }

    /// What the process is doing.
    pub fn condition(self) -> Condition {
        match stat(self.pid) {
            Some((state, started)) if started == self.started => match state {
                'T' | 't' => Condition::Stopped,
                'Z' | 'X' => Condition::Ended,
                _ => Condition::Running,
            },
            _ => Condition::Ended,
        }
    }

    /// Sends `signal` if the process is still there. Says whether it was.
    ///
    /// # Errors
    /// No privilege.
    pub fn signal(self, signal: Signal) -> io::Result<bool> {
        if self.condition() == Condition::Ended {
            return Ok(false);
        }
        match kill(Pid::from_raw(self.pid), signal) {
            Ok(()) => Ok(true),
            Err(nix::errno::Errno::ESRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until the process is gone; says whether it is when `limit` has passed.
    pub fn wait_end(self, limit: Duration) -> bool {
        self.wait_until(Condition::Ended, limit)
    }

    /// Waits until the process is in this condition; says whether it is when `limit` has
    /// passed.
    pub fn wait_until(self, wanted: Condition, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.condition() != wanted {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }
}

/// State letter and start time from `/proc/PID/stat`.
fn stat(pid: i32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&text)
}

fn parse_stat(text: &str) -> Option<(char, u64)> {
    // the program's name in parentheses may hold anything, parentheses and blanks included
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let started = fields.nth(18)?.parse().ok()?;
    Some((state, started))
}

/// How a process is to be started.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// This program; starts the other one detached.
    pub program: &'a Path,
    /// The network namespace it lives in.
    pub namespace: &'a str,
    /// Where its output goes, appended.
    pub log: &'a Path,
    /// The lab's id.
    pub mark: &'a str,
    /// The program and its arguments.
    pub command: &'a [&'a OsStr],
}

/// Starts a process in a session of its own, so that it outlives us and the terminal.
///
/// # Errors
/// The namespace, the log file or the program cannot be opened.
pub fn start(how: &Start<'_>) -> anyhow::Result<ProcessId> {
    netns::within(how.namespace, || {
        let log = append(how.log)?;
        let child = Command::new(how.program)
            .args(["lab", "detach", "--"])
            .args(how.command)
            .env(MARK, how.mark)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("log file")?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {}", how.program.display()))?;
        let pid = i32::try_from(child.id()).context("process number")?;
        ProcessId::of(pid).context("the process ended at once")
    })
}

/// Opens a log file to write at its end.
///
/// # Errors
/// It cannot be opened.
pub fn append(log: &Path) -> anyhow::Result<File> {
    let open = OpenOptions::new().create(true).append(true).open(log);
    open.with_context(|| format!("cannot write {}", log.display()))
}

/// Becomes `command` in a session of its own. Returns only if that fails.
pub fn detach(command: &[std::ffi::OsString]) -> io::Error {
    // fails only for a group leader, which a freshly started child is not
    let _ = setsid();
    match command.split_first() {
        Some((program, args)) => Command::new(program).args(args).exec(),
        None => io::ErrorKind::InvalidInput.into(),
    }
}

/// All processes but ourselves that carry the mark `id` or live in one of the network
/// namespaces whose inode numbers are `namespaces`.
pub fn members(id: Option<&str>, namespaces: &[u64]) -> Vec<ProcessId> {
    let mark = id.map(|id| format!("{MARK}={id}"));
    let is_member = |pid: i32| {
        let marked = mark.as_ref().is_some_and(|mark| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|env| env.split(|&b| b == 0).any(|entry| entry == mark.as_bytes()))
        });
        // a link such as net:[4026532281]
        let inside = || {
            let link = fs::read_link(format!("/proc/{pid}/ns/net")).ok()?;
            let inode = link.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?;
            Some(namespaces.contains(&inode.parse().ok()?))
        };
        marked || (!namespaces.is_empty() && inside().unwrap_or(false))
    };
    let ourselves = i32::try_from(std::process::id()).ok();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&pid| Some(pid) != ourselves && is_member(pid))
        .filter_map(ProcessId::of)
        .filter(|process| process.condition() != Condition::Ended)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_and_start_time_are_read_past_any_name() {
        let rest = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20 21";
        for (text, want) in [
            (format!("42 (bird) S {rest}"), Some(('S', 777))),
            (format!("42 (a) R 1) (b) T {rest}"), Some(('T', 777))),
            ("42 (bird) S 1 2".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(parse_stat(&text), want, "{text:?}");
        }
    }

    #[test]
    fn another_start_time_is_another_process() {
        let ourselves = i32::try_from(std::process::id()).expect("fits");
        let real = ProcessId::of(ourselves).expect("we are here");
        assert_eq!(real.condition(), Condition::Running);
        let earlier = ProcessId { started: real.started - 1, ..real };
        assert_eq!(earlier.condition(), Condition::Ended);
        // signal 0 would not hurt, but a mistaken identity must not even get that far
        assert!(!earlier.signal(Signal::SIGKILL).expect("nothing is sent"));
    }
}
