//! Whose a range is. Where nodes claim overlapping pod ranges, one of them has it: the Node
//! that was created first; where that does not decide, the one that had it before; then the
//! first by name. The claim of the other is refused as a whole, its other ranges are not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use brindle_bgp::net::Prefix;
use brindle_bgp::rib::Owned;

use super::Node;
use super::services::{Advertised, Reason};

/// A range that a Node claims and does not get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedClaim {
    /// The Node that claims it.
    pub node: Arc<str>,
    /// What it claims.
    pub range: Prefix,
    /// The Node that has a range which overlaps it.
    pub owner: Arc<str>,
    /// That range.
    pub theirs: Prefix,
}

impl fmt::Display for RefusedClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, range, owner, theirs } = self;
        write!(f, "{range} of Node/{node} overlaps {theirs} of Node/{owner}, which had it first")
    }
}

/// Whose a prefix is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// It lies in the pod range of this node.
    Node(Arc<str>),
    /// It is an address of this node.
    Address(Arc<str>),
    /// Some nodes announce it, for these reasons.
    Services(BTreeSet<Reason>),
    /// It is nobody's as a whole, but holds the pod ranges of these nodes.
    Covers(Vec<Arc<str>>),
    /// No node has anything to do with it.
    Nobody,
}

/// Nodes that [`Owner::Covers`] names one by one.
const NAMED: usize = 3;

impl Owner {
    /// The node that has it, if one does.
    pub fn node(&self) -> Option<&Arc<str>> {
        match self {
            Owner::Node(name) | Owner::Address(name) => Some(name),
            Owner::Services(_) | Owner::Covers(_) | Owner::Nobody => None,
        }
    }
}

impl fmt::Display for Owner {
    /// What follows the prefix in a sentence: `belongs to Node/n2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Owner::Node(name) => write!(f, "belongs to Node/{name}"),
            Owner::Address(name) => write!(f, "is an address of Node/{name}"),
            Owner::Nobody => f.write_str("belongs to no node"),
            Owner::Services(reasons) => {
                let named: Vec<String> =
                    reasons.iter().take(NAMED).map(ToString::to_string).collect();
                write!(f, "belongs to other nodes: {}", named.join(", "))
            }
            Owner::Covers(names) => {
                let named: Vec<String> =
                    names.iter().take(NAMED).map(|name| format!("Node/{name}")).collect();
                write!(f, "belongs to no node and covers ranges of {}", named.join(", "))?;
                match names.len().saturating_sub(NAMED) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
        }
    }
}

/// What each node has of what it claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Pod ranges and who has them; no two overlap.
    pods: BTreeMap<Prefix, Arc<str>>,
    /// All that a node may announce: its pod ranges, then its further networks.
    ranges: BTreeMap<Arc<str>, Arc<[Prefix]>>,
    addresses: BTreeMap<IpAddr, Arc<str>>,
    refused: Vec<RefusedClaim>,
    /// What nodes may announce for Services besides.
    services: Arc<Advertised>,
}

/// Decides over the claims of all `nodes`. `configured` is the node whose pod ranges are
/// configured, and these: they stand for those of its Node object and come before all others.
/// `before` is what was decided last.
///
/// Further networks (`brindle.dev/networks`) may be had by many nodes at once; refused are
/// those that lie in the pod range of another.
pub fn settle(
    nodes: &BTreeMap<Arc<str>, Arc<Node>>,
    configured: Option<(&Arc<str>, &[Prefix])>,
    before: &Claims,
) -> Claims {
    let mut claims = Claims::default();
    let mut wanted: Vec<(&Arc<str>, Prefix)> = Vec::new();
    for node in nodes.values().filter(|node| configured.is_none_or(|(own, _)| *own != node.name)) {
        wanted.extend(node.pod_cidrs.iter().map(|range| (&node.name, *range)));
    }
    wanted.sort_by_cached_key(|&(name, range)| {
        let created = nodes.get(name).and_then(|node| node.created);
        // A Node without the time of its creation stands behind those that have one.
        (created.is_none(), created, !before.has(name, &range), Arc::clone(name), range)
    });
    let configured = configured
        .into_iter()
        .flat_map(|(name, ranges)| ranges.iter().map(move |range| (name, *range)));
    for (name, range) in configured.chain(wanted) {
        match claims.overlapping(&range) {
            Some((theirs, owner)) if owner != name => {
                let (theirs, owner) = (*theirs, Arc::clone(owner));
                claims.refused.push(RefusedClaim { node: Arc::clone(name), range, owner, theirs });
            }
            _ => _ = claims.pods.insert(range, Arc::clone(name)),
        }
    }
    let mut ranges: BTreeMap<Arc<str>, Vec<Prefix>> = BTreeMap::new();
    for (range, name) in &claims.pods {
        ranges.entry(Arc::clone(name)).or_default().push(*range);
    }
    for node in nodes.values() {
        for range in &node.networks {
            match claims.holding(range) {
                Some((theirs, owner)) if *owner != node.name => {
                    let (theirs, owner) = (*theirs, Arc::clone(owner));
                    let node = Arc::clone(&node.name);
                    claims.refused.push(RefusedClaim { node, range: *range, owner, theirs });
                }
                _ => ranges.entry(Arc::clone(&node.name)).or_default().push(*range),
            }
        }
        for address in &node.addresses {
            claims.addresses.entry(*address).or_insert_with(|| Arc::clone(&node.name));
        }
    }
    claims.ranges = ranges.into_iter().map(|(name, ranges)| (name, ranges.into())).collect();
    claims
}

impl Claims {
    /// The same with what nodes announce for Services, all of which they may.
    pub fn with_services(self, services: Arc<Advertised>) -> Self {
        Self { services, ..self }
    }

    /// What nodes announce for Services.
    pub fn services(&self) -> &Advertised {
        &self.services
    }

    /// What was refused.
    pub fn refused(&self) -> &[RefusedClaim] {
        &self.refused
    }

    /// Whether the node has this very pod range.
    pub fn has(&self, node: &str, range: &Prefix) -> bool {
        self.pods.get(range).is_some_and(|owner| &**owner == node)
    }

    /// The ranges inside which the node may announce everything.
    pub fn ranges(&self, node: &str) -> Arc<[Prefix]> {
        self.ranges.get(node).cloned().unwrap_or_default()
    }

    /// All that the node may announce.
    pub fn owned(&self, node: &str) -> Owned {
        Owned { inside: self.ranges(node), exactly: self.services.owned(node) }
    }

    /// The ranges inside which nodes may announce everything. What they announce for Services is
    /// not among it: nobody else shall lead packets to a node that has no endpoint.
    pub fn all_ranges(&self) -> Arc<[Prefix]> {
        let all: BTreeSet<Prefix> =
            self.ranges.values().flat_map(|one| one.iter().copied()).collect();
        all.into_iter().collect()
    }

    /// A pod range, or an address of a node, that has anything in common with a block, and whose
    /// that is; the first if there are more.
    pub fn within(&self, block: &Prefix) -> Option<(Prefix, &Arc<str>)> {
        let pods = self.overlapping(block).map(|(range, node)| (*range, node));
        let address = || {
            let mut addresses = self.addresses.iter();
            let (address, node) = addresses.find(|(address, _)| block.contains(**address))?;
            Some((Prefix::host(*address), node))
        };
        pods.or_else(address)
    }

    /// The node that an address is one of.
    pub fn node_at(&self, address: IpAddr) -> Option<&Arc<str>> {
        self.addresses.get(&address)
    }

    /// What the node may announce, as a sentence.
    pub fn owns(&self, node: &str) -> String {
        let of_services = self.services.prefixes(node);
        let mut ranges: Vec<String> = self.ranges(node).iter().map(ToString::to_string).collect();
        ranges.extend(of_services.iter().take(NAMED).map(ToString::to_string));
        match of_services.len().saturating_sub(NAMED) {
            0 if ranges.is_empty() => format!("{node} owns nothing"),
            0 => format!("{node} owns {}", ranges.join(", ")),
            more => format!("{node} owns {} and {more} more of Services", ranges.join(", ")),
        }
    }

    /// What may be announced with each node's addresses as next hop.
    pub fn by_next_hop(&self) -> BTreeMap<IpAddr, Owned> {
        let owned = |(address, node): (&IpAddr, &Arc<str>)| (*address, self.owned(node));
        self.addresses.iter().map(owned).collect()
    }

    /// Whether the node that `next_hop` is an address of may announce the prefix.
    pub fn is_justified(&self, prefix: &Prefix, next_hop: IpAddr) -> bool {
        let node = self.addresses.get(&next_hop);
        node.is_some_and(|node| self.owned(node).has(prefix))
    }

    /// Whose a prefix is.
    pub fn owner(&self, prefix: &Prefix) -> Owner {
        if let Some((_, name)) = self.holding(prefix) {
            return Owner::Node(Arc::clone(name));
        }
        if prefix.is_host()
            && let Some(name) = self.addresses.get(&prefix.address())
        {
            return Owner::Address(Arc::clone(name));
        }
        let reasons = self.services.reasons_anywhere(prefix);
        if !reasons.is_empty() {
            return Owner::Services(reasons.into_iter().cloned().collect());
        }
        let inside = self.pods.range(prefix..).take_while(|(range, _)| prefix.covers(range));
        let mut names: Vec<Arc<str>> = inside.map(|(_, name)| Arc::clone(name)).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() { Owner::Nobody } else { Owner::Covers(names) }
    }

    /// The pod range that `prefix` lies in.
    fn holding(&self, prefix: &Prefix) -> Option<(&Prefix, &Arc<str>)> {
        // No two overlap: only the last that begins no later can.
        let nearest = self.pods.range(..=prefix).next_back();
        nearest.filter(|(range, _)| range.covers(prefix))
    }

    /// A pod range that has anything in common with `range`.
    fn overlapping(&self, range: &Prefix) -> Option<(&Prefix, &Arc<str>)> {
        let inside = self.pods.range(range..).next().filter(|(other, _)| range.covers(other));
        self.holding(range).or(inside)
    }
}

#[cfg(test)]
mod tests {
    use brindle_bgp::net::Family;
    use brindle_policy::model::{ServiceName, SliceKey};

    use super::*;
    use crate::cluster::services::{Endpoints, Service, ServiceObjects, advertise};

    /// `n2@5 10.244.2.0/24 +192.0.2.0/24`: name, time of creation if any, pod ranges, networks.
    fn node(text: &str) -> Arc<Node> {
        let mut words = text.split_whitespace();
        let name = words.next().unwrap();
        let (name, created) = name.split_once('@').unwrap_or((name, ""));
        let (networks, pods): (Vec<&str>, Vec<&str>) = words.partition(|w| w.starts_with('+'));
        Arc::new(Node {
            name: name.into(),
            addresses: vec![format!("10.0.0.{}", &name[1..]).parse().unwrap()],
            pod_cidrs: pods.iter().map(|range| range.parse().unwrap()).collect(),
            networks: networks.iter().map(|range| range[1..].parse().unwrap()).collect(),
            asn: None,
            route_reflector: None,
            created: created.parse().ok().map(|at| jiff::Timestamp::from_second(at).unwrap()),
            labels: BTreeMap::new(),
            cordon: Default::default(),
        })
    }

    fn nodes(texts: &[&str]) -> BTreeMap<Arc<str>, Arc<Node>> {
        texts.iter().map(|text| node(text)).map(|node| (Arc::clone(&node.name), node)).collect()
    }

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    fn refused(claims: &Claims) -> Vec<String> {
        claims.refused().iter().map(|one| format!("{} {}", one.node, one.range)).collect()
    }

    #[test]
    fn of_two_nodes_that_claim_one_range_the_first_has_it() {
        let nothing = Claims::default();
        for (texts, want) in [
            (&["n1@1 10.244.1.0/24", "n2@2 10.244.2.0/24"][..], &[][..]),
            // The time of creation decides, in whatever way they overlap.
            (&["n1@2 10.244.1.0/24", "n2@1 10.244.1.0/24"], &["n1 10.244.1.0/24"]),
            (&["n1@2 10.244.0.0/16", "n2@1 10.244.1.0/24"], &["n1 10.244.0.0/16"]),
            (&["n1@2 10.244.1.0/24", "n2@1 10.244.0.0/16"], &["n1 10.244.1.0/24"]),
            // Then the name; a node without a time comes behind.
            (&["n1@1 10.244.1.0/24", "n2@1 10.244.1.0/24"], &["n2 10.244.1.0/24"]),
            (&["n1 10.244.1.0/24", "n2 10.244.1.0/24"], &["n2 10.244.1.0/24"]),
            (&["n1 10.244.1.0/24", "n2@9 10.244.1.0/24"], &["n1 10.244.1.0/24"]),
            // Only what overlaps is refused.
            (
                &["n1@1 10.244.1.0/24 fd00:1::/64", "n2@2 10.244.1.0/25 fd00:2::/64"],
                &["n2 10.244.1.0/25"],
            ),
            // Who is refused refuses nobody.
            (
                &["n1@1 10.244.1.0/24", "n2@2 10.244.0.0/16", "n3@3 10.244.3.0/24"],
                &["n2 10.244.0.0/16"],
            ),
            // Networks may be shared, but none lies in the pod range of another.
            (&["n1@1 10.244.1.0/24 +192.0.2.0/24", "n2@2 +192.0.2.0/24"], &[]),
            (&["n1@2 10.244.1.0/24 +10.244.1.0/25", "n2@1 +10.244.1.0/25"], &["n2 10.244.1.0/25"]),
            (&["n1@1 10.244.1.0/24", "n2@2 10.244.2.0/24 +0.0.0.0/0"], &[]),
        ] {
            let claims = settle(&nodes(texts), None, &nothing);
            assert_eq!(refused(&claims), want, "{texts:?}");
            for one in claims.refused() {
                assert!(!claims.ranges(&one.node).contains(&one.range), "{texts:?}");
            }
        }
    }

    #[test]
    fn who_has_a_range_keeps_it_unless_an_older_node_comes() {
        let range = prefix("10.244.1.0/24");
        let alone = settle(&nodes(&["n2@5 10.244.1.0/24"]), None, &Claims::default());
        let both = ["n1@5 10.244.1.0/24", "n2@5 10.244.1.0/24"];
        let same = settle(&nodes(&both), None, &alone);
        assert!(same.has("n2", &range), "equally old: who had it before");
        let older = settle(&nodes(&["n1@4 10.244.1.0/24", "n2@5 10.244.1.0/24"]), None, &same);
        assert!(older.has("n1", &range));
        let gone = settle(&nodes(&["n2@5 10.244.1.0/24"]), None, &older);
        assert!(gone.has("n2", &range) && gone.refused().is_empty(), "the first is gone");
    }

    #[test]
    fn what_is_configured_here_comes_before_every_node() {
        let nodes = nodes(&["n1@9 10.244.9.0/24", "n2@1 10.244.1.0/24"]);
        let (own, ranges) = ("n1".into(), [prefix("10.244.1.0/24")]);
        let claims = settle(&nodes, Some((&own, &ranges)), &Claims::default());
        assert_eq!(refused(&claims), ["n2 10.244.1.0/24"]);
        assert_eq!(*claims.ranges("n1"), ranges, "in place of what its Node says");
    }

    #[test]
    fn the_order_of_nodes_never_matters() {
        let texts = ["n1 10.0.0.0/8", "n2 10.244.0.0/16", "n3 10.244.1.0/24", "n4 10.1.0.0/16"];
        let want = settle(&nodes(&texts), None, &Claims::default());
        let again = settle(&nodes(&texts), None, &want);
        assert_eq!(again, want, "deciding again changes nothing");
        assert_eq!(refused(&want), ["n2 10.244.0.0/16", "n3 10.244.1.0/24", "n4 10.1.0.0/16"]);
    }

    #[test]
    fn the_owner_of_a_prefix_is_named() {
        let nodes =
            nodes(&["n1 10.244.1.0/24", "n2 10.244.2.0/24", "n3 10.244.3.0/24 fd00:3::/64"]);
        let claims = settle(&nodes, None, &Claims::default());
        for (text, want, node) in [
            ("10.244.2.0/24", "belongs to Node/n2", Some("n2")),
            ("10.244.2.7/32", "belongs to Node/n2", Some("n2")),
            ("fd00:3::/80", "belongs to Node/n3", Some("n3")),
            ("10.0.0.3/32", "is an address of Node/n3", Some("n3")),
            ("10.244.2.0/23", "belongs to no node and covers ranges of Node/n2, Node/n3", None),
            (
                "0.0.0.0/0",
                "belongs to no node and covers ranges of Node/n1, Node/n2, Node/n3",
                None,
            ),
            ("::/0", "belongs to no node and covers ranges of Node/n3", None),
            ("10.244.7.0/24", "belongs to no node", None),
            ("10.0.0.9/32", "belongs to no node", None),
        ] {
            let owner = claims.owner(&prefix(text));
            assert_eq!(owner.to_string(), want, "{text}");
            assert_eq!(owner.node().map(|name| &**name), node, "{text}");
        }
    }

    #[test]
    fn a_route_is_justified_by_the_node_that_it_leads_to() {
        let nodes = nodes(&["n1 10.244.1.0/24", "n2 10.244.2.0/24 +192.0.2.0/24"]);
        let claims = settle(&nodes, None, &Claims::default());
        for (range, next_hop, want) in [
            ("10.244.2.0/24", "10.0.0.2", true),
            ("192.0.2.0/25", "10.0.0.2", true),
            ("10.244.2.0/24", "10.0.0.1", false),
            ("10.244.2.0/24", "10.0.0.9", false),
            ("10.244.0.0/16", "10.0.0.2", false),
        ] {
            let got = claims.is_justified(&prefix(range), next_hop.parse().unwrap());
            assert_eq!(got, want, "{range} by {next_hop}");
        }
    }

    #[test]
    fn addresses_of_services_are_of_those_who_announce_them() {
        let nodes = nodes(&["n1 10.244.1.0/24", "n2 10.244.2.0/24"]);
        let text =
            "source: {kind: files, path: /m}\nbgp: {services: {externalIPs: [192.0.2.0/24]}}";
        let settings = brindle_config::Config::from_yaml("f", text).unwrap().bgp.services;
        let name = ServiceName { namespace: "shop".into(), name: "web".into() };
        let mut objects = ServiceObjects::default();
        objects.apply(Arc::new(Service {
            name: name.clone(),
            cluster_ips: Vec::new(),
            external_ips: vec!["192.0.2.1".parse().unwrap()],
            load_balancer_ips: Vec::new(),
            load_balancer_class: None,
            is_local_outside: true,
            is_local_inside: false,
        }));
        let key = SliceKey { namespace: "shop".into(), name: "web-1".into() };
        let endpoints = Endpoints {
            key: key.clone(),
            service: name,
            family: Family::Ipv4Unicast,
            is_ready: true,
            nodes: ["n1".into()].into(),
        };
        objects.set_endpoints(&key, Some(Arc::new(endpoints)));
        let advertised = advertise(&settings, &objects, BTreeSet::new());
        let before = settle(&nodes, None, &Claims::default());
        let claims = before.clone().with_services(Arc::new(advertised));
        for (range, of_n1, of_n2) in [
            ("192.0.2.0/24", true, true),
            ("192.0.2.1/32", true, false),
            ("192.0.2.2/32", false, false),
            ("192.0.2.0/25", false, false),
            ("10.244.1.0/24", true, false),
        ] {
            let have = ["n1", "n2"].map(|node| claims.owned(node).has(&prefix(range)));
            assert_eq!(have, [of_n1, of_n2], "{range}");
            let justified = ["10.0.0.1", "10.0.0.2"]
                .map(|hop| claims.is_justified(&prefix(range), hop.parse().unwrap()));
            assert_eq!(justified, [of_n1, of_n2], "{range}");
        }
        let owner = claims.owner(&prefix("192.0.2.1/32")).to_string();
        assert_eq!(owner, "belongs to other nodes: external IP of Service shop/web");
        assert_eq!(claims.owns("n1"), "n1 owns 10.244.1.0/24, 192.0.2.0/24, 192.0.2.1/32");
        let all = claims.all_ranges();
        assert_eq!(all, before.all_ranges(), "nobody passes on what others announce");
        assert_ne!(claims, before);
    }
}
