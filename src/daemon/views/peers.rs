//! Peers as shown.

use std::sync::atomic::Ordering;
use std::time::Instant;

use brindle_bgp::fsm::State;
use brindle_bgp::msg::{AddPathFamily, Capability, Notification};
use brindle_bgp::net::{Asn, Family, Role};
use brindle_bgp::rib::{LimitLevel, PeerId, PeerKind, PeerPolicy, Stale};

use super::bfd::{bfd, lack};
use crate::control::view::{
    AddPaths, AuthKind, Clock, Family as FamilyName, FamilyCounts, GracefulRestart, Kept,
    MessageCounts, MessageTypes, Negotiated, NotificationSeen, Peer, PeerAuth, PeerKind as Kind,
    PolicyKind, SessionState, Timers,
};
use crate::daemon::answer::Facts;
use crate::daemon::drain::Report;
use crate::speaker::{AuthFailures, Key, PeerEntry, PeerStatus, Protection, Ttl, View};

/// All peers in the order of their names.
pub(in crate::daemon) fn peers(view: &View<'_>, facts: &Facts) -> Vec<Peer> {
    let dropped = AuthFailures::read();
    let show = |(id, entry): (&PeerId, &PeerEntry)| shown(view, facts, *id, entry, &dropped);
    let mut peers: Vec<Peer> = view.peers.iter().map(show).collect();
    peers.sort_by(|a, b| a.name.cmp(&b.name));
    peers
}

/// One peer.
pub(in crate::daemon) fn peer(
    view: &View<'_>,
    facts: &Facts,
    id: PeerId,
    entry: &PeerEntry,
) -> Peer {
    shown(view, facts, id, entry, &AuthFailures::read())
}

fn shown(
    view: &View<'_>,
    facts: &Facts,
    id: PeerId,
    entry: &PeerEntry,
    dropped: &AuthFailures,
) -> Peer {
    let clock = Clock::now();
    let status = entry.status();
    let wanted = &entry.wanted;
    let (since, since_seconds) = clock.past(status.since);
    let next = status.next_dial.filter(|_| status.negotiated.is_none() && !entry.disabled);
    let next = next.map(|at| clock.future(at));
    let families = status.negotiated.as_ref().map_or(&wanted.session.families, |n| &n.families);
    let families: Vec<FamilyCounts> =
        families.iter().map(|family| counts(view, id, entry, *family, &clock)).collect();
    Peer {
        name: wanted.rib.name.to_string(),
        address: wanted.address,
        port: wanted.port,
        as_number: match &status.negotiated {
            Some(agreed) => agreed.their_open.asn().map_or(0, Asn::get),
            None if wanted.session.any_external => 0,
            None => wanted.rib.asn.get(),
        },
        interface: wanted.link.as_deref().map(ToOwned::to_owned),
        kind: match (wanted.mesh, wanted.rib.kind) {
            _ if wanted.group.is_some() => Kind::Dynamic,
            (true, _) => Kind::Mesh,
            (false, PeerKind::ReflectorClient) => Kind::ReflectorClient,
            (false, PeerKind::External | PeerKind::Internal) => Kind::Peer,
        },
        state: match status.state {
            _ if entry.disabled => SessionState::Disabled,
            State::Established => SessionState::Established,
            _ if families.iter().any(|counts| counts.kept == Some(Kept::Restarting)) => {
                SessionState::Restarting
            }
            state => state.into(),
        },
        since,
        since_seconds,
        last_reason: of_drain(entry, &status, facts)
            .or_else(|| reason(entry, &status, dropped, &families, &clock))
            .or_else(|| {
                let name = &entry.wanted.rib.name;
                let mut refused = facts.claims.refused().iter().filter(|one| one.node == *name);
                refused.next().filter(|_| entry.wanted.mesh).map(ToString::to_string)
            }),
        next_attempt: next.map(|(at, _)| at),
        next_attempt_seconds: next.map(|(_, seconds)| seconds),
        flaps: status.flaps,
        families,
        messages: MessageCounts {
            received: message_types(entry.counters().received()),
            sent: message_types(entry.counters().sent()),
        },
        passive: wanted.session.passive,
        auth: auth(&wanted.protection),
        ttl_security: match wanted.protection.ttl {
            Ttl::Security(hops) => Some(hops),
            Ttl::Any | Ttl::Hops(_) => None,
        },
        local_as_number: wanted.rib.local_asn.map(Asn::get),
        timers: Timers {
            hold_time_seconds: wanted.session.hold_time.secs().into(),
            connect_retry_seconds: wanted.session.connect_retry.as_secs(),
            send_hold_seconds: wanted.session.send_hold.map(|limit| limit.as_secs()),
        },
        import_policy: Some(policy(&wanted.rib.import)),
        import_filters: filters(&wanted.rib.import),
        export_policy: Some(policy(&wanted.rib.export)),
        export_filters: filters(&wanted.rib.export),
        negotiated: negotiated(entry, &status, &clock).map(Box::new),
        bfd: bfd(entry.bfd(), &clock).map(Box::new),
        last_notification_sent: seen(status.last_sent.as_ref(), &clock),
        last_notification_received: seen(status.last_received.as_ref(), &clock),
    }
}

/// What signs the connections.
fn auth(protection: &Protection) -> Option<PeerAuth> {
    let kind = match &protection.key {
        Key::None => return None,
        Key::Md5(_) => AuthKind::Md5,
        Key::Ao(_) => AuthKind::Ao,
        Key::Missing(_) => AuthKind::Missing,
    };
    Some(PeerAuth { kind, source: protection.source.as_deref().map(str::to_owned) })
}

fn counts(
    view: &View<'_>,
    id: PeerId,
    entry: &PeerEntry,
    family: Family,
    clock: &Clock,
) -> FamilyCounts {
    let counts = view.rib.counts(id, family).unwrap_or_default();
    FamilyCounts {
        family: family.into(),
        received: counts.received,
        accepted: counts.accepted,
        rejected: counts.rejected,
        stale: counts.stale,
        kept: view.rib.stale(id, family).map(|why| match why {
            Stale::Restarting => Kept::Restarting,
            Stale::Owned => Kept::NodeObject,
            Stale::LongLived => Kept::LongLived,
        }),
        kept_seconds: view
            .kept_until(id, family)
            .filter(|_| counts.stale > 0)
            .map(|until| clock.future(until).1),
        advertised: counts.advertised,
        limit: entry.wanted.rib.limits.most[family.index()],
        end_of_rib: view.rib.is_synced(id),
    }
}

/// What is said of a peer of a node that has no sessions, since it was drained.
fn of_drain(entry: &PeerEntry, status: &PeerStatus, facts: &Facts) -> Option<String> {
    let is_over = facts.drain.as_ref().is_some_and(Report::has_no_sessions);
    (is_over && status.state != State::Established && !entry.disabled)
        .then(|| "this node is drained; `brindle undrain` ends that".to_owned())
}

/// Why the peer is not Established; of one that is, what of it is not used.
fn reason(
    entry: &PeerEntry,
    status: &PeerStatus,
    dropped: &AuthFailures,
    families: &[FamilyCounts],
    clock: &Clock,
) -> Option<String> {
    let rejected: usize = families.iter().map(|counts| counts.rejected).sum();
    let protection = &entry.wanted.protection;
    if entry.disabled {
        return Some("disabled by an operator; `brindle peers enable` undoes it".to_owned());
    }
    if status.state == State::Established {
        let of_limit: Vec<String> =
            families.iter().filter_map(|counts| near_limit(entry, counts)).collect();
        let unfiltered = |policy: &PeerPolicy| *policy == PeerPolicy::RefuseUnfiltered;
        let rib = &entry.wanted.rib;
        let is_silent = unfiltered(&rib.export).then(|| {
            "external peer without exportFilters: nothing is told to it (RFC 8212)".to_owned()
        });
        let why = match (unfiltered(&rib.import), rejected) {
            _ if !of_limit.is_empty() => Some(of_limit.join("; ")),
            (true, _) if is_silent.is_some() => Some(
                "external peer without importFilters and exportFilters: nothing is accepted from \
                 it or told to it (RFC 8212)"
                    .to_owned(),
            ),
            (true, _) => Some(
                "external peer without importFilters: nothing is accepted (RFC 8212)".to_owned(),
            ),
            _ if protection.trouble.is_some() => protection.trouble.clone(),
            (_, 0) => is_silent,
            (_, count) => {
                let refused = format!("{count} refused; see `brindle routes rejected`");
                Some(is_silent.into_iter().chain([refused]).collect::<Vec<_>>().join("; "))
            }
        };
        return match (why, lack(entry.bfd())) {
            (Some(why), Some(lack)) => Some(format!("{why}; {lack}")),
            (why, lack) => why.or(lack),
        };
    }
    let why = match (protection.refusal(), &status.last_dial_error, &status.last_reason) {
        (Some(refusal), _, _) => refusal.to_owned(),
        (None, Some(error), Some(reason)) if error != reason => format!("{reason}; now {error}"),
        (None, Some(error), _) => error.clone(),
        (None, None, Some(reason)) => reason.clone(),
        (None, None, None) if entry.wanted.session.passive => {
            "waiting for the peer to connect".to_owned()
        }
        (None, None, None) => "no answer yet".to_owned(),
    };
    // The kernel does not tell whose they were; of a peer that is left alone they are not.
    let suspicion = protection.suspicion(&dropped.since(&status.failures_before));
    let why = match suspicion.filter(|_| status.idle.is_none()) {
        Some(suspicion) => format!("{why} ({suspicion}; of all peers, while this one is down)"),
        None => why,
    };
    let why = match &status.idle {
        Some(idle) => {
            format!("idle for {}s more: {}; last: {why}", clock.future(idle.until).1, idle.why)
        }
        None => why,
    };
    let kept =
        [Kept::Restarting, Kept::NodeObject, Kept::LongLived].map(|why| keeping(families, why));
    Some([Some(why)].into_iter().chain(kept).flatten().collect::<Vec<_>>().join("; "))
}

/// What is kept for one reason, of all families.
fn keeping(families: &[FamilyCounts], why: Kept) -> Option<String> {
    let kept = || families.iter().filter(|counts| counts.kept == Some(why));
    let stale: usize = kept().map(|counts| counts.stale).sum();
    let seconds = kept().filter_map(|counts| counts.kept_seconds).max().unwrap_or(0);
    let (routes, stands) = match stale {
        0 => return None,
        1 => ("1 stale route".to_owned(), "its Node object stands"),
        _ => (format!("{stale} stale routes"), "their Node objects stand"),
    };
    Some(match why {
        Kept::Restarting => format!("keeping {routes} {seconds}s more"),
        Kept::NodeObject => format!("keeping {routes} while {stands}"),
        Kept::LongLived => format!("keeping {routes} as the last choice {seconds}s more"),
    })
}

/// A graceful restart capability as shown.
fn restart(capabilities: &[Capability]) -> Option<GracefulRestart> {
    capabilities.iter().rev().find_map(|capability| match capability {
        Capability::GracefulRestart(said) => Some(GracefulRestart {
            restart_time_seconds: said.restart_secs.into(),
            restarting: said.restarting,
            notification: said.notification,
            families: said.families.iter().map(|one| one.family.to_string()).collect(),
            forwarding: said
                .families
                .iter()
                .filter(|one| one.forwarding)
                .map(|one| one.family.to_string())
                .collect(),
        }),
        _ => None,
    })
}

/// What there is to say of a limit that the peer has come near to.
fn near_limit(entry: &PeerEntry, counts: &FamilyCounts) -> Option<String> {
    let limits = &entry.wanted.rib.limits;
    let family = counts.family.into();
    // What is kept of an earlier session counts for nothing in this one.
    let told = counts.received.saturating_sub(counts.stale);
    let most = limits.most[Family::index(family)]?;
    match limits.level(family, told)? {
        LimitLevel::Below => None,
        LimitLevel::Near => Some(format!("{told} of at most {most} {family} prefixes")),
        LimitLevel::Over => Some(format!("{told} {family} prefixes, more than the {most} allowed")),
    }
}

fn policy(policy: &PeerPolicy) -> PolicyKind {
    match policy {
        PeerPolicy::AcceptAll => PolicyKind::Everything,
        PeerPolicy::RefuseUnfiltered => PolicyKind::Nothing,
        PeerPolicy::Filters(_) => PolicyKind::Filters,
        PeerPolicy::Owned(_) | PeerPolicy::OwnedByNextHop(_) => PolicyKind::Owned,
        PeerPolicy::OriginatedOr(_) => PolicyKind::Originated,
    }
}

fn filters(policy: &PeerPolicy) -> Option<Vec<String>> {
    match policy {
        PeerPolicy::Filters(filters) => {
            Some(filters.iter().map(|filter| filter.name.to_string()).collect())
        }
        PeerPolicy::AcceptAll
        | PeerPolicy::RefuseUnfiltered
        | PeerPolicy::Owned(_)
        | PeerPolicy::OwnedByNextHop(_)
        | PeerPolicy::OriginatedOr(_) => None,
    }
}

fn message_types(counts: [u64; 5]) -> MessageTypes {
    let [open, update, notification, keepalive, route_refresh] = counts;
    MessageTypes { open, update, keepalive, notification, route_refresh }
}

fn negotiated(entry: &PeerEntry, status: &PeerStatus, clock: &Clock) -> Option<Negotiated> {
    let agreed = status.negotiated.as_ref()?;
    let (local, remote) = status.ends?;
    let ours = &*status.offered;
    let theirs = &agreed.their_open.capabilities;
    let words = |capabilities: &[Capability]| capabilities.iter().map(in_words).collect();
    let sent: Vec<String> = words(ours);
    let received: Vec<String> = words(theirs);
    let both = sent.iter().filter(|word| received.contains(word)).cloned().collect();
    Some(Negotiated {
        local,
        remote,
        dialled: agreed.direction == brindle_bgp::fsm::Direction::Dialled,
        peer_router_id: agreed.their_open.router_id.to_string(),
        hold_time_seconds: agreed.hold_time.secs().into(),
        keepalive_seconds: agreed.keepalive.map_or(0, |interval| interval.as_secs()),
        families: agreed.families.iter().map(|family| (*family).into()).collect(),
        add_paths: AddPaths {
            receive: with_paths(agreed.add_paths.receive),
            send: with_paths(agreed.add_paths.send),
        },
        capabilities_sent: sent,
        capabilities_received: received,
        capabilities_agreed: both,
        graceful_restart_sent: restart(ours),
        graceful_restart_received: restart(theirs),
        last_received_seconds: entry.counters().last_heard().map(|at| clock.past(at).1),
        out_queue_bytes: entry.counters().backlog.load(Ordering::Relaxed),
    })
}

/// The families that a direction is agreed for.
fn with_paths(agreed: [bool; 2]) -> Vec<FamilyName> {
    Family::ALL.into_iter().filter(|family| agreed[family.index()]).map(Into::into).collect()
}

/// A capability as an operator would say it; the same words on both sides mean agreement.
fn in_words(capability: &Capability) -> String {
    match capability {
        Capability::Multiprotocol(family) => format!("multiprotocol {family}"),
        Capability::RouteRefresh => "route refresh".to_owned(),
        Capability::ExtendedNextHop(_) => "extended next hop".to_owned(),
        Capability::ExtendedMessage => "extended message".to_owned(),
        // The same words would say that both are the same, which roles must not be.
        Capability::Role(role) => match Role::from_value(*role) {
            Some(role) => format!("role {role}"),
            None => format!("role {role}"),
        },
        Capability::GracefulRestart(_) => "graceful restart".to_owned(),
        Capability::FourOctetAsn(_) => "four-octet AS numbers".to_owned(),
        Capability::AddPaths(families) => {
            let able = |family: &AddPathFamily| match (family.receives(), family.sends()) {
                (true, true) => format!("{} both ways", family.family),
                (true, false) => format!("{} to receive", family.family),
                (false, true) => format!("{} to send", family.family),
                (false, false) => format!("{} value {}", family.family, family.able),
            };
            let families: Vec<String> = families.iter().map(able).collect();
            format!("additional paths ({})", families.join(", "))
        }
        Capability::EnhancedRouteRefresh => "enhanced route refresh".to_owned(),
        Capability::LongLivedRestart(_) => "long-lived graceful restart".to_owned(),
        Capability::Unknown { code, .. } => match code {
            8 => "multiple labels".to_owned(),
            73 => "host name".to_owned(),
            75 => "software version".to_owned(),
            128 => "route refresh (before its standard)".to_owned(),
            code => format!("capability {code}"),
        },
    }
}

fn seen(notification: Option<&(Notification, Instant)>, clock: &Clock) -> Option<NotificationSeen> {
    let (notification, at) = notification?;
    let (at, at_seconds) = clock.past(*at);
    Some(NotificationSeen {
        reason: notification.to_string(),
        code: notification.code,
        subcode: notification.subcode,
        at,
        at_seconds,
    })
}
