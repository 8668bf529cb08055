//! Whether an object would be enforced as it is written: what `brindle_policy::ingest` says of
//! it, and what it does not even look at.

use brindle_policy::api::{calico, cluster};
use brindle_policy::ingest;
use brindle_policy::model::{Policy, Problem};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::found::Object;
use crate::cluster::bgp;
use crate::cluster::fields::culprit;
use crate::cluster::kind::Kind;
use crate::cluster::node::BadField;
use crate::cluster::typed::{unknown, without_place};

/// Something about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The path of the field; empty for the whole.
    pub field: String,
    /// The value, what would be accepted, and what follows.
    pub message: String,
    /// Whether the object is not accepted like this. What is not is only not enforced, or not
    /// as its author may hope.
    pub is_refused: bool,
}

/// Everything that is to be said of an object.
pub fn check(object: &Object) -> Vec<Finding> {
    type Judged<T> = Result<(T, Vec<Problem>), Problem>;
    fn policy(read: Result<Policy, Problem>) -> Vec<Finding> {
        findings(read.map_or_else(|problem| vec![problem], |policy| policy.problems))
    }
    fn other<T>(read: Judged<T>) -> Vec<Finding> {
        findings(read.map_or_else(|problem| vec![problem], |(_, problems)| problems))
    }
    match object.id.kind {
        Kind::NetworkPolicy => of(object, |o: &NetworkPolicy| policy(ingest::network_policy(o))),
        Kind::CalicoNetworkPolicy => {
            of(object, |o: &calico::NetworkPolicy| policy(ingest::network_policy_v3(o)))
        }
        Kind::GlobalNetworkPolicy => {
            of(object, |o: &calico::GlobalNetworkPolicy| policy(ingest::global_network_policy(o)))
        }
        Kind::StagedNetworkPolicy => {
            of(object, |o: &calico::StagedNetworkPolicy| policy(ingest::staged_network_policy(o)))
        }
        Kind::StagedGlobalNetworkPolicy => of(object, |o: &calico::StagedGlobalNetworkPolicy| {
            policy(ingest::staged_global_network_policy(o))
        }),
        Kind::StagedKubernetesNetworkPolicy => {
            of(object, |o: &calico::StagedKubernetesNetworkPolicy| {
                policy(ingest::staged_kubernetes_network_policy(o))
            })
        }
        Kind::ClusterNetworkPolicy => of(object, |o: &cluster::ClusterNetworkPolicy| {
            policy(ingest::cluster_network_policy(o))
        }),
        Kind::HostEndpoint => {
            of(object, |o: &calico::HostEndpoint| other(ingest::host_endpoint(o)))
        }
        Kind::NetworkSet => of(object, |o: &calico::NetworkSet| other(ingest::network_set(o))),
        Kind::GlobalNetworkSet => {
            of(object, |o: &calico::GlobalNetworkSet| other(ingest::global_network_set(o)))
        }
        Kind::Tier => of(object, |o: &calico::Tier| other(ingest::tier(o))),
        Kind::Profile => of(object, |o: &calico::Profile| other(ingest::profile(o))),
        Kind::BgpConfiguration => of(object, |o| bgp_findings(bgp::read_configuration(o))),
        Kind::BgpFilter => of(object, |o| bgp_findings(bgp::read_filter(o))),
        Kind::BgpPeer => of(object, |o| bgp_findings(bgp::read_peer(o))),
        Kind::Node
        | Kind::Namespace
        | Kind::ServiceAccount
        | Kind::Pod
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Secret => Vec::new(),
    }
}

fn findings(problems: Vec<Problem>) -> Vec<Finding> {
    let finding = |Problem { field, message }| {
        let is_refused = !is_only_not_enforced(&field);
        Finding { field, message, is_refused }
    };
    problems.into_iter().map(finding).collect()
}

/// The same of what is read for BGP: what does nothing here is right nevertheless.
fn bgp_findings<T>(read: bgp::Reading<T>) -> Vec<Finding> {
    let (found, is_refused) = match read {
        Ok((_, idle)) => (idle, false),
        Err(wrong) => (wrong, true),
    };
    let finding = |BadField { field, message }| Finding { field, message, is_refused };
    found.into_iter().map(finding).collect()
}

/// The object as a `T`, and what `judge` says of it.
fn of<T: DeserializeOwned + Serialize>(
    object: &Object,
    judge: impl Fn(&T) -> Vec<Finding>,
) -> Vec<Finding> {
    let refused = |field: String, message: String| Finding { field, message, is_refused: true };
    let value = match serde_yaml::to_value(&object.value) {
        Ok(value) => value,
        Err(error) => return vec![refused(String::new(), error.to_string())],
    };
    let typed = match T::deserialize(&value) {
        Ok(typed) => typed,
        Err(error) => return vec![refused(culprit::<T>(&value), without_place(&error))],
    };
    let unknown = unknown(&typed, &value).into_iter().map(|field| {
        refused(field, format!("a {} has no such field; it says nothing", object.id.kind.name()))
    });
    // Of a field that is twice in the list, the first says what is wrong with it.
    let mut findings: Vec<Finding> = Vec::new();
    for finding in unknown.chain(judge(&typed)) {
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    findings
}

/// Fields that an API server takes and that nobody here evaluates.
fn is_only_not_enforced(field: &str) -> bool {
    field.split(['.', '[']).any(|part| matches!(part, "http" | "domainNames" | "nodes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::read::{self, Text};

    fn checked(text: &str) -> Vec<(String, bool)> {
        let text = Text { name: "f".to_owned(), text: text.to_owned() };
        let documents = read::documents(&text).expect("YAML");
        let objects = documents.into_iter().map(|(p, v)| read::object(&p, v, None).expect("one"));
        let found = objects.flat_map(|object| check(&object));
        found.map(|finding| (finding.field, finding.is_refused)).collect()
    }

    fn gnp(spec: &str) -> String {
        format!(
            "{{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {{name: a}}, \
             spec: {spec}}}"
        )
    }

    #[test]
    fn what_would_not_be_enforced_as_it_is_written_is_refused() {
        for (spec, want) in [
            ("{selector: a == 'b', types: [Egress]}", None),
            (
                "{ingress: [{action: Allow, protocol: TCP, destination: {ports: [22, '1:2', x]}}]}",
                None,
            ),
            ("{selector: a = 'b'}", Some(("spec.selector", true))),
            ("{selecter: a == 'b'}", Some(("spec.selecter", true))),
            ("{order: first}", Some(("spec.order", true))),
            ("{ingress: [{action: allow}]}", Some(("spec.ingress[0].action", true))),
            (
                "{ingress: [{action: Allow, http: {methods: [GET]}}]}",
                Some(("spec.ingress[0].http", false)),
            ),
        ] {
            let want: Vec<_> = want.into_iter().map(|(f, r)| (f.to_owned(), r)).collect();
            assert_eq!(checked(&gnp(spec)), want, "{spec}");
        }
    }

    #[test]
    fn every_kind_is_looked_at() {
        use crate::objects::words::KINDS;
        for kind in KINDS {
            let text = format!(
                "{{apiVersion: {}, kind: {}, metadata: {{name: a}}, spec: {{surprise: 1}}}}",
                kind.api_version(),
                kind.name()
            );
            let found = checked(&text);
            assert!(found.contains(&("spec.surprise".to_owned(), true)), "{kind:?}: {found:?}");
        }
    }
}
