//! `bgp.dynamicPeers`: who may become a peer by connecting.

use brindle_bgp::net::{Asn, Prefix};

use super::peer::{Around, Taken, read_peer};
use super::prefixes;
use crate::meaning::{DynamicPeers, ExpectedAs};
use crate::section::{Good, Item};
use crate::value;
use crate::yaml::quoted;

/// The most peers of a group unless it says otherwise.
pub(crate) const DEFAULT_LIMIT: u32 = 100;
const MOST: u32 = 10_000;

/// Reads the list; groups with something wrong in them are missing.
pub(super) fn read(item: &Item, around: &Around) -> Vec<DynamicPeers> {
    let (mut taken, mut ranges) = (Taken::default(), Vec::new());
    let items = item.items().unwrap_or_default();
    items.iter().filter_map(|item| group(item, around, &mut taken, &mut ranges)).collect()
}

fn group<'a>(
    item: &Item<'a>,
    around: &Around,
    taken: &mut Taken<'a>,
    ranges: &mut Vec<Good<'a, Prefix>>,
) -> Option<DynamicPeers> {
    let mut section = item.section()?;
    let cidrs = section.need("cidrs", "[10.0.0.0/24]").map(|item| prefixes(&item, false));
    let asn = section.need("asNumber", "65001").and_then(|item| expected_as(&item, around));
    let limit = section.get("limit").map_or(Some(DEFAULT_LIMIT), |item| item.number(1, MOST));
    // All that is read of a peer must fit an AS that it may be in.
    let stand_in = asn.map_or(around.asn, |asn| asn.example(around.asn));
    let peer = read_peer(section, item, around, taken, Some(stand_in));
    let cidrs = cidrs?;
    for range in &cidrs {
        if let Some(same) = ranges.iter().find(|other| other.value == range.value) {
            let place = &same.item.node.place;
            range.item.refuse(format!("{} is in another group, at {place}", range.value));
        }
    }
    let own = cidrs.iter().map(|range| range.value).collect();
    ranges.extend(cidrs);
    Some(DynamicPeers { cidrs: own, asn: asn?, limit: usize::try_from(limit?).ok()?, peer: peer? })
}

/// `65001`, `65001-65100` or `external`.
fn expected_as(item: &Item, around: &Around) -> Option<ExpectedAs> {
    let text = item.text()?;
    if text == "external" {
        return Some(ExpectedAs::External);
    }
    let Some((low, high)) = text.split_once('-') else {
        return value::as_number(item).map(ExpectedAs::One);
    };
    let number = |text: &str| text.trim().parse::<Asn>().ok();
    let Some((low, high)) = number(low).zip(number(high)) else {
        item.refuse(format!(
            "{} is not a range of AS numbers; accepted is for instance 65001, 65001-65100 or external",
            quoted(text)
        ));
        return None;
    };
    if low > high {
        item.refuse(format!("{} is an empty range; did you mean {high}-{low}?", quoted(text)));
        return None;
    }
    let range = ExpectedAs::Range(low, high);
    if low == high {
        return Some(ExpectedAs::One(low));
    }
    if (low..=high).contains(&around.asn) {
        item.warn(format!("our own AS {} is left out: a range is of external peers", around.asn));
    }
    Some(range)
}
