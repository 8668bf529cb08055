//! The RIB in pages, with path attributes as they stand in messages.

use std::net::{IpAddr, Ipv4Addr};

use brindle_bgp::net::Prefix;
use serde::{Deserialize, Serialize};

use super::{Time, as_hex, as_text};

/// A page of the RIB: all paths that import accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableDump {
    /// On the first page, whose paths there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<DumpHead>,
    /// Prefixes with their paths, IPv4 first, ascending.
    pub items: Vec<DumpedPrefix>,
    /// Where the next page begins; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Whose paths there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DumpHead {
    /// Name of the node.
    pub node: String,
    /// Our AS.
    pub as_number: u32,
    /// Our BGP Identifier.
    #[serde(rename = "routerID")]
    pub router_id: Ipv4Addr,
    /// All peers, in the order of their names.
    pub peers: Vec<DumpPeer>,
}

/// Somebody who tells us paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DumpPeer {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// Its AS.
    pub as_number: u32,
    /// Its BGP Identifier, while its session is up.
    #[serde(rename = "routerID", default, skip_serializing_if = "Option::is_none")]
    pub router_id: Option<Ipv4Addr>,
}

/// A prefix with its paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DumpedPrefix {
    /// The prefix.
    #[serde(with = "as_text")]
    pub prefix: Prefix,
    /// The best one first.
    pub paths: Vec<DumpedPath>,
}

/// A path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DumpedPath {
    /// Name of the peer that told it; absent if it is our own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Which of the peer's paths to the prefix it is (RFC 7911).
    #[serde(rename = "pathID", default, skip_serializing_if = "Option::is_none")]
    pub path_id: Option<u32>,
    /// Since when the session that told it is up, or is not; of our own, since when the agent
    /// runs. When a path came is not kept.
    pub since: Time,
    /// Its attributes after import in hexadecimal, with the next hop, as RFC 6396 §4.3.4 has them.
    #[serde(with = "as_hex")]
    pub attributes: Vec<u8>,
}
