//! One task a station: dials, tells, and dials again.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use brindle_bgp::bmp::{Views, initiation, termination};
use brindle_config::{BmpPolicy, BmpStation};
use bytes::{Buf, Bytes};
use futures::FutureExt;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::report::{Phase, Report};
use crate::speaker::{Feed, SpeakerHandle, write_some};

/// Octets asked of the speaker at a time.
const PULL: usize = 64 << 10;

/// How long a connection may take to stand.
const DIAL_LIMIT: Duration = Duration::from_secs(10);

/// After so long a connection that ends is dialled again without delay.
const STABLE_AFTER: Duration = Duration::from_secs(60);

pub(super) struct Task {
    speaker: SpeakerHandle,
    node: Arc<str>,
    report: Arc<Report>,
    stop: CancellationToken,
    /// The next wait before it is dialled again.
    wait: Duration,
    /// What was last written to the log of why it is not connected.
    said: Option<String>,
}

/// How a connection ended.
enum End {
    /// We are to stop.
    Stopped,
    /// The speaker has ended.
    NoSpeaker,
    /// It broke.
    Broken(String),
    /// By a panic, which must not touch anything else.
    Fault(String),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        End::Broken(error.to_string())
    }
}

impl From<crate::speaker::Gone> for End {
    fn from(_: crate::speaker::Gone) -> Self {
        End::NoSpeaker
    }
}

/// The connection's end, also where a panic brings it.
async fn caught(connection: impl Future<Output = End>) -> End {
    AssertUnwindSafe(connection).catch_unwind().await.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        End::Fault(text.unwrap_or_default().to_owned())
    })
}

impl Task {
    pub(super) fn new(
        speaker: SpeakerHandle,
        node: Arc<str>,
        report: Arc<Report>,
        stop: CancellationToken,
    ) -> Self {
        let wait = report.station.min_retry;
        Self { speaker, node, report, stop, wait, said: None }
    }

    fn station(&self) -> &BmpStation {
        &self.report.station
    }

    /// Runs until it is told to stop, or the speaker has ended.
    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        loop {
            self.report.enter(Phase::Dialling);
            let dialled = tokio::select! {
                () = stop.cancelled() => return,
                dialled = dial(self.station()) => dialled,
            };
            let (why, lived) = match dialled {
                Err(why) => (why, Duration::ZERO),
                Ok(stream) => {
                    let begun = Instant::now();
                    match caught(self.serve(stream)).await {
                        End::Stopped | End::NoSpeaker => return,
                        End::Broken(why) => (why, begun.elapsed()),
                        End::Fault(why) => {
                            error!(station = %self.station().name, why,
                                "a fault of ours: the station is dialled anew");
                            self.report.note_fault();
                            (format!("a fault in brindle: {why}"), Duration::ZERO)
                        }
                    }
                }
            };
            if lived >= STABLE_AFTER {
                self.wait = self.station().min_retry;
            }
            self.say(&why);
            self.report.failed(why);
            let wait = jitter(self.wait);
            self.wait = (self.wait * 2).min(self.station().max_retry);
            self.report.enter(Phase::Waiting(Instant::now() + wait));
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(wait) => {}
            }
        }
    }

    /// Each reason once: it is tried again and again with the same outcome.
    fn say(&mut self, why: &str) {
        if self.said.as_deref() != Some(why) {
            let (station, address) = (&self.station().name, self.station().address);
            warn!(%station, %address, why, "BMP station is not connected");
            self.said = Some(why.to_owned());
        }
    }

    /// Tells a station everything, then what changes, until the connection ends.
    async fn serve(&mut self, stream: TcpStream) -> End {
        let name = Arc::clone(&self.station().name);
        info!(station = %name, address = %self.station().address, "BMP station connected");
        self.said = None;
        self.report.enter(Phase::Dumping);
        self.report.note_dump();
        let (read, write) = stream.into_split();
        let first = initiation(&self.node, concat!("brindle ", env!("CARGO_PKG_VERSION")));
        let mut connection = Connection {
            read,
            write,
            backlog: VecDeque::from([first]),
            partly: false,
            progress: Instant::now(),
            report: Arc::clone(&self.report),
        };
        let Err(end) = self.tell(&mut connection).await;
        if matches!(end, End::Stopped | End::NoSpeaker) {
            connection.say_goodbye().await;
        }
        end
    }

    async fn tell(&self, connection: &mut Connection) -> Result<std::convert::Infallible, End> {
        let station = self.station();
        let views = Views {
            pre_policy: matches!(station.policy, BmpPolicy::Pre | BmpPolicy::Both),
            post_policy: matches!(station.policy, BmpPolicy::Post | BmpPolicy::Both),
            loc_rib: station.loc_rib,
        };
        let feed = self.speaker.monitor(views).await?;
        let mut figures = station.stats_interval.map(|every| {
            let mut figures = interval(every);
            figures.set_missed_tick_behavior(MissedTickBehavior::Delay);
            figures
        });
        let (mut has_more, mut superseded) = (true, 0);
        loop {
            if connection.backlog.is_empty() && has_more {
                let pulled = feed.pull(PULL).await?;
                self.report.note_superseded(pulled.superseded - superseded);
                (has_more, superseded) = (pulled.more, pulled.superseded);
                connection.give(pulled.messages);
                if !has_more {
                    self.report.enter(Phase::Streaming);
                }
            }
            let is_idle = connection.backlog.is_empty();
            if is_idle && has_more {
                // A pull does so much at a time, whether or not messages come of it.
                continue;
            }
            tokio::select! {
                () = self.stop.cancelled() => return Err(End::Stopped),
                carried = connection.carry(station.stuck_after) => carried?,
                () = changed(&feed), if is_idle => has_more = true,
                () = tick(&mut figures), if is_idle => {
                    connection.give(feed.statistics().await?);
                }
            }
        }
    }
}

async fn changed(feed: &Feed) {
    feed.changed().await;
}

async fn tick(figures: &mut Option<tokio::time::Interval>) {
    match figures {
        Some(figures) => _ = figures.tick().await,
        None => pending().await,
    }
}

/// A connection and what it has still to take.
struct Connection {
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    backlog: VecDeque<Bytes>,
    /// The first of them is out in part.
    partly: bool,
    /// When it last took something, or had nothing to take.
    progress: Instant,
    report: Arc<Report>,
}

impl Connection {
    fn give(&mut self, messages: Vec<Bytes>) {
        if self.backlog.is_empty() {
            self.progress = Instant::now();
        }
        self.backlog.extend(messages);
    }

    /// Writes what the connection takes now, and waits for its end where there is nothing to
    /// write. Can be cancelled without losing anything.
    async fn carry(&mut self, stuck_after: Duration) -> Result<(), End> {
        let Self { read, write, backlog, .. } = self;
        let mut heard = [0; 512];
        let is_idle = backlog.is_empty();
        let stuck = self.progress + stuck_after;
        let written = tokio::select! {
            // It has nothing to say (RFC 7854 §3.2), but we hear when it goes.
            read = read.read(&mut heard) => match read? {
                0 => return Err(End::Broken("the station closed the connection".to_owned())),
                _ => return Ok(()),
            },
            written = write_some(write, backlog), if !is_idle => written?,
            () = sleep_until(stuck.into()), if !is_idle => {
                return Err(End::Broken(format!(
                    "the station took nothing for {} s; it is dialled anew and told everything again",
                    stuck_after.as_secs_f32()
                )));
            }
        };
        self.progress = Instant::now();
        self.advance(written);
        Ok(())
    }

    fn advance(&mut self, mut written: usize) {
        self.report.note_octets(written);
        while let Some(first) = self.backlog.front_mut() {
            if written < first.len() {
                first.advance(written);
                self.partly |= written > 0;
                return;
            }
            written -= first.len();
            self.backlog.pop_front();
            self.partly = false;
            self.report.note_message();
        }
        // What a burst needed is not kept for the next one.
        self.backlog = VecDeque::new();
    }

    /// The last message, behind the rest of one that is out in part.
    async fn say_goodbye(&mut self) {
        let rest = if self.partly { self.backlog.pop_front() } else { None };
        let last = termination("brindle stops telling this station");
        let goodbye = async {
            if let Some(rest) = rest {
                self.write.write_all(&rest).await?;
            }
            self.write.write_all(&last).await?;
            self.write.shutdown().await
        };
        let _ = timeout(super::STOP_LIMIT / 2, goodbye).await;
    }
}

async fn dial(station: &BmpStation) -> Result<TcpStream, String> {
    let address = SocketAddr::new(station.address, station.port);
    let failed = |error: io::Error| format!("cannot connect to {address}: {error}");
    let stream = match timeout(DIAL_LIMIT, TcpStream::connect(address)).await {
        Ok(dialled) => dialled.map_err(failed)?,
        Err(_) => {
            return Err(format!("cannot connect to {address}: no answer within 10 s"));
        }
    };
    // A station that is gone without a word shall be noticed although it has nothing to say, and
    // although what it is sent still fits into the socket.
    let socket = SockRef::from(&stream);
    let probes = TcpKeepalive::new().with_time(station.stuck_after);
    socket.set_tcp_keepalive(&probes.with_interval(Duration::from_secs(10))).map_err(failed)?;
    socket.set_tcp_user_timeout(Some(station.stuck_after)).map_err(failed)?;
    Ok(stream)
}

/// Three quarters of a wait and up to a quarter more, so that the nodes of a cluster do not all
/// dial at once.
fn jitter(wait: Duration) -> Duration {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    wait * 3 / 4 + wait / 4 * (clock.subsec_micros() % 1000) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_a_connection_and_nothing_else() {
        let said = |end| match end {
            End::Fault(why) => format!("fault: {why}"),
            End::Broken(why) => why,
            End::Stopped | End::NoSpeaker => panic!("nobody said so"),
        };
        let of = |number: u8| async move {
            assert!(number > 0, "as ordered");
            assert_ne!(number, 1, "{number} of 2");
            End::Broken("closed".to_owned())
        };
        assert_eq!(said(caught(of(0)).await), "fault: as ordered");
        let formatted = said(caught(of(1)).await);
        assert!(formatted.starts_with("fault: ") && formatted.contains("1 of 2"), "{formatted}");
        assert_eq!(said(caught(of(2)).await), "closed");
    }
}
