//! `brindle policy` and `brindle explain` on manifests, without an agent.

use assert_cmd::Command;

/// What the command prints, what it says beside that, and its exit code.
fn shown(words: &[&str]) -> String {
    let output = brindle(words).output().unwrap();
    let (out, said) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{out}{said}-- exit {}", output.status.code().unwrap())
}

fn brindle(words: &[&str]) -> Command {
    let mut command = Command::cargo_bin("brindle").unwrap();
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/policy_cmd"));
    command.env("BRINDLE_SOCKET", "/nonexistent/sock").args(words);
    command
}

#[test]
fn policies_are_listed_and_shown() {
    insta::assert_snapshot!(shown(&["policy", "list", "-o", "wide", "--manifests", "shop"]), @r#"
    NAMESPACE  NAME        KIND           TIER     ORDER  FOR       DIRECTIONS  GOVERNS  RULES  STATE   PROBLEM
    shop       cart-out    NetworkPolicy  default  1000   app=cart  egress            2      2  active  -
    shop       db-clients  NetworkPolicy  default  1000   app=db    ingress           1      2  active  -
    -- exit 0
    "#);
    insta::assert_snapshot!(shown(&["policy", "show", "-n", "shop", "db-clients", "--manifests", "shop"]), @r#"
    NetworkPolicy shop/db-clients
      for      app=db
      tier     default, order 1000
      governs  1: shop/db-0
      ingress  rule 0  allow  from app=api, port TCP named pg
               rule 1  allow  from all pods in namespaces team=dba, any port
      egress   not governed
    -- exit 0
    "#);
    insta::assert_snapshot!(shown(&["policy", "for", "shop/cart-7d9", "--manifests", "shop"]), @r#"
    shop/cart-7d9 (10.244.1.14, n1)
      ingress  open: no policy governs it
      egress   closed but for what these allow:
        NetworkPolicy shop/cart-out
          rule 0  allow  to 10.244.0.0/16, any port
          rule 1  allow  to anyone, port UDP 53
    -- exit 0
    "#);
}

#[test]
fn the_matrix_says_who_may_reach_whom() {
    insta::assert_snapshot!(shown(&["policy", "matrix", "-n", "shop", "--manifests", "shop"]), @r#"
    FROM \ TO  api-0  cart-*  db-0  0.0.0.0/0
    api-0      .      .       ~     .
    cart-*     .      .       X     ~
    db-0       .      .       X     .
    0.0.0.0/0  .      .       X     .
    . allowed, ~ some ports (see -o json, or ask with --port), X denied
    -- exit 0
    "#);
    insta::assert_snapshot!(shown(&["policy", "matrix", "--port", "5432", "--manifests", "shop"]), @r#"
    FROM \ TO    dba/backup  shop/api-0  shop/cart-*  shop/db-0  0.0.0.0/0
    dba/backup   .           .           .            .          .
    shop/api-0   .           .           .            .          .
    shop/cart-*  .           .           .            X          X
    shop/db-0    .           .           .            X          .
    0.0.0.0/0    .           .           .            X          .
    . allowed, X denied
    -- exit 0
    "#);
}

#[test]
fn each_cell_names_what_decides_it() {
    let words = ["policy", "matrix", "-n", "shop", "--manifests", "shop", "-o", "json"];
    let output = brindle(&words).output().unwrap();
    let matrix: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let cell = |from: &str, to: &str| {
        let cells = matrix["cells"].as_array().unwrap();
        cells.iter().find(|cell| cell["from"] == from && cell["to"] == to).unwrap().clone()
    };
    let some = cell("api-0", "db-0");
    assert_eq!(some["open"], serde_json::json!(["5432/tcp"]), "{some}");
    assert_eq!(some["decidedBy"], "ingress: NetworkPolicy shop/db-clients rule 0");
    let denied = cell("cart-*", "db-0");
    assert_eq!(denied["verdict"], "denied");
    assert_eq!(denied["decidedBy"], "ingress: NetworkPolicy shop/db-clients (no rule)");
    let group = &matrix["from"][1];
    assert_eq!(group["pods"], serde_json::json!(["shop/cart-7d9", "shop/cart-8x2"]), "{group}");
}

#[test]
fn a_flow_is_explained_without_an_agent() {
    let explain = |to: &str| shown(&["explain", "shop/cart-7d9", to, "--manifests", "shop"]);
    insta::assert_snapshot!(explain("203.0.113.9:443"), @r#"
    DENIED  shop/cart-7d9 (10.244.1.14, n1)  ->  203.0.113.9  tcp/443
      egress   n1: selected by NetworkPolicy shop/cart-out; no rule matched -> isolated, denied  denied
               NetworkPolicy shop/cart-out
                 rule 0  to 10.244.0.0/16, any port  no: 203.0.113.9 is not in 10.244.0.0/16
                 rule 1  to anyone, port UDP 53      no: the protocol is TCP
      ingress  203.0.113.9 is no pod's address: no policy is about it            allowed
      nearest  would be allowed if it went to port UDP 53
    -- exit 0
    "#);
    insta::assert_snapshot!(explain("node/n1:icmp"), @r#"
    DENIED  shop/cart-7d9 (10.244.1.14, n1)  ->  node/n1 (10.0.0.1)  icmp
      egress   n1: selected by NetworkPolicy shop/cart-out; no rule matched -> isolated, denied  denied
               NetworkPolicy shop/cart-out
                 rule 0  to 10.244.0.0/16, any port  no: 10.0.0.1 is not in 10.244.0.0/16
                 rule 1  to anyone, port UDP 53      no: ICMP has no ports
      ingress  10.0.0.1 is an address of node n1: no policy is about it          allowed
      nearest  would be allowed if it went to port UDP 53
    -- exit 0
    "#);
    insta::assert_snapshot!(explain("shop/nobody"), @r#"
    error: there is no pod shop/nobody; there are in shop: shop/api-0, shop/cart-7d9, shop/cart-8x2, shop/db-0
    -- exit 1
    "#);
}

#[test]
fn expectations_that_hold_say_what_was_not_exercised() {
    insta::assert_snapshot!(shown(&["policy", "test", "shop-tests.yaml"]), @r#"
    never exercised  NetworkPolicy shop/cart-out egress rule 1  to anyone, port UDP 53
    never exercised  NetworkPolicy shop/db-clients ingress rule 1  from all pods in namespaces team=dba, any port
    shop-tests.yaml: passed, 5 checks, 0 failed, 2 of 4 rules exercised
    -- exit 0
    "#);
}

#[test]
fn expectations_that_do_not_hold_say_why() {
    insta::assert_snapshot!(shown(&["policy", "test", "wrong-tests.yaml"]), @r#"
    FAILED  wrong-tests.yaml:5  carts may reach the database: shop/cart-7d9 -> shop/db-0 5432/tcp: expected allowed, is denied
        egress: allowed: NetworkPolicy shop/cart-out rule 0 matches: allowed
          NetworkPolicy shop/cart-out rule 0  to 10.244.0.0/16, any port  yes
        ingress: denied: selected by NetworkPolicy shop/db-clients; no rule matched -> isolated, denied
          NetworkPolicy shop/db-clients rule 0  from app=api, port TCP named pg  no: cart-7d9 has app=cart
          NetworkPolicy shop/db-clients rule 1  from all pods in namespaces team=dba, any port  no: namespace shop has team=sales
        would be allowed if cart-7d9 had label app=api
    FAILED  wrong-tests.yaml:10  the wrong policy: shop/api-0 -> shop/db-0 5432/tcp: allowed as expected, but not by whom
        decided by NetworkPolicy shop/db-clients, not by NetworkPolicy shop/cart-out
        egress: allowed: no policy selects shop/api-0 for egress
        ingress: allowed: NetworkPolicy shop/db-clients rule 0 matches: allowed
          NetworkPolicy shop/db-clients rule 0  from app=api, port TCP named pg  yes
        would be denied without NetworkPolicy shop/db-clients rule 0 (ingress)
    FAILED  wrong-tests.yaml:16  nobody: shop/nobody -> shop/db-0: expected denied, cannot be told
        there is no pod shop/nobody; there are in shop: shop/api-0, shop/cart-7d9, shop/cart-8x2, shop/db-0
    never exercised  NetworkPolicy shop/cart-out egress rule 1  to anyone, port UDP 53
    never exercised  NetworkPolicy shop/db-clients ingress rule 1  from all pods in namespaces team=dba, any port
    wrong-tests.yaml: FAILED, 3 checks, 3 failed, 2 of 4 rules exercised
    -- exit 1
    "#);
    let output = brindle(&["policy", "test", "wrong-tests.yaml", "-o", "json"]).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!((&report["kind"], &report["passed"]), (&"PolicyTestReport".into(), &false.into()));
    assert_eq!(report["failures"][0]["got"], "denied");
    assert_eq!(report["failures"][2].get("got"), None, "nobody's flow cannot be judged");
}

#[test]
fn mistakes_are_named_once_with_file_and_line() {
    let words = ["policy", "lint", "--manifests", "mistakes.yaml", "-o", "jsonl"];
    let output = brindle(&words).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let found: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let cidr = "spec.ingress[0].from[0].ipBlock.cidr";
    let of_cidr: Vec<_> = found.iter().filter(|finding| finding["field"] == cidr).collect();
    let [finding] = of_cidr[..] else { panic!("once: {text}") };
    assert_eq!(finding["object"], "mistakes.yaml:11 NetworkPolicy/shop/broken");
    assert_eq!((&finding["level"], &finding["check"]), (&"error".into(), &"not-understood".into()));
    let nobody = |finding: &&serde_json::Value| finding["object"] == "NetworkPolicy shop/nobody";
    let nobody = found.iter().find(nobody).unwrap();
    assert_eq!(
        (&nobody["level"], &nobody["check"]),
        (&"warning".into(), &"governs-nothing".into())
    );
    let only_warnings = ["policy", "lint", "--manifests", "warnings.yaml"];
    assert_eq!(brindle(&only_warnings).output().unwrap().status.code(), Some(0));
    let strict = brindle(&only_warnings).arg("--strict").output().unwrap();
    assert_eq!(strict.status.code(), Some(1), "{strict:?}");
    insta::assert_snapshot!(shown(&["policy", "lint", "--strict", "--manifests", "shop"]), @r#"
    nothing looks like a mistake
    -- exit 0
    "#);
}

#[test]
fn without_node_objects_the_engine_still_judges() {
    let allowed = ["explain", "a", "b:80", "--exit-code", "--manifests", "pods-only.yaml"];
    let denied = ["explain", "b", "a:80", "--exit-code", "--manifests", "pods-only.yaml"];
    assert_eq!(brindle(&allowed).output().unwrap().status.code(), Some(0));
    assert_eq!(brindle(&denied).output().unwrap().status.code(), Some(1));
}

#[test]
fn wrong_usage_and_wrong_files_end_with_2() {
    for (words, says) in [
        (&["policy", "list", "--manifests", "nowhere"][..], "nowhere: No such file"),
        (&["policy", "list", "--manifests", "shop", "-w"], "--watch looks at an agent"),
        (&["policy", "test", "nowhere.yaml"], "nowhere.yaml: No such file"),
        (&["policy", "test", "mistakes.yaml"], "mistakes.yaml:"),
        (&["policy", "test", "no-manifests.yaml"], "no manifests"),
        (&["policy", "hits", "--manifests", "shop"], "only an agent knows"),
        (&["explain", "a/b/c", "d", "--manifests", "shop"], "is no end of a flow"),
    ] {
        let output = brindle(words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        assert!(said.contains(says), "{words:?} says {said:?}, not {says:?}");
    }
}

#[test]
fn manifests_may_be_named_more_than_once() {
    let words =
        ["policy", "list", "-o", "name", "--manifests", "shop", "--manifests", "warnings.yaml"];
    insta::assert_snapshot!(shown(&words), @r#"
    lab/nobody
    shop/cart-out
    shop/db-clients
    -- exit 0
    "#);
}
