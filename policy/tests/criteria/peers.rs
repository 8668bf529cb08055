//! Whom the elements of `from` and `to` stand for.

use crate::ground::Ground;

/// The cluster, with these peers allowed to all pods of `shop`.
fn from(peers: &str) -> Ground {
    Ground::with_policy(&format!("{{podSelector: {{}}, ingress: [{{from: {peers}}}]}}"))
}

#[test]
fn k08_an_empty_pod_selector_is_the_namespace_alone() {
    from("[{podSelector: {}}]").check_all(
        &["cart -> api tcp/1", "db6 -> api6 icmp"],
        &["probe -> api tcp/1", "n2 -> api tcp/1", "outside -> api tcp/1", "host -> api tcp/1"],
    );
}

#[test]
fn k09_an_empty_namespace_selector_is_every_pod_and_no_other_address() {
    from("[{namespaceSelector: {}}]").check_all(
        &["cart -> api tcp/1", "probe -> api tcp/1", "probe6 -> api6 tcp/1"],
        &["outside -> api tcp/1", "n2 -> api tcp/1", "outside6 -> api6 tcp/1"],
    );
}

#[test]
fn k10_one_element_with_both_selectors_is_not_two_elements() {
    let namespace = "namespaceSelector: {matchLabels: {team: dba}}";
    let pod = "podSelector: {matchLabels: {app: api}}";
    from(&format!("[{{{namespace}, {pod}}}]"))
        .check_all(&["probe -> db tcp/1"], &["api -> db tcp/1", "cart -> db tcp/1"]);
    from(&format!("[{{{namespace}}}, {{{pod}}}]"))
        .check_all(&["probe -> db tcp/1", "api -> db tcp/1"], &["cart -> db tcp/1"]);
}

#[test]
fn k11_pods_with_the_network_of_their_host_are_no_peers() {
    from("[{podSelector: {matchLabels: {app: api}}}]")
        .check_all(&["api -> cart tcp/1"], &["host -> cart tcp/1", "n2 -> cart tcp/1"]);
}

#[test]
fn k12_a_block_over_the_pod_range_holds_its_pods() {
    from("[{ipBlock: {cidr: 10.2.0.0/24}}]").check_all(
        &["probe -> api tcp/1", "db -> api tcp/1"],
        &["cart -> api tcp/1", "outside -> api tcp/1", "probe6 -> api6 tcp/1"],
    );
}

#[test]
fn k13_the_widest_block_holds_every_address_of_ipv4() {
    from("[{ipBlock: {cidr: 0.0.0.0/0}}]").check_all(
        &["outside -> api tcp/1", "probe -> api icmp", "n2 -> api gre", "cart -> api udp/1"],
        &["outside6 -> api6 tcp/1", "cart6 -> api6 tcp/1"],
    );
}

#[test]
fn k14_the_widest_block_holds_every_address_of_ipv6() {
    from("[{ipBlock: {cidr: '::/0'}}]").check_all(
        &[
            "outside6 -> api6 tcp/1",
            "n26 -> api6 tcp/1",
            "fe80::1 -> api6 tcp/1",
            "fd77::1 -> db6 tcp/1",
        ],
        &["outside -> api tcp/1", "cart -> api tcp/1"],
    );
}

#[test]
fn k15_what_one_element_leaves_out_another_may_give() {
    from(
        "[{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.0/28]}},
           {ipBlock: {cidr: 203.0.113.0/28}}]",
    )
    .check_all(&["outside -> api tcp/1", "203.0.113.99 -> api tcp/1"], &["elsewhere -> api tcp/1"]);
    from("[{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.0/28]}}]")
        .check_all(&["203.0.113.99 -> api tcp/1"], &["outside -> api tcp/1"]);
}

#[test]
fn k16_what_one_rule_leaves_out_another_may_give_by_selector() {
    Ground::with_policy(
        "{podSelector: {}, ingress: [
          {from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.2.0.0/24]}}]},
          {from: [{namespaceSelector: {matchLabels: {team: dba}}}]}]}",
    )
    .check_all(&["probe -> api tcp/1", "cart -> api tcp/1"], &["db -> api tcp/1"]);
}

#[test]
fn k17_what_is_left_out_is_exact() {
    from(
        "[{ipBlock: {cidr: 203.0.113.0/24,
            except: [203.0.113.7/32, 203.0.113.128/25, 203.0.113.128/26, 203.0.113.8/31]}}]",
    )
    .check_all(
        &[
            "203.0.113.0 -> api tcp/1",
            "203.0.113.6 -> api tcp/1",
            "203.0.113.10 -> api tcp/1",
            "203.0.113.127 -> api tcp/1",
        ],
        &[
            "203.0.113.7 -> api tcp/1",
            "203.0.113.8 -> api tcp/1",
            "203.0.113.9 -> api tcp/1",
            "203.0.113.128 -> api tcp/1",
            "203.0.113.255 -> api tcp/1",
            "203.0.112.255 -> api tcp/1",
            "203.0.114.0 -> api tcp/1",
        ],
    );
    from("[{ipBlock: {cidr: 'fd77::/16', except: ['fd77::1/128']}}]").check_all(
        &["fd77:: -> api6 tcp/1", "fd77::2 -> api6 tcp/1"],
        &["fd77::1 -> api6 tcp/1", "fd78::1 -> api6 tcp/1"],
    );
}

#[test]
fn k47_not_in_holds_for_a_label_that_is_not_there() {
    let tier = |values: &str| {
        from(&format!(
            "[{{podSelector: {{matchExpressions: [{{key: tier, operator: NotIn, values: [{values}]}}]}}}}]"
        ))
    };
    tier("front").check_all(&["cart -> db tcp/1"], &["api -> db tcp/1"]);
    tier("back").check_all(&["cart -> db tcp/1", "api -> db tcp/1"], &["probe -> db tcp/1"]);
}

#[test]
fn k48_exists_and_does_not_exist_are_exact() {
    let tier = |operator: &str| {
        from(&format!(
            "[{{podSelector: {{matchExpressions: [{{key: tier, operator: {operator}}}]}}}}]"
        ))
    };
    tier("Exists").check_all(&["api -> db tcp/1"], &["cart -> db tcp/1"]);
    tier("DoesNotExist").check_all(&["cart -> db tcp/1"], &["api -> db tcp/1"]);
}

#[test]
fn k49_a_namespace_is_found_by_its_name() {
    let name = |name: &str| {
        from(&format!(
            "[{{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {name}}}}}}}]"
        ))
    };
    name("lab").check_all(&["probe -> api tcp/1"], &["cart -> api tcp/1"]);
    name("shop").check_all(&["cart -> api tcp/1"], &["probe -> api tcp/1"]);
}

#[test]
fn k50_a_selector_of_expressions_alone_is_not_empty() {
    let app = "{matchExpressions: [{key: app, operator: In, values: [api]}]}";
    from(&format!("[{{podSelector: {app}}}]"))
        .check_all(&["api -> db tcp/1"], &["cart -> db tcp/1", "probe -> db tcp/1"]);
    Ground::with_policy(&format!("{{podSelector: {app}}}"))
        .check_all(&["api -> db tcp/1"], &["db -> api tcp/1"]);
    from("[{namespaceSelector: {matchExpressions: [{key: team, operator: In, values: [dba]}]}}]")
        .check_all(&["probe -> db tcp/1"], &["api -> db tcp/1"]);
}

#[test]
fn k51_a_block_of_one_family_leaves_the_other_closed() {
    from("[{ipBlock: {cidr: 10.0.0.0/8}}]")
        .check_all(&["cart -> api tcp/1"], &["cart6 -> api6 tcp/1", "outside6 -> api6 tcp/1"]);
}

#[test]
fn k58_a_client_whose_address_is_kept_is_found_in_a_block() {
    from("[{ipBlock: {cidr: 203.0.113.0/24}}]").check_all(
        &["outside -> api tcp/8080", "outside -> db tcp/8080"],
        &["elsewhere -> api tcp/8080", "n2 -> api tcp/8080"],
    );
}
