//! `brindle filter`: whether filters do what is expected of them, without a router.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::{Exit, complain, config};
use crate::control::view::{API_VERSION, FilterTestReport};
use crate::filters;

/// Arguments of `brindle filter`.
#[derive(Debug, clap::Args)]
#[command(disable_help_subcommand = true)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Hold filters against a file of expectations; exit code 1 if one does not hold
    Test {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The configuration whose filters are meant, in place of the one that the file names
        #[arg(short, long, value_name = "PATH")]
        config: Option<PathBuf>,
        /// How to print what came of it
        #[arg(short, long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Runs it.
pub fn run(args: &Args) -> Exit {
    let What::Test { file, config, output } = &args.what;
    let report = match filters::run(file, config.as_deref()) {
        Ok(report) => report,
        Err(bad) => {
            for problem in &bad.0 {
                complain(problem);
            }
            return Exit::Usage;
        }
    };
    let exit = if report.passed { Exit::Fine } else { Exit::Bad };
    let text = match output {
        Output::Text => screen(&report),
        Output::Json => {
            let mut object = serde_json::json!({
                "apiVersion": API_VERSION,
                "kind": "FilterTestReport",
            });
            if let (Some(object), Ok(serde_json::Value::Object(fields))) =
                (object.as_object_mut(), serde_json::to_value(&report))
            {
                object.extend(fields);
            }
            format!("{object:#}\n")
        }
    };
    config::print(&text, exit)
}

fn screen(report: &FilterTestReport) -> String {
    let mut text = String::new();
    // Writing to a text cannot fail.
    for failure in &report.failures {
        let _ = writeln!(text, "FAILED  {}  ({}:{})", failure.test, report.file, failure.line);
        for problem in &failure.problems {
            let _ = writeln!(text, "  {problem}");
        }
        for step in &failure.steps {
            let _ = writeln!(text, "    {step}");
        }
    }
    let good = report.checks - report.failures.len();
    let _ = writeln!(text, "{good} of {} as expected", report.checks);
    if !report.never_exercised.is_empty() {
        let (never, rules) = (report.never_exercised.len(), report.rules);
        let _ = writeln!(text, "{never} of {rules} rules were never exercised:");
        for rule in &report.never_exercised {
            let _ = writeln!(text, "  {rule}");
        }
    }
    text
}
