use std::fs;

use super::*;

const CONFIG: &str = "
bgp:
  peers:
  - {name: tor, peerIP: 10.0.0.250, asNumber: 65001, importFilters: [in, last], exportFilters: [out]}
  - {name: quiet, peerIP: 10.0.0.251, asNumber: 65002}
  - {name: open, peerIP: 10.0.0.252, asNumber: 64512}
  - {name: elsewhere, peerIP: 10.0.0.253, asNumber: 64999, localASNumber: 64999, importFilters: [link]}
  dynamicPeers:
  - {name: rack, cidrs: [10.1.0.0/24], asNumber: external, importFilters: [link]}
  filters:
  - name: in
    rules:
    - {action: reject, cidr: 10.244.0.0/16}
    - {communities: {any: ['65001:666']}, set: {localPref: 50, removeCommunities: ['65001:*']}}
    - {action: accept, asPath: {first: [65001]}}
  - name: last
    rules: [{action: accept, set: {addMed: 5}}]
  - name: link
    rules:
    - {action: accept, interface: 'eth*', peerType: eBGP}
    - {action: accept, peerType: iBGP, set: {prepend: {times: 1}, localPref: 7}}
  - name: out
    otherwise: accept
    rules:
    - {action: accept, sources: [local], set: {prepend: {times: 2}, nextHop: Self, med: 7}}
";

const OBJECTS: &str = "
apiVersion: projectcalico.org/v3
kind: BGPFilter
metadata: {name: fabric}
spec:
  importV4:
  - {cidr: 10.0.0.0/8, matchOperator: NotIn, prefixLength: {min: 16, max: 24}, action: Reject}
  - {priority: 1024, action: Reject}
  exportV6:
  - {action: Accept, operations: [{addCommunity: {value: '65000:1'}}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: others}
";

/// The report of these tests, or what is wrong with them.
fn run_text(tests: &str) -> Result<FilterTestReport, BadExpectations> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("brindle.yaml"), CONFIG).unwrap();
    fs::write(folder.path().join("bgp.yaml"), OBJECTS).unwrap();
    let file = folder.path().join("tests.yaml");
    let head = "apiVersion: brindle.dev/v1\nkind: FilterTest\nconfig: brindle.yaml\n\
                manifests: bgp.yaml\ntests:\n";
    fs::write(&file, format!("{head}{tests}")).unwrap();
    run(&file, None)
}

#[test]
fn what_is_as_expected_passes_and_rules_that_nothing_reached_are_named() {
    let report = run_text(
        "
- name: ours are not taken back
  filter: in
  route: {prefix: 10.244.1.0/24, asPath: '65001'}
  expect: reject
  decidedBy: in rule 1
- name: the backup colour
  peer: tor
  direction: import
  route: {prefix: 10.9.0.0/16, asPath: 65001 65010, communities: ['65001:666', no-export, '65001:1:2']}
  expect: accept
  decidedBy: last rule 1
  attributes: {localPref: 50, med: 5, asPath: 65001 65010, communities: ['65001:1:2', no-export]}
- {name: strangers, filter: in, route: {prefix: 10.9.0.0/16}, expect: reject, decidedBy: in otherwise}
- {name: out, peer: tor, direction: export, route: {prefix: 10.244.1.0/24}, expect: accept,
   attributes: {med: 7, asPath: 64512 64512, nextHop: Self}}
- {name: not ours, peer: tor, direction: export, route: {prefix: 10.9.0.0/16, source: mesh, nextHop: 10.0.0.2},
   expect: accept, decidedBy: out otherwise, attributes: {med: none, nextHop: Self}}
- {name: rfc 8212, peer: quiet, direction: import, route: {prefix: 10.9.0.0/16}, expect: reject}
- {name: internal, peer: open, direction: import, route: {prefix: 10.9.0.0/16}, expect: accept}
"
        .trim_start(),
    )
    .unwrap();
    let [failure] = &report.failures[..] else { panic!("{report:?}") };
    assert_eq!(
        (failure.test.as_str(), failure.problems.as_slice()),
        (
            "not ours",
            ["nextHop Self was expected, what nextHopMode says it is".to_owned()].as_slice()
        )
    );
    assert_eq!((report.passed, report.checks, report.rules), (false, 7, 5));
    assert_eq!(report.never_exercised, [] as [&str; 0]);
}

#[test]
fn routes_are_judged_as_in_an_agent_of_peers_of_every_kind_and_of_bgp_filters() {
    let report = run_text(
        "
- {name: by link, peer: rack, direction: import, route: {prefix: 10.9.0.0/16, interface: eth1},
   expect: accept, decidedBy: link rule 1, attributes: {localPref: 100}}
- {name: by no link, peer: rack, direction: import, route: {prefix: 10.9.0.0/16}, expect: reject}
- {name: our other as, peer: elsewhere, direction: import, route: {prefix: 10.9.0.0/16}, expect: accept,
   decidedBy: link rule 2, attributes: {localPref: 7, asPath: '64999'}}
- {name: about to go, filter: link, route: {prefix: 10.9.0.0/16, peerType: iBGP, communities: [graceful-shutdown]},
   expect: accept, attributes: {localPref: 0}}
- {name: others have no med, filter: out, direction: export, expect: accept, attributes: {med: none},
   route: {prefix: 10.9.0.0/16, source: mesh, med: 5}}
- {name: too long, bgpFilter: fabric, direction: import, route: {prefix: 10.1.1.1/32}, expect: reject,
   decidedBy: fabric importV4 rule 1}
- {name: no priority, bgpFilter: fabric, direction: import, route: {prefix: 10.1.1.0/24}, expect: accept,
   decidedBy: fabric otherwise}
- {name: out, bgpFilter: fabric, direction: export, route: {prefix: 'fd00::/64'}, expect: accept,
   decidedBy: fabric exportV6 rule 1, attributes: {communities: ['65000:1']}}
- {name: not of this list, bgpFilter: fabric, direction: export, route: {prefix: 10.0.0.0/8}, expect: accept}
"
        .trim_start(),
    )
    .unwrap();
    assert_eq!(report.failures, []);
    // Those of the configuration's filters, and of what rules of objects came down to one each.
    assert_eq!((report.checks, report.rules), (9, 6));
    assert_eq!(report.never_exercised, ["out rule 1", "fabric importV4 rule 2"]);
}

#[test]
fn what_is_otherwise_says_what_each_rule_did() {
    let report = run_text(
        "
- name: all wrong
  peer: tor
  direction: import
  route: {prefix: 10.9.0.0/16, asPath: '65001', localPref: 100, communities: ['65001:666']}
  expect: accept
  decidedBy: in rule 3
  attributes: {localPref: 200, med: none, asPath: '', communities: ['1:1']}
- {name: refused, filter: in, route: {prefix: 10.244.0.0/16}, expect: accept}
"
        .trim_start(),
    )
    .unwrap();
    let [wrong, refused] = &report.failures[..] else { panic!("{report:?}") };
    assert_eq!(
        wrong.problems,
        [
            "in rule 3 was expected to decide, last rule 1 did",
            "localPref 200 was expected, 50 it is",
            "med none was expected, 5 it is",
            "asPath \"\" was expected, \"65001\" it is",
            "communities [1:1] was expected, [] it is",
        ]
    );
    let steps: Vec<String> = wrong.steps.iter().map(ToString::to_string).collect();
    assert_eq!(
        steps,
        [
            "rule 2 of in: localPref 100 -> 50, communities 65001:666 -> -",
            "rule 3 of in",
            "rule 1 of last: med - -> 5",
        ]
    );
    assert_eq!(refused.problems, ["accept was expected, reject it is, by in rule 1"]);
    assert_eq!((wrong.line, report.never_exercised.len()), (6, 0));
}

#[test]
fn what_is_wrong_with_the_file_is_told_with_its_line() {
    let route = "route: {prefix: 10.9.0.0/16}";
    for (test, want) in [
        (
            format!("- {{name: a, {route}, expect: accept}}"),
            "tests.yaml:6:10  name either a filter",
        ),
        (format!("- {{name: a, filter: x, {route}, expect: accept}}"), "uses a filter \"x\""),
        (
            format!("- {{name: a, peer: x, {route}, expect: accept}}"),
            "it has tor, quiet, open, elsewhere, rack",
        ),
        (
            format!("- {{name: a, bgpFilter: fabric, {route}, expect: accept}}"),
            "direction is missing",
        ),
        (
            format!("- {{name: a, bgpFilter: x, direction: import, {route}, expect: accept}}"),
            "there is no BGPFilter \"x\" in manifests",
        ),
        (format!("- {{name: a, peer: tor, {route}, expect: accept}}"), "direction is missing"),
        (
            "- {name: a, filter: in, route: {prefix: 10.9.0.1/16}, expect: accept}".to_owned(),
            "6:41  \"10.9.0.1/16\"",
        ),
        (
            "- {name: a, filter: in, route: {prefix: 10.9.0.0/16, asPath: x}, expect: accept}"
                .to_owned(),
            "\"x\" is not an AS number",
        ),
        (format!("- {{name: a, filter: in, {route}, expect: maybe}}"), "6:"),
    ] {
        let said = run_text(&test).unwrap_err().to_string();
        assert!(said.contains(want), "{test}\nsays {said:?}, not {want:?}");
    }
}
