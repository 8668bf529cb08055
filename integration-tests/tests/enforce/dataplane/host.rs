//! A host with an iptables of its own, rules of others in it, and what is wanted of ours.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use brindle::enforce::dataplane::{Applied, Dataplane, Tuning, Unavailable};
use brindle::enforce::{Backend, BackendChoice};
use brindle_policy::model::{Direction, PodKey, PolicyId, PolicyKind, Side};
use brindle_policy::names::{ChainName, Comment, Fixed, SetName};
use brindle_policy::ruleset::{
    BuiltIn, Chain, Hook, Match, Members, Plan, Purpose, Rule, Ruleset, Set, Table, Target,
};
use brindle_policy::{Cidr, Family, Protocol};
use integration_tests::{Netns, skip};
use tempfile::TempDir;

/// Programs of both families and backends, and others.
const PROGRAMS: [&str; 7] = [
    "iptables-nft-restore",
    "ip6tables-nft-restore",
    "iptables-legacy-restore",
    "ip6tables-legacy-restore",
    "ipset",
    "nft",
    "flock",
];

/// A network namespace, and programs that use a lock of its own.
pub(crate) struct Host {
    pub(crate) netns: Arc<Netns>,
    pub(crate) backend: Backend,
    folder: TempDir,
}

/// Calls `test` with a new host for each backend.
pub(crate) fn each_host(name: &str, test: impl Fn(&Host)) {
    for backend in [Backend::Nft, Backend::Legacy] {
        if let Some(host) = a_host(name, backend) {
            eprintln!("{name} with {backend}");
            test(&host);
        }
    }
}

/// A new host, if one can be made here.
pub(crate) fn a_host(name: &str, backend: Backend) -> Option<Host> {
    skip::can_run(name, &PROGRAMS).then(|| Host::new(backend))
}

impl Host {
    fn new(backend: Backend) -> Self {
        let netns = Netns::new("host").expect("can_run was asked");
        let folder = TempDir::new().expect("a folder can be made");
        let host = Self { netns, backend, folder };
        for base in ["iptables", "ip6tables"] {
            for backend in ["nft", "legacy"] {
                for part in ["", "-save", "-restore"] {
                    host.unwrap(&format!("{base}-{backend}{part}"));
                }
            }
        }
        host
    }

    /// The lock that our legacy programs take; usually there is one for the whole machine.
    pub(crate) fn lock(&self) -> String {
        self.folder.path().join("lock").display().to_string()
    }

    /// Puts a shell script in the place of a program.
    pub(crate) fn wrap(&self, name: &str, script: &str) {
        let path = self.folder.path().join(name);
        // Who runs the old one goes on with that.
        let new = path.with_extension("new");
        fs::write(&new, format!("#!/bin/sh\n{script}\n")).expect("the folder is ours");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("the file is ours");
        fs::rename(&new, &path).expect("the folder is ours");
    }

    /// Puts the program itself back.
    pub(crate) fn unwrap(&self, name: &str) {
        let (lock, program) = (self.lock(), real(name));
        self.wrap(name, &format!("XTABLES_LOCKFILE={lock} exec {program} \"$@\""));
    }

    /// The name of a program of this host's backend: of `ip` and `-restore`,
    /// `iptables-nft-restore`.
    pub(crate) fn program(&self, base: &str, part: &str) -> String {
        let word = match self.backend {
            Backend::Nft => "nft",
            Backend::Legacy => "legacy",
        };
        format!("{base}tables-{word}{part}")
    }

    /// Changes the host's tables of `ip` or `ip6`, with words as a shell reads them.
    pub(crate) fn iptables(&self, base: &str, words: &str) {
        self.shell(&format!("{} {words}", self.program(base, "")));
    }

    /// Runs a shell script within, and returns what it printed.
    pub(crate) fn shell(&self, script: &str) -> String {
        let folder = self.folder.path().display();
        let script = format!("set -e; PATH={folder}:/usr/sbin:$PATH; {script}");
        self.netns.run("sh", &["-c", &script]).expect("the script is right")
    }

    pub(crate) fn tuning(&self) -> Tuning {
        let mut tuning = Tuning::default();
        tuning.search.insert(0, self.folder.path().to_owned());
        tuning
    }

    pub(crate) fn choice(&self) -> BackendChoice {
        match self.backend {
            Backend::Nft => BackendChoice::Nft,
            Backend::Legacy => BackendChoice::Legacy,
        }
    }

    /// Works within the namespace and an event loop.
    pub(crate) fn run<T: Send>(&self, work: impl AsyncFnOnce() -> T + Send) -> T {
        self.netns.inside(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("an event loop").block_on(work())
        })
    }

    pub(crate) async fn detect(&self) -> Dataplane {
        self.detect_within(Duration::from_secs(60)).await.expect("all is there")
    }

    /// With other patience for programs.
    pub(crate) async fn detect_within(&self, limit: Duration) -> Result<Dataplane, Unavailable> {
        Dataplane::detect_tuned(self.choice(), Tuning { limit, ..self.tuning() }).await
    }

    /// Gives the host rules, sets and chains of others.
    pub(crate) fn furnish(&self) {
        for base in ["ip", "ip6"] {
            let family = if base == "ip" { "inet" } else { "inet6" };
            self.shell(&format!("ipset create other-{base} hash:ip family {family}"));
            for words in [
                "-N KUBE-FORWARD",
                r#"-A KUBE-FORWARD -m comment --comment "a b -j BRN-X 'c" -j RETURN"#,
                "-A FORWARD -j KUBE-FORWARD",
                "-A FORWARD -i eth7 -j DROP",
                "-A INPUT -p tcp --dport 9 -j DROP",
                "-t nat -A POSTROUTING -o eth7 -j MASQUERADE",
                "-t mangle -A FORWARD -j RETURN",
                "-P FORWARD DROP",
            ] {
                self.iptables(base, words);
            }
            self.iptables(base, &format!("-A FORWARD -m set --match-set other-{base} src -j DROP"));
        }
    }

    /// All rules and sets of others, each with its table; without counters, and without what
    /// tables hold that are only just there.
    pub(crate) fn foreign(&self) -> String {
        let is_ours = |line: &str| {
            line.starts_with(":BRN-")
                || line.starts_with("-A BRN-")
                || line.contains("brindle:hook")
                || line.contains(" brn-")
        };
        let mut foreign = String::new();
        let mut table = "";
        for line in self.all().lines() {
            // Chains of the kernel count packets.
            let line = line.split(" [").next().unwrap_or_default();
            if line.starts_with('*') {
                table = line;
            }
            let is_frame = line.starts_with(['*', '#']) || line == "COMMIT";
            let is_usual = line.starts_with(':') && line.ends_with(" ACCEPT");
            if !is_frame && !is_usual && !is_ours(line) {
                foreign += &format!("{table} {line}\n");
            }
        }
        foreign
    }

    /// What is ours, as the programs print it.
    pub(crate) fn ours(&self) -> Vec<String> {
        let all = self.all();
        let is_ours = |line: &&str| {
            (line.contains("BRN-") || line.contains("brn-")) && !line.contains("KUBE")
        };
        all.lines().filter(is_ours).map(str::to_owned).collect()
    }

    fn all(&self) -> String {
        let saves = ["ip", "ip6"].map(|base| self.shell(&self.program(base, "-save")));
        let sets = self.shell("ipset save");
        // The kernel keeps members in any order, and chooses the size of its hash and a seed.
        let set = |line: &str| line.split(" hashsize").next().unwrap_or_default().to_owned();
        let mut sets: Vec<String> = sets.lines().map(set).collect();
        sets.sort();
        saves.concat() + &sets.join("\n")
    }
}

fn real(name: &str) -> String {
    skip::find(name).expect("can_run was asked").display().to_string()
}

/// Brings the kernel to what is wanted.
pub(crate) async fn bring(dataplane: &mut Dataplane, want: &Ruleset) -> Applied {
    let plan = drift(dataplane, want).await;
    dataplane.apply(&plan).await.expect("it can be written")
}

pub(crate) async fn drift(dataplane: &Dataplane, want: &Ruleset) -> Plan {
    dataplane.drift(want).await.expect("it can be read").0
}

/// Fails unless the kernel holds exactly what is wanted.
#[track_caller]
pub(crate) fn assert_empty(drift: &Plan, what: &str) {
    assert!(drift.is_empty(), "{what}: {drift:#?}");
}

pub(crate) fn address(family: Family, number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    match family {
        Family::V4 => IpAddr::from([10, 1, high, low]),
        Family::V6 => IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 1, number]),
    }
}

pub(crate) fn set_name(kind: char, family: Family) -> SetName {
    SetName::of(kind, family, &["test"])
}

pub(crate) fn policy(name: &str) -> PolicyId {
    PolicyId { kind: PolicyKind::NetworkPolicy, namespace: Some("shop".into()), name: name.into() }
}

pub(crate) fn rule(matches: Vec<Match>, target: Target, comment: &str) -> Rule {
    Rule { matches, target, comment: Some(Comment::new(&[comment])) }
}

pub(crate) fn add_chain(want: &mut Ruleset, name: ChainName, purpose: Purpose, rules: Vec<Rule>) {
    let chain = Arc::new(Chain { purpose, rules });
    want.chains.insert((Table::Filter, name), chain);
}

/// The chain of a policy for ingress.
pub(crate) fn add_policy(want: &mut Ruleset, name: &str, rules: Vec<Rule>) -> ChainName {
    let chain = ChainName::policy(&policy(name), Direction::Ingress);
    let purpose = Purpose::Policy(policy(name), Direction::Ingress);
    add_chain(want, chain.clone(), purpose, rules);
    chain
}

pub(crate) fn add_set(want: &mut Ruleset, kind: char, members: Members) -> SetName {
    let name = set_name(kind, want.family);
    want.sets.insert(name.clone(), Set { about: "a test".into(), members });
    name
}

/// A small ruleset with something of everything.
pub(crate) fn want(family: Family) -> Ruleset {
    let mut want = Ruleset::new(family);
    let addresses: BTreeSet<_> = (1..=3).map(|number| address(family, number)).collect();
    let peers = add_set(&mut want, 's', Members::Addresses(addresses));
    let block = Cidr::new(address(family, 0), family.bits() - 12).expect("short enough");
    let blocks = add_set(&mut want, 'n', Members::Blocks([block].into()));
    let port = (address(family, 1), Protocol::Tcp, 80);
    let ports = add_set(&mut want, 'p', Members::Ports([port].into()));
    let in_set = |side, set: &SetName, negated| Match::InSet { side, set: set.clone(), negated };

    let source = Side::Source;
    let of_policy = add_policy(
        &mut want,
        "db",
        vec![
            rule(vec![in_set(source, &peers, false)], Target::Accept, "rule/0"),
            rule(vec![in_set(source, &blocks, false)], Target::Accept, "rule/1"),
            rule(
                vec![Match::PortIn { side: Side::Destination, set: ports, negated: false }],
                Target::Accept,
                "rule/2",
            ),
        ],
    );
    let pod = PodKey { namespace: "shop".into(), name: "db-0".into() };
    let of_pod = ChainName::endpoint(&pod, Direction::Ingress);
    add_chain(
        &mut want,
        of_pod.clone(),
        Purpose::Endpoint(pod, Direction::Ingress),
        vec![
            rule(vec![Match::Invalid], Target::Drop, "invalid"),
            rule(vec![], Target::Jump(of_policy), "policy"),
            rule(vec![], Target::Drop, "deny"),
        ],
    );
    let to = ChainName::fixed(Fixed::To);
    let destination = Match::In(Side::Destination, Cidr::host(address(family, 1)));
    let find = rule(vec![destination], Target::Goto(of_pod), "to");
    add_chain(&mut want, to.clone(), Purpose::Fixed, vec![find]);
    for (chain, from) in [(Fixed::Forward, BuiltIn::Forward), (Fixed::Input, BuiltIn::Input)] {
        let chain = ChainName::fixed(chain);
        let rules = vec![
            rule(vec![Match::Established], Target::Accept, "established"),
            rule(vec![], Target::Jump(to.clone()), "to"),
        ];
        add_chain(&mut want, chain.clone(), Purpose::Fixed, rules);
        want.hooks.insert(Hook { table: Table::Filter, from, to: chain });
    }
    let chain = ChainName::fixed(Fixed::Postrouting);
    let masquerade = rule(
        vec![in_set(source, &peers, false), in_set(Side::Destination, &blocks, true)],
        Target::Masquerade,
        "masquerade",
    );
    let rules = vec![masquerade];
    let key = (Table::Nat, chain.clone());
    want.chains.insert(key, Arc::new(Chain { purpose: Purpose::Fixed, rules }));
    want.hooks.insert(Hook { table: Table::Nat, from: BuiltIn::Postrouting, to: chain });
    want
}
