//! Messages: what a BGP wire carries, as values and as octets.

mod attributes;
mod capability;
mod community;
mod message;
mod notification;

pub use attributes::{
    Aggregator, AsPath, AsSegment, Attributes, Origin, SegmentKind, UnknownAttribute,
};
pub use capability::{Capability, GracefulRestart, RestartFamily};
pub use community::{Community, ExtendedCommunity, LargeCommunity};
pub use message::{
    Announcement, BadHoldTime, HoldTime, Message, NextHop, Open, Refresh, RouteRefresh, Update,
};
pub use notification::{CeaseReason, Notification};

mod codec;
pub use codec::{
    AttributeFault, Decoded, MessageError, Treatment, WireFormat, decode, encode, frame,
};
