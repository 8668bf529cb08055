//! The chains that judge the packets of one endpoint: its tiers in order, in each tier the
//! policies that govern it in order (policy-semantics 4).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::fixed::{drop_rules, rule};
use super::policy::{self, allowed};
use super::sets::Sources;
use super::{Built, Context, staged};
use crate::model::{Direction, Pod, Policy, PolicyId, Tier, TierAction, ToHost};
use crate::names::{ChainName, Comment};
use crate::ruleset::{Chain, Match, Purpose, Rule, Target};

/// The chains of an endpoint for one direction.
#[derive(Default)]
pub(super) struct Judging {
    /// The one that the dispatch goes to first, then one for each tier with a policy that may
    /// leave it.
    pub(super) chains: Vec<(ChainName, Built)>,
    /// The policies that take part.
    pub(super) governing: BTreeSet<PolicyId>,
    /// Whether packets are told of for the sake of staged policies.
    pub(super) is_told: bool,
}

/// The chains of `pod`, a local endpoint, for one direction.
pub(super) fn judging(context: &Context<'_>, pod: &Pod, direction: Direction) -> Judging {
    let name = ChainName::endpoint(&pod.key, direction);
    let purpose = Purpose::Endpoint(pod.key.clone(), direction);
    let stages = context.world.governing(pod, direction);
    let mut rules = Vec::new();
    let mut inner = Vec::new();
    let mut governing = BTreeSet::new();
    let mut is_decided = false;
    if !stages.is_empty() {
        rules.push(rule(vec![Match::Invalid], Target::Drop));
    }
    let told = staged::told(context, pod, direction, &name);
    let is_told = told.is_some();
    rules.extend(told);
    for (tier, policies) in &stages {
        governing.extend(policies.iter().map(|policy| policy.id.clone()));
        let has_pass = policies.iter().any(|p| policy::has_pass(context, p, direction));
        if has_pass {
            // Whoever leaves the tier returns from this chain, and to it from no other.
            let stage = ChainName::tier(&pod.key, &tier.name, direction);
            let mut sources = Sources::new();
            let rules_of_tier =
                tier_rules(context, tier, policies, direction, &stage, &mut sources);
            let chain = Chain { purpose: purpose.clone(), rules: rules_of_tier };
            rules.push(rule(Vec::new(), Target::Jump(stage.clone())));
            rules.extend(to_host(context, direction));
            inner.push((stage, Built { chain, sources }));
        } else {
            let mut none = Sources::new();
            rules.extend(tier_rules(context, tier, policies, direction, &name, &mut none));
            if tier.default_action == TierAction::Deny {
                is_decided = true;
                break;
            }
        }
    }
    if !is_decided {
        rules.push(rule(Vec::new(), allowed(direction)));
    }
    let main = Built { chain: Chain { purpose, rules }, sources: Sources::new() };
    let chains = [(name, main)].into_iter().chain(inner).collect();
    Judging { chains, governing, is_told }
}

/// A tier's rules, to stand in `chain`. They come to their end only if the next tier decides.
fn tier_rules(
    context: &Context<'_>,
    tier: &Tier,
    policies: &[&Arc<Policy>],
    direction: Direction,
    chain: &ChainName,
    sources: &mut Sources,
) -> Vec<Rule> {
    let mut rules = Vec::new();
    for policy in policies {
        if policy::has_pass(context, policy, direction) {
            rules.extend(
                policy::rules(context, policy, direction, chain, sources).into_iter().flatten(),
            );
        } else {
            let target = Target::Jump(ChainName::policy(&policy.id, direction));
            rules.push(rule(Vec::new(), target));
            rules.extend(to_host(context, direction));
        }
    }
    match tier.default_action {
        TierAction::Deny => {
            let comment = Some(Comment::new(&["tier", &tier.name]));
            let deny_log = context.settings.deny_log;
            rules.extend(drop_rules(&[], chain, deny_log, comment.as_ref()));
        }
        TierAction::Pass => {}
    }
    rules
}

/// Behind a jump: what was allowed and comes back marked is for the host's own rules.
fn to_host(context: &Context<'_>, direction: Direction) -> Option<Rule> {
    let comes_back = direction == Direction::Egress
        && match context.settings.hosts.to_host {
            ToHost::Return => true,
            ToHost::Accept | ToHost::Drop => false,
        };
    comes_back.then(|| rule(vec![Match::Marked], Target::Return))
}
