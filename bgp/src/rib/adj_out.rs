//! What peers are told: export groups, their members, and news of best paths.
//!
//! Nothing is queued towards a peer. A group has journals of changed prefixes, a member has
//! cursors into them, one bit per prefix for what it was told, and where it walks or lags one
//! bit per prefix for what it is owed. What goes out is made when the peer asks, from what
//! is best then.
//!
//! A peer that is told several paths of a prefix (RFC 7911) has all this by path: the numbers
//! are those of [`super::offers`] then.

use super::bits::Bits;
use super::encoder::{Context, Encoder};
use super::export::{Exporter, Told, Treatment};
use super::journal::Lane;
use super::member::{Member, MemberLane};
use super::offers::OfferChange;
use super::path::{Path, PeerIx};
use super::table::Table;
use crate::net::{Family, Prefix};

/// Peers that are told the same octets.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) treatment: Treatment,
    pub(super) members: Vec<PeerIx>,
    /// Members to be woken by the next change; some may have been woken otherwise since.
    pub(super) sleepers: Vec<PeerIx>,
    /// Members that are not asleep.
    awake: usize,
    /// Turns since the journals were last trimmed.
    turns: usize,
    pub(super) lanes: [Lane; 2],
    pub(super) encoder: Encoder,
}

/// All groups and members.
#[derive(Debug, Default)]
pub(super) struct AdjOut {
    pub(super) groups: Vec<Option<Group>>,
    pub(super) members: Vec<Option<Member>>,
    woken: Vec<PeerIx>,
}

/// Changed paths of a prefix, for peers that are told several.
pub(super) struct PathNews<'a> {
    pub(super) family: Family,
    pub(super) prefix: Prefix,
    pub(super) changes: &'a [OfferChange],
    /// Number of paths that have numbers.
    pub(super) numbers: usize,
}

/// A changed best path.
pub(super) struct News {
    pub(super) family: Family,
    pub(super) id: u32,
    pub(super) prefix: Prefix,
    pub(super) before: Option<Path>,
    pub(super) after: Option<Path>,
    /// Number of prefixes in the table.
    pub(super) prefixes: usize,
}

impl AdjOut {
    /// The member at a peer's place.
    pub(super) fn member(&self, ix: PeerIx) -> Option<&Member> {
        self.members.get(ix.index())?.as_ref()
    }

    fn member_mut(&mut self, ix: PeerIx) -> Option<&mut Member> {
        self.members.get_mut(ix.index())?.as_mut()
    }

    /// The group of a member.
    pub(super) fn group_of(&self, member: &Member) -> Option<&Group> {
        self.groups.get(member.group)?.as_ref()
    }

    /// A session is up: everything in `tables` is to be told.
    pub(super) fn join(
        &mut self,
        ix: PeerIx,
        treatment: Treatment,
        address: std::net::IpAddr,
        has_marks: bool,
        tables: &[Table; 2],
    ) {
        let mut lanes = <[MemberLane; 2]>::default();
        for &family in &treatment.format.families {
            let lane = &mut lanes[family.index()];
            lane.agreed = true;
            lane.by_path = treatment.paths[family.index()].is_some();
            lane.begin_walk(tables[family.index()].numbers(lane.by_path), None);
        }
        let group = self.enter(ix, treatment);
        if self.members.len() <= ix.index() {
            self.members.resize_with(ix.index() + 1, || None);
        }
        self.members[ix.index()] =
            Some(Member { group, address, lanes, asleep: true, listed: false, has_marks });
        self.skip_journals(ix);
        self.wake(ix);
    }

    /// Puts a peer into the group with this treatment.
    fn enter(&mut self, ix: PeerIx, treatment: Treatment) -> usize {
        let same = |group: &Option<Group>| {
            group.as_ref().is_some_and(|group| group.treatment == treatment)
        };
        let place = self.groups.iter().position(same).unwrap_or_else(|| {
            let group = Group {
                treatment,
                members: Vec::new(),
                sleepers: Vec::new(),
                awake: 0,
                turns: 0,
                lanes: Default::default(),
                encoder: Encoder::default(),
            };
            match self.groups.iter().position(Option::is_none) {
                Some(place) => {
                    self.groups[place] = Some(group);
                    place
                }
                None => {
                    self.groups.push(Some(group));
                    self.groups.len() - 1
                }
            }
        });
        if let Some(group) = &mut self.groups[place] {
            group.members.push(ix);
        }
        place
    }

    /// Takes a peer out of its group.
    fn leave(&mut self, ix: PeerIx) {
        let Some((place, is_awake)) = self.member(ix).map(|member| (member.group, !member.asleep))
        else {
            return;
        };
        let Some(group) = &mut self.groups[place] else { return };
        group.awake -= usize::from(is_awake);
        group.members.retain(|&member| member != ix);
        group.sleepers.retain(|&member| member != ix);
        if group.members.is_empty() {
            self.groups[place] = None;
        } else {
            self.trim(place);
        }
    }

    /// The session is over: what the peer was told is nothing now.
    pub(super) fn part(&mut self, ix: PeerIx) {
        self.leave(ix);
        if let Some(member) = self.members.get_mut(ix.index()) {
            *member = None;
        }
        self.woken.retain(|&woken| woken != ix);
    }

    /// Sets the cursors of a member behind all that its group's journals have.
    fn skip_journals(&mut self, ix: PeerIx) {
        let Some(member) = self.members.get_mut(ix.index()).and_then(Option::as_mut) else {
            return;
        };
        let Some(group) = self.groups.get_mut(member.group).and_then(Option::as_mut) else {
            return;
        };
        for (lane, journals) in member.lanes.iter_mut().zip(&mut group.lanes) {
            lane.withdraw_cursor = journals.next();
            lane.announce_cursor = journals.next();
            journals.lead_to(lane.announce_cursor);
        }
    }

    /// Treats a peer in another way from now on: owes it the difference.
    pub(super) fn treat(
        &mut self,
        ix: PeerIx,
        treatment: Treatment,
        address: std::net::IpAddr,
        exporter: &Exporter<'_>,
        tables: &[Table; 2],
    ) {
        let Some(member) = self.members.get_mut(ix.index()).and_then(Option::as_mut) else {
            return;
        };
        let Some(group) = self.groups.get(member.group).and_then(Option::as_ref) else { return };
        let has_moved = member.address != address;
        if group.treatment == treatment && !has_moved {
            return;
        }
        member.address = address;
        let is_comparable = group.treatment.has_same_form(&treatment) && !has_moved;
        let ends_deferral = group.treatment.deferred && !treatment.deferred;
        for family in treatment.format.families.iter().copied() {
            let (lane, journal) = (&mut member.lanes[family.index()], &group.lanes[family.index()]);
            let with = Context { exporter, table: &tables[family.index()], family };
            let bound = with.bound(&treatment);
            let (mut owed, mut owed_withdraw) = (Bits::default(), Bits::default());
            for id in 0..bound {
                let export = |to: &Treatment| with.told(to, id).filter(|told| told.source != ix);
                let (is_told, now) = (lane.told.has(id), export(&treatment));
                let in_step = is_comparable
                    && is_told
                    && !lane.owed.has(id)
                    && !journal.is_pending(lane.announce_cursor.min(lane.withdraw_cursor), id)
                    && match (&now, export(&group.treatment)) {
                        (Some(now), Some(before)) => {
                            exporter.says_same((&treatment, now), (&group.treatment, &before))
                        }
                        _ => false,
                    };
                if now.is_none() && is_told {
                    owed_withdraw.set(id);
                } else if now.is_some() && !in_step {
                    owed.set(id);
                }
            }
            lane.owed = owed;
            lane.owed_withdraw = owed_withdraw;
            if ends_deferral {
                lane.resume_walk(bound);
            } else if lane.walk.is_none() {
                lane.position = 0;
            }
        }
        self.leave(ix);
        let place = self.enter(ix, treatment);
        if let Some(member) = self.member_mut(ix) {
            member.group = place;
            member.listed = false;
            let is_awake = !member.asleep;
            if let Some(group) = &mut self.groups[place] {
                group.awake += usize::from(is_awake);
            }
        }
        self.skip_journals(ix);
        self.wake(ix);
    }

    /// Owes a peer a whole family again. Before End-of-RIB without marks: what it keeps of an
    /// earlier session waits for that, and must not go at the end mark (RFC 7313 §4).
    pub(super) fn refresh(&mut self, ix: PeerIx, family: Family, table: &Table) {
        let Some(member) = self.member_mut(ix) else { return };
        let has_marks = member.has_marks;
        let lane = &mut member.lanes[family.index()];
        let marks = has_marks && !lane.is_before_end_of_rib();
        if lane.agreed {
            lane.begin_walk(table.numbers(lane.by_path), Some(marks));
            self.wake(ix);
        }
    }

    /// The best path of a prefix has changed: notes what that means to each group.
    pub(super) fn best_changed(&mut self, news: &News, exporter: &Exporter<'_>) {
        for place in 0..self.groups.len() {
            let Some(group) = &mut self.groups[place] else { continue };
            if !group.treatment.format.families.contains(&news.family)
                || group.treatment.paths[news.family.index()].is_some()
            {
                continue;
            }
            let export = |path: &Option<Path>| {
                exporter.export(&group.treatment, &news.prefix, path.as_ref()?)
            };
            let (before, after) = (export(&news.before), export(&news.after));
            let lane = &mut group.lanes[news.family.index()];
            match (before, after) {
                (None, None) => continue,
                (Some(_), None) => lane.withdraw(news.id),
                (before, Some(now)) => {
                    if before.as_ref() == Some(&now) {
                        continue;
                    }
                    let is_same = before
                        .as_ref()
                        .is_some_and(|told| Told { source: now.source, ..told.clone() } == now);
                    if is_same {
                        // The same words from another mouth: only the two sources notice.
                        lane.spoil(news.id);
                    } else {
                        lane.announce(news.id, before.is_some());
                    }
                    self.swap_source(
                        place,
                        news,
                        before.map(|told| told.source),
                        now.source,
                        is_same,
                    );
                    if is_same {
                        continue;
                    }
                }
            }
            self.wake_group(place);
            self.fold_if_full(place, news.family, news.prefixes);
        }
    }

    /// Paths of a prefix have changed: notes what that means to each group that is told several.
    /// Which peer told a path never changes, so unlike a best path it has none that must begin or
    /// cease to hear of it.
    pub(super) fn paths_changed(&mut self, news: &PathNews<'_>, exporter: &Exporter<'_>) {
        let index = news.family.index();
        for place in 0..self.groups.len() {
            let Some(group) = &mut self.groups[place] else { continue };
            let Some(most) = group.treatment.paths[index] else { continue };
            let export = |at: Option<(u32, Path)>| {
                let (_, path) = at.filter(|&(rank, _)| rank < most)?;
                exporter.export(&group.treatment, &news.prefix, &path)
            };
            let mut is_news = false;
            for change in news.changes {
                let (before, after) = (export(change.before), export(change.after));
                if before == after {
                    continue;
                }
                let lane = &mut group.lanes[index];
                match after {
                    None => lane.withdraw(change.number),
                    Some(_) => lane.announce(change.number, before.is_some()),
                }
                is_news = true;
            }
            if is_news {
                self.wake_group(place);
                self.fold_if_full(place, news.family, news.numbers);
            }
        }
    }

    fn fold_if_full(&mut self, place: usize, family: Family, numbers: usize) {
        let is_full = |group: &Group| group.lanes[family.index()].is_full(numbers);
        if self.groups[place].as_ref().is_some_and(is_full) {
            self.fold(place, family);
        }
    }

    /// The peer that the best path now comes from must not go on believing in what it was
    /// told before. Where nothing else changed, the one that it came from must now be told.
    fn swap_source(
        &mut self,
        place: usize,
        news: &News,
        before: Option<PeerIx>,
        now: PeerIx,
        is_same: bool,
    ) {
        let is_here = |member: &&mut Member| member.group == place;
        if let Some(member) = self.member_mut(now).filter(is_here) {
            let lane = &mut member.lanes[news.family.index()];
            if lane.told.has(news.id) {
                lane.owed_withdraw.set(news.id);
                self.wake(now);
            }
        }
        if let Some(before) = before.filter(|_| is_same)
            && let Some(member) = self.member_mut(before).filter(is_here)
        {
            member.lanes[news.family.index()].owed.set(news.id);
            self.wake(before);
        }
    }

    /// Lets every member note single prefixes instead of a place in journals that have
    /// become too long, and empties those.
    fn fold(&mut self, place: usize, family: Family) {
        let Some(group) = &mut self.groups[place] else { return };
        let journals = &mut group.lanes[family.index()];
        for ix in &group.members {
            let Some(member) = self.members[ix.index()].as_mut() else { continue };
            let lane = &mut member.lanes[family.index()];
            for (at, id) in journals.withdraws.from(lane.withdraw_cursor) {
                if journals.is_live(at, id) && lane.told.has(id) {
                    lane.owed_withdraw.set(id);
                }
            }
            for (at, id) in journals.announces.from(lane.announce_cursor) {
                if journals.is_live(at, id) {
                    lane.owed.set(id);
                }
            }
        }
        journals.restart();
        let next = journals.next();
        for ix in &group.members {
            if let Some(member) = self.members[ix.index()].as_mut() {
                member.lanes[family.index()].withdraw_cursor = next;
                member.lanes[family.index()].announce_cursor = next;
            }
        }
    }

    fn wake(&mut self, ix: PeerIx) {
        let Some(member) = self.members.get_mut(ix.index()).and_then(Option::as_mut) else {
            return;
        };
        if member.asleep {
            member.asleep = false;
            self.woken.push(ix);
            if let Some(group) = &mut self.groups[member.group] {
                group.awake += 1;
            }
        }
    }

    fn wake_group(&mut self, place: usize) {
        let Some(group) = &mut self.groups[place] else { return };
        for ix in std::mem::take(&mut group.sleepers) {
            if let Some(member) = self.member_mut(ix) {
                member.listed = false;
            }
            self.wake(ix);
        }
    }

    /// Lets a member that was told everything sleep until the next change.
    pub(super) fn put_to_sleep(&mut self, ix: PeerIx) {
        let Some(member) = self.members.get_mut(ix.index()).and_then(Option::as_mut) else {
            return;
        };
        let Some(group) = &mut self.groups[member.group] else { return };
        if !member.asleep {
            member.asleep = true;
            group.awake -= 1;
        }
        if !member.listed {
            member.listed = true;
            group.sleepers.push(ix);
        }
        // It may ask, and be done, before anybody has taken the news of its waking.
        self.woken.retain(|&woken| woken != ix);
    }

    /// Members that woke since the last call.
    pub(super) fn take_woken(&mut self) -> Vec<PeerIx> {
        std::mem::take(&mut self.woken)
    }

    /// Notes that a member had its turn, and drops what is no longer needed: at once when
    /// all members have everything, else every now and then.
    pub(super) fn end_turn(&mut self, place: usize) {
        let Some(group) = &mut self.groups[place] else { return };
        group.turns += 1;
        if group.awake == 0 || group.turns > group.members.len() {
            group.turns = 0;
            self.trim(place);
        }
    }

    /// Drops what all members of a group have passed.
    pub(super) fn trim(&mut self, place: usize) {
        let Some(group) = &mut self.groups[place] else { return };
        for (index, journals) in group.lanes.iter_mut().enumerate() {
            let lanes = group.members.iter().filter_map(|ix| {
                self.members.get(ix.index())?.as_ref().map(|member| &member.lanes[index])
            });
            let (mut withdraws, mut announces) = (journals.next(), journals.next());
            for lane in lanes {
                withdraws = withdraws.min(lane.withdraw_cursor);
                announces = announces.min(lane.announce_cursor);
            }
            journals.withdraws.trim(withdraws);
            journals.announces.trim(announces);
        }
    }

    /// Whether any peer believes in what has this number, of a path or of a prefix.
    pub(super) fn is_told(&self, family: Family, by_path: bool, number: u32) -> bool {
        let lanes = self.members.iter().flatten().map(|member| &member.lanes[family.index()]);
        lanes.filter(|lane| lane.by_path == by_path).any(|lane| lane.told.has(number))
    }

    /// Whether any peer is told several paths of a prefix.
    pub(super) fn has_paths(&self, family: Family) -> bool {
        self.members.iter().flatten().any(|member| member.lanes[family.index()].by_path)
    }

    /// What this member is to be told of what has this number, if anything.
    pub(super) fn wanted(&self, ix: PeerIx, with: &Context<'_>, number: u32) -> Option<Told> {
        let group = self.group_of(self.member(ix)?)?;
        with.told(&group.treatment, number).filter(|told| told.source != ix)
    }
}
