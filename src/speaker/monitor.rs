//! Those who follow the RIB from outside, as its owner serves them: BMP stations, and whoever
//! watches routes change.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use brindle_bgp::bmp::{Ends, Monitoring, Opens, Pulled, Speaker, StationId, Views};
use brindle_bgp::fsm::{Down, Negotiated};
use brindle_bgp::rib::{Changes, PeerId, Place, Rib, RibSettings};
use bytes::Bytes;
use tokio::sync::{Notify, oneshot, watch};

use super::view::PeerEntry;
use super::{Command, Gone, SpeakerHandle, WantedPeer};

/// How many changes of routes are kept for those who read them; some ten megabytes at most.
const CHANGES: usize = 1 << 15;

/// How long changes are recorded after somebody has last asked for them.
const LEASE: Duration = Duration::from_secs(60);

/// What is done for a watcher, on the RIB's task.
pub(super) type Watching =
    Box<dyn FnOnce(&mut Monitors, &mut Rib, &HashMap<PeerId, PeerEntry>) + Send>;

/// All who follow the RIB.
pub(super) struct Monitors {
    core: Monitoring,
    /// Who is gone drops its end.
    wakes: HashMap<StationId, Weak<Notify>>,
    /// How far changes of routes are recorded, for those who wait for one.
    newest: watch::Sender<Option<Place>>,
}

impl Monitors {
    pub(super) fn new(settings: &RibSettings) -> Self {
        let speaker = Speaker { asn: settings.asn, router_id: settings.router_id };
        Self {
            core: Monitoring::new(speaker),
            wakes: HashMap::new(),
            newest: watch::Sender::new(None),
        }
    }

    pub(super) fn session_up(
        &mut self,
        peer: PeerId,
        wanted: &WantedPeer,
        agreed: &Negotiated,
        (opens, (local, remote)): (Opens, (SocketAddr, SocketAddr)),
    ) {
        let asn = agreed.their_open.asn().unwrap_or(wanted.rib.asn);
        let who = (wanted.address, asn, agreed.their_open.router_id);
        let name = Arc::clone(&wanted.rib.name);
        let ends = (opens, Ends { local, remote });
        let now = SystemTime::now();
        let families = (agreed.families.clone(), agreed.add_paths.receive);
        self.core.session_up(peer, name, who, families, ends, now);
    }

    pub(super) fn session_down(&mut self, peer: PeerId, why: &Down) {
        self.core.session_down(peer, why, SystemTime::now());
    }

    pub(super) fn remove_peer(&mut self, peer: PeerId) {
        self.core.remove_peer(peer, SystemTime::now());
    }

    /// Wakes those who have something to look at, and forgets those who are gone.
    pub(super) fn look(&mut self, rib: &mut Rib) {
        let Self { core, wakes, .. } = self;
        wakes.retain(|id, wake| {
            let is_here = wake.strong_count() > 0;
            if !is_here {
                core.detach(rib, *id);
            }
            is_here
        });
        if !self.wakes.is_empty() {
            for id in self.core.take_woken(rib) {
                if let Some(wake) = self.wakes.get(&id).and_then(Weak::upgrade) {
                    wake.notify_one();
                }
            }
        }
        if rib.end_of_history().is_some() {
            rib.note_time(SystemTime::now(), Instant::now());
            self.tell_newest(rib);
        }
    }

    fn changes(
        &mut self,
        rib: &mut Rib,
        from: Option<Place>,
        limit: usize,
    ) -> Option<(Changes, Newest)> {
        // By the clock: one of an earlier run of the agent has another name.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let name = u64::try_from(now.as_nanos()).unwrap_or_default();
        rib.record(name, CHANGES, Instant::now() + LEASE);
        self.tell_newest(rib);
        Some((rib.read_history(from, limit)?, Newest(self.newest.subscribe())))
    }

    fn tell_newest(&self, rib: &Rib) {
        let end = rib.end_of_history();
        self.newest.send_if_modified(|newest| std::mem::replace(newest, end) != end);
    }
}

/// How far changes of routes are recorded.
pub struct Newest(watch::Receiver<Option<Place>>);

impl Newest {
    /// Waits until there is more than somebody has read who is at that place.
    ///
    /// # Errors
    /// If the speaker ends.
    pub async fn is_beyond(&mut self, place: Place) -> Result<(), Gone> {
        self.0.wait_for(|newest| *newest != Some(place)).await.map(drop).map_err(|_| Gone)
    }
}

/// What a monitoring station is told, as it asks for it.
pub struct Feed {
    speaker: SpeakerHandle,
    id: StationId,
    wake: Arc<Notify>,
}

impl Feed {
    /// The next messages, about `budget` octets of them.
    pub async fn pull(&self, budget: usize) -> Result<Pulled, Gone> {
        let id = self.id;
        let pull = move |monitors: &mut Monitors, rib: &mut Rib, _: &_| {
            monitors.core.pull(rib, id, budget, SystemTime::now())
        };
        self.speaker.watching(pull).await
    }

    /// Waits until there is something to pull, after all was pulled.
    pub async fn changed(&self) {
        self.wake.notified().await;
    }

    /// A Statistics Report of each peer.
    pub async fn statistics(&self) -> Result<Vec<Bytes>, Gone> {
        let id = self.id;
        let report =
            move |monitors: &mut Monitors, rib: &mut Rib, peers: &HashMap<_, PeerEntry>| {
                let withdrawn = |peer| {
                    let entry: Option<&PeerEntry> = peers.get(&peer);
                    let count = entry.map_or(0, |entry| {
                        entry.counters().treated_as_withdraw.load(Ordering::Relaxed)
                    });
                    // The field wraps, as counters do.
                    (count & u64::from(u32::MAX)) as u32
                };
                monitors.core.statistics(rib, id, withdrawn, SystemTime::now())
            };
        self.speaker.watching(report).await
    }
}

impl SpeakerHandle {
    /// Lets a monitoring station listen, from the beginning.
    pub async fn monitor(&self, views: Views) -> Result<Feed, Gone> {
        let wake = Arc::new(Notify::new());
        let held = Arc::downgrade(&wake);
        let attach = move |monitors: &mut Monitors, rib: &mut Rib, _: &_| {
            let id = monitors.core.attach(rib, views);
            monitors.wakes.insert(id, held);
            id
        };
        let id = self.watching(attach).await?;
        Ok(Feed { speaker: self.clone(), id, wake })
    }

    /// Changes of the paths in use from a place on, with about `limit` paths; without one, none,
    /// and where to begin. They are recorded from the first such question on, until nobody has
    /// asked for a minute.
    pub async fn route_changes(
        &self,
        from: Option<Place>,
        limit: usize,
    ) -> Result<(Changes, Newest), Gone> {
        self.watching(move |monitors, rib, _| monitors.changes(rib, from, limit)).await?.ok_or(Gone)
    }

    async fn watching<T: Send + 'static>(
        &self,
        deed: impl FnOnce(&mut Monitors, &mut Rib, &HashMap<PeerId, PeerEntry>) -> T + Send + 'static,
    ) -> Result<T, Gone> {
        let (answer, answered) = oneshot::channel();
        let deed: Watching = Box::new(move |monitors, rib, peers| {
            // Nobody may be waiting any more; that is the asker's business.
            let _ = answer.send(deed(monitors, rib, peers));
        });
        self.send(Command::Watching(deed)).await?;
        answered.await.map_err(|_| Gone)
    }
}
