//! Roles (RFC 9234) with those who know them, leaks, and routes told again between marks.

use std::net::Ipv4Addr;

use integration_tests::agent::{Agent, Config};
use integration_tests::bird::Bird;
use integration_tests::frr::Frr;
use integration_tests::octets::{attribute, message, nlri, update, usual};
use integration_tests::rawpeer::RawPeer;
use integration_tests::router::{Kind, Neighbor, Plan};
use integration_tests::wait::{SOON, met};
use integration_tests::{Host, Lan, skip, until};

/// ONLY_TO_CUSTOMER by this AS.
fn otc(asn: u32) -> Vec<u8> {
    attribute(0xC0, 35, &asn.to_be_bytes())
}

fn open(more: &str) -> String {
    format!(", importFilters: [], exportFilters: []{more}")
}

#[test]
fn roles_are_agreed_with_bird_and_what_is_for_customers_is_marked() {
    let test = "roles_are_agreed_with_bird_and_what_is_for_customers_is_marked";
    if !Kind::Bird.can_run(test) {
        return;
    }
    let lan = Lan::new();
    let (us, them) = (lan.host("n1", 1), lan.host("bird", 2));
    let session = |ours: &dyn std::fmt::Display, peer: &dyn std::fmt::Display, family| {
        format!(
            "protocol bgp bgp_{family} {{ local {ours} as 65002; neighbor {peer} as 65001; \
             connect delay time 1; connect retry time 1; error wait time 1, 1; \
             local role customer; require roles on; \
             {family} {{ import all; export where source = RTS_STATIC; }}; }}\n"
        )
    };
    let more = session(&them.v4, &us.v4, "ipv4") + &session(&them.v6, &us.v6, "ipv6");
    let plan =
        Plan { asn: 65002, neighbors: vec![], originate: vec!["198.51.100.0/24".to_owned()] };
    let bird = Bird::start_with(&them, plan, &more);
    // One session as it should be, and one where both say that they buy.
    let config = Config::new(65001)
        .networks(&["192.0.2.0/24"])
        .line("bird", &them.v4.to_string(), 65002, &open(", role: provider, roleStrict: true"))
        .line("wrong", &them.v6.to_string(), 65002, &open(", role: customer"));
    let agent = Agent::start(&us, &config);
    let peer = agent.up("bird");
    assert!(peer.to_string().contains("role customer"), "{peer}");
    agent.learns("198.51.100.0/24");
    until("BIRD sees who marked the route", SOON, || {
        let shown = bird.ctl("show route for 192.0.2.0/24 all").unwrap_or_default();
        met(shown.to_lowercase().contains("otc: 65001"), || shown)
    });
    until("the other session is refused for its roles", SOON, || {
        let peer = agent.peer("wrong");
        let reason = peer["lastReason"].as_str().unwrap_or_default();
        met(reason.contains("Role Mismatch (2/11)"), || peer.to_string())
    });
}

#[test]
fn roles_are_agreed_with_frr_and_leaks_are_refused_and_shown() {
    let test = "roles_are_agreed_with_frr_and_leaks_are_refused_and_shown";
    if !Kind::Frr.can_run(test) {
        return;
    }
    let lan = Lan::new();
    let (us, frr, raw, up) =
        (lan.host("n1", 1), lan.host("frr", 2), lan.host("raw", 3), lan.host("up", 4));
    let plan = Plan {
        asn: 65002,
        neighbors: vec![Neighbor::new(us.v4, 65001)],
        originate: vec!["198.51.100.0/24".to_owned()],
    };
    let other = Frr::start(&frr, plan);
    let role = format!("neighbor {} local-role peer strict-mode", us.v4);
    other.ctl(&["configure terminal", "router bgp 65002", &role]).expect("FRR knows roles");
    let line = |config: Config, host: &Host, asn, role: &str| {
        config.line(host.netns.name(), &host.v4.to_string(), asn, &open(role))
    };
    let config = Config::new(65001).networks(&["192.0.2.0/24"]);
    let config = line(config, &frr, 65002, ", role: peer, roleStrict: true");
    let config = line(config, &raw, 65003, ", passive: true, role: provider");
    let config = line(config, &up, 65004, ", passive: true, role: customer");
    let agent = Agent::start(&us, &config);
    let (customer, provider) = (
        RawPeer::establish(&raw, us.v4.into(), 65003),
        RawPeer::establish(&up, us.v4.into(), 65004),
    );
    agent.up("frr");
    let marked = |path: &serde_json::Value| path["attributes"]["onlyToCustomer"].clone();
    let learned = agent.learns("198.51.100.0/24");
    assert_eq!(marked(&learned), 65002, "{learned}");
    let seen = until("FRR sees who marked the route", SOON, || {
        let shown = other.ctl(&["show bgp ipv4 unicast 192.0.2.0/24 json"]).unwrap_or_default();
        met(shown.to_lowercase().contains("otc"), || shown.clone())?;
        Ok(shown)
    });
    assert!(seen.contains("65001"), "{seen}");

    // What a peer told goes to customers and to nobody else.
    let path = customer.hears("198.51.100.0/24");
    assert_eq!(path.get(&35), Some(&(0xC0, 65002_u32.to_be_bytes().to_vec())), "{path:?}");
    assert_eq!(customer.hears("192.0.2.0/24")[&35].1, 65001_u32.to_be_bytes());
    assert_eq!(provider.hears("192.0.2.0/24").get(&35), None, "a provider is told unmarked");
    assert!(!provider.routes().contains_key("198.51.100.0/24"));

    // A customer passes on what it has from a provider of its own.
    let tell = |peer: &RawPeer, from: Ipv4Addr, asn, more: &[u8], prefix| {
        let attributes = [usual(&[asn], from), more.to_vec()].concat();
        peer.send(&update(&[], &attributes, &nlri(&[prefix]))).expect("an open session");
    };
    tell(&customer, raw.v4, 65003, &otc(65009), "203.0.113.0/24");
    tell(&customer, raw.v4, 65003, &[], "203.0.114.0/24");
    let good = agent.learns("203.0.114.0/24");
    assert!(marked(&good).is_null(), "{good}");
    let rejected = agent.ask(&["routes", "rejected"]).unwrap_or_default();
    let leak = &rejected["items"][0];
    assert_eq!((&leak["prefix"], &leak["rule"]), (&"203.0.113.0/24".into(), &"route-leak".into()));
    let reason = leak["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("route leak (OTC 65009)"), "{rejected}");
    assert_eq!(provider.hears("203.0.114.0/24").get(&35), None);

    // One that no length fits is a withdrawal, and the session goes on.
    tell(&customer, raw.v4, 65003, &attribute(0xC0, 35, &[0, 1]), "203.0.114.0/24");
    agent.forgets("203.0.114.0/24");
    assert!(!customer.is_closed());
}

#[test]
fn what_is_not_told_again_between_the_marks_of_a_refresh_goes() {
    if !skip::can_run("what_is_not_told_again_between_the_marks_of_a_refresh_goes", &[]) {
        return;
    }
    let lan = Lan::new();
    let (us, raw) = (lan.host("n1", 1), lan.host("raw", 2));
    let config =
        Config::new(65001).line("raw", &raw.v4.to_string(), 65002, &open(", passive: true"));
    let agent = Agent::start(&us, &config);
    let peer = RawPeer::establish(&raw, us.v4.into(), 65002);
    let mark = |subtype| message(5, &[0, 1, subtype, 1]);
    let tell = |prefixes: &[&str]| update(&[], &usual(&[65002], raw.v4), &nlri(prefixes));
    let send = |octets: &[Vec<u8>]| peer.send(&octets.concat()).expect("an open session");
    send(&[tell(&["198.51.100.0/24", "203.0.113.0/24"])]);
    agent.learns("203.0.113.0/24");
    let before = agent.up("raw");
    // An end without a beginning, and a subtype that nobody knows, mean nothing.
    send(&[mark(2), mark(9), mark(1), tell(&["198.51.100.0/24", "192.0.2.0/24"])]);
    agent.learns("192.0.2.0/24");
    assert!(agent.route("203.0.113.0/24").is_some(), "until the end it is as good as ever");
    send(&[mark(2)]);
    agent.forgets("203.0.113.0/24");
    assert!(agent.route("198.51.100.0/24").is_some() && agent.route("192.0.2.0/24").is_some());

    // Filters come and go, and the session stays: what was learned is judged again.
    let filtered = |filters: &str| {
        let peer = format!(", passive: true, importFilters: [{filters}], exportFilters: []");
        let filter = "filters: [{name: some, rules: [{action: accept, cidr: 192.0.0.0/8}]}]";
        Config::new(65001).line("raw", &raw.v4.to_string(), 65002, &peer).bgp(filter)
    };
    agent.reload(&filtered("some"));
    agent.forgets("198.51.100.0/24");
    assert!(agent.route("192.0.2.0/24").is_some());
    agent.reload(&filtered(""));
    agent.learns("198.51.100.0/24");
    let after = agent.up("raw");
    assert_eq!((&after["since"], &after["flaps"]), (&before["since"], &before["flaps"]), "{after}");

    // A mark of another length ends the session (RFC 7313 §5).
    send(&[message(5, &[0, 1, 1, 1, 0])]);
    until("the session ends", SOON, || {
        let heard = peer.notification();
        met(heard.as_ref().is_some_and(|(code, subcode, _)| (*code, *subcode) == (7, 1)), || {
            format!("{heard:?}")
        })
    });
}
