//! From a [`Config`] back to the keys that say it.

mod auth;
mod bgp;
mod bmp;
mod drain;
mod filter;
mod services;

pub(crate) use bgp::bfd;

use std::net::IpAddr;
use std::time::Duration;

use brindle_bgp::net::Prefix;
use serde_json::Value;

use crate::meaning::{self, Config, Source};
use crate::schema::{
    Address, Backend, Chained, Cidr, CniSection, ControlSection, Document, EstablishedFlows,
    FailsafeEntry, FailsafeProtocol, FailsafeSection, FlowLogSection, HashPolicy,
    HostEndpointsSection, Multipath, NodeSection, PolicySection, RoutesSection, SocketAddress,
    SourceSection, TelemetrySection, Time, ToHost,
};
use crate::value::Shown;

impl Config {
    /// The effective configuration as YAML, defaults written out; reading it gives an equal
    /// [`Config`]. Secrets are never in it: a configuration holds only the names of their
    /// files. Filters that no peer uses are left out.
    pub fn to_yaml(&self) -> String {
        serde_saphyr::to_string(&Document::from(self)).expect("the document has only text keys")
    }

    /// The same as JSON.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(Document::from(self)).expect("the document has only text keys")
    }
}

impl From<&Config> for Document {
    fn from(config: &Config) -> Self {
        Document {
            node: NodeSection {
                name: config.node.name.clone(),
                addresses: config.node.addresses.iter().map(address).collect(),
                pod_cidrs: config.node.pod_cidrs.iter().map(cidr).collect(),
            },
            bgp: bgp::section(&config.bgp),
            routes: RoutesSection {
                install: config.routes.install,
                metric: config.routes.metric,
                forwarding: config.routes.forwarding,
                hash_policy: config.routes.hash_policy.map(|policy| match policy {
                    meaning::HashPolicy::L3 => HashPolicy::L3,
                    meaning::HashPolicy::L4 => HashPolicy::L4,
                    meaning::HashPolicy::Inner => HashPolicy::Inner,
                }),
                multipath: match config.routes.multipath {
                    meaning::Multipath::Plain => Multipath::Plain,
                    meaning::Multipath::Resilient => Multipath::Resilient,
                },
                resilient_idle: time(config.routes.resilient_idle),
                startup_hold: time(config.routes.startup_hold),
            },
            policy: policy(&config.policy),
            cni: cni(&config.cni),
            source: config.source.as_ref().map(|source| match source {
                Source::Files { path } => SourceSection::Files { path: path.display().to_string() },
                Source::Kubernetes { kubeconfig, context, hold_deletions } => {
                    SourceSection::Kubernetes {
                        kubeconfig: kubeconfig.as_ref().map(|path| path.display().to_string()),
                        context: context.clone(),
                        hold_deletions: time(*hold_deletions),
                    }
                }
            }),
            control: ControlSection { socket: config.control.socket.display().to_string() },
            telemetry: TelemetrySection {
                listen: config
                    .telemetry
                    .listen
                    .iter()
                    .map(|address| SocketAddress(address.to_string()))
                    .collect(),
            },
        }
    }
}

fn policy(policy: &meaning::Policy) -> PolicySection {
    PolicySection {
        enabled: policy.enabled,
        backend: match policy.backend {
            meaning::Backend::Auto => Backend::Auto,
            meaning::Backend::Nft => Backend::Nft,
            meaning::Backend::Legacy => Backend::Legacy,
        },
        established_flows: match policy.established {
            meaning::EstablishedFlows::Keep => EstablishedFlows::Keep,
            meaning::EstablishedFlows::Recheck => EstablishedFlows::Recheck,
        },
        masquerade: policy.masquerade,
        flow_log: FlowLogSection {
            enabled: policy.flow_log.enabled,
            group: policy.flow_log.group,
            per_second: policy.flow_log.per_second,
        },
        audit_interval: time(policy.audit_interval),
        host_endpoints: hosts(&policy.hosts),
    }
}

fn hosts(hosts: &meaning::HostEndpoints) -> HostEndpointsSection {
    let all = |list: &Vec<meaning::Failsafe>| list.iter().map(failsafe).collect();
    HostEndpointsSection {
        auto: hosts.auto,
        default_endpoint_to_host_action: match hosts.to_host {
            meaning::ToHost::Accept => ToHost::Accept,
            meaning::ToHost::Drop => ToHost::Drop,
            meaning::ToHost::Return => ToHost::Return,
        },
        failsafe_inbound: hosts.failsafe_inbound.as_ref().map(all),
        failsafe_outbound: hosts.failsafe_outbound.as_ref().map(all),
        without_bgp: hosts.without_bgp,
    }
}

fn failsafe(failsafe: &meaning::Failsafe) -> FailsafeEntry {
    FailsafeEntry::Full(FailsafeSection {
        protocol: match failsafe.protocol {
            meaning::FailsafeProtocol::Tcp => FailsafeProtocol::Tcp,
            meaning::FailsafeProtocol::Udp => FailsafeProtocol::Udp,
            meaning::FailsafeProtocol::Sctp => FailsafeProtocol::Sctp,
        },
        port: failsafe.port,
        net: failsafe.net.as_ref().map(cidr),
    })
}

fn cni(cni: &meaning::Cni) -> CniSection {
    let chained = |plugin: &meaning::ChainedPlugin| match plugin {
        meaning::ChainedPlugin::Portmap => Chained::Portmap,
        meaning::ChainedPlugin::Bandwidth => Chained::Bandwidth,
    };
    CniSection {
        enabled: cni.enabled,
        config_dir: cni.config_dir.display().to_string(),
        data_dir: cni.data_dir.display().to_string(),
        mtu: cni.mtu,
        chain: cni.chain.iter().map(chained).collect(),
    }
}

fn address(address: &IpAddr) -> Address {
    Address(address.to_string())
}

fn cidr(prefix: &Prefix) -> Cidr {
    Cidr(prefix.to_string())
}

fn time(duration: Duration) -> Time {
    Time(Shown(duration).to_string())
}
