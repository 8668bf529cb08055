//! What an agent of the shop's node n3 says about policies, and how it is shown.

use std::path::Path;

use brindle::cluster::{self, files};
use brindle::control::view::{
    DeniedFlow, Direction, FlowEnd, FlowOutcome, KernelVerdict, Outcome, PolicyStatus, RouteTaken,
};
use brindle::control::{
    Answer, Failure, FlowQuestion, Page, PageRequest, PolicyQuery, Query, view,
};
use brindle::enforce::EnforceStatus;
use brindle::flow::Destination;
use brindle::policies::{self, Here, Known};
use brindle_policy::model::HostSettings;
use brindle_policy::{Change, PodKey, World, ingest};

use crate::agent::Agent;
use crate::views;

pub(crate) fn status() -> PolicyStatus {
    PolicyStatus {
        backend: Some("iptables-nft".to_owned()),
        ready: true,
        endpoints: 31,
        programmed: 31,
        pending: vec![],
        apply_p99_seconds: Some(0.084),
        repairs: 1,
        last_repair: Some(views::time(2 * 86_400)),
        last_repair_seconds: Some(2 * 86_400),
        last_repair_reason: None,
        unavailable: None,
        failing: None,
        failing_seconds: None,
        broken: vec![],
        host_endpoints: 0,
    }
}

fn shop() -> World {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy_cmd/shop");
    let mut world = World::default();
    for change in files::read_once(&folder).0 {
        if let cluster::Change::Policy(change) = change {
            world.apply(change);
        }
    }
    world
}

/// The real answers, with what a kernel would say put in.
pub(crate) fn answer(query: &PolicyQuery) -> Result<Answer, Failure> {
    if let PolicyQuery::Flows(_, page) = query {
        let is_new = page.after.as_deref() != Some("8");
        let items = if is_new { flows() } else { vec![] };
        return Ok(Answer::Flows(Page { items, next: None }));
    }
    let pending = PodKey { namespace: "shop".into(), name: "cart-8x2".into() };
    let status = EnforceStatus { ready: true, pending: vec![pending], ..EnforceStatus::default() };
    let here =
        Here { node: "n3", status: &status, installed: &[], hosts: &HostSettings::default() };
    let mut answer = policies::answer(&Known { world: &shop(), here: Some(here) }, query)?;
    match &mut answer {
        Answer::Explanation(explained) => {
            explained.route = Some(RouteTaken {
                node: "n3".to_owned(),
                text: "10.244.3.8/32 dev veth8, by kernel".to_owned(),
                found: true,
            });
            let is_icmp = explained.protocol == "icmp";
            explained.ingress.kernel = Some(KernelVerdict {
                verdict: Some(Outcome::Denied),
                chain: "BRN-I-4F1C9A2E".to_owned(),
                rule: Some(3),
                target: "DROP".to_owned(),
                packets: Some(1204),
                bytes: Some(72_240),
            });
            if is_icmp {
                explained.disagreements = vec!["ingress: the policies say \x1b[2J".to_owned()];
            }
        }
        Answer::Hits(hits) => {
            for (hits, packets) in hits.iter_mut().zip([12_345, 0]) {
                (hits.packets, hits.bytes, hits.kernel_rules) = (packets, packets * 60, 1);
            }
        }
        Answer::Endpoints(endpoints) => {
            for endpoint in endpoints {
                endpoint.interface = Some("veth8".to_owned());
                (endpoint.ingress_chain, endpoint.egress_chain) =
                    ("BRN-I-X".to_owned(), "BRN-E-X".to_owned());
            }
        }
        _ => {}
    }
    Ok(answer)
}

fn flows() -> Vec<DeniedFlow> {
    let end = |name: Option<&str>, address: &str| FlowEnd {
        name: name.map(str::to_owned),
        address: address.parse().unwrap(),
        node: None,
    };
    let first = DeniedFlow {
        sequence: 7,
        outcome: FlowOutcome::Denied,
        at: views::time(1),
        direction: Direction::Ingress,
        source: end(Some("shop/cart-7d9"), "10.244.1.14"),
        source_port: Some(41_822),
        destination: end(Some("shop/db-0"), "10.244.3.8"),
        destination_port: Some(5432),
        protocol: "tcp SYN".to_owned(),
        host_endpoint: None,
        policy: Some("NetworkPolicy shop/db-clients".to_owned()),
        rule: None,
        reason: "no rule matched".to_owned(),
        count: 3,
    };
    let second = DeniedFlow {
        sequence: 8,
        at: views::time(0),
        direction: Direction::Egress,
        source: end(None, "10.244.3.77"),
        source_port: None,
        destination: end(None, "fd00::9"),
        destination_port: Some(80),
        policy: None,
        reason: "no pod is known to have the address".to_owned(),
        count: 1,
        ..first.clone()
    };
    vec![first, second]
}

fn flow(to: &str) -> FlowQuestion {
    let to: Destination = to.parse().unwrap();
    FlowQuestion {
        source: "shop/cart-7d9".parse().unwrap(),
        destination: to.end,
        service: to.service,
        family: None,
    }
}

/// One question of each sort that is answered.
pub(crate) fn questions() -> Vec<PolicyQuery> {
    vec![
        PolicyQuery::List(None, PageRequest::first()),
        PolicyQuery::Show("shop/db-clients".to_owned()),
        PolicyQuery::For("shop/db-0".to_owned()),
        PolicyQuery::Matrix { namespace: Some("shop".to_owned()), service: None },
        PolicyQuery::Lint,
        PolicyQuery::Hits,
        PolicyQuery::Endpoints(None),
        PolicyQuery::Explain(flow("shop/db-0:5432")),
        PolicyQuery::Flows(None, PageRequest::first()),
    ]
}

/// Questions in all their variety; names may be anything.
pub(crate) fn queries(names: &[&str], page: &PageRequest) -> Vec<PolicyQuery> {
    let mut queries = questions();
    queries.extend(["node/n3:icmp", "[fd00::1]:53/udp", "10.0.0.1:tcp", "web"].map(|to| {
        PolicyQuery::Explain(FlowQuestion { family: Some(view::Family::Ipv6), ..flow(to) })
    }));
    for name in names.iter().map(|name| (*name).to_owned()) {
        queries.extend([
            PolicyQuery::List(Some(name.clone()), page.clone()),
            PolicyQuery::Show(format!("shop/{name}")),
            PolicyQuery::For(format!("{name}/{name}")),
            PolicyQuery::Matrix { namespace: Some(name.clone()), service: "53/udp".parse().ok() },
            PolicyQuery::Endpoints(Some(name.clone())),
            PolicyQuery::Flows(Some(name), page.clone()),
        ]);
    }
    queries
}

/// What the command prints, and its exit code.
fn shown(words: &[&str]) -> String {
    let (text, code) = Agent::start(views::answer).run(words);
    format!("{text}-- exit {code}")
}

#[test]
fn explain_shows_the_way_the_rules_and_the_kernels_counters() {
    insta::assert_snapshot!(shown(&["explain", "shop/cart-7d9", "shop/db-0:5432"]), @r#"
    DENIED  shop/cart-7d9 (10.244.1.14, n1)  ->  shop/db-0 (10.244.3.8, n3)  tcp/5432
      route    n3: 10.244.3.8/32 dev veth8, by kernel                            ok
      egress   n1: NetworkPolicy shop/cart-out rule 0 matches: allowed           allowed
               NetworkPolicy shop/cart-out
                 rule 0  to 10.244.0.0/16, any port  yes
      ingress  n3: selected by NetworkPolicy shop/db-clients; no rule matched -> isolated, denied  denied
               NetworkPolicy shop/db-clients
                 rule 0  from app=api, port TCP named pg                 no: cart-7d9 has app=cart
                 rule 1  from all pods in namespaces team=dba, any port  no: namespace shop has team=sales
               chain BRN-I-4F1C9A2E  rule 3 DROP  1204 packets
      nearest  would be allowed if cart-7d9 had label app=api
    -- exit 0
    "#);
}

#[test]
fn a_disagreement_with_the_kernel_is_an_error_and_steers_no_terminal() {
    let text = shown(&["explain", "shop/cart-7d9", "shop/db-0:icmp"]);
    let error = "  ERROR    ingress: the policies say \\u{1b}[2J\n-- exit 1";
    assert!(text.ends_with(error), "{text}");
}

#[test]
fn endpoints_say_what_they_wait_for() {
    insta::assert_snapshot!(shown(&["endpoints"]), @r#"
    POD            ADDRESSES    INTERFACE  STATE       INGRESS  EGRESS  PROBLEM
    shop/cart-8x2  10.244.3.15  veth8      pending           0       1  closed until its chains are written
    shop/db-0      10.244.3.8   veth8      programmed        1       0  -
    -- exit 1
    "#);
    let (_, code) = Agent::start(views::answer).run(&["endpoints", "shop/db-0", "-o", "wide"]);
    assert_eq!(code, 0, "this one is programmed");
}

#[test]
fn rules_that_were_never_hit_are_marked() {
    insta::assert_snapshot!(shown(&["policy", "hits"]), @r#"
    POLICY                         DIRECTION  RULE  PACKETS  BYTES  NOTE                  MATCHES
    NetworkPolicy shop/cart-out    egress        0      12k   740k  -                     to 10.244.0.0/16, any port
    NetworkPolicy shop/cart-out    egress        1        0      0  never hit             to anyone, port UDP 53
    NetworkPolicy shop/db-clients  ingress       0        0      0  matches nothing here  from app=api, port TCP named pg
    NetworkPolicy shop/db-clients  ingress       1        0      0  matches nothing here  from all pods in namespaces team=dba, any port
    -- exit 0
    "#);
}

#[test]
fn the_matrix_marks_pods_that_are_not_programmed() {
    insta::assert_snapshot!(shown(&["policy", "matrix", "-n", "shop"]), @r#"
    FROM \ TO  api-0  cart-*  db-0  0.0.0.0/0
    api-0      .      ?       ~     .
    cart-*     ?      ?       ?     ?
    db-0       .      ?       X     .
    0.0.0.0/0  .      ?       X     .
    . allowed, ~ some ports (see -o json, or ask with --port), X denied, ? not programmed yet
    -- exit 0
    "#);
}

#[test]
fn denied_flows_name_pods_and_policies() {
    insta::assert_snapshot!(shown(&["flows", "--denied"]), @r#"
    TIME                      VERDICT  SIDE  FROM                 TO              PROTOCOL  BY                                       COUNT
    2026-01-02T03:04:04.000Z  denied   in    shop/cart-7d9:41822  shop/db-0:5432  tcp SYN   NetworkPolicy shop/db-clients (no rule)     x3
    2026-01-02T03:04:05.000Z  denied   out   10.244.3.77          [fd00::9]:80    tcp SYN   no pod is known to have the address         x1
    -- exit 0
    "#);
    insta::assert_snapshot!(shown(&["flows", "-o", "name"]), @r#"
    7
    8
    -- exit 0
    "#);
}

#[test]
fn following_flows_asks_for_those_that_are_new_and_ends_when_nobody_answers_at_first() {
    let (sender, asked) = std::sync::mpsc::channel();
    let agent = Agent::start(move |query| {
        if let Query::Policy(PolicyQuery::Flows(pod, page)) = &query {
            let _ = sender.send((pod.clone(), page.after.clone()));
        }
        views::answer(query)
    });
    let mut following = std::process::Command::new(assert_cmd::cargo::cargo_bin("brindle"))
        .args(["flows", "-f", "--pod", "db-0", "--interval", "10ms", "-o", "json"])
        .env("BRINDLE_SOCKET", &agent.socket)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let wait = std::time::Duration::from_secs(10);
    let pod = Some("default/db-0".to_owned());
    assert_eq!(asked.recv_timeout(wait), Ok((pod.clone(), None)));
    assert_eq!(asked.recv_timeout(wait), Ok((pod, Some("8".to_owned()))));
    following.kill().unwrap();
    let output = following.wait_with_output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let told: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told.len(), 2, "each once: {lines}");
    assert_eq!((&told[0]["kind"], &told[1]["sequence"]), (&"DeniedFlow".into(), &8.into()));
    drop(agent);
    let nobody = ["flows", "-f", "--socket", "/nonexistent/sock"];
    assert_eq!(crate::agent::brindle(&nobody).output().unwrap().status.code(), Some(3));
}

#[test]
fn exit_codes_of_policy_commands() {
    let agent = Agent::start(views::answer);
    for (words, want, says) in [
        (&["explain", "shop/cart-7d9", "shop/db-0:5432"][..], 0, ""),
        (&["explain", "shop/cart-7d9", "shop/db-0:5432", "--exit-code"], 1, ""),
        (&["explain", "shop/cart-7d9", "shop/api-0", "--exit-code"], 0, ""),
        (&["explain", "shop/cart-7d9", "shop/nobody"], 1, "there is no pod shop/nobody"),
        (&["explain", "shop/cart-7d9", "fd00::7:80x"], 2, "[fd00::7]:80"),
        (&["explain", "10.0.0.300", "shop/db-0"], 2, "is no end of a flow"),
        (&["explain", "shop/cart-7d9"], 2, "DST"),
        (&["policy", "show", "nobody"], 1, "there is no policy nobody"),
        // In one namespace alone.
        (&["policy", "show", "cart-out"], 0, ""),
        (&["policy", "show", "db-clients", "-n", "shop"], 0, ""),
        (&["policy", "for", "shop/db-0"], 0, ""),
        (&["policy", "list", "-n", "nowhere"], 1, "there is no namespace nowhere"),
        (&["policy", "matrix", "--port", "http"], 2, "is no port"),
        (&["policy", "lint"], 0, "nothing looks like a mistake"),
        (&["policy", "hits"], 0, ""),
        (&["policy"], 2, "list"),
        (&["endpoints"], 1, ""),
        (&["endpoints", "shop/api-0"], 1, "it is on node n1"),
        (&["flows", "--pod", ""], 2, "a value is required"),
    ] {
        let output = agent.brindle(words).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(want), "{words:?}: {complaint}");
        assert!(complaint.contains(says), "{words:?} says {complaint:?}, not {says:?}");
    }
}

#[test]
fn an_agent_without_policy_says_so() {
    let off = |_| Some(Err(Failure::Conflict("policies are not enforced".to_owned())));
    let output = Agent::start(off).brindle(&["policy", "list"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

/// The shop, with policies of several kinds and tiers besides.
fn tiers() -> World {
    let mut world = shop();
    let calico = |yaml: &str| {
        let object = serde_yaml::from_str(yaml).unwrap();
        ingest::network_policy_v3(&object).unwrap()
    };
    let global = |yaml: &str| {
        let object = serde_yaml::from_str(yaml).unwrap();
        ingest::global_network_policy(&object).unwrap()
    };
    let staged = |yaml: &str| {
        let object = serde_yaml::from_str(yaml).unwrap();
        ingest::staged_global_network_policy(&object).unwrap()
    };
    let cluster = |yaml: &str| {
        let object = serde_yaml::from_str(yaml).unwrap();
        ingest::cluster_network_policy(&object).unwrap()
    };
    for policy in [
        calico(
            "{metadata: {name: db-clients, namespace: shop}, spec: {order: 2000, \
             selector: app == 'db', ingress: [{action: Log}, {action: Allow, protocol: ICMP, icmp: {type: 8}}]}}",
        ),
        global("{metadata: {name: lost}, spec: {tier: nowhere, ingress: [{action: Deny}]}}"),
        staged(
            "{metadata: {name: offices}, spec: {order: 5, selector: app == 'db', \
             ingress: [{action: Allow, source: {selector: app == 'cart'}}]}}",
        ),
        cluster(
            "{metadata: {name: guard}, spec: {tier: Admin, priority: 1, subject: {namespaces: {}}, \
             ingress: [{action: Deny, from: [{namespaces: {matchLabels: {team: none}}}]}, \
             {action: Pass, from: [{namespaces: {}}]}]}}",
        ),
    ] {
        world.apply(Change::PolicyApplied(policy.into()));
    }
    world
}

/// What the command prints of [`tiers`], and its exit code.
fn shown_of_tiers(words: &[&str]) -> String {
    let answer = |query: Query| match query {
        Query::Policy(query) => {
            Some(policies::answer(&Known { world: &tiers(), here: None }, &query))
        }
        other => views::answer(other),
    };
    let (text, code) = Agent::start(answer).run(words);
    format!("{text}-- exit {code}")
}

#[test]
fn policies_of_all_kinds_are_listed_with_their_state() {
    insta::assert_snapshot!(shown_of_tiers(&["policy", "list"]), @r#"
    NAMESPACE  NAME        KIND                       TIER        ORDER  FOR                         GOVERNS  RULES  STATE         PROBLEM
    -          guard       ClusterNetworkPolicy       kube-admin  1      all pods in all namespaces        5      2  active        -
    -          lost        GlobalNetworkPolicy        nowhere     -      all pods and hosts                5      1  unknown tier  -
    -          offices     StagedGlobalNetworkPolicy  default     5      pods and hosts with app=db        1      1  staged        -
    shop       cart-out    NetworkPolicy              default     1000   app=cart                          2      2  active        -
    shop       db-clients  NetworkPolicy              default     1000   app=db                            1      2  active        -
    shop       db-clients  CalicoNetworkPolicy        default     2000   app=db                            1      2  active        -
    -- exit 0
    "#);
}

#[test]
fn a_policy_is_found_by_name_and_by_kind() {
    let show = PolicyQuery::Show("shop/db-clients".to_owned());
    let ambiguous = policies::answer(&Known { world: &tiers(), here: None }, &show).unwrap_err();
    assert!(
        ambiguous
            .to_string()
            .contains("NetworkPolicy shop/db-clients, CalicoNetworkPolicy shop/db-clients"),
        "{ambiguous}"
    );
    for words in [
        &["policy", "show", "CalicoNetworkPolicy", "shop/db-clients"][..],
        &["policy", "show", "CalicoNetworkPolicy/shop/db-clients"],
        &["policy", "show", "-n", "shop", "caliconetworkpolicies", "db-clients"],
    ] {
        let text = shown_of_tiers(words);
        assert!(text.starts_with("CalicoNetworkPolicy shop/db-clients\n"), "{words:?}: {text}");
    }
    for words in
        [&["policy", "show", "guard"][..], &["policy", "show", "clusternetworkpolicy/guard"]]
    {
        let text = shown_of_tiers(words);
        assert!(text.starts_with("ClusterNetworkPolicy guard\n"), "{words:?}: {text}");
    }
}

#[test]
fn tiers_and_staged_policies_of_a_pod_are_shown_in_order() {
    insta::assert_snapshot!(shown_of_tiers(&["policy", "for", "shop/db-0"]), @r#"
    shop/db-0 (10.244.3.8, n3)
      ingress  the first of these rules that matches decides:
        ClusterNetworkPolicy guard (tier kube-admin)
          rule 0  deny  from all pods in namespaces team=none, any port
          rule 1  pass  from all pods in all namespaces, any port
        NetworkPolicy shop/db-clients (tier default)
          rule 0  allow  from app=api, port TCP named pg
          rule 1  allow  from all pods in namespaces team=dba, any port
        CalicoNetworkPolicy shop/db-clients (tier default)
          rule 0  log  from anyone, any port
          rule 1  allow  from anyone, ICMP type 8
      egress   open: no policy governs it
      staged   StagedGlobalNetworkPolicy offices: reported, not enforced
    -- exit 0
    "#);
}

#[test]
fn explain_shows_tiers_and_what_staged_policies_would_change_c39() {
    insta::assert_snapshot!(shown_of_tiers(&["explain", "shop/cart-7d9", "shop/db-0:5432"]), @r#"
    DENIED  shop/cart-7d9 (10.244.1.14, n1)  ->  shop/db-0 (10.244.3.8, n3)  tcp/5432
      egress   n1: NetworkPolicy shop/cart-out rule 0 matches: allowed           allowed
               NetworkPolicy shop/cart-out
                 rule 0  to 10.244.0.0/16, any port  yes
      ingress  n3: selected by NetworkPolicy shop/db-clients, CalicoNetworkPolicy shop/db-clients; no rule decided -> denied at the end of tier default  denied
               ClusterNetworkPolicy guard (tier kube-admin)
                 rule 0  deny from all pods in namespaces team=none, any port  no: namespace shop has team=sales
                 rule 1  pass from all pods in all namespaces, any port        yes
                 passed on: leaves tier kube-admin
               NetworkPolicy shop/db-clients (tier default)
                 rule 0  from app=api, port TCP named pg                 no: cart-7d9 has app=cart
                 rule 1  from all pods in namespaces team=dba, any port  no: namespace shop has team=sales
               CalicoNetworkPolicy shop/db-clients (tier default)
                 rule 0  log from anyone, any port  yes
                 rule 1  from anyone, ICMP type 8   no: the protocol is TCP
                 no rule decides: denied at the end of tier default
      staged   would be ALLOWED by NetworkPolicy shop/cart-out rule 0 (egress) and by StagedGlobalNetworkPolicy offices rule 0 (ingress)
      nearest  would be allowed if cart-7d9 had label app=api
    -- exit 0
    "#);
    let json = shown_of_tiers(&["explain", "shop/cart-7d9", "shop/db-0:5432", "-o", "json"]);
    let json = json.trim_end_matches("-- exit 0");
    let explained: serde_json::Value = serde_json::from_str(json).unwrap();
    let staged = &explained["staged"];
    assert_eq!(staged["verdict"], "allowed", "{staged}");
    assert_eq!(staged["isChange"], true, "{staged}");
    assert_eq!(staged["policies"], serde_json::json!(["StagedGlobalNetworkPolicy offices"]));
    assert_eq!(explained["ingress"]["tier"], "default");
    assert_eq!(explained["ingress"]["policies"][0]["tier"], "kube-admin");
}
