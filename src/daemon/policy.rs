//! The policy half within the daemon: what it is to do, and what it is told.

use std::net::SocketAddr;
use std::sync::Arc;

use brindle_bgp::net::Prefix;
use brindle_config as config;
use brindle_policy::model::{Failsafe, Failsafes, HostSettings, Protocol, ToHost};
use brindle_policy::{Change, Cidr};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::answer::Known;
use crate::enforce::dataplane::{Tuning, marked};
use crate::enforce::{
    self, BackendChoice, EnforceHandle, EnforceSettings, EstablishedFlows, FlowLog, Gone,
};

/// What is to be done about policies of an earlier run.
pub(super) const LEFTOVERS_GO: &str = "`brindle cleanup` removes them while the agent is stopped; policy.enabled: true keeps them up \
     to date";

/// What the configuration asks of the policy half.
pub(super) fn settings(name: &Arc<str>, config: &config::Config) -> EnforceSettings {
    let policy = &config.policy;
    EnforceSettings {
        node: Arc::clone(name),
        pod_cidrs: config.node.pod_cidrs.iter().map(cidr).collect(),
        backend: match policy.backend {
            config::Backend::Auto => BackendChoice::Auto,
            config::Backend::Nft => BackendChoice::Nft,
            config::Backend::Legacy => BackendChoice::Legacy,
        },
        masquerade: config.masquerade(),
        established: match policy.established {
            config::EstablishedFlows::Keep => EstablishedFlows::Keep,
            config::EstablishedFlows::Recheck => EstablishedFlows::Recheck,
        },
        flow_log: policy.flow_log.enabled.then_some(FlowLog {
            group: policy.flow_log.group,
            per_second: policy.flow_log.per_second,
        }),
        audit: policy.audit_interval,
        hosts: hosts(config),
        automatic_hosts: policy.hosts.auto,
    }
}

/// What policies on this host leave open: what the configuration lists, else the usual ports
/// and those that this agent and its peers listen on.
fn hosts(config: &config::Config) -> HostSettings {
    let hosts = &config.policy.hosts;
    let standard = Failsafes::standard();
    let tcp = |port| Failsafe { protocol: Protocol::Tcp, port, net: None };
    let listed = |list: &Vec<config::Failsafe>| list.iter().map(failsafe).collect();
    let inbound = hosts.failsafe_inbound.as_ref().map_or_else(
        || {
            let bgp = config.bgp.enabled.then_some(config.bgp.listen_port);
            let telemetry = config.telemetry.listen.iter().map(SocketAddr::port);
            standard.inbound.into_iter().chain(bgp.into_iter().chain(telemetry).map(tcp)).collect()
        },
        listed,
    );
    let outbound = hosts.failsafe_outbound.as_ref().map_or_else(
        || {
            let mesh = config.bgp.enabled.then_some(config.bgp.listen_port);
            let peers = config.bgp.peers.iter().map(|peer| peer.port);
            standard.outbound.into_iter().chain(mesh.into_iter().chain(peers).map(tcp)).collect()
        },
        listed,
    );
    HostSettings {
        failsafes: Failsafes { inbound, outbound },
        to_host: match hosts.to_host {
            config::ToHost::Accept => ToHost::Accept,
            config::ToHost::Drop => ToHost::Drop,
            config::ToHost::Return => ToHost::Return,
        },
    }
}

fn failsafe(failsafe: &config::Failsafe) -> Failsafe {
    Failsafe {
        protocol: match failsafe.protocol {
            config::FailsafeProtocol::Tcp => Protocol::Tcp,
            config::FailsafeProtocol::Udp => Protocol::Udp,
            config::FailsafeProtocol::Sctp => Protocol::Sctp,
        },
        port: failsafe.port,
        net: failsafe.net.as_ref().map(cidr),
    }
}

/// The two halves of brindle do not know each other, and so neither each other's prefixes.
fn cidr(prefix: &Prefix) -> Cidr {
    Cidr::new(prefix.address(), prefix.length()).expect("a prefix is no longer than its family's")
}

/// Looks once for policies that an earlier run left in the kernel: without a policy half they go
/// on being enforced as they were.
pub(super) fn look_for_leftovers(known: &Arc<Known>) {
    let known = Arc::clone(known);
    tokio::spawn(async move {
        if let Some(what) = leftovers(&marked::in_force(Tuning::default()).await) {
            warn!("{what}; {LEFTOVERS_GO}");
            let _ = known.leftover_policies.set(what);
        }
    });
}

/// What such chains mean, in words.
fn leftovers(chains: &[String]) -> Option<String> {
    let what = "policies of an earlier run are still enforced in the kernel, as they were then, by";
    (!chains.is_empty()).then(|| format!("{what} {}", chains.join(", ")))
}

/// The policy half, and what is on its way to it. It may be busy in the kernel for a while,
/// which must not hold up routing: changes wait in a task of their own, and while they do, no
/// more are taken from the source.
pub(super) struct PolicyHalf {
    handle: EnforceHandle,
    telling: Option<JoinHandle<Result<(), Gone>>>,
}

impl PolicyHalf {
    /// Starts it in the network namespace of the calling thread.
    pub(super) fn start(settings: EnforceSettings) -> Self {
        info!(
            backend = ?settings.backend,
            established = ?settings.established,
            masquerade = settings.masquerade,
            "network policies are enforced"
        );
        Self { handle: enforce::start(settings), telling: None }
    }

    pub(super) fn handle(&self) -> &EnforceHandle {
        &self.handle
    }

    /// Whether changes are on their way: no others may be told now.
    pub(super) fn is_busy(&self) -> bool {
        self.telling.is_some()
    }

    /// Tells changes that belong together.
    pub(super) fn tell(&mut self, changes: Vec<Change>) {
        debug_assert!(!self.is_busy(), "changes would overtake each other");
        if !changes.is_empty() {
            let handle = self.handle.clone();
            self.telling = Some(tokio::spawn(async move { handle.apply(changes).await }));
        }
    }

    /// Ends when changes that were told have arrived; never if none were. Cancel-safe.
    ///
    /// # Errors
    /// If the policy half has ended.
    pub(super) async fn told(&mut self) -> Result<(), Gone> {
        match &mut self.telling {
            Some(telling) => {
                let told = telling.await.unwrap_or(Err(Gone));
                self.telling = None;
                told
            }
            None => std::future::pending().await,
        }
    }

    /// Tells it other settings.
    pub(super) async fn configure(&self, settings: EnforceSettings) {
        if self.handle.set_settings(settings).await.is_err() {
            error!("the policy half has ended");
        }
    }

    /// Ends it, after what it is writing. What it wrote stays in the kernel.
    pub(super) async fn stop(self) {
        if let Some(telling) = self.telling {
            telling.abort();
        }
        self.handle.stop().await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn settings_say_what_the_configuration_says() {
        let settings = |text: &str| {
            let config = config::Config::from_yaml("test.yaml", text).unwrap();
            settings(&"n1".into(), &config)
        };
        let defaults = settings("");
        assert!(defaults.masquerade && defaults.pod_cidrs.is_empty());
        assert_eq!(defaults.flow_log, Some(FlowLog { group: 98, per_second: 10 }));
        let other = settings(
            "{node: {podCIDRs: [10.244.1.0/24, 'fd00:1::/64']}, bgp: {enabled: false}, \
             policy: {backend: legacy, establishedFlows: recheck, flowLog: {enabled: false}}}",
        );
        let cidrs: Vec<String> = other.pod_cidrs.iter().map(ToString::to_string).collect();
        assert_eq!(cidrs, ["10.244.1.0/24", "fd00:1::/64"]);
        assert_eq!((other.masquerade, other.flow_log), (false, None));
        assert_eq!(other.backend, BackendChoice::Legacy);
        assert_eq!(other.established, EstablishedFlows::Recheck);
        assert_eq!(settings("policy: {backend: nft}").backend, BackendChoice::Nft);
    }

    #[test]
    fn what_stays_open_on_hosts_is_what_is_listed_or_the_usual_with_our_own_ports() {
        let settings = |text: &str| {
            let config = config::Config::from_yaml("test.yaml", text).unwrap();
            settings(&"n1".into(), &config)
        };
        let has = |all: &BTreeSet<Failsafe>, wanted: &[u16]| {
            let is_there = |port: &u16| all.iter().any(|one| one.port == *port);
            wanted.iter().filter(|port| !is_there(port)).copied().collect::<Vec<_>>()
        };
        let usual = settings(
            "{bgp: {listen: {port: 1179}, peers: [{name: a, peerIP: 10.0.0.9, asNumber: 64512, \
             port: 2179}]}, telemetry: {listen: ['127.0.0.1:9999']}}",
        );
        let open = &usual.hosts.failsafes;
        assert_eq!(has(&open.inbound, &[22, 179, 6443, 10250, 1179, 9999, 2179]), [2179]);
        assert_eq!(has(&open.outbound, &[53, 179, 6443, 1179, 2179, 9999]), [9999]);
        assert!(open.have_bgp() && !usual.automatic_hosts);
        let without = settings("{bgp: {enabled: false, listen: {port: 1179}}}");
        assert_eq!(has(&without.hosts.failsafes.inbound, &[179, 1179]), [1179]);
        let listed = settings(
            "policy: {hostEndpoints: {auto: true, withoutBGP: true, failsafeInbound: \
             ['udp:10.0.0.0/8:68'], failsafeOutbound: [], defaultEndpointToHostAction: Drop}}",
        );
        let net = Some("10.0.0.0/8".parse().unwrap());
        let open = &listed.hosts.failsafes;
        assert_eq!(open.inbound, [Failsafe { protocol: Protocol::Udp, port: 68, net }].into());
        assert_eq!((open.outbound.len(), listed.hosts.to_host), (0, ToHost::Drop));
        assert!(listed.automatic_hosts);
    }
}
