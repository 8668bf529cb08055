//! Which host endpoint of a node judges packets, as far as that can be told.

use std::net::IpAddr;
use std::sync::Arc;

use brindle_policy::World;
use brindle_policy::model::{HostEndpoint, HostInterface, HostStage, Policy};
use brindle_policy::names::Device;

use super::Known;

/// The host endpoint that counts where a packet comes in or leaves.
pub(super) enum Counting<'w> {
    /// There is none.
    None,
    /// This one.
    One(&'w Arc<HostEndpoint>),
    /// Most likely this one; what that rests on.
    Assumed(&'w Arc<HostEndpoint>, String),
    /// It cannot be told; why.
    Unknown(String),
}

/// The host endpoint of the interface that has an address: the agent knows those of its own
/// node; of others there is what the objects say.
pub(super) fn counting<'w>(known: &Known<'w>, node: &str, address: IpAddr) -> Counting<'w> {
    let world = known.world;
    let all: Vec<&Arc<HostEndpoint>> = world.host_endpoints_on(node).collect();
    if all.is_empty() {
        return Counting::None;
    }
    if known.here.is_some_and(|here| here.node == node) {
        let mut devices = world.devices().devices.iter();
        if let Some((device, addresses)) = devices.find(|(_, held)| held.contains(&address)) {
            let found = HostEndpoint::of_interface(all.iter().copied(), *device, addresses);
            return found.map_or(Counting::None, Counting::One);
        }
    }
    let is_any = |one: &HostEndpoint| one.interface == Some(HostInterface::Any);
    let expecting = all.iter().find(|one| !is_any(one) && one.expected.contains(&address));
    if let Some(one) = expecting {
        return Counting::One(one);
    }
    if let [one] = all[..] {
        return match one.interface {
            Some(HostInterface::Any) => Counting::One(one),
            Some(HostInterface::Named(device)) => Counting::Assumed(
                one,
                format!(
                    "taken to pass {} of node {node}, which HostEndpoint {} is for: its \
                     expectedIPs do not say which addresses it has",
                    device.as_str(),
                    one.name
                ),
            ),
            None => Counting::None,
        };
    }
    let names: Vec<&str> = all.iter().map(|one| &*one.name).collect();
    let names = names.join(", ");
    match all.iter().find(|one| is_any(one)) {
        Some(any) if all.iter().all(|one| is_any(one) || is_elsewhere(one)) => Counting::One(any),
        Some(any) => Counting::Assumed(
            any,
            format!(
                "which host endpoint of node {node} judges it cannot be told ({names}): no \
                 expectedIPs have {address}; taken to be {}, which is for all other interfaces",
                any.name
            ),
        ),
        None => Counting::Unknown(format!(
            "which host endpoint of node {node} judges it, if any, cannot be told ({names}): no \
             expectedIPs have {address}; none is asked"
        )),
    }
}

/// Whether a host endpoint that does not expect an address is for another interface for sure.
fn is_elsewhere(host: &HostEndpoint) -> bool {
    host.interface.is_none()
}

/// The host endpoint that counts for an interface of a pod on a node; `None` as the interface is
/// one that nobody named.
pub(super) fn counting_for_pod<'w>(
    world: &'w World,
    node: &str,
    device: Option<Device>,
) -> Option<&'w Arc<HostEndpoint>> {
    let all = world.host_endpoints_on(node);
    match device {
        Some(device) => HostEndpoint::of_interface(all, device, &Default::default()),
        None => all
            .filter(|one| one.interface == Some(HostInterface::Any))
            .min_by(|a, b| a.name.cmp(&b.name)),
    }
}

/// Whether host endpoints of a node judge packets that it forwards, or would if staged policies
/// were enforced.
pub(super) fn judge_forwarded(world: &World, node: &str) -> bool {
    let is_forwarded = |stage| match stage {
        HostStage::Untracked | HostStage::PreDnat | HostStage::Forward => true,
        HostStage::Normal => false,
    };
    let judges = |policy: &&Arc<Policy>| is_forwarded(policy.stage) && policy.governs_some();
    let judging: Vec<&Arc<Policy>> = world.policies().filter(judges).collect();
    let governs = |host: &Arc<HostEndpoint>| {
        judging.iter().any(|policy| world.matches_host(&policy.subject, host))
    };
    world.host_endpoints_on(node).any(governs)
}
