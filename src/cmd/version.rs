//! `brindle version`: of this program, and of the agent if one answers.

use serde::Serialize;

use super::ask::{Ask, Show, print};
use super::output::{Format, yaml};
use super::{Exit, complain};
use crate::VERSION;
use crate::control::view::API_VERSION;
use crate::control::{Answer, Query};
use crate::visible::visible;

/// Arguments of `brindle version`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    ask: Ask,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    api_version: &'static str,
    kind: &'static str,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_error: Option<String>,
}

/// Runs it; an agent that does not answer is no error.
pub fn run(args: &Args) -> Exit {
    let (agent_version, agent_error) = match args.ask.client().ask_blocking(&Query::Status) {
        Ok(Answer::Status(status)) => (Some(status.version), None),
        Ok(_) => (None, Some("the agent's answer is not about its status".to_owned())),
        Err(error) => (None, Some(error.to_string())),
    };
    let version = Version {
        api_version: API_VERSION,
        kind: "Version",
        version: VERSION,
        agent_version,
        agent_error,
    };
    let text = match args.show.output {
        Format::Table | Format::Wide => {
            let agent = match (&version.agent_version, &version.agent_error) {
                (Some(agent), _) => format!("brindle {agent}"),
                (None, Some(error)) => format!("- ({error})"),
                (None, None) => "-".to_owned(),
            };
            Ok(format!("command  brindle {VERSION}\nagent    {}\n", visible(&agent)))
        }
        Format::Json => serde_json::to_string_pretty(&version)
            .map(|json| json + "\n")
            .map_err(|error| error.to_string()),
        Format::Jsonl => serde_json::to_string(&version)
            .map(|json| json + "\n")
            .map_err(|error| error.to_string()),
        Format::Yaml => yaml(&version).map_err(|error| error.to_string()),
        Format::Name => Ok(format!("{VERSION}\n")),
    };
    match text {
        Ok(text) => print(text.as_bytes()),
        Err(error) => {
            complain(error);
            Exit::Bad
        }
    }
}
