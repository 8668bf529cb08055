//! `bgp.bmp:` who is told over BMP what peers tell.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// One of `bgp.bmp`: a station that is told of sessions and routes (RFC 7854).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BmpStation {
    /// `name`, unique.
    pub name: Arc<str>,
    /// `address`.
    pub address: IpAddr,
    /// `port`, 11019 by default.
    pub port: u16,
    /// `policy`: which of peers' routes it is told.
    pub policy: BmpPolicy,
    /// `locRIB`, false by default: it is told our best routes, too (RFC 9069).
    pub loc_rib: bool,
    /// `statsInterval`, 60 s by default: time between figures; `None` for none.
    pub stats_interval: Option<Duration>,
    /// `minRetry`, 1 s by default: first wait before it is dialled again.
    pub min_retry: Duration,
    /// `maxRetry`, 2 min by default: what the wait grows to.
    pub max_retry: Duration,
    /// `stuckAfter`, 1 min by default: how long it may take nothing of what it is sent.
    pub stuck_after: Duration,
}

/// Which of peers' routes a station is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BmpPolicy {
    /// `pre`, the default: as they came, before import filters.
    Pre,
    /// `post`: what import filters left of them.
    Post,
    /// `both`.
    Both,
}
