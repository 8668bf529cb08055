//! What a BGPFilter says.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;

use brindle_bgp::filter::{AnyCommunity, Change, InterfacePattern, PeerType};
use brindle_bgp::net::{Asn, Family, Prefix};

use super::api::{BgpFilterRule, BgpFilterSpec, Operation};
use super::read::Judged;

/// The most rules of one list: each route is compared with them in order.
const MOST_RULES: usize = 1_000;

/// What a priority may be.
pub(super) const PRIORITIES: (i64, i64) = (1, 2_147_483_646);

/// The priority of routes that nobody gave one: our own.
pub(super) const NORMAL_PRIORITY: u32 = 1024;

/// The LOCAL_PREF that says a priority, of which the lowest comes first: Calico's speakers tell
/// each other so.
pub(super) fn local_pref(priority: u32) -> u32 {
    2_147_483_647_u32.saturating_sub(priority)
}

/// A BGPFilter: what no rule matches is left to the next filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BgpFilter {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `importV4` and `importV6`, in their order.
    pub import: Vec<Rule>,
    /// `exportV4` and `exportV6`, in their order.
    pub export: Vec<Rule>,
}

/// A rule: what it matches, all of which must hold, and what becomes of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Routes of which family it is about.
    pub family: Family,
    /// `cidr`, `matchOperator` and `prefixLength`.
    pub prefix: Option<PrefixMatch>,
    /// `source: RemotePeers`: only what a peer told us.
    pub from_peers: bool,
    /// `peerType`: only for such peers.
    pub peer_type: Option<PeerType>,
    /// `communities`.
    pub community: Option<AnyCommunity>,
    /// `asPathPrefix`.
    pub as_path: Vec<Asn>,
    /// `priority`.
    pub priority: Option<u32>,
    /// `action` is Accept.
    pub accept: bool,
    /// `interface`.
    pub interface: Option<InterfacePattern>,
    /// `operations`.
    pub changes: Vec<Change>,
}

/// What the prefix of a route must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixMatch {
    /// `cidr`.
    pub cidr: Prefix,
    /// The lengths that it may have, for what is inside of `cidr`.
    pub lengths: RangeInclusive<u8>,
    /// Whether it must be anything else.
    pub negated: bool,
}

/// Reads the spec.
pub(super) fn read(name: Arc<str>, spec: &BgpFilterSpec, judged: &mut Judged) -> BgpFilter {
    let (v4, v6) = (Family::Ipv4Unicast, Family::Ipv6Unicast);
    let mut rules = |lists: [(&str, Family, &Option<Vec<BgpFilterRule>>); 2]| {
        let mut all = Vec::new();
        for (list, family, raw) in lists {
            let raw = raw.as_deref().unwrap_or_default();
            if raw.len() > MOST_RULES {
                let message = format!("{} rules: accepted are at most {MOST_RULES}", raw.len());
                judged.refuse(format!("spec.{list}"), message);
            }
            let numbered = (0..).zip(raw.iter().take(MOST_RULES));
            all.extend(numbered.filter_map(|(index, raw): (usize, _)| {
                rule(&format!("spec.{list}[{index}]"), family, raw, judged)
            }));
        }
        all
    };
    let import = rules([("importV4", v4, &spec.import_v4), ("importV6", v6, &spec.import_v6)]);
    let export = rules([("exportV4", v4, &spec.export_v4), ("exportV6", v6, &spec.export_v6)]);
    BgpFilter { name, import, export }
}

/// Reads a rule; `None` if it is wrong.
fn rule(path: &str, family: Family, raw: &BgpFilterRule, judged: &mut Judged) -> Option<Rule> {
    let field = |name: &str| format!("{path}.{name}");
    let words = [("Accept", true), ("Reject", false)];
    let accept = judged.word(&field("action"), raw.action.as_deref(), &words);
    if raw.action.as_deref().unwrap_or_default().is_empty() {
        judged.refuse(field("action"), "is missing; accepted are Accept, Reject");
    }
    let prefix = prefix(path, family, raw, judged);
    let sources = [("RemotePeers", true)];
    let from_peers = judged.word(&field("source"), raw.source.as_deref(), &sources);
    let types = [("eBGP", PeerType::External), ("iBGP", PeerType::Internal)];
    let peer_type = judged.word(&field("peerType"), raw.peer_type.as_deref(), &types);
    let carried = raw.communities.as_ref().and_then(|communities| {
        let values = communities.values.as_deref().unwrap_or_default();
        let [value] = values else {
            judged.refuse(field("communities.values"), "accepted is exactly one community");
            return None;
        };
        community(&field("communities.values[0]"), value, judged)
    });
    let interface = raw.interface.as_deref().filter(|text| !text.is_empty());
    let interface = interface.and_then(|text| parsed(&field("interface"), text, judged));
    let numbered = (0..).zip(raw.as_path_prefix.iter().flatten());
    let as_path = numbered.filter_map(|(index, asn): (usize, _)| {
        judged.as_number(&field(&format!("asPathPrefix[{index}]")), asn)
    });
    let as_path = as_path.collect();
    let operations = raw.operations.as_deref().unwrap_or_default();
    if accept == Some(false) && !operations.is_empty() {
        judged.refuse(field("operations"), "goes with action Accept only; leave it out");
    }
    let numbered = (0..).zip(operations);
    let changes = numbered.flat_map(|(index, operation): (usize, _)| {
        change(&field(&format!("operations[{index}]")), operation, judged)
    });
    let changes = changes.collect();
    let accept = accept?;
    let priority = judged.number(&field("priority"), raw.priority, PRIORITIES);
    Some(Rule {
        family,
        prefix,
        from_peers: from_peers.unwrap_or_default(),
        peer_type,
        community: carried,
        as_path,
        priority,
        interface,
        accept,
        changes,
    })
}

fn prefix(
    path: &str,
    family: Family,
    raw: &BgpFilterRule,
    judged: &mut Judged,
) -> Option<PrefixMatch> {
    let field = |name: &str| format!("{path}.{name}");
    let cidr = raw.cidr.as_deref().filter(|text| !text.is_empty());
    let words = [
        ("Equal", (true, false)),
        ("NotEqual", (true, true)),
        ("In", (false, false)),
        ("NotIn", (false, true)),
    ];
    let operator = raw.match_operator.as_deref().filter(|text| !text.is_empty());
    let Some(cidr) = cidr else {
        for (name, is_there) in
            [("matchOperator", operator.is_some()), ("prefixLength", raw.prefix_length.is_some())]
        {
            if is_there {
                judged.refuse(field(name), "goes with cidr only; leave it out, or write a cidr");
            }
        }
        return None;
    };
    let cidr: Prefix = parsed(&field("cidr"), cidr, judged)?;
    if cidr.family() != family {
        judged.refuse(
            field("cidr"),
            format!("{cidr} is an {} prefix; the list is for {family}", cidr.family()),
        );
        return None;
    }
    if operator.is_none() {
        let message = "is missing; a cidr goes with Equal, NotEqual, In or NotIn";
        judged.refuse(field("matchOperator"), message);
    }
    let (is_exact, negated) = judged.word(&field("matchOperator"), operator, &words)?;
    let bits = i64::from(family.bits());
    let length = raw.prefix_length.as_ref();
    let min = length.and_then(|length| length.min);
    let min = judged.number(&field("prefixLength.min"), min, (0, bits));
    let max = length.and_then(|length| length.max);
    let max = judged.number(&field("prefixLength.max"), max, (0, bits));
    let lengths = match is_exact {
        true => cidr.length()..=cidr.length(),
        false => min.unwrap_or(cidr.length()).max(cidr.length())..=max.unwrap_or(family.bits()),
    };
    if lengths.is_empty() {
        let (least, most) = (lengths.start(), lengths.end());
        let message = format!("no prefix in {cidr} has {least} to {most} bits");
        judged.refuse(field("prefixLength"), message);
    }
    Some(PrefixMatch { cidr, lengths, negated })
}

fn change(path: &str, raw: &Operation, judged: &mut Judged) -> Vec<Change> {
    let said =
        [raw.add_community.is_some(), raw.prepend_as_path.is_some(), raw.set_priority.is_some()];
    if said.into_iter().filter(|is_there| *is_there).count() != 1 {
        let message = "accepted is exactly one of addCommunity, prependASPath and setPriority";
        judged.refuse(path, message);
        return Vec::new();
    }
    if let Some(set) = &raw.set_priority {
        let field = format!("{path}.setPriority.value");
        if set.value.is_none() {
            judged.refuse(&field, "is missing; accepted are 1 to 2147483646");
        }
        let value = judged.number(&field, set.value, PRIORITIES);
        return value.map(|value| Change::LocalPref(local_pref(value))).into_iter().collect();
    }
    if let Some(add) = &raw.add_community {
        let value = add.value.as_deref().unwrap_or_default();
        let added = community(&format!("{path}.addCommunity.value"), value, judged);
        return added.map(|one| Change::AddCommunities(vec![one])).into_iter().collect();
    }
    let path = format!("{path}.prependASPath.prefix");
    let prefix = raw.prepend_as_path.as_ref().and_then(|prepend| prepend.prefix.as_deref());
    let prefix = prefix.unwrap_or_default();
    if !(1..=10).contains(&prefix.len()) {
        judged.refuse(&path, format!("{} AS numbers: accepted are 1 to 10", prefix.len()));
    }
    let numbered = (0..).zip(prefix);
    let asns = numbered
        .filter_map(|(index, asn): (usize, _)| judged.as_number(&format!("{path}[{index}]"), asn));
    // The last of them comes first before the path.
    let asns: Vec<Asn> = asns.collect();
    asns.into_iter().rev().map(|asn| Change::Prepend(Some(asn), 1)).collect()
}

/// A community of the two sizes that Calico knows.
fn community(field: &str, text: &str, judged: &mut Judged) -> Option<AnyCommunity> {
    let parts = text.split(':').map(|part| part.parse::<u32>().is_ok());
    if !(2..=3).contains(&parts.clone().count()) || !parts.into_iter().all(|is_number| is_number) {
        let message =
            format!("{text:?} is no community; accepted are such as 65000:100 and 65000:100:200");
        judged.refuse(field, message);
        return None;
    }
    parsed(field, text, judged)
}

fn parsed<T: FromStr<Err: Display>>(field: &str, text: &str, judged: &mut Judged) -> Option<T> {
    text.parse().map_err(|error| judged.refuse(field, format!("{error}"))).ok()
}
