//! Labs are built, used, broken and removed for real; what cannot run here says so.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use brindle::lab::plan::{Options, TorKind};
use brindle::lab::process::{self, ProcessId};
use brindle::lab::state::{Lab, Place};
use brindle::lab::{build, netns};

const BRINDLE: &str = env!("CARGO_BIN_EXE_brindle");

/// A lab that is taken down when the test ends, however it ends.
struct Sandbox {
    name: &'static str,
}

impl Sandbox {
    fn new(name: &'static str) -> Self {
        let sandbox = Self { name };
        // what an earlier run left behind when it was killed
        sandbox.lab(&["down"]);
        sandbox
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BRINDLE);
        command.args(["lab", "--name", self.name]).args(args);
        command
    }

    fn lab(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("brindle runs")
    }

    /// Runs `brindle lab ARGS`, which must end with this code, and returns what it printed.
    #[track_caller]
    fn expect(&self, code: i32, args: &[&str]) -> String {
        let output = self.lab(args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "brindle lab {args:?}\n{text}\n{said}");
        text + &said
    }

    fn id(&self) -> Option<String> {
        let text = fs::read_to_string(Place::find().base.join(self.name).join("lab.json")).ok()?;
        let state: serde_json::Value = serde_json::from_str(&text).ok()?;
        Some(state["id"].as_str()?.to_owned())
    }

    fn namespaces(&self) -> Vec<String> {
        let prefix = format!("brl-{}-", self.name);
        let Ok(entries) = fs::read_dir(netns::DIRECTORY) else { return Vec::new() };
        let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok());
        names.filter(|name| name.starts_with(&prefix)).collect()
    }

    /// Whatever of this lab can be seen from outside: namespaces, files, processes.
    fn traces(&self, id: Option<&str>) -> Vec<String> {
        let mut found = self.namespaces();
        let dir = Place::find().base.join(self.name);
        found.extend(dir.exists().then(|| dir.display().to_string()));
        let processes = process::members(id, &[]);
        found.extend(processes.iter().map(|ProcessId { pid, .. }| format!("process {pid}")));
        found
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.lab(&["down"]);
    }
}

/// Links of the machine that are called as a lab's are; other tests make and remove others.
fn links() -> BTreeSet<String> {
    let entries = fs::read_dir("/sys/class/net").expect("sysfs is there");
    let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok());
    let ours = ["rack", "pod1", "pod2", "n1", "n2", "n3", "tor1", "eth0"];
    names.filter(|name| ours.contains(&name.as_str())).collect()
}

/// Says that `test` did not run, here and in the summary of `make test`.
fn skip(test: &str, why: &str) {
    eprintln!("SKIPPED {test}: {why}");
    if let Some(path) = std::env::var_os("BRINDLE_SKIPPED") {
        let file = fs::OpenOptions::new().create(true).append(true).open(path);
        let mut file = file.expect("the list of skipped tests can be written");
        writeln!(file, "{test}: {why}").expect("the list of skipped tests can be written");
    }
}

/// Asks `condition` until it holds.
#[track_caller]
fn until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A lab of three nodes without speakers whose routes an administrator has written by hand.
fn static_lab(sandbox: &Sandbox, dual_stack: bool) -> Lab {
    let name = sandbox.name.parse().expect("a good name");
    let options = Options { name, nodes: 3, tors: 1, pods: 2, dual_stack, tor: TorKind::Bird };
    let lab = Lab::create(&Place::find(), options, BRINDLE.into()).expect("a lab");
    build::network(&lab).expect("a network");
    build::files(&lab).expect("files");
    let plan = &lab.state.plan;
    for node in &plan.nodes {
        let forward = [("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")];
        netns::sysctl(&node.namespace, &forward).expect("forwarding");
        let others = plan.nodes.iter().filter(|n| n.name != node.name);
        let routes = others.flat_map(|other| other.pod_cidrs.iter().zip(other.ips()));
        let script: String =
            routes.map(|(cidr, via)| format!("route add {cidr} via {via}\n")).collect();
        netns::ip_batch(Some(&node.namespace), &script).expect("routes");
    }
    lab
}

#[test]
fn traffic_passes_over_good_routes_and_every_fault_is_named() {
    let test = "traffic_passes_over_good_routes_and_every_fault_is_named";
    if Place::find().rootless {
        return skip(test, "needs root");
    }
    let sandbox = Sandbox::new("ttraffic");
    drop(static_lab(&sandbox, true));

    let text = sandbox.expect(0, &["test"]);
    assert!(text.contains("384 probes over IPv4 and IPv6 (96 pairs"), "{text}");
    assert!(text.contains("all passed"), "{text}");
    assert!(text.contains("uplinks of 48 pairs between nodes: not encapsulated"), "{text}");

    sandbox.expect(0, &["fault", "del-route", "n1", "10.244.2.0/24"]);
    let text = sandbox.expect(1, &["test"]);
    assert!(text.contains("n1-p1 -> n2-p1 (10.244.2.11): no answer"), "{text}");
    assert!(text.contains("n1 has only its default route to 10.244.2.0/24"), "{text}");
    assert!(!text.contains("n3-p1 -> n2-p1"), "others are not affected\n{text}");
    let json: serde_json::Value =
        serde_json::from_str(&sandbox.expect(1, &["test", "-o", "json"])).expect("JSON");
    assert_eq!(json["passed"], false);
    let add = ["exec", "n1", "--", "ip", "route", "add", "10.244.2.0/24", "via", "10.0.0.2"];
    sandbox.expect(0, &add);
    sandbox.expect(0, &["test"]);

    // a full-size packet alone fails where a cable is narrower
    for (place, link) in [("tor1", "n3"), ("n3", "eth0")] {
        sandbox.expect(0, &["exec", place, "--", "ip", "link", "set", link, "mtu", "1400"]);
    }
    let text = sandbox.expect(1, &["test"]);
    assert!(text.contains("MTU on the path is below 1500  [1500-byte packets with DF]"), "{text}");
    assert!(!text.contains("[TCP"), "shorter packets pass\n{text}");
}

#[test]
fn a_translated_source_is_noticed() {
    let test = "a_translated_source_is_noticed";
    if Place::find().rootless {
        return skip(test, "needs root");
    }
    let sandbox = Sandbox::new("tmasq");
    drop(static_lab(&sandbox, false));
    let masquerade = "iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE";
    if !sandbox.lab(&["exec", "n2", "--", "sh", "-c", masquerade]).status.success() {
        return skip(test, "iptables cannot masquerade here");
    }
    let text = sandbox.expect(1, &["test"]);
    let want = "n2-p1 -> n1-p1 (10.244.1.11): source translated: 10.0.0.2 was seen instead of \
                10.244.2.11  [TCP, UDP, 1500-byte packets with DF]";
    assert!(text.contains(want), "{text}");
    // nobody tells whom an echo reply was sent to, so that one is caught on the wire
    let want = "eth0 of n2 never carried 10.244.2.11 -> 10.244.1.11 itself; it carried 10.0.0.2 \
                -> 10.244.1.11 (source translated)  [ICMP]";
    assert!(text.contains(want), "{text}");
    assert!(!text.contains("FAIL  n1-p1"), "only n2 translates\n{text}");
}

#[test]
fn an_encapsulation_is_noticed() {
    let test = "an_encapsulation_is_noticed";
    if Place::find().rootless {
        return skip(test, "needs root");
    }
    let sandbox = Sandbox::new("tvxlan");
    drop(static_lab(&sandbox, false));
    for (node, own, other, cidr) in
        [("n1", "1", "2", "10.244.2.0/24"), ("n2", "2", "1", "10.244.1.0/24")]
    {
        let script = format!(
            "ip link add vx0 type vxlan id 5 dstport 4789 remote 10.0.0.{other} dev eth0 && \
             ip addr add 192.168.9.{own}/24 dev vx0 && ip link set vx0 up && \
             ip route replace {cidr} via 192.168.9.{other}"
        );
        if !sandbox.lab(&["exec", node, "--", "sh", "-c", &script]).status.success() {
            return skip(test, "this kernel has no VXLAN");
        }
    }
    let text = sandbox.expect(1, &["test"]);
    assert!(text.contains("encapsulated: UDP, as VXLAN"), "{text}");
    assert!(text.contains("eth0 of n1 never carried 10.244.1.11 -> 10.244.2.11 itself"), "{text}");
    assert!(!text.contains("FAIL  n3-p1 -> n1"), "n3 does not encapsulate\n{text}");
}

#[test]
fn a_partition_loses_every_packet_until_it_is_healed() {
    let test = "a_partition_loses_every_packet_until_it_is_healed";
    if Place::find().rootless {
        return skip(test, "needs root");
    }
    let sandbox = Sandbox::new("tpart");
    drop(static_lab(&sandbox, false));
    sandbox.expect(0, &["fault", "partition", "n1", "n2"]);
    let text = sandbox.expect(1, &["test"]);
    assert!(text.contains("FAIL  n1-p1 -> n2-p1"), "{text}");
    assert!(!text.contains("FAIL  n1-p1 -> n3-p1"), "{text}");
    // the link takes the neighbour entries along, the partition must stay
    sandbox.expect(0, &["fault", "link-down", "n1"]);
    sandbox.expect(0, &["fault", "link-up", "n1"]);
    for (to, via) in [("10.244.2.0/24", "10.0.0.2"), ("10.244.3.0/24", "10.0.0.3")] {
        sandbox.expect(0, &["exec", "n1", "--", "ip", "route", "replace", to, "via", via]);
    }
    let text = sandbox.expect(1, &["test"]);
    assert!(text.contains("FAIL  n1-p1 -> n2-p1"), "{text}");
    assert!(!text.contains("FAIL  n1-p1 -> n3-p1"), "{text}");
    sandbox.expect(0, &["fault", "heal", "n2", "n1"]);
    sandbox.expect(0, &["test"]);
    for (fault, want) in [
        (&["partition", "n1", "n1"][..], "cannot be kept apart from itself"),
        (&["partition", "n1", "n9"], "no node or router \"n9\""),
        (&["heal", "n1", "n2"], "are not kept apart"),
        (&["kill", "n1"], "the speaker of n1 does not run"),
        (&["kill", "n1-p1"], "n1-p1 is a pod and has no speaker; its node is n1"),
        (&["link-down", "tor1"], "no node \"tor1\""),
    ] {
        let text = sandbox.expect(2, &[&["fault"], fault].concat());
        assert!(text.contains(want), "{fault:?}: {text}");
    }
}

#[test]
fn commands_run_inside_and_their_exit_code_comes_out() {
    let test = "commands_run_inside_and_their_exit_code_comes_out";
    if Place::find().rootless {
        return skip(test, "needs root");
    }
    let links_before = links();
    let sandbox = Sandbox::new("texec");
    drop(static_lab(&sandbox, false));
    assert_eq!(links(), links_before, "nothing appears in the machine's own namespace");
    for (target, script, code, want) in [
        ("n2", "exit 7", 7, ""),
        ("n2", "ip -br addr show eth0", 0, "10.0.0.2/24"),
        ("n2-p1", "ip -br addr show eth0", 0, "10.244.2.11/32"),
        ("tor1", "ip -br addr show rack", 0, "10.0.0.250/24"),
        ("n2-p1", "echo $BRINDLE_SOCKET", 0, "texec/n2/brindle.sock"),
        ("n2", "brindle --version", 0, "brindle "),
    ] {
        let text = sandbox.expect(code, &["exec", target, "--", "sh", "-c", script]);
        assert!(text.contains(want), "{target}: {script}: {text}");
    }
    let text = sandbox.expect(2, &["exec", "n7", "--", "true"]);
    assert!(text.contains("no \"n7\" in this lab; there is: n1, n2, n3, tor1; pods"), "{text}");

    // seen by others' tools, too
    let status = Command::new("ip").args(["netns", "exec", "brl-texec-n1", "true"]).status();
    assert!(status.expect("ip runs").success());

    let text = sandbox.expect(1, &["ls"]);
    assert!(text.contains("half-built"), "no speaker was started\n{text}");
    let text = sandbox.expect(1, &["ls", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json["items"].as_array().map(Vec::len), Some(10), "{text}");

    let text = sandbox.expect(2, &["up"]);
    assert!(text.contains("lab \"texec\" is there already"), "{text}");

    let id = sandbox.id();
    sandbox.expect(0, &["down"]);
    assert_eq!(sandbox.traces(id.as_deref()), [""; 0]);
    assert_eq!(links(), links_before);
    let text = sandbox.expect(0, &["down"]);
    assert!(text.contains("nothing to remove"), "{text}");
    for words in [&["ls"][..], &["test"], &["exec", "n1", "--", "true"], &["fault", "kill", "n1"]] {
        let text = sandbox.expect(2, words);
        assert!(text.contains("no lab \"texec\""), "{words:?}: {text}");
    }
}

#[test]
fn nothing_is_left_of_a_lab_that_was_killed_while_it_was_built() {
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
        if status.signal().is_none() && place.rootless {
            return skip("nothing_is_left_of_a_lab_that_was_killed_while_it_was_built", "no labs");
        }
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
        return skip(test, "needs root");
    }
    let sandbox = Sandbox::new("tforeign");
    let mut lab = static_lab(&sandbox, false);
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

/// Whether the node's kernel has a route to exactly this prefix that leads somewhere.
fn has_route(sandbox: &Sandbox, node: &str, prefix: &str) -> bool {
    let family = if prefix.contains(':') { "-6" } else { "-4" };
    let output = sandbox.lab(&["exec", node, "--", "ip", family, "route", "show", prefix]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().any(|line| line.contains("via") && !line.starts_with("unreachable"))
}

/// Waits until each of three nodes has the routes to the other two.
#[track_caller]
fn everywhere(sandbox: &Sandbox, limit: Duration) {
    for (node, others) in [("n1", [2, 3]), ("n2", [1, 3]), ("n3", [1, 2])] {
        for other in others {
            let prefix = format!("10.244.{other}.0/24");
            let what = format!("{node} has a route to {prefix}");
            until(&what, limit, || has_route(sandbox, node, &prefix));
        }
    }
}

fn has_user_namespaces() -> bool {
    let status =
        Command::new("unshare").args(["--user", "--map-root-user", "--net", "true"]).status();
    status.is_ok_and(|s| s.success())
}

/// Where labs cannot be built at all there is nothing to test.
fn can_build(test: &str) -> bool {
    let can = !Place::find().rootless || has_user_namespaces();
    if !can {
        skip(test, "needs root or user namespaces");
    }
    can
}

#[test]
fn agents_carry_the_pods_traffic_and_mend_what_breaks() {
    let test = "agents_carry_the_pods_traffic_and_mend_what_breaks";
    if !can_build(test) {
        return;
    }
    let sandbox = Sandbox::new("tagents");
    let text = sandbox.expect(0, &["up"]);
    assert!(text.contains("3 nodes, 1 ToR, 6 pods"), "{text}");
    sandbox.expect(0, &["test"]);
    let text = sandbox.expect(0, &["ls"]);
    assert_eq!(text.matches("running").count(), 4, "{text}");
    // each node's own agent answers inside it
    for node in ["n1", "n3", "tor1"] {
        let text = sandbox.expect(0, &["exec", node, "--", "brindle", "status"]);
        assert!(text.contains(&format!("on {node}")), "{text}");
    }

    let soon = Duration::from_secs(10);
    let n2_pods = "10.244.2.0/24";
    sandbox.expect(0, &["fault", "del-route", "n1", n2_pods]);
    until("the route is back", soon, || has_route(&sandbox, "n1", n2_pods));

    // frozen, an agent is not needed for packets; dead, it leaves its routes where they are
    for (fault, mend) in [("stop", "cont"), ("kill", "start")] {
        sandbox.expect(0, &["fault", fault, "n1"]);
        let text = sandbox.expect(1, &["ls"]);
        assert!(text.contains(&format!("brindle lab fault {mend} n1")), "{text}");
        if fault == "stop" {
            sandbox.expect(0, &["test"]);
        }
        assert!(has_route(&sandbox, "n1", n2_pods), "{fault}");
        sandbox.expect(0, &["fault", mend, "n1"]);
        sandbox.expect(0, &["ls"]);
        everywhere(&sandbox, soon);
    }
    sandbox.expect(2, &["fault", "start", "n1"]);
    sandbox.expect(0, &["fault", "restart", "n1"]);
    everywhere(&sandbox, soon);
    sandbox.expect(0, &["test"]);

    sandbox.expect(0, &["fault", "link-down", "n2"]);
    until("the kernel drops what led over the link", soon, || {
        !has_route(&sandbox, "n2", "10.244.1.0/24")
    });
    sandbox.expect(0, &["fault", "link-up", "n2"]);
    everywhere(&sandbox, soon);
    sandbox.expect(0, &["test"]);

    let text = sandbox.expect(2, &["up"]);
    assert!(text.contains("--replace"), "{text}");
    let old = sandbox.id();
    sandbox.expect(0, &["up", "--replace", "--nodes", "2", "--pods", "1"]);
    assert_ne!(sandbox.id(), old);
    assert_eq!(process::members(old.as_deref(), &[]), [], "agents of the old lab");
    sandbox.expect(0, &["test"]);
    let id = sandbox.id();
    sandbox.expect(0, &["down"]);
    assert_eq!(sandbox.traces(id.as_deref()), [""; 0]);
}

#[test]
fn every_kind_of_lab_converges_and_carries_traffic() {
    let test = "every_kind_of_lab_converges_and_carries_traffic";
    if !can_build(test) {
        return;
    }
    for (what, args) in [
        ("both families", &["--dual-stack"][..]),
        ("two racks", &["--nodes", "4", "--tors", "2", "--dual-stack", "--pods", "1"]),
        ("BIRD", &["--tor", "bird", "--dual-stack"]),
        ("racks of BIRD", &["--tor", "bird", "--nodes", "3", "--tors", "3", "--dual-stack"]),
        ("one node", &["--nodes", "1"]),
    ] {
        if args.contains(&"bird") && netns::program("bird").is_err() {
            skip(test, &format!("{what}: bird is not installed"));
            continue;
        }
        let sandbox = Sandbox::new("tkinds");
        sandbox.expect(0, &[&["up"], args].concat());
        let text = sandbox.expect(0, &["test"]);
        assert!(text.contains("all passed"), "{what}: {text}");
        let id = sandbox.id();
        sandbox.expect(0, &["down"]);
        assert_eq!(sandbox.traces(id.as_deref()), [""; 0], "{what}");
    }
}

#[test]
fn a_lab_that_does_not_converge_says_who_lacks_what() {
    let test = "a_lab_that_does_not_converge_says_who_lacks_what";
    if !can_build(test) {
        return;
    }
    let sandbox = Sandbox::new("tlate");
    let text = sandbox.expect(1, &["up", "--wait", "0", "--nodes", "20", "--tors", "4"]);
    assert!(text.contains("not converged: after 0ns"), "{text}");
    assert!(text.contains(" has no route to 10.244."), "{text}");
    assert!(text.contains("last lines of "), "{text}");
    for (args, want) in [
        (&["up", "--nodes", "0"][..], "--nodes 0: 1 to 200"),
        (&["up", "--nodes", "3", "--tors", "4"], "--tors 4"),
        (&["up", "--pods", "101"], "--pods 101"),
    ] {
        let text = sandbox.expect(2, &[args, &["--replace"]].concat());
        assert!(text.contains(want), "{args:?}: {text}");
    }
    sandbox.expect(0, &["exec", "n1", "--", "true"]);
}

/// The whole life of a lab as somebody who is not root, and its end after crashes.
#[test]
fn a_lab_needs_no_root() {
    use std::os::unix::process::CommandExt as _;

    let test = "a_lab_needs_no_root";
    if !nix::unistd::geteuid().is_root() || Place::find().rootless {
        return skip(test, "only root can become somebody else; the other tests run without root");
    }
    const NOBODY: u32 = 65534;
    let folder = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("given away");
    let program = folder.path().join("brindle");
    // where the original stands, others may have no business
    fs::copy(BRINDLE, &program).expect("copied");
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
        return skip(test, "user namespaces are not allowed");
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
