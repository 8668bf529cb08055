//! `bfd:` of a peer or of the mesh.

use std::num::NonZeroU8;
use std::ops::RangeInclusive;
use std::time::Duration;

use brindle_bgp::bfd::{Path, Settings};

use super::set;
use crate::section::Item;
use crate::value;

/// Packets that a busy node can still send in time, to those that a hold time does as well.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);

/// Reads the section of a peer on this `link`, if it is on one; `None` if BFD is switched off, or
/// something in it is wrong.
pub(super) fn read(item: &Item, link: Option<&str>) -> Option<Settings> {
    let mut section = item.section()?;
    let mut enabled = true;
    let mut settings = Settings::DEFAULT;
    set(&mut enabled, section.get("enabled").and_then(|item| item.boolean()));
    let mut interval = |key, place: &mut Duration| {
        let item = section.get(key);
        set(place, item.and_then(|item| value::duration(&item, INTERVALS)));
    };
    interval("transmitInterval", &mut settings.intervals.transmit);
    interval("receiveInterval", &mut settings.intervals.receive);
    let multiplier = section.get("multiplier").and_then(|item| item.number(1, 255));
    let multiplier = multiplier.and_then(|number| NonZeroU8::new(u8::try_from(number).ok()?));
    set(&mut settings.intervals.multiplier, multiplier);
    let mut multihop = false;
    let far = section.get("multihop");
    set(&mut multihop, far.as_ref().and_then(Item::boolean));
    if let (Some(item), true, Some(link)) = (&far, multihop, link) {
        item.refuse(format!(
            "a peer on {link} is one hop away, and so is its BFD session (RFC 5881); leave it out, or \
             write false"
        ));
    }
    let restart = section.get("gracefulRestart").and_then(|item| item.boolean());
    set(&mut settings.graceful_restart, restart);
    let ttl = section.get("minimumTTL");
    if let (Some(item), false) = (&ttl, multihop) {
        item.refuse("minimumTTL is for multihop: true; over one hop it is always 255 (RFC 5881)");
    }
    let min_ttl = ttl.and_then(|item| u8::try_from(item.number(1, 255)?).ok()).unwrap_or(1);
    if multihop {
        settings.path = Path::Multihop { min_ttl };
    }
    section.finish();
    enabled.then_some(settings)
}
