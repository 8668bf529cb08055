//! `brindle config`: checks and shows the configuration, and has an agent read it again.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use brindle_config::{Config, Errors, Loaded, Problem};
use serde_json::{Value, json};

use super::Exit;

/// Where the configuration is unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/etc/brindle/brindle.yaml";

/// Arguments of `brindle config`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    word: Word,
}

#[derive(Debug, clap::Subcommand)]
enum Word {
    /// Check the files and name everything that is wrong with them; exit code 2 if anything is.
    Check {
        #[command(flatten)]
        files: Files,
        /// How to print what was found.
        #[arg(short, long, value_enum, default_value_t = CheckOutput::Text)]
        output: CheckOutput,
    },
    /// Print the effective configuration: all files merged, defaults written out.
    Show {
        #[command(flatten)]
        files: Files,
        /// How to print it.
        #[arg(short, long, value_enum, default_value_t = ShowOutput::Yaml)]
        output: ShowOutput,
    },
    /// Print a JSON Schema of the configuration file, for editors.
    Schema,
    /// Have the running agent read its files again; exit code 2 if it refuses them.
    Reload(super::reload::Args),
}

/// Which files are meant.
#[derive(Debug, clap::Args)]
struct Files {
    /// The main file; every *.yaml of the folder conf.d beside it is laid on top, by name.
    #[arg(short, long, value_name = "PATH", default_value = DEFAULT_PATH)]
    config: PathBuf,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum CheckOutput {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ShowOutput {
    Yaml,
    Json,
}

/// Runs it.
pub fn run(args: Args) -> Exit {
    match args.word {
        Word::Check { files, output } => check(&files.config, output),
        Word::Show { files, output } => show(&files.config, output),
        Word::Reload(args) => super::reload::run(&args),
        Word::Schema => print(&pretty(&brindle_config::json_schema()), Exit::Fine),
    }
}

fn check(path: &Path, output: CheckOutput) -> Exit {
    let result = Config::load(path);
    let exit = if result.is_ok() { Exit::Fine } else { Exit::Usage };
    let text = match output {
        CheckOutput::Text => match &result {
            Ok(loaded) => good_text(loaded),
            Err(errors) => bad_text(errors),
        },
        CheckOutput::Json => pretty(&check_json(&result)),
    };
    print(&text, exit)
}

fn good_text(loaded: &Loaded) -> String {
    let mut text = String::new();
    for warning in &loaded.warnings {
        let warning =
            Problem { message: format!("warning: {}", warning.message), ..warning.clone() };
        text.push_str(&format!("{warning}\n"));
    }
    let files: Vec<String> = loaded.files.iter().map(|file| file.display().to_string()).collect();
    let warnings = match loaded.warnings.len() {
        0 => String::new(),
        count => format!(", {}", counted(count, "warning")),
    };
    text.push_str(&format!("0 errors{warnings}. Read {}.\n", files.join(", ")));
    text
}

fn bad_text(errors: &Errors) -> String {
    let count = counted(errors.problems().len(), "error");
    format!("{errors}\n{count}. The running configuration is unchanged.\n")
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn check_json(result: &Result<Loaded, Errors>) -> Value {
    let problem = |problem: &Problem| {
        json!({
            "file": &*problem.place.file,
            "line": problem.place.line,
            "column": problem.place.column,
            "path": problem.path,
            "message": problem.message,
        })
    };
    let list = |problems: &[Problem]| problems.iter().map(problem).collect::<Vec<Value>>();
    let (files, errors, warnings) = match result {
        Ok(loaded) => (
            loaded.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>(),
            Vec::new(),
            list(&loaded.warnings),
        ),
        Err(errors) => (Vec::new(), list(errors.problems()), Vec::new()),
    };
    json!({
        "apiVersion": "brindle.dev/v1",
        "kind": "ConfigCheck",
        "valid": result.is_ok(),
        "files": files,
        "errors": errors,
        "warnings": warnings,
    })
}

fn show(path: &Path, output: ShowOutput) -> Exit {
    match Config::load(path) {
        Ok(Loaded { config, .. }) => match output {
            ShowOutput::Yaml => print(&config.to_yaml(), Exit::Fine),
            ShowOutput::Json => print(&pretty(&config.to_json()), Exit::Fine),
        },
        Err(errors) => {
            // Nothing can be done for a reader of the errors that has gone away.
            let _ = io::stderr().write_all(bad_text(&errors).as_bytes());
            Exit::Usage
        }
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Writes `text` to the standard output and answers `exit`. A reader that has gone away, such
/// as `head`, is no failure.
pub(super) fn print(text: &str, exit: Exit) -> Exit {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "cannot write: {error}");
            Exit::Bad
        }
        _ => exit,
    }
}
