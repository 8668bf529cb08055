//! What a BGPConfiguration says.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use brindle_bgp::fsm::RestartTime;
use brindle_bgp::net::Asn;
#[cfg(doc)]
use brindle_bgp::net::Family;
use brindle_config::{Auth, Bgp, Config, PrefixAdvertisement, ServiceSettings};

use super::api::BgpConfigurationSpec;
use super::filter::{NORMAL_PRIORITY, PRIORITIES};
use super::read::Judged;
use super::{BgpObjects, SecretRef, services};
use crate::speaker::Protection;

/// The name of the one that holds for all nodes.
pub const DEFAULT: &str = "default";

/// A BGPConfiguration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// `metadata.name`: `default`, or `node.` and the name of a node.
    pub name: Arc<str>,
    /// `nodeToNodeMeshEnabled`.
    pub mesh: Option<bool>,
    /// `asNumber`.
    pub asn: Option<Asn>,
    /// `listenPort`.
    pub listen_port: Option<u16>,
    /// `bindMode`: whether peers are listened for on every address of the host.
    pub listens_everywhere: Option<bool>,
    /// `nodeMeshPassword`.
    pub mesh_password: Option<SecretRef>,
    /// `nodeMeshMaxRestartTime`.
    pub mesh_max_restart_time: Option<RestartTime>,
    /// `serviceClusterIPs` and its like.
    pub services: ServiceSettings,
    /// `ipv4NormalRoutePriority` and `ipv6NormalRoutePriority`, by [`Family::index`].
    pub normal_priorities: [Option<u32>; 2],
    /// `prefixAdvertisements`, with the values of `communities`.
    pub prefix_advertisements: Vec<PrefixAdvertisement>,
}

impl BgpObjects {
    /// `bgp:` of brindle.yaml with what BGPConfigurations say of a node, where brindle.yaml
    /// leaves a key at its default.
    pub fn effective(&self, bgp: &Bgp, node: &str) -> Bgp {
        let usual = Config::default().bgp;
        let mut bgp = bgp.clone();
        let all = self.configurations.get(DEFAULT);
        if let Some(asn) = all.and_then(|all| all.asn).filter(|_| bgp.asn == usual.asn) {
            bgp.asn = asn;
        }
        if let Some(mesh) = all.and_then(|all| all.mesh).filter(|_| bgp.mesh == usual.mesh) {
            bgp.mesh = mesh;
        }
        bgp.listen_port = self.port_of(node, bgp.listen_port);
        self.advertise(&mut bgp, node);
        let of_node = self.configurations.get(&*format!("node.{node}"));
        let everywhere =
            [of_node, all].into_iter().flatten().find_map(|one| one.listens_everywhere);
        if everywhere == Some(true) && bgp.listen_addresses == usual.listen_addresses {
            bgp.listen_addresses = vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        }
        let restart = &mut bgp.graceful_restart.time;
        if let Some(time) = all.and_then(|all| all.mesh_max_restart_time)
            && *restart == usual.graceful_restart.time
        {
            *restart = time;
        }
        bgp
    }

    /// The same of a whole configuration.
    pub fn effective_config(&self, config: &Config, node: &str) -> Config {
        Config { bgp: self.effective(&config.bgp, node), ..config.clone() }
    }

    /// The port that a node listens on, where `configured` is that of brindle.yaml.
    pub fn port_of(&self, node: &str, configured: u16) -> u16 {
        if configured != Config::default().bgp.listen_port {
            return configured;
        }
        let of = |name: &str| self.configurations.get(name).and_then(|one| one.listen_port);
        of(&format!("node.{node}")).or_else(|| of(DEFAULT)).unwrap_or(configured)
    }

    /// The priority of routes that nobody gave another, by [`Family::index`].
    pub(super) fn normal_priorities(&self) -> [u32; 2] {
        let all = self.configurations.get(DEFAULT);
        let said = all.map(|all| all.normal_priorities).unwrap_or_default();
        said.map(|priority| priority.unwrap_or(NORMAL_PRIORITY))
    }

    /// Has the mesh's sessions signed as BGPConfiguration `default` says, unless brindle.yaml says
    /// it.
    pub(crate) fn protect_mesh(&self, bgp: &Bgp, protection: &mut Protection) {
        let at = self.configurations.get(DEFAULT).and_then(|all| all.mesh_password.as_ref());
        if let Some(at) = at.filter(|_| bgp.mesh_auth == Auth::None) {
            self.sign("nodeMeshPassword of BGPConfiguration default", at, protection);
        }
    }
}

/// Reads the spec.
pub(super) fn read(
    name: Arc<str>,
    spec: &BgpConfigurationSpec,
    judged: &mut Judged,
) -> Configuration {
    if &*name != DEFAULT && !name.starts_with("node.") {
        let message = format!(
            "{name:?} is about nobody; accepted are {DEFAULT} and node.NAME with the name of a node"
        );
        judged.refuse("metadata.name", message);
    }
    let asn = spec.as_number.as_ref();
    let asn = asn.and_then(|asn| judged.as_number("spec.asNumber", asn));
    if &*name != DEFAULT {
        for (field, is_there) in [
            ("nodeToNodeMeshEnabled", spec.node_to_node_mesh_enabled.is_some()),
            ("asNumber", asn.is_some()),
            ("nodeMeshPassword", spec.node_mesh_password.is_some()),
            ("nodeMeshMaxRestartTime", spec.node_mesh_max_restart_time.is_some()),
            ("ipv4NormalRoutePriority", spec.ipv4_normal_route_priority.is_some()),
            ("ipv6NormalRoutePriority", spec.ipv6_normal_route_priority.is_some()),
        ] {
            if is_there {
                let message = format!("only counts in BGPConfiguration {DEFAULT}; leave it out");
                judged.refuse(format!("spec.{field}"), message);
            }
        }
    }
    idle(spec, judged);
    let normal_priorities = [
        ("spec.ipv4NormalRoutePriority", spec.ipv4_normal_route_priority),
        ("spec.ipv6NormalRoutePriority", spec.ipv6_normal_route_priority),
    ];
    let normal_priorities =
        normal_priorities.map(|(field, value)| judged.number(field, value, PRIORITIES));
    let restart = spec.node_mesh_max_restart_time.as_deref();
    let services = services::services(&name, spec, judged);
    Configuration {
        name,
        mesh: spec.node_to_node_mesh_enabled,
        asn,
        listen_port: judged.number("spec.listenPort", spec.listen_port, (1, 65535)),
        listens_everywhere: judged.word(
            "spec.bindMode",
            spec.bind_mode.as_deref(),
            &[("None", true), ("NodeIP", false)],
        ),
        mesh_password: judged.password("spec.nodeMeshPassword", spec.node_mesh_password.as_ref()),
        mesh_max_restart_time: judged.restart_time("spec.nodeMeshMaxRestartTime", restart),
        services,
        normal_priorities,
        prefix_advertisements: services::prefix_advertisements(spec, judged),
    }
}

/// Notes what is right and does nothing here. What Calico logs says nothing of what it does.
fn idle(spec: &BgpConfigurationSpec, judged: &mut Judged) {
    let is_ours = spec.program_cluster_routes.as_deref().is_some_and(|who| who == "Disabled");
    let has_interfaces = spec.ignored_interfaces.as_ref().is_some_and(|all| !all.is_empty());
    let no_pods = "does nothing here: sessions with pods are not supported";
    for (field, is_there, message) in [
        (
            "ignoredInterfaces",
            has_interfaces,
            "does nothing here: no routes of interfaces are announced; node.podCIDRs and bgp.networks \
             say what is",
        ),
        ("localWorkloadPeeringIPV4", spec.local_workload_peering_ip_v4.is_some(), no_pods),
        ("localWorkloadPeeringIPV6", spec.local_workload_peering_ip_v6.is_some(), no_pods),
        (
            "programClusterRoutes",
            is_ours,
            "does nothing here: routes to other nodes are written unless routes.install of brindle.yaml \
             is false",
        ),
    ] {
        if is_there {
            judged.idle(format!("spec.{field}"), message);
        }
    }
}
