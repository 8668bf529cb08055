//! One rule of a filter.

use std::ops::RangeInclusive;

use brindle_bgp::filter::{
    Change, CommunityPattern, Condition, FilterAction, FilterRule, Has, InterfacePattern,
    MatchOperator, NextHopChange, PeerType, RouteSource,
};
use brindle_bgp::net::{Asn, Family, Prefix};

use crate::section::{Item, Section};
use crate::value;

const OPERATORS: [(&str, MatchOperator); 4] = [
    ("In", MatchOperator::In),
    ("NotIn", MatchOperator::NotIn),
    ("Equal", MatchOperator::Equal),
    ("NotEqual", MatchOperator::NotEqual),
];

/// Reads a rule; `None` if something in it is wrong.
pub(super) fn read(item: &Item) -> Option<FilterRule> {
    let words = [
        ("accept", FilterAction::Accept),
        ("reject", FilterAction::Reject),
        ("continue", FilterAction::Continue),
    ];
    let mut section = item.section()?;
    let set_item = section.get("set");
    let action_item =
        if set_item.is_some() { section.get("action") } else { section.need("action", "accept") };
    let action = match &action_item {
        Some(item) => item.word(&words),
        None => set_item.is_some().then_some(FilterAction::Continue),
    };
    let conditions = conditions(&mut section);
    let changes = set_item.as_ref().map_or(Some(Vec::new()), changes);
    section.finish();

    match (action, &set_item, &action_item) {
        (Some(FilterAction::Reject), Some(set), _) => {
            set.refuse("a rule that rejects changes nothing; leave it out, or accept or continue");
            return None;
        }
        (Some(FilterAction::Continue), None, Some(item)) => {
            item.warn("a rule that goes on and changes nothing does nothing");
        }
        _ => {}
    }
    Some(FilterRule { changes: changes?, ..FilterRule::new(action?, conditions?) })
}

/// What a key holds: nothing, or a value that may be wrong.
struct Found<'a, T> {
    item: Option<Item<'a>>,
    value: Option<T>,
}

impl<'a, T> Found<'a, T> {
    fn read(
        section: &mut Section<'a>,
        key: &'static str,
        read: impl FnOnce(&Item<'a>) -> Option<T>,
    ) -> Self {
        let item = section.get(key);
        let value = item.as_ref().and_then(read);
        Self { item, value }
    }

    fn is_wrong(&self) -> bool {
        self.item.is_some() && self.value.is_none()
    }

    /// The value and where it stands.
    fn good(&self) -> Option<(&T, &Item<'a>)> {
        self.value.as_ref().zip(self.item.as_ref())
    }
}

fn conditions(section: &mut Section) -> Option<Vec<Condition>> {
    let cidr = Found::read(section, "cidr", Item::parse::<Prefix>);
    let operator = Found::read(section, "matchOperator", |item| item.word(&OPERATORS));
    let lengths = Found::read(section, "prefixLengths", value::prefix_lengths);
    let family = Found::read(section, "family", |item| {
        item.word(&[("ipv4", Family::Ipv4Unicast), ("ipv6", Family::Ipv6Unicast)])
    });
    let next_hops = Found::read(section, "nextHops", |item| all(item, Item::parse::<Prefix>));
    let interface = Found::read(section, "interface", Item::parse::<InterfacePattern>);
    let sources = Found::read(section, "sources", |item| {
        let words = RouteSource::ALL.map(|source| (source.to_string(), source));
        let words = words.each_ref().map(|(word, source)| (word.as_str(), *source));
        all(item, |item| item.word(&words))
    });
    let peer_type = Found::read(section, "peerType", |item| {
        item.word(&[("eBGP", PeerType::External), ("iBGP", PeerType::Internal)])
    });
    let path = Found::read(section, "asPath", as_path);
    let communities = Found::read(section, "communities", communities);

    let mut is_wrong = cidr.is_wrong()
        || operator.is_wrong()
        || lengths.is_wrong()
        || family.is_wrong()
        || next_hops.is_wrong()
        || interface.is_wrong()
        || sources.is_wrong()
        || peer_type.is_wrong()
        || path.is_wrong()
        || communities.is_wrong();
    if let (Some(item), None) = (&operator.item, &cidr.item) {
        item.refuse("compares the prefix with cidr, which is missing");
        is_wrong = true;
    }
    let how = operator.value.unwrap_or(MatchOperator::In);
    if let (Some((cidr, _)), Some((lengths, item))) = (cidr.good(), lengths.good()) {
        is_wrong |= !lengths_fit(item, lengths, how, cidr);
    }
    if let (Some((cidr, _)), Some((family, item))) = (cidr.good(), family.good())
        && matches!(how, MatchOperator::In | MatchOperator::Equal)
        && cidr.family() != *family
    {
        item.refuse(format!("no {family} prefix is {how} {cidr}"));
        is_wrong = true;
    }
    let of_next_hop = next_hops.item.as_ref().or(interface.item.as_ref());
    if let (Some((sources, _)), Some(item)) = (sources.good(), of_next_hop)
        && sources.iter().all(|s| matches!(s, RouteSource::Local | RouteSource::Service))
    {
        item.refuse("our own routes have no next hop: the rule could match nothing");
        is_wrong = true;
    }
    if is_wrong {
        return None;
    }
    let mut conditions = Vec::new();
    conditions.extend(cidr.value.map(|cidr| Condition::Cidr(how, cidr)));
    conditions.extend(lengths.value.map(Condition::PrefixLengths));
    conditions.extend(family.value.map(Condition::Family));
    conditions.extend(next_hops.value.map(Condition::NextHop));
    conditions.extend(interface.value.map(Condition::Interface));
    conditions.extend(sources.value.map(Condition::Source));
    conditions.extend(peer_type.value.map(Condition::PeerType));
    conditions.extend(path.value.into_iter().flatten());
    conditions.extend(communities.value.into_iter().flatten());
    Some(conditions)
}

/// What `read` makes of the elements of a list that must have some, if all of them are right.
fn all<'a, T>(list: &Item<'a>, read: impl Fn(&Item<'a>) -> Option<T>) -> Option<Vec<T>> {
    let items = list.items()?;
    if items.is_empty() {
        list.refuse("an empty list would never match; leave it out, or name something");
        return None;
    }
    let values: Vec<Option<T>> = items.iter().map(read).collect();
    values.into_iter().collect()
}

fn as_path(item: &Item) -> Option<Vec<Condition>> {
    let mut section = item.section()?;
    fn asns(item: &Item) -> Option<Vec<Asn>> {
        all(item, Item::parse)
    }
    let contains = Found::read(&mut section, "contains", asns);
    let first = Found::read(&mut section, "first", asns);
    let last = Found::read(&mut section, "last", asns);
    let length = Found::read(&mut section, "length", hops);
    let prefix = Found::read(&mut section, "prefix", asns);
    let regex = Found::read(&mut section, "regex", Item::parse);
    section.finish();
    let mut is_wrong = contains.is_wrong()
        || first.is_wrong()
        || last.is_wrong()
        || length.is_wrong()
        || prefix.is_wrong()
        || regex.is_wrong();
    if let (Some((prefix, item)), Some((first, _))) = (prefix.good(), first.good())
        && prefix.first().is_some_and(|asn| !first.contains(asn))
    {
        item.refuse("begins with another AS than asPath.first: the rule could match nothing");
        is_wrong = true;
    }
    if let (Some((prefix, item)), Some((length, _))) = (prefix.good(), length.good())
        && usize::try_from(*length.end()).is_ok_and(|most| prefix.len() > most)
    {
        item.refuse(format!(
            "has {} numbers, more than asPath.length: the rule could match nothing",
            prefix.len()
        ));
        is_wrong = true;
    }
    if is_wrong {
        return None;
    }
    let mut conditions = Vec::new();
    conditions.extend(contains.value.map(Condition::AsPathContains));
    conditions.extend(first.value.map(Condition::AsPathFirst));
    conditions.extend(last.value.map(Condition::AsPathLast));
    conditions.extend(length.value.map(Condition::AsPathLength));
    conditions.extend(prefix.value.map(Condition::AsPathPrefix));
    conditions.extend(regex.value.map(Condition::AsPathRegex));
    says_something(item, conditions, "asPath", "contains: [65001]")
}

/// `3`, `1-5`.
fn hops(item: &Item) -> Option<RangeInclusive<u32>> {
    let text = item.text()?;
    let number = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        part.parse::<u32>().ok().filter(|_| digits)
    };
    let range = match text.split_once('-') {
        Some((low, high)) => number(low.trim()).zip(number(high.trim())),
        None => number(text).map(|one| (one, one)),
    };
    match range {
        Some((low, high)) if low <= high => Some(low..=high),
        _ => {
            item.refuse(format!(
                "{} is not a range of AS path lengths; accepted is for instance 3 or 1-5",
                crate::yaml::quoted(text)
            ));
            None
        }
    }
}

fn communities(item: &Item) -> Option<Vec<Condition>> {
    let mut section = item.section()?;
    fn patterns(item: &Item) -> Option<Vec<CommunityPattern>> {
        all(item, Item::parse)
    }
    let any = Found::read(&mut section, "any", patterns);
    let each = Found::read(&mut section, "all", patterns);
    section.finish();
    if any.is_wrong() || each.is_wrong() {
        return None;
    }
    let mut conditions = Vec::new();
    conditions.extend(any.value.map(|any| Condition::Communities(Has::Any, any)));
    conditions.extend(each.value.map(|all| Condition::Communities(Has::All, all)));
    says_something(item, conditions, "communities", "any: [\"65001:1\"]")
}

fn says_something<T>(item: &Item, said: Vec<T>, key: &str, example: &str) -> Option<Vec<T>> {
    if said.is_empty() {
        item.refuse(format!("{key} is empty; write for instance \"{key}: {{{example}}}\""));
        return None;
    }
    Some(said)
}

fn changes(item: &Item) -> Option<Vec<Change>> {
    let mut section = item.section()?;
    let number = |item: &Item| item.number(0, u32::MAX);
    let local_pref = Found::read(&mut section, "localPref", number);
    let med = Found::read(&mut section, "med", number);
    let add_med = Found::read(&mut section, "addMed", signed);
    let remove_med = Found::read(&mut section, "removeMed", Item::boolean);
    let exactly = Found::read(&mut section, "communities", |item| {
        let items = item.items()?;
        items.iter().map(Item::parse).collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>()
    });
    let remove = Found::read(&mut section, "removeCommunities", |item| all(item, Item::parse));
    let add = Found::read(&mut section, "addCommunities", |item| all(item, Item::parse));
    let prepend = Found::read(&mut section, "prepend", prepend);
    let next_hop = Found::read(&mut section, "nextHop", |item| {
        item.word(&[("Self", NextHopChange::SelfAddress), ("Keep", NextHopChange::Keep)])
    });
    section.finish();
    let mut is_wrong = local_pref.is_wrong()
        || med.is_wrong()
        || add_med.is_wrong()
        || remove_med.is_wrong()
        || exactly.is_wrong()
        || remove.is_wrong()
        || add.is_wrong()
        || prepend.is_wrong()
        || next_hop.is_wrong();
    let removes = remove_med.value == Some(true);
    let second = match (&med.item, &add_med.item, removes) {
        (Some(_), Some(second), _) => Some(second),
        (Some(_), _, true) | (_, Some(_), true) => remove_med.item.as_ref(),
        _ => None,
    };
    if let Some(second) = second {
        second.refuse("one of med, addMed and removeMed is enough");
        is_wrong = true;
    }
    if let (Some(_), Some(remove)) = (&exactly.item, &remove.item) {
        remove.refuse("set.communities replaces all of them already");
        is_wrong = true;
    }
    if is_wrong {
        return None;
    }
    let mut changes = Vec::new();
    changes.extend(local_pref.value.map(Change::LocalPref));
    changes.extend(med.value.map(Change::Med));
    changes.extend(add_med.value.map(Change::AddMed));
    changes.extend(removes.then_some(Change::RemoveMed));
    changes.extend(exactly.value.map(Change::SetCommunities));
    changes.extend(remove.value.map(Change::RemoveCommunities));
    changes.extend(add.value.map(Change::AddCommunities));
    changes.extend(prepend.value);
    changes.extend(next_hop.value.map(Change::NextHop));
    says_something(item, changes, "set", "localPref: 200")
}

/// A whole number that may be negative, as far as a MED goes.
fn signed(item: &Item) -> Option<i64> {
    let text = item.text()?;
    let most = i64::from(u32::MAX);
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|n| is_number && (-most..=most).contains(n));
    if number.is_none() {
        let text = crate::yaml::quoted(text);
        item.refuse(format!("{text} is not a whole number from -{most} to {most}"));
    }
    number
}

fn prepend(item: &Item) -> Option<Change> {
    let mut section = item.section()?;
    let asn = Found::read(&mut section, "asNumber", value::as_number);
    let times = Found::read(&mut section, "times", |item| item.number(1, 32));
    section.finish();
    if asn.is_wrong() || times.is_wrong() {
        return None;
    }
    let times = u8::try_from(times.value.unwrap_or(1)).ok()?;
    Some(Change::Prepend(asn.value, times))
}

fn lengths_fit(
    item: &Item,
    lengths: &RangeInclusive<u8>,
    operator: MatchOperator,
    cidr: &Prefix,
) -> bool {
    let family: Family = cidr.family();
    let wrong = match operator {
        // Prefixes of the other family are outside, too.
        MatchOperator::NotIn | MatchOperator::NotEqual => return true,
        MatchOperator::Equal if !lengths.contains(&cidr.length()) => {
            format!("the length of {cidr} is none of these: the rule could match nothing")
        }
        MatchOperator::Equal => return true,
        MatchOperator::In if *lengths.end() > family.bits() => format!(
            "{} is too long; an {family} prefix such as {cidr} has at most {} bits",
            lengths.end(),
            family.bits()
        ),
        MatchOperator::In if *lengths.start() < cidr.length() => format!(
            "{} is shorter than {cidr} itself, in which no prefix has under {} bits",
            lengths.start(),
            cidr.length()
        ),
        MatchOperator::In => return true,
    };
    item.refuse(wrong);
    false
}

/// Whether `earlier` surely takes every route that `later` would. What asks for attributes
/// says nothing any more where they may be `changed` in between.
pub(super) fn takes_all_of(earlier: &FilterRule, later: &FilterRule, changed: bool) -> bool {
    earlier.conditions.iter().all(|condition| match condition {
        Condition::Cidr(MatchOperator::In, outer) => later.conditions.iter().any(|condition| {
            matches!(condition, Condition::Cidr(MatchOperator::In | MatchOperator::Equal, inner)
                if outer.covers(inner))
        }),
        Condition::PrefixLengths(outer) => lengths_of(later)
            .is_some_and(|inner| outer.contains(inner.start()) && outer.contains(inner.end())),
        Condition::Family(family) => later.conditions.iter().any(|condition| match condition {
            Condition::Family(other) => family == other,
            Condition::Cidr(MatchOperator::In | MatchOperator::Equal, cidr) => {
                cidr.family() == *family
            }
            _ => false,
        }),
        Condition::Source(outer) => later.conditions.iter().any(|condition| {
            matches!(condition, Condition::Source(inner)
                if inner.iter().all(|source| outer.contains(source)))
        }),
        Condition::Cidr(..)
        | Condition::NextHop(_)
        | Condition::Interface(_)
        | Condition::PeerType(_) => later.conditions.contains(condition),
        Condition::AsPathContains(_)
        | Condition::AsPathFirst(_)
        | Condition::AsPathLast(_)
        | Condition::AsPathLength(_)
        | Condition::AsPathPrefix(_)
        | Condition::AsPathRegex(_)
        | Condition::Communities(..)
        | Condition::LocalPref(_) => !changed && later.conditions.contains(condition),
    })
}

/// The prefix lengths that a rule can match, if it says.
fn lengths_of(rule: &FilterRule) -> Option<RangeInclusive<u8>> {
    let said = rule.conditions.iter().find_map(|condition| match condition {
        Condition::PrefixLengths(lengths) => Some(lengths.clone()),
        _ => None,
    });
    said.or_else(|| {
        rule.conditions.iter().find_map(|condition| match condition {
            Condition::Cidr(MatchOperator::Equal, cidr) => Some(cidr.length()..=cidr.length()),
            Condition::Cidr(MatchOperator::In, cidr) => Some(cidr.length()..=cidr.family().bits()),
            _ => None,
        })
    })
}
