//! Words, exit codes, pages, pipes.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use brindle::control::view::{self, API_VERSION};
use brindle::control::{Answer, Failure, MAX_PAGE, Page, Query};

use crate::agent::{Agent, brindle, until};
use crate::views;

#[test]
fn exit_codes_say_how_it_went() {
    let agent = Agent::start(views::answer);
    for (words, want, says) in [
        (&["status"][..], 0, ""),
        (&["drain", "--wait", "soon"], 2, "soon"),
        (
            &["drain", "--wait", "2h"],
            2,
            "waitSeconds: 7200 is out of range; accepted are 0 to 3600",
        ),
        (&["drain", "-w"], 2, "--watch is for looking"),
        (&["peers", "nobody"], 1, "there is no peer \"nobody\""),
        (&["routes", "203.0.113.0/24"], 1, "no such route"),
        (&["routes", "diff"], 1, ""),
        (&["routes", "kernel"], 0, ""),
        (&["routes", "10.0.0.1/8"], 2, "host bits"),
        (&["routes", "nonsense"], 2, "neither a prefix nor an address"),
        (&["routes", "10.0.0.0/8", "diff"], 2, "take no prefix"),
        (&["peers", "tor-a", "reset", "tor-a"], 2, "the name stands last"),
        (&["peers", "reset"], 2, "NAME"),
        (&["peers", "reset", "tor-a", "-w"], 2, "--watch is for looking"),
        (&["routes", "dump", "-", "-w"], 2, "a dump is MRT"),
        (&["routes", "dump", "-", "-o", "json"], 2, "a dump is MRT"),
        (&["routes", "dump", "/nonexistent/file"], 1, "cannot write /nonexistent/file"),
        (&["routes", "dump", "/"], 1, "it is a folder; accepted are a file, and -"),
        (&["routes", "--family", "ipv4", "dump", "x"], 2, "no prefix, address or family before"),
        (&["peers", ""], 2, "a value is required"),
        (&["status", "-o", "xml"], 2, "invalid value 'xml'"),
        (&["status", "--timeout", "soon"], 2, "is no time"),
        (&["frobnicate"], 2, "unrecognized subcommand"),
        (&["--version"], 0, ""),
        (&["--help"], 0, ""),
        (&["status", "--socket", "/nonexistent/sock"], 3, "is the agent running"),
    ] {
        let output = agent.brindle(words).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(want), "{words:?}: {complaint}");
        assert!(complaint.contains(says), "{words:?} says {complaint:?}, not {says:?}");
    }
}

#[test]
fn failures_of_the_agent_have_exit_codes_too() {
    for (failure, want) in [
        (Failure::NotFound("x".to_owned()), 1),
        (Failure::Conflict("x".to_owned()), 1),
        (Failure::Invalid("x".to_owned()), 2),
        (Failure::Unavailable("x".to_owned()), 3),
    ] {
        let reply = failure.clone();
        let agent = Agent::start(move |_| Some(Err(reply.clone())));
        let (_, code) = agent.run(&["status"]);
        assert_eq!(code, want, "{failure:?}");
    }
}

#[test]
fn a_refused_reload_ends_with_2_and_an_applied_one_with_0() {
    for (result, want) in [
        (view::ReloadResult::Applied, 0),
        (view::ReloadResult::Unchanged, 0),
        (view::ReloadResult::Refused, 2),
    ] {
        let agent = Agent::start(move |_| {
            Some(Ok(Answer::Reload(Box::new(view::Reload {
                result,
                files: vec!["f.yaml".to_owned()],
                changes: vec![],
                needs_restart: vec![],
                errors: vec!["f.yaml:1:1  node: wrong".to_owned()],
            }))))
        });
        // Reached through the library: `brindle config` gives it its word.
        let words = ["reload", "-o", "name", "--socket", agent.socket.to_str().unwrap()];
        let args = <ReloadWords as clap::Parser>::try_parse_from(words).unwrap().args;
        let exit = brindle::cmd::reload::run(&args);
        assert_eq!(
            std::process::ExitCode::from(exit),
            std::process::ExitCode::from(want),
            "{result:?}"
        );
    }
}

#[derive(clap::Parser)]
struct ReloadWords {
    #[command(flatten)]
    args: brindle::cmd::reload::Args,
}

#[test]
fn a_peer_called_like_a_subcommand_is_reached_behind_two_dashes() {
    let agent = Agent::start(|query| match query {
        Query::Peer(name) if name == "reset" => {
            let mut peer = views::peers().remove(0);
            peer.name = name;
            Some(Ok(Answer::Peer(Box::new(peer))))
        }
        other => Some(Err(Failure::Invalid(format!("{other:?}")))),
    });
    let (text, code) = agent.run(&["peers", "-o", "name", "--", "reset"]);
    assert_eq!((text.as_str(), code), ("reset\n", 0));
}

#[test]
fn questions_arrive_as_they_were_asked() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = asked.clone();
    let agent = Agent::start(move |query| {
        noted.lock().unwrap().push(query.clone());
        views::answer(query)
    });
    let name = "a b/c?&=%2F..\u{fc}#";
    for (words, want) in [
        (&["peers", name][..], Query::Peer(name.to_owned())),
        (
            &["peers", "disable", name, "--message", "100% ü & co"],
            Query::PeerDisable { peer: name.to_owned(), message: Some("100% ü & co".to_owned()) },
        ),
        (
            &["peers", "reset", "fd00::9", "--soft-out"],
            Query::PeerReset { peer: "fd00::9".to_owned(), soft_in: false, soft_out: true },
        ),
        (&["peers", "enable", ".."], Query::PeerEnable("..".to_owned())),
        (
            &["drain", "--wait", "1m", "--message", "a b"],
            Query::Drain { wait: Some(Duration::from_secs(60)), message: Some("a b".to_owned()) },
        ),
        (&["drain", "--wait", "0"], Query::Drain { wait: Some(Duration::ZERO), message: None }),
        (&["drain"], Query::Drain { wait: None, message: None }),
        (&["undrain"], Query::Undrain),
    ] {
        agent.run(words);
        assert_eq!(asked.lock().unwrap().pop(), Some(want), "{words:?}");
    }
}

/// Answers with so many routes, in pages as asked for.
fn many_routes(total: u32) -> impl FnMut(Query) -> Option<Result<Answer, Failure>> + Send {
    move |query| {
        let Query::Kernel { page, .. } = query else { return None };
        let start: u32 = page.after.map_or(0, |after| after.parse().unwrap());
        let limit = u32::try_from(page.limit).unwrap();
        let end = total.min(start + limit);
        let items = (start..end).map(|number| {
            let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + (number << 4));
            let prefix = brindle_bgp::net::Prefix::v4(address, 28).unwrap();
            view::KernelRoute { prefix, ..views::kernel(true).remove(0) }
        });
        let next = (end < total).then(|| end.to_string());
        Some(Ok(Answer::Kernel(Page { items: items.collect(), next })))
    }
}

#[test]
fn long_answers_come_in_pages_and_are_whole() {
    let total = 2 * u32::try_from(MAX_PAGE).unwrap() + 500;
    for (format, lines) in [("name", 2500), ("jsonl", 2500), ("table", 2501)] {
        let agent = Agent::start(many_routes(total));
        let (text, code) = agent.run(&["routes", "kernel", "-o", format]);
        assert_eq!((text.lines().count(), code), (lines, 0), "{format}");
    }
    let agent = Agent::start(many_routes(total));
    for format in ["json", "yaml"] {
        let (text, _) = agent.run(&["routes", "kernel", "-o", format]);
        let list: serde_json::Value = if format == "json" {
            serde_json::from_str(&text).unwrap()
        } else {
            serde_yaml::from_str(&text).unwrap()
        };
        assert_eq!(list["apiVersion"], API_VERSION);
        assert_eq!(list["kind"], "KernelRouteList");
        let items = list["items"].as_array().unwrap();
        assert_eq!(items.len(), 2500, "{format}");
        assert_eq!(items[2499]["prefix"], "10.0.156.48/28", "{format}");
    }
}

#[test]
fn an_empty_list_is_a_document_and_a_note() {
    let agent = Agent::start(many_routes(0));
    for (format, want) in [
        ("table", ""),
        ("name", ""),
        ("jsonl", ""),
        (
            "json",
            "{\n  \"apiVersion\": \"brindle.dev/v1\",\n  \"kind\": \"KernelRouteList\",\n  \"items\": []\n}\n",
        ),
        ("yaml", "apiVersion: brindle.dev/v1\nkind: KernelRouteList\nitems: []\n"),
    ] {
        let output = agent.brindle(&["routes", "diff", "-o", format]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), want, "{format}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "the kernel holds what is wanted\n");
        assert_eq!(output.status.code(), Some(0), "{format}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let agent = Agent::start(many_routes(100_000));
    for format in ["table", "json", "jsonl", "yaml", "name"] {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin!("brindle"))
            .args(["routes", "kernel", "-o", format, "--socket"])
            .arg(&agent.socket)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut complaint = String::new();
        child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
        let code = child.wait().unwrap().code();
        assert_eq!((code, complaint.as_str()), (Some(0), ""), "{format}");
    }
}

#[test]
fn watching_prints_a_line_per_change_and_waits_for_an_agent_that_went() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("brindle.sock");
    let peers = Arc::new(Mutex::new(views::peers()));
    let start = || {
        let peers = peers.clone();
        Agent::at(socket.clone(), Default::default(), move |query| match query {
            Query::Peers => {
                let mut now = peers.lock().unwrap();
                for peer in now.iter_mut() {
                    // Time goes by: no change.
                    peer.since_seconds += 1;
                    peer.messages.received.keepalive += 1;
                }
                Some(Ok(Answer::Peers(now.clone())))
            }
            other => views::answer(other),
        })
    };
    let agent = start();
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("brindle"))
        .args(["peers", "-w", "--interval", "20ms", "-o", "jsonl", "--socket"])
        .arg(&socket)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap());
    let first: Vec<_> = lines.by_ref().take(4).map(|peer| peer["name"].clone()).collect();
    assert_eq!(first, ["n1", "x\u{1b}[2J\nno", "tor-a", "tor-b"]);

    peers.lock().unwrap()[3].state = view::SessionState::Established;
    let change = lines.next().unwrap();
    assert_eq!((&change["name"], &change["state"]), (&"tor-b".into(), &"Established".into()));

    drop(agent);
    peers.lock().unwrap().remove(0);
    let _again = start();
    let gone = lines.next().unwrap();
    assert_eq!((&gone["kind"], &gone["name"]), (&"Gone".into(), &"n1".into()));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn version_is_told_with_and_without_an_agent() {
    let agent = Agent::start(views::answer);
    let (text, code) = agent.run(&["version", "-o", "json"]);
    let version: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&version["version"], code), (&brindle::VERSION.into(), 0));
    assert_eq!(version["agentVersion"], "0.1.0");

    let output = brindle(&["version", "--socket", "/nonexistent/sock"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("is the agent running"));
}

#[test]
fn every_word_has_a_page_in_the_manual_and_every_shell_a_completion() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    brindle(&["man", "--dir", pages.to_str().unwrap()]).assert().success();
    for page in ["brindle.1", "brindle-status.1", "brindle-peers-reset.1", "brindle-routes-diff.1"]
    {
        until(page, || {
            std::fs::read_to_string(pages.join(page)).is_ok_and(|text| text.contains(".TH"))
        });
    }
    let main = String::from_utf8(brindle(&["man"]).output().unwrap().stdout).unwrap();
    assert!(main.contains("brindle\\-status(1)"), "{main}");
    for shell in ["bash", "zsh", "fish"] {
        let script = brindle(&["completion", shell]).output().unwrap().stdout;
        assert!(String::from_utf8(script).unwrap().contains("rejected"), "{shell}");
    }
}

#[test]
fn an_answer_that_cannot_be_written_is_an_error() {
    let agent = Agent::start(views::answer);
    for words in [&["peers"][..], &["status"], &["version"], &["man"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = Command::new(assert_cmd::cargo::cargo_bin!("brindle"))
            .args(words)
            .env("BRINDLE_SOCKET", &agent.socket)
            .stdout(full)
            .output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {complaint}");
        assert!(complaint.contains("cannot write the answer"), "{words:?}: {complaint}");
    }
}
