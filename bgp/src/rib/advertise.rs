//! One turn of a peer at being told: withdrawals, then changes, then what is owed.
//!
//! Where a peer is told several paths of a prefix, one that goes may be the last that it knows
//! while others are there to be told: those go before the withdrawal, so that what can be
//! reached is so at the peer all the time.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::adj_out::{AdjOut, Group};
use super::encoder::{Context, Encoder};
use super::export::{Told, ToldHop, Treatment};
use super::journal::{CHUNK_PREFIXES, Chunk, Lane, Section};
use super::member::MemberLane;
use super::path::PeerIx;
use super::view::Advertisement;
use crate::msg::{Message, NextHop, Refresh, RouteRefresh, encode, end_of_rib};
use crate::net::Family;

/// Prefixes that a turn looks at beyond those that it tells: bounds its work where a policy
/// lets little pass.
const LOOKS: usize = 1 << 16;

/// Messages for one peer, up to about a number of octets.
struct Tray {
    messages: Vec<Bytes>,
    octets: usize,
    budget: usize,
}

impl Tray {
    /// Whether more may be put on it: never nothing at all, so that each turn gets somewhere.
    fn has_room(&self) -> bool {
        self.octets == 0 || self.octets < self.budget
    }

    fn put(&mut self, message: Bytes) {
        self.octets += message.len();
        self.messages.push(message);
    }

    fn fill(&mut self, fill: impl FnOnce(&mut Vec<Bytes>)) {
        let before = self.messages.len();
        fill(&mut self.messages);
        self.octets += self.messages[before..].iter().map(Bytes::len).sum::<usize>();
    }
}

/// A member's turn in one family.
struct Turn<'a> {
    ix: PeerIx,
    address: IpAddr,
    lane: &'a mut MemberLane,
    journals: &'a mut Lane,
    treatment: &'a Treatment,
    encoder: &'a mut Encoder,
    with: Context<'a>,
    /// Somebody else may want the same encodings.
    is_shared: bool,
    tray: &'a mut Tray,
}

impl AdjOut {
    /// The next messages for a member; `contexts` by family.
    pub(super) fn advertise(
        &mut self,
        ix: PeerIx,
        budget: usize,
        contexts: [Context<'_>; 2],
    ) -> Advertisement {
        let Some(member) = self.members.get_mut(ix.index()).and_then(Option::as_mut) else {
            return Advertisement::default();
        };
        let place = member.group;
        let Some(group) = self.groups.get_mut(place).and_then(Option::as_mut) else {
            return Advertisement::default();
        };
        let mut tray = Tray { messages: Vec::new(), octets: 0, budget };
        let Group { treatment, members, lanes, encoder, .. } = group;
        let steps: [fn(&mut Turn<'_>); 5] = [
            |turn| turn.begin_walk(),
            |turn| turn.withdraw_owed(),
            |turn| turn.withdraw_changed(),
            |turn| turn.announce_changed(),
            |turn| turn.announce_owed(),
        ];
        for step in steps {
            for with in contexts {
                let index = with.family.index();
                if member.lanes[index].agreed {
                    step(&mut Turn {
                        ix,
                        address: member.address,
                        lane: &mut member.lanes[index],
                        journals: &mut lanes[index],
                        treatment,
                        encoder,
                        with,
                        is_shared: members.len() > 1,
                        tray: &mut tray,
                    });
                }
            }
        }
        let more = member.lanes.iter().zip(lanes.iter()).any(|(lane, journals)| {
            lane.agreed
                && (!lane.is_settled()
                    || journals.withdraws.has_from(lane.withdraw_cursor)
                    || journals.announces.has_from(lane.announce_cursor))
        });
        if !more {
            self.put_to_sleep(ix);
        }
        self.end_turn(place);
        Advertisement { messages: tray.messages, more }
    }
}

impl Turn<'_> {
    fn family(&self) -> Family {
        self.with.family
    }

    /// What the group is told of what has this number.
    fn told(&self, id: u32) -> Option<Told> {
        self.with.told(self.treatment, id)
    }

    /// Sends the begin mark of a refresh that is due: before any announcement, since the peer
    /// forgets what it is not told behind it (RFC 7313 §4).
    fn begin_walk(&mut self) {
        if let Some(walk) = &mut self.lane.walk
            && std::mem::take(&mut walk.begin)
        {
            self.mark(Refresh::Begin);
        }
    }

    /// Withdrawals that are noted for this member alone.
    fn withdraw_owed(&mut self) {
        while self.tray.has_room() && !self.lane.owed_withdraw.is_empty() {
            let mut ids = Vec::new();
            while ids.len() < CHUNK_PREFIXES
                && let Some(id) = self.lane.owed_withdraw.next(0)
            {
                self.lane.owed_withdraw.clear(id);
                // It may have come back; then its announcement is noted and replaces it.
                let is_wanted = self.told(id).is_some_and(|told| told.source != self.ix);
                if !is_wanted && self.lane.told.clear(id) {
                    ids.push(id);
                }
            }
            self.announce_instead(&ids);
            let (encoder, with, treatment) = (&mut *self.encoder, &self.with, self.treatment);
            self.tray.fill(|out| encoder.withdraw(with, treatment, &ids, out));
        }
    }

    /// Withdrawals that the group has noted.
    fn withdraw_changed(&mut self) {
        while self.tray.has_room() {
            let start = self.lane.withdraw_cursor;
            let chunk = match self.journals.withdraws.cached(start) {
                Some(chunk) => chunk,
                None => match self.build_withdraws(start) {
                    Some(chunk) => chunk,
                    None => break,
                },
            };
            let told = &mut self.lane.told;
            let ids: Vec<u32> =
                chunk.prefixes.iter().copied().filter(|&id| told.clear(id)).collect();
            self.announce_instead(&ids);
            if ids.len() == chunk.prefixes.len() {
                for message in chunk.sections.iter().flat_map(|section| &section.messages) {
                    self.tray.put(message.clone());
                }
            } else {
                // It was never told some of them, for instance because they came from it.
                let (encoder, with, treatment) = (&mut *self.encoder, &self.with, self.treatment);
                self.tray.fill(|out| encoder.withdraw(with, treatment, &ids, out));
            }
            self.lane.withdraw_cursor = chunk.end;
        }
    }

    /// Announces the paths of prefixes of which the peer would know none any more after the
    /// withdrawal of those that are `gone`. Where they stand in a journal, they are told there
    /// once more: nobody keeps what was told out of its turn.
    fn announce_instead(&mut self, gone: &[u32]) {
        let table = self.with.table;
        let Some(offers) = table.offers().filter(|_| self.lane.by_path) else { return };
        let mut prefixes: Vec<u32> =
            gone.iter().filter_map(|&number| offers.prefix(number)).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        prefixes.retain(|&prefix| !offers.numbers_of(prefix).any(|it| self.lane.told.has(it)));
        let numbers = prefixes.iter().flat_map(|&prefix| offers.numbers_of(prefix));
        let is_wanted = |&it: &u32| self.told(it).is_some_and(|told| told.source != self.ix);
        let ids: Vec<u32> = numbers.filter(is_wanted).collect();
        if !ids.is_empty() {
            let chunk = self.encode(&ids);
            self.deliver(&chunk);
        }
    }

    fn build_withdraws(&mut self, start: u32) -> Option<Arc<Chunk>> {
        if !self.journals.withdraws.has_from(start) {
            return None;
        }
        let (end, prefixes) = self.journals.stretch(&self.journals.withdraws, start);
        let mut chunk = Chunk { end, prefixes, ..Chunk::default() };
        // Encode for all only what all were told as far as this member can tell.
        if chunk.prefixes.iter().all(|&id| self.lane.told.has(id)) {
            let mut messages = Vec::new();
            self.encoder.withdraw(&self.with, self.treatment, &chunk.prefixes, &mut messages);
            let prefixes = 0..chunk.prefixes.len();
            chunk.sections.push(Section { told: None, prefixes, messages });
            let chunk = Arc::new(chunk);
            if self.is_shared {
                self.journals.withdraws.keep(start, &chunk);
            }
            return Some(chunk);
        }
        Some(Arc::new(chunk))
    }

    /// Announcements that the group has noted.
    fn announce_changed(&mut self) {
        if !self.lane.owed_withdraw.is_empty() || self.has_withdraws() {
            return; // withdrawals first, in the next turn
        }
        while self.tray.has_room() {
            let start = self.lane.announce_cursor;
            let chunk = match self.journals.announces.cached(start) {
                Some(chunk) => chunk,
                None => match self.build_announces(start) {
                    Some(chunk) => chunk,
                    None => break,
                },
            };
            self.deliver(&chunk);
            self.lane.announce_cursor = chunk.end;
            self.journals.lead_to(chunk.end);
        }
    }

    fn has_withdraws(&self) -> bool {
        self.journals.withdraws.has_from(self.lane.withdraw_cursor)
    }

    fn build_announces(&mut self, start: u32) -> Option<Arc<Chunk>> {
        if !self.journals.announces.has_from(start) {
            return None;
        }
        let (end, ids) = self.journals.stretch(&self.journals.announces, start);
        let chunk = Arc::new(Chunk { end, ..self.encode(&ids) });
        if self.is_shared {
            self.journals.announces.keep(start, &chunk);
        }
        Some(chunk)
    }

    /// Announcements that are noted for this member alone: a walk, or what it lagged behind.
    fn announce_owed(&mut self) {
        if !self.lane.owed_withdraw.is_empty() || self.has_withdraws() {
            return;
        }
        let mut looks = LOOKS;
        while self.tray.has_room() {
            if self.finish_walk() {
                continue;
            }
            let mut ids = Vec::new();
            while ids.len() < CHUNK_PREFIXES
                && looks > 0
                && !self.lane.is_walk_over()
                && let Some(id) = self.lane.next_owed()
            {
                looks -= 1;
                self.lane.owed.clear(id);
                self.lane.position = id + 1;
                if self.told(id).is_some_and(|told| told.source != self.ix) {
                    ids.push(id);
                }
            }
            if ids.is_empty() {
                if looks == 0 || self.lane.is_settled() {
                    break;
                }
                continue;
            }
            let chunk = self.encode(&ids);
            self.deliver(&chunk);
        }
    }

    /// Sends what ends a walk, if it has come to its end; whether it has.
    fn finish_walk(&mut self) -> bool {
        let family = self.family();
        let Some(walk) = self.lane.walk.filter(|_| self.lane.is_walk_over()) else {
            return false;
        };
        self.lane.walk = None;
        if walk.end {
            self.mark(Refresh::End);
        }
        if walk.end_of_rib && self.treatment.deferred {
            self.lane.owes_end = true;
        } else if walk.end_of_rib {
            self.tray.put(end_of_rib(family));
        }
        true
    }

    fn mark(&mut self, kind: Refresh) {
        let message = Message::RouteRefresh(RouteRefresh { family: self.family().into(), kind });
        let mut octets = BytesMut::new();
        encode(&message, &self.treatment.format, &mut octets);
        self.tray.put(octets.freeze());
    }

    /// The messages that announce these prefixes to the group; those that it must not be
    /// told of are left out.
    fn encode(&mut self, ids: &[u32]) -> Chunk {
        let mut told: Vec<(Told, u32)> =
            ids.iter().filter_map(|&id| Some((self.told(id)?, id))).collect();
        // Whatever shares attributes travels together; in one section in the order given.
        told.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut chunk =
            Chunk { prefixes: told.iter().map(|&(_, id)| id).collect(), ..Chunk::default() };
        let mut start = 0;
        for same in told.chunk_by(|(a, _), (b, _)| a == b) {
            let prefixes = start..start + same.len();
            start = prefixes.end;
            let Some((told, _)) = same.first() else { continue };
            let mut messages = Vec::new();
            // What the only member told us itself is for nobody.
            let is_wanted = self.is_shared || told.source != self.ix;
            if let Some(hop) = self.hop(&told.hop).filter(|_| is_wanted) {
                let ids = &chunk.prefixes[prefixes.clone()];
                self.encoder.announce(&self.with, self.treatment, told, &hop, ids, &mut messages);
            }
            chunk.sections.push(Section { told: Some(told.clone()), prefixes, messages });
        }
        chunk
    }

    /// Hands the messages of a chunk to the member, except for what came from itself.
    fn deliver(&mut self, chunk: &Chunk) {
        for section in &chunk.sections {
            let Some(told) = &section.told else { continue };
            if told.source == self.ix {
                continue;
            }
            let ids = &chunk.prefixes[section.prefixes.clone()];
            if self.needs_own_hop(told) {
                self.announce(told, ids);
            } else {
                for message in &section.messages {
                    self.tray.put(message.clone());
                }
            }
            for &id in ids {
                self.lane.told.set(id);
                self.lane.owed.clear(id);
            }
        }
    }

    fn hop(&self, hop: &ToldHop) -> Option<NextHop> {
        self.treatment.next_hop(*hop, self.family(), self.with.exporter.hops)
    }

    /// Whether the next hop that the group is told is this member itself.
    fn needs_own_hop(&self, told: &Told) -> bool {
        match told.hop {
            ToldHop::Kept(id, true) => {
                let hop = self.with.exporter.hops.get(id);
                hop.is_some_and(|hop| hop.address() == self.address)
            }
            ToldHop::Kept(_, false) | ToldHop::Own => false,
        }
    }

    /// Announces to this member alone, with ourselves as next hop.
    fn announce(&mut self, told: &Told, ids: &[u32]) {
        let Some(hop) = self.hop(&ToldHop::Own) else { return };
        let (encoder, with, treatment) = (&mut *self.encoder, &self.with, self.treatment);
        self.tray.fill(|out| encoder.announce(with, treatment, told, &hop, ids, out));
    }
}
