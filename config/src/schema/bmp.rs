//! `bgp.bmp:` who is told over BMP what peers tell.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Address, Time};

/// A station that we dial and tell of sessions and routes (BMP, RFC 7854).
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct BmpSection {
    /// What commands, logs and metrics call it; unique.
    #[schemars(length(min = 1, max = 63))]
    pub(crate) name: String,
    /// Its address.
    pub(crate) address: Address,
    /// The TCP port to dial.
    #[serde(default = "port")]
    #[schemars(range(min = 1))]
    pub(crate) port: u16,
    /// Which of peers' routes it is told.
    #[serde(default = "policy")]
    pub(crate) policy: BmpPolicyWord,
    /// Whether it is told our best routes, too (RFC 9069).
    #[serde(rename = "locRIB", default)]
    pub(crate) loc_rib: bool,
    /// Time between figures of each peer: 0s (off) or 1s to 24h.
    #[serde(default = "stats_interval")]
    pub(crate) stats_interval: Time,
    /// First wait before it is dialled again: 10ms to 1h.
    #[serde(default = "min_retry")]
    pub(crate) min_retry: Time,
    /// What the wait grows to: 10ms to 1h, and not less than minRetry.
    #[serde(default = "max_retry")]
    pub(crate) max_retry: Time,
    /// How long it may take nothing of what it is sent, before it is dialled anew: 1s to 1h.
    #[serde(default = "stuck_after")]
    pub(crate) stuck_after: Time,
}

/// Which of peers' routes a station is told.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum BmpPolicyWord {
    /// As they came, before import filters.
    Pre,
    /// What import filters left of them.
    Post,
    /// Both.
    Both,
}

fn port() -> u16 {
    crate::check::BMP_PORT
}

fn policy() -> BmpPolicyWord {
    BmpPolicyWord::Pre
}

fn stats_interval() -> Time {
    Time("1m".to_owned())
}

fn min_retry() -> Time {
    Time("1s".to_owned())
}

fn max_retry() -> Time {
    Time("2m".to_owned())
}

fn stuck_after() -> Time {
    Time("1m".to_owned())
}
