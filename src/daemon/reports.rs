//! What of the policy half the cluster is told: repairs, failures, and policies that the kernel
//! does not take.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use brindle_policy::PolicyId;

use super::answer::Known;
use super::source::SourceState;
use crate::cluster::kubernetes::Cause;
use crate::cluster::kubernetes::line::Line;
use crate::cluster::report::{Reason, Report, Subject};
use crate::enforce::EnforceStatus;

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long writing may fail before the cluster is told: the next try may do.
const FAILING_FOR: Duration = Duration::from_secs(10);

/// Looks for what is new, for ever. `line` hears of what the source was refused.
pub(super) async fn watch(known: Arc<Known>, line: Line) {
    let mut told = Told::default();
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        if let Some(SourceState::Kubernetes(status)) = &known.source
            && status.load().troubles().any(|(_, trouble)| trouble.cause == Cause::Forbidden)
        {
            line.refused();
        }
        if let Some(enforce) = &known.enforce {
            let status = enforce.status.load();
            for Report { subject, reason, message } in
                told.news(&known.name, &status, SystemTime::now())
            {
                known.reporter.report(subject, reason, message);
            }
        }
    }
}

/// What was told before.
#[derive(Debug, Default)]
struct Told {
    repairs: u64,
    failing: Option<String>,
    broken: BTreeMap<PolicyId, String>,
    hosts: BTreeMap<Arc<str>, String>,
}

impl Told {
    /// What is to be told now: everything once, and again when it is so again or is otherwise.
    fn news(&mut self, node: &Arc<str>, status: &EnforceStatus, now: SystemTime) -> Vec<Report> {
        let mut news = Vec::new();
        let mut tell = |subject, reason, message| news.push(Report { subject, reason, message });
        if status.repairs > self.repairs {
            let what = status.last_repair.as_ref().map(|(_, what)| what.clone());
            let what = what.unwrap_or_else(|| "rules were not as they were left".to_owned());
            tell(Subject::Node(Arc::clone(node)), Reason::DataplaneRepaired, what);
        }
        self.repairs = status.repairs;

        let failing = status.unavailable.clone().or_else(|| {
            let (since, why) = status.failing.as_ref()?;
            let is_long = now.duration_since(*since).is_ok_and(|time| time >= FAILING_FOR);
            is_long.then(|| why.clone())
        });
        if let Some(why) = failing.as_ref().filter(|why| self.failing.as_ref() != Some(*why)) {
            let message = format!("policies cannot be written into the kernel: {why}");
            tell(Subject::Node(Arc::clone(node)), Reason::DataplaneFailing, message);
        }
        self.failing = failing;

        let broken: BTreeMap<_, _> = status.broken.iter().cloned().collect();
        for (id, why) in &broken {
            if self.broken.get(id) != Some(why) {
                let message = format!("not installed whole; what it would allow is closed: {why}");
                tell(Subject::Policy(id.clone()), Reason::PolicyInvalid, message);
            }
        }
        self.broken = broken;

        for (name, why) in &status.host_problems {
            if self.hosts.get(name) != Some(why) {
                let subject = Subject::HostEndpoint(Arc::clone(name));
                tell(subject, Reason::HostEndpointInvalid, format!("on node {node}: {why}"));
            }
        }
        self.hosts.clone_from(&status.host_problems);
        news
    }
}

#[cfg(test)]
mod tests {
    use brindle_policy::model::PolicyKind;

    use super::*;

    #[test]
    fn each_thing_is_told_once_and_again_when_it_is_otherwise() {
        let start = SystemTime::UNIX_EPOCH;
        let at = |seconds| start + Duration::from_secs(seconds);
        let good = EnforceStatus::default();
        let id = PolicyId {
            kind: PolicyKind::NetworkPolicy,
            namespace: Some("shop".into()),
            name: "db".into(),
        };
        let repaired = |repairs, what: &str| EnforceStatus {
            repairs,
            last_repair: Some((start, what.to_owned())),
            ..EnforceStatus::default()
        };
        let failing = |why: &str| EnforceStatus {
            failing: Some((start, why.to_owned())),
            ..EnforceStatus::default()
        };
        let broken = |why: &str| EnforceStatus {
            broken: vec![(id.clone(), why.to_owned())],
            ..EnforceStatus::default()
        };
        let idle = |why: &str| EnforceStatus {
            host_problems: [("eth".into(), why.to_owned())].into(),
            ..EnforceStatus::default()
        };
        let missing =
            EnforceStatus { unavailable: Some("no ipset".to_owned()), ..EnforceStatus::default() };
        let mut told = Told::default();
        for (seconds, status, want) in [
            (0, good.clone(), vec![]),
            (1, repaired(1, "a chain"), vec![(Reason::DataplaneRepaired, "a chain")]),
            (2, repaired(1, "a chain"), vec![]),
            (3, repaired(9, "a set"), vec![(Reason::DataplaneRepaired, "a set")]),
            (4, failing("no lock"), vec![]),
            (10, failing("no lock"), vec![(Reason::DataplaneFailing, "no lock")]),
            (11, failing("no lock"), vec![]),
            (12, failing("killed"), vec![(Reason::DataplaneFailing, "killed")]),
            (13, good.clone(), vec![]),
            (14, failing("killed"), vec![(Reason::DataplaneFailing, "killed")]),
            (15, missing.clone(), vec![(Reason::DataplaneFailing, "no ipset")]),
            (16, broken("a rule"), vec![(Reason::PolicyInvalid, "a rule")]),
            (17, broken("a rule"), vec![]),
            (18, broken("a set"), vec![(Reason::PolicyInvalid, "a set")]),
            (19, good.clone(), vec![]),
            (20, broken("a set"), vec![(Reason::PolicyInvalid, "a set")]),
            (21, idle("b counts"), vec![(Reason::HostEndpointInvalid, "on node n1: b counts")]),
            (22, idle("b counts"), vec![]),
            (23, idle("c counts"), vec![(Reason::HostEndpointInvalid, "on node n1: c counts")]),
            (24, good.clone(), vec![]),
            (25, idle("c counts"), vec![(Reason::HostEndpointInvalid, "on node n1: c counts")]),
        ] {
            let news = told.news(&"n1".into(), &status, at(seconds));
            let reasons: Vec<_> = news.iter().map(|report| report.reason).collect();
            assert_eq!(reasons, want.iter().map(|(reason, _)| *reason).collect::<Vec<_>>());
            for (report, (_, words)) in news.iter().zip(want) {
                assert!(report.message.contains(words), "at {seconds} s: {report:?}");
                assert_eq!(
                    report.subject == Subject::Node("n1".into()),
                    !matches!(report.reason, Reason::PolicyInvalid | Reason::HostEndpointInvalid)
                );
            }
        }
    }
}
