//! Metrics of monitoring stations.

use std::sync::Arc;

use super::Metric;
use crate::bmp::Report;

pub(super) fn metrics(stations: &[Arc<Report>]) -> Vec<Metric> {
    let mut connected =
        Metric::gauge("brindle_bmp_connected", "Whether the monitoring station is connected");
    let mut messages =
        Metric::counter("brindle_bmp_messages", "Messages that the monitoring station took");
    let mut octets =
        Metric::counter("brindle_bmp_octets", "Octets that the monitoring station took");
    let mut resyncs = Metric::counter(
        "brindle_bmp_resyncs",
        "Times that the monitoring station was told everything from the beginning",
    );
    let mut superseded = Metric::counter(
        "brindle_bmp_superseded",
        "Changes that it was not told, since the next one came before it had read so far",
    );
    for report in stations {
        let station = [("station", &*report.station.name)];
        let figures = report.figures();
        connected = connected.with(station, report.state().is_connected());
        messages = messages.with(station, figures.messages);
        octets = octets.with(station, figures.octets);
        resyncs = resyncs.with(station, figures.dumps);
        superseded = superseded.with(station, figures.superseded);
    }
    vec![connected, messages, octets, resyncs, superseded]
}
