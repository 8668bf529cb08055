//! The network configuration: the plug-in's own keys of it, checked.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::spec::{Code, Failure, SpecVersion};
use crate::control::DEFAULT_SOCKET;

/// Where records and addresses are kept unless the configuration says otherwise.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/brindle/cni";
/// How long a pod's isolation may take unless the configuration says otherwise, in seconds.
const DEFAULT_WAIT: u32 = 20;

/// What the network configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// `cniVersion`: the version to answer in.
    pub version: SpecVersion,
    /// `name`
    pub name: String,
    /// `socket`: where the agent is.
    pub socket: PathBuf,
    /// `dataDir`: where records and addresses are kept.
    pub data_dir: PathBuf,
    /// `mtu`: of the pods' interfaces, in octets; `None` leaves it to the agent.
    pub mtu: Option<u32>,
    /// `waitSeconds`: how long a pod's isolation may take.
    pub wait_seconds: u32,
    /// `runtimeConfig.ips`: the addresses to have, at most one a family.
    pub addresses: Vec<IpAddr>,
    /// `dns`: handed on as it is.
    pub dns: Option<Value>,
}

/// Reads the configuration. Keys that are not ours belong to others: configurations in a chain
/// carry some.
///
/// # Errors
/// If one of ours has a wrong value; names key and value.
pub(super) fn network(json: &Value, version: SpecVersion) -> Result<Network, Failure> {
    Ok(Network {
        version,
        name: name(&json["name"])?,
        socket: path("socket", &json["socket"], DEFAULT_SOCKET)?,
        data_dir: path("dataDir", &json["dataDir"], DEFAULT_DATA_DIR)?,
        mtu: match number("mtu", &json["mtu"], &[0, 576, 65535])? {
            None | Some(0) => None,
            given => given,
        },
        wait_seconds: number("waitSeconds", &json["waitSeconds"], &[1, 1, 600])?
            .unwrap_or(DEFAULT_WAIT),
        addresses: addresses(&json["runtimeConfig"]["ips"])?,
        dns: json.get("dns").filter(|dns| dns.is_object()).cloned(),
    })
}

fn invalid(key: &str, value: &Value, accepted: &str) -> Failure {
    let mut shown = value.to_string();
    if shown.len() > 200 {
        shown = format!("{}...", shown.chars().take(200).collect::<String>());
    }
    Failure::new(Code::InvalidConfig, format!("{key}: {shown}: accepted is {accepted}"))
}

fn name(value: &Value) -> Result<String, Failure> {
    let is_name = |text: &&str| {
        text.len() <= 255
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
    };
    value.as_str().filter(is_name).map(str::to_owned).ok_or_else(|| {
        let accepted = "up to 255 letters, digits, '_', '.' and '-', the first a letter or digit";
        invalid("name", value, accepted)
    })
}

fn path(key: &str, value: &Value, otherwise: &str) -> Result<PathBuf, Failure> {
    if value.is_null() {
        return Ok(otherwise.into());
    }
    let is_path = |text: &&str| Path::new(text).is_absolute() && !text.contains(char::is_control);
    value
        .as_str()
        .filter(is_path)
        .map(PathBuf::from)
        .ok_or_else(|| invalid(key, value, &format!("an absolute path, such as {otherwise}")))
}

/// A whole number within `[least, other least, most]`: the first counts alone, such as the 0
/// that stands for "not set".
fn number(key: &str, value: &Value, limits: &[u32; 3]) -> Result<Option<u32>, Failure> {
    if value.is_null() {
        return Ok(None);
    }
    let [alone, least, most] = *limits;
    value
        .as_u64()
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| *number == alone || (least..=most).contains(number))
        .map(Some)
        .ok_or_else(|| {
            let besides = if alone < least { format!(", or {alone}") } else { String::new() };
            invalid(key, value, &format!("a number from {least} to {most}{besides}"))
        })
}

/// Callers write addresses with or without the length of a prefix; only the address counts.
fn addresses(value: &Value) -> Result<Vec<IpAddr>, Failure> {
    const KEY: &str = "runtimeConfig.ips";
    if value.is_null() {
        return Ok(Vec::new());
    }
    let accepted = "a list of addresses, at most one a family";
    let list = value.as_array().ok_or_else(|| invalid(KEY, value, accepted))?;
    let mut all: Vec<IpAddr> = Vec::new();
    for one in list {
        let text = one.as_str().unwrap_or_default();
        let address = match text.split_once('/') {
            Some(_) => text.parse::<ipnetwork::IpNetwork>().ok().map(|network| network.ip()),
            None => text.parse().ok(),
        };
        let address: IpAddr = address.ok_or_else(|| invalid(KEY, one, accepted))?;
        if all.iter().any(|other| other.is_ipv4() == address.is_ipv4()) {
            return Err(invalid(KEY, value, accepted));
        }
        all.push(address);
    }
    Ok(all)
}
