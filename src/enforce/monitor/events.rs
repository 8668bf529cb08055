//! Hears from the kernel what changes in the rulesets of nftables, which iptables-nft writes
//! too, and which process did it.

use std::collections::{BTreeSet, VecDeque};
use std::io;

use brindle_policy::Family;
use brindle_policy::names::CHAIN_MARK;
use brindle_policy::ruleset::Table;

use netlink_packet_core::{NetlinkBuffer, NlaBuffer, NlasIterator};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket};
use nix::sys::socket::{setsockopt, sockopt};

use super::super::dataplane::Hooked;

/// Room for events, in octets; when it is not enough, the kernel says so.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;
/// More than the kernel puts into one datagram.
const DATAGRAM: usize = 64 * 1024;
/// The multicast group of changes of rulesets (`NFNLGRP_NFTABLES`).
const GROUP: u32 = 7;
/// What message types of nftables begin with (`NFNL_SUBSYS_NFTABLES`).
const SUBSYSTEM: u8 = 10;
/// Octets of `struct nfgenmsg`, which every message begins with: the first is the family.
const NFGENMSG: usize = 4;
/// Attribute of messages about a table: its name; of those about chains and rules: its table's.
const TABLE: u16 = 1;
/// Attribute of a message about a rule: its chain.
const RULE_CHAIN: u16 = 2;
/// Attribute of a message about a chain: its name.
const CHAIN_NAME: u16 = 3;
/// Attribute of the message that ends a transaction: the number of the process.
const GENERATION_PID: u16 = 2;
/// Attribute of that message: the name of the process.
const GENERATION_NAME: u16 = 3;

/// A process as the kernel tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    /// Its number in the first process namespace.
    pub pid: u32,
    /// Its name, at most fifteen characters of it.
    pub name: String,
}

/// What was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// One transaction changed what is ours, or a chain that we hook.
    Change(Process, BTreeSet<Family>),
    /// There was more to be heard than there was room for.
    Lost,
}

/// A socket that hears all changes in the network namespace of the thread that opened it.
pub(super) struct Events {
    socket: TokioSocket,
    reader: Reader,
}

impl Events {
    /// To be called within a runtime.
    ///
    /// # Errors
    /// If the kernel refuses the socket.
    pub(super) fn open(hooked: Hooked) -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
        let inner = socket.socket_mut();
        setsockopt(inner, sockopt::RcvBufForce, &RECEIVE_BUFFER)
            .or_else(|_| setsockopt(inner, sockopt::RcvBuf, &RECEIVE_BUFFER))?;
        inner.bind(&SocketAddr::new(0, 0))?;
        inner.add_membership(GROUP)?;
        Ok(Self { socket, reader: Reader::new(hooked) })
    }

    /// The next thing of interest. Nothing is lost if it is not waited for to the end.
    ///
    /// # Errors
    /// If the socket fails for good.
    pub(super) async fn next(&mut self) -> io::Result<Heard> {
        loop {
            if let Some(heard) = self.reader.heard.pop_front() {
                return Ok(heard);
            }
            let mut datagram = Vec::with_capacity(DATAGRAM);
            match self.socket.recv(&mut datagram).await {
                Ok(()) => self.reader.read(&datagram),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.reader = Reader::new(self.reader.hooked.clone());
                    return Ok(Heard::Lost);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Makes sense of messages: those of one transaction come together, and the last of them says
/// who did it.
#[derive(Debug)]
struct Reader {
    hooked: Hooked,
    touched: BTreeSet<Family>,
    heard: VecDeque<Heard>,
}

impl Reader {
    fn new(hooked: Hooked) -> Self {
        Self { hooked, touched: BTreeSet::new(), heard: VecDeque::new() }
    }

    fn read(&mut self, datagram: &[u8]) {
        /// Octets of a message's own header.
        const HEADER: usize = 16;
        let mut rest = datagram;
        while let Ok(message) = NetlinkBuffer::new_checked(rest) {
            let length = message.length() as usize;
            if length < HEADER {
                break;
            }
            self.message(message.message_type(), message.payload());
            // Messages begin at multiples of four.
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }

    fn message(&mut self, kind: u16, payload: &[u8]) {
        let [subsystem, kind] = kind.to_be_bytes();
        let Some((header, attributes)) = payload.split_at_checked(NFGENMSG) else { return };
        if subsystem != SUBSYSTEM {
            return;
        }
        let kind = i32::from(kind);
        if kind == libc::NFT_MSG_NEWGEN {
            self.end_of_transaction(attributes);
            return;
        }
        let family = match header.first().map(|octet| i32::from(*octet)) {
            Some(libc::NFPROTO_IPV4) => Family::V4,
            Some(libc::NFPROTO_IPV6) => Family::V6,
            _ => return,
        };
        let table = text(attributes, TABLE).unwrap_or_default();
        let is_ours = match kind {
            libc::NFT_MSG_NEWTABLE | libc::NFT_MSG_DELTABLE => {
                self.hooked.is_in_table(family, &table)
            }
            libc::NFT_MSG_NEWCHAIN | libc::NFT_MSG_DELCHAIN => {
                self.is_of_interest(family, &table, text(attributes, CHAIN_NAME))
            }
            libc::NFT_MSG_NEWRULE | libc::NFT_MSG_DELRULE => {
                self.is_of_interest(family, &table, text(attributes, RULE_CHAIN))
            }
            _ => false,
        };
        if is_ours && Table::ALL.iter().any(|ours| ours.as_str() == table) {
            self.touched.insert(family);
        }
    }

    /// Whether a change of this chain may be one of what we want.
    fn is_of_interest(&self, family: Family, table: &str, chain: Option<String>) -> bool {
        chain.is_none_or(|chain| {
            chain.starts_with(CHAIN_MARK) || self.hooked.is_in(family, table, &chain)
        })
    }

    fn end_of_transaction(&mut self, attributes: &[u8]) {
        let touched = std::mem::take(&mut self.touched);
        if touched.is_empty() {
            return;
        }
        let number =
            attribute(attributes, GENERATION_PID).and_then(|octets| octets.try_into().ok());
        let process = Process {
            pid: number.map_or(0, u32::from_be_bytes),
            name: text(attributes, GENERATION_NAME).unwrap_or_default(),
        };
        self.heard.push_back(Heard::Change(process, touched));
    }
}

fn attribute(attributes: &[u8], kind: u16) -> Option<Vec<u8>> {
    let mut all = NlasIterator::new(attributes).map_while(Result::ok);
    all.find(|one: &NlaBuffer<&[u8]>| one.kind() == kind).map(|one| one.value().to_vec())
}

fn text(attributes: &[u8], kind: u16) -> Option<String> {
    let octets = attribute(attributes, kind)?;
    Some(String::from_utf8_lossy(&octets).trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute_of(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).expect("short");
        let mut octets = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        octets.extend(value);
        octets.resize(octets.len().next_multiple_of(4), 0);
        octets
    }

    fn message(kind: i32, family: i32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let body: Vec<u8> = attributes.iter().flat_map(|(k, v)| attribute_of(*k, v)).collect();
        let length = u32::try_from(20 + body.len()).expect("short");
        let kind = u16::from_be_bytes([SUBSYSTEM, u8::try_from(kind).expect("small")]);
        let mut octets = length.to_ne_bytes().to_vec();
        octets.extend([kind.to_ne_bytes(), [0; 2]].concat());
        octets.extend([0; 8]);
        octets.extend([u8::try_from(family).expect("small"), 0, 0, 0]);
        octets.extend(body);
        octets
    }

    fn rule(family: i32, table: &[u8], chain: &[u8]) -> Vec<u8> {
        message(libc::NFT_MSG_NEWRULE, family, &[(TABLE, table), (RULE_CHAIN, chain)])
    }

    #[test]
    fn only_changes_of_what_is_ours_are_told_with_who_made_them() {
        let end = message(
            libc::NFT_MSG_NEWGEN,
            0,
            &[(1, &[0, 0, 0, 9]), (GENERATION_PID, &[0, 0, 1, 2]), (GENERATION_NAME, b"nft\0")],
        );
        let by = Process { pid: 258, name: "nft".to_owned() };
        for (messages, want) in [
            (rule(libc::NFPROTO_IPV4, b"filter\0", b"BRN-TO\0"), Some(Family::V4)),
            (rule(libc::NFPROTO_IPV6, b"nat\0", b"POSTROUTING\0"), Some(Family::V6)),
            (rule(libc::NFPROTO_IPV4, b"nat\0", b"KUBE-SVC-X\0"), None),
            (rule(libc::NFPROTO_IPV4, b"raw\0", b"PREROUTING\0"), None),
            (rule(libc::NFPROTO_IPV4, b"raw\0", b"BRN-RI\0"), Some(Family::V4)),
            (rule(libc::NFPROTO_BRIDGE, b"filter\0", b"FORWARD\0"), None),
            (
                message(libc::NFT_MSG_DELTABLE, libc::NFPROTO_IPV4, &[(TABLE, b"filter\0")]),
                Some(Family::V4),
            ),
            (
                message(
                    libc::NFT_MSG_DELCHAIN,
                    libc::NFPROTO_IPV4,
                    &[(TABLE, b"filter\0"), (CHAIN_NAME, b"BRN-TO\0")],
                ),
                Some(Family::V4),
            ),
        ] {
            let mut reader = Reader::new(Hooked::default());
            reader.read(&messages);
            assert_eq!(reader.heard.len(), 0, "the transaction is not over: {messages:?}");
            reader.read(&end);
            let want = want.map(|family| Heard::Change(by.clone(), [family].into()));
            assert_eq!(reader.heard.pop_front(), want, "{messages:?}");
        }
    }

    #[test]
    fn messages_cut_anywhere_do_no_harm() {
        let whole = [
            rule(libc::NFPROTO_IPV4, b"filter\0", b"BRN-TO\0"),
            message(libc::NFT_MSG_NEWGEN, 0, &[(GENERATION_PID, &[0, 0, 1, 2])]),
        ]
        .concat();
        for length in 0..whole.len() {
            Reader::new(Hooked::default()).read(&whole[..length]);
            let mut bad = whole.clone();
            bad[length] = 0xff;
            Reader::new(Hooked::default()).read(&bad);
        }
    }
}
