//! What one peer was told and what it must still be told.

use std::net::IpAddr;

use super::bits::Bits;

/// A peer with an established session, as a member of an export group.
#[derive(Debug)]
pub(super) struct Member {
    /// The group's place.
    pub(super) group: usize,
    pub(super) address: IpAddr,
    pub(super) lanes: [MemberLane; 2],
    /// It was told all, and is to be woken when there is more.
    pub(super) asleep: bool,
    /// It stands in its group's list of those to wake.
    pub(super) listed: bool,
    /// Begin and end marks of refreshes are wanted (RFC 7313).
    pub(super) has_marks: bool,
}

/// The same by family.
#[derive(Debug, Default)]
pub(super) struct MemberLane {
    /// The session carries the family.
    pub(super) agreed: bool,
    /// It is told several paths of a prefix: all numbers here and in its group's journals are of
    /// paths, where they are of prefixes otherwise.
    pub(super) by_path: bool,
    /// What the peer believes in.
    pub(super) told: Bits,
    /// Where it stands in the group's journals.
    pub(super) withdraw_cursor: u32,
    pub(super) announce_cursor: u32,
    /// Beside the journals: told prefixes that must be withdrawn from this peer.
    pub(super) owed_withdraw: Bits,
    /// Beside the journals: prefixes that may have to be told to this peer.
    pub(super) owed: Bits,
    /// Where the walk over `owed` stands.
    pub(super) position: u32,
    /// A walk over everything that ends with a mark.
    pub(super) walk: Option<Walk>,
    /// It was told what it may be told yet, and End-of-RIB is still to come.
    pub(super) owes_end: bool,
}

/// A walk over a whole family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    /// Prefixes from this number on came later and are told by journal.
    pub(super) limit: u32,
    /// The begin mark of a refresh is still to be sent.
    pub(super) begin: bool,
    /// The walk ends with the end mark of a refresh.
    pub(super) end: bool,
    /// The walk ends with End-of-RIB.
    pub(super) end_of_rib: bool,
}

impl MemberLane {
    /// Begins to tell everything below `bound`, for a new session or a refresh with or
    /// without marks. One that is under way begins anew and keeps its duties.
    pub(super) fn begin_walk(&mut self, bound: u32, refresh: Option<bool>) {
        let marks = refresh == Some(true);
        self.owed = Bits::all(bound);
        self.position = 0;
        let before = self.walk;
        self.walk = Some(Walk {
            limit: bound,
            begin: marks,
            end: marks || before.is_some_and(|walk| walk.end),
            end_of_rib: refresh.is_none() || before.is_some_and(|walk| walk.end_of_rib),
        });
    }

    /// Lets End-of-RIB, if it is owed, follow on all that is owed now.
    pub(super) fn resume_walk(&mut self, bound: u32) {
        self.position = 0;
        let owes_end = std::mem::take(&mut self.owes_end);
        let under_way =
            self.walk.unwrap_or(Walk { limit: 0, begin: false, end: false, end_of_rib: false });
        if owes_end || self.walk.is_some() {
            let end_of_rib = owes_end || under_way.end_of_rib;
            self.walk = Some(Walk { limit: bound, end_of_rib, ..under_way });
        }
    }

    /// The next prefix that may have to be told. After the last one it begins at the front
    /// again, where changes may have been noted meanwhile.
    pub(super) fn next_owed(&mut self) -> Option<u32> {
        if self.owed.is_empty() {
            return None;
        }
        self.owed.next(self.position).or_else(|| {
            self.position = 0;
            self.owed.next(0)
        })
    }

    /// Whether the walk has come to its end, so that its mark is due.
    pub(super) fn is_walk_over(&mut self) -> bool {
        let Some(walk) = self.walk else { return false };
        self.owed.next(self.position).is_none_or(|id| id >= walk.limit)
    }

    /// Whether End-of-RIB is still to be sent.
    pub(super) fn is_before_end_of_rib(&self) -> bool {
        self.owes_end || self.walk.is_some_and(|walk| walk.end_of_rib)
    }

    /// Whether nothing at all is owed beside the journals.
    pub(super) fn is_settled(&self) -> bool {
        self.owed.is_empty() && self.owed_withdraw.is_empty() && self.walk.is_none()
    }
}
