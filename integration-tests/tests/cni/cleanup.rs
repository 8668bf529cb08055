//! `brindle cleanup` on a host that others use too: everything of ours goes, from both
//! backends, both families and all tables, and nothing else changes.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use brindle::cleanup::{Account, CONFLIST, Scope, clean};
use brindle::enforce::dataplane::Tuning;
use integration_tests::process::Process;
use integration_tests::wait::{SOON, met, until};
use integration_tests::{Netns, agent, skip};
use tempfile::TempDir;

const PROGRAMS: [&str; 6] = [
    "ip",
    "ipset",
    "iptables-nft-restore",
    "ip6tables-nft-restore",
    "iptables-legacy-restore",
    "ip6tables-legacy-restore",
];

/// The commands that change one table each.
const IPTABLES: [&str; 4] =
    ["iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy"];

struct Host {
    netns: Arc<Netns>,
    folder: TempDir,
}

impl Host {
    /// A host that others use.
    fn new(name: &str) -> Option<Self> {
        if !skip::can_run(name, &PROGRAMS) {
            return None;
        }
        let netns = Netns::new("host").expect("can_run was asked");
        let folder = TempDir::new().expect("a folder for temporary files");
        let host = Self { netns, folder };
        for folder in ["net.d", "data", "data/attachments", "data/others"] {
            fs::create_dir(host.path(folder)).expect("a new folder");
        }
        fs::write(host.path("net.d/10-other.conflist"), "{}").expect("a new file");
        fs::write(host.path("net.d/10-brindle.conflist.rpmsave"), "{}").expect("a new file");
        fs::write(host.path("data/others/file"), "theirs").expect("a new file");
        for words in [
            "link add eth7 type veth peer name eth8",
            "link add brnothers type veth peer name others",
            "link set eth7 up",
            "link set eth8 up",
            "address add 10.9.0.1/24 dev eth7",
            "address add fd09::1/64 dev eth7 nodad",
            "route add 10.50.0.0/16 via 10.9.0.7 proto static",
            "nexthop add id 7 via 10.9.0.7 dev eth7 proto static",
            "route add 10.51.0.0/16 via 10.9.0.7 proto bird table 77",
            "route add fd50::/64 via fd09::7 proto static",
            "route add unreachable 10.244.1.0/24 metric 7 proto 99",
            "rule add not iif lo pref 32099 lookup 77 proto 99",
            "-6 rule add not iif lo pref 32098 lookup 9898",
        ] {
            host.netns.ip(words).expect("a new namespace");
        }
        for family in ["inet", "inet6"] {
            host.shell(&format!("ipset create other-{family} hash:ip family {family}"));
        }
        host.shell("ipset add other-inet 10.1.1.1");
        for program in IPTABLES {
            for words in [
                "-N KUBE-FORWARD",
                r#"-A KUBE-FORWARD -m comment --comment "a b -j BRN-X 'c" -j RETURN"#,
                "-A FORWARD -j KUBE-FORWARD",
                "-A FORWARD -i eth7 -j DROP",
                "-A INPUT -p tcp --dport 9 -m comment --comment brindle:not -j DROP",
                "-t nat -A POSTROUTING -o eth7 -j MASQUERADE",
                "-t mangle -A FORWARD -j RETURN",
                "-P FORWARD DROP",
            ] {
                host.shell(&format!("{program} {words}"));
            }
        }
        Some(host)
    }

    /// Puts something of ours everywhere.
    fn occupy(&self) {
        for set in ["brn-s4-AAAA hash:ip", "brn-n6-BBBB hash:net family inet6", "brn-old list:set"]
        {
            self.shell(&format!("ipset create {set}"));
        }
        self.shell("ipset add brn-s4-AAAA 10.1.1.1");
        for (program, set) in IPTABLES.iter().zip(["brn-s4-AAAA", "brn-n6-BBBB"].iter().cycle()) {
            for words in [
                "-N BRN-FORWARD".to_owned(),
                "-N BRN-TO".to_owned(),
                format!("-A BRN-TO -m set --match-set {set} src -j DROP"),
                "-A BRN-FORWARD -j BRN-TO".to_owned(),
                "-I FORWARD -m comment --comment brindle:hook -j BRN-FORWARD".to_owned(),
                "-A KUBE-FORWARD -i eth7 -g BRN-TO".to_owned(),
                "-t nat -N BRN-POSTROUTING".to_owned(),
                "-t nat -A POSTROUTING -j BRN-POSTROUTING".to_owned(),
                "-t raw -N BRN-PREROUTING".to_owned(),
                "-t raw -A PREROUTING -j BRN-PREROUTING".to_owned(),
                "-t mangle -N BRN-LONELY".to_owned(),
            ] {
                self.shell(&format!("{program} {words}"));
            }
        }
        for words in [
            "route add 10.244.2.0/24 via 10.9.0.2 proto 98 metric 512",
            "route add 10.50.0.0/16 via 10.9.0.8 proto 98 metric 512",
            "route add unreachable 10.244.1.0/24 proto 98 metric 4294967294",
            "route add 10.244.3.0/24 proto 98 nexthop via 10.9.0.2 nexthop via 10.9.0.3",
            "route add 10.244.4.0/24 via 10.9.0.2 proto 98 table 1077",
            "route add fd00:244:2::/64 via fd09::2 proto 98",
            "route add fd00:244:3::/64 proto 98 nexthop via fd09::2 nexthop via fd09::3",
            "route add blackhole fd00:244:4::/64 proto 98 table 77",
            "route add default via 10.9.0.9 proto 98 metric 900",
            "route add blackhole 10.96.0.0/16 proto 98 table 9898",
            "route add throw fd00:96:1::/64 proto 98 table 9898",
            "rule add not iif lo pref 32098 lookup 9898 proto 98",
            "-6 rule add not iif lo pref 32097 lookup 9898 proto 98",
            "nexthop add id 980000001 via 10.9.0.2 dev eth7 proto 98",
            "nexthop add id 980000002 group 980000001 type resilient buckets 8 proto 98",
            "route add 10.244.5.0/24 nhid 980000002 proto 98 metric 512",
        ] {
            self.netns.ip(words).expect("nothing is there yet");
        }
        let text = r#"{"name": "brindle", "plugins": [{"type": "brindle-cni"}]}"#;
        fs::write(self.path("net.d").join(CONFLIST), text).expect("a new file");
        // An agent was killed: amid writing it again, and with a socket.
        fs::write(self.path("net.d/.10-brindle.conflist.brindle"), "{\"na").expect("a new file");
        drop(UnixListener::bind(self.path("brindle.sock")).expect("a new file"));
    }

    /// Connects a pod as the plug-in does.
    fn connect(&self) {
        let record = r#"{"containerID": "abc", "interface": "eth0", "hostInterface": "brn0123456789a",
            "pod": {"namespace": "default", "name": "web"}, "addresses": ["10.244.1.2"]}"#;
        fs::write(self.path("data/attachments/abc@eth0.json"), record).expect("a new file");
        fs::write(self.path("data/addresses.json"), "{}").expect("a new file");
        self.netns.ip("link add brn0123456789a type veth peer name pod").expect("a new name");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn shell(&self, script: &str) -> String {
        let script = format!("set -e; PATH=$PATH:/usr/sbin:/sbin; {script}");
        self.netns.run("sh", &["-c", &script]).expect("the script is right")
    }

    fn scope(&self, dry_run: bool, pods: bool) -> Scope {
        let (config_dir, data_dir) = (self.path("net.d"), self.path("data"));
        let socket = self.path("brindle.sock");
        Scope { config_dir, data_dir, socket, pods, dry_run, tuning: Tuning::default() }
    }

    fn clean(&self, scope: &Scope) -> Account {
        self.netns.inside(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("an event loop").block_on(clean(scope))
        })
    }

    /// Everything that there is, without counters and the time of day, and without tables that
    /// are only just there.
    fn everything(&self) -> String {
        let mut all = String::new();
        for program in IPTABLES {
            let mut table = String::new();
            for line in self.shell(&format!("{program}-save")).lines() {
                let line = line.split(" [").next().unwrap_or_default();
                if line.starts_with('*') {
                    table = format!("{program} {line}");
                }
                let is_frame = line.starts_with(['*', '#']) || line == "COMMIT";
                let is_usual = line.starts_with(':') && line.ends_with(" ACCEPT");
                if !is_frame && !is_usual {
                    all += &format!("{table} {line}\n");
                }
            }
        }
        all += &self.shell("ipset save");
        for words in [
            "-4 route show table all",
            "-6 route show table all",
            "-4 rule show",
            "-6 rule show",
            "nexthop show",
            "-brief link show",
        ] {
            all += &self.netns.ip(words).expect("it can be read");
        }
        all + &tree(self.folder.path())
    }
}

/// Every file with what is in it.
fn tree(folder: &Path) -> String {
    let entries =
        fs::read_dir(folder).expect("it is there").map(|entry| entry.expect("there").path());
    let mut paths: Vec<_> = entries.collect();
    paths.sort();
    let text = |path: &PathBuf| {
        let kind = path.metadata().expect("it is there").file_type();
        match (kind.is_dir(), kind.is_socket()) {
            (true, _) => tree(path),
            (_, true) => format!("{}: a socket\n", path.display()),
            _ => format!("{}: {}\n", path.display(), fs::read_to_string(path).expect("text")),
        }
    };
    paths.iter().map(text).collect()
}

#[test]
fn all_that_is_ours_goes_and_nothing_else_changes() {
    let Some(host) = Host::new("cleanup of everything") else { return };
    let foreign = host.everything();
    host.occupy();
    let ours = host.everything();

    let listed = host.clean(&host.scope(true, false));
    assert_eq!(host.everything(), ours, "a dry run changed something");

    let account = host.clean(&host.scope(false, false));
    assert_eq!(account.failed, Vec::<String>::new());
    assert_eq!(host.everything(), foreign);
    assert_eq!(account, listed, "a dry run tells exactly what goes");
    // Four programs with four jumps and five chains each, three sets, two rules, twelve
    // routes, a next hop and its group, two files, a socket.
    assert_eq!(account.gone.len(), 4 * 9 + 3 + 2 + 12 + 2 + 3, "{:#?}", account.gone);
    let others = "interface brnothers: neither a record nor its alias says that we made it";
    assert_eq!(account.left, [others]);

    let again = host.clean(&host.scope(false, false));
    assert_eq!((again.gone.len(), again.failed.len()), (0, 0), "{again:#?}");
    assert_eq!(host.everything(), foreign);
}

#[test]
fn what_stands_where_the_socket_would_and_is_none_of_a_dead_agent_stays() {
    let Some(host) = Host::new("cleanup and sockets") else { return };
    fs::write(host.path("brindle.sock"), "precious").expect("a new file");
    let unfinished = "net.d/.10-brindle.conflist.brindle";
    std::os::unix::fs::symlink(host.path("brindle.sock"), host.path(unfinished)).expect("new");
    let foreign = host.everything();
    let account = host.clean(&host.scope(false, false));
    assert_eq!((account.gone.len(), account.failed.len()), (0, 0), "{account:#?}");
    assert_eq!(host.everything(), foreign);

    fs::remove_file(host.path("brindle.sock")).expect("it is there");
    let _listener = UnixListener::bind(host.path("brindle.sock")).expect("a new file");
    let account = host.clean(&host.scope(false, false));
    assert_eq!((account.gone.len(), account.failed.len()), (0, 0), "{account:#?}");
    assert!(host.path("brindle.sock").exists(), "somebody listens there");
}

#[test]
fn pods_are_cut_off_only_if_that_is_asked_for() {
    let Some(host) = Host::new("cleanup and pods") else { return };
    let foreign = host.everything();
    host.connect();
    let connected = host.everything();
    let account = host.clean(&host.scope(false, false));
    assert_eq!((account.gone.len(), account.failed.len()), (0, 0), "{account:#?}");
    let left = "interface brn0123456789a of pod default/web: it connects it; --pods removes it too";
    assert!(account.left.iter().any(|line| line == left), "{:#?}", account.left);
    assert_eq!(host.everything(), connected);

    let account = host.clean(&host.scope(false, true));
    assert_eq!(account.failed, Vec::<String>::new());
    assert_eq!(host.everything(), foreign);
    assert!(!host.path("data/attachments").exists());
}

#[test]
fn what_is_in_the_way_is_named_and_the_rest_goes() {
    let Some(host) = Host::new("cleanup with something in the way") else { return };
    host.occupy();
    // A rule of another program keeps a set, and a program fails.
    host.shell("iptables-nft -A FORWARD -m set --match-set brn-s4-AAAA src -j DROP");
    let programs = host.path("programs");
    fs::create_dir(&programs).expect("a new folder");
    let script = "#!/bin/sh\necho broken >&2\nexit 3\n";
    let broken = programs.join("ip6tables-legacy-restore");
    fs::write(&broken, script).expect("a new file");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&broken, mode).expect("a new file");
    let mut scope = host.scope(false, false);
    scope.tuning.search.insert(0, programs);
    let account = host.clean(&scope);
    let failed = account.failed.join("\n");
    for words in [
        "set brn-s4-AAAA: a rule or set of another program uses it",
        "set brn-n6-BBBB: a rule or set of another program uses it",
        "the IPv6 filter table of iptables-legacy keeps 2 chains and 2 jumps",
        "the IPv6 nat table of iptables-legacy keeps 1 chains and 1 jumps",
    ] {
        assert!(failed.contains(words), "{words}: {failed}");
    }
    let rest = host.everything();
    assert!(!rest.contains("proto 98") && !rest.contains("proto brindle"), "{rest}");
    for program in ["iptables-nft", "ip6tables-nft", "iptables-legacy"] {
        assert!(!rest.contains(&format!("{program} *filter :BRN-")), "{program}: {rest}");
    }

    host.shell("iptables-nft -D FORWARD -m set --match-set brn-s4-AAAA src -j DROP");
    let account = host.clean(&host.scope(false, false));
    assert_eq!(account.failed, Vec::<String>::new());
    assert!(!host.everything().contains(":BRN-"));
}

#[test]
fn a_host_with_one_backend_or_none_is_cleaned_of_what_it_has() {
    let Some(host) = Host::new("cleanup with few programs") else { return };
    let foreign = host.everything();
    host.netns.ip("route add 10.244.2.0/24 via 10.9.0.2 proto 98").expect("a new route");
    let mut scope = host.scope(false, false);
    scope.tuning.search = Vec::new();
    let account = host.clean(&scope);
    assert_eq!(account.gone, ["route 10.244.2.0/24 metric 0"]);
    assert_eq!(host.everything(), foreign);
    // Legacy tables are in use, and nothing there can show them.
    assert_eq!(account.failed.len(), 2, "{:#?}", account.failed);
    // Whether the kernel holds rules of the other kind cannot be known; nor of sets.
    assert_eq!(account.unseen.len(), 3, "{:#?}", account.unseen);

    let programs = host.path("programs");
    fs::create_dir(&programs).expect("a new folder");
    for program in ["iptables-nft", "ip6tables-nft"] {
        for part in ["", "-save", "-restore"] {
            let program = format!("{program}{part}");
            let real = skip::find(&program).expect("can_run was asked");
            let real = fs::canonicalize(real).expect("it is there");
            let script = format!("#!/bin/sh\nexec -a {program} {} \"$@\"\n", real.display());
            // Busybox and dash know no `exec -a`.
            let script = script.replace("#!/bin/sh", "#!/bin/bash");
            fs::write(programs.join(&program), script).expect("a new file");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(programs.join(&program), mode).expect("a new file");
        }
    }
    host.shell("iptables-nft -N BRN-FORWARD; iptables-nft -I FORWARD -j BRN-FORWARD");
    scope.tuning.search = vec![programs];
    let account = host.clean(&scope);
    assert_eq!(account.gone.len(), 2, "{:#?}", account.gone);
    assert!(!host.everything().contains("BRN-FORWARD"));
}

#[test]
fn the_command_refuses_while_an_agent_runs_and_ends_as_it_says() {
    let Some(host) = Host::new("cleanup as a command") else { return };
    host.occupy();
    fs::remove_file(host.path("brindle.sock")).expect("that of a dead agent");
    let at = |name: &str| host.path(name).display().to_string();
    let text = format!(
        "node: {{name: n1, addresses: [10.9.0.1]}}\nbgp: {{enabled: false}}\n\
         control: {{socket: {}}}\ntelemetry: {{listen: []}}\n\
         cni: {{configDir: {}, dataDir: {}}}\n",
        at("brindle.sock"),
        at("net.d"),
        at("data"),
    );
    fs::write(host.path("brindle.yaml"), text).expect("a new file");
    let config = at("brindle.yaml");
    let run = |words: &[&str]| {
        let words = [&["cleanup", "--config", &config], words].concat();
        let output = host.netns.output(&agent::binary().display().to_string(), &words);
        let output = output.expect("it runs");
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let args = ["agent", "--config", &config];
    let mut process =
        Process::start(&host.netns, "brindle", host.folder.path(), agent::binary(), args)
            .expect("the agent starts");
    until("the agent listens", SOON, || met(host.path("brindle.sock").exists(), || process.tail()));
    let (code, said, complaint) = run(&[]);
    assert_eq!((code, said.as_str()), (Some(1), ""), "{complaint}");
    assert!(complaint.contains(&format!("of node n1 at {}", at("brindle.sock"))), "{complaint}");
    let (code, said, complaint) = run(&["--dry-run"]);
    assert_eq!(code, Some(0), "{complaint}");
    assert!(said.contains("would remove set brn-s4-AAAA\n"), "{said}");
    process.signal(nix::sys::signal::Signal::SIGTERM);
    process.wait(SOON);

    let (code, said, complaint) = run(&[]);
    assert_eq!(code, Some(0), "{complaint}");
    assert!(said.contains("removed set brn-s4-AAAA\n"), "{said}");
    assert!(
        said.contains(&format!("removed file {}\n", at("net.d/10-brindle.conflist"))),
        "{said}"
    );
    let (code, said, _) = run(&[]);
    assert_eq!((code, said.lines().count()), (Some(0), 1), "{said}");
    fs::write(host.path("brindle.yaml"), "bgp: {asNumber: none}").expect("the folder is ours");
    assert_eq!(run(&[]).0, Some(2));
}
