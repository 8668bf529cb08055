//! `brindle lab` with policies, by the words that a user types, and the files of the demo.

use std::path::Path;
use std::process::Command;

use integration_tests::{TestLab, agent, skip};

const PROGRAMS: [&str; 3] = ["ip", "iptables", "ipset"];

fn demo(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    root.join("scripts/demo-shop").join(name).display().to_string()
}

#[test]
fn the_demo_closes_a_database_and_opens_it_to_a_label() {
    if !skip::can_run("the demo of policies", &PROGRAMS) {
        return;
    }
    let cluster = std::fs::read_to_string(demo("cluster.yaml")).expect("a file of the demo");
    let lab = TestLab::up("policy_demo", &["--nodes", "2"], &cluster);
    let expect = |file: &str, code: i32| {
        let output = lab.run(&["test", "--expect", &demo(file)]);
        let text = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{file}:\n{text}{said}");
        text.into_owned()
    };
    expect("open.yaml", 0);
    let text = expect("closed.yaml", 1);
    assert!(text.contains("FAIL  shop/cart  shop/db-0"), "{text}");
    lab.good(&["apply", "-f", &demo("db-clients.yaml")]);
    let text = expect("closed.yaml", 0);
    assert!(text.contains("denied    time-out"), "{text}");
    expect("open.yaml", 1);
    let explained = lab.exec("n2", &["brindle", "explain", "shop/cart", "shop/db-0:5432"]);
    for part in ["DENIED", "NetworkPolicy shop/db-clients", "role=db-client", "DROP"] {
        assert!(explained.contains(part), "{part} is missing:\n{explained}");
    }
    let flows = lab.exec("n2", &["brindle", "flows", "--denied"]);
    assert!(flows.contains("NetworkPolicy shop/db-clients (no rule)"), "{flows}");
    lab.label("pod", "shop/cart", &["role=db-client"]);
    expect("cart-is-client.yaml", 0);
}

#[test]
fn the_demos_expectations_hold_without_any_lab() {
    for (file, code) in [("open.yaml", 0), ("closed.yaml", 0)] {
        let mut command = Command::new(agent::binary());
        let output = command.args(["policy", "test", &demo(file)]).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{file}:\n{text}");
    }
}
