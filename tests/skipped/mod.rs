//! What cannot run on this machine, said loudly and listed at the end of `make test`.

use std::fs::OpenOptions;
use std::io::Write;

/// Notes that `test` did not run and why. A skipped test looks like a passed one to
/// `cargo test`: the file that `BRINDLE_SKIPPED` names keeps it from being forgotten.
pub(crate) fn note(test: &str, why: &str) {
    eprintln!("SKIPPED {test}: {why}");
    let Some(path) = std::env::var_os("BRINDLE_SKIPPED") else { return };
    let file = OpenOptions::new().create(true).append(true).open(path);
    let mut file = file.expect("the list of skipped tests can be written");
    writeln!(file, "{test}: {why}").expect("the list of skipped tests can be written");
}
