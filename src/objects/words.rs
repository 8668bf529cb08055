//! The words for kinds that people type: all spellings that calicoctl takes, and kubectl's.

use crate::cluster::kind::Kind;

/// The kinds that can be handled.
pub const KINDS: [Kind; 15] = [
    Kind::GlobalNetworkPolicy,
    Kind::CalicoNetworkPolicy,
    Kind::HostEndpoint,
    Kind::GlobalNetworkSet,
    Kind::NetworkSet,
    Kind::Tier,
    Kind::Profile,
    Kind::StagedGlobalNetworkPolicy,
    Kind::StagedNetworkPolicy,
    Kind::StagedKubernetesNetworkPolicy,
    Kind::ClusterNetworkPolicy,
    Kind::NetworkPolicy,
    Kind::BgpConfiguration,
    Kind::BgpFilter,
    Kind::BgpPeer,
];

/// In the singular, as `kubectl api-resources` and CustomResourceDefinitions have it.
pub fn singular(kind: Kind) -> String {
    kind.name().to_ascii_lowercase()
}

/// Short words for a kind that a CustomResourceDefinition announces. None of them is a word of
/// Kubernetes' own kinds.
pub fn short_names(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::GlobalNetworkPolicy => &["gnp", "gnps"],
        Kind::CalicoNetworkPolicy => &["np", "nps"],
        Kind::HostEndpoint => &["hep", "heps"],
        Kind::GlobalNetworkSet => &["gns"],
        Kind::NetworkSet => &["netsets"],
        Kind::Profile => &["pro", "pros"],
        Kind::StagedGlobalNetworkPolicy => &["sgnp", "sgnps"],
        Kind::StagedNetworkPolicy => &["snp", "snps"],
        Kind::StagedKubernetesNetworkPolicy => &["sknp", "sknps"],
        Kind::ClusterNetworkPolicy => &["cnp"],
        Kind::NetworkPolicy => &["netpol", "knp"],
        Kind::BgpConfiguration => &["bgpconfig", "bgpconfigs"],
        Kind::BgpPeer => &["bgpp", "bgpps"],
        Kind::BgpFilter => &["bgpf"],
        Kind::Tier
        | Kind::Node
        | Kind::Namespace
        | Kind::ServiceAccount
        | Kind::Pod
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Secret => &[],
    }
}

/// Words of calicoctl that are neither the kind's name nor announced.
const MORE: [(&str, Kind); 13] = [
    ("policy", Kind::CalicoNetworkPolicy),
    ("policies", Kind::CalicoNetworkPolicy),
    ("pol", Kind::CalicoNetworkPolicy),
    ("pols", Kind::CalicoNetworkPolicy),
    ("caliconetworkpolicy", Kind::CalicoNetworkPolicy),
    ("caliconetworkpolicies", Kind::CalicoNetworkPolicy),
    ("netset", Kind::NetworkSet),
    ("kubernetesnetworkpolicy", Kind::NetworkPolicy),
    ("kubernetesnetworkpolicies", Kind::NetworkPolicy),
    ("knps", Kind::NetworkPolicy),
    ("netpols", Kind::NetworkPolicy),
    ("bp", Kind::BgpPeer),
    ("bps", Kind::BgpPeer),
];

/// The kind that a word means: its name, one or many, in any case, with its API group behind
/// if that is said (`networkpolicies.networking.k8s.io`), or a short word. `networkpolicy`
/// alone is Calico's, as in calicoctl.
///
/// # Errors
/// Nobody knows it; the message names the words that are.
pub fn kind(word: &str) -> Result<Kind, String> {
    let word = word.to_ascii_lowercase();
    let (name, group) = match word.split_once('.') {
        Some((name, group)) => (name, Some(group)),
        None => (&*word, None),
    };
    let is_of_group = |kind: &Kind| match group {
        // kubectl takes the version between, and the beginning of the group.
        Some(group) => {
            let (before, after) = group.split_once('.').unwrap_or((group, ""));
            let is_version = before.starts_with('v') && before.ends_with(|c: char| c.is_numeric());
            let group = if is_version && !after.is_empty() { after } else { group };
            kind.group() == group
        }
        None => *kind != Kind::NetworkPolicy,
    };
    let named = KINDS.into_iter().filter(is_of_group);
    let named = named.clone().find(|kind| name == singular(*kind) || name == kind.plural());
    let short = || {
        let mut kinds = KINDS.into_iter();
        kinds.find(|kind| group.is_none() && short_names(*kind).contains(&name))
    };
    let more = || MORE.iter().find(|(more, _)| group.is_none() && *more == name).map(|(_, k)| *k);
    named.or_else(short).or_else(more).ok_or_else(|| {
        let accepted: Vec<String> = KINDS.into_iter().map(accepted).collect();
        format!("{word:?} is no kind of object here; accepted are {}", accepted.join(", "))
    })
}

fn accepted(kind: Kind) -> String {
    match kind {
        Kind::NetworkPolicy => "kubernetesnetworkpolicy (knp)".to_owned(),
        kind => match short_names(kind) {
            [first, ..] => format!("{} ({first})", singular(kind)),
            [] => singular(kind),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn kinds_are_known_by_every_word_of_calicoctl() {
        for (words, want) in [
            (
                &["globalnetworkpolicy", "globalNetworkPolicies", "GlobalNetworkPolicy", "gnp"][..],
                Kind::GlobalNetworkPolicy,
            ),
            (
                &["networkpolicy", "networkpolicies", "policy", "np", "policies", "pol", "pols"],
                Kind::CalicoNetworkPolicy,
            ),
            (&["hostendpoint", "hostEndpoints", "hep", "HEPS"], Kind::HostEndpoint),
            (&["networkset", "NetworkSets", "netsets"], Kind::NetworkSet),
            (&["globalnetworkset", "globalNetworkSets"], Kind::GlobalNetworkSet),
            (&["profile", "profiles", "pro", "pros"], Kind::Profile),
            (&["tier", "tiers"], Kind::Tier),
            (&["stagedglobalnetworkpolicies", "sgnp"], Kind::StagedGlobalNetworkPolicy),
            (&["stagednetworkpolicy", "snp"], Kind::StagedNetworkPolicy),
            (&["stagedkubernetesnetworkpolicies"], Kind::StagedKubernetesNetworkPolicy),
            (&["clusternetworkpolicy", "cnp"], Kind::ClusterNetworkPolicy),
            (&["bgppeer", "bgpPeers", "bgpp", "bp"], Kind::BgpPeer),
            (&["bgpconfiguration", "bgpconfig", "bgpconfigs"], Kind::BgpConfiguration),
            (&["bgpfilter", "BGPFilters"], Kind::BgpFilter),
            (&["networkpolicies.networking.k8s.io", "knp", "netpol"], Kind::NetworkPolicy),
            (
                &["networkpolicies.projectcalico.org", "networkpolicy.v3.projectcalico.org"],
                Kind::CalicoNetworkPolicy,
            ),
        ] {
            for word in words {
                assert_eq!(kind(word), Ok(want), "{word}");
            }
        }
        for word in ["", "ippool", "node", "globalnetworkpolicyx", "gnp.projectcalico.org", "x.y"] {
            let error = kind(word).expect_err(word);
            assert!(error.starts_with(&format!("{word:?} is no kind")), "{error}");
            assert!(error.contains("hostendpoint (hep)"), "{error}");
        }
    }

    #[test]
    fn no_word_means_two_kinds() {
        let mut words = BTreeSet::new();
        let all = KINDS.into_iter().flat_map(|kind| short_names(kind).iter().copied());
        for word in all.chain(MORE.iter().map(|(word, _)| *word)) {
            assert!(words.insert(word), "{word}");
        }
    }
}
