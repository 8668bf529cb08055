//! `bgp.filters:` what peers may tell us and are told.

use std::cell::Cell;
use std::ops::RangeInclusive;
use std::sync::Arc;

use brindle_bgp::filter::{Condition, Filter, FilterAction, FilterRule, MatchOperator};
use brindle_bgp::net::{Family, Prefix};

use crate::section::{Good, Item, did_you_mean};
use crate::value;
use crate::yaml::quoted;

/// The filters that there are, by name.
#[derive(Default)]
pub(super) struct Filters<'a>(Vec<Known<'a>>);

struct Known<'a> {
    name: Good<'a, String>,
    /// `None` if something in it is wrong.
    filter: Option<Arc<Filter>>,
    used: Cell<bool>,
}

/// Reads the list.
pub(super) fn read<'a>(item: &Item<'a>) -> Filters<'a> {
    let mut filters: Vec<Known> = Vec::new();
    for item in item.items().unwrap_or_default() {
        let Some(known) = filter(&item) else { continue };
        let name = &known.name;
        match filters.iter().find(|earlier| earlier.name.value == name.value) {
            Some(earlier) => name.item.refuse(format!(
                "{} is the name of another filter, at {}",
                quoted(&name.value),
                earlier.name.item.node.place
            )),
            None => filters.push(known),
        }
    }
    Filters(filters)
}

impl Filters<'_> {
    /// The filters that the list `item` names, in its order. Refuses unknown names, unless
    /// not all filters are `complete`ly known.
    pub(super) fn resolve(&self, item: &Item, complete: bool) -> Option<Vec<Arc<Filter>>> {
        let found = item.list(|item| {
            let name = item.text()?;
            let known = self.0.iter().find(|known| known.name.value == name);
            let Some(known) = known else {
                if complete {
                    item.refuse(self.unknown(name));
                }
                return None;
            };
            known.used.set(true);
            known.filter.clone()
        })?;
        Some(found.into_iter().map(|good| good.value).collect())
    }

    fn unknown(&self, name: &str) -> String {
        let names = || self.0.iter().map(|known| known.name.value.as_str());
        let hint = match did_you_mean(name, names()) {
            hint if !hint.is_empty() => hint,
            _ if self.0.is_empty() => "; bgp.filters has none yet".to_owned(),
            _ => format!("; bgp.filters has {}", names().collect::<Vec<_>>().join(", ")),
        };
        format!("there is no filter {}{hint}", quoted(name))
    }

    /// A filter that no peer names does nothing, which nobody writes on purpose.
    pub(super) fn warn_of_unused(&self) {
        for known in self.0.iter().filter(|known| !known.used.get()) {
            known.name.item.warn(format!("no peer uses the filter {}", quoted(&known.name.value)));
        }
    }
}

fn filter<'a>(item: &Item<'a>) -> Option<Known<'a>> {
    let mut section = item.section()?;
    let name_item = section.need("name", "cluster-only");
    let rules_item = section.need("rules", "[{action: reject}]");
    section.finish();

    let rules = rules_item.as_ref().and_then(rules);
    let name_item = name_item?;
    let name = Good { value: value::name(&name_item)?, item: name_item };
    let filter = rules.map(|rules| Arc::new(Filter::new(name.value.as_str(), rules)));
    Some(Known { name, filter, used: Cell::new(false) })
}

/// The rules, if all of them are right.
fn rules(list: &Item) -> Option<Vec<FilterRule>> {
    let items = list.items()?;
    if items.is_empty() {
        list.warn("a filter without rules rejects everything");
    }
    let rules: Vec<Option<FilterRule>> = items.iter().map(rule).collect();
    let takes_all =
        |rule: &Option<FilterRule>| rule.as_ref().is_some_and(|rule| rule.conditions.is_empty());
    if let Some(last) = rules.iter().position(takes_all)
        && let Some(dead) = items.get(last + 1)
    {
        dead.warn("never reached: the rule before it matches everything");
    }
    rules.into_iter().collect()
}

fn rule(item: &Item) -> Option<FilterRule> {
    let words = [("accept", FilterAction::Accept), ("reject", FilterAction::Reject)];
    let mut section = item.section()?;
    let action = section.need("action", "accept").and_then(|item| item.word(&words));
    let cidr_item = section.get("cidr");
    let cidr = cidr_item.as_ref().map(Item::parse::<Prefix>);
    let lengths_item = section.get("prefixLengths");
    let lengths = lengths_item.as_ref().map(value::prefix_lengths);
    section.finish();

    if let (Some(Some(cidr)), Some(Some(lengths)), Some(item)) = (&cidr, &lengths, &lengths_item) {
        lengths_fit(item, lengths, cidr)?;
    }
    // `Some(None)` is a value that was there and wrong.
    if matches!(cidr, Some(None)) || matches!(lengths, Some(None)) {
        return None;
    }
    let cidr = cidr.flatten().map(|cidr| Condition::Cidr(MatchOperator::In, cidr));
    let lengths = lengths.flatten().map(Condition::PrefixLengths);
    Some(FilterRule::new(action?, cidr.into_iter().chain(lengths).collect()))
}

fn lengths_fit(item: &Item, lengths: &RangeInclusive<u8>, cidr: &Prefix) -> Option<()> {
    let family: Family = cidr.family();
    if *lengths.end() > family.bits() {
        item.refuse(format!(
            "{} is too long; an {family} prefix such as {cidr} has at most {} bits",
            lengths.end(),
            family.bits()
        ));
        return None;
    }
    if *lengths.start() < cidr.length() {
        item.refuse(format!(
            "{} is shorter than {cidr} itself, in which no prefix has under {} bits",
            lengths.start(),
            cidr.length()
        ));
        return None;
    }
    Some(())
}
