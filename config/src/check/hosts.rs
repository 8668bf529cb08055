//! `policy.hostEndpoints:` policies on nodes themselves, and what they can never close.

use std::collections::BTreeSet;

use brindle_bgp::net::Prefix;

use super::set;
use crate::meaning::{Bgp, Failsafe, FailsafeProtocol, HostEndpoints, ToHost};
use crate::section::{Item, Section};
use crate::value;
use crate::yaml::{Value, quoted};

/// What `defaultEndpointToHostAction` accepts.
const TO_HOST: [(&str, ToHost); 3] =
    [("Accept", ToHost::Accept), ("Drop", ToHost::Drop), ("Return", ToHost::Return)];
/// What `protocol` of a port accepts.
const PROTOCOLS: [(&str, FailsafeProtocol); 3] = [
    ("TCP", FailsafeProtocol::Tcp),
    ("UDP", FailsafeProtocol::Udp),
    ("SCTP", FailsafeProtocol::Sctp),
];
/// TCP ports without which a node is hard to mend, and whose they are.
const MISSED_INBOUND: [(u16, &str); 3] =
    [(22, "SSH"), (6443, "the API server"), (10250, "the kubelet")];
const MISSED_OUTBOUND: [(u16, &str); 1] = [(6443, "the API server")];

/// Reads the section; `bgp` is what the agent itself needs of open ports.
pub(super) fn read(item: &Item, bgp: &Bgp) -> HostEndpoints {
    let mut hosts = HostEndpoints::default();
    let Some(mut section) = item.section() else { return hosts };
    set(&mut hosts.auto, section.get("auto").and_then(|item| item.boolean()));
    let to_host = section.get("defaultEndpointToHostAction");
    set(&mut hosts.to_host, to_host.and_then(|item| item.word(&TO_HOST)));
    set(&mut hosts.without_bgp, section.get("withoutBGP").and_then(|item| item.boolean()));
    let bgp = (bgp.enabled && !hosts.without_bgp).then_some(bgp);
    let ours = bgp.map(|bgp| BTreeSet::from([bgp.listen_port]));
    // Peers of the mesh listen on our own port.
    let theirs = bgp.map(|bgp| {
        let peers = bgp.peers.iter().filter(|peer| !peer.passive).map(|peer| peer.port);
        peers.chain(bgp.mesh.then_some(bgp.listen_port)).collect()
    });
    hosts.failsafe_inbound = list(&mut section, "failsafeInbound", &MISSED_INBOUND, ours);
    hosts.failsafe_outbound = list(&mut section, "failsafeOutbound", &MISSED_OUTBOUND, theirs);
    section.finish();
    hosts
}

/// Reads a list of ports; `needed` are those of BGP that have to be among them.
fn list(
    section: &mut Section,
    key: &'static str,
    missed: &[(u16, &str)],
    needed: Option<BTreeSet<u16>>,
) -> Option<Vec<Failsafe>> {
    let item = section.get(key)?;
    let goods = item.list(failsafe)?;
    let has_all = goods.len() == item.len();
    let ports: Vec<Failsafe> = goods.into_iter().map(|good| good.value).collect();
    let is_there = |number: u16| {
        ports.iter().any(|one| one.protocol == FailsafeProtocol::Tcp && one.port == number)
    };
    // What a refused element stands for is not known.
    if has_all {
        for port in needed.into_iter().flatten().filter(|port| !is_there(*port)) {
            item.refuse(format!(
                "TCP {port} is not among them, so that a policy on nodes could end BGP and with \
                 it all routes; add \"tcp:{port}\", or write \"withoutBGP: true\" beside it if \
                 that is meant"
            ));
        }
        for (port, whose) in missed.iter().filter(|(port, _)| !is_there(*port)) {
            item.warn(format!(
                "TCP {port}, {whose}, is not among them; a mistake in a policy on nodes can \
                 close it"
            ));
        }
    }
    Some(ports)
}

fn failsafe(item: &Item) -> Option<Failsafe> {
    if let Value::Map(_) = item.node.value {
        return full(item);
    }
    let text = item.text()?;
    let found = short(text);
    if found.is_none() {
        item.refuse(format!(
            "{} is not a port with its protocol; accepted is for instance tcp:22, \
             tcp:10.0.0.0/8:22, udp:[fd00::/8]:546 or {{protocol: TCP, port: 22, net: \
             10.0.0.0/8}}",
            quoted(text)
        ));
    }
    found
}

fn full(item: &Item) -> Option<Failsafe> {
    let mut section = item.section()?;
    let protocol = match section.get("protocol") {
        Some(item) => item.word(&PROTOCOLS),
        None => Some(FailsafeProtocol::Tcp),
    };
    let port = section.need("port", "22").and_then(|item| value::port(&item));
    let net = match section.get("net") {
        Some(item) => item.parse::<Prefix>().map(Some),
        None => Some(None),
    };
    section.finish();
    Some(Failsafe { protocol: protocol?, port: port?, net: net? })
}

/// Reads the short form, which Calico has too: `tcp:22`, `tcp:10.0.0.0/8:22`, or `22` for TCP.
fn short(text: &str) -> Option<Failsafe> {
    let (before, port) = text.rsplit_once(':').unwrap_or(("tcp", text));
    let (protocol, net) = match before.split_once(':') {
        Some((protocol, net)) => (protocol, Some(net)),
        None => (before, None),
    };
    let named = PROTOCOLS.iter().find(|(word, _)| word.eq_ignore_ascii_case(protocol));
    let net = net.map(|net| net.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(net));
    let net = net.map(str::parse::<Prefix>).transpose().ok()?;
    let digits = port.bytes().all(|octet| octet.is_ascii_digit());
    let port = port.parse().ok().filter(|port| digits && *port > 0)?;
    Some(Failsafe { protocol: named?.1, port, net })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form_of_a_port_is_read_as_calico_has_it() {
        for (text, want) in [
            ("tcp:22", Some("Tcp 22 ")),
            ("22", Some("Tcp 22 ")),
            ("UDP:68", Some("Udp 68 ")),
            ("tcp:10.0.0.0/8:22", Some("Tcp 22 10.0.0.0/8")),
            ("tcp:[fd00::/8]:22", Some("Tcp 22 fd00::/8")),
            ("tcp:fd00::/8:22", Some("Tcp 22 fd00::/8")),
            ("tcp:0", None),
            ("tcp:65536", None),
            ("tcp:+22", None),
            ("tcp:", None),
            ("icmp:1", None),
            ("tcp:10.0.0.0/33:22", None),
            ("tcp::22", None),
            ("", None),
        ] {
            let shown = short(text).map(|one| {
                let net = one.net.map(|net| net.to_string()).unwrap_or_default();
                format!("{:?} {} {net}", one.protocol, one.port)
            });
            assert_eq!(shown.as_deref(), want, "{text:?}");
        }
    }
}
