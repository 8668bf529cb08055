//! `bgp.filters:` what peers may tell us and are told.

mod rule;

use std::cell::Cell;
use std::sync::Arc;

use brindle_bgp::filter::{Change, Filter, FilterAction, FilterRule, Verdict};

use crate::section::{Good, Item, did_you_mean};
use crate::value;
use crate::yaml::quoted;

/// Each is asked for each route.
const MAX_RULES: usize = 1000;

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

    /// What is told as next hop is decided where routes go out.
    pub(super) fn warn_of_next_hops(&self, import: &Item) {
        let _ = import.list(|item| {
            let name = item.text()?;
            let known = self.0.iter().find(|known| known.name.value == name)?;
            let mut rules = known.filter.iter().flat_map(|filter| &filter.rules);
            let is_hop = |change: &Change| matches!(change, Change::NextHop(_));
            if rules.any(|rule| rule.changes.iter().any(is_hop)) {
                item.warn(format!("set.nextHop in {} means nothing on import", quoted(name)));
            }
            Some(())
        });
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
    let words = [("accept", Verdict::Accept), ("reject", Verdict::Reject)];
    let otherwise =
        section.get("otherwise").map_or(Some(Verdict::Reject), |item| item.word(&words));
    section.finish();

    let rules = rules_item.as_ref().and_then(|item| rules(item, otherwise));
    let name_item = name_item?;
    let name = Good { value: value::name(&name_item)?, item: name_item };
    let filter = rules.zip(otherwise).map(|(rules, otherwise)| {
        Arc::new(Filter { otherwise, ..Filter::new(name.value.as_str(), rules) })
    });
    Some(Known { name, filter, used: Cell::new(false) })
}

/// The rules, if all of them are right.
fn rules(list: &Item, otherwise: Option<Verdict>) -> Option<Vec<FilterRule>> {
    let items = list.items()?;
    if items.is_empty() && otherwise == Some(Verdict::Reject) {
        list.warn("a filter without rules rejects everything");
    }
    if items.len() > MAX_RULES {
        list.refuse(format!("{} rules; accepted are at most {MAX_RULES}", items.len()));
        return None;
    }
    let rules: Vec<Option<FilterRule>> = items.iter().map(rule::read).collect();
    warn_of_unreached(&items, &rules);
    rules.into_iter().collect()
}

/// A rule behind one that takes all that it would.
fn warn_of_unreached(items: &[Item], rules: &[Option<FilterRule>]) {
    for (index, item) in items.iter().enumerate() {
        let Some(Some(later)) = rules.get(index) else { continue };
        let before = rules.iter().enumerate().take(index);
        let taker =
            before.filter_map(|(at, rule)| Some((at, rule.as_ref()?))).find(|(at, rule)| {
                let between = rules.get(at + 1..index).unwrap_or_default().iter().flatten();
                let is_changed = between.into_iter().any(|rule| !rule.changes.is_empty());
                rule.action != FilterAction::Continue && rule::takes_all_of(rule, later, is_changed)
            });
        if let Some((at, rule)) = taker {
            // Those behind one that takes everything are dead as one.
            let everything = rule.conditions.is_empty();
            item.warn(match (everything, at + 1 == index) {
                (true, true) => "never reached: the rule before it matches everything".to_owned(),
                (true, false) => format!("never reached: rules[{at}] matches everything"),
                (false, _) => format!("never reached: rules[{at}] matches all that it would"),
            });
            if everything {
                break;
            }
        }
    }
}
