//! The chains by which one host endpoint judges in one stage: its tiers in order, in each tier
//! the policies that govern it in order, then its profiles (policy-semantics 5.2).
//!
//! The rules of a policy stand in the chain itself, as there are few host endpoints on a node.
//! A tier or a profile with a rule that leaves it has a chain of its own, from which that rule
//! returns; what allows by returning leaves the mark there, so that it is known behind the jump.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::criteria;
use super::super::fixed::{drop_rules, log_rule, rule};
use super::super::policy;
use super::super::sets::Sources;
use super::super::{Built, Context, staged};
use super::failsafe;
use crate::model::{
    Action, Direction, HostEndpoint, HostStage, Policy, PolicyId, Rule as PolicyRule, Tier,
    TierAction,
};
use crate::names::{ChainName, Comment};
use crate::ruleset::{Chain, Match, Purpose, Rule, Target};

/// The chains of a host endpoint for one stage and direction.
pub(super) struct Judging {
    /// All of them.
    pub(super) chains: Vec<(ChainName, Built)>,
    /// The policies that take part.
    pub(super) policies: BTreeSet<PolicyId>,
}

/// The chains of `host`; `None` if it neither judges there nor tells of packets for the sake of
/// staged policies. In the normal stage it always judges.
pub(super) fn judging(
    context: &Context<'_>,
    host: &HostEndpoint,
    stage: HostStage,
    direction: Direction,
) -> Option<Judging> {
    let governing = context.world.governing_host(host, stage, direction);
    let is_normal = match stage {
        HostStage::Normal => true,
        HostStage::Untracked | HostStage::PreDnat | HostStage::Forward => false,
    };
    let place = Place { context, host, stage, direction };
    let mut main = place.part("");
    let told = staged::told_by_host(context, host, stage, direction, &main.name);
    if governing.is_empty() && !is_normal && told.is_none() {
        return None;
    }
    main.rules = place.head(!governing.is_empty());
    main.rules.extend(told);
    let mut inner = Vec::new();
    let mut is_decided = false;
    for (tier, policies) in &governing {
        let has_pass = policies.iter().any(|one| policy::has_pass(context, one, direction));
        let part = has_pass.then(|| place.part(&format!("tier {}", tier.name)));
        is_decided = place.run(&mut main, part, &mut inner, Giver::Policies, |part| {
            place.tier(tier, policies, part)
        });
        if is_decided {
            break;
        }
    }
    let profiles: &[Arc<str>] = if is_normal && !is_decided { &host.profiles } else { &[] };
    for name in profiles {
        let rules = context.world.profile(name).map(|profile| match direction {
            Direction::Ingress => &profile.ingress[..],
            Direction::Egress => &profile.egress[..],
        });
        let has_pass = rules.is_some_and(|all| all.iter().any(|one| one.action == Action::Pass));
        let part = has_pass.then(|| place.part(&format!("profile {name}")));
        is_decided = place.run(&mut main, part, &mut inner, Giver::Profile, |part| {
            place.profile(name, rules, part)
        });
        if is_decided {
            break;
        }
    }
    if is_normal && !is_decided {
        let comment = Comment::new(&["host", &host.name]);
        main.rules.extend(place.drop(&[], &main.name, &comment));
    }
    let policies = governing.iter().flat_map(|(_, policies)| policies);
    Some(Judging {
        policies: policies.map(|policy| policy.id.clone()).collect(),
        chains: [main].into_iter().chain(inner).map(|part| place.built(part)).collect(),
    })
}

/// Who has a host endpoint let something pass.
#[derive(Clone, Copy)]
enum Giver {
    /// Its policies.
    Policies,
    /// One of its profiles.
    Profile,
}

/// A chain that is being written.
struct Part {
    name: ChainName,
    /// Whether it is not the one that everything begins with.
    is_inner: bool,
    rules: Vec<Rule>,
    sources: Sources,
}

/// Where a chain stands.
struct Place<'a> {
    context: &'a Context<'a>,
    host: &'a HostEndpoint,
    stage: HostStage,
    direction: Direction,
}

impl Place<'_> {
    fn part(&self, of: &str) -> Part {
        Part {
            name: ChainName::host(&self.host.name, self.stage, self.direction, of),
            is_inner: !of.is_empty(),
            rules: Vec::new(),
            sources: Sources::new(),
        }
    }

    fn built(&self, part: Part) -> (ChainName, Built) {
        let purpose = Purpose::Host(self.host.name.clone(), self.stage, self.direction);
        let chain = Chain { purpose, rules: part.rules };
        (part.name, Built { chain, sources: part.sources })
    }

    /// What passes, or does not, before any policy is asked.
    fn head(&self, is_governed: bool) -> Vec<Rule> {
        let Self { context, direction, .. } = *self;
        let (failsafes, family) = (&context.settings.hosts.failsafes, context.family);
        let mut rules = Vec::new();
        match self.stage {
            HostStage::Untracked => {
                rules.extend(failsafe::first(failsafes, direction, family, &Target::Return));
                rules.extend(failsafe::replies(failsafes, direction, family, &Target::Return));
            }
            HostStage::PreDnat => {
                rules.extend(failsafe::first(failsafes, direction, family, &Target::Return));
            }
            // What is known as part of a connection passed before.
            HostStage::Forward if !is_governed => {}
            HostStage::Forward => rules.push(rule(vec![Match::Invalid], Target::Drop)),
            HostStage::Normal => {
                // A host that no policy governs keeps its own rules for what stays open: that
                // it has a host endpoint changes nothing then (policy-semantics 5.5).
                let open = if is_governed { Target::Accept } else { Target::Return };
                rules.push(rule(vec![Match::Established], open.clone()));
                rules.extend(failsafe::first(failsafes, direction, family, &open));
                rules.push(rule(vec![Match::Invalid], Target::Drop));
            }
        }
        rules
    }

    /// Writes what `write` does at the end of the main chain, or in a chain of its own that the
    /// main chain jumps to. Whether nothing comes behind it; of a chain of its own, that is
    /// not known.
    fn run(
        &self,
        main: &mut Part,
        own: Option<Part>,
        inner: &mut Vec<Part>,
        giver: Giver,
        write: impl FnOnce(&mut Part) -> bool,
    ) -> bool {
        let Some(mut own) = own else { return write(main) };
        write(&mut own);
        let comes_back = match (self.stage, giver) {
            (HostStage::Forward | HostStage::PreDnat, _) | (HostStage::Normal, Giver::Profile) => {
                true
            }
            (HostStage::Normal, Giver::Policies) | (HostStage::Untracked, _) => false,
        };
        let jump = rule(Vec::new(), Target::Jump(own.name.clone()));
        if comes_back {
            main.rules.push(rule(Vec::new(), Target::Unmark));
            main.rules.push(jump);
            main.rules.push(rule(vec![Match::Marked], Target::Return));
        } else {
            main.rules.push(jump);
        }
        inner.push(own);
        false
    }

    /// The rules of a tier. Whether they decide about everything.
    fn tier(&self, tier: &Tier, policies: &[&Arc<Policy>], part: &mut Part) -> bool {
        for policy in policies {
            let rules = policy::enforced(self.context, policy, self.direction);
            for (index, one) in rules.into_iter().flatten() {
                let comment = Comment::policy_rule(&policy.id, index);
                self.rule(&one, Giver::Policies, &comment, part);
            }
        }
        let ends = match (self.stage, tier.default_action) {
            (HostStage::Forward | HostStage::Normal, TierAction::Deny) => true,
            // No decision there: the other stages go on.
            (HostStage::Untracked | HostStage::PreDnat, TierAction::Deny)
            | (_, TierAction::Pass) => false,
        };
        if ends {
            let comment = Comment::new(&["tier", &tier.name]);
            part.rules.extend(self.drop(&[], &part.name, &comment));
        }
        ends
    }

    /// The rules of a profile; all is denied as long as it is not known what they are. Whether
    /// they decide about everything.
    fn profile(&self, name: &str, rules: Option<&[PolicyRule]>, part: &mut Part) -> bool {
        let Some(rules) = rules else {
            let comment = Comment::new(&["profile", name]);
            part.rules.extend(self.drop(&[], &part.name, &comment));
            return true;
        };
        for (index, one) in rules.iter().enumerate() {
            let comment = Comment::new(&["profile", name, &index.to_string()]);
            self.rule(one, Giver::Profile, &comment, part);
        }
        false
    }

    fn rule(&self, rule: &PolicyRule, giver: Giver, comment: &Comment, part: &mut Part) {
        let Context { family, settings, .. } = *self.context;
        let all = criteria::alternatives(&rule.criteria, family, &mut part.sources);
        for matches in all {
            let targets = match rule.action {
                Action::Allow => self.allowed(giver, part.is_inner),
                Action::Pass => vec![Target::Return],
                Action::Deny => {
                    part.rules.extend(self.drop(&matches, &part.name, comment));
                    continue;
                }
                Action::Log => {
                    let (name, deny_log) = (&part.name, settings.deny_log);
                    part.rules.extend(log_rule(&matches, "log", name, deny_log, Some(comment)));
                    continue;
                }
            };
            part.rules.extend(targets.into_iter().map(|target| Rule {
                matches: matches.clone(),
                target,
                comment: Some(comment.clone()),
            }));
        }
    }

    /// What happens to what is allowed: no other stage of a host endpoint judges it, but the
    /// policies of pods do; what a profile allows, the host's own rules may still not.
    fn allowed(&self, giver: Giver, is_inner: bool) -> Vec<Target> {
        match (self.stage, giver) {
            (HostStage::Untracked, _) => vec![Target::NoTrack, Target::Mark, Target::Accept],
            (HostStage::PreDnat, _) => vec![Target::Mark, Target::Return],
            (HostStage::Normal, Giver::Policies) => vec![Target::Accept],
            (HostStage::Forward, _) | (HostStage::Normal, Giver::Profile) if is_inner => {
                vec![Target::Mark, Target::Return]
            }
            (HostStage::Forward, _) | (HostStage::Normal, Giver::Profile) => vec![Target::Return],
        }
    }

    fn drop(&self, matches: &[Match], chain: &ChainName, comment: &Comment) -> Vec<Rule> {
        drop_rules(matches, chain, self.context.settings.deny_log, Some(comment))
    }
}
