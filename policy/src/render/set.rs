//! Sets as lines of `ipset restore`.

use std::fmt::Display;
use std::net::IpAddr;

use super::line;
use crate::address::Family;
use crate::model::Protocol;
use crate::names::SetName;
use crate::ruleset::{Member, Members, SetKind};

/// The most members that a set takes: a limit only, memory is used as they come.
pub const MAX_MEMBERS: usize = 1 << 20;

/// A set that is not there, with its members.
pub(super) fn create(text: &mut String, name: &SetName, members: &Members, family: Family) {
    // The kernel's hash grows by itself; a right start saves it the steps in between.
    let size = members.len().next_power_of_two().clamp(64, 1 << 16);
    let (kind, family) = (kind_word(members.kind()), family_word(family));
    line(
        text,
        format_args!("create {name} {kind} family {family} hashsize {size} maxelem {MAX_MEMBERS}"),
    );
    match members {
        Members::Addresses(all) => {
            all.iter().for_each(|one| member(text, "add", name, Member::Address(*one)));
        }
        Members::Blocks(all) => {
            all.iter().for_each(|one| member(text, "add", name, Member::Block(*one)));
        }
        Members::Attached(all) => all.iter().for_each(|(address, interface)| {
            member(text, "add", name, Member::Attached(*address, *interface));
        }),
        Members::Ports(all) => all.iter().for_each(|(address, protocol, number)| {
            member(text, "add", name, Member::Port(*address, *protocol, *number));
        }),
    }
}

/// A member that comes (`add`) or goes (`del`), whether or not it is there.
pub(super) fn member(text: &mut String, verb: &str, set: &SetName, member: Member) {
    let add = |text: &mut String, words: &dyn Display| {
        line(text, format_args!("{verb} {set} {words} -exist"));
    };
    // The kernel has no place for the address of all zeros; no packet has it either.
    let real = |address: IpAddr| !address.is_unspecified();
    match member {
        Member::Address(address) if real(address) => add(text, &address),
        Member::Block(block) => add(text, &block),
        Member::Port(address, protocol, number) if real(address) => {
            let protocol = protocol_word(protocol);
            add(text, &format_args!("{address},{protocol}:{number}"));
        }
        Member::Attached(address, interface) if real(address) => {
            add(text, &format_args!("{address},{interface}"));
        }
        Member::Address(_) | Member::Port(..) | Member::Attached(..) => {}
    }
}

/// A set that goes, whether or not it is there.
pub(super) fn destroy(text: &mut String, name: &SetName) {
    line(text, format_args!("destroy {name} -exist"));
}

/// The type as ipset calls it.
pub(crate) fn kind_word(kind: SetKind) -> &'static str {
    match kind {
        SetKind::Addresses => "hash:ip",
        SetKind::Blocks => "hash:net",
        SetKind::Ports => "hash:ip,port",
        SetKind::Attached => "hash:net,iface",
    }
}

/// The family as ipset calls it.
pub(crate) fn family_word(family: Family) -> &'static str {
    match family {
        Family::V4 => "inet",
        Family::V6 => "inet6",
    }
}

/// The protocol as ipset calls it.
pub(crate) fn protocol_word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}
