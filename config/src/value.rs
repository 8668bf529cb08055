//! Single values: what a key's scalar must look like, and what it means then.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use brindle_bgp::fsm::RestartTime;
use brindle_bgp::msg::HoldTime;
use brindle_bgp::net::{Asn, Family};

use crate::section::Item;
use crate::yaml::quoted;

/// An address that a packet can be sent to or from.
pub(crate) fn address(item: &Item) -> Option<IpAddr> {
    let text = item.text()?;
    let Ok(address) = text.parse::<IpAddr>() else {
        let hint = match text.split_once('/') {
            Some((before, _)) if before.parse::<IpAddr>().is_ok() => {
                format!("; without the prefix length it would be {before}")
            }
            _ => "; accepted is for instance 10.0.0.1 or fd00::1".to_owned(),
        };
        item.refuse(format!("{} is not an IP address{hint}", quoted(text)));
        return None;
    };
    let wrong = match address {
        IpAddr::V4(v4) if v4.is_broadcast() => Some("a broadcast address".to_owned()),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Some(format!("an IPv4 address in IPv6 clothes; write {}", address.to_canonical()))
        }
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            Some("a link-local address, which means nothing without its link; write a global or unique local one".to_owned())
        }
        _ if address.is_multicast() => Some("a multicast address; accepted are unicast ones".to_owned()),
        _ => None,
    };
    if let Some(wrong) = wrong {
        item.refuse(format!("{address} is {wrong}"));
        return None;
    }
    Some(address)
}

/// An address of one machine: not 0.0.0.0 or `::`.
pub(crate) fn host_address(item: &Item) -> Option<IpAddr> {
    let address = address(item)?;
    if address.is_unspecified() {
        item.refuse(format!("{address} stands for every address; name one"));
        return None;
    }
    Some(address)
}

/// An AS number that a router may have.
pub(crate) fn as_number(item: &Item) -> Option<Asn> {
    let asn: Asn = item.parse()?;
    if asn == Asn::TRANS {
        item.refuse("23456 stands for AS numbers of four octets and is nobody's (RFC 6793)");
        return None;
    }
    if matches!(asn.get(), 65535 | u32::MAX) {
        item.warn(format!("AS {asn} is reserved (RFC 7300); routers may refuse it"));
    }
    Some(asn)
}

/// A TCP port.
pub(crate) fn port(item: &Item) -> Option<u16> {
    item.number(1, 65535).and_then(|port| u16::try_from(port).ok())
}

/// A length of time within `accepted`.
pub(crate) fn duration(item: &Item, accepted: RangeInclusive<Duration>) -> Option<Duration> {
    let text = item.text()?;
    let Some(duration) = parse_duration(text) else {
        let hint = match text.parse::<u32>() {
            Ok(seconds) => format!("; {seconds} seconds are \"{seconds}s\""),
            Err(_) => "; accepted is for instance 90s, 1m30s or 500ms".to_owned(),
        };
        item.refuse(format!("{} is not a duration{hint}", quoted(text)));
        return None;
    };
    if !accepted.contains(&duration) {
        item.refuse(format!(
            "{} is out of range; accepted are {} to {}",
            quoted(text),
            Shown(*accepted.start()),
            Shown(*accepted.end()),
        ));
        return None;
    }
    Some(duration)
}

/// How long peers are asked to wait: whole seconds, as many as twelve bits can say.
pub(crate) fn restart_time(item: &Item) -> Option<RestartTime> {
    let most = Duration::from_secs(RestartTime::MAX.secs().into());
    let duration = duration(item, Duration::from_secs(1)..=most)?;
    let secs = u16::try_from(duration.as_secs()).ok().filter(|_| duration.subsec_nanos() == 0);
    let time = secs.and_then(|secs| RestartTime::from_secs(secs).ok());
    if time.is_none() {
        item.refuse(format!("{} is no restart time; accepted are whole seconds", Shown(duration)));
    }
    time
}

/// A BGP hold time: whole seconds, none or at least three.
pub(crate) fn hold_time(item: &Item) -> Option<HoldTime> {
    let most = Duration::from_secs(u16::MAX.into());
    let duration = duration(item, Duration::ZERO..=most)?;
    if duration.subsec_nanos() > 0 {
        item.refuse(format!("{} is not a whole number of seconds", Shown(duration)));
        return None;
    }
    let seconds = u16::try_from(duration.as_secs()).ok()?;
    HoldTime::from_secs(seconds).map_err(|error| item.refuse(error.to_string())).ok()
}

/// Reads `90s`, `1m30s`, `500ms`: whole numbers with units, the largest unit first and each
/// at most once. `0` needs no unit.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut milliseconds = 0u64;
    let mut left = UNITS.as_slice();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let position = left.iter().position(|(name, _)| *name == unit)?;
        let (_, factor) = left.get(position)?;
        let part = number.parse::<u64>().ok()?.checked_mul(*factor)?;
        milliseconds = milliseconds.checked_add(part)?;
        left = left.get(position + 1..)?;
        rest = tail;
    }
    (!text.is_empty()).then(|| Duration::from_millis(milliseconds))
}

/// A duration as [`parse_duration`] reads it: in the largest unit that needs no fraction.
pub(crate) struct Shown(pub(crate) Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        match milliseconds {
            0 => f.write_str("0s"),
            ms if ms % 1_000 != 0 => write!(f, "{ms}ms"),
            ms if ms % 3_600_000 == 0 => write!(f, "{}h", ms / 3_600_000),
            ms if ms % 60_000 == 0 => write!(f, "{}m", ms / 60_000),
            ms => write!(f, "{}s", ms / 1_000),
        }
    }
}

/// What a peer or a filter may be called: it is typed on command lines and stands in logs
/// and metrics.
pub(crate) fn name(item: &Item) -> Option<String> {
    let text = item.text()?;
    let fits = (1..=63).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if !fits {
        item.refuse(format!(
            "{} is not a name; accepted are up to 63 letters, digits, \"-\", \"_\" and \".\", \
             with a letter or digit first",
            quoted(text)
        ));
        return None;
    }
    Some(text.to_owned())
}

/// What a node may be called: as Kubernetes has it, a DNS subdomain (RFC 1123).
pub(crate) fn node_name(item: &Item) -> Option<String> {
    let text = item.text()?;
    if is_dns_subdomain(text) {
        return Some(text.to_owned());
    }
    let lower = text.to_lowercase();
    let hint = if is_dns_subdomain(&lower) {
        format!("; did you mean {}?", quoted(&lower))
    } else {
        "; accepted are up to 253 lower-case letters, digits, \"-\" and \".\", each part between \
         dots with a letter or digit first and last"
            .to_owned()
    };
    item.refuse(format!("{} is not a node name{hint}", quoted(text)));
    None
}

/// Whether the API server would take `text` as the name of a Node (RFC 1123 subdomain).
pub fn is_dns_subdomain(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    text.len() <= 253
        && text.split('.').map(str::as_bytes).all(|label| {
            edge(label.first())
                && edge(label.last())
                && label.iter().all(|&b| edge(Some(&b)) || b == b'-')
        })
}

/// A file or folder, from the root.
pub(crate) fn path(item: &Item) -> Option<PathBuf> {
    let text = item.text()?;
    if !text.starts_with('/') || text.contains('\0') {
        item.refuse(format!("{} is not a path from the root, such as /etc/brindle", quoted(text)));
        return None;
    }
    Some(PathBuf::from(text))
}

/// Prefix lengths, `24` or `16-32`, that some address family has.
pub(crate) fn prefix_lengths(item: &Item) -> Option<RangeInclusive<u8>> {
    let text = item.text()?;
    let number = |part: &str| {
        let part = part.trim();
        let digits = part.bytes().all(|b| b.is_ascii_digit());
        part.parse::<u8>().ok().filter(|_| digits)
    };
    let range = match text.split_once('-') {
        Some((low, high)) => number(low).zip(number(high)),
        None => number(text).map(|one| (one, one)),
    };
    let message = match range {
        None => "is not a range of prefix lengths; accepted is for instance 24 or 16-32".to_owned(),
        Some((low, high)) if low > high => {
            format!("is an empty range; did you mean {high}-{low}?")
        }
        Some((_, high)) if high > Family::Ipv6Unicast.bits() => {
            format!("is too long; an IPv6 prefix has at most {} bits", Family::Ipv6Unicast.bits())
        }
        Some((low, high)) => return Some(low..=high),
    };
    item.refuse(format!("{} {message}", quoted(text)));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units_from_large_to_small() {
        for (text, want) in [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("90s", Some(90_000)),
            ("1m30s", Some(90_000)),
            ("2h5ms", Some(7_200_005)),
            ("1500ms", Some(1_500)),
            ("", None),
            ("s", None),
            ("90", None),
            ("1.5s", None),
            ("-1s", None),
            ("1s1m", None),
            ("1s1s", None),
            ("1d", None),
            ("1 s", None),
            ("90S", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
        ] {
            assert_eq!(parse_duration(text), want.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn a_shown_duration_reads_back() {
        for (milliseconds, want) in [
            (0, "0s"),
            (10, "10ms"),
            (1_500, "1500ms"),
            (90_000, "90s"),
            (60_000, "1m"),
            (7_200_000, "2h"),
            (7_260_000, "121m"),
        ] {
            let duration = Duration::from_millis(milliseconds);
            let shown = Shown(duration).to_string();
            assert_eq!(shown, want);
            assert_eq!(parse_duration(&shown), Some(duration), "{shown}");
        }
    }

    #[test]
    fn node_names_are_dns_subdomains() {
        let longest = format!("{}.a", "x".repeat(251));
        let too_long = format!("{}.a", "x".repeat(252));
        for (text, want) in [
            ("n1", true),
            ("n1.example.org", true),
            ("1", true),
            ("a--b", true),
            (longest.as_str(), true),
            (too_long.as_str(), false),
            ("", false),
            ("N1", false),
            ("a_b", false),
            ("-a", false),
            ("a-", false),
            ("a..b", false),
            (".a", false),
            ("a.", false),
            ("a b", false),
            ("ä", false),
        ] {
            assert_eq!(is_dns_subdomain(text), want, "{text:?}");
        }
    }
}
