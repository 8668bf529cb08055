//! The host endpoints of this node: which of them judge packets, and what is wrong with the
//! others.

use std::collections::BTreeMap;
use std::sync::Arc;

use brindle_policy::World;
use brindle_policy::compile::shadowed;
use brindle_policy::model::{Direction, HostEndpoint, HostInterface};

/// The interfaces that a host endpoint fits by name or address, else `*`; empty if none of the
/// host has its addresses.
pub(crate) fn interfaces(world: &World, host: &HostEndpoint) -> Vec<String> {
    match host.interface {
        Some(HostInterface::Any) => vec!["*".to_owned()],
        Some(HostInterface::Named(device)) => vec![device.to_string()],
        None => {
            let devices = world.devices().devices.iter();
            let fitting = devices.filter(|(device, addresses)| host.fits(**device, addresses));
            fitting.map(|(device, _)| device.to_string()).collect()
        }
    }
}

/// What is wrong with the host endpoints of a node, by name: they judge nothing, or deny more
/// than is meant (policy-semantics 5.1).
pub(crate) fn problems(world: &World, node: &str) -> BTreeMap<Arc<str>, String> {
    let mut problems: BTreeMap<Arc<str>, String> = BTreeMap::new();
    let mut tell = |name: &Arc<str>, what: String| {
        let all = problems.entry(Arc::clone(name)).or_default();
        if !all.is_empty() {
            all.push_str("; ");
        }
        all.push_str(&what);
    };
    for (name, winner) in shadowed(world, node) {
        tell(
            &name,
            format!("HostEndpoint {winner} counts for its interface, as its name is smaller"),
        );
    }
    for host in world.host_endpoints_on(node) {
        if interfaces(world, host).is_empty() {
            let none = "no interface has one of its expectedIPs, and it names none";
            tell(&host.name, none.to_owned());
        }
        for profile in host.profiles.iter().filter(|name| world.profile(name).is_none()) {
            tell(&host.name, format!("there is no Profile {profile}: what comes to it is denied"));
        }
    }
    problems
}

/// How many policies govern a host endpoint in one direction, in all stages.
pub(crate) fn count(world: &World, host: &HostEndpoint, direction: Direction) -> usize {
    let all = world.policies().filter(|policy| policy.staged.is_none());
    let governs = all.filter(|policy| {
        policy.rules(direction).is_some()
            && world.tier(&policy.tier).is_some()
            && world.matches_host(&policy.subject, host)
    });
    governs.count()
}

#[cfg(test)]
mod tests {
    use brindle_policy::Change;
    use brindle_policy::model::{DEFAULT_ALLOW_PROFILE, DeviceAddresses};

    use super::*;

    #[test]
    fn host_endpoints_that_judge_nothing_or_too_much_are_told() {
        let mut world = World::default();
        let eth0 = ("eth0".parse().unwrap(), ["192.0.2.1".parse().unwrap()].into());
        let devices = DeviceAddresses { devices: [eth0].into() };
        world.apply(Change::Devices(Arc::new(devices)));
        let named = Some(HostInterface::Named("eth0".parse().unwrap()));
        for (name, interface, expected, profile) in [
            ("a", named, None, DEFAULT_ALLOW_PROFILE),
            ("b", named, None, DEFAULT_ALLOW_PROFILE),
            ("c", None, Some("192.0.2.1"), "gone"),
            ("d", None, Some("192.0.2.2"), DEFAULT_ALLOW_PROFILE),
            ("e", Some(HostInterface::Any), None, DEFAULT_ALLOW_PROFILE),
        ] {
            world.apply(Change::HostEndpointApplied(Arc::new(HostEndpoint {
                name: name.into(),
                labels: BTreeMap::new(),
                node: "n1".into(),
                interface,
                expected: expected.into_iter().map(|text| text.parse().unwrap()).collect(),
                ports: Default::default(),
                profiles: vec![profile.into()],
            })));
        }
        let problems = problems(&world, "n1");
        let shadow = "HostEndpoint a counts for its interface, as its name is smaller";
        let told: Vec<_> = problems.iter().map(|(name, what)| (&**name, what.as_str())).collect();
        assert_eq!(
            told,
            [
                ("b", shadow),
                ("c", &*format!("{shadow}; there is no Profile gone: what comes to it is denied")),
                ("d", "no interface has one of its expectedIPs, and it names none"),
            ]
        );
        let fits: Vec<_> =
            world.host_endpoints().map(|host| interfaces(&world, host).join(",")).collect();
        assert_eq!(fits, ["eth0", "eth0", "eth0", "", "*"]);
    }
}
