//! Prefixes and what is told of them into messages, attributes encoded once.

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::attr_store::AttrId;
use super::export::{Exporter, Form, Told, Treatment};
use super::offers::Offers;
use super::table::Table;
use crate::filter::Matched;
use crate::msg::{NextHop, Nlri, encode_attributes, pack_announce, pack_withdraw};
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

/// What encoding must see beside the numbers of what is told.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) exporter: &'a Exporter<'a>,
    pub(super) table: &'a Table,
    pub(super) family: Family,
}

impl Context<'_> {
    /// One more than the highest number that peers with this treatment can be told of.
    pub(super) fn bound(&self, to: &Treatment) -> u32 {
        self.table.numbers(to.paths[self.family.index()].is_some())
    }

    /// What peers with this treatment are told of what has this number: the best path of a
    /// prefix, or one path of those that they are told.
    pub(super) fn told(&self, to: &Treatment, number: u32) -> Option<Told> {
        let Some(most) = to.paths[self.family.index()] else {
            let best = self.table.entry(number).best()?;
            return self.exporter.export(to, &self.table.prefix(number), &best);
        };
        let offers = self.table.offers()?;
        let (_, path) = offers.find(number).filter(|&(rank, _)| rank < most)?;
        self.exporter.export(to, &self.table.prefix(offers.prefix(number)?), &path)
    }

    /// What stands on the wire for these numbers.
    fn named<'a>(&'a self, to: &Treatment, numbers: &'a [u32]) -> impl Iterator<Item = Nlri> + 'a {
        let by_path = to.paths[self.family.index()].is_some();
        numbers.iter().filter_map(move |&number| {
            if !by_path {
                return Some(self.table.prefix(number).into());
            }
            let prefix = self.table.prefix(self.table.offers()?.prefix(number)?);
            Some(Nlri { prefix, path_id: Offers::path_id(number) })
        })
    }
}

impl Encoder {
    /// Appends messages that announce what has these numbers.
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
        pack_announce(with.named(to, ids), next_hop, attributes, with.family, &to.format, out);
    }

    /// Appends messages that withdraw what has these numbers.
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
        pack_withdraw(with.named(to, ids), with.family, &to.format, out);
    }
}
