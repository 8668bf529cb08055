//! Expectations held against what policies say.

use std::collections::BTreeSet;

use brindle_policy::verdict::{self, Flow, Verdict};
use brindle_policy::{Direction, Family, PolicyId, World};

use super::find::{self, Located};
use super::services::{Class, classes};
use super::words::rules;
use super::{Known, explain};
use crate::control::FlowQuestion;
use crate::control::view::{self, Judgement, Outcome, PolicyTestReport, RuleName, TestFailure};
use crate::expect::{Asked, Expectations, Test};
use crate::flow::{End, Service};

/// Judges every flow of every test.
pub fn run(world: &World, expectations: &Expectations) -> PolicyTestReport {
    let mut runner = Runner { world, checks: 0, failures: Vec::new(), exercised: BTreeSet::new() };
    for test in &expectations.tests {
        runner.test(test);
    }
    let Runner { checks, failures, exercised, .. } = runner;
    let all = world
        .policies()
        .flat_map(|policy| rules(policy).into_iter().map(|rule| (policy.id.clone(), rule)));
    let all: Vec<_> = all.collect();
    let never_exercised = all
        .iter()
        .filter(|(id, rule)| !exercised.contains(&(id.clone(), rule.direction, rule.rule)))
        .map(|(id, rule)| RuleName {
            policy: id.to_string(),
            direction: rule.direction,
            rule: rule.rule,
            text: rule.text.clone(),
        });
    PolicyTestReport {
        file: expectations.file.display().to_string(),
        passed: failures.is_empty(),
        checks,
        never_exercised: never_exercised.collect(),
        failures,
        rules: all.len(),
    }
}

struct Runner<'w> {
    world: &'w World,
    checks: usize,
    failures: Vec<TestFailure>,
    /// Rules that decided something.
    exercised: BTreeSet<(PolicyId, view::Direction, usize)>,
}

impl Runner<'_> {
    fn test(&mut self, test: &Test) {
        for (from, to, service) in test.flows() {
            self.checks += 1;
            let failed = |port: Option<Service>, got, why| TestFailure {
                test: test.name.clone(),
                line: test.line,
                from: from.to_string(),
                to: to.to_string(),
                port: port.map(Service::written),
                expected: test.expect,
                got,
                why,
            };
            let ends = match find::both(self.world, from, to, None) {
                Ok(ends) => ends,
                Err(failure) => {
                    self.failures.push(failed(service, None, vec![failure.to_string()]));
                    continue;
                }
            };
            // One failure for each flow of the test is enough: the first.
            for class in asked(self.world, &ends, service) {
                let verdict = self.judge(&ends, class.service);
                let got = outcome(&verdict, test.direction);
                let decided = decider(&verdict, test.direction, got);
                let is_other = |want: &String| !decided.contains(want);
                if got != test.expect {
                    let why = self.why(from, to, class.service);
                    self.failures.push(failed(Some(class.service), Some(got), why));
                    break;
                }
                if let Some(want) = test.decided_by.as_ref().filter(|want| is_other(want)) {
                    let by = if decided.is_empty() {
                        "no policy".to_owned()
                    } else {
                        decided.join(", ")
                    };
                    let mut why = vec![format!("decided by {by}, not by {want}")];
                    why.extend(self.why(from, to, class.service));
                    self.failures.push(failed(Some(class.service), Some(got), why));
                    break;
                }
            }
        }
    }

    fn judge(&mut self, ends: &[Located<'_>; 2], service: Service) -> Verdict {
        let [from, to] = ends;
        let flow = Flow {
            source: from.address,
            destination: to.address,
            protocol: service.protocol(Family::of(from.address)),
            source_port: None,
            destination_port: service.port(),
            icmp: service.icmp(Family::of(from.address)),
        };
        let verdict = verdict::verdict(self.world, &flow);
        for direction in Direction::ALL {
            let judgement = verdict.of(direction);
            if let (Some(index), [id]) = (judgement.rule(), judgement.policies()) {
                self.exercised.insert((id.clone(), direction.into(), index));
            }
        }
        verdict
    }

    /// What `explain` says of it, as far as it decides.
    fn why(&self, from: &End, to: &End, service: Service) -> Vec<String> {
        let question =
            FlowQuestion { source: from.clone(), destination: to.clone(), service, family: None };
        let known = Known { world: self.world, here: None };
        let Ok(explained) = explain::explain(&known, &question) else { return Vec::new() };
        let mut lines = Vec::new();
        for (direction, judged) in
            [(Direction::Egress, &explained.egress), (Direction::Ingress, &explained.ingress)]
        {
            lines.push(format!("{direction}: {}: {}", judged.verdict, judged.reason));
            lines.extend(asked_rules(judged));
        }
        lines.extend(explained.nearest);
        lines
    }
}

fn asked_rules(judged: &Judgement) -> impl Iterator<Item = String> {
    judged.policies.iter().flat_map(|policy| {
        policy.rules.iter().map(|rule| {
            let answer = match &rule.why_not {
                _ if rule.matched => "yes".to_owned(),
                Some(why) => format!("no: {why}"),
                None => "no".to_owned(),
            };
            format!("  {} rule {}  {}  {answer}", policy.policy, rule.rule, rule.text)
        })
    })
}

/// What is to be judged: one service, or one of each class that rules tell apart.
fn asked(world: &World, ends: &[Located<'_>; 2], service: Option<Service>) -> Vec<Class> {
    match service {
        Some(service) => vec![Class::of(service)],
        None => classes(world, ends[0].endpoint, ends[1].endpoint),
    }
}

fn outcome(verdict: &Verdict, asked: Asked) -> Outcome {
    Outcome::of(match asked {
        Asked::Both => verdict.is_allowed(),
        Asked::Ingress => verdict.ingress.is_allowed(),
        Asked::Egress => verdict.egress.is_allowed(),
    })
}

/// The policies that made the outcome, of the directions that were asked.
fn decider(verdict: &Verdict, asked: Asked, got: Outcome) -> Vec<String> {
    let directions: &[Direction] = match asked {
        Asked::Both => &Direction::ALL,
        Asked::Ingress => &[Direction::Ingress],
        Asked::Egress => &[Direction::Egress],
    };
    let judged = directions.iter().map(|direction| verdict.of(*direction));
    let judged = judged.filter(|judgement| Outcome::of(judgement.is_allowed()) == got);
    judged.flat_map(verdict::Judgement::policies).map(PolicyId::to_string).collect()
}
