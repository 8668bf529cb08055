//! Next-hop objects of the kernel as values: hops and groups of hops that routes name by a
//! number (Linux 5.3), so that a group changes once for all routes that lead by it.

use std::ops::RangeInclusive;

use super::route::{Hop, PROTOCOL};

/// The number of an object. Numbers are one space for all programs of a host.
pub type ObjectId = u32;

/// The numbers that we give: they begin with the number of our protocol, so that they are told
/// from others' at a glance.
pub const OUR_IDS: RangeInclusive<ObjectId> = 980_000_001..=980_999_999;

/// An object as the kernel holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its number.
    pub id: ObjectId,
    /// Who made it (`nh_protocol`).
    pub protocol: u8,
    /// What it is.
    pub kind: Kind,
}

impl Object {
    /// Whether it carries our mark.
    pub fn is_ours(&self) -> bool {
        self.protocol == PROTOCOL
    }
}

/// What an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One hop; its weight is zero, as a share is a matter of groups.
    Hop(Hop),
    /// Drops packets.
    Blackhole,
    /// A resilient group (Linux 5.13).
    Group(Shape),
    /// Something that we never write.
    Other,
}

/// A resilient group: flows fall into buckets, and each bucket belongs to a member. A member
/// that leaves gives its buckets to others, and nobody else's are touched; one that comes gets
/// such as had no packet for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The numbers of its hops, each with what the kernel adds to its share of one. In this
    /// order a new group gives its buckets.
    pub members: Vec<(ObjectId, u8)>,
    /// How many buckets it has; they are given when it is made and never change.
    pub buckets: u16,
    /// For how long a bucket must have had no packet to be moved to a member that has too few,
    /// in hundredths of seconds.
    pub idle: u32,
}

/// One write of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectOp {
    /// Which object.
    pub id: ObjectId,
    /// What becomes of it.
    pub action: ObjectAction,
}

/// What a write of an object does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectAction {
    /// Make it; the kernel refuses if anybody holds the number.
    Add(Kind),
    /// Change the one that is there, in place; the kernel refuses if there is none. It does not
    /// ask whose it is.
    Change(Kind),
    /// Remove it, and with it all routes that lead by it. The kernel does not ask whose it is.
    Delete,
}
