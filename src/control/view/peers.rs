//! A peer and its session.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{Bfd, Family, Time};

/// A peer and its session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// The operator's name for it, or the node's for a mesh peer.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// The port that it is dialled on.
    pub port: u16,
    /// The AS that it must be in, or is in; 0 while any other than ours will do.
    pub as_number: u32,
    /// The interface that it is on, where its address is link-local or found there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Where it comes from. Not `kind` in JSON, which says there what the object is.
    #[serde(rename = "type")]
    pub kind: PeerKind,
    /// The state of the session.
    pub state: SessionState,
    /// When it came into this state.
    pub since: Time,
    /// Since then.
    pub since_seconds: u64,
    /// Why it is not Established, or why the last session ended, or what of it is not used:
    /// never empty unless all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reason: Option<String>,
    /// When it will be dialled next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<Time>,
    /// Until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_seconds: Option<u64>,
    /// Sessions that ended after they were Established.
    pub flaps: u64,
    /// Counts of prefixes, one entry a family that is agreed, or configured while down.
    pub families: Vec<FamilyCounts>,
    /// Counts of messages since the agent started.
    pub messages: MessageCounts,
    /// Whether we never dial it.
    pub passive: bool,
    /// What signs its connections; absent where nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<PeerAuth>,
    /// The most hops that its packets may have come; absent where that is not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_security: Option<u8>,
    /// Our AS on its sessions, where it is another than with everybody else.
    #[serde(rename = "localASNumber", default, skip_serializing_if = "Option::is_none")]
    pub local_as_number: Option<u32>,
    /// What its session was set up with.
    pub timers: Timers,
    /// What is taken of what it tells us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import_policy: Option<PolicyKind>,
    /// What it is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export_policy: Option<PolicyKind>,
    /// Names of the filters on what it tells us; absent where ownership or nothing filters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import_filters: Option<Vec<String>>,
    /// Names of the filters on what we tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export_filters: Option<Vec<String>>,
    /// What both sides agreed on; absent unless Established.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negotiated: Option<Box<Negotiated>>,
    /// Its BFD session; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd: Option<Box<Bfd>>,
    /// The last NOTIFICATION that we sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_notification_sent: Option<NotificationSeen>,
    /// The last NOTIFICATION that the peer sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_notification_received: Option<NotificationSeen>,
}

impl Peer {
    /// Prefixes received, accepted, advertised and rejected, of all families.
    pub fn totals(&self) -> FamilyTotals {
        self.families.iter().fold(FamilyTotals::default(), |sum, counts| FamilyTotals {
            received: sum.received + counts.received,
            accepted: sum.accepted + counts.accepted,
            advertised: sum.advertised + counts.advertised,
            rejected: sum.rejected + counts.rejected,
            stale: sum.stale + counts.stale,
        })
    }
}

/// What passes from or to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PolicyKind {
    /// All.
    Everything,
    /// Nothing, since an external peer has no filters (RFC 8212).
    Nothing,
    /// What the filters accept.
    Filters,
    /// What the node owns that it comes from.
    Owned,
    /// What this node originates, and pod CIDRs.
    Originated,
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PolicyKind::Everything => "everything",
            PolicyKind::Nothing => "nothing: there are no filters (RFC 8212)",
            PolicyKind::Filters => "what filters accept",
            PolicyKind::Owned => "what its node owns",
            PolicyKind::Originated => "what this node originates, and pod CIDRs",
        })
    }
}

/// What signs a peer's connections; never the key itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerAuth {
    /// By which standard.
    pub kind: AuthKind,
    /// Where the key is from: `file /etc/brindle/keys/tor`, `Secret keys, key tor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// How connections are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AuthKind {
    /// TCP MD5 (RFC 2385).
    Md5,
    /// TCP-AO (RFC 5925).
    Ao,
    /// Not at all: there is no key, and the peer is not spoken to.
    Missing,
}

impl fmt::Display for AuthKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AuthKind::Md5 => "md5",
            AuthKind::Ao => "ao",
            AuthKind::Missing => "missing",
        })
    }
}

/// Counts of [`FamilyCounts`] summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FamilyTotals {
    /// Prefixes that it told us.
    pub received: usize,
    /// Of these, taken.
    pub accepted: usize,
    /// Prefixes that we told it.
    pub advertised: usize,
    /// Of those it told us, refused.
    pub rejected: usize,
    /// Of those taken, kept although the session that told them is over.
    pub stale: usize,
}

/// Where a peer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PeerKind {
    /// Another node, by the node-to-node mesh.
    Mesh,
    /// `bgp.peers`.
    Peer,
    /// `bgp.peers`, and we reflect to and from it.
    ReflectorClient,
    /// One of `bgp.dynamicPeers`: it connected by itself.
    Dynamic,
}

impl fmt::Display for PeerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PeerKind::Mesh => "mesh",
            PeerKind::Peer => "peer",
            PeerKind::ReflectorClient => "client",
            PeerKind::Dynamic => "dynamic",
        })
    }
}

/// The state of a session: those of RFC 4271 §8.2.2, and Disabled by an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionState {
    /// An operator does not want it.
    Disabled,
    /// Waiting before the next attempt.
    Idle,
    /// Dialling.
    Connect,
    /// Waiting to dial again, or to be dialled.
    Active,
    /// OPEN sent.
    OpenSent,
    /// OPENs exchanged.
    OpenConfirm,
    /// Up.
    Established,
    /// Down, and what the peer told is kept until it is back (RFC 4724).
    Restarting,
}

impl fmt::Display for SessionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SessionState::Disabled => "Disabled",
            SessionState::Idle => "Idle",
            SessionState::Connect => "Connect",
            SessionState::Active => "Active",
            SessionState::OpenSent => "OpenSent",
            SessionState::OpenConfirm => "OpenConfirm",
            SessionState::Established => "Established",
            SessionState::Restarting => "Restarting",
        })
    }
}

/// Prefixes of a family in a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FamilyCounts {
    /// Which family.
    pub family: Family,
    /// Prefixes that the peer told us.
    pub received: usize,
    /// Of these, taken.
    pub accepted: usize,
    /// Of these, refused: `brindle routes rejected` has the reasons.
    pub rejected: usize,
    /// Of those taken, kept although the session that told them is over.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stale: usize,
    /// Why these are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
    /// For how long more, where that is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_seconds: Option<u64>,
    /// Prefixes that we told the peer.
    pub advertised: usize,
    /// The most that it may tell; absent without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Whether the peer has told everything (End-of-RIB).
    pub end_of_rib: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Why routes are kept although the session that told them is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kept {
    /// The peer restarts and is expected back (RFC 4724).
    Restarting,
    /// The Node object that claims them stands.
    NodeObject,
    /// The peer has been away for long: they are the last choice (RFC 9494).
    LongLived,
}

/// Messages of both directions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageCounts {
    /// From the peer.
    pub received: MessageTypes,
    /// To the peer.
    pub sent: MessageTypes,
}

/// Messages by type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageTypes {
    /// OPEN.
    pub open: u64,
    /// UPDATE, End-of-RIB included.
    pub update: u64,
    /// KEEPALIVE.
    pub keepalive: u64,
    /// NOTIFICATION.
    pub notification: u64,
    /// ROUTE-REFRESH.
    pub route_refresh: u64,
}

impl MessageTypes {
    /// Messages of all types.
    pub fn total(&self) -> u64 {
        self.open + self.update + self.keepalive + self.notification + self.route_refresh
    }
}

/// What a session is set up with; the times in force are in [`Negotiated`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timers {
    /// The hold time that we propose; 0 is off.
    pub hold_time_seconds: u64,
    /// First wait between attempts.
    pub connect_retry_seconds: u64,
    /// Time without progress in writing after which the session ends (RFC 9687).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_hold_seconds: Option<u64>,
}

/// What both sides agreed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Negotiated {
    /// Our end of the TCP connection.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
    /// Whether we opened it.
    pub dialled: bool,
    /// The peer's BGP Identifier.
    #[serde(rename = "peerRouterID")]
    pub peer_router_id: String,
    /// The hold time in force; 0 is off.
    pub hold_time_seconds: u64,
    /// Time between KEEPALIVEs; 0 is off.
    pub keepalive_seconds: u64,
    /// Families in force.
    pub families: Vec<Family>,
    /// What we offered, in words: `multiprotocol ipv4`, `route refresh`.
    pub capabilities_sent: Vec<String>,
    /// What the peer offered, likewise.
    pub capabilities_received: Vec<String>,
    /// What both offered, likewise.
    pub capabilities_agreed: Vec<String>,
    /// Families with several paths of one prefix (RFC 7911).
    #[serde(default, skip_serializing_if = "AddPaths::is_empty")]
    pub add_paths: AddPaths,
    /// What we said of graceful restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graceful_restart_sent: Option<GracefulRestart>,
    /// What the peer said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graceful_restart_received: Option<GracefulRestart>,
    /// When something last came in; absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_received_seconds: Option<u64>,
    /// Octets that wait to be written to the peer.
    pub out_queue_bytes: usize,
}

/// Families in which several paths of one prefix are told, by direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddPaths {
    /// The peer tells us several.
    pub receive: Vec<Family>,
    /// We tell it several.
    pub send: Vec<Family>,
}

impl AddPaths {
    fn is_empty(&self) -> bool {
        self.receive.is_empty() && self.send.is_empty()
    }
}

/// What one side says of graceful restart (RFC 4724 §3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GracefulRestart {
    /// How long it asks to be waited for.
    pub restart_time_seconds: u64,
    /// It has just restarted.
    pub restarting: bool,
    /// NOTIFICATIONs leave routes in place (RFC 8538).
    pub notification: bool,
    /// Families whose routes are to be kept: `ipv4`.
    pub families: Vec<String>,
    /// Of these, those in which it went on forwarding.
    pub forwarding: Vec<String>,
}

/// A NOTIFICATION that was sent or received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotificationSeen {
    /// What it says in words and by number, with the text of a shutdown if there is one
    /// (RFC 9003).
    pub reason: String,
    /// Error code as on the wire.
    pub code: u8,
    /// Error subcode as on the wire.
    pub subcode: u8,
    /// When.
    pub at: Time,
    /// Since then.
    pub at_seconds: u64,
}
