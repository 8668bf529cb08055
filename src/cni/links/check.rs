//! Whether a cable is still as it was made.

use std::net::IpAddr;

use super::super::record::Record;
use super::super::result::{Previous, single};
use super::{Link, LinkError, Named, Namespace, Netlink, Route};

/// What the kernel has of a cable, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The node's end.
    pub(crate) host: Option<Link>,
    /// The addresses that the node has a route to over it.
    pub(crate) routed: Vec<IpAddr>,
    /// The container's end.
    pub(crate) pod: Option<Link>,
    /// Its addresses.
    pub(crate) addresses: Vec<IpAddr>,
    /// All of the container's routes.
    pub(crate) routes: Vec<Route>,
}

/// Looks at both ends.
///
/// # Errors
/// What the kernel refused.
pub(crate) fn look(
    host_interface: &str,
    interface: &str,
    namespace: &Namespace,
) -> Result<Seen, LinkError> {
    let mut seen = Seen::default();
    let mut host = Netlink::open().named("open a netlink socket")?;
    seen.host = host.link(host_interface).named(format!("look for {host_interface}"))?;
    let families = [[0; 4].into(), [0; 16].into()];
    if let Some(link) = &seen.host {
        for family in families {
            let routes = host.routes(family).named("list the routes")?;
            let ours = routes.into_iter().filter(|route| route.link == link.index);
            seen.routed.extend(ours.filter(|r| r.to == single(r.to.ip())).map(|r| r.to.ip()));
        }
    }
    let inside = namespace.within(|| {
        let mut pod = Netlink::open().named("open a netlink socket in the container")?;
        seen.pod = pod.link(interface).named(format!("look for {interface}"))?;
        if let Some(link) = &seen.pod {
            seen.addresses = pod.addresses(link.index).named("list the container's addresses")?;
        }
        for family in families {
            seen.routes.extend(pod.routes(family).named("list the container's routes")?);
        }
        Ok(())
    });
    inside.named("enter the container's namespace")??;
    Ok(seen)
}

/// How what is there differs from the result of the ADD and from its record; empty if it does
/// not. What later plug-ins of the chain added is theirs to check.
pub(crate) fn deviations(
    seen: &Seen,
    previous: &Previous,
    record: &Record,
    sandbox: &str,
) -> Vec<String> {
    let mut all = Vec::new();
    let Record { interface, host_interface, addresses, .. } = record;
    match previous.place_of(interface) {
        None => all.push(format!("prevResult has no interface {interface} in a sandbox")),
        Some(place) => {
            let told = &previous.interfaces[place];
            if told.sandbox != sandbox {
                all.push(format!("prevResult has {interface} in {}, not {sandbox}", told.sandbox));
            }
            let mac = seen.pod.as_ref().and_then(|pod| pod.mac).map(|mac| mac.to_string());
            if let (Some(mac), false) = (mac, told.mac.is_empty())
                && !mac.eq_ignore_ascii_case(&told.mac)
            {
                all.push(format!("{interface} has the hardware address {mac}, not {}", told.mac));
            }
            let told = previous.addresses_of(place);
            let missing = |from: &[IpAddr], of: &[IpAddr]| -> Vec<IpAddr> {
                of.iter().filter(|address| !from.contains(address)).copied().collect()
            };
            for address in missing(&told, addresses) {
                all.push(format!("prevResult lacks {address}, which is reserved"));
            }
            for address in missing(addresses, &told) {
                all.push(format!("{address} of prevResult is not reserved"));
            }
        }
    }
    match &seen.host {
        None => all.push(format!("the node has no {host_interface}")),
        Some(link) if !link.is_up => all.push(format!("the node's {host_interface} is down")),
        Some(_) => {
            for address in addresses.iter().filter(|address| !seen.routed.contains(address)) {
                all.push(format!("the node has no route to {address} over {host_interface}"));
            }
        }
    }
    let Some(pod) = &seen.pod else {
        all.push(format!("the container has no {interface}"));
        return all;
    };
    if !pod.is_up {
        all.push(format!("the container's {interface} is down"));
    }
    for address in addresses.iter().filter(|address| !seen.addresses.contains(address)) {
        all.push(format!("the container's {interface} lacks {address}"));
    }
    for route in &previous.routes {
        let is_it = |has: &&Route| {
            has.to.ip() == route.dst.network()
                && has.to.prefix() == route.dst.prefix()
                && (route.gw.is_none() || has.gateway == route.gw)
        };
        if !seen.routes.iter().any(|has| is_it(&has)) {
            all.push(format!("the container has no route to {}", route.dst));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::Mac;
    use super::*;

    fn link(name: &str, mac: [u8; 6]) -> Link {
        let mac = Some(Mac(mac));
        Link { index: 7, name: name.into(), mac, alias: None, is_up: true, is_cable: true }
    }

    #[test]
    fn each_deviation_is_named() {
        let address: IpAddr = "10.244.1.7".parse().unwrap();
        let record = Record {
            container_id: "a".into(),
            interface: "eth0".into(),
            host_interface: "brn0".into(),
            pod: None,
            addresses: vec![address],
        };
        let previous: Previous = serde_json::from_value(serde_json::json!({
            "interfaces": [
                {"name": "brn0", "mac": "02:00:00:00:00:01"},
                {"name": "eth0", "mac": "02:00:00:00:00:AB", "sandbox": "/n"},
                {"name": "other0"},
            ],
            "ips": [
                {"address": "10.244.1.7/32", "interface": 1},
                {"address": "192.0.2.1/24", "interface": 2},
            ],
            "routes": [{"dst": "0.0.0.0/0", "gw": "169.254.1.1"}],
        }))
        .unwrap();
        let gateway = Some("169.254.1.1".parse().unwrap());
        let seen = Seen {
            host: Some(link("brn0", [2, 0, 0, 0, 0, 1])),
            routed: vec![address],
            pod: Some(link("eth0", [2, 0, 0, 0, 0, 0xab])),
            addresses: vec![address],
            routes: vec![Route { to: "0.0.0.0/0".parse().unwrap(), gateway, link: 7 }],
        };
        assert_eq!(deviations(&seen, &previous, &record, "/n"), Vec::<String>::new());
        type Spoil = fn(&mut Seen, &mut Previous, &mut Record);
        let spoils: [(Spoil, &str); 11] = [
            (|s, _, _| s.host = None, "the node has no brn0"),
            (|s, _, _| s.host.as_mut().unwrap().is_up = false, "the node's brn0 is down"),
            (|s, _, _| s.routed.clear(), "the node has no route to 10.244.1.7 over brn0"),
            (|s, _, _| s.pod = None, "the container has no eth0"),
            (|s, _, _| s.pod.as_mut().unwrap().is_up = false, "the container's eth0 is down"),
            (|s, _, _| s.pod.as_mut().unwrap().mac = Some(Mac([2; 6])), "hardware address"),
            (|s, _, _| s.addresses.clear(), "the container's eth0 lacks 10.244.1.7"),
            (|s, _, _| s.routes[0].gateway = None, "the container has no route to 0.0.0.0/0"),
            (|_, p, _| p.interfaces[1].sandbox = "/m".into(), "prevResult has eth0 in /m"),
            (|_, p, _| p.ips.clear(), "prevResult lacks 10.244.1.7"),
            (|_, p, _| p.interfaces.clear(), "prevResult has no interface eth0"),
        ];
        for (spoil, want) in spoils {
            let (mut seen, mut previous, mut record) =
                (seen.clone(), previous.clone(), record.clone());
            spoil(&mut seen, &mut previous, &mut record);
            let found = deviations(&seen, &previous, &record, "/n");
            assert_eq!(found.len(), 1, "{want}: {found:?}");
            assert!(found[0].contains(want), "{want}: {found:?}");
        }
    }
}
