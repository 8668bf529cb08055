//! Sessions that are signed, and sessions that only neighbours may have: with each
//! implementation, and what is said where the two sides do not fit.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use integration_tests::agent::{Agent, Config};
use integration_tests::router::{Kind, Neighbor, Plan};
use integration_tests::wait::{SOON, met, throughout, until};
use integration_tests::{Host, Lan};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

/// A file with a key.
fn key(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("the folder is ours");
    path
}

fn password(file: &Path) -> String {
    format!(", password: {{file: {}}}", file.display())
}

fn folder() -> TempDir {
    TempDir::new().expect("a folder for temporary files can be made")
}

/// An agent's peers at both addresses of `host`: it dials the first, and is dialled by the other.
fn both_ways(host: &Host, asn: u32, more: &str) -> Config {
    let open = format!(", importFilters: [], exportFilters: []{more}");
    Config::new(65001).line("dialled", &host.v4.to_string(), asn, &open).line(
        "dials",
        &host.v6.to_string(),
        asn,
        &format!("{open}, passive: true"),
    )
}

/// What the other side is told for that.
fn counterpart(us: &Host, like: impl Fn(Neighbor) -> Neighbor) -> Plan {
    let neighbor =
        |address: IpAddr, passive| like(Neighbor { passive, ..Neighbor::new(address, 65001) });
    let neighbors = vec![neighbor(us.v4.into(), true), neighbor(us.v6.into(), false)];
    Plan { asn: 65002, neighbors, originate: vec![] }
}

fn reason(agent: &Agent, peer: &str) -> String {
    agent.peer(peer)["lastReason"].as_str().unwrap_or_default().to_owned()
}

/// Waits until the last reason of `peer` holds all of `words`.
fn says(agent: &Agent, peer: &str, words: &[&str]) {
    until(&format!("{peer}: {words:?}"), Duration::from_secs(30), || {
        let why = reason(agent, peer);
        met(words.iter().all(|word| why.contains(word)), || why)
    });
}

fn passwords_fit(kind: Kind) {
    if !kind.can_run(&format!("authentication::passwords_fit with {kind:?}")) {
        return;
    }
    let lan = Lan::new();
    let (us, them) = (lan.host("n1", 1), lan.host("other", 2));
    let folder = folder();
    let longest = "k".repeat(80);
    let file = key(&folder, "key", &format!("{longest}\n"));
    let longest: &'static str = longest.leak();
    // FRR's own limit is 80 as well; with it the whole key counts.
    let plan = counterpart(&us, |one| Neighbor { password: Some(longest), ..one });
    let _other = kind.start(&them, plan);
    let agent = Agent::start(&us, &both_ways(&them, 65002, &password(&file)));
    agent.up("dialled");
    agent.up("dials");
}

#[test]
fn passwords_fit_with_bird() {
    passwords_fit(Kind::Bird);
}

#[test]
fn passwords_fit_with_frr() {
    passwords_fit(Kind::Frr);
}

#[test]
fn passwords_fit_with_gobgp() {
    passwords_fit(Kind::Gobgp);
}

#[test]
fn who_has_another_password_or_none_is_told_apart_from_silence() {
    if !Kind::Bird.can_run("authentication::who_has_another_password") {
        return;
    }
    let lan = Lan::new();
    let (us, them, silent) = (lan.host("n1", 1), lan.host("other", 2), lan.host("silent", 3));
    let folder = folder();
    let file = key(&folder, "key", "swordfish");
    let plan = Plan {
        asn: 65002,
        neighbors: vec![
            Neighbor { password: Some("swordfist"), ..Neighbor::new(us.v4, 65001) },
            Neighbor::new(us.v6, 65001),
        ],
        originate: vec![],
    };
    let _other = Kind::Bird.start(&them, plan);
    let signed = password(&file);
    let config = Config::new(65001).peer("other", &them, 65002, &signed).line(
        "silent",
        &silent.v4.to_string(),
        65003,
        "",
    );
    let agent = Agent::start(&us, &config);
    says(&agent, "other", &["kernel counted", "MD5 failures: signed with another password"]);
    says(&agent, "other-v6", &["kernel counted", "MD5 failures: not signed"]);
    assert!(!reason(&agent, "silent").contains("MD5"), "{}", reason(&agent, "silent"));

    // The other's password, and the session is there.
    std::fs::write(&file, "swordfist").expect("our file");
    agent.up("other");
}

/// Two agents that sign with a file each.
struct Pair {
    _lan: Lan,
    folder: TempDir,
    a: (Agent, Host),
    b: (Agent, Host),
}

impl Pair {
    fn config(&self, signed: bool) -> [Config; 2] {
        configs(&self.folder, &self.a.1, &self.b.1, signed)
    }

    fn sign(&self, who: &str, text: &str) {
        // As a mounted Secret changes: another file, not another content.
        let next = key(&self.folder, "next", text);
        std::fs::rename(next, self.folder.path().join(who)).expect("our folder");
    }

    /// Waits until messages have gone both ways since now, without a flap.
    fn talks(&self, what: &str) {
        let received = |agent: &Agent| {
            let peer = agent.peer("other");
            assert_eq!(
                (&peer["state"], &peer["flaps"]),
                (&"Established".into(), &0.into()),
                "{what}: {peer}"
            );
            peer["messages"]["received"]["keepalive"].as_u64().unwrap_or_default()
        };
        let before = [&self.a.0, &self.b.0].map(received);
        until(&format!("{what}: keepalives of both"), SOON, || {
            let now = [&self.a.0, &self.b.0].map(received);
            let both = now.iter().zip(before).all(|(now, before)| *now >= before + 2);
            met(both, || format!("{before:?} to {now:?}"))
        });
    }
}

fn configs(folder: &TempDir, a: &Host, b: &Host, signed: bool) -> [Config; 2] {
    [("a", b), ("b", a)].map(|(who, other)| {
        let more = if signed { password(&folder.path().join(who)) } else { String::new() };
        Config::new(64512).line(
            "other",
            &other.v4.to_string(),
            64512,
            &format!(", holdTime: 6s{more}"),
        )
    })
}

#[test]
fn a_password_changes_while_the_session_lives() {
    let lan = Lan::new();
    let (a, b) = (lan.host("a", 1), lan.host("b", 2));
    let folder = folder();
    key(&folder, "a", "one");
    key(&folder, "b", "one\n");
    let [of_a, of_b] = configs(&folder, &a, &b, true);
    let agents = (Agent::start(&a, &of_a), Agent::start(&b, &of_b));
    let pair = Pair { _lan: lan, folder, a: (agents.0, a), b: (agents.1, b) };
    pair.a.0.up("other");

    pair.sign("a", "two");
    pair.sign("b", "two");
    pair.talks("another password");
    // No password, and one again, by the configuration.
    for signed in [false, true] {
        let [of_a, of_b] = pair.config(signed);
        pair.a.0.reload(&of_a);
        pair.b.0.reload(&of_b);
        pair.talks(if signed { "signed again" } else { "not signed" });
    }

    // A file that goes takes nothing with it.
    std::fs::remove_file(pair.folder.path().join("a")).expect("our file");
    says(&pair.a.0, "other", &["the key read before is used", "there is no such file"]);
    pair.talks("without the file");

    // One side alone has another: that is noticed, so it does count.
    pair.sign("b", "three");
    until("the session is lost", SOON, || {
        let peer = pair.b.0.peer("other");
        met(peer["state"] != "Established", || peer.to_string())
    });
    pair.sign("a", "three");
    pair.a.0.up("other");
}

#[test]
fn a_configuration_whose_key_is_none_does_not_count() {
    let lan = Lan::new();
    let (us, them) = (lan.host("n1", 1), lan.host("other", 2));
    let folder = folder();
    let agent = Agent::start(&us, &Config::new(65001));
    for (name, text, want) in [
        ("long", Some("k".repeat(81)), "has 81 octets; a key has 1 to 80"),
        ("empty", Some("\n".into()), "is empty; a key has 1 to 80 octets"),
        ("missing", None, "there is no such file"),
    ] {
        let file = match text {
            Some(text) => key(&folder, name, &text),
            None => folder.path().join(name),
        };
        agent.reload(&Config::new(65001).peer("other", &them, 65002, &password(&file)));
        until(want, SOON, || {
            let status = agent.ask(&["status"]).unwrap_or_default().to_string();
            let place = "bgp.peers[0].password.file";
            met(status.contains(want) && status.contains(place), || status)
        });
        assert_eq!(agent.peer("other"), serde_json::Value::Null, "{name}");
    }
}

fn near_ones_meet(kind: Kind) {
    if !kind.can_run(&format!("authentication::near_ones_meet with {kind:?}")) {
        return;
    }
    let lan = Lan::new();
    let (us, them) = (lan.host("n1", 1), lan.host("other", 2));
    let plan = counterpart(&us, |one| Neighbor { ttl_security: true, ..one });
    let _other = kind.start(&them, plan);
    let agent = Agent::start(&us, &both_ways(&them, 65002, ", ttlSecurity: 1"));
    agent.up("dialled");
    agent.up("dials");
}

#[test]
fn ttl_security_fits_with_bird() {
    near_ones_meet(Kind::Bird);
}

#[test]
fn ttl_security_fits_with_frr() {
    near_ones_meet(Kind::Frr);
}

#[test]
fn what_comes_from_farther_off_is_not_let_in() {
    let lan = Lan::new();
    let (us, them) = (lan.host("n1", 1), lan.host("far", 2));
    let config = Config::new(65001).peer("far", &them, 65002, ", ttlSecurity: 1, passive: true");
    let agent = Agent::start(&us, &config);
    until("it is waited for", SOON, || {
        let state = agent.peer("far")["state"].clone();
        met(state == "Active", || state.to_string())
    });
    for (name, ours, theirs) in [
        ("far", IpAddr::from(us.v4), IpAddr::from(them.v4)),
        ("far-v6", us.v6.into(), them.v6.into()),
    ] {
        // One router in between would have made 254 of 255.
        let connect = |ttl: u32| {
            them.netns.inside(|| {
                let to = SocketAddr::new(ours, 179);
                let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
                match ours.is_ipv4() {
                    true => socket.set_ttl_v4(ttl)?,
                    false => socket.set_unicast_hops_v6(ttl)?,
                }
                socket.bind(&SocketAddr::new(theirs, 0).into())?;
                socket.connect(&to.into())?;
                Ok::<_, std::io::Error>(socket)
            })
        };
        let _far = connect(254);
        says(&agent, name, &["came with TTL 254, and ttlSecurity asks for 255"]);
        throughout("it is no peer", Duration::from_millis(300), || {
            let state = agent.peer(name)["state"].clone();
            met(state == "Active", || state.to_string())
        });
        let _near = connect(255).expect("the agent listens");
        until("a near one gets an OPEN", SOON, || {
            let state = agent.peer(name)["state"].clone();
            met(state == "OpenSent", || state.to_string())
        });
    }
}

#[test]
fn who_comes_from_a_prefix_is_asked_for_its_key_and_nobody_else_in_it() {
    let test = "authentication::who_comes_from_a_prefix_is_asked_for_its_key";
    if !Kind::Bird.can_run(test) {
        return;
    }
    let lan = Lan::new();
    let us = lan.host("n1", 1);
    let [right, wrong, configured] =
        [("right", 2), ("wrong", 3), ("configured", 4)].map(|(name, n)| lan.host(name, n));
    let folder = folder();
    let file = key(&folder, "key", "swordfish");
    // A configured peer that does not sign, in the middle of those who do.
    let open = ", importFilters: [], exportFilters: [], passive: true";
    let config = Config::new(65001)
        .line("configured", &configured.v4.to_string(), 65004, open)
        .bgp(&format!(
            "dynamicPeers: [{{name: rack, cidrs: [10.9.0.0/24], asNumber: 65002-65003, password: \
             {{file: {}}}, importFilters: [], exportFilters: []}}]",
            file.display()
        ));
    let agent = Agent::start(&us, &config);
    let router = |host: &Host, asn, password| {
        let neighbor = Neighbor { password, ..Neighbor::new(us.v4, 65001) };
        Kind::Bird.start(host, Plan { asn, neighbors: vec![neighbor], originate: vec![] })
    };
    let _right = router(&right, 65002, Some("swordfish"));
    let _wrong = router(&wrong, 65003, Some("swordfist"));
    let _configured = router(&configured, 65004, None);
    agent.up("rack-10.9.0.2");
    agent.up("configured");
    assert!(agent.peer("rack-10.9.0.3").is_null(), "who signs otherwise is nobody");

    // Another key for the group: the one that had it before is cut off, the other comes.
    std::fs::write(&file, "swordfist").expect("our file");
    agent.up("rack-10.9.0.3");
    agent.up("configured");

    // Where the kernel cannot sign with TCP-AO, a group that asks for it is named like a peer.
    let keys = format!("tcpAO: {{keys: [{{sendID: 1, recvID: 1, file: {}}}]}}", file.display());
    let config = Config::new(65001)
        .line("configured", &configured.v4.to_string(), 65004, open)
        .line("signs", "10.9.0.77", 65005, &format!(", passive: true, {keys}"))
        .bgp(&format!(
            "dynamicPeers: [{{name: rack, cidrs: [10.9.0.0/24], asNumber: 65002-65003, {keys}}}]"
        ));
    agent.reload(&config);
    until("it is said who is not spoken to, if so", SOON, || {
        let problems = agent.ask(&["status"]).unwrap_or_default()["problems"].to_string();
        let (cannot, why) = ("this kernel cannot sign", reason(&agent, "signs"));
        let what = format!("nobody of the dynamic peers rack is spoken to: {cannot}");
        let is_told = problems.contains(&what) == why.contains(cannot);
        met(!why.is_empty() && is_told, || format!("{why} {problems}"))
    });
    agent.up("configured");
}
