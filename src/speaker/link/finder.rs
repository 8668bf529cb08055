//! Finds the neighbours on links, and is found by them: one task a link.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use super::packet::Heard;
use super::socket::LinkSocket;

/// How often we say that we are there: as often as FRR does for such sessions.
const EVERY: Duration = Duration::from_secs(10);
/// The longest wait between two questions while nobody answers; the first waits are shorter.
const ASK_EVERY: Duration = Duration::from_secs(5);
const FIRST_ASK: Duration = Duration::from_millis(500);
/// The least time between two of our advertisements, however often we are asked.
const CALM: Duration = Duration::from_millis(250);
/// How soon a link is tried again that takes no packets.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Messages of neighbours that may wait; those beyond are lost, and come again.
const WAITING: usize = 64;

/// A link with neighbours that are to be found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::speaker) struct Link {
    pub(in crate::speaker) name: Arc<str>,
    pub(in crate::speaker) index: u32,
    /// Our link-local address on it: with another one we are to be found anew.
    pub(in crate::speaker) address: Ipv6Addr,
}

/// Somebody advertised itself on a link.
#[derive(Clone, Debug)]
pub(in crate::speaker) struct Sighting {
    pub(in crate::speaker) link: Arc<str>,
    pub(in crate::speaker) neighbour: Ipv6Addr,
}

/// The tasks.
pub(super) struct Finder {
    links: BTreeMap<Link, (Arc<Notify>, AbortOnDropHandle<()>)>,
    sightings: mpsc::Sender<Sighting>,
}

impl Finder {
    /// One without links, and where sightings come in.
    pub(super) fn new() -> (Self, mpsc::Receiver<Sighting>) {
        let (sightings, receiver) = mpsc::channel(WAITING);
        (Self { links: BTreeMap::new(), sightings }, receiver)
    }

    /// Listens and speaks on these links and on no others.
    pub(super) fn set(&mut self, links: Vec<Link>) {
        self.links.retain(|link, _| links.contains(link));
        for link in links {
            self.links.entry(link).or_insert_with_key(|link| {
                let ask = Arc::new(Notify::new());
                let task = watch(link.clone(), Arc::clone(&ask), self.sightings.clone());
                (ask, AbortOnDropHandle::new(tokio::spawn(task)))
            });
        }
    }

    /// Asks on a link who is there.
    pub(super) fn ask(&self, link: &str) {
        let of_name = self.links.iter().filter(|(known, _)| *known.name == *link);
        of_name.for_each(|(_, (ask, _))| ask.notify_one());
    }
}

async fn watch(link: Link, ask: Arc<Notify>, sightings: mpsc::Sender<Sighting>) {
    let mut has_warned = false;
    loop {
        let ended = match LinkSocket::open(&link.name, link.index) {
            Ok(socket) => speak(&link, &socket, &ask, &sightings).await,
            Err(error) => error,
        };
        if ended.kind() == std::io::ErrorKind::PermissionDenied && !has_warned {
            has_warned = true;
            warn!(link = %link.name, error = %ended,
                "cannot look for the neighbour; raw sockets need the capability NET_RAW");
        }
        debug!(link = %link.name, error = %ended, "the link takes no packets; tried again soon");
        sleep(TRY_AGAIN).await;
    }
}

/// Speaks and listens until the link fails; why it did.
async fn speak(
    link: &Link,
    socket: &LinkSocket,
    ask: &Notify,
    sightings: &mpsc::Sender<Sighting>,
) -> std::io::Error {
    let mut known: Option<Ipv6Addr> = None;
    let (mut advertise_at, mut last) = (Instant::now(), None::<Instant>);
    let (mut ask_at, mut wait) = (Some(Instant::now()), FIRST_ASK);
    loop {
        let now = Instant::now();
        if advertise_at <= now {
            if let Err(error) = socket.advertise() {
                return error;
            }
            (advertise_at, last) = (now + EVERY, Some(now));
        }
        if ask_at.is_some_and(|at| at <= now) {
            if let Err(error) = socket.solicit() {
                return error;
            }
            (ask_at, wait) = (Some(now + wait), (wait * 2).min(ASK_EVERY));
        }
        let next = ask_at.map_or(advertise_at, |at| at.min(advertise_at));
        // What is owed to somebody who asked waits a little, so that a flood is one answer.
        let soon = last.map_or(now, |last| (last + CALM).max(now));
        tokio::select! {
            heard = socket.hear() => match heard {
                Ok((Heard::Solicitation, _)) => advertise_at = advertise_at.min(soon),
                Ok((Heard::Advertisement, neighbour)) => {
                    if known != Some(neighbour) {
                        // It may not have heard us yet.
                        (known, advertise_at) = (Some(neighbour), advertise_at.min(soon));
                    }
                    (ask_at, wait) = (None, FIRST_ASK);
                    // Full: it is heard again.
                    let _ = sightings.try_send(Sighting { link: Arc::clone(&link.name), neighbour });
                }
                Err(error) => return error,
            },
            () = ask.notified() => {
                (ask_at, wait) = (Some(now), FIRST_ASK);
                // Whoever is to be found anew is to find us as well.
                advertise_at = advertise_at.min(soon);
            }
            () = sleep_until(next) => {}
        }
    }
}
