//! `maxPrefixes`: how much a peer may tell.

use std::time::Duration;

use brindle_bgp::rib::{LimitAction, PrefixLimits};

use crate::section::Item;
use crate::value;

const SHORTEST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(24 * 3600);

/// What `action` accepts; whether the session goes on.
const ACTIONS: [(&str, bool); 2] = [("restart", false), ("warn", true)];

/// Reads the section; `None` if something in it is wrong.
pub(super) fn read(item: &Item) -> Option<PrefixLimits> {
    let mut limits = PrefixLimits::NONE;
    let mut section = item.section()?;
    let most = ["ipv4", "ipv6"].map(|family| match section.get(family) {
        Some(item) => item.number(1, u32::MAX).map(Some),
        None => Some(None),
    });
    let warn_at =
        section.get("warnAt").map_or(Some(limits.warn_percent.into()), |item| item.number(1, 100));
    let goes_on = section.get("action").map_or(Some(false), |item| item.word(&ACTIONS));
    let retry = section.get("retryAfter");
    let rest = match (&retry, limits.action) {
        (Some(item), _) => value::duration(item, SHORTEST_REST..=LONGEST_REST),
        (None, LimitAction::Restart(rest)) => Some(rest),
        (None, LimitAction::Warn) => None,
    };
    section.finish();
    let (most, goes_on) = ([most[0]?, most[1]?], goes_on?);
    if most == [None; 2] {
        item.refuse("sets no limit; write for instance \"{ipv4: 1000, ipv6: 1000}\"");
        return None;
    }
    if let (Some(item), true) = (&retry, goes_on) {
        item.warn("says nothing with action warn: the session goes on");
    }
    limits.most = most;
    limits.warn_percent = u8::try_from(warn_at?).ok()?;
    limits.action = if goes_on { LimitAction::Warn } else { LimitAction::Restart(rest?) };
    Some(limits)
}
