//! What a lab consists of and how it is doing.

use comfy_table::{Table, presets};
use ipnetwork::IpNetwork;
use serde::Serialize;

use super::plan::API_SERVER;
use super::process::{Condition, ProcessId};
use super::state::{Lab, Phase};

/// One line of `lab ls`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// Its name.
    pub name: String,
    /// `node`, `pod`, `tor` or `api`.
    pub kind: &'static str,
    /// Addresses; those of nodes and routers with their subnet's length.
    pub addresses: Vec<String>,
    /// Network namespace.
    pub namespace: String,
    /// A node's prefixes for pods.
    #[serde(rename = "podCIDRs", skip_serializing_if = "Vec::is_empty")]
    pub pod_cidrs: Vec<String>,
    /// The speaker's process number; pods have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// What the speaker does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Condition>,
}

/// `lab ls`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listing {
    /// `brindle.dev/v1alpha1`.
    pub api_version: &'static str,
    /// `LabListing`.
    pub kind: &'static str,
    /// The lab's name.
    pub name: String,
    /// Its folder.
    pub directory: String,
    /// How far it has come.
    pub phase: Phase,
    /// Pairs kept apart.
    pub partitions: Vec<(String, String)>,
    /// Routers, nodes, pods.
    pub items: Vec<Item>,
}

/// Looks the lab over.
pub fn list(lab: &Lab) -> Listing {
    let plan = &lab.state.plan;
    let process = |name: &str| lab.state.processes.get(name).copied();
    let speaker = |name: &str, kind, addresses: &[IpNetwork], namespace: &str| Item {
        name: name.to_owned(),
        kind,
        addresses: addresses.iter().map(ToString::to_string).collect(),
        namespace: namespace.to_owned(),
        pod_cidrs: Vec::new(),
        pid: process(name).map(|ProcessId { pid, .. }| pid),
        state: Some(process(name).map_or(Condition::Ended, ProcessId::condition)),
    };
    let tors = plan.tors.iter().map(|t| speaker(&t.name, "tor", &t.addresses, &t.namespace));
    let nodes = plan.nodes.iter().map(|n| Item {
        pod_cidrs: n.pod_cidrs.iter().map(ToString::to_string).collect(),
        ..speaker(&n.name, "node", &n.addresses, &n.namespace)
    });
    let api = plan.api.iter().map(|a| speaker(API_SERVER, "api", &a.addresses, &a.namespace));
    let pods = plan.pods().map(|(_, pod)| Item {
        name: pod.name.clone(),
        kind: "pod",
        addresses: pod.addresses.iter().map(ToString::to_string).collect(),
        namespace: pod.namespace.clone(),
        pod_cidrs: Vec::new(),
        pid: None,
        state: None,
    });
    Listing {
        api_version: "brindle.dev/v1alpha1",
        kind: "LabListing",
        name: lab.state.options.name.to_string(),
        directory: lab.dir.display().to_string(),
        phase: lab.state.phase,
        partitions: lab.state.partitions.clone(),
        items: tors.chain(nodes).chain(api).chain(pods).collect(),
    }
}

impl Listing {
    /// Whether every speaker runs.
    pub fn is_good(&self) -> bool {
        let runs = |i: &Item| matches!(i.state, None | Some(Condition::Running));
        self.phase == Phase::Up && self.items.iter().all(runs)
    }

    /// The table (`wide` with namespaces), what is broken on purpose, and how to get in.
    pub fn render(&self, wide: bool) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let mut header = vec!["NAME", "KIND", "ADDRESSES", "POD CIDRS", "PID", "STATE"];
        header.extend(wide.then_some("NAMESPACE"));
        table.set_header(header);
        for item in &self.items {
            let dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
            let state = match item.state {
                None => "-".to_owned(),
                Some(Condition::Running) => "running".to_owned(),
                Some(Condition::Stopped) => {
                    format!("stopped: brindle lab fault cont {}", item.name)
                }
                Some(Condition::Ended) => {
                    format!("ended: brindle lab fault start {}", item.name)
                }
            };
            let mut row = vec![
                item.name.clone(),
                item.kind.to_owned(),
                item.addresses.join(", "),
                dash(item.pod_cidrs.join(", ")),
                item.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
                state,
            ];
            row.extend(wide.then(|| item.namespace.clone()));
            table.add_row(row);
        }
        let mut text: String = table.lines().map(|line| line.trim().to_owned() + "\n").collect();
        for (a, b) in &self.partitions {
            text += &format!("{a} and {b} are kept apart: brindle lab fault heal {a} {b}\n");
        }
        if self.phase == Phase::Building {
            text += &format!(
                "half-built: `lab up` is at work or was killed; brindle lab down --name {}\n",
                self.name
            );
        }
        text + &format!(
            "files and logs: {}   a shell: brindle lab exec --name {} n1 -- sh\n",
            self.directory, self.name
        )
    }
}
