//! What a container got, in the shape of the version asked for, and the same read back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::links::Mac;
use super::spec::{Code, Failure, SpecVersion};

/// The next hop of all pods' IPv4 routes: link-local, on no interface, and answered for by none
/// but the pod's own neighbour table.
pub const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// The next hop of all pods' IPv6 routes, on the node's end of every cable.
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// The next hop of a pod's routes of the family that `like` has.
pub fn gateway(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => GATEWAY_V4.into(),
        IpAddr::V6(_) => GATEWAY_V6.into(),
    }
}

/// The prefix that holds only this address.
pub fn single(address: IpAddr) -> IpNetwork {
    IpNetwork::from(address)
}

/// Everything of a family.
pub fn everything(like: IpAddr) -> IpNetwork {
    let (any, length) = match like {
        IpAddr::V4(_) => (IpAddr::from(Ipv4Addr::UNSPECIFIED), 0),
        IpAddr::V6(_) => (IpAddr::from(Ipv6Addr::UNSPECIFIED), 0),
    };
    IpNetwork::new(any, length).expect("a length of zero fits every family")
}

/// What a container got.
#[derive(Clone, Debug)]
pub struct Connected<'a> {
    /// The node's end of the cable.
    pub host_interface: &'a str,
    /// Its hardware address.
    pub host_mac: Mac,
    /// The container's end.
    pub interface: &'a str,
    /// Its hardware address.
    pub mac: Mac,
    /// Of both ends, in octets.
    pub mtu: u32,
    /// The container's namespace, as the caller named it.
    pub sandbox: &'a str,
    /// At most one a family.
    pub addresses: &'a [IpAddr],
    /// What the configuration says about names.
    pub dns: Option<&'a Value>,
}

impl Connected<'_> {
    /// The result of an ADD.
    pub fn to_json(&self, version: SpecVersion) -> Value {
        let interface = |name: &str, mac: Mac, sandbox: Option<&str>| {
            let mut one = Map::from_iter([
                ("name".to_owned(), json!(name)),
                ("mac".to_owned(), json!(mac.to_string())),
            ]);
            if version >= SpecVersion::V1_1_0 {
                one.insert("mtu".to_owned(), json!(self.mtu));
            }
            one.extend(sandbox.map(|sandbox| ("sandbox".to_owned(), json!(sandbox))));
            Value::Object(one)
        };
        let address = |address: &IpAddr| {
            let mut one = json!({
                "interface": 1,
                "address": single(*address).to_string(),
                "gateway": gateway(*address).to_string(),
            });
            if version < SpecVersion::V1_0_0 {
                one["version"] = json!(if address.is_ipv4() { "4" } else { "6" });
            }
            one
        };
        let route = |address: &IpAddr| {
            json!({
                "dst": everything(*address).to_string(),
                "gw": gateway(*address).to_string(),
            })
        };
        json!({
            "cniVersion": version.as_str(),
            "interfaces": [
                interface(self.host_interface, self.host_mac, None),
                interface(self.interface, self.mac, Some(self.sandbox)),
            ],
            "ips": self.addresses.iter().map(address).collect::<Vec<_>>(),
            "routes": self.addresses.iter().map(route).collect::<Vec<_>>(),
            "dns": self.dns.cloned().unwrap_or_else(|| json!({})),
        })
    }
}

/// The answer to VERSION.
pub fn versions() -> Value {
    json!({
        "cniVersion": SpecVersion::LATEST.as_str(),
        "supportedVersions": SpecVersion::ALL.map(SpecVersion::as_str),
    })
}

/// The result of an earlier ADD, after all plug-ins of the chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Previous {
    /// All interfaces.
    #[serde(default)]
    pub interfaces: Vec<PreviousInterface>,
    /// All addresses.
    #[serde(default)]
    pub ips: Vec<PreviousAddress>,
    /// All routes.
    #[serde(default)]
    pub routes: Vec<PreviousRoute>,
}

/// An interface of a [`Previous`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PreviousInterface {
    /// Its name.
    pub name: String,
    /// Its hardware address; empty if not told.
    #[serde(default)]
    pub mac: String,
    /// The namespace it is in; empty for the node's.
    #[serde(default)]
    pub sandbox: String,
}

/// An address of a [`Previous`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PreviousAddress {
    /// With the length of its prefix.
    pub address: IpNetwork,
    /// The place of its interface in the list, from zero.
    pub interface: Option<i64>,
}

/// A route of a [`Previous`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PreviousRoute {
    /// Where to.
    pub dst: IpNetwork,
    /// Through whom.
    pub gw: Option<IpAddr>,
}

impl Previous {
    /// The place of the container's interface in the list.
    pub fn place_of(&self, interface: &str) -> Option<usize> {
        self.interfaces.iter().position(|one| one.name == interface && !one.sandbox.is_empty())
    }

    /// The addresses of the interface in this place.
    pub fn addresses_of(&self, place: usize) -> Vec<IpAddr> {
        let is_its = |index: Option<i64>| index.is_none_or(|i| usize::try_from(i) == Ok(place));
        self.ips.iter().filter(|ip| is_its(ip.interface)).map(|ip| ip.address.ip()).collect()
    }
}

/// Reads `prevResult`.
///
/// # Errors
/// If it is missing or no result.
pub(super) fn previous(json: &Value) -> Result<Previous, Failure> {
    let given = json.get("prevResult").filter(|given| !given.is_null()).ok_or_else(|| {
        let message = "prevResult is missing; CHECK compares with the result of the ADD";
        Failure::new(Code::InvalidConfig, message)
    })?;
    Previous::deserialize(given).map_err(|error| {
        Failure::new(Code::InvalidConfig, format!("prevResult is no result of an ADD: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_has_its_shape() {
        let addresses = ["10.244.1.2".parse().unwrap(), "fd00:1::2".parse().unwrap()];
        let connected = Connected {
            host_interface: "brn0123456789a",
            host_mac: Mac([2, 0, 0, 0, 0, 1]),
            interface: "eth0",
            mac: Mac([2, 0, 0, 0, 0, 0xab]),
            mtu: 1450,
            sandbox: "/run/netns/p",
            addresses: &addresses,
            dns: None,
        };
        let result = |version| connected.to_json(version);
        let want = json!({
            "cniVersion": "1.1.0",
            "interfaces": [
                {"name": "brn0123456789a", "mac": "02:00:00:00:00:01", "mtu": 1450},
                {
                    "name": "eth0",
                    "mac": "02:00:00:00:00:ab",
                    "mtu": 1450,
                    "sandbox": "/run/netns/p",
                },
            ],
            "ips": [
                {"interface": 1, "address": "10.244.1.2/32", "gateway": "169.254.1.1"},
                {"interface": 1, "address": "fd00:1::2/128", "gateway": "fe80::1"},
            ],
            "routes": [
                {"dst": "0.0.0.0/0", "gw": "169.254.1.1"},
                {"dst": "::/0", "gw": "fe80::1"},
            ],
            "dns": {},
        });
        assert_eq!(result(SpecVersion::V1_1_0), want);
        for (version, has_mtu, family) in [
            (SpecVersion::V0_3_1, false, json!("6")),
            (SpecVersion::V0_4_0, false, json!("6")),
            (SpecVersion::V1_0_0, false, Value::Null),
            (SpecVersion::V1_1_0, true, Value::Null),
        ] {
            let json = result(version);
            assert_eq!(json["cniVersion"], version.as_str());
            assert_eq!(json["interfaces"][1].get("mtu").is_some(), has_mtu, "{version}");
            assert_eq!(json["ips"][1]["version"], family, "{version}");
            // What one version writes, CHECK of that version reads.
            let read = previous(&json!({"prevResult": json})).unwrap();
            assert_eq!(read.place_of("eth0"), Some(1));
            assert_eq!(read.addresses_of(1), addresses);
            assert_eq!(read.routes.len(), 2);
        }
    }
}
