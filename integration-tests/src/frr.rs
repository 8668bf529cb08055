//! FRR's bgpd and zebra in a namespace.

use std::fmt::Write;
use std::net::IpAddr;
use std::os::unix::fs::{PermissionsExt, chown};

use nix::sys::signal::Signal;
use nix::unistd::{Group, User};
use serde_json::Value;
use tempfile::TempDir;

use crate::netns::Host;
use crate::process::Process;
use crate::router::{Plan, Router, Seen, Session, numbers};
use crate::skip::find;
use crate::wait::{SOON, until};

/// A running pair of bgpd and zebra.
#[derive(Debug)]
pub struct Frr {
    host: Host,
    plan: Plan,
    bgpd: Process,
    bfdd: Option<Process>,
    zebra: Process,
    // Dropped last: the programs above write there until their end.
    folder: TempDir,
}

impl Frr {
    /// Starts both and waits until they answer.
    ///
    /// # Panics
    /// If they cannot be started.
    pub fn start(host: &Host, plan: Plan) -> Self {
        let folder = TempDir::new().expect("a folder for temporary files can be made");
        hand_over(&folder);
        std::fs::write(folder.path().join("zebra.conf"), "log stdout\n").expect("it is ours");
        std::fs::write(folder.path().join("bgpd.conf"), config(host, &plan)).expect("it is ours");
        let zebra = launch(host, &folder, "zebra");
        let bgpd = launch(host, &folder, "bgpd");
        let frr = Self { host: host.clone(), plan, bgpd, bfdd: None, zebra, folder };
        frr.answers();
        frr
    }

    /// Starts its bfdd as well and waits until it answers.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start_bfdd(&mut self) {
        std::fs::write(self.folder.path().join("bfdd.conf"), "log stdout\n").expect("it is ours");
        self.bfdd = Some(launch(&self.host, &self.folder, "bfdd"));
        until("bfdd answers", SOON, || {
            let peers = self.ctl(&["show bfd peers"]).map_err(|e| format!("{e:#}"))?;
            if peers.contains("not running") { Err(peers) } else { Ok(()) }
        });
    }

    /// Kills its bfdd with SIGKILL.
    pub fn kill_bfdd(&mut self) {
        self.bfdd = None;
    }

    /// Runs commands of `vtysh`, one after the other.
    ///
    /// # Errors
    /// If bgpd does not answer, with what was printed.
    pub fn ctl(&self, commands: &[&str]) -> anyhow::Result<String> {
        let mut args = vec!["--vty_socket", self.folder.path().to_str().expect("ASCII")];
        args.extend(commands.iter().flat_map(|command| ["-c", command]));
        self.host.netns.run("vtysh", &args)
    }

    fn answers(&self) {
        until("vtysh answers", SOON, || {
            let interfaces = self.ctl(&["show interface brief"]).map_err(|e| format!("{e:#}"))?;
            let summary = self.ctl(&["show bgp summary"]).map_err(|e| format!("{e:#}"))?;
            match interfaces.contains("eth0") && !summary.contains("not running") {
                true => Ok(()),
                false => Err(format!("{interfaces}\n{summary}")),
            }
        });
    }

    fn json(&self, command: &str) -> Option<Value> {
        serde_json::from_str(&self.ctl(&[command]).ok()?).ok()
    }

    fn configure(&self, lines: &[&str]) {
        let router = format!("router bgp {}", self.plan.asn);
        let all: Vec<&str> = ["configure terminal", &router].iter().chain(lines).copied().collect();
        self.ctl(&all).unwrap_or_else(|error| panic!("FRR refused {lines:?}: {error:#}"));
    }

    fn network(&self, no: &str, prefix: &str) {
        let family = format!("address-family {} unicast", family(prefix));
        self.configure(&[&family, &format!("{no} network {prefix}")]);
    }
}

impl Drop for Frr {
    fn drop(&mut self) {
        // They tidy up below /var/tmp when asked kindly.
        for process in [&mut self.bgpd].into_iter().chain(&mut self.bfdd).chain([&mut self.zebra]) {
            if process.running().is_ok() {
                process.signal(Signal::SIGTERM);
                process.wait(SOON);
            }
        }
    }
}

/// What FRR needs beside its programs: it gives up root for the user `frr`, which a user
/// namespace made without root does not have.
pub fn what_is_missing() -> Option<String> {
    let Some(user) = User::from_name("frr").ok().flatten() else {
        return Some("FRR's user frr".into());
    };
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let is_mapped = map.lines().any(|line| {
        let numbers: Vec<u32> = line.split_whitespace().flat_map(str::parse).collect();
        matches!(numbers[..], [first, _, count] if user.uid.as_raw().checked_sub(first).is_some_and(|n| n < count))
    });
    (!is_mapped)
        .then(|| "FRR gives up root for the user frr, which is not in this user namespace".into())
}

/// The daemons insist on a folder of their own.
fn hand_over(folder: &TempDir) {
    let user = User::from_name("frr").ok().flatten().expect("the package makes the user frr");
    let group = Group::from_name("frr").ok().flatten().expect("the package makes the group frr");
    chown(folder.path(), Some(user.uid.as_raw()), Some(group.gid.as_raw())).expect("we are root");
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("likewise");
}

fn family(text: &str) -> &'static str {
    if text.contains(':') { "ipv6" } else { "ipv4" }
}

fn launch(host: &Host, folder: &TempDir, daemon: &str) -> Process {
    let path = |name: &str| folder.path().join(name).to_str().expect("ASCII").to_owned();
    let vty = folder.path().to_str().expect("ASCII").to_owned();
    let mut args = vec!["-f".to_owned(), path(&format!("{daemon}.conf"))];
    args.extend(["-i".to_owned(), path(&format!("{daemon}.pid"))]);
    args.extend(["-z".to_owned(), path("zserv.api"), "--vty_socket".to_owned(), vty]);
    if daemon == "bfdd" {
        args.extend(["--bfdctl".to_owned(), path("bfdd.sock")]);
    }
    let program = find(daemon).expect("can_run was asked");
    Process::start(&host.netns, daemon, folder.path(), program, args).expect("FRR can be started")
}

fn config(host: &Host, plan: &Plan) -> String {
    let mut text = format!(
        "log stdout\ndebug bgp neighbor-events\nrouter bgp {}\nbgp router-id {}\n\
         no bgp ebgp-requires-policy\nno bgp network import-check\nno bgp default ipv4-unicast\n",
        plan.asn, host.v4
    );
    for neighbor in &plan.neighbors {
        let address = neighbor.address;
        let _ = writeln!(text, "neighbor {address} remote-as {}", neighbor.asn);
        if let Some(password) = neighbor.password {
            let _ = writeln!(text, "neighbor {address} password {password}");
        }
        if neighbor.ttl_security {
            let _ = writeln!(text, "neighbor {address} ttl-security hops 1");
        }
        if neighbor.passive {
            let _ = writeln!(text, "neighbor {address} passive");
        }
        let _ = writeln!(text, "neighbor {address} timers connect 2");
        let _ = writeln!(text, "neighbor {address} advertisement-interval 0");
        let _ = writeln!(text, "neighbor {address} update-source {}", host.address_like(address));
    }
    for (family, is_ours) in [("ipv4", false), ("ipv6", true)] {
        let _ = writeln!(text, "address-family {family} unicast");
        for neighbor in plan.neighbors.iter().filter(|one| one.address.is_ipv6() == is_ours) {
            let _ = writeln!(text, "neighbor {} activate", neighbor.address);
            if neighbor.add_paths {
                // It takes several from whoever offers them.
                let _ = writeln!(text, "neighbor {} addpath-tx-all-paths", neighbor.address);
            }
        }
        for prefix in plan.originate.iter().filter(|prefix| prefix.contains(':') == is_ours) {
            let _ = writeln!(text, "network {prefix}");
        }
        text.push_str("exit-address-family\n");
    }
    text
}

impl Router for Frr {
    fn session(&self, neighbor: IpAddr) -> Session {
        match self.json(&format!("show bgp neighbors {neighbor} json")) {
            Some(value) => Session {
                up: value[neighbor.to_string()]["bgpState"] == "Established",
                text: format!("{value}\n{}", self.bgpd.output()),
            },
            None => Session { up: false, text: "vtysh does not answer".into() },
        }
    }

    fn route(&self, prefix: &str) -> Option<Seen> {
        let route = self.json(&format!("show bgp {} unicast {prefix} json", family(prefix)))?;
        if route["prefix"] != prefix {
            return None;
        }
        let paths = route["paths"].as_array()?;
        let path = paths.iter().find(|path| path["bestpath"]["overall"] == true)?;
        let list = |name: &str| -> Vec<String> {
            let text = path[name]["string"].as_str().unwrap_or_default();
            text.split_whitespace().map(String::from).collect()
        };
        let number = |name: &str| path[name].as_u64().and_then(|number| number.try_into().ok());
        let next_hops = path["nexthops"].as_array()?;
        let global = next_hops.iter().find(|hop| hop["scope"] != "link-local")?;
        Some(Seen {
            as_path: numbers(path["aspath"]["string"].as_str().unwrap_or_default()),
            next_hop: global["ip"].as_str()?.parse().ok()?,
            med: number("metric"),
            local_pref: number("locPrf"),
            communities: list("community"),
            large_communities: list("largeCommunity"),
        })
    }

    fn next_hops(&self, prefix: &str) -> Vec<IpAddr> {
        let route = self.json(&format!("show bgp {} unicast {prefix} json", family(prefix)));
        let route = route.filter(|route| route["prefix"] == prefix).unwrap_or_default();
        let paths = route["paths"].as_array().into_iter().flatten();
        let mut hops: Vec<IpAddr> =
            paths.filter_map(|path| path["nexthops"][0]["ip"].as_str()?.parse().ok()).collect();
        hops.sort_unstable();
        hops
    }

    fn learned(&self, neighbor: IpAddr) -> usize {
        let family = family(&neighbor.to_string());
        let summary = self.json(&format!("show bgp {family} unicast summary json"));
        let count = summary.and_then(|all| all["peers"][neighbor.to_string()]["pfxRcd"].as_u64());
        count.unwrap_or(0).try_into().unwrap_or(usize::MAX)
    }

    fn originate(&mut self, prefix: &str) {
        self.plan.originate.push(prefix.to_owned());
        self.network("", prefix);
    }

    fn withdraw(&mut self, prefix: &str) {
        self.plan.originate.retain(|one| one != prefix);
        self.network("no", prefix);
    }

    fn shut(&mut self, neighbor: IpAddr, words: &str) {
        self.configure(&[&format!("neighbor {neighbor} shutdown message {words}")]);
    }

    fn kill(&mut self) {
        self.bgpd.kill();
    }

    fn start(&mut self) {
        std::fs::write(self.folder.path().join("bgpd.conf"), config(&self.host, &self.plan))
            .expect("the folder is ours");
        self.bgpd = launch(&self.host, &self.folder, "bgpd");
        self.answers();
    }
}
