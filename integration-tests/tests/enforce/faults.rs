//! The policy half when the kernel or its programs do not do as they should.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use brindle::enforce::dataplane::Tuning;
use brindle_policy::{Change, Family};
use integration_tests::wait::{SOON, met};
use integration_tests::{skip, until};

use crate::support::{
    Outcome, TestNode, applied, clients_only, namespace, node, on_both, pod, policy, policy_id,
    settings, v4, v6,
};

/// Wraps a program of the system: `script` runs before it, and may end.
fn wrap(folder: &Path, program: &str, script: &str) {
    let real = skip::find(program).expect("can_run was asked");
    let text = format!("#!/bin/sh\n{script}\nexec {} \"$@\"\n", real.display());
    let path = folder.join(program);
    std::fs::write(&path, text).expect("the folder is ours");
    std::fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("it is ours");
}

/// The usual programs, but those in `folder` first.
fn tuning(folder: &Path) -> Tuning {
    let usual = Tuning::default();
    let search: Vec<PathBuf> = [folder.to_owned()].into_iter().chain(usual.search).collect();
    Tuning { search, ..usual }
}

fn world() -> Vec<Change> {
    vec![
        namespace(),
        node(),
        applied(pod("server", 10, "server")),
        applied(pod("client", 11, "client")),
        applied(pod("good", 12, "good")),
        clients_only(),
        Change::InSync,
    ]
}

/// A policy that lets clients reach the pods of `app` at port 80 and at `port`.
fn clients_at(name: &str, app: &str, port: u16) -> Change {
    policy(
        name,
        &format!(
            r#"{{"podSelector": {{"matchLabels": {{"app": "{app}"}}}},
                "ingress": [{{"from": [{{"podSelector": {{"matchLabels": {{"app": "client"}}}}}}],
                    "ports": [{{"port": 80}}, {{"port": {port}}}]}}]}}"#
        ),
    )
}

#[test]
fn a_policy_that_the_kernel_refuses_is_closed_and_named_and_holds_up_no_other() {
    let name = "a_policy_that_the_kernel_refuses_is_closed_and_named_and_holds_up_no_other";
    on_both(name, |backend, word| {
        let folder = tempfile::tempdir().expect("there is room");
        // No kernel refuses what we write, so one that does not like the port is played.
        let refuse = "input=$(cat); case \"$input\" in *7777*) \
            echo 'Bad argument 7777. Error occurred at line: 2' >&2; exit 2;; esac\n\
            exec <<END\n$input\nEND";
        wrap(folder.path(), &format!("iptables-{word}-restore"), refuse);
        let host = TestNode::new();
        let task = host.start_tuned(settings(backend), tuning(folder.path()));
        let _pods = [host.pod("server", 10), host.pod("good", 12)];
        let client = host.pod("client", 11);
        let mut all = world();
        all[5] = clients_at("bad", "server", 7777);
        all.insert(0, clients_at("good", "good", 81));
        task.apply(all);
        let status = task.until("it is ready", |status| status.ready);
        let [(id, why)] = &status.broken[..] else { panic!("{:?}", status.broken) };
        assert_eq!(*id, policy_id("bad"));
        assert!(why.starts_with("IPv4: ") && why.contains("7777"), "{why}");
        task.settle();
        assert_eq!(client.reach(v4(10)), Outcome::TimedOut, "{word}: closed");
        assert_eq!(client.reach(v6(10)), Outcome::Open, "IPv6 was not refused");
        assert_eq!(client.reach(v4(12)), Outcome::Open, "the other policy counts");
        assert!(task.status().failing.is_none());

        // Changes go on, and a policy that changes is tried again.
        task.apply(vec![applied(pod("client", 11, "stranger"))]);
        task.settle();
        assert_eq!(client.reach(v4(12)), Outcome::TimedOut);
        task.apply(vec![applied(pod("client", 11, "client")), clients_at("bad", "server", 82)]);
        task.until("it is out of quarantine", |status| status.broken.is_empty());
        task.settle();
        assert_eq!(client.reach(v4(10)), Outcome::Open, "{word}");
        assert_eq!(task.status().repairs, 0, "nothing of that was tampering");
    });
}

#[test]
fn what_fails_is_told_and_tried_again_and_the_kernel_keeps_what_it_has() {
    let name = "what_fails_is_told_and_tried_again_and_the_kernel_keeps_what_it_has";
    on_both(name, |backend, word| {
        let folder = tempfile::tempdir().expect("there is room");
        let switch = folder.path().join("fail");
        let script = format!("if [ -e {} ]; then echo 'no luck' >&2; exit 1; fi", switch.display());
        for program in ["iptables", "ip6tables"] {
            wrap(folder.path(), &format!("{program}-{word}-restore"), &script);
        }
        let host = TestNode::new();
        let task = host.start_tuned(settings(backend), tuning(folder.path()));
        task.apply(world());
        task.until("it is ready", |status| status.ready);
        let rules = host.rules(word);
        std::fs::write(&switch, "").expect("the folder is ours");
        task.apply(vec![applied(pod("late", 13, "server"))]);
        let status = task.until("it fails", |status| status.failing.is_some());
        let (since, why) = status.failing.clone().expect("it fails");
        assert!(why.contains("no luck"), "{why}");
        assert!(status.is_ready(SystemTime::now()), "for thirty seconds nobody is alarmed");
        assert!(!status.is_ready(since + Duration::from_secs(30)));
        let late = &status.pending[..];
        assert!(matches!(late, [key] if &*key.name == "late"), "{word}: {late:?}");
        until("it was tried again", SOON, || {
            let failed = task.status().applied[1];
            met(failed >= 4, || format!("{failed} failures"))
        });
        assert_eq!(host.rules(word), rules);
        std::fs::remove_file(&switch).expect("it is there");
        let status = task
            .until("it recovers", |status| status.failing.is_none() && status.pending.is_empty());
        assert_eq!((status.programmed, status.repairs), (4, 0));
        let (again, why) = task.status().failing.unwrap_or((since, String::new()));
        assert_eq!((again, why), (since, String::new()));
    });
}

#[test]
fn questions_are_answered_while_a_program_hangs() {
    on_both("questions_are_answered_while_a_program_hangs", |backend, word| {
        let folder = tempfile::tempdir().expect("there is room");
        let switch = folder.path().join("hang");
        let script = format!("while [ -e {} ]; do sleep 0.1; done", switch.display());
        wrap(folder.path(), &format!("iptables-{word}-restore"), &script);
        let host = TestNode::new();
        let limit = Duration::from_secs(3);
        let tuning = Tuning { limit, ..tuning(folder.path()) };
        let task = host.start_tuned(settings(backend), tuning);
        task.apply(world());
        task.until("it is ready", |status| status.ready);
        std::fs::write(&switch, "").expect("the folder is ours");
        task.apply(vec![applied(pod("late", 13, "server"))]);
        task.until("it is being written", |status| !status.pending.is_empty());
        let pods = task.block_on(task.handle.read(|view| view.world.pods().count()));
        assert_eq!(pods, Ok(4), "the world is known though it is not written");
        assert!(task.status().failing.is_none(), "{word}: the answer came while it hung");
        let status = task.until("it is killed", |status| status.failing.is_some());
        let (_, why) = status.failing.expect("it fails");
        assert!(why.contains("did not end within 3 s"), "{why}");
        std::fs::remove_file(&switch).expect("it is there");
        task.until("it recovers", |status| status.failing.is_none() && status.programmed == 4);
    });
}

#[test]
fn what_is_missing_is_named_and_questions_are_answered() {
    on_both("what_is_missing_is_named_and_questions_are_answered", |backend, word| {
        let folder = tempfile::tempdir().expect("there is room");
        let tuning = Tuning { search: vec![folder.path().to_owned()], ..Tuning::default() };
        let host = TestNode::new();
        let task = host.start_tuned(settings(backend), tuning);
        task.apply(world());
        let status = task.until("it is told", |status| status.unavailable.is_some());
        let missing = status.unavailable.clone().expect("it is told");
        for program in [&*format!("iptables-{word}"), "ipset"] {
            assert!(missing.contains(program), "{missing}");
        }
        assert!(!status.is_ready(SystemTime::now()));
        assert_eq!(task.block_on(task.handle.read(|view| view.world.pods().count())), Ok(3));
        let counted = task.block_on(task.handle.counters(Family::V4));
        assert!(counted.is_err_and(|why| why.to_string().contains("ipset")));
        task.stop();
    });
}
