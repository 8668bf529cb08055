//! The socket's file, who may do what, and clients that misbehave.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use brindle::control::client::{AskError, Client};
use brindle::control::server::{BindError, Limits, bind};
use brindle::control::wire::{Code, ErrorBody};
use brindle::control::{Answer, PageRequest, Query, RouteFilter};

use crate::agent::{Agent, SomebodyElse, until};
use crate::{policies, views};

/// What the server says to a raw request.
fn raw(agent: &Agent, request: &str) -> String {
    let mut stream = UnixStream::connect(&agent.socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

#[test]
fn the_file_is_closed_to_others_and_goes_with_the_agent() {
    let top = tempfile::tempdir().unwrap();
    let agent = Agent::at(top.path().join("run/brindle.sock"), Limits::default(), views::answer);
    let there = fs::metadata(&agent.socket).unwrap();
    assert!(there.file_type().is_socket());
    let group = nix::unistd::Group::from_name("brindle").unwrap();
    let want = if group.is_some() { 0o660 } else { 0o600 };
    assert_eq!(there.mode() & 0o7777, want, "{:o}", there.mode());
    let folder = agent.socket.parent().unwrap().to_owned();
    assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o7777, 0o755);
    let names: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names, ["brindle.sock"], "nothing is left beside it");
    drop(agent);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "the socket is gone");
}

#[test]
fn a_socket_that_a_dead_agent_left_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("brindle.sock");
    drop(UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    let agent = Agent::at(socket, Limits::default(), views::answer);
    assert_eq!(agent.run(&["status", "-o", "name"]), ("n2\n".to_owned(), 0));
}

#[tokio::test]
async fn a_socket_where_somebody_answers_is_left_alone() {
    let agent = Agent::start(views::answer);
    let refused = bind(&agent.socket).unwrap_err();
    assert!(matches!(refused, BindError::InUse(_)), "{refused}");
    assert!(refused.to_string().contains("an agent answers there already"), "{refused}");
    let client = Client::new(&agent.socket, Duration::from_secs(5));
    assert!(client.ask(&Query::Status).await.is_ok(), "the first agent is as it was");
}

#[tokio::test]
async fn what_is_no_socket_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("brindle.sock");
    fs::write(&file, "precious").unwrap();
    let refused = bind(&file).unwrap_err();
    assert!(matches!(refused, BindError::NotASocket(_)), "{refused}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");

    let long = folder.path().join("x".repeat(120));
    assert!(matches!(bind(&long).unwrap_err(), BindError::TooLong(_)));
    let inside_a_file = bind(&file.join("sock")).unwrap_err();
    assert!(matches!(inside_a_file, BindError::Io { .. }), "{inside_a_file}");
}

#[tokio::test]
async fn an_agent_that_was_replaced_leaves_the_new_ones_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("brindle.sock");
    let first = bind(&socket).unwrap();
    fs::remove_file(&socket).unwrap();
    let second = bind(&socket).unwrap();
    drop(first);
    assert!(socket.exists());
    drop(second);
    assert!(!socket.exists());
}

#[test]
fn others_may_look_but_not_change() {
    let agent = Agent::start(views::answer);
    let program = assert_cmd::cargo::cargo_bin!("brindle");
    let name = "others_may_look_but_not_change";
    let Some(somebody) = SomebodyElse::new(name, &agent, program) else { return };
    let as_nobody = |words: &[&str]| {
        let mut command = somebody.command();
        let output = command.args(words).arg("--socket").arg(&agent.socket).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    assert_eq!(as_nobody(&["peers"]), (Some(0), String::new()));
    for words in [
        &["peers", "reset", "tor-a"][..],
        &["peers", "enable", "tor-a"],
        &["peers", "disable", "tor-a"],
    ] {
        let (code, said) = as_nobody(words);
        assert_eq!(code, Some(4), "{words:?}: {said}");
        assert!(said.contains("only root may change things"), "{words:?}: {said}");
    }
    fs::set_permissions(&agent.socket, fs::Permissions::from_mode(0o600)).unwrap();
    let (code, said) = as_nobody(&["peers"]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("join the group"), "{said}");
}

#[test]
fn an_agent_that_does_not_answer_is_not_waited_for() {
    let limits = Limits { answer: Duration::from_millis(100), ..Limits::default() };
    let agent = Agent::with_limits(limits, |_| None);
    let output = agent.brindle(&["status"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("did not answer within 0.1 s"), "{said}");
}

#[test]
fn a_command_does_not_wait_longer_than_it_was_told() {
    let agent = Agent::start(|_| None);
    let started = Instant::now();
    let output = agent.brindle(&["status", "--timeout", "100ms"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("--timeout"), "{said}");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[test]
fn clients_that_hang_cost_nothing_and_are_cut_off() {
    let limits = Limits {
        head: Duration::from_millis(300),
        connection: Duration::from_millis(600),
        // Whoever runs the test.
        connections: 4,
        root_connections: 4,
        ..Limits::default()
    };
    let agent = Agent::with_limits(limits, views::answer);
    // As many as there may be: silent ones, and ones that stop amid the head.
    let mut hanging: Vec<UnixStream> = (0..4)
        .map(|number| {
            let mut stream = UnixStream::connect(&agent.socket).unwrap();
            if number % 2 == 0 {
                stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n").unwrap();
            }
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            stream
        })
        .collect();
    let (_, code) = agent.run(&["status"]);
    assert_eq!(code, 3, "too many connections are closed at once");
    for stream in &mut hanging {
        // To the end: the server closes, with or without a word.
        let _ = stream.read_to_end(&mut Vec::new()).map_err(|error| {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "the server lets it hang");
        });
    }
    until("the server answers again", || agent.run(&["status"]).1 == 0);
}

#[test]
fn requests_that_make_no_sense_are_told_so_in_json() {
    let agent = Agent::start(views::answer);
    let long = format!("/v1/peers/x/disable?message={}", "x".repeat(256));
    for (method, path, status, says) in [
        ("GET", "/", 404, "no such address"),
        ("GET", "/v1/peers/", 404, "no such address"),
        ("POST", "/v1/status", 405, "reads are GET"),
        ("GET", "/v1/config/reload", 405, "changes are POST"),
        ("GET", "/v1/peers/x/reset", 405, "changes are POST"),
        ("GET", "/v1/routes?prefix=10.0.0.1/8", 400, "host bits"),
        ("GET", "/v1/routes?address=x", 400, "not an IP address"),
        ("GET", "/v1/routes?prefix=::/0&family=ipv6", 400, "only one"),
        ("GET", "/v1/routes?famly=ipv6", 400, "famly"),
        ("GET", "/v1/routes?limit=-1", 400, "limit"),
        ("GET", "/v1/status?limit=1", 400, "means nothing"),
        ("POST", &long, 400, "256 octets"),
    ] {
        let response = raw(&agent, &format!("{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n"));
        let head = format!("HTTP/1.1 {status} ");
        assert!(response.starts_with(&head), "{method} {path}: {response}");
        let body = response.split("\r\n\r\n").nth(1).unwrap();
        let error: ErrorBody = serde_json::from_str(body).unwrap();
        assert!(error.message.contains(says), "{method} {path}: {}", error.message);
    }
    let response = raw(&agent, "\x16\x03\x01 not http\r\n\r\n");
    assert!(response.starts_with("HTTP/1.1 400"), "{response}");
    let huge = format!("GET /v1/status HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(100_000));
    let mut stream = UnixStream::connect(&agent.socket).unwrap();
    let _ = stream.write_all(huge.as_bytes());
    assert_eq!(agent.run(&["status"]).1, 0, "and the server lives on");
}

#[test]
fn requests_are_counted_by_the_pattern_of_their_address() {
    let agent = Agent::start(views::answer);
    for (request, times) in [
        ("GET /v1/peers/tor-a", 2),
        ("GET /v1/peers/a%2Fb", 1),
        ("POST /v1/peers/tor-a", 1),
        ("GET /v1/routes?famly=x", 1),
        ("GET /v1/cni/node", 1),
        ("GET /v1/tor-a", 1),
        ("GET /tor-b", 1),
    ] {
        for _ in 0..times {
            raw(&agent, &format!("{request} HTTP/1.1\r\nhost: x\r\n\r\n"));
        }
    }
    let calls = agent.calls.all();
    let counted: Vec<_> = calls.iter().map(|(path, calls)| (&**path, &calls.codes)).collect();
    assert_eq!(
        counted,
        [
            ("/v1/cni/node", &[(200, 1)].into()),
            ("/v1/peers/{peer}", &[(200, 2), (404, 1), (405, 1)].into()),
            ("/v1/routes", &[(400, 1)].into()),
            ("unknown", &[(404, 2)].into()),
        ]
    );
    for (path, calls) in &calls {
        assert_eq!(calls.timings.count(), calls.codes.values().sum::<u64>(), "{path}");
    }
}

#[tokio::test]
async fn every_question_reaches_the_agent_unchanged() {
    let page = PageRequest { after: Some("10.0.0.0/8|tor a&b=c".to_owned()), limit: 7 };
    let names = ["tor-a", "fd00::9", "a/b", "%41", "x y+z", ".", "ü", "in"];
    let mut queries = vec![
        Query::Status,
        Query::Peers,
        Query::ConfigShow,
        Query::Reload,
        Query::DrainState,
        Query::Drain { wait: None, message: None },
        Query::Drain { wait: Some(Duration::from_millis(1500)), message: Some("a&b".to_owned()) },
        Query::Undrain,
        Query::Routes(RouteFilter::All(None), PageRequest::first()),
        Query::Routes(RouteFilter::All(Some(brindle_bgp::net::Family::Ipv6Unicast)), page.clone()),
        Query::Routes(RouteFilter::Exact("fd00::/8".parse().unwrap()), page.clone()),
        Query::Routes(RouteFilter::Longest("10.1.2.3".parse().unwrap()), page.clone()),
        Query::RouteChanges { filter: RouteFilter::All(None), after: None, wait: Duration::ZERO },
        Query::RouteChanges {
            filter: RouteFilter::Longest("fd00::1".parse().unwrap()),
            after: Some("7-12&x".to_owned()),
            wait: Duration::from_millis(1500),
        },
        Query::Dump(None, PageRequest::first()),
        Query::Dump(Some(brindle_bgp::net::Family::Ipv4Unicast), page.clone()),
        Query::Rejected(None, page.clone()),
        Query::Kernel { only_diff: false, page: page.clone() },
        Query::Kernel { only_diff: true, page: page.clone() },
    ];
    queries.extend(policies::queries(&names, &page).into_iter().map(Query::Policy));
    for name in names {
        let peer = name.to_owned();
        queries.extend([
            Query::Peer(peer.clone()),
            Query::RoutesIn(peer.clone(), page.clone()),
            Query::RoutesOut(peer.clone(), page.clone()),
            Query::Rejected(Some(peer.clone()), page.clone()),
            Query::PeerReset { peer: peer.clone(), soft_in: true, soft_out: false },
            Query::PeerReset { peer: peer.clone(), soft_in: false, soft_out: true },
            Query::PeerEnable(peer.clone()),
            Query::PeerDisable { peer: peer.clone(), message: None },
            Query::PeerDisable { peer, message: Some("a&b=ü \u{1}".to_owned()) },
        ]);
    }
    let (sender, asked) = std::sync::mpsc::channel();
    let agent = Agent::start(move |query| {
        sender.send(query).unwrap();
        views::answer(Query::Status)
    });
    let client = Client::new(&agent.socket, Duration::from_secs(5));
    for query in queries {
        let answer = client.ask(&query).await.unwrap();
        assert_eq!(answer, Answer::Status(Box::new(views::status())), "{query:?}");
        assert_eq!(asked.recv().unwrap(), query);
    }
}

#[tokio::test]
async fn every_answer_arrives_unchanged() {
    for query in [
        Query::Status,
        Query::Peers,
        Query::Peer("tor-a".to_owned()),
        Query::Routes(RouteFilter::Exact("192.0.2.0/24".parse().unwrap()), PageRequest::first()),
        Query::RouteChanges {
            filter: RouteFilter::All(None),
            after: Some("7-0".to_owned()),
            wait: Duration::ZERO,
        },
        Query::Dump(None, PageRequest::first()),
        Query::RoutesIn("tor-a".to_owned(), PageRequest::first()),
        Query::Rejected(None, PageRequest::first()),
        Query::Kernel { only_diff: false, page: PageRequest::first() },
        Query::ConfigShow,
        Query::Reload,
        Query::PeerEnable("tor-a".to_owned()),
        Query::DrainState,
        Query::Undrain,
    ]
    .into_iter()
    .chain(policies::questions().into_iter().map(Query::Policy))
    {
        let agent = Agent::start(views::answer);
        let client = Client::new(&agent.socket, Duration::from_secs(5));
        let got = client.ask(&query).await.unwrap();
        assert_eq!(Some(Ok(got)), views::answer(query.clone()), "{query:?}");
    }
}

#[tokio::test]
async fn an_agent_that_stops_says_so_and_one_that_lies_is_not_believed() {
    let agent = Agent::start(|_| {
        Some(Err(brindle::control::Failure::Unavailable("the agent is starting".to_owned())))
    });
    let client = Client::new(&agent.socket, Duration::from_secs(5));
    let error = client.ask(&Query::Status).await.unwrap_err();
    assert!(matches!(&error, AskError::Unavailable(_)), "{error:?}");
    assert_eq!(error.to_string(), "the agent is starting", "there is one");

    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("liar.sock");
    for (body, says) in [
        ("{}", "not what it should be"),
        ("{\"apiVersion\":\"brindle.dev/v9\",\"kind\":\"Status\"}", "speaks brindle.dev/v9"),
        ("{\"apiVersion\":\"brindle.dev/v1\",\"kind\":\"Cow\"}", "unknown kind"),
    ] {
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let liar = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).unwrap();
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                .unwrap();
        });
        let client = Client::new(&socket, Duration::from_secs(5));
        let error = client.ask(&Query::Status).await.unwrap_err().to_string();
        assert!(error.contains(says), "{body}: {error}");
        liar.join().unwrap();
    }
    assert_eq!(serde_json::to_value(Code::NotPermitted).unwrap(), "notPermitted");
}
