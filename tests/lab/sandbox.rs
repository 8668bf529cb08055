//! A lab for one test, and what tests look at from outside.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use brindle::lab::netns;
use brindle::lab::process::{self, ProcessId};
use brindle::lab::state::Place;

use crate::skipped::note;

pub(crate) const BRINDLE: &str = env!("CARGO_BIN_EXE_brindle");

/// A lab that is taken down when the test ends, however it ends.
pub(crate) struct Sandbox {
    pub(crate) name: &'static str,
}

impl Sandbox {
    pub(crate) fn new(name: &'static str) -> Self {
        let sandbox = Self { name };
        // what an earlier run left behind when it was killed
        sandbox.lab(&["down"]);
        sandbox
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BRINDLE);
        command.args(["lab", "--name", self.name]).args(args);
        command
    }

    pub(crate) fn lab(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("brindle runs")
    }

    /// Runs `brindle lab ARGS`, which must end with this code, and returns what it printed.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32, args: &[&str]) -> String {
        let output = self.lab(args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "brindle lab {args:?}\n{text}\n{said}");
        text + &said
    }

    pub(crate) fn id(&self) -> Option<String> {
        let text = fs::read_to_string(Place::find().base.join(self.name).join("lab.json")).ok()?;
        let state: serde_json::Value = serde_json::from_str(&text).ok()?;
        Some(state["id"].as_str()?.to_owned())
    }

    pub(crate) fn namespaces(&self) -> Vec<String> {
        let prefix = format!("brl-{}-", self.name);
        let Ok(entries) = fs::read_dir(netns::DIRECTORY) else { return Vec::new() };
        let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok());
        names.filter(|name| name.starts_with(&prefix)).collect()
    }

    /// Whatever of this lab can be seen from outside: namespaces, files, processes.
    pub(crate) fn traces(&self, id: Option<&str>) -> Vec<String> {
        let mut found = self.namespaces();
        let dir = Place::find().base.join(self.name);
        found.extend(dir.exists().then(|| dir.display().to_string()));
        let processes = process::members(id, &[]);
        found.extend(processes.iter().map(|ProcessId { pid, .. }| format!("process {pid}")));
        found
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.lab(&["down"]);
    }
}

/// Links of the machine that are called as a lab's are; other tests make and remove others.
pub(crate) fn links() -> BTreeSet<String> {
    let entries = fs::read_dir("/sys/class/net").expect("sysfs is there");
    let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok());
    let ours = ["rack", "n1", "n2", "n3", "tor1", "eth0"];
    names.filter(|name| ours.contains(&name.as_str()) || name.starts_with("brn")).collect()
}

/// Asks `condition` until it holds.
#[track_caller]
pub(crate) fn until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn has_user_namespaces() -> bool {
    let status =
        Command::new("unshare").args(["--user", "--map-root-user", "--net", "true"]).status();
    status.is_ok_and(|s| s.success())
}

/// Where labs cannot be built at all there is nothing to test.
pub(crate) fn can_build(test: &str) -> bool {
    let can = !Place::find().rootless || has_user_namespaces();
    if !can {
        note(test, "needs root or user namespaces");
    }
    can
}
