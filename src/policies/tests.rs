use std::path::Path;

use brindle_policy::compile::{Settings, compile};
use brindle_policy::model::HostSettings;
use brindle_policy::names::ChainName;
use brindle_policy::readback::{Installed, InstalledHook, InstalledRule, InstalledSet};
use brindle_policy::ruleset::{Table, Target};
use brindle_policy::{Direction, Family, PodKey, PolicyId, World};

mod hosts;

use super::{Here, Known, answer};
use crate::cluster::{self, files};
use crate::control::view::{CellVerdict, Explanation, Outcome, Policy, RuleHits};
use crate::control::{Answer, Failure, FlowQuestion, PageRequest, PolicyQuery};
use crate::enforce::EnforceStatus;
use crate::flow::{Destination, End};

/// The shop of the command's tests.
fn shop() -> World {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy_cmd/shop");
    let (changes, problems) = files::read_once(&folder);
    assert!(problems.is_empty(), "{problems:?}");
    let mut world = World::default();
    for change in changes {
        if let cluster::Change::Policy(change) = change {
            world.apply(change);
        }
    }
    world
}

/// What the kernel of a node holds once all is written; each rule has met as many packets as
/// its place in its chain says, from one.
fn installed(world: &World, node: &str) -> Installed {
    installed_with(world, node, &HostSettings::default())
}

/// Likewise with these settings.
fn installed_with(world: &World, node: &str, hosts: &HostSettings) -> Installed {
    let settings = Settings {
        node: node.into(),
        pod_cidrs: Default::default(),
        masquerade: true,
        deny_log: None,
        hosts: hosts.clone(),
    };
    let ruleset = compile(world, &settings, Family::V4);
    let mut installed = Installed::new(Family::V4);
    for (name, chain) in &ruleset.chains {
        let rules = (1..).zip(&chain.rules).map(|(packets, rule)| InstalledRule {
            rule: Some(rule.clone()),
            text: String::new(),
            packets,
            bytes: packets * 60,
        });
        installed.chains.insert(name.clone(), rules.collect());
    }
    for hook in &ruleset.hooks {
        let hook = hook.clone();
        let (before, packets, bytes) = (Vec::new(), 0, 0);
        installed.hooks.push(InstalledHook { hook, position: 1, before, packets, bytes });
    }
    for (name, set) in ruleset.sets {
        let kind = Some(set.members.kind());
        installed.sets.insert(name, InstalledSet { kind, members: Some(set.members) });
    }
    installed
}

fn explain_on(
    world: &World,
    node: &str,
    held: &[Installed],
    status: &EnforceStatus,
    flow: (&str, &str),
) -> Explanation {
    explain_with(world, node, held, (status, &HostSettings::default()), flow)
}

fn explain_with(
    world: &World,
    node: &str,
    held: &[Installed],
    (status, hosts): (&EnforceStatus, &HostSettings),
    flow: (&str, &str),
) -> Explanation {
    let to: Destination = flow.1.parse().unwrap();
    let query = PolicyQuery::Explain(FlowQuestion {
        source: flow.0.parse().unwrap(),
        destination: to.end,
        service: to.service,
        family: None,
    });
    let here = Here { node, status, installed: held, hosts };
    let Ok(Answer::Explanation(explained)) = answer(&Known { world, here: Some(here) }, &query)
    else {
        panic!("{flow:?} is not explained");
    };
    *explained
}

#[test]
fn the_kernels_rules_agree_with_the_policies_on_every_node() {
    let world = shop();
    let status = EnforceStatus::default();
    let ends = [
        "shop/cart-7d9",
        "shop/cart-8x2",
        "shop/api-0",
        "shop/db-0",
        "dba/backup",
        "node/n1",
        "node/n3",
        "203.0.113.9",
    ];
    let mut compared = 0;
    for node in ["n1", "n3"] {
        let held = [installed(&world, node)];
        for from in ends {
            for to in ends {
                for service in ["5432", "53/udp", "icmp", "sctp"] {
                    let to = format!("{to}:{service}");
                    let explained = explain_on(&world, node, &held, &status, (from, &to));
                    assert_eq!(
                        explained.disagreements,
                        Vec::<String>::new(),
                        "{from} -> {to} on {node}"
                    );
                    let kernels = [&explained.egress.kernel, &explained.ingress.kernel];
                    compared += kernels.into_iter().flatten().count();
                }
            }
        }
    }
    // Each of the pods as a source and as a destination, to and from all ends, on its node, but
    // what its own node sends it.
    assert_eq!(compared, (5 * 8 + 5 * 7) * 4);
}

#[test]
fn the_rule_that_decides_is_told_with_its_counters() {
    let world = shop();
    let held = [installed(&world, "n3")];
    let status = EnforceStatus::default();
    let explained = explain_on(&world, "n3", &held, &status, ("dba/backup", "shop/db-0:5432"));
    let kernel = explained.ingress.kernel.unwrap();
    let id = PolicyId {
        kind: brindle_policy::model::PolicyKind::NetworkPolicy,
        namespace: Some("shop".into()),
        name: "db-clients".into(),
    };
    assert_eq!(kernel.chain, ChainName::policy(&id, Direction::Ingress).as_str());
    assert_eq!((kernel.verdict, kernel.target.as_str()), (Some(Outcome::Allowed), "ACCEPT"));
    let rule = kernel.rule.unwrap() as u64;
    assert_eq!((kernel.packets, kernel.bytes), (Some(rule), Some(rule * 60)));
    assert_eq!(explained.egress.kernel, None, "backup is not on n3");
    let denied = explain_on(&world, "n3", &held, &status, ("shop/cart-7d9", "shop/db-0:5432"));
    let kernel = denied.ingress.kernel.unwrap();
    let key = PodKey { namespace: "shop".into(), name: "db-0".into() };
    assert_eq!(kernel.chain, ChainName::endpoint(&key, Direction::Ingress).as_str());
    assert_eq!((kernel.verdict, kernel.target.as_str()), (Some(Outcome::Denied), "DROP"));
}

#[test]
fn a_kernel_that_does_something_else_is_told() {
    let world = shop();
    let key = PodKey { namespace: "shop".into(), name: "db-0".into() };
    let chain = (Table::Filter, ChainName::endpoint(&key, Direction::Ingress));
    let denied = ("shop/cart-7d9", "shop/db-0:5432");
    type Spoil = fn(&mut Installed, &(Table, ChainName));
    let spoils: [(&str, Spoil, &str); 6] = [
        (
            "the last drop is gone",
            |held, at| drop(held.chains.get_mut(at).unwrap().pop()),
            "cannot be followed",
        ),
        (
            "somebody accepts first",
            |held, at| {
                let rules = held.chains.get_mut(at).unwrap();
                let mut rule = rules.last().unwrap().clone();
                rule.rule.as_mut().unwrap().target = Target::Accept;
                rules.insert(0, rule);
            },
            "the policies say denied, but the kernel lets it pass",
        ),
        (
            "a rule of somebody else",
            |held, at| held.chains.get_mut(at).unwrap()[0].rule = None,
            "rule 1 is not one of ours",
        ),
        ("no chain", |held, at| drop(held.chains.remove(at)), "there is no chain"),
        ("no set", |held, _| held.sets.clear(), "there is no set"),
        ("no hook", |held, _| held.hooks.clear(), "FORWARD does not jump to BRN-FORWARD"),
    ];
    for (what, spoil, want) in spoils {
        let mut held = installed(&world, "n3");
        spoil(&mut held, &chain);
        let status = EnforceStatus::default();
        let explained = explain_on(&world, "n3", &[held], &status, denied);
        let said = explained.disagreements.join("\n");
        assert!(said.contains(want), "{what}: {said:?} does not say {want:?}");
        assert_eq!(explained.verdict, Outcome::Denied, "{what}: the policies say what they say");
    }
}

#[test]
fn a_pod_that_waits_for_its_chains_is_no_disagreement() {
    let world = shop();
    let key = PodKey { namespace: "shop".into(), name: "db-0".into() };
    let status = EnforceStatus { pending: vec![key.clone()], ..EnforceStatus::default() };
    let held = [Installed::new(Family::V4)];
    let explained = explain_on(&world, "n3", &held, &status, ("shop/api-0", "shop/db-0:5432"));
    assert_eq!(explained.disagreements, Vec::<String>::new());
    assert!(explained.notes[0].contains("shop/db-0 is not programmed yet"), "{explained:?}");
    let here =
        Here { node: "n3", status: &status, installed: &held, hosts: &HostSettings::default() };
    let known = Known { world: &world, here: Some(here) };
    let query = PolicyQuery::Matrix { namespace: Some("shop".to_owned()), service: None };
    let Ok(Answer::Matrix(matrix)) = answer(&known, &query) else { panic!("no matrix") };
    let of_db = |name: &str| name == "db-0";
    for cell in &matrix.cells {
        let waits = of_db(&cell.from) || of_db(&cell.to);
        assert_eq!(cell.verdict == CellVerdict::Pending, waits, "{cell:?}");
    }
    let Ok(Answer::Endpoints(endpoints)) = answer(&known, &PolicyQuery::Endpoints(None)) else {
        panic!("no endpoints")
    };
    let told: Vec<_> = endpoints.iter().map(|e| (e.pod.as_str(), e.problem.is_some())).collect();
    assert_eq!(told, [("shop/cart-8x2", true), ("shop/db-0", true)], "the agent is not ready");
}

#[test]
fn hits_are_counted_by_rule_of_the_policy() {
    let world = shop();
    let mut held = installed(&world, "n3");
    let status = EnforceStatus::default();
    let hits = |held: Installed| {
        let here = Here {
            node: "n3",
            status: &status,
            installed: &[held],
            hosts: &HostSettings::default(),
        };
        match answer(&Known { world: &world, here: Some(here) }, &PolicyQuery::Hits) {
            Ok(Answer::Hits(hits)) => hits,
            other => panic!("{other:?}"),
        }
    };
    let found = hits(held.clone());
    let told: Vec<String> =
        found.iter().map(|h| format!("{} {} {}", h.policy, h.direction, h.rule)).collect();
    assert_eq!(
        told,
        [
            "NetworkPolicy shop/cart-out egress 0",
            "NetworkPolicy shop/cart-out egress 1",
            "NetworkPolicy shop/db-clients ingress 0",
            "NetworkPolicy shop/db-clients ingress 1",
        ]
    );
    assert!(found.iter().all(|hits| hits.packets > 0 && hits.bytes == hits.packets * 60));
    for rule in held.chains.values_mut().flatten() {
        (rule.packets, rule.bytes) = (0, 0);
    }
    assert!(hits(held).iter().all(RuleHits::is_unused));
}

#[test]
fn policies_come_in_pages_and_none_twice() {
    let world = shop();
    let known = Known { world: &world, here: None };
    let mut page = PageRequest { after: None, limit: 1 };
    let mut names = Vec::new();
    loop {
        let query = PolicyQuery::List(None, page.clone());
        let Ok(Answer::Policies(found)) = answer(&known, &query) else { panic!("no policies") };
        names.extend(found.items.iter().map(Policy::full_name));
        assert!(names.len() <= 2, "{names:?}");
        match found.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    assert_eq!(names, ["shop/cart-out", "shop/db-clients"]);
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    let world = shop();
    let known = Known { world: &world, here: None };
    let end = |text: &str| text.parse::<End>().unwrap();
    let flow = |from: &str, to: &str| {
        PolicyQuery::Explain(FlowQuestion {
            source: end(from),
            destination: end(to),
            service: Default::default(),
            family: None,
        })
    };
    for (query, want) in [
        (PolicyQuery::Show("shop/x".to_owned()), "there are in shop: shop/cart-out, shop/db"),
        (PolicyQuery::For("shop/x".to_owned()), "there is no pod shop/x; there are in shop: "),
        (PolicyQuery::List(Some("x".to_owned()), PageRequest::first()), "there is no namespace x"),
        (flow("shop/cart-7d9", "node/n9"), "there is no node n9; there are: n1, n3"),
        (flow("shop/cart-7d9", "fd00::1"), "have no addresses of a family that both have"),
        (PolicyQuery::Hits, "only an agent knows"),
    ] {
        let failure: Failure = answer(&known, &query).unwrap_err();
        assert!(failure.to_string().contains(want), "{failure} does not say {want:?}");
    }
}
