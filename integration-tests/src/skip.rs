//! What cannot run on this machine, said loudly.
//!
//! A skipped test looks like a passed one to `cargo test`. So every skip appends a line
//! to the file that `BRINDLE_SKIPPED` names; `make test` prints it in its last lines.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use crate::Netns;

/// Whether network namespaces can be made and the named programs are there. If not, says
/// so, notes it down for `make test`, and the test is to return.
#[must_use]
pub fn can_run(test: &str, programs: &[&str]) -> bool {
    unless(test, what_is_missing(programs))
}

/// Whether nothing is missing. If something is, says so, notes it down for `make test`, and
/// the test is to return.
#[must_use]
pub fn unless(test: &str, missing: Option<String>) -> bool {
    match missing {
        None => true,
        Some(missing) => {
            note(test, &missing);
            false
        }
    }
}

/// What [`can_run`] would complain about.
pub fn what_is_missing(programs: &[&str]) -> Option<String> {
    if let Err(error) = Netns::new("probe") {
        return Some(format!("no network namespaces ({error:#}); run as root, or use `make test`"));
    }
    let missing: Vec<&str> = programs.iter().copied().filter(|name| find(name).is_none()).collect();
    (!missing.is_empty()).then(|| format!("not installed: {}", missing.join(", ")))
}

fn note(test: &str, missing: &str) {
    eprintln!("SKIPPED {test}: {missing}");
    let Some(path) = std::env::var_os("BRINDLE_SKIPPED") else { return };
    let written = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| writeln!(file, "{test}: {missing}"));
    written.unwrap_or_else(|error| panic!("cannot note a skipped test in {path:?}: {error}"));
}

/// Where a program is: in PATH, in the places of system daemons, or in that of FRR.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin", "/usr/lib/frr"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}
