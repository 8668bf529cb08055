//! What must hold of any text in a filter: shared with the fuzz target `filter`.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use brindle_bgp::filter::{AnyCommunity, AsPathRegex, CommunityPattern, InterfacePattern};
use brindle_bgp::msg::{AsPath, AsSegment, Attributes, SegmentKind};
use brindle_bgp::net::Asn;

/// Reads a text as each thing that a filter may hold as text, and asks what it matches.
pub(crate) fn check(text: &str) {
    if let Some(regex) = again::<AsPathRegex>(text) {
        for path in paths() {
            let _ = regex.is_match(&path);
        }
    }
    if let Some(pattern) = again::<CommunityPattern>(text) {
        assert!(!pattern.is_in(&Attributes::default()), "{text:?} is in no communities");
    }
    again::<AnyCommunity>(text);
    if let Some(pattern) = again::<InterfacePattern>(text) {
        let _ = (pattern.has("eth0"), pattern.has(text));
    }
}

/// Reads a text, which must be the same when it is shown and read again; what is refused names
/// the reason in one line.
fn again<T: FromStr<Err: Display> + Display + Debug + PartialEq>(text: &str) -> Option<T> {
    match text.parse::<T>() {
        Ok(value) => {
            let shown = value.to_string();
            assert_eq!(shown.parse().ok().as_ref(), Some(&value), "{text:?} is shown as {shown:?}");
            Some(value)
        }
        Err(error) => {
            let said = error.to_string();
            assert!(!said.is_empty() && !said.contains('\n'), "{text:?}: {said:?}");
            None
        }
    }
}

/// None, a short and a long path, with a set in it.
fn paths() -> [AsPath; 3] {
    let asns = |numbers: std::ops::Range<u32>| {
        numbers.filter_map(|number| Asn::new(number).ok()).collect::<Vec<_>>()
    };
    let mut long = AsPath::sequence(asns(64512..66512));
    long.0.push(AsSegment { kind: SegmentKind::Set, asns: asns(1..200) });
    [AsPath::default(), AsPath::sequence(asns(65001..65004)), long]
}
