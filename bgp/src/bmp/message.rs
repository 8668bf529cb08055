//! BMP messages as octets.

use std::net::IpAddr;
use std::time::SystemTime;

use bytes::{BufMut, Bytes, BytesMut};

use crate::msg::cut;
use crate::net::{AfiSafi, Asn, Family, RouterId};

/// RFC 7854 §4.1.
const VERSION: u8 = 3;
const ROUTE_MONITORING: u8 = 0;
const STATISTICS_REPORT: u8 = 1;
const PEER_DOWN: u8 = 2;
const PEER_UP: u8 = 3;
const INITIATION: u8 = 4;
const TERMINATION: u8 = 5;

/// Octets of common and per-peer header.
const COMMON: usize = 6;
const PER_PEER: usize = 42;

/// Flags of the per-peer header (RFC 7854 §4.2).
const IPV6: u8 = 0x80;
const POST_POLICY: u8 = 0x40;

/// Information of an Initiation (RFC 7854 §4.3) and a Peer Up (RFC 7854 §4.10, RFC 9069 §5.3).
const STRING: u16 = 0;
const SYS_DESCR: u16 = 1;
const SYS_NAME: u16 = 2;
const TABLE_NAME: u16 = 3;

/// Reason of a Termination: the session was closed by the operator (RFC 7854 §4.5).
const ADMINISTRATIVELY_CLOSED: u16 = 0;

/// What a message is about (RFC 7854 §4.2, RFC 9069 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerKind {
    /// A peer at this address.
    Global(IpAddr),
    /// Our own best routes.
    LocRib,
}

/// The per-peer header (RFC 7854 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerHeader {
    /// Whom it is about.
    pub kind: PeerKind,
    /// The peer's AS, for the Loc-RIB ours.
    pub asn: Asn,
    /// The peer's BGP Identifier, for the Loc-RIB ours.
    pub router_id: RouterId,
    /// Routes as they are after import filters.
    pub is_post_policy: bool,
    /// When it happened; `None` if that is not known.
    pub at: Option<SystemTime>,
}

impl PeerHeader {
    fn write(&self, out: &mut BytesMut) {
        let (kind, flags, address) = match self.kind {
            PeerKind::Global(IpAddr::V4(address)) => (0, 0, mapped(IpAddr::V4(address))),
            PeerKind::Global(IpAddr::V6(address)) => (0, IPV6, address.octets()),
            PeerKind::LocRib => (3, 0, [0; 16]),
        };
        // For the Loc-RIB the flag means something else (RFC 9069 §4.2): its routes never are
        // but what filters left.
        let is_post_policy = self.is_post_policy && self.kind != PeerKind::LocRib;
        out.put_u8(kind);
        // AS numbers have four octets in all that we say: the A flag is never set.
        out.put_u8(flags | if is_post_policy { POST_POLICY } else { 0 });
        // Peer Distinguisher: there is one instance.
        out.put_u64(0);
        out.put_slice(&address);
        out.put_u32(self.asn.get());
        out.put_u32(self.router_id.get());
        let since = self.at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        let since = since.unwrap_or_default();
        // The field ends in the year 2106.
        out.put_u32(u32::try_from(since.as_secs()).unwrap_or(0));
        out.put_u32(since.subsec_micros());
    }
}

/// An address in sixteen octets, an IPv4 one in the last four (RFC 7854 §4.2).
fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) => {
            let mut octets = [0; 16];
            octets[12..].copy_from_slice(&address.octets());
            octets
        }
    }
}

/// Why a session ended (RFC 7854 §4.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownReason {
    /// 1: we sent, or would have sent, this NOTIFICATION message.
    Sent(Bytes),
    /// 2: we closed without one; the event of the session machine (RFC 4271 §8.1).
    Closed(u16),
    /// 3: the peer sent this NOTIFICATION message.
    Received(Bytes),
    /// 4: the connection ended without one.
    Lost,
    /// 5: the station will not be told of the peer any more.
    NotMonitored,
}

/// A figure of a Statistics Report (RFC 7854 §4.8, RFC 8671 §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// 7: routes in the Adj-RIB-In.
    Received(u64),
    /// 8: routes in the Loc-RIB.
    Best(u64),
    /// 9: routes in the Adj-RIB-In of a family.
    ReceivedOf(Family, u64),
    /// 10: routes in the Loc-RIB of a family.
    BestOf(Family, u64),
    /// 11: UPDATEs whose prefixes were treated as withdrawn (RFC 7606).
    TreatedAsWithdraw(u32),
    /// 15: routes that the peer was told (Adj-RIB-Out after export filters).
    Advertised(u64),
    /// 17: the same of a family.
    AdvertisedOf(Family, u64),
}

/// The first message (RFC 7854 §4.3): who we are and what.
pub fn initiation(name: &str, description: &str) -> Bytes {
    let mut out = begin(INITIATION, 8 + name.len() + description.len());
    put_text(SYS_DESCR, description, &mut out);
    put_text(SYS_NAME, name, &mut out);
    finish(out)
}

/// The last message (RFC 7854 §4.5), because the operator wants it so.
pub fn termination(why: &str) -> Bytes {
    let mut out = begin(TERMINATION, 10 + why.len());
    put_text(STRING, why, &mut out);
    out.put_slice(&[0, 1, 0, 2]);
    out.put_u16(ADMINISTRATIVELY_CLOSED);
    finish(out)
}

/// A session came up (RFC 7854 §4.10). `ends` are our address and both ports, ours first;
/// `opens` the whole OPEN messages, ours first. The name is that of the peer, or that of the
/// table for the Loc-RIB.
pub fn peer_up(
    header: &PeerHeader,
    (local, ports): (Option<IpAddr>, [u16; 2]),
    opens: [&Bytes; 2],
    name: &str,
) -> Bytes {
    let mut out = begin(PEER_UP, PER_PEER + 24 + opens[0].len() + opens[1].len() + name.len());
    header.write(&mut out);
    out.put_slice(&local.map_or([0; 16], mapped));
    out.put_u16(ports[0]);
    out.put_u16(ports[1]);
    for open in opens {
        out.put_slice(open);
    }
    let kind = match header.kind {
        PeerKind::Global(_) => STRING,
        PeerKind::LocRib => TABLE_NAME,
    };
    put_text(kind, name, &mut out);
    finish(out)
}

/// A session ended (RFC 7854 §4.9).
pub fn peer_down(header: &PeerHeader, reason: &DownReason) -> Bytes {
    let mut out = begin(PEER_DOWN, PER_PEER + 64);
    header.write(&mut out);
    match reason {
        DownReason::Sent(notification) => {
            out.put_u8(1);
            out.put_slice(notification);
        }
        DownReason::Closed(event) => {
            out.put_u8(2);
            out.put_u16(*event);
        }
        DownReason::Received(notification) => {
            out.put_u8(3);
            out.put_slice(notification);
        }
        DownReason::Lost => out.put_u8(4),
        DownReason::NotMonitored => out.put_u8(5),
    }
    finish(out)
}

/// What a peer told, or what is best (RFC 7854 §4.6): one whole UPDATE message.
pub fn route_monitoring(header: &PeerHeader, update: &Bytes) -> Bytes {
    let mut out = begin(ROUTE_MONITORING, PER_PEER + update.len());
    header.write(&mut out);
    out.put_slice(update);
    finish(out)
}

/// Figures of a peer or of the Loc-RIB (RFC 7854 §4.8).
pub fn statistics(header: &PeerHeader, statistics: &[Statistic]) -> Bytes {
    let mut out = begin(STATISTICS_REPORT, PER_PEER + 4 + 16 * statistics.len());
    header.write(&mut out);
    out.put_u32(u32::try_from(statistics.len()).expect("there are a few kinds"));
    for statistic in statistics {
        match *statistic {
            Statistic::Received(count) => put_gauge(7, count, &mut out),
            Statistic::Best(count) => put_gauge(8, count, &mut out),
            Statistic::ReceivedOf(family, count) => put_gauge_of(9, family, count, &mut out),
            Statistic::BestOf(family, count) => put_gauge_of(10, family, count, &mut out),
            Statistic::TreatedAsWithdraw(count) => {
                out.put_slice(&[0, 11, 0, 4]);
                out.put_u32(count);
            }
            Statistic::Advertised(count) => put_gauge(15, count, &mut out),
            Statistic::AdvertisedOf(family, count) => put_gauge_of(17, family, count, &mut out),
        }
    }
    finish(out)
}

fn put_gauge(kind: u16, count: u64, out: &mut BytesMut) {
    out.put_u16(kind);
    out.put_u16(8);
    out.put_u64(count);
}

fn put_gauge_of(kind: u16, family: Family, count: u64, out: &mut BytesMut) {
    let AfiSafi { afi, safi } = family.into();
    out.put_u16(kind);
    out.put_u16(11);
    out.put_u16(afi);
    out.put_u8(safi);
    out.put_u64(count);
}

/// Text in an Information TLV, as far as its length fits.
fn put_text(kind: u16, text: &str, out: &mut BytesMut) {
    let text = cut(text, u16::MAX.into());
    out.put_u16(kind);
    out.put_u16(u16::try_from(text.len()).expect("it was cut"));
    out.put_slice(text.as_bytes());
}

fn begin(kind: u8, body: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(COMMON + body);
    out.put_u8(VERSION);
    out.put_u32(0);
    out.put_u8(kind);
    out
}

fn finish(mut out: BytesMut) -> Bytes {
    let length = u32::try_from(out.len()).expect("a message holds two of BGP at most");
    out[1..5].copy_from_slice(&length.to_be_bytes());
    out.freeze()
}
