//! `bgp.bmp:` who is told over BMP what peers tell.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::meaning::{BmpPolicy, BmpStation};
use crate::section::{Good, Item};
use crate::value;
use crate::yaml::quoted;

/// No port is assigned to BMP (RFC 7854 §3.2); this is what collectors listen on by custom.
pub(crate) const BMP_PORT: u16 = 11_019;

/// What `policy` accepts.
const POLICIES: [(&str, BmpPolicy); 3] =
    [("pre", BmpPolicy::Pre), ("post", BmpPolicy::Post), ("both", BmpPolicy::Both)];

const HOUR: Duration = Duration::from_secs(3600);
const RETRY: RangeInclusive<Duration> = Duration::from_millis(10)..=HOUR;
const STUCK: RangeInclusive<Duration> = Duration::from_secs(1)..=HOUR;
const LEAST_STATS: Duration = Duration::from_secs(1);
const MOST_STATS: Duration = Duration::from_secs(24 * 3600);

/// Reads the list; stations with something wrong in them are missing.
pub(super) fn read(item: &Item) -> Vec<BmpStation> {
    let mut names: Vec<Good<String>> = Vec::new();
    let items = item.items().unwrap_or_default();
    items.iter().filter_map(|item| station(item, &mut names)).collect()
}

fn station<'a>(item: &Item<'a>, names: &mut Vec<Good<'a, String>>) -> Option<BmpStation> {
    let mut section = item.section()?;
    let name = section.need("name", "collector").and_then(|item| {
        let name = value::name(&item)?;
        if let Some(same) = names.iter().find(|other| other.value == name) {
            item.refuse(format!(
                "{} is the name of another station, at {}",
                quoted(&name),
                same.item.node.place
            ));
            return None;
        }
        names.push(Good { value: name.clone(), item });
        Some(name)
    });
    let address = section.need("address", "10.0.0.5").and_then(|it| value::host_address(&it));
    let port = section.get("port").map_or(Some(BMP_PORT), |item| value::port(&item));
    let policy = section.get("policy");
    let policy = policy.map_or(Some(BmpPolicy::Pre), |item| item.word(&POLICIES));
    let loc_rib = section.get("locRIB").map_or(Some(false), |item| item.boolean());
    let stats = section.get("statsInterval");
    let stats_interval = stats.map_or(Some(Some(Duration::from_secs(60))), |item| {
        let interval = value::duration(&item, Duration::ZERO..=MOST_STATS)?;
        if !interval.is_zero() && interval < LEAST_STATS {
            item.refuse("too often; accepted are 0s (off) and 1s to 24h");
            return None;
        }
        Some((!interval.is_zero()).then_some(interval))
    });
    let mut time = |key, default, accepted: RangeInclusive<Duration>| match section.get(key) {
        None => Some(default),
        Some(item) => value::duration(&item, accepted),
    };
    let min_retry = time("minRetry", Duration::from_secs(1), RETRY);
    let max_retry = time("maxRetry", Duration::from_secs(120), RETRY);
    let stuck_after = time("stuckAfter", Duration::from_secs(60), STUCK);
    section.finish();
    if let (Some(min), Some(max)) = (min_retry, max_retry)
        && min > max
    {
        item.refuse(
            "minRetry is longer than maxRetry (2m unless set); waits grow from one to the other",
        );
        return None;
    }
    Some(BmpStation {
        name: name?.into(),
        address: address?,
        port: port?,
        policy: policy?,
        loc_rib: loc_rib?,
        stats_interval: stats_interval?,
        min_retry: min_retry?,
        max_retry: max_retry?,
        stuck_after: stuck_after?,
    })
}
