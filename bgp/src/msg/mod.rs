//! Messages: what a BGP wire carries, as values and as octets.

mod attributes;
mod capability;
mod community;
mod message;
mod nlri;
mod notification;
mod notification_display;
mod pack;

pub use attributes::{
    Aggregator, AsPath, AsSegment, Attributes, Origin, SegmentKind, UnknownAttribute,
};
pub use capability::{AddPathFamily, Capability, GracefulRestart, LongLivedFamily, RestartFamily};
pub use community::{Administrator, Community, ExtendedCommunity, LargeCommunity, Named};
pub use message::{
    Announcement, BadHoldTime, HoldTime, Message, NextHop, Open, Refresh, RouteRefresh, Update,
};
pub use nlri::{AddPaths, Nlri, PathId};
pub(crate) use notification::cut;
pub use notification::{CeaseReason, Notification, UnexpectedIn};

mod codec;
pub use codec::{
    AttributeFault, Decoded, MessageError, Treatment, WireFormat, decode, encode, frame,
};
pub use pack::{encode_attributes, end_of_rib, pack_announce, pack_withdraw};
