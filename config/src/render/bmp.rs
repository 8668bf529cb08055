//! `bgp.bmp:` who is told over BMP what peers tell.

use std::time::Duration;

use super::{address, time};
use crate::meaning::{BmpPolicy, BmpStation};
use crate::schema::{BmpPolicyWord, BmpSection};

/// The section that says it.
pub(super) fn section(station: &BmpStation) -> BmpSection {
    BmpSection {
        name: station.name.to_string(),
        address: address(&station.address),
        port: station.port,
        policy: match station.policy {
            BmpPolicy::Pre => BmpPolicyWord::Pre,
            BmpPolicy::Post => BmpPolicyWord::Post,
            BmpPolicy::Both => BmpPolicyWord::Both,
        },
        loc_rib: station.loc_rib,
        stats_interval: time(station.stats_interval.unwrap_or(Duration::ZERO)),
        min_retry: time(station.min_retry),
        max_retry: time(station.max_retry),
        stuck_after: time(station.stuck_after),
    }
}
