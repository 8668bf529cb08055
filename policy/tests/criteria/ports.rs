//! Ports and protocols.

use crate::ground::Ground;
use brindle_policy::walk::State;

/// The cluster, with these ports allowed to all pods of `shop` for everyone.
fn to_ports(ports: &str) -> Ground {
    Ground::with_policy(&format!("{{podSelector: {{}}, ingress: [{{ports: {ports}}}]}}"))
}

#[test]
fn k18_a_protocol_alone_is_every_port_of_it() {
    to_ports("[{protocol: UDP}]").check_all(
        &["cart -> api udp/1", "cart -> api udp/65535", "cart6 -> api6 udp/53"],
        &["cart -> api tcp/1", "cart -> api sctp/1", "cart -> api icmp"],
    );
}

#[test]
fn k19_an_empty_element_is_every_tcp_port() {
    to_ports("[{}]").check_all(
        &["cart -> api tcp/0", "cart -> api tcp/65535"],
        &["cart -> api udp/80", "cart -> api sctp/80"],
    );
}

#[test]
fn k20_a_range_includes_its_edges() {
    to_ports("[{port: 80, endPort: 90}]").check_all(
        &["cart -> api tcp/80", "cart -> api tcp/85", "cart6 -> api6 tcp/90"],
        &["cart -> api tcp/79", "cart -> api tcp/91", "cart -> api udp/80"],
    );
}

#[test]
fn k21_a_named_port_is_each_pods_own_number() {
    to_ports("[{port: http}]").check_all(
        &["cart -> api tcp/8080", "api -> cart tcp/9090", "probe6 -> cart6 tcp/9090"],
        &["cart -> api tcp/9090", "api -> cart tcp/8080", "api -> db tcp/8080"],
    );
}

#[test]
fn k22_the_protocol_decides_between_ports_of_one_name() {
    to_ports("[{port: dns, protocol: UDP}]").check_all(
        &["api -> db udp/53"],
        &["api -> db udp/54", "api -> db tcp/53", "api -> db tcp/54"],
    );
    to_ports("[{port: dns}]").check_all(
        &["api -> db tcp/54"],
        &["api -> db udp/54", "api -> db tcp/53", "api -> db udp/53"],
    );
}

#[test]
fn k23_a_named_port_of_an_egress_rule_is_the_destinations() {
    Ground::with_policy(
        "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: http}]}]}",
    )
    .check_all(
        &["db -> api tcp/8080", "db -> cart tcp/9090", "db6 -> api6 tcp/8080"],
        &[
            "db -> cart tcp/8080",
            "db -> probe tcp/8080",
            "db -> outside tcp/8080",
            "db -> n1 tcp/8080",
        ],
    );
}

#[test]
fn k24_a_name_that_nobody_has_matches_nothing() {
    to_ports("[{port: nobody}]").check_all(
        &["n1 -> api tcp/80"],
        &[
            "cart -> api tcp/80",
            "cart -> api tcp/8080",
            "cart -> api icmp",
            "outside -> db tcp/5432",
        ],
    );
}

#[test]
fn k25_named_ports_of_init_containers_count() {
    to_ports("[{port: proxy}]").check_all(&["api -> db tcp/15001"], &["api -> db tcp/5432"]);
}

#[test]
fn k26_sctp_is_as_tcp() {
    to_ports("[{protocol: SCTP, port: 80, endPort: 81}]").check_all(
        &["cart -> api sctp/80", "cart6 -> api6 sctp/81"],
        &["cart -> api sctp/82", "cart -> api tcp/80"],
    );
}

#[test]
fn k27_a_rule_without_ports_allows_echo_requests() {
    Ground::with_policy(
        "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: api}}}]}]}",
    )
    .check_all(
        &["api -> db icmp", "api6 -> db6 icmp", "api -> db gre"],
        &["cart -> db icmp", "cart6 -> db6 icmp", "probe -> db icmp"],
    );
}

#[test]
fn k28_a_rule_with_ports_does_not_but_errors_about_its_flows_pass() {
    let ground = to_ports("[{port: 80}, {protocol: UDP}]");
    ground.check_all(
        &["cart -> api tcp/80"],
        &["cart -> api icmp", "cart6 -> api6 icmp", "outside -> api icmp"],
    );
    for error in ["cart -> api icmp", "outside -> api icmp", "outside6 -> db6 icmp"] {
        assert!(ground.passes(error, State::Established), "{error}");
    }
}

#[test]
fn k56_with_the_dns_port_open_to_everyone_only_dns_gets_out() {
    Ground::with_policy(
        "{podSelector: {}, policyTypes: [Egress],
          egress: [{ports: [{port: 53, protocol: UDP}, {port: 53}]}]}",
    )
    .check_all(
        &[
            "api -> probe udp/53",
            "api -> outside tcp/53",
            "api6 -> probe6 udp/53",
            "api -> n2 udp/53",
        ],
        &["api -> probe udp/54", "api -> outside tcp/80", "api -> probe icmp"],
    );
}

#[test]
fn k57_the_port_behind_a_service_counts() {
    // The packet as it is after translation: the pod's own port, not that of the Service.
    let ground = Ground::with_policy(
        "{podSelector: {matchLabels: {app: api}}, policyTypes: [Egress],
          egress: [{to: [{podSelector: {matchLabels: {app: cart}}}], ports: [{port: 9090}]}]}",
    );
    ground.check_all(&["api -> cart tcp/9090"], &["api -> cart tcp/80", "api -> db tcp/9090"]);
}
