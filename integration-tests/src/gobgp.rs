//! GoBGP in a namespace.

use std::fmt::Write;
use std::net::IpAddr;

use serde_json::Value;
use tempfile::TempDir;

use crate::netns::Host;
use crate::process::Process;
use crate::router::{Plan, Router, Seen, Session};
use crate::skip::find;
use crate::wait::{SOON, until};

/// A running gobgpd.
#[derive(Debug)]
pub struct Gobgp {
    host: Host,
    plan: Plan,
    process: Process,
    // Dropped last: the log of the above is in it.
    folder: TempDir,
}

impl Gobgp {
    /// Starts it and waits until it answers.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(host: &Host, plan: Plan) -> Self {
        let folder = TempDir::new().expect("a folder for temporary files can be made");
        std::fs::write(folder.path().join("gobgpd.toml"), config(host, &plan))
            .expect("the folder is ours");
        let process = launch(host, &folder);
        let gobgp = Self { host: host.clone(), plan, folder, process };
        gobgp.ready();
        gobgp
    }

    /// Runs the `gobgp` program.
    ///
    /// # Errors
    /// If gobgpd does not answer, with what was printed.
    pub fn ctl(&self, words: &str) -> anyhow::Result<String> {
        self.host.netns.run("gobgp", &words.split_whitespace().collect::<Vec<_>>())
    }

    /// Its process, for measurements.
    pub fn process(&self) -> &Process {
        &self.process
    }

    fn ready(&self) {
        until("gobgp answers", SOON, || self.ctl("global").map(drop).map_err(|e| format!("{e:#}")));
        for prefix in &self.plan.originate {
            self.change("add", prefix);
        }
    }

    fn change(&self, verb: &str, prefix: &str) {
        self.ctl(&format!("global rib {verb} -a {} {prefix}", family(prefix)))
            .unwrap_or_else(|error| panic!("gobgp cannot {verb} {prefix}: {error:#}"));
    }

    fn paths(&self, prefix: &str) -> Vec<Value> {
        let text = self.ctl(&format!("global rib {prefix} -a {} -j", family(prefix)));
        match text.ok().and_then(|text| serde_json::from_str(&text).ok()) {
            Some(Value::Array(paths)) => paths,
            Some(Value::Object(mut by_prefix)) => match by_prefix.remove(prefix) {
                Some(Value::Array(paths)) => paths,
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    fn neighbor(&self, neighbor: IpAddr) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.ctl(&format!("neighbor {neighbor} -j"))?)?)
    }
}

fn family(text: &str) -> &'static str {
    if text.contains(':') { "ipv6" } else { "ipv4" }
}

fn launch(host: &Host, folder: &TempDir) -> Process {
    let config = folder.path().join("gobgpd.toml").to_str().expect("ASCII").to_owned();
    let args = ["-t", "toml", "-f", &config, "--api-hosts", "127.0.0.1:50051"].map(String::from);
    let gobgpd = find("gobgpd").expect("can_run was asked");
    Process::start(&host.netns, "gobgpd", folder.path(), gobgpd, args)
        .expect("gobgpd can be started")
}

fn config(host: &Host, plan: &Plan) -> String {
    let mut text = format!(
        "[global.config]\nas = {}\nrouter-id = \"{}\"\nlocal-address-list = [\"{}\", \"{}\"]\n",
        plan.asn, host.v4, host.v4, host.v6
    );
    for neighbor in &plan.neighbors {
        let ours = host.address_like(neighbor.address);
        let family = family(&ours.to_string());
        let _ = write!(
            text,
            "[[neighbors]]\n[neighbors.config]\nneighbor-address = \"{}\"\npeer-as = {}\n\
             auth-password = \"{}\"\n\
             [neighbors.timers.config]\nconnect-retry = 2\nidle-hold-time-after-reset = 1\n\
             [neighbors.transport.config]\nlocal-address = \"{ours}\"\npassive-mode = {}\n\
             [[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\n\
             afi-safi-name = \"{family}-unicast\"\n",
            neighbor.address,
            neighbor.asn,
            neighbor.password.unwrap_or_default(),
            neighbor.passive,
        );
        if neighbor.keeps {
            text.push_str(
                "[neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true\n\
                 [neighbors.graceful-restart.config]\nenabled = true\nrestart-time = 120\n\
                 notification-enabled = true\n",
            );
        }
        if neighbor.add_paths {
            text.push_str("[neighbors.afi-safis.add-paths.config]\nreceive = true\nsend-max = 8\n");
        }
        if neighbor.is_client {
            let _ = writeln!(
                text,
                "[neighbors.route-reflector.config]\nroute-reflector-client = true\n\
                 route-reflector-cluster-id = \"{}\"",
                host.v4
            );
        }
    }
    text
}

impl Router for Gobgp {
    fn session(&self, neighbor: IpAddr) -> Session {
        match self.neighbor(neighbor) {
            // SessionState 6 is ESTABLISHED.
            Ok(value) => Session {
                up: value["state"]["session_state"] == 6,
                text: format!("{value}\n{}", self.process.output()),
            },
            Err(error) => Session { up: false, text: format!("{error:#}") },
        }
    }

    fn route(&self, prefix: &str) -> Option<Seen> {
        // The best path comes first; a prefix that is gone has none.
        let path = self.paths(prefix).into_iter().next()?;
        let attributes = path["attrs"].as_array()?;
        let of = |code: u64| attributes.iter().find(|attribute| attribute["type"] == code);
        let next_hop = next_hop(&path)?;
        let segments = of(2).and_then(|path| path["as_paths"].as_array());
        Some(Seen {
            as_path: segments
                .into_iter()
                .flatten()
                .filter_map(|segment| segment["asns"].as_array())
                .flatten()
                .filter_map(number)
                .collect(),
            next_hop,
            med: of(4).and_then(|med| number(&med["metric"])),
            local_pref: of(5).and_then(|pref| number(&pref["value"])),
            communities: of(8).map_or_else(Vec::new, communities),
            large_communities: of(32).map_or_else(Vec::new, large_communities),
        })
    }

    fn next_hops(&self, prefix: &str) -> Vec<IpAddr> {
        let mut hops: Vec<IpAddr> = self.paths(prefix).iter().filter_map(next_hop).collect();
        hops.sort_unstable();
        hops
    }

    fn learned(&self, neighbor: IpAddr) -> usize {
        let family = family(&neighbor.to_string());
        let text = self.ctl(&format!("neighbor {neighbor} adj-in -a {family} -j"));
        match text.ok().and_then(|text| serde_json::from_str(&text).ok()) {
            Some(Value::Array(list)) => list.len(),
            Some(Value::Object(map)) => map.len(),
            _ => 0,
        }
    }

    fn originate(&mut self, prefix: &str) {
        self.plan.originate.push(prefix.to_owned());
        self.change("add", prefix);
    }

    fn withdraw(&mut self, prefix: &str) {
        self.plan.originate.retain(|one| one != prefix);
        self.change("del", prefix);
    }

    fn shut(&mut self, neighbor: IpAddr, words: &str) {
        let neighbor = neighbor.to_string();
        let args = ["neighbor", &neighbor, "shutdown", "--reason", words];
        self.host.netns.run("gobgp", &args).expect("gobgpd runs");
    }

    fn kill(&mut self) {
        self.process.kill();
    }

    fn start(&mut self) {
        self.process = launch(&self.host, &self.folder);
        self.ready();
    }
}

fn next_hop(path: &Value) -> Option<IpAddr> {
    let attributes = path["attrs"].as_array()?;
    let of = |code: u64| attributes.iter().find(|attribute| attribute["type"] == code);
    of(3).or_else(|| of(14))?["nexthop"].as_str()?.parse().ok()
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64()?.try_into().ok()
}

fn communities(attribute: &Value) -> Vec<String> {
    let numbers = attribute["communities"].as_array().into_iter().flatten().filter_map(number);
    numbers.map(|number| format!("{}:{}", number >> 16, number & 0xffff)).collect()
}

fn large_communities(attribute: &Value) -> Vec<String> {
    let each = attribute["value"].as_array().into_iter().flatten();
    each.map(|one| format!("{}:{}:{}", one["ASN"], one["LocalData1"], one["LocalData2"])).collect()
}
