//! Finds the neighbours on links, and is found by them: one task a link.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use super::pace::Pace;
use super::packet::Heard;
use super::socket::LinkSocket;

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
    let mut pace = Pace::new(Instant::now());
    loop {
        let now = Instant::now();
        if pace.is_advertisement_due(now)
            && let Err(error) = socket.advertise()
        {
            return error;
        }
        if pace.is_question_due(now)
            && let Err(error) = socket.solicit()
        {
            return error;
        }
        tokio::select! {
            heard = socket.hear() => match heard {
                Ok((Heard::Solicitation, _)) => pace.solicited(Instant::now()),
                Ok((Heard::Advertisement, neighbour)) => {
                    pace.heard(neighbour, Instant::now());
                    // Full: it is heard again.
                    let _ = sightings.try_send(Sighting { link: Arc::clone(&link.name), neighbour });
                }
                Err(error) => return error,
            },
            () = ask.notified() => pace.ask(Instant::now()),
            () = sleep_until(pace.next()) => {}
        }
    }
}
