//! What a person sees: the commands on a terminal, which `script` (Debian's bsdutils, always
//! there) gives them.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use brindle::control::{Answer, Query};

use crate::agent::Agent;
use crate::{follow, views};

/// `brindle` with these words (no quotes in them) on a terminal of its own.
fn on_a_terminal(agent: &Agent, words: &str) -> Command {
    let binary = assert_cmd::cargo::cargo_bin!("brindle").display();
    let socket = agent.socket.display();
    let mut command = Command::new("script");
    command
        .args(["-q", "-e", "-c", &format!("{binary} {words} --socket {socket}"), "/dev/null"])
        .env_remove("NO_COLOR")
        .env("TERM", "xterm")
        .stdin(Stdio::null());
    command
}

fn seen(agent: &Agent, words: &str) -> String {
    let output = on_a_terminal(agent, words).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn states_are_coloured_unless_that_is_refused() {
    let agent = Agent::start(views::answer);
    let colored = seen(&agent, "peers");
    assert!(colored.contains("\x1b[32mEstablished\x1b[0m"), "{colored:?}");
    assert!(colored.contains("\x1b[31mActive\x1b[0m"), "{colored:?}");
    let plain = seen(&agent, "peers --no-color");
    assert!(plain.contains("Established") && !plain.contains('\x1b'), "{plain:?}");
    for (name, value, is_colored) in
        [("NO_COLOR", "1", false), ("NO_COLOR", "", true), ("TERM", "dumb", false)]
    {
        let output = on_a_terminal(&agent, "peers").env(name, value).output().unwrap();
        assert_eq!(output.stdout.contains(&b'\x1b'), is_colored, "{name}={value}");
    }
}

#[test]
fn no_text_of_others_steers_the_terminal() {
    // The second peer's name and reason hold escape sequences, a C1 control, an override.
    let agent = Agent::start(views::answer);
    for format in ["table", "wide", "json", "jsonl", "yaml", "name"] {
        let text = seen(&agent, &format!("peers --no-color -o {format}"));
        assert!(text.contains("tor-b"), "{format}: {text:?}");
        let is_bad = |c: char| c.is_control() && c != '\n' && c != '\r' || c == '\u{202e}';
        assert!(!text.contains(is_bad), "{format}: {text:?}");
    }
}

#[test]
fn routes_are_drawn_anew_when_they_change_and_not_before() {
    let looks = Arc::new(AtomicU64::new(0));
    let count = looks.clone();
    let mut asked = 0;
    let agent = Agent::start(move |query| match query {
        Query::Routes(..) => {
            count.fetch_add(1, Ordering::Relaxed);
            views::answer(query)
        }
        Query::RouteChanges { after: Some(_), .. } => {
            asked += 1;
            let items = if asked % 3 == 0 { vec![follow::changed()] } else { vec![] };
            Some(Ok(Answer::RouteChanges(Box::new(follow::changes(items, "7-1")))))
        }
        other => views::answer(other),
    });
    let text = drawn(&agent, "routes -w --interval 10ms", "PREFIX ", 3);
    assert!(text.starts_with("\x1b[H\x1b[J"), "{text:?}");
    assert!(text.contains("10.244.1.0/24") && !text.contains("announced by"), "{text:?}");
    let (looks, calls) = (looks.load(Ordering::Relaxed), agent.calls.all());
    let waits = calls["/v1/routes/changes"].timings.count();
    assert!(looks >= 3 && waits >= 3 * (looks - 1), "{looks} looks, {waits} questions");
}

#[test]
fn watching_draws_the_table_anew() {
    let looks = Arc::new(AtomicU64::new(0));
    let count = looks.clone();
    let agent = Agent::start(move |query| match query {
        Query::Peers => {
            let mut peers = views::peers();
            peers[0].since_seconds = count.fetch_add(1, Ordering::Relaxed);
            Some(Ok(Answer::Peers(peers)))
        }
        other => views::answer(other),
    });
    let text = drawn(&agent, "peers -w --interval 10ms", "NAME ", 3);
    assert!(text.starts_with("\x1b[H\x1b[J"), "{text:?}");
    assert!(looks.load(Ordering::Relaxed) >= 3);
}

/// What is drawn on a terminal until `title` was there so many times.
fn drawn(agent: &Agent, words: &str, title: &str, times: usize) -> String {
    let mut child = on_a_terminal(agent, words).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (sender, chunks) = mpsc::channel();
    std::thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = stdout.read(&mut chunk) {
            if sender.send(String::from_utf8_lossy(&chunk[..length]).into_owned()).is_err() {
                break;
            }
        }
    });
    let mut text = String::new();
    while text.matches(title).count() < times {
        text += &chunks.recv_timeout(Duration::from_secs(10)).expect("three tables in time");
    }
    // Killed outright, `script` would leave the program on its terminal behind.
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    child.wait().unwrap();
    text
}
