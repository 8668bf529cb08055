//! AS_PATH and AS4_PATH (RFC 4271 §4.3 b, RFC 6793), and one path out of both.

use bytes::{BufMut, BytesMut};

use super::write::needs_four_octets;
use crate::msg::codec::read;
use crate::msg::{AsPath, AsSegment, SegmentKind};
use crate::net::Asn;

/// Reads the value of an AS_PATH or AS4_PATH; fails with what makes it malformed
/// (RFC 7606 §7.2, RFC 7607 §2).
pub(super) fn decode(value: &[u8], four_octet_asns: bool) -> Result<AsPath, String> {
    let mut segments = Vec::with_capacity(1);
    let mut rest = value;
    while !rest.is_empty() {
        let overrun = |_| "a segment leaves the attribute".to_owned();
        let (after, kind) = read::u8(rest).map_err(overrun)?;
        let kind = segment_kind(kind).ok_or_else(|| format!("segment type {kind}"))?;
        let (after, count) = read::u8(after).map_err(overrun)?;
        if count == 0 {
            return Err("a segment without AS numbers".to_owned());
        }
        let width = if four_octet_asns { 4 } else { 2 };
        let (after, field) = read::take(usize::from(count) * width, after).map_err(overrun)?;
        let asns = if four_octet_asns { asns::<4>(field) } else { asns::<2>(field) };
        segments.push(AsSegment { kind, asns: asns.ok_or("AS number 0")? });
        rest = after;
    }
    Ok(AsPath(segments))
}

/// The AS numbers of a segment; `None` if there is a zero among them.
fn asns<const WIDTH: usize>(field: &[u8]) -> Option<Vec<Asn>> {
    let (numbers, _) = field.as_chunks::<WIDTH>();
    let mut asns = Vec::with_capacity(numbers.len());
    for octets in numbers {
        let number = octets.iter().fold(0, |number, &octet| number << 8 | u32::from(octet));
        asns.push(Asn::new(number).ok()?);
    }
    Some(asns)
}

fn segment_kind(octet: u8) -> Option<SegmentKind> {
    match octet {
        1 => Some(SegmentKind::Set),
        2 => Some(SegmentKind::Sequence),
        3 => Some(SegmentKind::ConfedSequence),
        4 => Some(SegmentKind::ConfedSet),
        _ => None,
    }
}

fn segment_octet(kind: SegmentKind) -> u8 {
    match kind {
        SegmentKind::Set => 1,
        SegmentKind::Sequence => 2,
        SegmentKind::ConfedSequence => 3,
        SegmentKind::ConfedSet => 4,
    }
}

/// Appends segments; numbers over two octets as AS_TRANS if the peer has only these. A
/// segment of more than 255 numbers becomes several.
pub(super) fn encode(segments: &[AsSegment], four_octet_asns: bool, out: &mut BytesMut) {
    for segment in segments {
        for chunk in segment.asns.chunks(255) {
            out.put_u8(segment_octet(segment.kind));
            out.put_u8(u8::try_from(chunk.len()).unwrap_or(u8::MAX));
            for asn in chunk {
                if four_octet_asns {
                    out.put_u32(asn.get());
                } else {
                    out.put_u16(asn.two_octets());
                }
            }
        }
    }
}

/// How many octets [`encode`] will write.
pub(super) fn encoded_len(segments: &[AsSegment], four_octet_asns: bool) -> usize {
    let width = if four_octet_asns { 4 } else { 2 };
    let segment = |s: &AsSegment| s.asns.len() * width + s.asns.len().div_ceil(255) * 2;
    segments.iter().map(segment).sum()
}

/// The segments of an AS4_PATH; `None` if the AS_PATH says it all (RFC 6793 §4.2.2). Those of
/// a confederation must not be in it.
pub(super) fn as4_segments(path: &AsPath) -> Option<Vec<AsSegment>> {
    let outside = || path.0.iter().filter(|segment| !segment.kind.is_confederation());
    let is_needed = outside().any(|segment| segment.asns.iter().any(|&asn| needs_four_octets(asn)));
    is_needed.then(|| outside().cloned().collect())
}

/// The path that an AS_PATH with AS_TRANS and an AS4_PATH mean together (RFC 6793 §4.2.3):
/// the AS4_PATH, and in front of it what speakers added that know only two octets.
pub(super) fn merge(path: AsPath, mut as4: AsPath) -> AsPath {
    // RFC 6793 §6: segments of a confederation do not belong there.
    as4.0.retain(|segment| !segment.kind.is_confederation());
    let Some(mut missing) = path.hops().checked_sub(as4.hops()) else { return path };
    let mut merged: Vec<AsSegment> = Vec::with_capacity(path.0.len());
    for mut segment in path.0 {
        match segment.kind {
            // Taken if leading or next to a segment that was taken.
            SegmentKind::ConfedSequence | SegmentKind::ConfedSet => {}
            _ if missing == 0 => break,
            SegmentKind::Set => missing -= 1,
            SegmentKind::Sequence => {
                segment.asns.truncate(missing);
                missing -= segment.asns.len();
            }
        }
        merged.push(segment);
    }
    let mut as4 = as4.0.into_iter().peekable();
    // The seam between the two is none in the path.
    if let (Some(last), Some(first)) = (merged.last_mut(), as4.peek())
        && last.kind == SegmentKind::Sequence
        && first.kind == SegmentKind::Sequence
        && last.asns.len() + first.asns.len() <= 255
    {
        last.asns.extend(as4.next().map(|segment| segment.asns).unwrap_or_default());
    }
    merged.extend(as4);
    AsPath(merged)
}
