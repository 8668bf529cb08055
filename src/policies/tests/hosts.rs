//! What host endpoints decide of flows, as `explain` tells it.

use std::sync::Arc;

use brindle_policy::model::{DeviceAddresses, HostSettings, ToHost};
use brindle_policy::{Change, World, ingest};

use super::{answer, explain_on, explain_with, installed, installed_with, shop};
use crate::control::view::{Explanation, Outcome};
use crate::control::{Answer, FlowQuestion, PolicyQuery};
use crate::enforce::EnforceStatus;
use crate::flow::Destination;
use crate::policies::Known;

/// The shop, with host endpoints and global policies.
fn with_hosts(hosts: &[&str], policies: &[&str]) -> World {
    let mut world = shop();
    for host in hosts {
        let object = serde_yaml::from_str(host).unwrap();
        let (host, problems) = ingest::host_endpoint(&object).unwrap();
        assert_eq!(problems, []);
        world.apply(Change::HostEndpointApplied(host.into()));
    }
    for policy in policies {
        let object = serde_yaml::from_str(policy).unwrap();
        let policy = ingest::global_network_policy(&object).unwrap();
        world.apply(Change::PolicyApplied(policy.into()));
    }
    world
}

const ETH0: &str = "{metadata: {name: n1-eth0, labels: {role: node}}, \
                    spec: {node: n1, interfaceName: eth0, expectedIPs: [10.0.0.1]}}";
const BY_NAME: &str = "{metadata: {name: n1-eth0, labels: {role: node}}, \
                       spec: {node: n1, interfaceName: eth0}}";
const BY_ADDRESS: &str = "{metadata: {name: n1-main, labels: {role: node}}, \
                          spec: {node: n1, expectedIPs: [10.0.0.1]}}";
const ANY: &str = "{metadata: {name: n1-any, labels: {role: node}}, \
                   spec: {node: n1, interfaceName: '*', profiles: [projectcalico-default-allow]}}";
const WEB: &str = "{metadata: {name: web}, spec: {selector: role == 'node', \
                   ingress: [{action: Allow, protocol: TCP, destination: {ports: [8080]}}]}}";

#[test]
fn a_flow_to_a_node_is_judged_by_its_host_endpoint() {
    let away = "203.0.113.9";
    let second = "{metadata: {name: n1-eth1}, spec: {node: n1, interfaceName: eth1}}";
    for (what, hosts, policies, (from, to), want, note) in [
        (
            "a rule",
            &[ETH0][..],
            &[WEB][..],
            (away, "node/n1:8080"),
            "allowed HostEndpoint n1-eth0, normal stage: GlobalNetworkPolicy web rule 0",
            "",
        ),
        (
            "no rule",
            &[BY_ADDRESS],
            &[WEB],
            (away, "10.0.0.1:8081"),
            "denied HostEndpoint n1-main, normal stage: GlobalNetworkPolicy web (no rule)",
            "",
        ),
        (
            "a failsafe",
            &[ETH0],
            &[WEB],
            (away, "node/n1:22"),
            "allowed HostEndpoint n1-eth0, normal stage: failsafe port TCP 22",
            "failsafe ports of node n1 are taken to be the usual ones",
        ),
        (
            "neither policy nor profile",
            &[ETH0],
            &[],
            (away, "node/n1:80"),
            "denied HostEndpoint n1-eth0, normal stage: no policy and no profile decided",
            "",
        ),
        (
            "a profile",
            &[ANY],
            &[],
            (away, "node/n1:80"),
            "allowed HostEndpoint n1-any, normal stage: profile projectcalico-default-allow rule 0",
            "",
        ),
        (
            "from the node",
            &[ETH0],
            &[],
            ("node/n1", "203.0.113.9:80"),
            "denied HostEndpoint n1-eth0, normal stage: no policy and no profile decided",
            "",
        ),
        (
            "the only one, by the name of its interface",
            &[BY_NAME],
            &[],
            (away, "node/n1:80"),
            "denied HostEndpoint n1-eth0, normal stage: no policy and no profile decided",
            "taken to pass eth0 of node n1",
        ),
        (
            "several that have no address",
            &[BY_NAME, second],
            &[],
            (away, "node/n1:80"),
            "allowed 10.0.0.1 is an address of node n1: no policy is about it",
            "cannot be told (n1-eth0, n1-eth1)",
        ),
        (
            "all interfaces, or another",
            &[ANY, second],
            &[],
            (away, "node/n1:80"),
            "allowed HostEndpoint n1-any, normal stage: profile projectcalico-default-allow rule 0",
            "taken to be n1-any",
        ),
        (
            "of another node",
            &[ETH0],
            &[],
            (away, "node/n3:80"),
            "allowed 10.0.0.3 is an address of node n3: no policy is about it",
            "",
        ),
        (
            "to itself",
            &[ETH0],
            &[],
            ("node/n1", "node/n1:80"),
            "allowed 10.0.0.1 is an address of node n1: no policy is about it",
            "",
        ),
        (
            "from a pod of its own",
            &[ETH0],
            &[],
            ("shop/api-0", "node/n1:80"),
            "allowed 10.0.0.1 is an address of node n1: no policy is about it",
            "",
        ),
    ] {
        let world = with_hosts(hosts, policies);
        let to: Destination = to.parse().unwrap();
        let query = PolicyQuery::Explain(FlowQuestion {
            source: from.parse().unwrap(),
            destination: to.end,
            service: to.service,
            family: None,
        });
        let known = Known { world: &world, here: None };
        let Ok(Answer::Explanation(explained)) = answer(&known, &query) else { panic!("{what}") };
        let is_from_node = from.starts_with("node/n1") && what != "to itself";
        let judged = if is_from_node { &explained.egress } else { &explained.ingress };
        assert_eq!(format!("{} {}", judged.verdict, judged.reason), want, "{what}");
        assert_eq!(explained.verdict, judged.verdict, "{what}: it decides");
        match note {
            "" => assert_eq!(explained.notes, Vec::<String>::new(), "{what}"),
            note => assert!(explained.notes.join("\n").contains(note), "{what}: {explained:?}"),
        }
    }
}

#[test]
fn every_stage_of_a_host_endpoint_is_told() {
    let early = "{metadata: {name: early}, spec: {selector: role == 'node', preDNAT: true, \
                 applyOnForward: true, ingress: [{action: Deny, protocol: UDP}]}}";
    let world = with_hosts(&[ETH0], &[early, WEB]);
    let status = EnforceStatus::default();
    let explain = |to: &str| explain_on(&world, "n1", &[], &status, ("203.0.113.9", to));
    let told = |explained: &Explanation| {
        let told = explained.ingress.host.iter();
        let told = told.map(|one| {
            (one.stage.clone(), one.verdict, one.tier.clone(), one.decided_by.clone(), one.rule)
        });
        told.collect::<Vec<_>>()
    };
    let tier = || Some("default".to_owned());
    let by = |name: &str| vec![format!("GlobalNetworkPolicy {name}")];
    assert_eq!(
        told(&explain("node/n1:8080")),
        [
            ("pre-DNAT".to_owned(), None, None, vec![], None),
            ("normal".to_owned(), Some(Outcome::Allowed), tier(), by("web"), Some(0)),
        ]
    );
    assert_eq!(
        told(&explain("node/n1:8080/udp")),
        [("pre-DNAT".to_owned(), Some(Outcome::Denied), tier(), by("early"), Some(0))]
    );
}

#[test]
fn the_kernel_agrees_on_pods_and_their_own_host_whatever_is_done_with_them() {
    let tier = "{metadata: {name: first}, spec: {order: 1}}";
    let pass = "{metadata: {name: pass}, spec: {tier: first, selector: all(), \
                egress: [{action: Allow, protocol: UDP}, {action: Pass}]}}";
    let status = EnforceStatus::default();
    for to_host in [ToHost::Accept, ToHost::Drop, ToHost::Return] {
        let settings = HostSettings { to_host, ..HostSettings::default() };
        for hosts in [&[][..], &[ETH0], &[ANY]] {
            let mut world = with_hosts(hosts, &[WEB]);
            let object = serde_yaml::from_str(tier).unwrap();
            world.apply(Change::TierApplied(ingest::tier(&object).unwrap().0.into()));
            let object = serde_yaml::from_str(pass).unwrap();
            let policy = ingest::global_network_policy(&object).unwrap();
            world.apply(Change::PolicyApplied(policy.into()));
            let held = [installed_with(&world, "n1", &settings)];
            for (from, to) in [
                ("shop/api-0", "node/n1:80"),
                ("shop/api-0", "node/n1:80/udp"),
                ("shop/cart-7d9", "node/n1:80"),
                ("shop/api-0", "node/n3:80"),
                ("shop/api-0", "shop/cart-7d9:80"),
                ("203.0.113.9", "shop/api-0:80"),
            ] {
                let explained = explain_with(&world, "n1", &held, (&status, &settings), (from, to));
                assert_eq!(
                    explained.disagreements,
                    Vec::<String>::new(),
                    "{from} -> {to}, {to_host:?}, {hosts:?}"
                );
                let is_dropped = to.starts_with("node/n1") && to_host == ToHost::Drop;
                if is_dropped {
                    assert_eq!(explained.verdict, Outcome::Denied, "{from} -> {to}");
                    assert_eq!(explained.ingress.to_host.as_deref(), Some("Drop"));
                }
            }
        }
    }
}

const FORWARD: &str = "{metadata: {name: passing}, spec: {selector: role == 'node', \
                       applyOnForward: true, types: [Ingress, Egress], \
                       ingress: [{action: Deny, protocol: TCP, destination: {ports: [7000]}}, \
                                 {action: Allow}], \
                       egress: [{action: Deny, protocol: UDP}, {action: Allow}]}}";

/// The address of the interface of n1.
fn with_eth0(mut world: World) -> World {
    let eth0 = ("eth0".parse().unwrap(), ["10.0.0.1".parse().unwrap()].into());
    let devices = DeviceAddresses { devices: [eth0].into() };
    world.apply(Change::Devices(Arc::new(devices)));
    world
}

#[test]
fn what_a_node_forwards_for_its_pods_is_judged_by_its_host_endpoints_and_the_kernel_agrees() {
    let early = "{metadata: {name: early}, spec: {selector: role == 'node', preDNAT: true, \
                 applyOnForward: true, ingress: [{action: Allow, protocol: TCP, \
                 destination: {ports: [7001]}}, {action: Deny, protocol: TCP, \
                 destination: {ports: [7002]}}]}}";
    let closed = "{metadata: {name: passing}, spec: {selector: role == 'node', \
                  applyOnForward: true, types: [Ingress, Egress]}}";
    let status = EnforceStatus::default();
    let ends = ["shop/api-0", "shop/cart-7d9", "shop/db-0", "203.0.113.9", "node/n1", "node/n3"];
    let mut denied = 0;
    for hosts in [&[ETH0][..], &[ANY], &[ETH0, ANY], &[BY_ADDRESS]] {
        for policies in [&[FORWARD][..], &[FORWARD, early], &[closed, early]] {
            let world = with_eth0(with_hosts(hosts, policies));
            let held = [installed(&world, "n1")];
            for (from, to) in ends.into_iter().flat_map(|from| ends.map(|to| (from, to))) {
                for service in ["7000", "7001", "7002", "53/udp"] {
                    let to = format!("{to}:{service}");
                    let explained = explain_on(&world, "n1", &held, &status, (from, &to));
                    let what = format!("{from} -> {to}, {hosts:?}, {policies:?}");
                    assert_eq!(explained.disagreements, Vec::<String>::new(), "{what}");
                    let asked = [&explained.egress, &explained.ingress];
                    let asked = asked.into_iter().flat_map(|judged| &judged.host);
                    let forward = asked.filter(|one| one.stage == "forward");
                    denied += forward.filter(|one| one.verdict == Some(Outcome::Denied)).count();
                }
            }
        }
    }
    assert!(denied > 50, "{denied} were denied as they were forwarded");
}

#[test]
fn the_rules_of_host_endpoints_are_told_at_each_end() {
    let world = with_eth0(with_hosts(&[ETH0], &[FORWARD, WEB]));
    let status = EnforceStatus::default();
    let held = [installed(&world, "n1")];
    for (from, to, is_ingress, reason, asked) in [
        (
            "203.0.113.9",
            "shop/api-0:7000",
            true,
            "HostEndpoint n1-eth0, forward stage: GlobalNetworkPolicy passing rule 0",
            &["ingress forward GlobalNetworkPolicy passing 1 (default)"][..],
        ),
        (
            "shop/api-0",
            "203.0.113.9:53/udp",
            false,
            "HostEndpoint n1-eth0, forward stage: GlobalNetworkPolicy passing rule 0",
            &["egress forward GlobalNetworkPolicy passing 1 (default)"],
        ),
        (
            "shop/api-0",
            "203.0.113.9:80",
            false,
            "no policy selects shop/api-0 for egress",
            &["egress forward GlobalNetworkPolicy passing 2 (default)"],
        ),
        ("shop/api-0", "shop/cart-7d9:80", false, "no policy selects shop/api-0 for egress", &[]),
        (
            "203.0.113.9",
            "node/n1:8080",
            true,
            "HostEndpoint n1-eth0, normal stage: GlobalNetworkPolicy passing rule 1",
            &["ingress normal GlobalNetworkPolicy passing 2 (default)"],
        ),
        (
            "node/n1",
            "203.0.113.9:1/udp",
            false,
            "HostEndpoint n1-eth0, normal stage: GlobalNetworkPolicy passing rule 0",
            &["egress normal GlobalNetworkPolicy passing 1 (default)"],
        ),
    ] {
        let explained = explain_on(&world, "n1", &held, &status, (from, to));
        let judged = if is_ingress { &explained.ingress } else { &explained.egress };
        assert_eq!(judged.reason, reason, "{from} -> {to}");
        let told = judged.host.iter().flat_map(|one| {
            one.policies.iter().map(|policy| {
                let (rules, tier) = (policy.rules.len(), policy.tier.as_deref().unwrap_or("-"));
                format!("{} {} {} {rules} ({tier})", one.direction, one.stage, policy.policy)
            })
        });
        assert_eq!(told.collect::<Vec<_>>(), asked, "{from} -> {to}");
    }
}

#[test]
fn staged_policies_on_hosts_are_told_of_flows_to_nodes_and_of_those_they_forward() {
    let soon = |spec: &str| {
        let text = format!("{{metadata: {{name: soon}}, spec: {{{spec}}}}}");
        let object = serde_yaml::from_str(&text).unwrap();
        Change::PolicyApplied(ingest::staged_global_network_policy(&object).unwrap().into())
    };
    let status = EnforceStatus::default();
    let on_hosts = "selector: role == 'node', order: 1, ingress: [{action: Deny}]";
    for (staged, from, to, want) in [
        (
            on_hosts,
            "203.0.113.9",
            "node/n1:8080",
            Some(
                "would be DENIED by StagedGlobalNetworkPolicy soon rule 0 (HostEndpoint n1-eth0, \
                 ingress, normal stage)",
            ),
        ),
        (
            on_hosts,
            "203.0.113.9",
            "node/n1:22",
            Some(
                "would still be ALLOWED since failsafe port TCP 22 (HostEndpoint n1-eth0, ingress, \
                 normal stage)",
            ),
        ),
        (on_hosts, "203.0.113.9", "shop/api-0:80", None),
        (
            "selector: role == 'node', applyOnForward: true, ingress: [{action: Deny}]",
            "203.0.113.9",
            "shop/api-0:80",
            Some(
                "would be DENIED by StagedGlobalNetworkPolicy soon rule 0 (HostEndpoint n1-eth0, \
                 ingress, forward stage)",
            ),
        ),
        (
            "selector: role == 'node', order: 1, ingress: [{action: Allow}]",
            "203.0.113.9",
            "node/n1:81",
            Some(
                "would be ALLOWED by StagedGlobalNetworkPolicy soon rule 0 (HostEndpoint n1-eth0, \
                 ingress, normal stage)",
            ),
        ),
        (
            "selector: app == 'api', egress: [{action: Deny}]",
            "shop/api-0",
            "203.0.113.9:80",
            Some("would be DENIED by StagedGlobalNetworkPolicy soon rule 0 (egress)"),
        ),
    ] {
        let mut world = with_eth0(with_hosts(&[ETH0], &[WEB]));
        world.apply(soon(staged));
        let explained = explain_on(&world, "n1", &[], &status, (from, to));
        let told = explained.staged.as_ref();
        assert_eq!(told.map(|staged| staged.text.as_str()), want, "{from} -> {to}: {staged}");
        if let Some(told) = told {
            assert_eq!(told.is_change, told.verdict != explained.verdict, "{from} -> {to}");
            assert_eq!(told.policies, ["StagedGlobalNetworkPolicy soon"]);
        }
    }
}
