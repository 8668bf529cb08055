//! Prefixes and what is told of them into messages, attributes encoded once.

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::attr_store::AttrId;
use super::export::{Exporter, Form, Told, Treatment};
use super::table::Table;
use crate::filter::Matched;
use crate::msg::{NextHop, encode_attributes, pack_announce, pack_withdraw};
use crate::net::Family;

/// Encoded attribute sets that a group remembers at most.
const REMEMBERED: usize = 1 << 12;

/// What a group has encoded lately.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    /// A set that was forgotten and its id used again has another generation.
    attributes: FxHashMap<(AttrId, u32, Form, Matched), Bytes>,
    /// Prefixes that were encoded since the group exists, announced or withdrawn.
    pub(super) encoded: u64,
}

/// What encoding must see beside the prefixes.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) exporter: &'a Exporter<'a>,
    pub(super) table: &'a Table,
    pub(super) family: Family,
}

impl Encoder {
    /// Appends messages that announce prefixes, given by number.
    pub(super) fn announce(
        &mut self,
        with: &Context<'_>,
        to: &Treatment,
        told: &Told,
        next_hop: &NextHop,
        ids: &[u32],
        out: &mut Vec<Bytes>,
    ) {
        let generation = with.exporter.attributes.generation(told.attributes);
        if self.attributes.len() >= REMEMBERED {
            self.attributes.clear();
        }
        let attributes = self
            .attributes
            .entry((told.attributes, generation, told.form, told.matched.clone()))
            .or_insert_with(|| encode_attributes(&with.exporter.transform(to, told), &to.format));
        self.encoded += ids.len() as u64;
        let prefixes = ids.iter().map(|&id| with.table.prefix(id));
        pack_announce(prefixes, next_hop, attributes, with.family, &to.format, out);
    }

    /// Appends messages that withdraw prefixes, given by number.
    pub(super) fn withdraw(
        &mut self,
        with: &Context<'_>,
        to: &Treatment,
        ids: &[u32],
        out: &mut Vec<Bytes>,
    ) {
        if ids.is_empty() {
            return;
        }
        self.encoded += ids.len() as u64;
        let prefixes = ids.iter().map(|&id| with.table.prefix(id));
        pack_withdraw(prefixes, with.family, &to.format, out);
    }
}
