//! Metrics as OpenMetrics text: made anew for every asker, from figures that are there anyway.
//!
//! Labels never hold names or addresses of pods, nor free text: their number must not grow with
//! the cluster.

mod agent;
mod bfd;
mod bmp;
mod kubernetes;
mod packets;
mod policy;
mod routing;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

use super::Timings;
use crate::cluster::kubernetes::KubernetesStatus;

pub use agent::AgentFigures;
pub use bfd::BfdFigures;
pub use packets::{ChainLabels, PacketTotals};
pub use policy::{ObjectCounts, PolicyFigures};
pub use routing::{PeerFigures, RoutingFigures};

/// Everything that metrics are made of.
#[derive(Clone, Debug)]
pub struct Figures {
    /// The agent as a whole.
    pub agent: AgentFigures,
    /// The way to the API server; `None` without one.
    pub kubernetes: Option<Arc<KubernetesStatus>>,
    /// The routing half; `None` without it.
    pub routing: Option<RoutingFigures>,
    /// The policy half; `None` without it.
    pub policy: Option<PolicyFigures>,
}

impl Figures {
    /// All metrics, in OpenMetrics text. Reads what the kernel says of this process and of
    /// connection tracking besides.
    pub fn to_text(&self) -> String {
        let mut metrics = agent::metrics(&self.agent, self.policy.as_ref());
        if let Some(status) = &self.kubernetes {
            metrics.extend(kubernetes::metrics(status));
        }
        if let Some(routing) = &self.routing {
            metrics.extend(routing::metrics(routing));
        }
        if let Some(policy) = &self.policy {
            metrics.extend(policy::metrics(policy));
        }
        encode(metrics)
    }
}

/// Labels with their values.
type Labels = Vec<(&'static str, String)>;

/// A metric with all its series.
#[derive(Clone, Debug)]
struct Metric {
    /// Its name, without the `_total` of counters and the `_info` of what only has labels.
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    series: Vec<(Labels, Value)>,
}

/// A number now.
#[derive(Clone, Debug)]
enum Value {
    Number(f64),
    Histogram { buckets: Vec<(f64, u64)>, sum: Duration },
}

impl Metric {
    fn new(name: &'static str, kind: MetricType, help: &'static str) -> Self {
        Self { name, help, kind, series: Vec::new() }
    }

    fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(name, MetricType::Gauge, help)
    }

    fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(name, MetricType::Counter, help)
    }

    fn histogram(name: &'static str, help: &'static str) -> Self {
        Self::new(name, MetricType::Histogram, help)
    }

    /// Adds a series.
    fn with<const N: usize>(
        mut self,
        labels: [(&'static str, &str); N],
        value: impl Into<Value>,
    ) -> Self {
        let labels = labels.map(|(key, value)| (key, value.to_owned()));
        self.series.push((labels.into(), value.into()));
        self
    }

    fn encode(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, self.kind)?;
        for (labels, value) in &self.series {
            match (self.kind, labels.is_empty()) {
                (MetricType::Info, _) => metric.encode_info(labels)?,
                (_, true) => value.encode(self.kind, &mut metric)?,
                (_, false) => value.encode(self.kind, &mut metric.encode_family(labels)?)?,
            }
        }
        Ok(())
    }
}

impl Value {
    fn encode(&self, kind: MetricType, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        match self {
            Value::Number(number) if matches!(kind, MetricType::Counter) => {
                encoder.encode_counter(number, None::<&Exemplar<NoLabelSet, f64>>)
            }
            Value::Number(number) => encoder.encode_gauge(number),
            Value::Histogram { buckets, sum } => {
                let count = buckets.iter().map(|(_, count)| count).sum();
                encoder.encode_histogram::<NoLabelSet>(sum.as_secs_f64(), count, buckets, None)
            }
        }
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Value::Number(number)
    }
}

impl From<u64> for Value {
    /// Exact up to 2^53, as all of Prometheus is.
    fn from(number: u64) -> Self {
        Value::Number(number as f64)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Value::Number(number as f64)
    }
}

impl From<bool> for Value {
    fn from(is_so: bool) -> Self {
        Value::Number(f64::from(u8::from(is_so)))
    }
}

impl From<Timings> for Value {
    fn from(timings: Timings) -> Self {
        let bounds = Timings::BOUNDS.map(|bound| Duration::from_millis(bound).as_secs_f64());
        // The last bucket takes what is longer than all bounds.
        let bounds = bounds.into_iter().chain([f64::INFINITY]);
        Value::Histogram { buckets: bounds.zip(timings.counts).collect(), sum: timings.total }
    }
}

fn encode(metrics: Vec<Metric>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(All(metrics)));
    let mut out = String::new();
    text::encode(&mut out, &registry).expect("a String takes everything");
    out
}

#[derive(Debug)]
struct All(Vec<Metric>);

impl Collector for All {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        // A metric without series would be a name that means nothing yet.
        let metrics = self.0.iter().filter(|metric| !metric.series.is_empty());
        metrics.into_iter().try_for_each(|metric| metric.encode(&mut encoder))
    }
}

#[cfg(test)]
mod tests;
