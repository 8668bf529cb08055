//! What chains have counted: packets judged, by direction, verdict and tier.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use brindle_policy::model::{DEFAULT_TIER, Direction};
use brindle_policy::names::ChainName;
use brindle_policy::readback::Installed;
use brindle_policy::ruleset::{Match, Purpose, Rule, Table, Target};
use brindle_policy::{Family, PolicyId, Ruleset, World};

use super::Metric;
use crate::enforce::By;

/// Packets that were judged since the agent looked first. The kernel counts anew whenever a
/// chain is written; here only what came on top is added, so that nothing counts twice.
#[derive(Clone, Debug, Default)]
pub struct PacketTotals {
    seen: HashMap<(Family, ChainName, usize), Count>,
    totals: BTreeMap<Label, Count>,
}

/// Packets and octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    packets: u64,
    bytes: u64,
}

/// Direction, verdict, tier; the tier is empty where none decided.
type Label = (&'static str, &'static str, String);

/// What the rules of each chain count for, where they decide.
#[derive(Clone, Debug, Default)]
pub struct ChainLabels {
    chains: HashMap<ChainName, ChainLabel>,
    /// The tiers of policies that rules may name.
    tiers: HashMap<PolicyId, String>,
}

#[derive(Clone, Debug)]
struct ChainLabel {
    direction: &'static str,
    /// That of the chain's policy; empty where its rules say it.
    tier: String,
}

impl ChainLabels {
    /// Those of the chains that judge.
    pub fn of(world: &World, ruleset: &Ruleset) -> Self {
        let labels = ruleset.chains.iter().filter_map(|((table, name), chain)| {
            let (direction, tier) = match &chain.purpose {
                Purpose::Endpoint(_, direction) => (direction, None),
                Purpose::Policy(id, direction) => {
                    (direction, world.policy(id).map(|policy| policy.tier.to_string()))
                }
                // Tiers stand one behind the other in there: the rules say whose they are.
                Purpose::Host(_, _, direction) => (direction, None),
                Purpose::Fixed | Purpose::Dispatch => return None,
            };
            let tier = tier.unwrap_or_default();
            let is_host = matches!(chain.purpose, Purpose::Host(..));
            let label = ChainLabel { direction: direction_name(*direction), tier };
            (is_host || *table == Table::Filter).then(|| (name.clone(), label))
        });
        let tiers = world.policies().map(|policy| (policy.id.clone(), policy.tier.to_string()));
        Self { chains: labels.collect(), tiers: tiers.collect() }
    }

    /// The tier that a rule of a chain decides for; empty where none does.
    fn tier<'a>(&'a self, label: &'a ChainLabel, rule: &'a Rule, ends_tier: bool) -> Cow<'a, str> {
        if !label.tier.is_empty() {
            return Cow::Borrowed(&label.tier);
        }
        match rule.comment.as_ref().and_then(By::read) {
            Some(By::Tier(tier)) => Cow::Owned(tier.to_string()),
            Some(By::Rule(id, _)) => self.tiers.get(&id).map_or("", String::as_str).into(),
            Some(By::Profile(_) | By::Host) => "".into(),
            None if ends_tier => DEFAULT_TIER.into(),
            None => "".into(),
        }
    }
}

impl PacketTotals {
    /// Takes what the kernel's counters show now.
    pub fn take(&mut self, labels: &ChainLabels, installed: &Installed) {
        let family = installed.family;
        let mut seen = HashMap::new();
        for ((_, name), rules) in &installed.chains {
            let Some(label) = labels.chains.get(name) else { continue };
            for (index, rule) in rules.iter().enumerate() {
                let Some(known) = &rule.rule else { continue };
                let Some((verdict, ends_tier)) = verdict(known) else { continue };
                let tier = labels.tier(label, known, ends_tier).into_owned();
                let now = Count { packets: rule.packets, bytes: rule.bytes };
                let place = (family, name.clone(), index);
                let before = self.seen.get(&place).copied().unwrap_or_default();
                let before = if now.packets < before.packets { Count::default() } else { before };
                let total = self.totals.entry((label.direction, verdict, tier)).or_default();
                total.packets += now.packets - before.packets;
                total.bytes += now.bytes.saturating_sub(before.bytes);
                seen.insert(place, now);
            }
        }
        self.seen.retain(|(of, _, _), _| *of != family);
        self.seen.extend(seen);
    }

    /// The totals as metrics.
    pub(super) fn metrics(&self) -> [Metric; 2] {
        let mut packets =
            Metric::counter("brindle_policy_packets", "First packets of connections, judged");
        let mut bytes = Metric::counter("brindle_policy_bytes", "Octets of these packets");
        for ((direction, verdict, tier), count) in &self.totals {
            let labels = [("direction", *direction), ("verdict", *verdict), ("tier", &**tier)];
            packets = packets.with(labels, count.packets);
            bytes = bytes.with(labels, count.bytes);
        }
        [packets, bytes]
    }
}

/// Whether a rule decides, how, and whether it is the end of a tier rather than of a pod that
/// no policy governs.
fn verdict(rule: &Rule) -> Option<(&'static str, bool)> {
    match &rule.target {
        // Out of a pod, what is allowed goes on to where it is sent.
        Target::Accept | Target::Goto(_) => Some(("allow", false)),
        Target::Drop => {
            let is_invalid = rule.matches.iter().any(|one| matches!(one, Match::Invalid));
            Some((if is_invalid { "invalid" } else { "deny" }, true))
        }
        Target::Return
        | Target::Jump(_)
        | Target::Log { .. }
        | Target::Masquerade
        | Target::NoTrack
        | Target::Mark
        | Target::Unmark => None,
    }
}

pub(super) fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use brindle_policy::PodKey;
    use brindle_policy::readback::InstalledRule;
    use brindle_policy::ruleset::Chain;

    use super::*;

    /// A chain with an allowing and a denying rule that have counted so many packets.
    fn installed(name: &ChainName, counts: [u64; 2]) -> Installed {
        let targets = [Target::Accept, Target::Drop];
        let rules = targets.into_iter().zip(counts).map(|(target, packets)| InstalledRule {
            rule: Some(Rule { matches: Vec::new(), target, comment: None }),
            text: String::new(),
            packets,
            bytes: packets * 100,
        });
        let mut installed = Installed::new(Family::V4);
        installed.chains.insert((Table::Filter, name.clone()), rules.collect());
        installed
    }

    #[test]
    fn a_chain_that_is_written_anew_counts_on() {
        let pod = PodKey { namespace: "shop".into(), name: "web".into() };
        let name = ChainName::endpoint(&pod, Direction::Ingress);
        let chain =
            Chain { purpose: Purpose::Endpoint(pod, Direction::Ingress), rules: Vec::new() };
        let mut ruleset = Ruleset::new(Family::V4);
        ruleset.chains.insert((Table::Filter, name.clone()), Arc::new(chain));
        let labels = ChainLabels::of(&World::default(), &ruleset);
        let mut totals = PacketTotals::default();
        let mut shown = |counts| {
            totals.take(&labels, &installed(&name, counts));
            let shown = totals.totals.iter();
            shown
                .map(|((_, verdict, tier), c)| format!("{verdict} {tier}: {}", c.packets))
                .collect()
        };
        let lines = |allowed: u64, denied: u64| -> Vec<String> {
            vec![format!("allow : {allowed}"), format!("deny default: {denied}")]
        };
        let steps: [([u64; 2], Vec<String>); 4] = [
            ([5, 1], lines(5, 1)),
            ([5, 4], lines(5, 4)),
            // Written anew: from zero again, and two packets since.
            ([0, 2], lines(5, 6)),
            ([7, 2], lines(12, 6)),
        ];
        for (counts, want) in steps {
            let got: Vec<String> = shown(counts);
            assert_eq!(got, want, "{counts:?}");
        }
    }
}
