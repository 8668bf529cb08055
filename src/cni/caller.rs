//! Calls a plug-in as a container runtime does: for the lab, and for tests.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// A call of a plug-in.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The program; it runs in the network namespace of the thread that calls it.
    pub program: &'a Path,
    /// `CNI_COMMAND`
    pub verb: &'a str,
    /// `CNI_CONTAINERID`
    pub container_id: &'a str,
    /// `CNI_NETNS`; `None` if the namespace is gone.
    pub netns: Option<&'a Path>,
    /// `CNI_IFNAME`
    pub interface: &'a str,
    /// `CNI_ARGS`
    pub args: &'a str,
    /// `CNI_PATH`
    pub path: &'a Path,
    /// Standard input.
    pub configuration: &'a Value,
}

/// Why a call gave no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The plug-in says no.
    #[error("{}: {message}{}{details}", .program, if .details.is_empty() { "" } else { "; " })]
    Refused {
        /// The plug-in.
        program: String,
        /// The number of the error.
        code: u64,
        /// The error in words.
        message: String,
        /// What else it says.
        details: String,
    },
    /// It could not be run, or what it printed is no answer.
    #[error("{program}: {why}")]
    Broken {
        /// The plug-in.
        program: String,
        /// What happened.
        why: String,
    },
}

impl CallError {
    /// The number of the error that the plug-in answered with.
    pub fn code(&self) -> Option<u64> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Broken { .. } => None,
        }
    }
}

impl Call<'_> {
    /// The program with its environment; standard input is still to be given.
    pub fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command
            .env("CNI_COMMAND", self.verb)
            .env("CNI_CONTAINERID", self.container_id)
            .env("CNI_NETNS", self.netns.unwrap_or(Path::new("")))
            .env("CNI_IFNAME", self.interface)
            .env("CNI_ARGS", self.args)
            .env("CNI_PATH", self.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the plug-in to its end and returns its result; `None` if it has none.
    ///
    /// # Errors
    /// If it cannot be run, fails, or prints what is no JSON.
    pub fn run(&self) -> Result<Option<Value>, CallError> {
        let program = self.program.display().to_string();
        let broken = |why: String| CallError::Broken { program: program.clone(), why };
        let mut child =
            self.command().spawn().map_err(|error| broken(format!("cannot be run: {error}")))?;
        let configuration = self.configuration.to_string();
        if let Some(mut stdin) = child.stdin.take() {
            // One that refuses without reading closes its end.
            let _ = stdin.write_all(configuration.as_bytes());
        }
        let output = child.wait_with_output().map_err(|error| broken(error.to_string()))?;
        let said = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let json = match output.stdout.trim_ascii() {
            [] => None,
            text => Some(serde_json::from_slice::<Value>(text).map_err(|error| {
                let text = String::from_utf8_lossy(text);
                broken(format!(
                    "{}; its answer is no JSON ({error}): {text} {}",
                    output.status,
                    said()
                ))
            })?),
        };
        match (output.status.success(), json) {
            (true, json) => Ok(json),
            (false, Some(json)) if json["code"].is_u64() => {
                let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
                Err(CallError::Refused {
                    program,
                    code: json["code"].as_u64().unwrap_or_default(),
                    message: text("msg"),
                    details: text("details"),
                })
            }
            (false, _) => Err(broken(format!("{} without an error: {}", output.status, said()))),
        }
    }
}
