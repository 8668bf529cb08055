//! What our network plug-in asks over the socket, and how it is refused.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use brindle::cni::protocol::{Attach, Attached, Detached, NodeAnswer};
use brindle::control::{Answer, CniAnswer, CniQuery, Failure};
use serde_json::{Value, json};

use super::agent::Agent;
use super::views;

/// What an agent answers that says what it was asked.
pub(crate) fn answer(query: &CniQuery) -> Result<Answer, Failure> {
    Ok(Answer::Cni(match query {
        CniQuery::Node => CniAnswer::Node(NodeAnswer {
            node: "n1".to_owned(),
            pod_cidrs: vec!["10.244.1.0/24".parse().unwrap()],
            mtu: 1450,
            problem: None,
        }),
        CniQuery::Attach(Attach { host_interface, wait_seconds, .. }) => {
            let problem = Some(format!("{host_interface} for {wait_seconds} s"));
            CniAnswer::Attached(Attached { programmed: false, problem })
        }
        CniQuery::Detach(detach) => {
            CniAnswer::Detached(Detached { known: detach.host_interface == "brn1" })
        }
    }))
}

/// Status and body of an answer.
fn call(agent: &Agent, method: &str, path: &str, body: &str) -> (u16, Value) {
    let mut stream = UnixStream::connect(&agent.socket).unwrap();
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    (status, serde_json::from_str(body).unwrap())
}

#[test]
fn the_plug_in_is_answered_and_what_is_wrong_is_said() {
    let agent = Agent::start(views::answer);
    let attach = json!({
        "pod": {"namespace": "shop", "name": "web", "uid": null},
        "hostInterface": "brn1",
        "addresses": ["10.244.1.2", "fd00::2"],
        "waitSeconds": 7,
    });
    let attach = attach.to_string();
    let long = format!("{{\"hostInterface\": \"{}\"}}", "x".repeat(20_000));
    for (method, path, body, status, want) in [
        (
            "GET",
            "/v1/cni/node",
            "",
            200,
            json!({"node": "n1", "podCIDRs": ["10.244.1.0/24"], "mtu": 1450, "problem": null}),
        ),
        (
            "POST",
            "/v1/cni/attach",
            &attach,
            200,
            json!({"programmed": false, "problem": "brn1 for 7 s"}),
        ),
        ("POST", "/v1/cni/detach", "{\"hostInterface\": \"brn1\"}", 200, json!({"known": true})),
        ("GET", "/v1/cni/attach", "", 405, json!("reads are GET")),
        ("POST", "/v1/cni/node", "{}", 405, json!("reads are GET")),
        ("POST", "/v1/cni/detach", "", 400, json!("the body: EOF")),
        ("POST", "/v1/cni/detach", "{\"hostInterface\": 7}", 400, json!("the body: invalid type")),
        ("POST", "/v1/cni/detach", &long, 400, json!("the body: Failed to buffer")),
        ("POST", "/v1/cni/attach", "{\"addresses\": [\"x\"]}", 400, json!("the body: ")),
    ] {
        let (got, answer) = call(&agent, method, path, body);
        assert_eq!(got, status, "{method} {path}: {answer}");
        match want {
            Value::String(want) => {
                let said = answer["message"].as_str().unwrap();
                assert!(said.starts_with(&want), "{method} {path}: {said}");
            }
            want => assert_eq!(answer, want, "{method} {path}"),
        }
    }
}
