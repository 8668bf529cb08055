//! What brindle does not take, and from whom.

use integration_tests::agent::{Agent, Config};
use integration_tests::octets::{nlri, open, update, usual};
use integration_tests::rawpeer::RawPeer;
use integration_tests::wait::{SOON, met, throughout};
use integration_tests::{Lan, kernel, skip, until};

use std::time::Duration;

#[test]
fn an_external_peer_without_filters_is_told_nothing_and_believed_nothing() {
    let test = "an_external_peer_without_filters_is_told_nothing_and_believed_nothing";
    if !skip::can_run(test, &[]) {
        return;
    }
    let lan = Lan::new();
    let (us, bare, open) = (lan.host("n1", 1), lan.host("bare", 2), lan.host("open", 3));
    let config = |more: &str| {
        Config::new(65001)
            .networks(&["192.0.2.0/24"])
            .line("bare", &bare.v4.to_string(), 65002, &format!(", passive: true{more}"))
            .peer("open", &open, 65003, ", passive: true")
    };
    let agent = Agent::start(&us, &config(""));
    let bare_peer = RawPeer::establish(&bare, us.v4.into(), 65002);
    let open_peer = RawPeer::establish(&open, us.v4.into(), 65003);
    bare_peer
        .send(&update(&[], &usual(&[65002], bare.v4), &nlri(&["198.51.100.0/24"])))
        .expect("an open session");
    open_peer.hears("192.0.2.0/24");
    until("the refusal is shown", SOON, || {
        let rejected = agent.ask(&["routes", "rejected"]).unwrap_or_default();
        let first = &rejected["items"][0];
        met(first["prefix"] == "198.51.100.0/24" && first["from"] == "bare", || {
            rejected.to_string()
        })
    });
    throughout("nothing passes in either direction", Duration::from_secs(1), || {
        met(agent.route("198.51.100.0/24").is_none(), || "learned".into())?;
        met(!open_peer.routes().contains_key("198.51.100.0/24"), || "passed on".into())?;
        met(bare_peer.routes().is_empty(), || format!("{:?}", bare_peer.routes()))?;
        let routes = kernel::routes(&us.netns, kernel::PROTOCOL);
        met(routes.iter().all(|route| route.prefix != "198.51.100.0/24"), || format!("{routes:?}"))
    });

    // With filters, what was refused counts without being sent again.
    agent.reload(&config(", importFilters: [], exportFilters: []"));
    agent.learns("198.51.100.0/24");
    bare_peer.hears("192.0.2.0/24");
    assert!(!bare_peer.is_closed() && !open_peer.is_closed());
}

#[test]
fn a_connection_from_an_unknown_address_is_closed_before_a_byte_is_read() {
    let test = "a_connection_from_an_unknown_address_is_closed_before_a_byte_is_read";
    if !skip::can_run(test, &[]) {
        return;
    }
    let lan = Lan::new();
    let (us, known, stranger) = (lan.host("n1", 1), lan.host("known", 2), lan.host("stranger", 9));
    let config = Config::new(65001).peer("known", &known, 65002, ", passive: true");
    let agent = Agent::start(&us, &config);
    let known_peer = RawPeer::establish(&known, us.v4.into(), 65002);
    for to in [us.v4.into(), us.v6.into()] {
        // Silent: it is closed without waiting for a byte. It may be so fast that dialling fails.
        let Ok(silent) = RawPeer::dial(&stranger, to) else { continue };
        until("the silent stranger is turned away", SOON, || met(silent.is_closed(), String::new));
        assert_eq!(silent.messages(), [], "nothing is said to a stranger");
        let Ok(eager) = RawPeer::dial(&stranger, to) else { continue };
        let _ = eager.send(&open(65002, stranger.v4, 90));
        until("the eager stranger is turned away", SOON, || met(eager.is_closed(), String::new));
        assert_eq!(eager.messages(), [], "nothing is said to a stranger");
    }
    assert!(!known_peer.is_closed());
    agent.up("known");
}
