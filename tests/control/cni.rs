//! What our network plug-in asks over the socket, and how it is refused.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;

use brindle::cni::protocol::{Attach, Attached, Detached, NodeAnswer};
use brindle::control::{Answer, CniAnswer, CniQuery, Failure, Query};
use serde_json::{Value, json};

use super::agent::{Agent, SomebodyElse};
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
fn call(socket: &Path, method: &str, path: &str, body: &str) -> (u16, Value) {
    let mut stream = UnixStream::connect(socket).unwrap();
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
        ("POST", "/v1/cni/detach", "[7]", 400, json!("the body: [0]: invalid type")),
        ("POST", "/v1/cni/detach", "{}", 400, json!("the body: missing field `hostInterface`")),
        (
            "POST",
            "/v1/cni/detach",
            "{\"hostInterface\": 7}",
            400,
            json!("the body: hostInterface: invalid type: integer `7`, expected a string"),
        ),
        ("POST", "/v1/cni/detach", &long, 400, json!("the body: it has more than 16384 octets")),
        ("POST", "/v1/cni/attach", &long, 400, json!("the body: it has more than 16384 octets")),
        (
            "POST",
            "/v1/cni/attach",
            "{\"addresses\": [\"10.0.0.1\", \"x\"]}",
            400,
            json!("the body: addresses[1]: invalid IP address syntax"),
        ),
        (
            "POST",
            "/v1/cni/attach",
            "{\"pod\": {\"namespace\": 7}}",
            400,
            json!("the body: pod.namespace: invalid type"),
        ),
    ] {
        let (got, answer) = call(&agent.socket, method, path, body);
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

#[test]
fn others_connect_no_pods() {
    /// Set where this test, started again by itself, asks as somebody else: the socket.
    const SOCKET: &str = "BRINDLE_TEST_SOCKET";
    let attach =
        "{\"pod\": null, \"hostInterface\": \"brn1\", \"addresses\": [], \"waitSeconds\": 1}";
    let long = "x".repeat(20_000);
    let requests = [
        ("GET", "/v1/cni/node", ""),
        ("POST", "/v1/cni/attach", attach),
        ("POST", "/v1/cni/attach", "{}"),
        ("POST", "/v1/cni/attach", &long),
        ("POST", "/v1/cni/detach", "{\"hostInterface\": \"brn1\"}"),
        ("POST", "/v1/cni/detach", ""),
        ("POST", "/v1/cni/detach", &long),
    ];
    if let Some(socket) = std::env::var_os(SOCKET) {
        for (method, path, body) in requests {
            let (status, answer) = call(Path::new(&socket), method, path, body);
            println!("\nanswer: {method} {path} {status} {}", answer["message"]);
        }
        return;
    }
    let (sender, asked) = mpsc::channel();
    let agent = Agent::start(move |query| {
        sender.send(query.clone()).unwrap();
        views::answer(query)
    });
    let program = std::env::current_exe().unwrap();
    let Some(somebody) = SomebodyElse::new("others_connect_no_pods", &agent, &program) else {
        return;
    };
    let output = somebody
        .command()
        .args(["--exact", "cni::others_connect_no_pods", "--nocapture"])
        .env(SOCKET, &agent.socket)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let answers: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("answer: ")).collect();
    let refused = "403 \"only root may change things; reading needs no more than access to the \
                   socket\"";
    let want = requests.map(|(method, path, _)| match method {
        "GET" => format!("{method} {path} 200 null"),
        _ => format!("{method} {path} {refused}"),
    });
    assert_eq!(answers, want, "{output:?}");
    assert_eq!(asked.try_iter().collect::<Vec<_>>(), [Query::Cni(CniQuery::Node)]);
}
