//! Calico's BGPPeer, BGPConfiguration and BGPFilter from a folder of manifests.

use integration_tests::router::{Kind, Neighbor, Plan};
use integration_tests::until;
use integration_tests::wait::{SOON, met};

use super::node_objects::Cluster;

/// An object of Calico's.
fn object(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: \
         {spec}\n"
    )
}

#[test]
fn objects_make_change_and_end_sessions_and_say_what_is_wrong_with_them() {
    if !Kind::Bird.can_run("objects_make_change_and_end_sessions_and_say_what_is_wrong_with_them") {
        return;
    }
    let cluster = Cluster::new(2);
    let tor = cluster.router(9);
    let plan = Plan {
        asn: 65001,
        neighbors: vec![Neighbor::new(cluster.host(1).v4, 64600)],
        originate: vec!["192.0.2.0/24".to_owned(), "198.51.100.0/24".to_owned()],
    };
    let bird = Kind::Bird.start(&tor, plan);
    let peer = |more: &str| {
        let spec = format!("{{node: n1, peerIP: {}, asNumber: 65001{more}}}", tor.v4);
        object("BGPPeer", "tor", &spec)
    };
    // brindle.yaml says nothing of the AS.
    let configuration = object("BGPConfiguration", "default", "{asNumber: 64600}");
    let filter = |rejected: &str| {
        let rule = format!("{{cidr: {rejected}, matchOperator: Equal, action: Reject}}");
        object("BGPFilter", "in", &format!("{{importV4: [{rule}]}}"))
    };
    let with_filter = peer(", filters: [in]");
    cluster.manifest_file("bgp.yaml", &(configuration.clone() + &with_filter));
    let agents = cluster.agents();
    let problems = || agents[0].ask(&["status"]).unwrap_or_default()["problems"].to_string();
    until("the filter is missed", SOON, || {
        let problems = problems();
        met(problems.contains("there is no BGPFilter in"), || problems)
    });

    let all = |rejected: &str| configuration.clone() + &with_filter + &filter(rejected);
    cluster.manifest_file("bgp.yaml", &all("198.51.100.0/24"));
    let since = agents[0].up("tor")["since"].clone();
    agents[0].learns("192.0.2.0/24");
    agents[0].forgets("198.51.100.0/24");
    let rejected = agents[0].ask(&["routes", "rejected", "tor"]).expect("an answer");
    let rejected = &rejected["items"][0];
    assert_eq!(rejected["rule"], "filter in importV4", "{rejected}");
    let why = "rejected by rule 1 of in importV4: ipv4, inside 198.51.100.0/24, length 24";
    assert_eq!(rejected["reason"], why);
    assert_eq!(agents[0].up("n2")["asNumber"], 64600, "{}", agents[0].peer("n2"));
    assert!(agents[1].peer("tor").is_null(), "it is n1's");
    // The router is told of the cluster alone.
    until("the router knows the cluster", SOON, || {
        let known = [bird.route("10.244.1.0/24"), bird.route("10.244.2.0/24")];
        met(known.iter().all(Option::is_some), || format!("{known:?}"))
    });

    // Another filter is no other session.
    cluster.manifest_file("bgp.yaml", &all("192.0.2.0/24"));
    agents[0].learns("198.51.100.0/24");
    agents[0].forgets("192.0.2.0/24");
    // One that is wrong leaves the last good version in force, and others alone.
    let wrong = object("BGPPeer", "tor", "{peerIP: tor, asNumber: 65001}");
    let text = configuration.clone() + &wrong + &filter("198.51.100.0/24");
    cluster.manifest_file("bgp.yaml", &text);
    agents[0].learns("192.0.2.0/24");
    until("it is said what is wrong", SOON, || {
        let status = agents[0].ask(&["status"]).unwrap_or_default()["source"].to_string();
        let is_said = status.contains("spec.peerIP") && status.contains("BGPPeer/tor");
        met(is_said, || status)
    });
    assert_eq!(agents[0].up("tor")["since"], since, "one session all the time");

    // A password that is not there keeps the session from being made without.
    let signed = peer(", password: {secretKeyRef: {name: keys, key: tor}}");
    cluster.manifest_file("bgp.yaml", &(configuration.clone() + &signed));
    until("the session is over, and why", SOON, || {
        let (tor, problems) = (agents[0].peer("tor"), problems());
        let is_said = tor["lastReason"].as_str().unwrap_or_default().contains("no Secret keys");
        let is_over = tor["state"] != "Established" && is_said;
        met(is_over && problems.contains("there is no Secret keys"), || format!("{tor} {problems}"))
    });
    assert!(!bird.session(cluster.host(1).v4.into()).up);
}

#[test]
fn a_session_is_as_its_object_says() {
    let test = "a_session_is_as_its_object_says";
    if !Kind::Bird.can_run(test) {
        return;
    }
    let cluster = Cluster::new(1);
    let tor = cluster.router(9);
    let us = cluster.host(1).v4;
    // To the router we are in AS 64999, and one hop away.
    let neighbor =
        Neighbor { ttl_security: true, password: Some("hush"), ..Neighbor::new(us, 64999) };
    let plan =
        Plan { asn: 65001, neighbors: vec![neighbor], originate: vec!["192.0.2.0/24".to_owned()] };
    let bird = Kind::Bird.start(&tor, plan);
    let secret = |key: &str| {
        format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: keys, namespace: kube-system}}\n\
             stringData: {{tor: {key}}}\n"
        )
    };
    let peer = |more: &str| {
        let spec = format!(
            "{{peerIP: {}, asNumber: 65001, localASNumber: 64999, ttlSecurity: 1, password: \
             {{secretKeyRef: {{name: keys, key: tor}}}}, filters: [f]{more}}}",
            tor.v4
        );
        object("BGPPeer", "tor", &spec)
    };
    let filter = |interface: &str| {
        let import = format!("{{interface: {interface}, action: Reject}}");
        let export =
            "{priority: 1024, action: Accept, operations: [{addCommunity: {value: '1:2'}}]}";
        object("BGPFilter", "f", &format!("{{importV4: [{import}], exportV4: [{export}]}}"))
    };
    cluster.manifest_file("bgp.yaml", &(peer("") + &filter("nothing*") + &secret("hush")));
    let agents = cluster.agents();
    let shown = agents[0].up("tor");
    let signed_by = serde_json::json!({"kind": "md5", "source": "Secret keys, key tor"});
    assert_eq!((&shown["auth"], &shown["ttlSecurity"]), (&signed_by, &1.into()), "{shown}");
    assert!(!shown.to_string().contains("hush"));
    agents[0].learns("192.0.2.0/24");
    let route = until("the router knows the node", SOON, || {
        bird.route("10.244.1.0/24").ok_or_else(|| "no route".to_owned())
    });
    assert_eq!(route.as_path, [64999]);
    assert_eq!(route.communities, ["1:2"]);

    // By which interface the router is reached is known.
    let device = cluster.host(1).netns.ip("-o route get 10.9.0.9").expect("ip runs");
    let device = device.split(" dev ").nth(1).and_then(|rest| rest.split(' ').next());
    let device = device.expect("it is on-link").to_owned();
    let since = shown["since"].clone();
    cluster.manifest_file("bgp.yaml", &(peer("") + &filter(&device) + &secret("hush")));
    agents[0].forgets("192.0.2.0/24");
    // A Secret that goes leaves the session alone.
    cluster.manifest_file("bgp.yaml", &(peer("") + &filter("nothing*")));
    agents[0].learns("192.0.2.0/24");
    until("it is said that the Secret is gone", SOON, || {
        let tor = agents[0].peer("tor");
        let why = tor["lastReason"].as_str().unwrap_or_default();
        met(why.contains("the key read before is used"), || tor.to_string())
    });
    assert_eq!(agents[0].up("tor")["since"], since, "one session all the time");
}
