//! `bgp.drain:` when a node is drained that nobody has told to be, and how.

use std::time::Duration;

use super::{set, values};
use crate::meaning::{DrainSettings, TaintMatch};
use crate::section::Item;
use crate::value;
use crate::yaml::quoted;

const MAX_WAIT: Duration = Duration::from_secs(3600);

/// The effects that a taint can have.
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// Reads the section.
pub(super) fn read(item: &Item) -> DrainSettings {
    let mut drain = DrainSettings::default();
    let Some(mut section) = item.section() else { return drain };
    set(&mut drain.on_cordon, section.get("onCordon").and_then(|item| item.boolean()));
    if let Some(item) = section.get("taints") {
        drain.taints = values(&item.list(taint).unwrap_or_default());
    }
    let wait = section.get("wait");
    set(&mut drain.wait, wait.and_then(|item| value::duration(&item, Duration::ZERO..=MAX_WAIT)));
    section.finish();
    drain
}

/// `key=value:Effect`, as `kubectl taint` writes it; value and effect may be left out.
fn taint(item: &Item) -> Option<TaintMatch> {
    let text = item.text()?;
    let (rest, effect) = match text.split_once(':') {
        Some((rest, effect)) => (rest, Some(effect)),
        None => (text, None),
    };
    let (key, value) = match rest.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (rest, None),
    };
    let is_name = |text: &str| {
        text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_./".contains(&octet))
    };
    let is_good = !key.is_empty()
        && is_name(key)
        && value.is_none_or(is_name)
        && effect.is_none_or(|effect| EFFECTS.contains(&effect));
    if !is_good {
        item.refuse(format!(
            "{} is not a taint; accepted is for instance maintenance, maintenance=disk or \
             maintenance:NoExecute; effects are {}",
            quoted(text),
            EFFECTS.join(", ")
        ));
        return None;
    }
    Some(TaintMatch {
        key: key.to_owned(),
        value: value.map(str::to_owned),
        effect: effect.map(str::to_owned),
    })
}
