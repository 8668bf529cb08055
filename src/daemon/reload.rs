//! Reading the configuration again, without touching what did not change.

use std::sync::Arc;

use brindle_config::{Config, Errors, Loaded};
use tracing::{info, warn};

use super::routing::fib_settings;
use super::{Daemon, Options, policy};
use crate::cluster::report::{Reason, Subject};
use crate::control::view::{Reload, ReloadResult};
use crate::fib;

/// Reads and checks the configuration; warnings go to the log.
///
/// # Errors
/// Every problem, one a line, as `file:line:column  path: what is wrong`.
pub(super) async fn load(options: &Options) -> anyhow::Result<Loaded> {
    let path = options.config.clone();
    let loaded = tokio::task::spawn_blocking(move || {
        let mut loaded = Config::load(&path)?;
        loaded.check_keys()?;
        Ok::<_, Errors>(loaded)
    });
    let mut loaded = loaded.await??;
    if options.policy_only {
        anyhow::ensure!(
            loaded.config.source.is_some(),
            "--policy-only needs a source of pods and policies; write \
             \"source: {{kind: kubernetes}}\" or for instance \
             \"source: {{kind: files, path: /etc/brindle/manifests}}\" into {}",
            options.config.display()
        );
        loaded.config.bgp.enabled = false;
        loaded.config.policy.enabled = true;
    }
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    Ok(loaded)
}

impl Daemon {
    /// Loads the configuration again and applies what can change in a running daemon. A bad
    /// file changes nothing.
    pub(super) async fn reload(&mut self) -> anyhow::Result<Reload> {
        self.supervisor.reloading();
        let reload = self.load_again().await;
        self.supervisor.reloaded();
        reload
    }

    async fn load_again(&mut self) -> anyhow::Result<Reload> {
        let loaded = load(&self.known.options).await;
        let loaded = match loaded.and_then(|loaded| self.may_take(loaded)) {
            Ok(loaded) => loaded,
            Err(error) => {
                let errors: Vec<String> = error.to_string().lines().map(str::to_owned).collect();
                for error in &errors {
                    warn!("{error}");
                }
                warn!("configuration refused; the running one is unchanged");
                let subject = Subject::Node(Arc::clone(&self.known.name));
                let message = format!("the running one is unchanged: {}", errors.join("; "));
                self.known.reporter.report(subject, Reason::ConfigRefused, message);
                self.known.update(|facts| {
                    facts.config_stale = true;
                    facts.config_errors.clone_from(&errors);
                    facts.reloads.refused += 1;
                });
                return Ok(outcome(ReloadResult::Refused, Vec::new(), Vec::new(), errors));
            }
        };
        let files: Vec<String> =
            loaded.files.iter().map(|file| file.display().to_string()).collect();
        let needs_restart = needs_restart(&self.config, &loaded.config);
        let new = keep_what_needs_restart(&self.config, loaded.config);
        let same = new == *self.config;
        let changes = changes(&self.config, &new);
        self.config = Arc::new(new);
        self.known.update(|facts| {
            facts.take_config(Arc::clone(&self.config), loaded.files);
            facts.reloads.taken += 1;
        });
        for key in &needs_restart {
            warn!(key, "changed, but takes effect only when the agent starts again");
        }
        if !same {
            if let Some(routing) = &self.routing {
                let settings = fib_settings(&self.config);
                let _ = routing.fib().commands.send(fib::Command::Configure(settings)).await;
            }
            if let Some(half) = &self.policy {
                half.configure(policy::settings(&self.known.name, &self.config)).await;
            }
            self.apply().await?;
        }
        info!(changed = !same, "configuration loaded");
        let result = if same { ReloadResult::Unchanged } else { ReloadResult::Applied };
        let mut reload = outcome(result, changes, files, Vec::new());
        reload.needs_restart = needs_restart;
        Ok(reload)
    }

    /// Refuses a configuration that leaves a speaker that runs without an identity.
    fn may_take(&self, loaded: Loaded) -> anyhow::Result<Loaded> {
        if let Some(routing) = &self.routing {
            routing.may_follow(&self.known.name, &loaded.config, self.own_node())?;
        }
        Ok(loaded)
    }
}

fn outcome(
    result: ReloadResult,
    changes: Vec<String>,
    files: Vec<String>,
    errors: Vec<String>,
) -> Reload {
    Reload { result, files, changes, needs_restart: Vec::new(), errors }
}

/// The keys that differ and that a running daemon cannot change: its name, what of it runs, where
/// it reads from.
fn needs_restart(old: &Config, new: &Config) -> Vec<String> {
    let keys = [
        ("node.name", old.node.name != new.node.name),
        ("bgp.enabled", old.bgp.enabled != new.bgp.enabled),
        ("routes.install", old.routes.install != new.routes.install),
        ("policy.enabled", old.policy.enabled != new.policy.enabled),
        ("cni.dataDir", old.cni.data_dir != new.cni.data_dir),
        ("source", old.source != new.source),
        ("control.socket", old.control != new.control),
        ("telemetry.listen", old.telemetry != new.telemetry),
    ];
    keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key.to_owned()).collect()
}

/// The new configuration with the old values of what [`needs_restart`] names.
fn keep_what_needs_restart(old: &Config, mut new: Config) -> Config {
    new.node.name.clone_from(&old.node.name);
    new.bgp.enabled = old.bgp.enabled;
    new.routes.install = old.routes.install;
    new.policy.enabled = old.policy.enabled;
    new.cni.data_dir.clone_from(&old.cni.data_dir);
    new.source.clone_from(&old.source);
    new.control.clone_from(&old.control);
    new.telemetry.clone_from(&old.telemetry);
    new
}

/// What changed, a sentence each.
fn changes(old: &Config, new: &Config) -> Vec<String> {
    let mut changes = Vec::new();
    let find = |config: &Config, name: &str| {
        config.bgp.peers.iter().find(|peer| &*peer.name == name).cloned()
    };
    for peer in &new.bgp.peers {
        match find(old, &peer.name) {
            None => changes.push(format!("peer {} added", peer.name)),
            Some(before) if before != *peer => changes.push(format!("peer {} changed", peer.name)),
            Some(_) => {}
        }
    }
    for peer in &old.bgp.peers {
        if find(new, &peer.name).is_none() {
            changes.push(format!("peer {} removed", peer.name));
        }
    }
    for (key, differs) in [
        ("node.addresses", old.node.addresses != new.node.addresses),
        ("node.podCIDRs", old.node.pod_cidrs != new.node.pod_cidrs),
        ("bgp.asNumber", old.bgp.asn != new.bgp.asn),
        ("bgp.routerID", old.bgp.router_id != new.bgp.router_id),
        ("bgp.listen.addresses", old.bgp.listen_addresses != new.bgp.listen_addresses),
        ("bgp.listen.port", old.bgp.listen_port != new.bgp.listen_port),
        ("bgp.maxPaths", old.bgp.max_paths != new.bgp.max_paths),
        ("bgp.multipath", old.bgp.as_path_relax != new.bgp.as_path_relax),
        ("bgp.dynamicPeers", old.bgp.dynamic != new.bgp.dynamic),
        ("bgp.nodeToNodeMesh.maxPrefixes", old.bgp.mesh_limits != new.bgp.mesh_limits),
        ("bgp.nodeToNodeMesh.addPaths", old.bgp.mesh_add_paths != new.bgp.mesh_add_paths),
        ("bgp.services", old.bgp.services != new.bgp.services),
        ("bgp.networks", old.bgp.networks != new.bgp.networks),
        ("bgp.nodeToNodeMesh.enabled", old.bgp.mesh != new.bgp.mesh),
        ("bgp.nodeToNodeMesh.retain", old.bgp.retain != new.bgp.retain),
        ("bgp.nodeToNodeMesh.password or tcpAO", old.bgp.mesh_auth != new.bgp.mesh_auth),
        ("bgp.holdTime", old.bgp.hold_time != new.bgp.hold_time),
        ("bgp.connectRetryTime", old.bgp.connect_retry != new.bgp.connect_retry),
        ("routes.metric", old.routes.metric != new.routes.metric),
        ("routes.forwarding", old.routes.forwarding != new.routes.forwarding),
        ("routes.hashPolicy", old.routes.hash_policy != new.routes.hash_policy),
        ("routes.multipath", old.routes.multipath != new.routes.multipath),
        ("routes.resilientIdle", old.routes.resilient_idle != new.routes.resilient_idle),
        ("routes.startupHold", old.routes.startup_hold != new.routes.startup_hold),
        ("policy.backend", old.policy.backend != new.policy.backend),
        ("policy.establishedFlows", old.policy.established != new.policy.established),
        ("policy.masquerade", old.masquerade() != new.masquerade()),
        ("policy.hostEndpoints", old.policy.hosts != new.policy.hosts),
        ("policy.flowLog", old.policy.flow_log != new.policy.flow_log),
        ("cni", old.cni != new.cni),
        ("policy.auditInterval", old.policy.audit_interval != new.policy.audit_interval),
    ] {
        if differs {
            changes.push(format!("{key} changed"));
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_change_while_running_is_named_and_kept() {
        let config = |yaml| Config::from_yaml("test.yaml", yaml).unwrap();
        let old = config("{node: {name: n1}, bgp: {asNumber: 64512}}");
        let new = config(
            "{node: {name: n2}, routes: {install: false}, bgp: {asNumber: 64513, listen: {port: \
             1180}, networks: [192.0.2.0/24]}}",
        );
        assert_eq!(needs_restart(&old, &new), ["node.name", "routes.install"]);
        assert!(needs_restart(&old, &old).is_empty());
        let kept = keep_what_needs_restart(&old, new.clone());
        assert!(needs_restart(&old, &kept).is_empty());
        assert_eq!((&kept.node.name, kept.routes.install), (&old.node.name, true));
        assert_eq!((kept.bgp.asn, kept.bgp.listen_port), (new.bgp.asn, 1180));
        assert_eq!(
            changes(&old, &kept),
            ["bgp.asNumber changed", "bgp.listen.port changed", "bgp.networks changed"]
        );
    }

    #[test]
    fn a_changed_peer_is_named() {
        let config = |peers: &str| {
            Config::from_yaml("test.yaml", &format!("bgp: {{peers: [{peers}]}}")).unwrap()
        };
        let peer = |name: &str, host: u8, port: u16| {
            format!("{{name: {name}, peerIP: 10.0.0.{host}, asNumber: 64512, port: {port}}}")
        };
        let old = config(&[peer("a", 1, 179), peer("b", 2, 179)].join(","));
        let new = config(&[peer("b", 2, 1179), peer("c", 3, 179)].join(","));
        assert_eq!(changes(&old, &new), ["peer b changed", "peer c added", "peer a removed"]);
    }
}
