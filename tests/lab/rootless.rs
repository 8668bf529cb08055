//! A lab without root.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use brindle::lab::process::ProcessId;
use brindle::lab::state::Place;

use crate::sandbox::{BRINDLE, links, until};
use crate::skipped::note;

/// The whole life of a lab as somebody who is not root, and its end after crashes.
#[test]
fn a_lab_needs_no_root() {
    use std::os::unix::process::CommandExt as _;

    let test = "a_lab_needs_no_root";
    if !nix::unistd::geteuid().is_root() || Place::find().rootless {
        return note(test, "only root can become somebody else; the other tests run without root");
    }
    const NOBODY: u32 = 65534;
    let folder = tempfile::tempdir().expect("a folder");
    if std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).is_err() {
        return note(test, "there is nobody else in this user namespace");
    }
    let program = folder.path().join("brindle");
    // Where the original stands, others may have no business. By a program: a file that we had
    // open for writing could not be run while another test's thread starts a program.
    let copied = Command::new("cp").arg(BRINDLE).arg(&program).status().expect("cp runs");
    assert!(copied.success());
    let lab = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.args(["lab", "--name", "tnobody"]).args(args).uid(NOBODY).gid(NOBODY);
        command.current_dir("/").env_remove("XDG_RUNTIME_DIR").env("TMPDIR", folder.path());
        command
    };
    let run = |args: &[&str]| {
        let output = lab(args).output().expect("brindle runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text + &String::from_utf8_lossy(&output.stderr))
    };
    let base = folder.path().join(format!("brindle-lab-{NOBODY}"));
    let nobodys = || {
        let entries = fs::read_dir("/proc").expect("procfs").flatten();
        let ours = entries.filter(|e| {
            fs::read_link(e.path().join("exe")).is_ok_and(|exe| exe.starts_with(folder.path()))
        });
        ours.map(|e| e.file_name()).collect::<Vec<_>>()
    };

    let before = links();
    let (code, text) = run(&["up", "--dual-stack"]);
    if text.contains("this machine refuses them") {
        return note(test, "user namespaces are not allowed");
    }
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(links(), before);
    for (args, want) in [
        (&["test"][..], "all passed"),
        (&["exec", "n1", "--", "id", "-u"], "0"),
        (&["exec", "n1", "--", "brindle", "peers"], "Established"),
        (&["fault", "kill", "n1"], "killed"),
        (&["fault", "start", "n1"], "started"),
        (&["fault", "partition", "n1", "n2"], "lose every packet"),
        (&["fault", "heal", "n1", "n2"], "reach each other"),
        (&["ls"], "running"),
    ] {
        let (code, text) = run(args);
        assert_eq!(code, Some(0), "{args:?}: {text}");
        assert!(text.contains(want), "{args:?}: {text}");
    }
    assert_eq!(run(&["exec", "n1-p1", "--", "sh", "-c", "exit 9"]).0, Some(9));
    assert_eq!(run(&["down"]).0, Some(0));
    assert_eq!(nobodys().len(), 0);
    assert!(!base.exists());

    // killed while it is built
    let state = base.join("tnobody/lab.json");
    for (what, mark) in [("before the holder is noted", "\"id\""), ("after", "\"started\"")] {
        let mut up =
            lab(&["up"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("runs");
        until(what, Duration::from_secs(20), || {
            fs::read_to_string(&state).is_ok_and(|text| text.contains(mark))
        });
        up.kill().expect("our child");
        up.wait().expect("our child");
        let (code, text) = run(&["down"]);
        assert_eq!(code, Some(0), "{what}: {text}");
        assert_eq!(nobodys().len(), 0, "{what}");
        assert!(!base.exists(), "{what}");
    }

    // the process that keeps the namespaces open is killed
    assert_eq!(run(&["up"]).0, Some(0));
    let text = fs::read_to_string(&state).expect("it is up");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let pid = i32::try_from(json["holder"]["pid"].as_i64().expect("a holder")).expect("small");
    let holder = ProcessId::of(pid).expect("it runs");
    holder.signal(nix::sys::signal::Signal::SIGKILL).expect("we are root");
    assert!(holder.wait_end(Duration::from_secs(5)));
    let (code, text) = run(&["test"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("`brindle lab down --name tnobody` clears up"), "{text}");
    assert_eq!(run(&["down"]).0, Some(0));
    assert_eq!(nobodys().len(), 0);
    assert!(!base.exists());
}
