//! Filters with BIRD, FRR and GoBGP: what they change is seen on the other side, and an edit of
//! one changes routes and leaves the session alone.

use std::net::IpAddr;

use integration_tests::agent::{Agent, Config};
use integration_tests::router::{Kind, Neighbor, Plan};
use integration_tests::wait::{SOON, met};
use integration_tests::{Host, Lan, until};
use serde_json::{Value, json};

const OURS: &str = "192.0.2.0/24";
const OURS_TOO: &str = "192.0.3.0/24";
const THEIRS: &str = "198.51.100.0/24";

const EXPORT: &str = "{name: out, rules: [\
    {set: {addCommunities: ['65001:1', '65001:2:3']}}, \
    {action: reject, cidr: 192.0.3.0/24, communities: {all: ['65001:1']}}, \
    {action: accept, sources: [local], set: {med: 77, prepend: {times: 2}}}]}";

#[test]
fn bird_sees_what_filters_change() {
    filters_change_routes_and_leave_the_session_alone(Kind::Bird);
}

#[test]
fn frr_sees_what_filters_change() {
    filters_change_routes_and_leave_the_session_alone(Kind::Frr);
}

#[test]
fn gobgp_sees_what_filters_change() {
    filters_change_routes_and_leave_the_session_alone(Kind::Gobgp);
}

fn config(them: &Host, import: &str, export: &str) -> Config {
    Config::new(65001)
        .networks(&[OURS, OURS_TOO])
        .line("other", &them.v4.to_string(), 65002, ", importFilters: [in], exportFilters: [out]")
        .bgp(&format!("filters: [{{name: in, rules: [{import}]}}, {export}]"))
}

/// The one path that the peer told us, as `brindle routes in` shows it.
fn told(agent: &Agent) -> Option<Value> {
    let found = agent.ask(&["routes", "in", "other"])?;
    found["items"].as_array()?.iter().find(|path| path["prefix"] == THEIRS).cloned()
}

fn filters_change_routes_and_leave_the_session_alone(kind: Kind) {
    if !kind.can_run(&format!("filters::filters_change_routes with {kind:?}")) {
        return;
    }
    let lan = Lan::new();
    let (us, them) = (lan.host("n1", 1), lan.host("other", 2));
    let plan = Plan {
        asn: 65002,
        neighbors: vec![Neighbor::new(IpAddr::from(us.v4), 65001)],
        originate: vec![THEIRS.to_owned()],
    };
    let other = kind.start(&them, plan);
    let import = "{set: {localPref: 150}}, {action: accept, asPath: {regex: '^65002$'}}";
    let agent = Agent::start(&us, &config(&them, import, EXPORT));
    let since = agent.up("other")["flaps"].clone();

    // Out: everything that the rules add, and nothing of what they reject.
    let seen = until("the other router has our route", SOON, || {
        other.route(OURS).ok_or_else(|| other.session(us.v4.into()).text)
    });
    assert_eq!((seen.as_path, seen.med), (vec![65001; 3], Some(77)));
    assert_eq!(seen.communities, ["65001:1"]);
    assert_eq!(seen.large_communities, ["65001:2:3"]);
    assert!(other.route(OURS_TOO).is_none(), "rejected by its community, which we add ourselves");
    let out = agent.ask(&["routes", "out", "other"]).expect("an answer");
    let steps = &out["items"][0]["filters"];
    assert_eq!(
        steps[1]["changes"],
        json!([
            {"attribute": "med", "after": "77"},
            {"attribute": "asPath", "after": "65001 65001"},
        ]),
        "{out}"
    );

    // In: the attributes as they are kept, and how they came to be so.
    let path = agent.learns(THEIRS);
    assert_eq!(path["attributes"]["localPref"], 150, "{path}");
    let path = told(&agent).expect("it is here");
    let changes = json!([{"attribute": "localPref", "before": "100", "after": "150"}]);
    assert_eq!(path["filters"][0]["changes"], changes, "{path}");

    // Another import filter: what came is judged again.
    agent.reload(&config(&them, "{action: accept, set: {addCommunities: [blackhole]}}", EXPORT));
    until("the changed filter holds", SOON, || {
        let path = agent.route(THEIRS).unwrap_or_default();
        let attributes = &path["attributes"];
        met(
            attributes["communities"] == json!(["blackhole"]) && attributes["localPref"] == 100,
            || path.to_string(),
        )
    });
    agent.reload(&config(&them, "{action: reject, asPath: {last: [65002]}}", EXPORT));
    agent.forgets(THEIRS);
    let path = told(&agent).expect("it is kept, refused");
    assert_eq!(
        (&path["status"], &path["filters"][0]["action"]),
        (&json!("refused"), &json!("reject"))
    );
    agent.reload(&config(&them, import, EXPORT));
    assert_eq!(agent.learns(THEIRS)["attributes"]["localPref"], 150);

    // Another export filter: only the difference is told.
    agent.reload(&config(&them, import, "{name: out, rules: [{action: accept, set: {med: 5}}]}"));
    until("the other router has what the changed filter lets pass", SOON, || {
        let (one, two) = (other.route(OURS), other.route(OURS_TOO));
        let is_changed = one.as_ref().is_some_and(|one| {
            (one.med, one.as_path.len(), one.communities.len()) == (Some(5), 1, 0)
        });
        met(is_changed && two.is_some(), || format!("{one:?} {two:?}"))
    });
    let peer = agent.peer("other");
    assert_eq!((&peer["state"], &peer["flaps"]), (&json!("Established"), &since), "{peer}");
}
