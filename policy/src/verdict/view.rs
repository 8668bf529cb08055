//! The world as it is, or as it would be with some labels changed or staged policies enforced.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::address::Cidr;
use crate::model::{
    Criterion, Direction, HostEndpoint, HostStage, IpBlock, Labels, NetworkSet, PeerTerm, Pod,
    PodKey, Policy, PolicyId, Rule, ServiceAccount, StagedAction, Tier,
};
use crate::selector::{Expr, Subject};
use crate::world::World;

/// A world, and what replaces some of it: what-if questions need no second world.
#[derive(Clone)]
pub(super) struct View<'w> {
    pub(super) world: &'w World,
    pub(super) pods: BTreeMap<PodKey, Labels>,
    pub(super) namespaces: BTreeMap<Arc<str>, Labels>,
    /// Addresses that a rule's blocks stand for besides, by policy, direction and position.
    pub(super) blocks: BTreeMap<(PolicyId, Direction, usize), BTreeSet<IpAddr>>,
    /// Values to try for labels besides those that follow from a rule itself, by key.
    pub(super) further: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Staged policies that count as enforced.
    set: Vec<&'w Arc<Policy>>,
    /// Policies that count as gone.
    gone: BTreeSet<PolicyId>,
}

impl<'w> View<'w> {
    /// The world as it is.
    pub(super) fn of(world: &'w World) -> Self {
        Self {
            world,
            pods: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            blocks: BTreeMap::new(),
            further: BTreeMap::new(),
            set: Vec::new(),
            gone: BTreeSet::new(),
        }
    }

    /// The world as it would be if what is staged took effect (policy-semantics 3.9): what is
    /// to be set stands in for the enforced policy of its name, what is to be deleted goes.
    pub(super) fn with_staged(world: &'w World) -> Self {
        let mut view = Self::of(world);
        for policy in world.staged() {
            match policy.staged {
                Some(StagedAction::Set) => {
                    view.gone.extend(enforced(policy));
                    view.set.push(policy);
                }
                Some(StagedAction::Delete) => view.gone.extend(enforced(policy)),
                Some(StagedAction::Learn | StagedAction::Ignore) | None => {}
            }
        }
        view
    }

    /// The rule at a place, as it would be.
    pub(super) fn rule<'r>(
        &self,
        policy: &PolicyId,
        direction: Direction,
        index: usize,
        rule: &'r Rule,
    ) -> Cow<'r, Rule> {
        if self.blocks.is_empty() {
            return Cow::Borrowed(rule);
        }
        let Some(addresses) = self.blocks.get(&(policy.clone(), direction, index)) else {
            return Cow::Borrowed(rule);
        };
        let mut rule = rule.clone();
        for criterion in &mut rule.criteria {
            if let Criterion::Peer { any_of, negated: false, .. } = criterion
                && any_of.iter().any(|term| matches!(term, PeerTerm::Block(_)))
            {
                let blocks = addresses
                    .iter()
                    .map(|address| IpBlock { cidr: Cidr::host(*address), except: Vec::new() });
                any_of.extend(blocks.map(PeerTerm::Block));
            }
        }
        Cow::Owned(rule)
    }

    fn is_changed(&self, pod: &Pod) -> bool {
        self.pods.contains_key(&pod.key) || self.namespaces.contains_key(&pod.key.namespace)
    }

    /// The service account of `pod`, for [`View::subject`].
    pub(super) fn account_of(&self, pod: &Pod) -> Arc<ServiceAccount> {
        self.world.account_of(pod)
    }

    /// What selectors see of `pod`, which has this `account`.
    pub(super) fn subject<'a>(&'a self, pod: &'a Pod, account: &'a ServiceAccount) -> Subject<'a> {
        let own = self.pods.get(&pod.key).unwrap_or(&pod.labels);
        let replaced = self.namespaces.get(&pod.key.namespace);
        let stored = || self.world.namespace(&pod.key.namespace).map(|found| &found.labels);
        Subject {
            namespace: Some(&pod.key.namespace),
            own,
            of_namespace: replaced.or_else(stored),
            of_account: Some(&account.labels),
        }
    }

    /// Whether `expr` holds for `pod`.
    pub(super) fn matches(&self, expr: &Expr, pod: &Pod) -> bool {
        if self.is_changed(pod) {
            expr.matches(&self.subject(pod, &self.account_of(pod)))
        } else {
            self.world.matches(expr, pod)
        }
    }

    /// Whether `address` is that of a pod, a host endpoint or a network set for which `expr`
    /// holds; `endpoint` is the pod that has it.
    pub(super) fn selects(
        &self,
        expr: &Expr,
        address: IpAddr,
        endpoint: Option<&Arc<Pod>>,
    ) -> bool {
        if self.pods.is_empty() && self.namespaces.is_empty() {
            return self.world.selects(expr, address);
        }
        endpoint.is_some_and(|pod| self.matches(expr, pod))
            || self
                .world
                .host_endpoints()
                .any(|host| host.expected.contains(&address) && self.world.matches_host(expr, host))
            || self.world.network_sets().any(|set| {
                set.nets.iter().any(|net| net.contains(address)) && self.matches_set(expr, set)
            })
    }

    /// Whether `expr` holds for a network set.
    pub(super) fn matches_set(&self, expr: &Expr, set: &NetworkSet) -> bool {
        let is_other = |name: &str, labels: &Labels| {
            self.world.namespace(name).is_none_or(|stored| stored.labels != *labels)
        };
        let replaced = set
            .id
            .namespace
            .as_ref()
            .and_then(|name| self.namespaces.get(name).filter(|labels| is_other(name, labels)));
        let Some(labels) = replaced else { return self.world.matches_set(expr, set) };
        expr.matches(&Subject {
            namespace: set.id.namespace.as_deref(),
            own: &set.labels,
            of_namespace: Some(labels),
            of_account: None,
        })
    }

    /// The policies that govern `pod`, as [`World::governing`] has them.
    pub(super) fn governing(
        &self,
        pod: &Pod,
        direction: Direction,
    ) -> Vec<(&'w Tier, Vec<&'w Arc<Policy>>)> {
        let is_changed = self.is_changed(pod);
        if !is_changed && self.set.is_empty() && self.gone.is_empty() {
            return self.world.governing(pod, direction);
        }
        if !pod.is_endpoint() {
            return Vec::new();
        }
        let governs = |policy: &&Arc<Policy>| {
            policy.rules(direction).is_some() && self.matches(&policy.subject, pod)
        };
        let enforced: Vec<&'w Arc<Policy>> = if is_changed {
            let judging = self.world.policies().filter(|policy| policy.judges_pods());
            judging.filter(governs).collect()
        } else {
            let stages = self.world.governing(pod, direction);
            stages.into_iter().flat_map(|(_, policies)| policies).collect()
        };
        let kept = enforced.into_iter().filter(|policy| !self.gone.contains(&policy.id));
        let set = self.set.iter().copied().filter(|policy| judges_pods_once_set(policy));
        self.in_order(kept.chain(set.filter(governs)))
    }

    /// The policies that govern a host endpoint, as [`World::governing_host`] has them.
    pub(super) fn governing_host(
        &self,
        host: &HostEndpoint,
        stage: HostStage,
        direction: Direction,
    ) -> Vec<(&'w Tier, Vec<&'w Arc<Policy>>)> {
        let stages = self.world.governing_host(host, stage, direction);
        if self.set.is_empty() && self.gone.is_empty() {
            return stages;
        }
        let enforced = stages.into_iter().flat_map(|(_, policies)| policies);
        let kept = enforced.filter(|policy| !self.gone.contains(&policy.id));
        let governs = |policy: &&Arc<Policy>| self.governs_host(policy, host, stage, direction);
        self.in_order(kept.chain(self.set.iter().copied().filter(governs)))
    }

    /// Policies by tier, in the order of evaluation.
    fn in_order(
        &self,
        policies: impl Iterator<Item = &'w Arc<Policy>>,
    ) -> Vec<(&'w Tier, Vec<&'w Arc<Policy>>)> {
        let mut policies: Vec<_> = policies.collect();
        policies.sort_by(|a, b| order(a).cmp(&order(b)));
        let stages = self.world.tiers().iter().map(|tier| {
            let of_tier = policies.iter().copied().filter(|policy| policy.tier == tier.name);
            (tier, of_tier.collect::<Vec<_>>())
        });
        stages.filter(|(_, policies)| !policies.is_empty()).collect()
    }

    fn governs_host(
        &self,
        policy: &Policy,
        host: &HostEndpoint,
        stage: HostStage,
        direction: Direction,
    ) -> bool {
        policy.takes_part(stage)
            && policy.rules(direction).is_some()
            && self.world.matches_host(&policy.subject, host)
    }

    /// The staged policies on which the answer for `pod` may depend: those that would govern
    /// it, and those that take away one that does.
    pub(super) fn staged_for(&self, pod: &Pod, direction: Direction) -> Vec<PolicyId> {
        let governs = |policy: &Policy| {
            policy.rules(direction).is_some() && self.matches(&policy.subject, pod)
        };
        let sets = |policy: &Policy| judges_pods_once_set(policy) && governs(policy);
        let goes = |former: &Policy| former.judges_pods() && governs(former);
        if !pod.is_endpoint() {
            return Vec::new();
        }
        self.staged_that(sets, goes)
    }

    /// Likewise for a host endpoint at a stage.
    pub(super) fn staged_for_host(
        &self,
        host: &HostEndpoint,
        stage: HostStage,
        direction: Direction,
    ) -> Vec<PolicyId> {
        let governs = |policy: &Policy| self.governs_host(policy, host, stage, direction);
        self.staged_that(governs, governs)
    }

    /// The staged policies in effect which `sets` holds for, or which take the place of a policy,
    /// or take it away, that `goes` holds for.
    fn staged_that(
        &self,
        sets: impl Fn(&Policy) -> bool,
        goes: impl Fn(&Policy) -> bool,
    ) -> Vec<PolicyId> {
        let former = |policy: &Policy| {
            let former = enforced(policy).and_then(|id| self.world.policy(&id));
            former.is_some_and(|former| goes(former))
        };
        let concerns = |policy: &&Arc<Policy>| match policy.staged {
            Some(StagedAction::Set) => sets(policy) || former(policy),
            Some(StagedAction::Delete) => former(policy),
            Some(StagedAction::Learn | StagedAction::Ignore) | None => false,
        };
        self.world.staged().filter(concerns).map(|policy| policy.id.clone()).collect()
    }
}

/// The policy in whose place a staged one would be.
fn enforced(staged: &Policy) -> Option<PolicyId> {
    let kind = staged.id.kind.enforced()?;
    Some(PolicyId { kind, ..staged.id.clone() })
}

fn judges_pods_once_set(policy: &Policy) -> bool {
    matches!(policy.stage, HostStage::Forward | HostStage::Normal)
}

/// [`Policy::compare`] with the kind that a staged policy would have.
fn order(policy: &Policy) -> (crate::model::PolicyOrder, &str, Option<&str>, &'static str) {
    let kind = policy.id.kind.enforced().unwrap_or(policy.id.kind);
    (policy.order, &policy.id.name, policy.id.namespace.as_deref(), kind.as_str())
}
