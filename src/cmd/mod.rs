//! What the words of the command line do, one file a word.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::visible::visible;

pub mod agent;
pub mod ask;
pub mod cleanup;
pub mod cni;
pub mod completion;
pub mod config;
pub mod convert;
pub mod crds;
pub mod drain;
mod dump;
pub mod endpoints;
pub mod explain;
pub mod filter;
pub mod flows;
mod follow;
pub mod import;
pub mod lab;
pub mod man;
mod manifests;
pub mod objects;
pub mod output;
pub mod peers;
pub mod policy;
pub mod reload;
pub mod routes;
mod stamped;
pub mod status;
pub mod version;
mod watch;

/// How a command ended; the numbers are a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, and the answer is good.
    Fine,
    /// 1: answered, but the answer is bad: unhealthy, a check failed, a difference found.
    Bad,
    /// 2: wrong usage or an invalid file.
    Usage,
    /// 3: the agent does not answer.
    Unreachable,
    /// 4: not permitted.
    NotPermitted,
    /// 5: some nodes did not answer.
    SomeMissing,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Fine => 0,
            Exit::Bad => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
            Exit::NotPermitted => 4,
            Exit::SomeMissing => 5,
        })
    }
}

/// Says on standard error what went wrong. A closed standard error is nobody who listens:
/// that is no reason to fail.
pub fn complain(what: impl Display) {
    let what = visible(&what.to_string()).into_owned();
    let _ = writeln!(io::stderr(), "error: {what}");
}

/// Says something on standard error that is no part of the answer.
pub fn note(what: impl Display) {
    let what = visible(&what.to_string()).into_owned();
    let _ = writeln!(io::stderr(), "{what}");
}
