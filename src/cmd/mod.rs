//! What the words of the command line do, one file a word.

use std::process::ExitCode;

pub mod agent;
pub mod config;
pub mod lab;

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
