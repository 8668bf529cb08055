//! Parsers of fixed-size fields: nom on slices, each bound to the slice that it was given.

use nom::IResult;
use nom::Parser;
use nom::bytes::complete;
use nom::number::complete as number;

/// A value and what follows it; fails if the slice is too short. Which NOTIFICATION that is
/// depends on where it happens, so the failure itself carries nothing.
pub(super) type Read<'a, T> = IResult<&'a [u8], T, ()>;

/// One octet.
pub(super) fn u8(input: &[u8]) -> Read<'_, u8> {
    number::be_u8(input)
}

/// Two octets, network order.
pub(super) fn u16(input: &[u8]) -> Read<'_, u16> {
    number::be_u16(input)
}

/// Four octets, network order.
pub(super) fn u32(input: &[u8]) -> Read<'_, u32> {
    number::be_u32(input)
}

/// A slice of `length` octets.
pub(super) fn take(length: usize, input: &[u8]) -> Read<'_, &[u8]> {
    complete::take(length).parse(input)
}

/// A slice whose length stands in one octet before it.
pub(super) fn take_u8(input: &[u8]) -> Read<'_, &[u8]> {
    let (input, length) = u8(input)?;
    take(length.into(), input)
}

/// A slice whose length stands in two octets before it.
pub(super) fn take_u16(input: &[u8]) -> Read<'_, &[u8]> {
    let (input, length) = u16(input)?;
    take(length.into(), input)
}

/// The value of a field of exactly this many octets; `None` for any other length.
pub(super) fn exactly<const N: usize>(input: &[u8]) -> Option<[u8; N]> {
    input.try_into().ok()
}
