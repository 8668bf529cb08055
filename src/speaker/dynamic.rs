//! Peers that nobody configured one by one: whoever connects from a prefix.
//!
//! ```text
//!  listener ──stranger──► Door: its prefix? its OPEN, looked at ──newcomer──► owner: a peer
//!  `name-ADDRESS` made from the group's template, until it has had no session for a while
//! ```
//!
//! A connection costs nothing but a seat in the waiting room until its OPEN is there: who says
//! nothing, or is in an AS that is not expected, never becomes a peer nor takes another's place.
//! Who comes back waits there again, and may have moved to another AS that is expected.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use brindle_bgp::fsm::State;
use brindle_bgp::msg::{self, CeaseReason, Message, Notification, WireFormat};
use brindle_bgp::net::{Asn, Family, Prefix};
use brindle_bgp::rib::PeerId;
use brindle_config::ExpectedAs;
use bytes::BytesMut;
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use super::calm::{Calm, Line};
use super::owner::Owner;
use super::{PeerEntry, WantedPeer};

/// How long a peer without session is kept: long enough to be seen, and to come back to its place.
const LINGER: Duration = Duration::from_secs(120);
/// How soon one is looked at again that could not go.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How long a connection may take to say its OPEN.
const OPEN_LIMIT: Duration = Duration::from_secs(5);
/// How often it is looked whether the rest of an OPEN is there.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Connections that may wait for their OPEN, one an address.
const SEATS: usize = 256;
/// Newcomers that may wait for the owner.
const NEWCOMERS: usize = 64;
/// The longest OPEN (RFC 4271 §4.1).
const LONGEST_OPEN: usize = 4096;

/// Peers that may come from some prefixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamicPeers {
    /// What their names begin with.
    pub name: Arc<str>,
    /// Where they come from; of several that hold an address the most specific counts.
    pub prefixes: Vec<Prefix>,
    /// The AS that they may be in.
    pub asn: ExpectedAs,
    /// The most of them at a time.
    pub limit: usize,
    /// What each is like; address, name and AS are filled in.
    pub template: WantedPeer,
}

impl DynamicPeers {
    /// The peer at an address that says to be in an AS.
    fn peer(&self, address: IpAddr, asn: Asn) -> WantedPeer {
        let mut wanted = self.template.clone();
        wanted.address = address;
        wanted.group = Some(Arc::clone(&self.name));
        wanted.session.passive = true;
        wanted.session.remote_asn = asn;
        (wanted.rib.address, wanted.rib.asn) = (address, asn);
        wanted.rib.name = format!("{}-{address}", self.name).into();
        wanted
    }

    /// Whether its peers may be in an AS.
    fn expects(&self, asn: Asn) -> bool {
        self.asn.has(asn, self.template.session.local_asn)
    }
}

/// The group whose prefix holds an address, the most specific prefix first.
fn group_of(groups: &[DynamicPeers], address: IpAddr) -> Option<&DynamicPeers> {
    let all = groups.iter().flat_map(|group| group.prefixes.iter().map(move |at| (at, group)));
    all.filter(|(at, _)| at.contains(address)).max_by_key(|(at, _)| at.length()).map(|(_, it)| it)
}

/// A connection that says an OPEN, which is still to be read from it.
#[derive(Debug)]
pub(super) struct Newcomer {
    stream: TcpStream,
    address: IpAddr,
    asn: Asn,
}

/// Where connections come in that are no known peer's.
#[derive(Debug)]
pub(super) struct Door {
    groups: ArcSwap<Vec<DynamicPeers>>,
    waiting: Mutex<HashSet<IpAddr>>,
    newcomers: mpsc::Sender<Newcomer>,
    calm: Mutex<Calm>,
}

/// Where somebody waits whose OPEN is not there yet; left when it is dropped, whatever ended
/// the waiting.
struct Seat {
    door: Arc<Door>,
    from: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Ok(mut waiting) = self.door.waiting.lock() {
            waiting.remove(&self.from);
        }
    }
}

impl Door {
    pub(super) fn new() -> (Arc<Self>, mpsc::Receiver<Newcomer>) {
        let (newcomers, receiver) = mpsc::channel(NEWCOMERS);
        let door = Self {
            groups: ArcSwap::default(),
            waiting: Mutex::default(),
            newcomers,
            calm: Mutex::default(),
        };
        (Arc::new(door), receiver)
    }

    /// Whom it lets in.
    pub(super) fn groups(&self) -> Arc<Vec<DynamicPeers>> {
        self.groups.load_full()
    }

    /// Lets in these and no others.
    pub(super) fn expect(&self, groups: Vec<DynamicPeers>) {
        self.groups.store(Arc::new(groups));
    }

    /// Takes a connection from an address that is no peer's; gives it back if nobody there may
    /// become one, or too many wait.
    pub(super) fn take(self: &Arc<Self>, stream: TcpStream, from: IpAddr) -> Option<TcpStream> {
        match group_of(&self.groups.load(), from) {
            None => return Some(stream),
            Some(group) => {
                // Nothing has asked it for the group's key.
                if let Some(why) = group.template.protection.refusal() {
                    self.say(from, why);
                    return Some(stream);
                }
            }
        }
        let Some(seat) = self.seat(from) else { return Some(stream) };
        tokio::spawn(async move { seat.door.hear(stream, from).await });
        None
    }

    /// A place to wait at, unless too many wait, or somebody from there does.
    fn seat(self: &Arc<Self>, from: IpAddr) -> Option<Seat> {
        let mut waiting = self.waiting.lock().ok()?;
        let is_free = waiting.len() < SEATS && waiting.insert(from);
        is_free.then(|| Seat { door: Arc::clone(self), from })
    }

    /// Waits for the OPEN, and passes the connection on if its AS is one that is expected.
    async fn hear(&self, stream: TcpStream, from: IpAddr) {
        let Ok(Some(asn)) = timeout(OPEN_LIMIT, peek_asn(&stream)).await else {
            debug!(%from, "connection without an OPEN, closed");
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            return;
        };
        let expected = match group_of(&self.groups.load(), from) {
            Some(group) if group.expects(asn) => None,
            Some(group) => Some(format!("{} is expected", group.asn)),
            None => Some("nobody is expected any more".to_owned()),
        };
        if let Some(expected) = expected {
            self.say(from, &format!("it is in AS {asn}, {expected}"));
            return turn_away(stream, &Notification::bad_peer_as()).await;
        }
        // Full: it comes again.
        let _ = self.newcomers.try_send(Newcomer { stream, address: from, asn });
    }

    /// Says why somebody is not let in; not more than a few times a minute.
    fn say(&self, from: IpAddr, why: &str) {
        let line = self.calm.lock().map_or(Line::Dropped, |mut calm| calm.line(Instant::now()));
        if line != Line::Dropped {
            info!(%from, why, "not taken as a dynamic peer");
        }
    }
}

/// The AS of the OPEN that a connection says first, which stays unread.
async fn peek_asn(stream: &TcpStream) -> Option<Asn> {
    let mut octets = vec![0; LONGEST_OPEN];
    loop {
        let count = stream.peek(&mut octets).await.ok()?;
        let format = WireFormat::default();
        let message = BytesMut::from(octets.get(..count).filter(|some| !some.is_empty())?);
        if let Some(length) = msg::frame(&message, &format).ok()?
            && length <= count
        {
            let decoded = msg::decode(&message.freeze().slice(..length), &format).ok()?;
            return match decoded.message {
                Message::Open(open) => open.asn(),
                _ => None,
            };
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Says why and closes; what the other side has said is read first, since unread octets would
/// turn the close into a reset that overtakes what we say.
async fn turn_away(mut stream: TcpStream, why: &Notification) {
    let mut octets = BytesMut::new();
    let message = Message::Notification(why.clone());
    msg::encode(&message, &WireFormat::default(), &mut octets);
    let _ = stream.try_read(&mut [0; LONGEST_OPEN]);
    let _ = timeout(OPEN_LIMIT, async {
        stream.write_all(&octets).await?;
        stream.shutdown().await
    })
    .await;
}

impl Owner {
    /// Wants these groups of dynamic peers and no others.
    pub(super) fn set_dynamic(&mut self, mut groups: Vec<DynamicPeers>) {
        self.listeners.follow_group_keys(&mut groups);
        let is_dynamic = |(_, entry): &(_, &PeerEntry)| entry.wanted.group.is_some();
        let peers = self.peers.iter().filter(is_dynamic).map(|(id, _)| *id);
        for id in peers.collect::<Vec<PeerId>>() {
            let Some(entry) = self.peers.get(&id) else { continue };
            let (address, asn) = (entry.wanted.address, entry.wanted.rib.asn);
            match group_of(&groups, address).filter(|group| group.expects(asn)) {
                None => self.remove(id, "removed: its address or AS may not be a peer any more"),
                Some(group) => {
                    if let Some((wanted, disabled)) = self.change(id, group.peer(address, asn)) {
                        let id = self.add(wanted, disabled);
                        self.note_session(id, false);
                    }
                }
            }
        }
        self.listeners.door.expect(groups);
        self.publish_known();
    }

    /// A connection from an address inside a group's prefix, with its OPEN unread.
    pub(super) fn welcome(&mut self, newcomer: Newcomer) {
        let Newcomer { stream, address, asn } = newcomer;
        let door = Arc::clone(&self.listeners.door);
        let groups = door.groups();
        let group = group_of(&groups, address).filter(|group| group.expects(asn));
        let here = self.peers.iter().find(|(_, entry)| entry.wanted.address == address);
        if let Some((id, entry)) = here {
            // Only a session, or an operator, holds one to the AS that it came from first.
            let is_free = entry.wanted.group.is_some() && entry.session.is_none();
            if group.is_none() || !is_free || entry.disabled || entry.wanted.rib.asn == asn {
                let _ = entry.accepted.try_send(stream);
                return;
            }
            let id = *id;
            self.remove(id, "is in another AS now");
        }
        let Some(group) = group else { return };
        let is_of = |entry: &&PeerEntry| entry.wanted.group.as_ref() == Some(&group.name);
        let count = self.peers.values().filter(is_of).count();
        let wanted = group.peer(address, asn);
        let is_taken = |entry: &PeerEntry| entry.wanted.rib.name == wanted.rib.name;
        if count >= group.limit || self.peers.values().any(is_taken) {
            door.say(
                address,
                &format!("{} has {count} peers, its limit is {}", group.name, group.limit),
            );
            let no_room = Notification::cease(CeaseReason::ConnectionRejected, None);
            tokio::spawn(async move { turn_away(stream, &no_room).await });
            return;
        }
        let id = self.add(wanted, false);
        self.note_session(id, false);
        if let Some(entry) = self.peers.get(&id) {
            // There is room: it is new.
            let _ = entry.accepted.try_send(stream);
        }
        self.publish_known();
    }

    /// When the next dynamic peer has been without session for long enough.
    pub(super) fn gone_deadline(&self) -> Option<Instant> {
        self.gone.values().min().copied()
    }

    /// Forgets dynamic peers that have had no session for a while.
    pub(super) fn forget_gone(&mut self) {
        let now = Instant::now();
        let due: Vec<PeerId> =
            self.gone.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        let mut is_changed = false;
        for id in due {
            // It may have been configured meanwhile.
            let entry = self.peers.get(&id).filter(|entry| entry.wanted.group.is_some());
            let Some(entry) = entry else {
                self.gone.remove(&id);
                continue;
            };
            let status = entry.status();
            let is_kept = Family::ALL.iter().any(|family| self.rib.stale(id, *family).is_some());
            // Who is switched off, rests, or has routes kept stays known, or that would be undone.
            let is_needed = entry.disabled || status.idle.is_some() || is_kept;
            if is_needed || status.state >= State::OpenSent {
                self.gone.insert(id, now + LOOK_AGAIN);
            } else {
                self.remove(id, "forgotten: it had no session for a while");
                is_changed = true;
            }
        }
        if is_changed {
            self.publish_known();
        }
    }

    /// A session of a peer came up or ended.
    pub(super) fn note_session(&mut self, peer: PeerId, is_up: bool) {
        if is_up {
            self.gone.remove(&peer);
        } else if self.peers.get(&peer).is_some_and(|entry| entry.wanted.group.is_some()) {
            self.gone.insert(peer, Instant::now() + LINGER);
        }
    }
}

/// Dynamic peers without session, and when they are forgotten.
pub(super) type Gone = HashMap<PeerId, Instant>;

#[cfg(test)]
mod tests {
    use brindle_bgp::fsm::PeerSettings;
    use brindle_bgp::rib::{PeerKind, RibPeer};

    use super::*;

    impl DynamicPeers {
        /// A group of one external peer.
        pub(in crate::speaker) fn for_tests(name: &str, prefixes: &[&str]) -> Self {
            let [own, theirs] = [64512, 65001].map(|asn| Asn::new(asn).unwrap());
            let nowhere = IpAddr::from([0, 0, 0, 0]);
            Self {
                name: name.into(),
                prefixes: prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect(),
                asn: ExpectedAs::External,
                limit: 1,
                template: WantedPeer::new(
                    PeerSettings::new(own, "10.0.0.1".parse().unwrap(), theirs),
                    RibPeer::new(name, nowhere, theirs, PeerKind::External),
                ),
            }
        }
    }

    #[test]
    fn the_most_specific_prefix_counts_in_whatever_order() {
        let mut groups = [
            DynamicPeers::for_tests("wide", &["10.0.0.0/8", "fd00::/8"]),
            DynamicPeers::for_tests("narrow", &["10.1.0.0/16"]),
            DynamicPeers::for_tests("one", &["10.1.2.3/32"]),
        ];
        for _ in 0..groups.len() {
            groups.rotate_left(1);
            for (address, want) in [
                ("10.2.0.1", Some("wide")),
                ("10.1.2.4", Some("narrow")),
                ("10.1.2.3", Some("one")),
                ("fd00::1", Some("wide")),
                ("11.0.0.1", None),
                ("fe80::1", None),
            ] {
                let found = group_of(&groups, address.parse().unwrap()).map(|it| &*it.name);
                assert_eq!(found, want, "{address}");
            }
        }
    }

    #[test]
    fn a_peer_is_as_its_group_says_with_its_own_address_and_as() {
        let group = DynamicPeers::for_tests("rack", &["10.0.0.0/8"]);
        let (address, asn) = (IpAddr::from([10, 0, 0, 7]), Asn::new(65077).unwrap());
        let peer = group.peer(address, asn);
        assert_eq!((&*peer.rib.name, peer.address), ("rack-10.0.0.7", address));
        assert_eq!((peer.rib.address, peer.rib.asn), (address, asn));
        assert_eq!((peer.session.remote_asn, peer.session.passive), (asn, true));
        assert!(group.expects(asn) && !group.expects(peer.session.local_asn));
    }
}
