//! Reads the objects of a folder.

#[path = "../support/objects.rs"]
mod objects;

use std::net::IpAddr;
use std::sync::Arc;

use brindle_policy::compile::{DenyLog, Settings};
use brindle_policy::model::HostSettings;
use brindle_policy::{Attachment, Change, Family, PodKey};
use serde::Deserialize;
use serde_yaml::Value;

/// What a folder holds.
pub(crate) struct Cluster {
    /// Its objects, in the order of the file.
    pub(crate) changes: Vec<Change>,
    /// How they are compiled.
    pub(crate) settings: Settings,
    /// For which families.
    pub(crate) families: Vec<Family>,
}

/// `kind: Settings`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Raw {
    #[serde(rename = "kind")]
    _kind: String,
    node: String,
    #[serde(default)]
    pod_cidrs: Vec<String>,
    #[serde(default)]
    masquerade: bool,
    deny_log: Option<u16>,
    #[serde(default)]
    families: Vec<u8>,
}

/// `kind: Attachment`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAttachment {
    #[serde(rename = "kind")]
    _kind: String,
    node: String,
    interface: String,
    pod: Option<RawKey>,
    addresses: Vec<IpAddr>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKey {
    namespace: String,
    name: String,
}

impl Cluster {
    /// Reads `cluster.yaml`; fails on what it does not know.
    pub(crate) fn read(text: &str) -> Self {
        let documents = serde_yaml::Deserializer::from_str(text);
        let documents = documents.map(|one| Value::deserialize(one).expect("YAML"));
        let (settings, objects): (Vec<Value>, Vec<Value>) =
            documents.partition(|value| kind(value) == "Settings");
        let [settings] = &settings[..] else { panic!("one Settings, not {settings:?}") };
        let raw: Raw = read(settings);
        let parse = |text: &String| text.parse().expect("a block");
        let family = |version: &u8| if *version == 4 { Family::V4 } else { Family::V6 };
        Self {
            changes: objects.iter().map(change).collect(),
            settings: Settings {
                node: raw.node.as_str().into(),
                pod_cidrs: raw.pod_cidrs.iter().map(parse).collect(),
                masquerade: raw.masquerade,
                deny_log: raw.deny_log.map(|group| DenyLog { group, per_second: 10 }),
                hosts: HostSettings::default(),
            },
            families: match &raw.families[..] {
                [] => vec![Family::V4],
                versions => versions.iter().map(family).collect(),
            },
        }
    }
}

fn kind(value: &Value) -> &str {
    value.get("kind").and_then(Value::as_str).unwrap_or_default()
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_yaml::from_value(value.clone()).unwrap_or_else(|error| panic!("{error} in {value:?}"))
}

fn change(value: &Value) -> Change {
    match kind(value) {
        "Attachment" => {
            let RawAttachment { node, interface, pod, addresses, .. } = read(value);
            let key = |RawKey { namespace, name }| PodKey {
                namespace: namespace.as_str().into(),
                name: name.as_str().into(),
            };
            Change::Attached(Arc::new(Attachment {
                node: node.as_str().into(),
                interface: interface.parse().expect("a name"),
                pod: pod.map(key),
                addresses,
            }))
        }
        kind => objects::change(value).unwrap_or_else(|| panic!("{kind} does not take part")),
    }
}
