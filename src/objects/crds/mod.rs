//! The CustomResourceDefinitions with which a cluster without Calico takes Calico's objects.
//!
//! Their schemas are those of the types that `brindle_policy::ingest` reads. They are marked as
//! ours: definitions that others brought are never written over.

mod structural;

use brindle_policy::api::{calico, cluster};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::words::{KINDS, short_names, singular};
use crate::cluster::bgp::api as bgp;
use crate::cluster::kind::Kind;

/// What marks a definition as ours,
pub const MARK: (&str, &str) = ("app.kubernetes.io/managed-by", "brindle");
/// What Kubernetes asks of definitions in its own groups.
const APPROVED: (&str, &str) = (
    "api-approved.kubernetes.io",
    "unapproved, made by brindle for clusters that do not have the definition of SIG Network",
);

/// The kinds that have a definition: all but those that every cluster has.
pub fn kinds() -> impl Iterator<Item = Kind> {
    KINDS.into_iter().filter(|kind| *kind != Kind::NetworkPolicy)
}

/// The name of a kind's definition.
pub fn name(kind: Kind) -> String {
    format!("{}.{}", kind.plural(), kind.group())
}

/// The definition of a kind; `None` if every cluster has it.
pub fn definition(kind: Kind) -> Option<Value> {
    let spec = spec(kind)?;
    let version = kind.api_version().split_once('/').map_or("", |(_, version)| version);
    let scope = if kind.is_namespaced() { "Namespaced" } else { "Cluster" };
    let mut metadata = json!({"name": name(kind), "labels": {MARK.0: MARK.1}});
    if kind.group().ends_with(".k8s.io") {
        metadata["annotations"] = json!({APPROVED.0: APPROVED.1});
    }
    let mut names = json!({
        "kind": kind.name(),
        "listKind": format!("{}List", kind.name()),
        "plural": kind.plural(),
        "singular": singular(kind),
    });
    if let short @ [_, ..] = short_names(kind) {
        names["shortNames"] = json!(short);
    }
    let mut schema = json!({
        "type": "object",
        "description": describe(kind),
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
        },
    });
    let mut served = json!({
        "name": version,
        "served": true,
        "storage": true,
        "additionalPrinterColumns": columns(kind),
    });
    if kind == Kind::ClusterNetworkPolicy {
        schema["required"] = json!(["metadata", "spec"]);
        // Controllers tell there what became of it.
        schema["properties"]["status"] =
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        served["subresources"] = json!({"status": {}});
    }
    served["schema"] = json!({"openAPIV3Schema": schema});
    Some(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": {
            "group": kind.group(),
            "names": names,
            "scope": scope,
            "versions": [served],
        },
    }))
}

/// The definition as a file has it.
///
/// # Errors
/// It cannot be written as YAML.
pub fn manifest(definition: &Value) -> Result<String, serde_yaml::Error> {
    let text = serde_yaml::to_string(definition)?;
    Ok(format!(
        "# Printed by `brindle crds`: change the types in policy/src/api or src/cluster/bgp, not this.\n{text}"
    ))
}

/// The schema of `spec`.
fn spec(kind: Kind) -> Option<Value> {
    Some(match kind {
        Kind::GlobalNetworkPolicy => schema::<calico::GlobalNetworkPolicySpec>(),
        Kind::CalicoNetworkPolicy => schema::<calico::NetworkPolicySpec>(),
        Kind::StagedGlobalNetworkPolicy => schema::<calico::StagedGlobalNetworkPolicySpec>(),
        Kind::StagedNetworkPolicy => schema::<calico::StagedNetworkPolicySpec>(),
        Kind::StagedKubernetesNetworkPolicy => {
            schema::<calico::StagedKubernetesNetworkPolicySpec>()
        }
        Kind::HostEndpoint => schema::<calico::HostEndpointSpec>(),
        Kind::NetworkSet => schema::<calico::NetworkSetSpec>(),
        Kind::GlobalNetworkSet => schema::<calico::GlobalNetworkSetSpec>(),
        Kind::Tier => schema::<calico::TierSpec>(),
        Kind::Profile => schema::<calico::ProfileSpec>(),
        Kind::ClusterNetworkPolicy => schema::<cluster::ClusterNetworkPolicySpec>(),
        Kind::BgpConfiguration => schema::<bgp::BgpConfigurationSpec>(),
        Kind::BgpFilter => schema::<bgp::BgpFilterSpec>(),
        Kind::BgpPeer => schema::<bgp::BgpPeerSpec>(),
        Kind::NetworkPolicy
        | Kind::Node
        | Kind::Namespace
        | Kind::ServiceAccount
        | Kind::Pod
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Secret => return None,
    })
}

fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let schema = settings.into_generator().into_root_schema_for::<T>();
    structural::rewritten(schema.to_value())
}

/// What `kubectl explain` says of a kind.
fn describe(kind: Kind) -> &'static str {
    match kind {
        Kind::GlobalNetworkPolicy => {
            "Rules for packets of pods of all namespaces and of host endpoints, in order and in \
             tiers."
        }
        Kind::CalicoNetworkPolicy => {
            "Rules for packets of pods of the namespace, in order and in tiers."
        }
        Kind::StagedGlobalNetworkPolicy => {
            "A GlobalNetworkPolicy that is only tried: what it would do is told, and not done."
        }
        Kind::StagedNetworkPolicy => {
            "A NetworkPolicy of Calico that is only tried: what it would do is told, and not done."
        }
        Kind::StagedKubernetesNetworkPolicy => {
            "A NetworkPolicy of Kubernetes that is only tried: what it would do is told, and not \
             done."
        }
        Kind::HostEndpoint => "Interfaces of a node, for policies to govern.",
        Kind::NetworkSet => "Blocks of addresses with labels, for rules of the namespace.",
        Kind::GlobalNetworkSet => "Blocks of addresses with labels, for rules to select.",
        Kind::Tier => "Policies that are judged together, before or after those of other tiers.",
        Kind::Profile => "Rules and labels for host endpoints that name it.",
        Kind::ClusterNetworkPolicy => {
            "What administrators decide about packets of pods, before or after NetworkPolicies."
        }
        Kind::BgpConfiguration => {
            "What holds for the BGP speakers of all nodes (default) or of one (node.NAME)."
        }
        Kind::BgpFilter => "Rules for routes, for BGPPeers that name it.",
        Kind::BgpPeer => "BGP sessions of some nodes with a router, or with other nodes.",
        Kind::NetworkPolicy
        | Kind::Node
        | Kind::Namespace
        | Kind::ServiceAccount
        | Kind::Pod
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Secret => "",
    }
}

/// What `kubectl get` shows beside the name.
fn columns(kind: Kind) -> Value {
    let column = |name: &str, path: &str, of: &str, priority: u8| json!({"name": name, "jsonPath": path, "type": of, "priority": priority});
    let mut columns = match kind {
        Kind::GlobalNetworkPolicy
        | Kind::CalicoNetworkPolicy
        | Kind::StagedGlobalNetworkPolicy
        | Kind::StagedNetworkPolicy => vec![
            column("Tier", ".spec.tier", "string", 0),
            column("Order", ".spec.order", "number", 0),
            column("Selector", ".spec.selector", "string", 1),
        ],
        Kind::HostEndpoint => vec![
            column("Node", ".spec.node", "string", 0),
            column("Interface", ".spec.interfaceName", "string", 0),
        ],
        Kind::Tier => vec![
            column("Order", ".spec.order", "number", 0),
            column("Action", ".spec.defaultAction", "string", 0),
        ],
        Kind::ClusterNetworkPolicy => vec![
            column("Tier", ".spec.tier", "string", 0),
            column("Priority", ".spec.priority", "integer", 0),
        ],
        Kind::BgpPeer => vec![
            column("PeerIP", ".spec.peerIP", "string", 0),
            column("ASN", ".spec.asNumber", "string", 0),
            column("Node", ".spec.node", "string", 1),
            column("NodeSelector", ".spec.nodeSelector", "string", 1),
            column("PeerSelector", ".spec.peerSelector", "string", 1),
        ],
        Kind::BgpConfiguration => vec![
            column("Mesh", ".spec.nodeToNodeMeshEnabled", "boolean", 0),
            column("ASN", ".spec.asNumber", "string", 0),
        ],
        Kind::BgpFilter
        | Kind::Secret
        | Kind::StagedKubernetesNetworkPolicy
        | Kind::NetworkSet
        | Kind::GlobalNetworkSet
        | Kind::Profile
        | Kind::NetworkPolicy
        | Kind::Node
        | Kind::Namespace
        | Kind::ServiceAccount
        | Kind::Pod
        | Kind::Service
        | Kind::EndpointSlice => Vec::new(),
    };
    columns.push(column("Age", ".metadata.creationTimestamp", "date", 0));
    Value::Array(columns)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// `BLESS=1` writes them.
    #[test]
    fn the_shipped_definitions_are_what_the_types_say() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes/crds");
        let bless = std::env::var_os("BLESS").is_some();
        let mut names = Vec::new();
        for kind in kinds() {
            let text = manifest(&definition(kind).expect("it has one")).expect("YAML");
            let file = folder.join(format!("{}.yaml", kind.plural()));
            if bless {
                fs::write(&file, &text).expect("a file");
            }
            let shipped = fs::read_to_string(&file).unwrap_or_default();
            assert!(
                shipped == text,
                "{} is not what `brindle crds` prints: BLESS=1 cargo test -p brindle --lib crds",
                file.display()
            );
            names.push(file);
        }
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            assert!(names.contains(&path), "{} belongs to no kind", path.display());
        }
    }

    #[test]
    fn schemas_are_structural() {
        fn walk(path: &str, schema: &Value) {
            let fields = schema.as_object().unwrap_or_else(|| panic!("{path}: {schema}"));
            for field in ["$ref", "$schema", "$defs", "title", "oneOf", "allOf", "const", "not"] {
                assert!(!fields.contains_key(field), "{path}: {field}");
            }
            let is_either = fields.contains_key("x-kubernetes-int-or-string");
            assert_eq!(fields.contains_key("anyOf"), is_either, "{path}: anyOf");
            assert!(is_either || fields["type"].is_string(), "{path}: {schema}");
            if path.ends_with(']') || path.contains('.') {
                let is_inner = path.ends_with("[]") || path.ends_with("{}") || is_either;
                assert!(is_inner || fields.contains_key("description"), "{path}: no description");
            }
            for (name, inner) in
                fields.get("properties").and_then(Value::as_object).into_iter().flatten()
            {
                walk(&format!("{path}.{name}"), inner);
            }
            if let Some(items) = fields.get("items") {
                walk(&format!("{path}[]"), items);
            }
            if let Some(values) = fields.get("additionalProperties") {
                walk(&format!("{path}{{}}"), values);
            }
        }
        for kind in kinds() {
            walk(kind.name(), &spec(kind).expect("it has one"));
        }
    }
}
