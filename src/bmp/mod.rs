//! Monitoring stations (BMP, RFC 7854): each is dialled, told everything, and then what changes.
//!
//! ```text
//!  bgp.bmp ──► Stations ──► a task a station ──pull──► speaker: what it has not been told
//!                              │      ▲ wake ◄────────────┘
//!                              ▼      │
//!                           the station's TCP connection
//! ```
//!
//! A task asks for more only when the connection has taken what it was given before, so nothing
//! queues up for a station that is slow. One that takes nothing at all is dialled anew.

mod report;
mod station;

use std::sync::Arc;
use std::time::Duration;

use brindle_config::BmpStation;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::speaker::SpeakerHandle;

pub use report::{Figures, Phase, Report, State};

/// How long a station may take to hear why we go.
const STOP_LIMIT: Duration = Duration::from_secs(1);

/// All stations of a speaker.
pub struct Stations {
    speaker: SpeakerHandle,
    /// What we are called.
    node: Arc<str>,
    running: Vec<Running>,
}

struct Running {
    report: Arc<Report>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Stations {
    /// None yet.
    pub fn new(speaker: SpeakerHandle, node: Arc<str>) -> Self {
        Self { speaker, node, running: Vec::new() }
    }

    /// Has these stations and no others told; those that are the same are left alone. Answers
    /// whether they are others than before.
    pub fn follow(&mut self, wanted: &[BmpStation]) -> bool {
        let is_same =
            |(running, station): (&Running, &BmpStation)| running.report.station == *station;
        if self.running.len() == wanted.len() && self.running.iter().zip(wanted).all(is_same) {
            return false;
        }
        self.running.retain(|running| {
            let stays = wanted.contains(&running.report.station);
            if !stays {
                running.stop.cancel();
            }
            stays
        });
        for station in wanted {
            if self.running.iter().any(|running| running.report.station == *station) {
                continue;
            }
            let report = Arc::new(Report::new(station.clone()));
            let stop = CancellationToken::new();
            let task = station::Task::new(
                self.speaker.clone(),
                Arc::clone(&self.node),
                Arc::clone(&report),
                stop.clone(),
            );
            let task = tokio::spawn(task.run());
            self.running.push(Running { report, stop, task });
        }
        let place = |running: &Running| {
            wanted.iter().position(|station| *station == running.report.station)
        };
        self.running.sort_by_key(place);
        true
    }

    /// How each of them is, in the order of the configuration.
    pub fn reports(&self) -> Vec<Arc<Report>> {
        self.running.iter().map(|running| Arc::clone(&running.report)).collect()
    }

    /// Tells all that we go.
    pub async fn stop(self) {
        for running in &self.running {
            running.stop.cancel();
        }
        let all = futures::future::join_all(self.running.into_iter().map(|running| running.task));
        let _ = tokio::time::timeout(STOP_LIMIT, all).await;
    }
}
