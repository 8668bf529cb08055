//! From a [`Config`] back to the keys that say it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use brindle_bgp::filter::{Filter, FilterAction, FilterRule};
use brindle_bgp::msg::HoldTime;
use brindle_bgp::net::{Asn, Prefix};
use brindle_bgp::rib::NextHopMode;
use serde_json::Value;

use crate::meaning::{self, Bgp, Config, Peer, Source};
use crate::schema::{
    Action, Address, AsNumber, Backend, BgpSection, Chained, Cidr, CniSection, ControlSection,
    Document, EstablishedFlows, FailsafeEntry, FailsafeProtocol, FailsafeSection, FilterSection,
    FlowLogSection, HostEndpointsSection, Lengths, ListenSection, MeshSection, NextHop,
    NodeSection, PeerSection, PolicySection, Retain, RoutesSection, RuleSection, SocketAddress,
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
            bgp: bgp(&config.bgp),
            routes: RoutesSection {
                install: config.routes.install,
                metric: config.routes.metric,
                forwarding: config.routes.forwarding,
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

fn bgp(bgp: &Bgp) -> BgpSection {
    BgpSection {
        enabled: bgp.enabled,
        as_number: as_number(bgp.asn),
        router_id: bgp.router_id.map(|id| id.to_string()),
        listen: ListenSection {
            addresses: bgp.listen_addresses.iter().map(address).collect(),
            port: bgp.listen_port,
        },
        node_to_node_mesh: MeshSection {
            enabled: bgp.mesh,
            retain: match bgp.retain {
                meaning::Retain::NodeObject => Retain::NodeObject,
                meaning::Retain::BgpOnly => Retain::BgpOnly,
            },
        },
        hold_time: hold_time(bgp.hold_time),
        connect_retry_time: time(bgp.connect_retry),
        max_paths: bgp.max_paths,
        peers: bgp.peers.iter().map(peer).collect(),
        filters: used_filters(&bgp.peers).into_iter().map(filter).collect(),
        networks: bgp.networks.iter().map(cidr).collect(),
    }
}

fn peer(peer: &Peer) -> PeerSection {
    let names =
        |filters: &Vec<Arc<Filter>>| filters.iter().map(|filter| filter.name.to_string()).collect();
    PeerSection {
        name: peer.name.to_string(),
        peer_ip: address(&peer.address),
        port: peer.port,
        as_number: as_number(peer.asn),
        source_address: peer.source_address.as_ref().map(address),
        passive: peer.passive,
        reflector_client: peer.reflector_client,
        hold_time: hold_time(peer.hold_time),
        import_filters: peer.import.as_ref().map(names),
        export_filters: peer.export.as_ref().map(names),
        next_hop_mode: match peer.next_hop_mode {
            NextHopMode::Auto => NextHop::Auto,
            NextHopMode::SelfAddress => NextHop::SelfAddress,
            NextHopMode::Keep => NextHop::Keep,
        },
    }
}

/// Each filter once, in the order in which peers first name it.
fn used_filters(peers: &[Peer]) -> Vec<&Arc<Filter>> {
    let mut used: Vec<&Arc<Filter>> = Vec::new();
    for filter in peers.iter().flat_map(|peer| peer.import.iter().chain(&peer.export).flatten()) {
        if !used.iter().any(|known| known.name == filter.name) {
            used.push(filter);
        }
    }
    used
}

fn filter(filter: &Arc<Filter>) -> FilterSection {
    FilterSection { name: filter.name.to_string(), rules: filter.rules.iter().map(rule).collect() }
}

fn rule(rule: &FilterRule) -> RuleSection {
    RuleSection {
        action: match rule.action {
            FilterAction::Accept => Action::Accept,
            FilterAction::Reject => Action::Reject,
        },
        cidr: rule.cidr.as_ref().map(cidr),
        prefix_lengths: rule.prefix_lengths.as_ref().map(|lengths| {
            if lengths.start() == lengths.end() {
                Lengths::One(*lengths.start())
            } else {
                Lengths::Range(format!("{}-{}", lengths.start(), lengths.end()))
            }
        }),
    }
}

fn address(address: &IpAddr) -> Address {
    Address(address.to_string())
}

fn cidr(prefix: &Prefix) -> Cidr {
    Cidr(prefix.to_string())
}

fn as_number(asn: Asn) -> AsNumber {
    AsNumber::Number(asn.get())
}

fn hold_time(hold: HoldTime) -> Time {
    time(Duration::from_secs(hold.secs().into()))
}

fn time(duration: Duration) -> Time {
    Time(Shown(duration).to_string())
}
