//! `brindle policy`: what policies say, whom they govern, what they have met, whether they are
//! as expected.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::ask::{self, Ask, Show};
use super::manifests::{self, Manifests};
use super::{Exit, complain};
use crate::control::view::Level;
use crate::control::{Answer, PageRequest, PolicyQuery, Query};
use crate::expect;
use crate::flow::{DEFAULT_NAMESPACE, Service};
use crate::policies;

/// Arguments of `brindle policy`.
#[derive(Debug, clap::Args)]
#[command(disable_help_subcommand = true)]
pub struct Args {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    manifests: Manifests,
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    ask: Ask,
}

#[derive(Debug, Subcommand)]
enum What {
    /// All policies
    List {
        /// Only those of this namespace
        #[arg(short, long, value_name = "NAMESPACE")]
        namespace: Option<String>,
    },
    /// Everything about one policy
    Show {
        #[command(flatten)]
        named: PolicyNamed,
    },
    /// The policies that govern a pod, and what they let through
    For {
        #[command(flatten)]
        named: Named,
    },
    /// Who may reach whom: . allowed, ~ some ports, X denied, ? not programmed yet
    Matrix {
        /// Only the pods of this namespace
        #[arg(short, long, value_name = "NAMESPACE")]
        namespace: Option<String>,
        /// Only to this port, for instance 5432, 53/udp, icmp
        #[arg(long, value_name = "PORT[/PROTOCOL]")]
        port: Option<Service>,
    },
    /// Hold policies against a file of expectations; exit code 1 if one does not hold
    Test {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Name what looks like a mistake; exit code 1 if part of an object was not understood
    Lint {
        /// Exit code 1 for warnings too
        #[arg(long)]
        strict: bool,
    },
    /// What each rule has met on this node since it was written
    Hits,
}

#[derive(Debug, clap::Args)]
struct Named {
    /// Its name: shop/db-clients, or db-clients with --namespace
    #[arg(value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    name: String,
    /// Where it is, if its name does not say so
    #[arg(short, long, value_name = "NAMESPACE", default_value = DEFAULT_NAMESPACE)]
    namespace: String,
}

#[derive(Debug, clap::Args)]
struct PolicyNamed {
    /// Its name: shop/db-clients, or db-clients with --namespace; after its kind where several
    /// kinds have the name: CalicoNetworkPolicy shop/db-clients, GlobalNetworkPolicy/deny
    #[arg(
        value_names = ["[KIND] NAME"],
        num_args = 1..=2,
        required = true,
        value_parser = clap::builder::NonEmptyStringValueParser::new(),
    )]
    name: Vec<String>,
    /// Where it is, if its name does not say so
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
}

impl PolicyNamed {
    /// `kind namespace/name`, or less of it.
    fn full(self) -> String {
        let mut words = self.name;
        if let (Some(last), Some(namespace)) = (words.last_mut(), self.namespace)
            && !last.contains('/')
        {
            *last = format!("{namespace}/{last}");
        }
        words.join(" ")
    }
}

impl Named {
    /// `namespace/name`.
    fn full(self) -> String {
        match self.name.contains('/') {
            true => self.name,
            false => format!("{}/{}", self.namespace, self.name),
        }
    }
}

/// Runs it.
pub fn run(args: Args) -> Exit {
    let Args { what, manifests, show, ask } = args;
    let mut is_strict = false;
    let (query, nothing) = match what {
        What::List { namespace } => {
            (PolicyQuery::List(namespace, PageRequest::first()), "no policies")
        }
        What::Show { named } => (PolicyQuery::Show(named.full()), ""),
        What::For { named } => (PolicyQuery::For(named.full()), ""),
        What::Matrix { namespace, port } => (PolicyQuery::Matrix { namespace, service: port }, ""),
        What::Test { file } => return test(&file, &manifests, &show),
        What::Lint { strict } => {
            is_strict = strict;
            (PolicyQuery::Lint, "nothing looks like a mistake")
        }
        What::Hits => (PolicyQuery::Hits, "no policy with rules governs a pod of this node"),
    };
    answer(&ask, &show, &manifests, query, nothing, |answer| judge(answer, is_strict))
}

fn judge(answer: &Answer, is_strict: bool) -> Exit {
    match answer {
        Answer::Findings(findings) => {
            let counts = |level| is_strict || level == Level::Error;
            match findings.iter().any(|finding| counts(finding.level)) {
                true => Exit::Bad,
                false => Exit::Fine,
            }
        }
        _ => Exit::Fine,
    }
}

/// Answers from manifests if some are named, else asks the agent.
pub(super) fn answer(
    ask: &Ask,
    show: &Show,
    manifests: &Manifests,
    mut query: PolicyQuery,
    nothing: &str,
    judge: impl Fn(&Answer) -> Exit,
) -> Exit {
    if !manifests.are_given() {
        return ask::read(ask, show, Query::Policy(query), nothing, judge);
    }
    if let Some(page) = query.page_mut() {
        page.limit = usize::MAX;
    }
    manifests.answer(show, &query, nothing, judge)
}

fn test(file: &Path, manifests: &Manifests, show: &Show) -> Exit {
    if show.watch {
        complain("--watch looks at an agent; tests are read once");
        return Exit::Usage;
    }
    let expectations = match expect::read(file) {
        Ok(expectations) => expectations,
        Err(bad) => {
            for problem in &bad.0 {
                complain(problem);
            }
            return Exit::Usage;
        }
    };
    let named: Vec<PathBuf> =
        expectations.manifests.iter().chain(manifests.paths()).cloned().collect();
    if named.is_empty() {
        complain(format_args!(
            "{}: no manifests: name them there (manifests: [policies]) or with --manifests",
            file.display()
        ));
        return Exit::Usage;
    }
    let read = match manifests::read(&named) {
        Ok(read) => read,
        Err(exit) => return exit,
    };
    read.tell_problems();
    let report = policies::run_tests(&read.world, &expectations);
    ask::show(show, &Answer::TestReport(Box::new(report)), "", |answer| match answer {
        Answer::TestReport(report) if !report.passed => Exit::Bad,
        _ => Exit::Fine,
    })
}
