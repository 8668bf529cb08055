//! What becomes of a policy in which something is not understood (policy-semantics 7.11).
//!
//! Rules here may deny, so that to leave one out is not the safe thing. What may have been an
//! allowance allows nothing; what may have been a denial, or a Pass over rules that deny,
//! denies.

use super::Problems;
use crate::model::{
    Action, Criterion, DEFAULT_TIER, Direction, HostStage, NAMESPACE_NAME_LABEL, Policy, PolicyId,
    PolicyKind, PolicyOrder, Problem, Rule, Side, StagedAction,
};
use crate::selector::{Expr, Key, Scope};

/// What stands in for a policy of which no more could be read than this: it governs `directions`
/// of all that a policy of its kind and namespace can, and denies everything. Its place in the
/// tier is the first. `tier` is the default one if it cannot be told; `problem` says what is
/// wrong.
pub fn closed_policy(
    id: PolicyId,
    directions: &[Direction],
    tier: Option<&str>,
    problem: Problem,
) -> Policy {
    let subject = match (&id.namespace, id.kind) {
        (Some(namespace), _) => Expr::InNamespace(namespace.clone()),
        (None, PolicyKind::ClusterNetworkPolicy) => in_some_namespace(),
        (None, _) => Expr::All,
    };
    let closed = |direction| directions.contains(&direction).then(|| vec![deny_all()]);
    Policy {
        tier: tier.filter(|tier| !tier.is_empty()).unwrap_or(DEFAULT_TIER).into(),
        order: PolicyOrder::new(Some(f64::NEG_INFINITY)),
        subject: subject.into(),
        stage: HostStage::Normal,
        staged: id.kind.enforced().map(|_| StagedAction::Set),
        ingress: closed(Direction::Ingress),
        egress: closed(Direction::Egress),
        problems: vec![problem],
        id,
    }
}

/// Whatever is in a namespace: pods and not hosts.
pub(super) fn in_some_namespace() -> Expr {
    Expr::Has(Key { scope: Scope::Namespace, name: NAMESPACE_NAME_LABEL.into() })
}

/// Makes of a rule in which something is not understood one that allows nothing: an Allow or
/// Log rule matches nothing, a Deny or Pass rule denies everything. (Of kinds that only allow,
/// no rule denies.)
pub fn distrust_rule(rule: &mut Rule) {
    *rule = match rule.action {
        Action::Allow | Action::Log => nothing(rule.action),
        Action::Deny | Action::Pass => deny_all(),
    };
}

/// Makes of a policy that may govern more than was meant one that allows nothing: its Allow
/// rules match nothing, and its Pass rules deny. Those that deny do.
pub fn distrust_subject(policy: &mut Policy) {
    let rules = [&mut policy.ingress, &mut policy.egress].into_iter().flatten();
    allow_nothing(rules.flatten());
}

/// As [`distrust_subject`], for some rules of a policy.
pub(super) fn allow_nothing<'r>(rules: impl IntoIterator<Item = &'r mut Rule>) {
    for rule in rules {
        match rule.action {
            Action::Allow => *rule = nothing(Action::Allow),
            Action::Pass => rule.action = Action::Deny,
            Action::Deny | Action::Log => {}
        }
    }
}

/// A rule that denies everything.
pub(super) fn deny_all() -> Rule {
    Rule { action: Action::Deny, criteria: Vec::new() }
}

/// A rule that matches nothing; it holds the place of one, so that others keep theirs.
fn nothing(action: Action) -> Rule {
    let nobody = Criterion::Peer { side: Side::Source, any_of: Vec::new(), negated: false };
    Rule { action, criteria: vec![nobody] }
}

/// A rule that is being read.
pub(super) struct Draft<'p> {
    /// What it does; `None` if that is not understood.
    action: Option<Action>,
    /// Something in it is not understood.
    is_spoilt: bool,
    /// What must hold.
    criteria: Vec<Criterion>,
    problems: &'p mut Problems,
}

impl<'p> Draft<'p> {
    pub(super) fn new(action: Option<Action>, problems: &'p mut Problems) -> Self {
        Self { action, is_spoilt: false, criteria: Vec::new(), problems }
    }

    /// Notes something that is not understood and without which the rule would mean something
    /// else.
    pub(super) fn bad(&mut self, field: impl Into<String>, message: impl AsRef<str>) {
        self.is_spoilt = true;
        self.problems.add(field, format!("{}; {}", message.as_ref(), self.follows()));
    }

    /// Notes a bad element of a list of which one must fit. In a rule that allows, the others
    /// still count.
    pub(super) fn bad_element(&mut self, field: impl Into<String>, message: impl AsRef<str>) {
        match self.action {
            Some(Action::Allow | Action::Log) => {
                self.note(field, format!("{}; it stands for nothing", message.as_ref()));
            }
            Some(Action::Deny | Action::Pass) | None => self.bad(field, message),
        }
    }

    /// Notes a bad element of a list: of one of which one must fit, or of one of which none may.
    pub(super) fn bad_in_list(&mut self, negated: bool, field: String, message: impl AsRef<str>) {
        if negated { self.bad(field, message) } else { self.bad_element(field, message) }
    }

    /// Notes something that changes nothing about the rule.
    pub(super) fn note(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.problems.add(field, message);
    }

    /// What `read` makes of something; where it makes nothing of it, it notes why, and the rule
    /// is spoilt.
    pub(super) fn read<T>(&mut self, read: impl FnOnce(&mut Problems) -> Option<T>) -> Option<T> {
        let read = read(self.problems);
        self.is_spoilt |= read.is_none();
        read
    }

    /// Makes it deny what it matches.
    pub(super) fn deny(&mut self) {
        self.action = Some(Action::Deny);
    }

    pub(super) fn action(&self) -> Option<Action> {
        self.action
    }

    pub(super) fn add(&mut self, criterion: Criterion) {
        self.criteria.push(criterion);
    }

    pub(super) fn criteria(&self) -> &[Criterion] {
        &self.criteria
    }

    /// What follows from something that is not understood.
    pub(super) fn follows(&self) -> &'static str {
        match self.action {
            Some(Action::Allow) => "the rule allows nothing",
            Some(Action::Log) => "the rule logs nothing",
            Some(Action::Deny | Action::Pass) | None => "the rule denies everything",
        }
    }

    /// The rule; one whose action is not understood denies what it matches.
    pub(super) fn finish(self) -> Rule {
        let action = self.action.unwrap_or(Action::Deny);
        let mut rule = Rule { action, criteria: self.criteria };
        if self.is_spoilt {
            distrust_rule(&mut rule);
        }
        rule
    }
}
