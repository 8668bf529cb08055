//! Objects as `get` shows them: calicoctl's columns, YAML, JSON, names.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::found::{Id, Object};
use crate::cluster::kind::Kind;
use crate::visible::visible;

/// How objects are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// A table with what tells objects apart.
    Table,
    /// A table with more columns.
    Wide,
    /// A table with these columns.
    Columns(Vec<String>),
    /// A manifest.
    Yaml,
    /// The same in JSON.
    Json,
    /// `globalnetworkpolicy.projectcalico.org/closed`, as kubectl names them.
    Name,
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(columns) = text.strip_prefix("custom-columns=") {
            let columns: Vec<String> = columns
                .split(',')
                .map(|column| column.trim().to_ascii_uppercase())
                .filter(|column| !column.is_empty())
                .collect();
            if columns.is_empty() {
                return Err("custom-columns= names no column".to_owned());
            }
            return Ok(Format::Columns(columns));
        }
        match text {
            "ps" | "table" => Ok(Format::Table),
            "wide" => Ok(Format::Wide),
            "yaml" => Ok(Format::Yaml),
            "json" => Ok(Format::Json),
            "name" => Ok(Format::Name),
            other => {
                let templates = match other.starts_with("go-template") {
                    true => "; for templates, see jq and -o json",
                    false => "",
                };
                Err(format!(
                    "accepted are ps (or table), wide, custom-columns=..., yaml, json, \
                     name{templates}"
                ))
            }
        }
    }
}

/// Renders what was found. `is_one` says that one object was asked for by its name, which is no
/// list then; `has_namespaces` that they may be of several.
///
/// # Errors
/// A column is asked for that there is not.
pub fn render(
    objects: &[Object],
    format: &Format,
    is_one: bool,
    has_namespaces: bool,
) -> Result<String, String> {
    match format {
        Format::Table | Format::Wide | Format::Columns(_) => {
            tables(objects, format, has_namespaces)
        }
        Format::Name => Ok(objects.iter().map(|object| name(&object.id)).collect()),
        Format::Yaml => {
            serde_yaml::to_string(&listed(objects, is_one)).map_err(|error| error.to_string())
        }
        Format::Json => serde_json::to_string_pretty(&listed(objects, is_one))
            .map(|text| text + "\n")
            .map_err(|error| error.to_string()),
    }
}

fn name(id: &Id) -> String {
    format!("{}.{}/{}\n", super::words::singular(id.kind), id.kind.group(), id.name)
}

/// One object as it is, more as a list that every command takes.
fn listed(objects: &[Object], is_one: bool) -> Value {
    if let ([object], true) = (objects, is_one) {
        return object.value.clone();
    }
    let kinds: Vec<Kind> = objects.iter().map(|object| object.id.kind).collect();
    let is_same = kinds.windows(2).all(|pair| pair[0] == pair[1]);
    let (api, kind) = match kinds.first() {
        Some(kind) if is_same => (kind.api_version(), format!("{}List", kind.name())),
        _ => ("v1", "List".to_owned()),
    };
    let items: Vec<&Value> = objects.iter().map(|object| &object.value).collect();
    json!({"apiVersion": api, "kind": kind, "metadata": {}, "items": items})
}

/// The columns of a kind: for everybody, for those who want more, and those that can be asked
/// for beside them.
fn columns(
    kind: Kind,
) -> (&'static [&'static str], &'static [&'static str], &'static [&'static str]) {
    match kind {
        Kind::GlobalNetworkPolicy
        | Kind::CalicoNetworkPolicy
        | Kind::StagedGlobalNetworkPolicy
        | Kind::StagedNetworkPolicy => {
            (&["NAME"], &["NAME", "ORDER", "SELECTOR"], &["TIER", "TYPES", "STAGED"])
        }
        Kind::StagedKubernetesNetworkPolicy => {
            (&["NAME"], &["NAME", "SELECTOR"], &["TYPES", "STAGED"])
        }
        Kind::NetworkPolicy => (&["NAME"], &["NAME", "SELECTOR"], &["TYPES"]),
        Kind::ClusterNetworkPolicy => (&["NAME"], &["NAME", "TIER", "PRIORITY"], &[]),
        Kind::HostEndpoint => {
            (&["NAME", "NODE"], &["NAME", "NODE", "INTERFACE", "IPS", "PROFILES"], &["LABELS"])
        }
        Kind::NetworkSet | Kind::GlobalNetworkSet => (&["NAME"], &["NAME", "NETS"], &["LABELS"]),
        Kind::Tier => (&["NAME"], &["NAME", "ORDER"], &["ACTION"]),
        Kind::Profile => (&["NAME"], &["NAME", "LABELS"], &[]),
        Kind::BgpPeer => (
            &["NAME", "PEERIP", "NODE", "ASN"],
            &["NAME", "PEERIP", "NODE", "ASN", "PEERS", "FILTERS"],
            &[],
        ),
        Kind::BgpConfiguration => (
            &["NAME", "MESHENABLED", "ASNUMBER"],
            &["NAME", "MESHENABLED", "ASNUMBER", "PORT"],
            &[],
        ),
        Kind::Node
        | Kind::Namespace
        | Kind::ServiceAccount
        | Kind::Pod
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::BgpFilter
        | Kind::Secret => (&["NAME"], &["NAME"], &[]),
    }
}

fn cell(object: &Object, column: &str) -> String {
    let spec = &object.value["spec"];
    match column {
        "NAMESPACE" => object.id.namespace.clone().unwrap_or_default(),
        "NAME" => object.id.name.clone(),
        "ORDER" => text(&spec["order"]),
        "PRIORITY" => text(&spec["priority"]),
        "TIER" => text(&spec["tier"]),
        "ACTION" => text(&spec["defaultAction"]),
        "STAGED" => text(&spec["stagedAction"]),
        "NODE" => match (object.id.kind, text(&spec["node"]), text(&spec["nodeSelector"])) {
            // As calicoctl has it.
            (Kind::BgpPeer, node, selector) if node.is_empty() && selector.is_empty() => {
                "(global)".to_owned()
            }
            (_, node, selector) if node.is_empty() => selector,
            (_, node, _) => node,
        },
        "PEERIP" => text(&spec["peerIP"]),
        "PEERS" => text(&spec["peerSelector"]),
        "FILTERS" => text(&spec["filters"]),
        "ASN" | "ASNUMBER" => text(&spec["asNumber"]),
        "MESHENABLED" => text(&spec["nodeToNodeMeshEnabled"]),
        "PORT" => text(&spec["listenPort"]),
        "INTERFACE" => text(&spec["interfaceName"]),
        "IPS" => text(&spec["expectedIPs"]),
        "PROFILES" => text(&spec["profiles"]),
        "NETS" => text(&spec["nets"]),
        "TYPES" => {
            text(if spec["types"].is_null() { &spec["policyTypes"] } else { &spec["types"] })
        }
        "SELECTOR" => match &spec["podSelector"] {
            Value::Null => text(&spec["selector"]),
            selector => selector_text(selector),
        },
        "LABELS" => match object.id.kind {
            Kind::Profile => text(&spec["labelsToApply"]),
            _ => text(&object.value["metadata"]["labels"]),
        },
        _ => String::new(),
    }
}

/// A value in a cell: lists with commas, maps as `key=value`, nothing for nothing.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        Value::Object(fields) => {
            let pairs = fields.iter().map(|(key, value)| format!("{key}={}", text(value)));
            pairs.collect::<Vec<_>>().join(",")
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// A label selector of Kubernetes, as kubectl writes it.
fn selector_text(selector: &Value) -> String {
    let labels = selector["matchLabels"].as_object().into_iter().flatten();
    let mut parts: Vec<String> =
        labels.map(|(key, value)| format!("{key}={}", text(value))).collect();
    for one in selector["matchExpressions"].as_array().into_iter().flatten() {
        let (key, values) = (text(&one["key"]), text(&one["values"]));
        parts.push(match one["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key,
        });
    }
    if parts.is_empty() { "<none>".to_owned() } else { parts.join(",") }
}

/// A table for each kind, in the order of their first objects.
fn tables(objects: &[Object], format: &Format, has_namespaces: bool) -> Result<String, String> {
    let mut kinds: Vec<Kind> = Vec::new();
    for object in objects {
        if !kinds.contains(&object.id.kind) {
            kinds.push(object.id.kind);
        }
    }
    let mut tables = Vec::new();
    for kind in kinds {
        let (plain, wide, more) = columns(kind);
        let namespace = (kind.is_namespaced() && has_namespaces).then_some("NAMESPACE");
        let chosen: Vec<&str> = match format {
            Format::Columns(columns) => {
                let known = |column: &str| {
                    wide.contains(&column) || more.contains(&column) || column == "NAMESPACE"
                };
                if let Some(unknown) = columns.iter().find(|column| !known(column)) {
                    let all: Vec<&str> =
                        ["NAMESPACE"].iter().chain(wide).chain(more).copied().collect();
                    return Err(format!(
                        "a {} has no column {unknown}; accepted are {}",
                        kind.name(),
                        all.join(", ")
                    ));
                }
                columns.iter().map(String::as_str).collect()
            }
            Format::Wide => namespace.into_iter().chain(wide.iter().copied()).collect(),
            _ => namespace.into_iter().chain(plain.iter().copied()).collect(),
        };
        let rows = objects.iter().filter(|object| object.id.kind == kind);
        let rows = rows.map(|object| chosen.iter().map(|column| cell(object, column)).collect());
        tables.push(table(&chosen, rows.collect()));
    }
    Ok(tables.join("\n"))
}

fn table(columns: &[&str], rows: Vec<Vec<String>>) -> String {
    /// Between columns, as calicoctl has it.
    const SPACE: usize = 3;
    let mut lines: Vec<Vec<String>> = vec![columns.iter().map(|&title| title.to_owned()).collect()];
    let shown = |row: Vec<String>| row.iter().map(|cell| visible(cell).into_owned()).collect();
    lines.extend(rows.into_iter().map(shown));
    let mut widths: BTreeMap<usize, usize> = BTreeMap::new();
    for line in &lines {
        for (column, cell) in line.iter().enumerate() {
            let width = widths.entry(column).or_default();
            *width = (*width).max(cell.chars().count() + SPACE);
        }
    }
    let mut text = String::new();
    for line in lines {
        let mut row = String::new();
        for (column, cell) in line.iter().enumerate() {
            row.push_str(&format!("{cell:<width$}", width = widths[&column]));
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: Kind, namespace: Option<&str>, name: &str, spec: &Value) -> Object {
        let id = Id { kind, namespace: namespace.map(str::to_owned), name: name.to_owned() };
        let metadata = json!({"name": name, "labels": {"a": "b"}});
        let (api, kind) = (kind.api_version(), kind.name());
        let value = json!({"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec});
        Object { id, value }
    }

    fn host_endpoints() -> [Object; 2] {
        let spec = json!({
            "node": "host1", "expectedIPs": ["192.0.2.1", "2001:db8::1"], "profiles": ["a", "b"],
        });
        [
            object(Kind::HostEndpoint, None, "endpoint1", &spec),
            object(Kind::HostEndpoint, None, "myhost-eth0", &json!({"node": "myhost"})),
        ]
    }

    #[test]
    fn columns_are_those_of_calicoctl() {
        let hosts = host_endpoints();
        let policies = [
            object(
                Kind::CalicoNetworkPolicy,
                Some("shop"),
                "db",
                &json!({"order": 10.5, "selector": "app == \"db\"", "tier": "default"}),
            ),
            object(Kind::CalicoNetworkPolicy, Some("x"), "y", &json!({})),
        ];
        let sets = [object(Kind::GlobalNetworkSet, None, "s", &json!({"nets": ["10.0.0.0/8"]}))];
        let k8s = [object(
            Kind::NetworkPolicy,
            Some("shop"),
            "np",
            &json!({"podSelector": {"matchLabels": {"a": "b"}, "matchExpressions": [
                {"key": "c", "operator": "NotIn", "values": ["d", "e"]},
                {"key": "f", "operator": "DoesNotExist"},
            ]}}),
        )];
        let shown = |objects: &[Object], format: &str, all| {
            let format = format.parse().expect("a format");
            render(objects, &format, false, all).expect("shown")
        };
        for (got, want) in [
            (
                shown(&hosts, "ps", false),
                "NAME          NODE\nendpoint1     host1\nmyhost-eth0   myhost\n",
            ),
            (
                shown(&hosts, "wide", false),
                "NAME          NODE     INTERFACE   IPS                     PROFILES\n\
                 endpoint1     host1                192.0.2.1,2001:db8::1   a,b\n\
                 myhost-eth0   myhost\n",
            ),
            (
                shown(&hosts, "custom-columns=NAME,ips", false),
                "NAME          IPS\nendpoint1     192.0.2.1,2001:db8::1\nmyhost-eth0\n",
            ),
            (shown(&policies, "table", false), "NAME\ndb\ny\n"),
            (
                shown(&policies, "wide", true),
                "NAMESPACE   NAME   ORDER   SELECTOR\n\
                 shop        db     10.5    app == \"db\"\n\
                 x           y\n",
            ),
            (shown(&sets, "wide", true), "NAME   NETS\ns      10.0.0.0/8\n"),
            (shown(&k8s, "wide", false), "NAME   SELECTOR\nnp     a=b,c notin (d,e),!f\n"),
            (
                shown(&policies, "name", false),
                "networkpolicy.projectcalico.org/db\nnetworkpolicy.projectcalico.org/y\n",
            ),
            (shown(&[], "ps", false), ""),
        ] {
            assert_eq!(got, want);
        }
        let format = "custom-columns=NAME,AGE".parse().expect("a format");
        assert_eq!(
            render(&sets, &format, false, false),
            Err("a GlobalNetworkSet has no column AGE; accepted are NAMESPACE, NAME, NETS, LABELS"
                .to_owned())
        );
        let error = "go-template={{.}}".parse::<Format>().expect_err("no templates");
        assert!(error.contains("jq"), "{error}");
    }

    #[test]
    fn what_get_prints_is_what_apply_takes() {
        let hosts = host_endpoints();
        for (objects, is_one) in [(&hosts[..], false), (&hosts[..1], true), (&hosts[..1], false)] {
            for format in [Format::Yaml, Format::Json] {
                let text = render(objects, &format, is_one, false).expect("shown");
                let text = super::super::read::Text { name: String::new(), text };
                let documents = super::super::read::documents(&text).expect("YAML");
                let read = documents.into_iter().map(|(place, value)| {
                    super::super::read::object(&place, value, None).expect("an object")
                });
                assert_eq!(read.collect::<Vec<_>>(), objects, "{format:?} {is_one}");
            }
        }
    }
}
