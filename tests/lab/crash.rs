//! What is left after a crash, and who must not be harmed.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use brindle::lab::netns;
use brindle::lab::process::{self, ProcessId};
use brindle::lab::state::Place;

use crate::sandbox::{Sandbox, can_build, until};
use crate::skipped::note;
use crate::static_routes::half_built_lab;

#[test]
fn nothing_is_left_of_a_lab_that_was_killed_while_it_was_built() {
    let test = "nothing_is_left_of_a_lab_that_was_killed_while_it_was_built";
    if !can_build(test) {
        return;
    }
    let place = Place::find();
    let mut stages = vec![("its folder", 0)];
    if !place.rootless {
        stages.extend([("one namespace", 1), ("half of them", 5), ("all of them", 10)]);
    }
    for (what, count) in stages {
        let sandbox = Sandbox::new("tkill");
        let mut up = start_up(&sandbox);
        until(what, Duration::from_secs(20), || {
            let made = sandbox.namespaces().len();
            let ended = up.try_wait().expect("our child").is_some();
            (made >= count && place.base.join(sandbox.name).exists()) || ended
        });
        up.kill().expect("our child");
        let status = up.wait().expect("our child");
        assert_eq!(status.signal(), Some(9), "killed at {what}: it was faster");
        let id = sandbox.id();
        sandbox.expect(0, &["down"]);
        assert_eq!(sandbox.traces(id.as_deref()), [""; 0], "killed at {what}");
    }
}

fn start_up(sandbox: &Sandbox) -> Child {
    let mut command = sandbox.command(&["up", "--wait", "30"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("brindle runs")
}

#[test]
fn a_process_that_is_not_the_labs_survives() {
    let test = "a_process_that_is_not_the_labs_survives";
    if Place::find().rootless {
        return note(test, "needs root");
    }
    let sandbox = Sandbox::new("tforeign");
    let mut lab = half_built_lab(&sandbox);
    let mut foreign = Command::new("sleep").arg("60").spawn().expect("sleep runs");
    let pid = i32::try_from(foreign.id()).expect("a small number");
    // as if the speaker of n1 had had this number before
    let stale = ProcessId { pid, started: 1 };
    lab.state.processes.insert("n1".into(), stale);
    lab.save().expect("saved");
    drop(lab);
    let text = sandbox.expect(2, &["fault", "kill", "n1"]);
    assert!(text.contains("does not run"), "{text}");
    // while one that somebody put into the lab goes with it
    let inside = sandbox.command(&["exec", "n1", "--", "sleep", "60"]).spawn();
    let mut inside = inside.expect("brindle runs");
    let node = netns::inode("brl-tforeign-n1").expect("it is there");
    until("it is inside", Duration::from_secs(10), || !process::members(None, &[node]).is_empty());
    sandbox.expect(0, &["down"]);
    assert_eq!(inside.wait().expect("our child").signal(), Some(9));
    assert_eq!(foreign.try_wait().expect("our child"), None, "a stranger was killed");
    foreign.kill().expect("our child");
    foreign.wait().expect("our child");
}
