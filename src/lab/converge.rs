//! Waits until every speaker has put every pod's route into its kernel.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use ipnetwork::IpNetwork;
use serde::Deserialize;

use super::netns;
use super::process::{Condition, ProcessId};
use super::state::Lab;
use crate::control::client::Client;
use crate::control::view::Time;
use crate::control::{Answer, Query};

/// How long an agent may take to say how it is.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How often to look.
const PAUSE: Duration = Duration::from_millis(50);

/// A speaker that lacks routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// Node or router.
    pub name: String,
    /// What is not in its kernel.
    pub prefixes: Vec<IpNetwork>,
}

/// How far all speakers are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Routes that must be there.
    pub want: usize,
    /// Who lacks what; empty when all are there.
    pub lacking: Vec<Lacking>,
    /// Nodes that are to enforce policies and have not heard of all pods' addresses yet, or do
    /// not have all policies in their kernels.
    pub closed: Vec<String>,
}

impl Progress {
    /// Routes that are there.
    pub fn have(&self) -> usize {
        let lacking: usize = self.lacking.iter().map(|l| l.prefixes.len()).sum();
        self.want.saturating_sub(lacking)
    }
}

/// Looks into every node's and router's kernel.
///
/// # Errors
/// A namespace cannot be entered, or `ip` fails.
pub fn look(lab: &Lab) -> anyhow::Result<Progress> {
    let plan = &lab.state.plan;
    let nodes = plan.nodes.iter().map(|n| (&n.name, &n.namespace));
    let tors = plan.tors.iter().map(|t| (&t.name, &t.namespace));
    let mut progress = Progress::default();
    for (name, namespace) in nodes.chain(tors) {
        let others = plan.nodes.iter().filter(|n| n.name != *name);
        let want: Vec<_> = others.flat_map(|n| n.pod_cidrs.iter().copied()).collect();
        progress.want += want.len();
        let have = installed(namespace, want.iter().any(IpNetwork::is_ipv6))?;
        let prefixes: Vec<_> = want.into_iter().filter(|p| !have.contains(p)).collect();
        if !prefixes.is_empty() {
            progress.lacking.push(Lacking { name: name.clone(), prefixes });
        }
    }
    if lab.state.options.policy.is_some() {
        // renaming the last manifest into it changed the folder
        let told = lab.state.plan.api.is_none().then(|| fs::metadata(lab.manifests()));
        let told = told.transpose().context("folder of manifests")?;
        // what an agent says is cut off to milliseconds
        let cut = |time: SystemTime| Time::from(time - Duration::from_millis(1));
        let told = told.and_then(|folder| folder.modified().ok()).map(cut);
        let closed = plan.nodes.iter().filter(|node| !enforces(lab, &node.name, told));
        progress.closed = closed.map(|node| node.name.clone()).collect();
    }
    Ok(progress)
}

/// Whether the agent of node `name` says that all policies are in its kernel, and has heard of
/// what was `told` last.
fn enforces(lab: &Lab, name: &str, told: Option<Time>) -> bool {
    let client = Client::new(lab.socket(name), ANSWER_LIMIT);
    // an agent that does not answer yet is asked again
    match client.ask_blocking(&Query::Status) {
        Ok(Answer::Status(status)) => {
            let heard = status.source.and_then(|source| source.changed);
            let has_heard = told.is_none_or(|told| heard.is_some_and(|heard| heard >= told));
            has_heard && status.policy.is_some_and(|policy| policy.ready)
        }
        _ => false,
    }
}

/// As far as `ip -j route` is of interest.
#[derive(Deserialize)]
struct Route {
    dst: String,
    #[serde(rename = "type")]
    kind: Option<String>,
}

fn installed(namespace: &str, with_v6: bool) -> anyhow::Result<BTreeSet<IpNetwork>> {
    let mut all = parse(&netns::ip_output(namespace, &["-j", "-4", "route", "show"])?)?;
    if with_v6 {
        all.extend(parse(&netns::ip_output(namespace, &["-j", "-6", "route", "show"])?)?);
    }
    Ok(all)
}

/// Prefixes that lead somewhere: no blackholes and the like.
fn parse(json: &str) -> anyhow::Result<BTreeSet<IpNetwork>> {
    if json.trim().is_empty() {
        return Ok(BTreeSet::new());
    }
    let routes: Vec<Route> = serde_json::from_str(json)?;
    let leads = |r: &Route| matches!(r.kind.as_deref(), None | Some("unicast"));
    Ok(routes.iter().filter(|r| leads(r)).filter_map(|r| r.dst.parse().ok()).collect())
}

/// Why waiting was given up.
#[derive(Debug, thiserror::Error)]
pub enum NotConverged {
    /// A speaker has ended.
    #[error("the speaker of {name} has ended")]
    Ended {
        /// Node or router.
        name: String,
    },
    /// Time is up.
    #[error("after {limit:?} {} of {} routes are there", .progress.have(), .progress.want)]
    Late {
        /// What was allowed.
        limit: Duration,
        /// How far it came.
        progress: Progress,
    },
    /// Looking failed.
    #[error("cannot see the routes")]
    Blind(#[from] anyhow::Error),
}

/// Waits until nothing lacks; how long that took. `show` is told of every change.
///
/// # Errors
/// A speaker has ended, or `limit` has passed.
pub fn wait(
    lab: &Lab,
    limit: Duration,
    mut show: impl FnMut(&Progress),
) -> Result<Duration, NotConverged> {
    let start = Instant::now();
    let mut last = Progress::default();
    loop {
        let progress = look(lab)?;
        if progress != last {
            show(&progress);
        }
        if progress.lacking.is_empty() && progress.closed.is_empty() {
            return Ok(start.elapsed());
        }
        let ended = |(_, p): &(&String, &ProcessId)| p.condition() == Condition::Ended;
        if let Some((name, _)) = lab.state.processes.iter().find(ended) {
            return Err(NotConverged::Ended { name: name.clone() });
        }
        if start.elapsed() > limit {
            return Err(NotConverged::Late { limit, progress });
        }
        last = progress;
        std::thread::sleep(PAUSE);
    }
}

/// Says who lacks what, with the last lines of their logs.
pub fn describe(lab: &Lab, error: &NotConverged) -> String {
    let mut text = format!("{error}\n");
    let mut names = Vec::new();
    match error {
        NotConverged::Ended { name } => names.push(name.clone()),
        NotConverged::Late { progress, .. } => {
            for Lacking { name, prefixes } in &progress.lacking {
                let list: Vec<_> = prefixes.iter().take(6).map(ToString::to_string).collect();
                let more = prefixes.len().saturating_sub(list.len());
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                text += &format!("  {name} has no route to {}{more}\n", list.join(", "));
                names.push(name.clone());
            }
            for name in &progress.closed {
                text += &format!("  {name} does not have all policies in its kernel\n");
                names.push(name.clone());
            }
        }
        NotConverged::Blind(why) => text += &format!("  {why:#}\n"),
    }
    for name in names.iter().take(3) {
        let log = lab.log(name);
        text += &format!("last lines of {}:\n", log.display());
        for line in tail(&log, 12) {
            text += &format!("  | {line}\n");
        }
    }
    text
}

/// The last `count` lines of a file, with what a terminal might obey taken out.
fn tail(path: &Path, count: usize) -> Vec<String> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(length.saturating_sub(16_384)))?;
        let mut end = Vec::new();
        file.take(16_384).read_to_end(&mut end)?;
        Ok(end)
    };
    let text = match read() {
        Ok(octets) => String::from_utf8_lossy(&octets).into_owned(),
        Err(error) => return vec![format!("cannot be read: {error}")],
    };
    let lines: Vec<_> = text.lines().collect();
    let last = lines.iter().skip(lines.len().saturating_sub(count));
    last.map(|line| line.chars().filter(|c| !c.is_control()).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_routes_that_lead_somewhere_count() {
        let json = r#"[
            {"dst":"default","gateway":"10.0.0.250"},
            {"dst":"10.244.2.0/24","gateway":"10.0.0.2","protocol":"98"},
            {"dst":"10.244.3.0/24","nexthops":[{"gateway":"10.0.0.3"},{"gateway":"10.0.0.4"}]},
            {"type":"unreachable","dst":"10.244.1.0/24"},
            {"dst":"10.244.1.11","dev":"brn0"}
        ]"#;
        let have = parse(json).expect("JSON");
        let text: Vec<_> = have.iter().map(ToString::to_string).collect();
        assert_eq!(text, ["10.244.1.11/32", "10.244.2.0/24", "10.244.3.0/24"]);
        assert!(parse("").expect("nothing is no error").is_empty());
        assert!(parse("{").is_err());
    }

    #[test]
    fn the_end_of_a_log_is_shown_without_escapes() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "one\ntwo\n\u{1b}[31mthree\n").expect("written");
        assert_eq!(tail(file.path(), 2), ["two", "[31mthree"]);
        assert!(tail(Path::new("/nonexistent"), 2)[0].starts_with("cannot be read"));
    }
}
