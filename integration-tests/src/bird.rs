//! BIRD 2 in a namespace.

use std::fmt::Write;
use std::net::IpAddr;

use tempfile::TempDir;

use crate::netns::Host;
use crate::process::Process;
use crate::router::{Neighbor, Plan, Router, Seen, Session, numbers};
use crate::skip::find;
use crate::wait::{SOON, until};

/// A running BIRD.
#[derive(Debug)]
pub struct Bird {
    host: Host,
    plan: Plan,
    process: Process,
    // Dropped last: the log of the above is in it.
    folder: TempDir,
}

impl Bird {
    /// Starts it and waits until it answers.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(host: &Host, plan: Plan) -> Self {
        Self::start_with(host, plan, "")
    }

    /// The same with more lines of configuration, which [`Router::originate`] and
    /// [`Router::withdraw`] forget.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start_with(host: &Host, plan: Plan, more: &str) -> Self {
        let folder = TempDir::new().expect("a folder for temporary files can be made");
        let text = config(host, &plan) + more;
        std::fs::write(folder.path().join("bird.conf"), text).expect("the folder is ours");
        let process = launch(host, &folder);
        let bird = Self { host: host.clone(), plan, folder, process };
        bird.answers();
        bird
    }

    /// Runs a command of `birdc`.
    ///
    /// # Errors
    /// If BIRD does not answer, with what `birdc` printed.
    pub fn ctl(&self, words: &str) -> anyhow::Result<String> {
        let socket = self.folder.path().join("bird.ctl");
        let birdc = find("birdc").unwrap_or_default();
        let mut args = vec!["-s", socket.to_str().expect("ASCII")];
        args.extend(words.split_whitespace());
        self.host.netns.run(birdc.to_str().expect("ASCII"), &args)
    }

    /// Its process, for measurements.
    pub fn process(&self) -> &Process {
        &self.process
    }

    fn answers(&self) {
        until("birdc answers", SOON, || {
            self.ctl("show status").map(drop).map_err(|e| format!("{e:#}"))
        });
    }

    fn reconfigure(&mut self) {
        let text = config(&self.host, &self.plan);
        std::fs::write(self.folder.path().join("bird.conf"), text).expect("the folder is ours");
        let answer = self.ctl("configure").expect("BIRD runs");
        assert!(answer.contains("Reconfig"), "BIRD refused its configuration: {answer}");
    }
}

fn launch(host: &Host, folder: &TempDir) -> Process {
    let bird = find("bird").expect("can_run was asked");
    let path = |name: &str| folder.path().join(name).to_str().expect("ASCII").to_owned();
    let args = ["-f", "-c", &path("bird.conf"), "-s", &path("bird.ctl")].map(String::from);
    Process::start(&host.netns, "bird", folder.path(), bird, args).expect("BIRD can be started")
}

fn protocol(neighbor: IpAddr) -> String {
    format!("bgp_{}", neighbor.to_string().replace(['.', ':'], "_"))
}

fn config(host: &Host, plan: &Plan) -> String {
    let mut text = format!(
        "log stderr all;\nrouter id {};\nprotocol device {{ scan time 1; }}\n\
         protocol direct {{ ipv4; ipv6; }}\n",
        host.v4
    );
    for (family, is_ours) in [("ipv4", false), ("ipv6", true)] {
        let _ = writeln!(text, "protocol static static_{family} {{ {family};");
        for prefix in plan.originate.iter().filter(|prefix| prefix.contains(':') == is_ours) {
            let _ = writeln!(text, "  route {prefix} blackhole;");
        }
        text.push_str("}\n");
    }
    if plan.neighbors.iter().any(|neighbor| neighbor.keeps) {
        for family in ["ipv4", "ipv6"] {
            let _ = writeln!(
                text,
                "protocol kernel {{ {family} {{ export where source = RTS_BGP; }}; }}"
            );
        }
    }
    for neighbor in &plan.neighbors {
        text.push_str(&session(host, plan, neighbor));
    }
    text
}

fn protection(neighbor: &Neighbor) -> String {
    let mut text = String::new();
    if let Some(password) = neighbor.password {
        let _ = write!(text, "password \"{password}\"; ");
    }
    if neighbor.ttl_security {
        text.push_str("ttl security on; ");
    }
    if neighbor.passive {
        text.push_str("passive on; ");
    }
    text
}

fn session(host: &Host, plan: &Plan, neighbor: &Neighbor) -> String {
    format!(
        "protocol bgp {name} {{\n  local {ours} as {asn};\n  neighbor {theirs} as {their_asn};\n  \
         connect delay time 1;\n  connect retry time 2;\n  error wait time 1, 5;\n  {client}\n  {protection}\n  \
         {family} {{ import all; export where source ~ [RTS_STATIC, RTS_BGP]; {paths} }};\n}}\n",
        name = protocol(neighbor.address),
        ours = host.address_like(neighbor.address),
        asn = plan.asn,
        theirs = neighbor.address,
        their_asn = neighbor.asn,
        protection = protection(neighbor),
        paths = if neighbor.add_paths { "add paths on;" } else { "" },
        client = if neighbor.is_client { "rr client;" } else { "" },
        family = if neighbor.address.is_ipv4() { "ipv4" } else { "ipv6" },
    )
}

impl Router for Bird {
    fn session(&self, neighbor: IpAddr) -> Session {
        let text = match self.ctl(&format!("show protocols all {}", protocol(neighbor))) {
            Ok(text) => text,
            Err(error) => format!("{error:#}"),
        };
        let up =
            text.lines().any(|line| line.trim().starts_with("BGP state:          Established"));
        Session { up, text: format!("{text}\n{}", self.process.output()) }
    }

    fn route(&self, prefix: &str) -> Option<Seen> {
        let text = self.ctl(&format!("show route for {prefix} all")).ok()?;
        let shown = text.lines().find(|line| line.contains("[bgp_"))?;
        if !shown.contains(prefix) {
            return None;
        }
        let field = |name: &str| {
            let lines = text.lines().map(str::trim);
            lines.filter_map(|line| line.strip_prefix(name)).map(str::trim).next()
        };
        Some(Seen {
            as_path: numbers(field("BGP.as_path:").unwrap_or_default()),
            next_hop: field("BGP.next_hop:")?.split_whitespace().next()?.parse().ok()?,
            med: field("BGP.med:").and_then(|number| number.parse().ok()),
            local_pref: field("BGP.local_pref:").and_then(|number| number.parse().ok()),
            communities: communities(field("BGP.community:").unwrap_or_default()),
            large_communities: communities(field("BGP.large_community:").unwrap_or_default()),
        })
    }

    fn next_hops(&self, prefix: &str) -> Vec<IpAddr> {
        let text = self.ctl(&format!("show route for {prefix} all")).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.trim().strip_prefix("BGP.next_hop:"));
        let mut hops: Vec<IpAddr> =
            lines.filter_map(|hops| hops.split_whitespace().next()?.parse().ok()).collect();
        hops.sort_unstable();
        hops
    }

    fn learned(&self, neighbor: IpAddr) -> usize {
        let count = self.ctl(&format!("show route protocol {} count", protocol(neighbor)));
        let count = count.unwrap_or_default();
        // "7 of 9 routes for 7 networks in table master4"; the other table's line says 0.
        count
            .lines()
            .filter(|line| line.contains(" routes for "))
            .filter_map(|line| line.split_whitespace().next()?.parse::<usize>().ok())
            .max()
            .unwrap_or(0)
    }

    fn originate(&mut self, prefix: &str) {
        self.plan.originate.push(prefix.to_owned());
        self.reconfigure();
    }

    fn withdraw(&mut self, prefix: &str) {
        self.plan.originate.retain(|one| one != prefix);
        self.reconfigure();
    }

    fn shut(&mut self, neighbor: IpAddr, words: &str) {
        let socket = self.folder.path().join("bird.ctl");
        let birdc = find("birdc").expect("can_run was asked");
        let name = protocol(neighbor);
        let quoted = format!("\"{words}\"");
        let args = ["-s", socket.to_str().expect("ASCII"), "disable", &name, &quoted];
        self.host.netns.run(birdc.to_str().expect("ASCII"), &args).expect("BIRD runs");
    }

    fn kill(&mut self) {
        self.process.kill();
    }

    fn start(&mut self) {
        self.process = launch(&self.host, &self.folder);
        self.answers();
    }
}

/// `(64512,1) (64512,2)` and `(64512, 1, 2)` with colons.
fn communities(text: &str) -> Vec<String> {
    let each = text.split(')').map(|one| one.replace(['(', ' '], "").replace(',', ":"));
    each.filter(|one| !one.is_empty()).collect()
}
