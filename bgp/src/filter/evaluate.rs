//! Asking filters about a route, and doing to it what they say.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use super::change::{Change, NextHopChange};
use super::{Filter, FilterAction, FilterRule, PeerType, RouteSource, Verdict};
use crate::msg::Attributes;
use crate::net::{Asn, Prefix};

/// A route as filters look at it.
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    /// The prefix.
    pub prefix: Prefix,
    /// Its attributes before the first filter.
    pub attributes: &'a Attributes,
    /// Where it points; `None` for our own.
    pub next_hop: Option<IpAddr>,
    /// The interface that the next hop is reached over, if that is known.
    pub interface: Option<&'a str>,
    /// Where it comes from.
    pub source: RouteSource,
    /// The session that it comes in or goes out by.
    pub session: Session,
}

/// What filters know of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// What the peer is to us.
    pub peer_type: PeerType,
    /// Our AS.
    pub asn: Asn,
}

/// What filters say of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it passes all of them.
    pub verdict: Verdict,
    /// What decided, both from zero: the last filter that was asked, and its rule; no rule if
    /// none accepted or rejected. Nothing if there was no filter.
    pub by: Option<(usize, Option<usize>)>,
    /// The rules that change it.
    pub matched: Matched,
}

/// Rules that matched and change a route, in order, by the numbers of filter and rule. Equal
/// lists of the same filters change equal attributes equally.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Matched(SmallVec<[(u32, u32); 2]>);

impl Matched {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The changes, in order.
    fn changes<'f>(&self, filters: &'f [Arc<Filter>]) -> impl Iterator<Item = &'f Change> {
        self.0.iter().flat_map(move |&(filter, rule)| {
            let rules = filters.get(filter as usize).map(|filter| filter.rules.as_slice());
            let rule = rules.and_then(|rules| rules.get(rule as usize));
            rule.map(|rule| rule.changes.as_slice()).unwrap_or_default()
        })
    }
}

/// A rule that matched a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleTrace {
    /// The filter, from zero.
    pub filter: usize,
    /// The rule, from zero; `None` if no rule decided and this is what the filter does then.
    pub rule: Option<usize>,
    /// What the rule does.
    pub action: FilterAction,
    /// The attributes behind the rule, if it changed any.
    pub changed: Option<Attributes>,
    /// The next hop that it asks for.
    pub next_hop: Option<NextHopChange>,
}

impl FilterRule {
    /// Whether all conditions hold for a route that by now has these attributes.
    fn matches(&self, route: &Route<'_>, attributes: &Attributes) -> bool {
        self.conditions.iter().all(|condition| condition.holds(route, attributes))
    }

    fn asks_for_attributes(&self) -> bool {
        self.conditions.iter().any(super::Condition::asks_for_attributes)
    }
}

/// Asks each filter in turn until one rejects. Allocates nothing unless a rule that asks for
/// attributes stands behind one that changed them, or more than two rules change something.
pub fn evaluate(filters: &[Arc<Filter>], route: &Route<'_>) -> Decision {
    let mut decision = Decision { verdict: Verdict::Accept, by: None, matched: Matched::default() };
    let mut attributes = Cow::Borrowed(route.attributes);
    // How many of the rules that matched have left their mark on `attributes`.
    let mut applied = 0;
    for (at, filter) in (0u32..).zip(filters) {
        let mut decided = None;
        for (number, rule) in (0u32..).zip(&filter.rules) {
            if rule.asks_for_attributes() && applied < decision.matched.0.len() {
                let late = Matched(SmallVec::from_slice(&decision.matched.0[applied..]));
                for change in late.changes(filters) {
                    change.apply(attributes.to_mut(), route.session.asn);
                }
                applied = decision.matched.0.len();
            }
            if !rule.matches(route, &attributes) {
                continue;
            }
            if !rule.changes.is_empty() && rule.action != FilterAction::Reject {
                decision.matched.0.push((at, number));
            }
            decided = match rule.action {
                FilterAction::Accept => Some((Verdict::Accept, number as usize)),
                FilterAction::Reject => Some((Verdict::Reject, number as usize)),
                FilterAction::Continue => continue,
            };
            break;
        }
        let verdict = decided.map_or(filter.otherwise, |(verdict, _)| verdict);
        decision.by = Some((at as usize, decided.map(|(_, rule)| rule)));
        if verdict == Verdict::Reject {
            decision.verdict = Verdict::Reject;
            decision.matched = Matched::default();
            break;
        }
    }
    decision
}

/// Does to `attributes` what the rules say that matched; `ours` is our AS.
pub fn apply(filters: &[Arc<Filter>], matched: &Matched, attributes: &mut Attributes, ours: Asn) {
    for change in matched.changes(filters) {
        change.apply(attributes, ours);
    }
}

/// The next hop that the rules ask for that matched: what the last of them says.
pub fn next_hop(filters: &[Arc<Filter>], matched: &Matched) -> Option<NextHopChange> {
    matched.changes(filters).filter_map(asked_hop).last()
}

fn asked_hop(change: &Change) -> Option<NextHopChange> {
    match change {
        Change::NextHop(hop) => Some(*hop),
        _ => None,
    }
}

/// Every rule that matched, in order, and what it did: [`evaluate`] for people.
pub fn trace(filters: &[Arc<Filter>], route: &Route<'_>) -> Vec<RuleTrace> {
    let mut steps = Vec::new();
    let mut attributes = route.attributes.clone();
    for (at, filter) in filters.iter().enumerate() {
        let mut verdict = None;
        for (number, rule) in filter.rules.iter().enumerate() {
            if !rule.matches(route, &attributes) {
                continue;
            }
            let mut after = attributes.clone();
            let changes = match rule.action {
                FilterAction::Reject => [].as_slice(),
                FilterAction::Accept | FilterAction::Continue => &rule.changes,
            };
            for change in changes {
                change.apply(&mut after, route.session.asn);
            }
            steps.push(RuleTrace {
                filter: at,
                rule: Some(number),
                action: rule.action,
                changed: (after != attributes).then(|| after.clone()),
                next_hop: changes.iter().rev().find_map(asked_hop),
            });
            attributes = after;
            verdict = match rule.action {
                FilterAction::Accept => Some(Verdict::Accept),
                FilterAction::Reject => Some(Verdict::Reject),
                FilterAction::Continue => continue,
            };
            break;
        }
        if verdict.is_none() {
            steps.push(RuleTrace {
                filter: at,
                rule: None,
                action: match filter.otherwise {
                    Verdict::Accept => FilterAction::Accept,
                    Verdict::Reject => FilterAction::Reject,
                },
                changed: None,
                next_hop: None,
            });
        }
        if verdict.unwrap_or(filter.otherwise) == Verdict::Reject {
            break;
        }
    }
    steps
}
