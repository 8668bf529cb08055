//! Leaving without a loss: what peers are told by a speaker that is about to go (RFC 8326).

use super::Rib;
use super::export::{Exporter, Treatment};
use super::path::Source;
use super::settings::{PeerId, PeerKind};
use crate::msg::{Attributes, Community};

/// How far a speaker has come with leaving. Each step is told as the difference to the one
/// before; nothing is sent twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Departure {
    /// It stays.
    #[default]
    Staying,
    /// All that it tells carries GRACEFUL_SHUTDOWN, and inside the AS the lowest LOCAL_PREF, so
    /// that whoever knows another way takes that (RFC 8326 §4).
    Announced,
    /// What it originates is withdrawn as well. It remains our own here.
    Withdrawn,
}

impl Departure {
    /// Whether a path from there is told at all.
    pub(super) fn lets_pass(self, source: Source) -> bool {
        !(self == Departure::Withdrawn && source == Source::Ours)
    }

    /// Marks what is told to a peer.
    pub(super) fn mark(self, to: PeerKind, out: &mut Attributes) {
        if self == Departure::Staying {
            return;
        }
        if let Err(place) = out.communities.binary_search(&Community::GRACEFUL_SHUTDOWN) {
            out.communities.insert(place, Community::GRACEFUL_SHUTDOWN);
        }
        // An internal peer need not look at the community (RFC 8326 §4.2).
        if to != PeerKind::External {
            out.local_pref = Some(0);
        }
    }
}

impl Rib {
    /// Says how far we have come with leaving; peers are owed the difference.
    pub fn set_departure(&mut self, departure: Departure) {
        if self.departure == departure {
            return;
        }
        self.departure = departure;
        self.settle_hops();
        self.treat_all();
    }

    /// Treats every peer with a session as it is to be treated by now; peers are owed the
    /// difference.
    pub(super) fn treat_all(&mut self) {
        let Self {
            settings,
            peers,
            attributes,
            hops,
            links,
            tables,
            out,
            deferring,
            departure,
            ..
        } = self;
        let exporter = Exporter { settings, attributes, hops, links, peers };
        for (ix, peer) in peers.all() {
            if let Some(session) = &peer.session {
                let treatment = Treatment::of(
                    (settings.asn, links),
                    &peer.how,
                    session,
                    *deferring,
                    *departure,
                );
                out.treat(ix, treatment, peer.how.address, &exporter, tables);
            }
        }
    }

    /// Whether a peer with a session was given everything that there is to tell it now.
    pub fn has_told_all(&self, peer: PeerId) -> bool {
        let member = self.peers.find(peer).and_then(|ix| self.out.member(ix));
        member.is_some_and(|member| member.asleep)
    }
}
