//! Policies of manifests, without an agent.

use std::path::{Path, PathBuf};

use brindle_policy::World;

use super::ask::Show;
use super::{Exit, ask, complain, note};
use crate::cluster::{self, files};
use crate::control::view::{Finding, Level};
use crate::control::{Answer, PolicyQuery};
use crate::policies::{self, Known, stand_ins};

/// Where objects come from that no agent is asked for.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Without an agent")]
pub(super) struct Manifests {
    /// Answer from the objects of this folder or file, not from an agent; may be repeated
    #[arg(long = "manifests", value_name = "PATH", global = true)]
    paths: Vec<PathBuf>,
}

/// All objects of some manifests.
#[derive(Debug)]
pub(super) struct Read {
    /// They.
    pub(super) world: World,
    /// What could not be read of them.
    pub(super) problems: Vec<Finding>,
}

impl Manifests {
    /// Whether manifests are named.
    pub(super) fn are_given(&self) -> bool {
        !self.paths.is_empty()
    }

    /// The folders and files.
    pub(super) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Answers a question from them.
    pub(super) fn answer(
        &self,
        show: &Show,
        query: &PolicyQuery,
        nothing: &str,
        judge: impl Fn(&Answer) -> Exit,
    ) -> Exit {
        if show.watch {
            complain("--watch looks at an agent; manifests are read once");
            return Exit::Usage;
        }
        let mut read = match read(&self.paths) {
            Ok(read) => read,
            Err(exit) => return exit,
        };
        let known = Known { world: &read.world, here: None };
        match policies::answer(&known, query) {
            Ok(Answer::Findings(mut findings)) => {
                // Those of a policy's object are told with file and line already.
                findings.retain(|found| {
                    let is_same =
                        |told: &Finding| told.field == found.field && told.message == found.message;
                    !read.problems.iter().any(is_same)
                });
                read.problems.extend(findings);
                ask::show(show, &Answer::Findings(read.problems), nothing, judge)
            }
            Ok(answer) => {
                read.tell_problems();
                ask::show(show, &answer, nothing, judge)
            }
            Err(failure) => {
                read.tell_problems();
                complain(&failure);
                ask::failed(&failure)
            }
        }
    }
}

impl Read {
    /// Says on standard error what could not be read.
    pub(super) fn tell_problems(&self) {
        for problem in &self.problems {
            let field = if problem.field.is_empty() { "" } else { &format!("{}: ", problem.field) };
            note(format_args!("{}: {field}{}", problem.object, problem.message));
        }
    }
}

/// Reads folders and files. What is wrong in them is told with the answer; what is not there
/// at all ends the command.
///
/// # Errors
/// Exit code 2, having said why.
pub(super) fn read(paths: &[PathBuf]) -> Result<Read, Exit> {
    let mut read = Read { world: World::default(), problems: Vec::new() };
    for path in paths {
        if let Err(error) = std::fs::metadata(path) {
            complain(format_args!("{}: {error}", path.display()));
            return Err(Exit::Usage);
        }
        let (changes, problems) = files::read_once(path);
        for change in changes {
            match change {
                cluster::Change::Policy(change) => read.world.apply(change),
                // What routing needs is told beside what policy does.
                cluster::Change::NodeApplied(_)
                | cluster::Change::NodeDeleted(_)
                | cluster::Change::BgpApplied(_)
                | cluster::Change::BgpDeleted(_)
                | cluster::Change::ServiceApplied(_)
                | cluster::Change::ServiceDeleted(_)
                | cluster::Change::EndpointsChanged(..)
                | cluster::Change::InSync => {}
            }
        }
        read.problems.extend(problems.into_iter().map(|problem| finding(path, problem)));
    }
    read.world.apply(brindle_policy::Change::InSync);
    let made_up = stand_ins::settle(&mut read.world);
    let blocks = stand_ins::policies_with_blocks(&read.world);
    if made_up > 0 && !blocks.is_empty() {
        note(format_args!(
            "{made_up} pods have no address in their status: they are in no block but those of \
             all addresses ({})",
            blocks.join(", ")
        ));
    }
    Ok(read)
}

fn finding(path: &Path, problem: files::FileProblem) -> Finding {
    let file = if path.is_dir() { path.join(&problem.file) } else { path.to_owned() };
    let line = problem.line.map(|line| format!(":{line}")).unwrap_or_default();
    let object = problem.object.map(|object| format!(" {object}")).unwrap_or_default();
    Finding {
        object: format!("{}{line}{object}", file.display()),
        level: Level::Error,
        check: "not-understood".to_owned(),
        field: problem.field.unwrap_or_default(),
        message: problem.message,
        fix: "correct the file".to_owned(),
    }
}
