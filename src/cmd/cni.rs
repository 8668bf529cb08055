//! `brindle cni`: the CNI plug-in, as container runtimes call it, and its installation.

use std::env;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Exit, complain, note};
use crate::cni::install::{Installed, install};
use crate::cni::request::Environment;
use crate::cni::{self, PLUGIN};
use crate::telemetry;

/// Arguments of `brindle cni`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    word: Option<Word>,
    #[command(flatten)]
    log: telemetry::LogArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Word {
    /// Copy this program to where container runtimes look for plug-ins, as brindle-cni
    Install {
        /// The folder, mostly /opt/cni/bin
        #[arg(long, value_name = "FOLDER")]
        to: PathBuf,
    },
}

const WHAT_IT_IS: &str = "\
brindle-cni is a CNI plug-in: container runtimes call it with CNI_COMMAND and other variables in
the environment and a network configuration on standard input. It connects a pod to this node
and returns when the brindle agent has its isolation in the kernel.

A runtime finds it by the name brindle-cni in its folder of plug-ins (mostly /opt/cni/bin):

    brindle cni install --to /opt/cni/bin

and calls it for a configuration in /etc/cni/net.d, which the agent writes (cni.enabled).
CNI_COMMAND is not set: nothing was done.";

/// Whether the program was called by the plug-in's name.
pub fn is_called(program: Option<&OsStr>) -> bool {
    program.map(Path::new).and_then(Path::file_name).is_some_and(|name| name == PLUGIN)
}

/// Runs the plug-in as runtimes call it: without words.
pub fn run_as_plugin() -> Exit {
    let log = telemetry::LogArgs { log_level: "info".to_owned(), log_format: None };
    plugin(&log)
}

/// Runs it.
pub fn run(args: &Args) -> Exit {
    match &args.word {
        None => plugin(&args.log),
        Some(Word::Install { to }) => put(to),
    }
}

fn plugin(log: &telemetry::LogArgs) -> Exit {
    if env::var_os("CNI_COMMAND").is_none() {
        let _ = writeln!(io::stderr(), "{WHAT_IT_IS}");
        return Exit::Usage;
    }
    if let Err(error) = telemetry::init(log) {
        complain(format!("{error:#}"));
        return Exit::Usage;
    }
    let answer = cni::answer(&Environment::from(|name| env::var_os(name)), io::stdin().lock());
    if let Some(json) = answer.output {
        let mut out = io::stdout().lock();
        if let Err(error) = writeln!(out, "{json:#}").and_then(|()| out.flush()) {
            // The runtime has not got the answer: it takes the call for failed.
            complain(format!("cannot write the answer: {error}"));
            return Exit::Bad;
        }
    }
    if answer.is_success { Exit::Fine } else { Exit::Bad }
}

fn put(folder: &Path) -> Exit {
    let installed = env::current_exe().map_err(anyhow::Error::from);
    match installed.and_then(|program| install(&program, folder)) {
        Ok(Installed::Put(target)) => {
            note(format!("{} is brindle {} now", target.display(), crate::VERSION));
            Exit::Fine
        }
        Ok(Installed::Same(target)) => {
            note(format!("{} is this very program already", target.display()));
            Exit::Fine
        }
        Err(error) => {
            complain(format!("{error:#}"));
            Exit::Bad
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_plugins_own_name_makes_it_one() {
        for (program, want) in [
            (Some("/opt/cni/bin/brindle-cni"), true),
            (Some("brindle-cni"), true),
            (Some("/usr/bin/brindle"), false),
            (Some("/brindle-cni/brindle"), false),
            (None, false),
        ] {
            assert_eq!(is_called(program.map(OsStr::new)), want, "{program:?}");
        }
    }
}
