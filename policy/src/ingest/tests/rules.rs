//! Rules of Calico's policies.

use super::{lines, read, words};
use crate::ingest::{global_network_policy, network_policy_v3};
use crate::model::Direction;

/// The rule in a few words, and what is wrong with it; in a policy of `shop`, or a global one.
fn rule(is_global: bool, direction: Direction, rule: &str) -> (String, Vec<String>) {
    let rules = format!("spec: {{{direction}: [{rule}]}}");
    let policy = match is_global {
        true => global_network_policy(&read(&format!("{{metadata: {{name: p}}, {rules}}}"))),
        false => network_policy_v3(&read(&format!(
            "{{metadata: {{name: p, namespace: shop}}, {rules}}}"
        ))),
    };
    let policy = policy.unwrap();
    let prefix = format!("spec.{direction}[0]");
    let cut = |line: String| line.strip_prefix(&prefix).map_or(line.clone(), str::to_owned);
    let problems = lines(&policy.problems).into_iter().map(cut).collect();
    (words(&policy.rules(direction).expect("governed")[0]), problems)
}

/// Those that are right.
#[track_caller]
fn means(id: &str, is_global: bool, direction: Direction, typed: &str, want: &str) {
    let (got, problems) = rule(is_global, direction, typed);
    assert_eq!((got.as_str(), problems), (want, Vec::new()), "{id} {typed}");
}

#[test]
fn a_peer_is_of_the_policys_namespace_unless_another_is_named() {
    let local = [
        ("C18", "selector: app == 'a'", "from [(ns=shop and app=a)]"),
        ("", "selector: all()", "from [(ns=shop)]"),
        ("", "selector: ''", ""),
        ("", "nets: [10.0.0.0/8]", "from [10.0.0.0/8]"),
        ("", "namespaceSelector: team == 'b'", "from [(ns.team=b)]"),
        ("", "namespaceSelector: projectcalico.org/name == 'dev'", "from [(ns=dev)]"),
        ("", "namespaceSelector: all()", "from [(has ns.kubernetes.io/metadata.name)]"),
        (
            "C19",
            "namespaceSelector: global(), selector: has(x)",
            "from [(has x and not (has ns.kubernetes.io/metadata.name))]",
        ),
        ("", "selector: has(x), namespaceSelector: has(y)", "from [(has x and has ns.y)]"),
        ("C20", "notSelector: has(x)", "from [(ns=shop)], not from [(has x)]"),
        ("C20", "selector: '!has(x)'", "from [(ns=shop and not (has x))]"),
        (
            "C21",
            "serviceAccounts: {names: [b, a], selector: role == 'x'}",
            "from [(ns=shop and sa.projectcalico.org/name in (a, b) and sa.role=x)]",
        ),
        (
            "",
            "serviceAccounts: {names: [a]}, namespaceSelector: all()",
            "from [(has ns.kubernetes.io/metadata.name and sa.projectcalico.org/name=a)]",
        ),
        ("", "serviceAccounts: {}", "from [(ns=shop and has sa.projectcalico.org/name)]"),
        (
            "C22",
            "nets: [10.1.0.0/16, 10.2.0.7], notNets: [10.1.2.0/24], selector: has(x)",
            "from [10.1.0.0/16 | 10.2.0.7/32], not from [10.1.2.0/24], from [(ns=shop and has x)]",
        ),
    ];
    for (id, typed, want) in local {
        let typed = format!("{{action: Allow, source: {{{typed}}}}}");
        let (got, problems) = rule(false, Direction::Ingress, &typed);
        let want = format!("Allow {want}");
        assert_eq!((got.as_str(), problems), (want.trim_end(), Vec::new()), "{id} {typed}");
    }
    let global = [
        ("", "selector: app == 'a'", "from [(app=a)]"),
        ("", "selector: all()", "from [(all)]"),
        ("C20", "notSelector: has(x)", "not from [(has x)]"),
        ("", "serviceAccounts: {names: [a]}", "from [(sa.projectcalico.org/name=a)]"),
        ("", "namespaceSelector: env != 'p'", "from [(not (ns.env=p))]"),
        ("", "", ""),
    ];
    for (id, typed, want) in global {
        let typed = format!("{{action: Deny, source: {{{typed}}}}}");
        let (got, problems) = rule(true, Direction::Egress, &typed);
        let want = format!("Deny {want}");
        assert_eq!((got.as_str(), problems), (want.trim_end(), Vec::new()), "{id} {typed}");
    }
}

#[test]
fn protocols_and_messages_are_those_that_are_named() {
    for (id, typed, want) in [
        ("", "protocol: TCP", "protocol 6"),
        ("C26", "protocol: SCTP", "protocol 132"),
        ("C26", "protocol: 132", "protocol 132"),
        ("C26", "protocol: '132'", "protocol 132"),
        ("", "protocol: UDPLite", "protocol 136"),
        ("", "protocol: 255", "protocol 255"),
        ("", "protocol: ICMP", "IPv4, protocol 1"),
        ("", "protocol: 1", "IPv4, protocol 1"),
        ("", "protocol: ICMPv6", "IPv6, protocol 58"),
        ("", "protocol: ICMPv6, ipVersion: 6", "IPv6, protocol 58"),
        ("", "ipVersion: 4", "IPv4"),
        ("", "ipVersion: 6", "IPv6"),
        ("", "notProtocol: UDP", "not protocol 17"),
        ("", "notProtocol: ICMP", "not protocol 1"),
        ("", "protocol: TCP, notProtocol: 6", "not protocol 6, protocol 6"),
        ("C27", "protocol: ICMP, icmp: {type: 8}", "IPv4, icmp 8, protocol 1"),
        ("C27", "protocol: ICMP, icmp: {type: 3, code: 0}", "IPv4, icmp 3/0, protocol 1"),
        (
            "",
            "protocol: ICMP, notICMP: {type: 254, code: 255}",
            "IPv4, not icmp 254/255, protocol 1",
        ),
        (
            "",
            "protocol: ICMPv6, icmp: {type: 128}, notICMP: {type: 1}",
            "IPv6, icmp 128, not icmp 1, protocol 58",
        ),
        ("", "protocol: ICMP, icmp: {}", "IPv4, protocol 1"),
        ("", "metadata: {annotations: {who: me}}", ""),
    ] {
        let (got, problems) =
            rule(false, Direction::Ingress, &format!("{{action: Allow, {typed}}}"));
        let want = format!("Allow {want}");
        assert_eq!((got.as_str(), problems), (want.trim_end(), Vec::new()), "{id} {typed}");
    }
}

#[test]
fn ports_are_numbers_ranges_and_names() {
    let numbers: Vec<String> = (1..=50).map(|number| number.to_string()).collect();
    let many = format!("protocol: TCP, destination: {{ports: [{}]}}", numbers.join(", "));
    let terms: Vec<String> = (1..=50).map(|number| format!("TCP/{number}")).collect();
    let many_want = format!("to port [{}]", terms.join(" | "));
    for (id, typed, want) in [
        ("", "protocol: TCP, destination: {ports: [80]}", "to port [TCP/80]"),
        ("", "protocol: 17, source: {ports: ['53']}", "from port [UDP/53]"),
        (
            "C23",
            "protocol: TCP, destination: {ports: [80, '8000:8080', http]}",
            "to port [TCP/80 | TCP/8000-8080 | TCP/http of Endpoints]",
        ),
        (
            "C24",
            "destination: {ports: [http]}",
            "to port [TCP/http of Endpoints | UDP/http of Endpoints | SCTP/http of Endpoints]",
        ),
        ("", "protocol: SCTP, destination: {ports: ['7:7']}", "to port [SCTP/7]"),
        (
            "",
            "protocol: TCP, destination: {notPorts: [22, '1:9']}",
            "not to port [TCP/22 | TCP/1-9], protocol 6",
        ),
        (
            "",
            "protocol: TCP, source: {ports: [1]}, destination: {ports: ['2:3'], notPorts: [3]}",
            "from port [TCP/1], to port [TCP/2-3], not to port [TCP/3]",
        ),
        ("", "protocol: TCP, destination: {ports: []}", "protocol 6"),
        (
            "",
            "protocol: TCP, destination: {ports: [Web_1.x]}",
            "to port [TCP/Web_1.x of Endpoints]",
        ),
        ("C25", &many, &many_want),
    ] {
        means(
            id,
            false,
            Direction::Ingress,
            &format!("{{action: Pass, {typed}}}"),
            &format!("Pass {want}"),
        );
    }
}

#[test]
fn services_are_destinations_with_ports_and_sources_without() {
    for (is_global, direction, typed, want) in [
        (
            false,
            Direction::Egress,
            "destination: {services: {name: db}}",
            "to service shop/db and its ports",
        ),
        (
            true,
            Direction::Egress,
            "destination: {services: {name: db, namespace: lab}}",
            "to service lab/db and its ports",
        ),
        (
            false,
            Direction::Ingress,
            "source: {services: {name: db, namespace: lab}}",
            "from service lab/db",
        ),
        (
            false,
            Direction::Ingress,
            "protocol: TCP, source: {services: {name: db}, ports: [1]}, destination: {ports: [2]}",
            "from service shop/db, from port [TCP/1], to port [TCP/2]",
        ),
    ] {
        means(
            "C30",
            is_global,
            direction,
            &format!("{{action: Allow, {typed}}}"),
            &format!("Allow {want}"),
        );
    }
}

#[test]
fn what_is_bad_in_a_rule_is_told_and_allows_nothing() {
    const ACCEPTED: &str = "accepted are TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite and 1 to 255";
    const PORTS: &str = "accepted are 1 to 65535";
    for (id, typed, field, message) in [
        ("C26", "protocol: sctp", ".protocol", format!("\"sctp\" is not a protocol; {ACCEPTED}; did you mean SCTP?")),
        ("", "protocol: 0", ".protocol", format!("0 is not a protocol; {ACCEPTED}")),
        ("", "protocol: 256", ".protocol", format!("256 is not a protocol; {ACCEPTED}")),
        ("", "notProtocol: GRE", ".notProtocol", format!("\"GRE\" is not a protocol; {ACCEPTED}")),
        ("", "ipVersion: 5", ".ipVersion", "5 is not a version of IP; accepted are 4 and 6".to_owned()),
        (
            "",
            "ipVersion: 6, protocol: ICMP",
            ".ipVersion",
            "IPv6 with a protocol of IPv4; accepted is that of IPv6".to_owned(),
        ),
        (
            "C27",
            "protocol: ICMP, icmp: {code: 1}",
            ".icmp.code",
            "1 without type; accepted is a code with its type".to_owned(),
        ),
        (
            "",
            "protocol: ICMP, icmp: {type: 255}",
            ".icmp.type",
            "255 is not a type; accepted are 0 to 254".to_owned(),
        ),
        (
            "",
            "protocol: ICMP, notICMP: {type: 1, code: -1}",
            ".notICMP.code",
            "-1 is not a code; accepted are 0 to 255".to_owned(),
        ),
        (
            "",
            "protocol: TCP, icmp: {type: 8}",
            ".icmp",
            "a message of ICMP in a rule for other protocols; accepted is one with protocol ICMP \
             or ICMPv6"
                .to_owned(),
        ),
        (
            "C03",
            "source: {selector: app = 'a'}",
            ".source.selector",
            "column 5: found \"=\"; accepted is ==, !=, in, not in, contains, starts with or ends with after \
             the name; did you mean ==?"
                .to_owned(),
        ),
        (
            "",
            "source: {selector: global()}",
            ".source.selector",
            "column 1: found \"global()\"; accepted is it alone as the namespaceSelector of a rule"
                .to_owned(),
        ),
        (
            "",
            "destination: {notSelector: x}",
            ".destination.notSelector",
            "column 2: found the end; accepted is ==, !=, in, not in, contains, starts with or ends with \
             after the name; did you mean has(\"x\")?"
                .to_owned(),
        ),
        (
            "",
            "source: {namespaceSelector: '('}",
            ".source.namespaceSelector",
            "column 2: found the end; accepted is the name of a label, \"has(\", \"all()\", \"!\" or \"(\""
                .to_owned(),
        ),
        (
            "",
            "source: {serviceAccounts: {selector: '!'}}",
            ".source.serviceAccounts.selector",
            "column 2: found the end; accepted is the name of a label, \"has(\", \"all()\", \"!\" or \"(\""
                .to_owned(),
        ),
        (
            "C28",
            "source: {notNets: [0.0.0.0/0]}",
            ".source.notNets[0]",
            "0.0.0.0/0 leaves nothing; accepted are smaller blocks".to_owned(),
        ),
        (
            "",
            "source: {notNets: [10.0.0.0/8, x]}",
            ".source.notNets[1]",
            "\"x\" is not a block of addresses or an address; accepted are for instance \
             10.1.0.0/16, 10.1.0.7 and fd00::/8"
                .to_owned(),
        ),
        (
            "",
            "protocol: TCP, destination: {notPorts: [0]}",
            ".destination.notPorts[0]",
            format!("0 is not a port; {PORTS}"),
        ),
        (
            "",
            "protocol: ICMP, destination: {ports: [80]}",
            ".destination.ports",
            "ports of protocol 1, which has none; accepted are those of TCP, UDP and SCTP".to_owned(),
        ),
        (
            "C24",
            "destination: {notPorts: [80]}",
            ".destination.notPorts[0]",
            "a number in a rule without protocol; accepted is one with protocol TCP, UDP or SCTP"
                .to_owned(),
        ),
        (
            "",
            "destination: {services: {name: db}}",
            ".destination.services",
            "accepted are services of the source in ingress rules and of the destination in egress \
             rules"
                .to_owned(),
        ),
        (
            "",
            "source: {services: {name: db}, nets: [10.0.0.0/8]}",
            ".source.nets",
            "together with services; accepted is either".to_owned(),
        ),
        (
            "",
            "source: {services: {namespace: lab}}",
            ".source.services.name",
            "\"\" is not the name of a Service; accepted is that of one".to_owned(),
        ),
    ] {
        for (action, words, follows) in [
            ("Allow", "Allow from []", "the rule allows nothing"),
            ("Log", "Log from []", "the rule logs nothing"),
            ("Deny", "Deny", "the rule denies everything"),
            ("Pass", "Deny", "the rule denies everything"),
        ] {
            let typed = format!("{{action: {action}, {typed}}}");
            let (got, problems) = rule(false, Direction::Ingress, &typed);
            let problem = format!("{field}: {message}; {follows}");
            assert_eq!((got.as_str(), problems), (words, vec![problem]), "{id} {typed}");
        }
    }
}

#[test]
fn a_bad_element_of_a_list_stands_for_nothing_where_the_rule_allows() {
    const NAMES: &str = "names of up to 128 letters, digits, \"_\", \".\" and \"-\", with a letter \
                         somewhere";
    for (id, typed, words, field, message) in [
        (
            "C25",
            "protocol: TCP, destination: {ports: ['10:5', 80]}",
            "to port [TCP/80]",
            ".destination.ports[0]",
            "\"10:5\" ends below its start; accepted is for instance \"5:10\"".to_owned(),
        ),
        (
            "C25",
            "protocol: TCP, destination: {ports: [0]}",
            "to port []",
            ".destination.ports[0]",
            "0 is not a port; accepted are 1 to 65535".to_owned(),
        ),
        (
            "",
            "protocol: TCP, destination: {ports: ['0:5', 80]}",
            "to port [TCP/80]",
            ".destination.ports[0]",
            "\"0\" is not a port; accepted are 1 to 65535".to_owned(),
        ),
        (
            "",
            "protocol: TCP, destination: {ports: [80-90]}",
            "to port []",
            ".destination.ports[0]",
            format!(
                "\"80-90\" is not a port; accepted are 1 to 65535, ranges such as \"8000:8080\", \
                 and {NAMES}; did you mean \"80:90\"?"
            ),
        ),
        (
            "C24",
            "destination: {ports: [80, http]}",
            "to port [TCP/http of Endpoints | UDP/http of Endpoints | SCTP/http of Endpoints]",
            ".destination.ports[0]",
            "a number in a rule without protocol; accepted is one with protocol TCP, UDP or SCTP"
                .to_owned(),
        ),
        (
            "",
            "source: {nets: ['10.0.0.0/33', 10.1.0.0/16]}",
            "from [10.1.0.0/16]",
            ".source.nets[0]",
            "\"10.0.0.0/33\" is not a block of addresses; accepted are for instance 10.1.0.0/16 and \
             fd00::/8"
                .to_owned(),
        ),
        (
            "",
            "source: {serviceAccounts: {names: [a, B_]}}",
            "from [(ns=shop and sa.projectcalico.org/name in (B_, a))]",
            ".source.serviceAccounts.names[1]",
            "\"B_\" is not the name of a service account; accepted are lower-case letters, digits, \
             \"-\" and \".\""
                .to_owned(),
        ),
    ] {
        for (action, words, follows) in [
            ("Allow", format!("Allow {words}"), "it stands for nothing"),
            ("Deny", "Deny".to_owned(), "the rule denies everything"),
            ("Pass", "Deny".to_owned(), "the rule denies everything"),
        ] {
            let typed = format!("{{action: {action}, {typed}}}");
            let (got, problems) = rule(false, Direction::Ingress, &typed);
            let problem = format!("{field}: {message}; {follows}");
            assert_eq!((got, problems), (words, vec![problem]), "{id} {typed}");
        }
    }
}

#[test]
fn a_service_without_a_namespace_in_a_global_policy_matches_nothing() {
    let typed = "{action: Allow, destination: {services: {name: db}}}";
    let (got, problems) = rule(true, Direction::Egress, typed);
    let problem = ".destination.services.namespace: no namespace, in an object that is in none; \
                   accepted is that of the Service; the rule allows nothing";
    assert_eq!((got.as_str(), problems), ("Allow from []", vec![problem.to_owned()]), "C31");
}

#[test]
fn requests_are_never_allowed_for_their_packets_alone() {
    const TOLD: &str = ".http: HTTP requests are not looked into; accepted are rules without http";
    for (id, action, words, follows) in [
        ("C43", "Allow", "Allow from []", "the rule allows nothing"),
        ("", "Deny", "Deny to port [TCP/80]", "the rest of the rule counts"),
        ("", "Pass", "Deny to port [TCP/80]", "the rule denies what the rest of it matches"),
        ("", "Log", "Log to port [TCP/80]", "the rest of the rule counts"),
    ] {
        let typed = format!(
            "{{action: {action}, protocol: TCP, destination: {{ports: [80]}}, \
             http: {{methods: [GET], paths: [{{exact: /a}}, {{prefix: /b}}]}}}}"
        );
        let (got, problems) = rule(false, Direction::Ingress, &typed);
        assert_eq!((got.as_str(), problems), (words, vec![format!("{TOLD}; {follows}")]), "{id}");
    }
}

#[test]
fn nets_of_both_families_count_for_their_own() {
    let typed = "{action: Deny, source: {nets: [10.0.0.0/8, 'fd00::/8']}}";
    let (got, problems) = rule(false, Direction::Ingress, typed);
    let problem = ": nets of IPv4 and of IPv6; accepted are those of one in a rule; packets of each \
                   are compared with its own";
    assert_eq!(
        (got.as_str(), problems),
        ("Deny from [10.0.0.0/8 | fd00::/8]", vec![problem.to_owned()]),
        "C29"
    );
}

#[test]
fn a_rule_whose_action_is_not_known_denies_what_it_matches() {
    for (action, shown, hint) in [
        ("allow", "\"allow\"", "; did you mean Allow?"),
        ("Accept", "\"Accept\"", ""),
        ("''", "\"\"", ""),
    ] {
        let typed = format!("{{action: {action}, protocol: TCP, destination: {{ports: [80]}}}}");
        let (got, problems) = rule(false, Direction::Ingress, &typed);
        let problem = format!(
            ".action: {shown} is not an action; accepted are Allow, Deny, Log and Pass{hint}; the \
             rule denies what it matches"
        );
        assert_eq!((got.as_str(), problems), ("Deny to port [TCP/80]", vec![problem]));
    }
    let (got, problems) = rule(false, Direction::Ingress, "{source: {selector: '('}}");
    assert_eq!((got.as_str(), problems.len()), ("Deny", 2));
}
