//! Peers as rows, and one peer as a screen.

use std::fmt::Write;

use super::bfd;
use super::table::{Column, Row, Shown, number, text};
use super::text::{Tone, age, amount, list, or_dash, paint};
use crate::control::view::{
    AuthKind, GracefulRestart, MessageTypes, NotificationSeen, Peer, SessionState,
};
use crate::visible::visible;

impl Shown for Peer {
    fn columns(is_wide: bool) -> Vec<Column> {
        let mut columns = vec![
            text("NAME"),
            text("ADDRESS"),
            text("AS"),
            text("KIND"),
            text("STATE"),
            text("SINCE"),
            number("RX"),
            number("ACC"),
            number("TX"),
            number("MSG/FLAPS"),
        ];
        if is_wide {
            columns.extend([number("REJ"), text("FAMILIES"), text("ROUTER ID"), text("HOLD")]);
            columns.extend([text("BFD"), text("AUTH")]);
        }
        columns.push(text("LAST REASON"));
        columns
    }

    fn rows(&self, is_wide: bool) -> Vec<Row> {
        let is_up = self.state == SessionState::Established;
        let totals = self.totals();
        let count = |count: usize| if is_up { count.to_string() } else { "-".to_owned() };
        let received = match totals.stale {
            0 => count(totals.received),
            _ => format!("{}*", totals.received),
        };
        let messages = self.messages.received.total() + self.messages.sent.total();
        let mut cells = vec![
            self.name.clone(),
            address(self),
            asn(self),
            self.kind.to_string(),
            self.state.to_string(),
            age(self.since_seconds),
            received,
            if totals.stale > 0 { totals.accepted.to_string() } else { count(totals.accepted) },
            count(totals.advertised),
            format!("{}/{}", amount(messages), amount(self.flaps)),
        ];
        if is_wide {
            let agreed = self.negotiated.as_deref();
            cells.extend([
                count(totals.rejected),
                or_dash(agreed.map(|agreed| list(&agreed.families))),
                or_dash(agreed.map(|agreed| &agreed.peer_router_id)),
                or_dash(agreed.map(|agreed| off_or(agreed.hold_time_seconds))),
                or_dash(self.bfd.as_deref().map(|bfd| bfd.state)),
                auth(self),
            ]);
        }
        cells.push(reason(self));
        vec![Row::new(cells).tone(4, tone(self.state))]
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

/// `10.0.0.250`, `fe80::1%eth1`, or `eth1` while nobody is found there.
fn address(peer: &Peer) -> String {
    match &peer.interface {
        Some(interface) if peer.address.is_unspecified() => interface.clone(),
        Some(interface) => format!("{}%{interface}", peer.address),
        None => peer.address.to_string(),
    }
}

fn asn(peer: &Peer) -> String {
    if peer.as_number == 0 { "external".to_owned() } else { peer.as_number.to_string() }
}

/// What protects the connections: `md5`, `ttl 1`, `md5, ttl 1`; `-` if nothing does.
fn auth(peer: &Peer) -> String {
    let signed = peer.auth.as_ref().map(|auth| auth.kind.to_string());
    let near = peer.ttl_security.map(|hops| format!("ttl {hops}"));
    let all: Vec<String> = signed.into_iter().chain(near).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(", ") }
}

/// Why things are not as good as they could be; `-` if they are.
fn reason(peer: &Peer) -> String {
    let rejected = peer.totals().rejected;
    match &peer.last_reason {
        Some(reason) => match peer.next_attempt_seconds {
            // An agent may say so itself.
            Some(ahead) if !reason.contains("next attempt") && !reason.starts_with("idle for") => {
                format!("{reason}; next attempt in {}", age(ahead))
            }
            _ => reason.clone(),
        },
        None if rejected > 0 => {
            format!("{rejected} refused; see: brindle routes rejected {}", peer.name)
        }
        None => "-".to_owned(),
    }
}

fn tone(state: SessionState) -> Tone {
    match state {
        SessionState::Established => Tone::Good,
        SessionState::Disabled
        | SessionState::Restarting
        | SessionState::OpenSent
        | SessionState::OpenConfirm => Tone::Middling,
        SessionState::Idle | SessionState::Connect | SessionState::Active => Tone::Bad,
    }
}

/// What one side says of graceful restart.
fn restart(said: &GracefulRestart) -> String {
    let mut words = vec![format!("waited for {}s", said.restart_time_seconds)];
    if said.families.is_empty() {
        words.push("keeps routes of others, asks for none to be kept".to_owned());
    } else {
        words.push(list(&said.families));
    }
    if said.notification {
        words.push("also after a NOTIFICATION".to_owned());
    }
    if said.restarting {
        words.push("has restarted".to_owned());
    }
    if !said.forwarding.is_empty() {
        words.push(format!("went on forwarding {}", list(&said.forwarding)));
    }
    words.join(", ")
}

fn off_or(seconds: u64) -> String {
    if seconds == 0 { "off".to_owned() } else { format!("{seconds}s") }
}

/// Everything about one peer.
pub(super) fn screen(peer: &Peer, color: bool) -> String {
    let mut out = String::new();
    let mut line = |title: &str, value: &str| {
        writeln!(out, "  {title:<14}{}", visible(value)).expect("a String takes everything");
    };
    line("address", &format!("{} port {}, AS {}", address(peer), peer.port, asn(peer)));
    line("kind", &peer.kind.to_string());
    if let Some(reason) = &peer.last_reason {
        line("last reason", reason);
    } else if peer.totals().rejected > 0 {
        line("last reason", &reason(peer));
    }
    if let (Some(at), Some(ahead)) = (&peer.next_attempt, peer.next_attempt_seconds) {
        line("next attempt", &format!("in {}, {at}", age(ahead)));
    }
    if peer.passive {
        line("passive", "we never dial it, only wait for it");
    }
    if let Some(asn) = peer.local_as_number {
        line("our AS there", &asn.to_string());
    }
    if let Some(auth) = &peer.auth {
        let key = match auth.kind {
            AuthKind::Md5 => "TCP MD5",
            AuthKind::Ao => "TCP-AO",
            AuthKind::Missing => "there is no key, so it is not spoken to",
        };
        let from = auth.source.as_ref().map(|source| format!(", from {source}"));
        line("signed", &format!("{key}{}", from.unwrap_or_default()));
    }
    if let Some(hops) = peer.ttl_security {
        line("ttl security", &format!("packets from farther off than {hops} hops are dropped"));
    }
    for (title, filters, policy) in [
        ("import", &peer.import_filters, peer.import_policy),
        ("export", &peer.export_filters, peer.export_policy),
    ] {
        line(title, &filters.as_ref().map_or_else(|| or_dash(policy), list));
    }
    if let Some(agreed) = peer.negotiated.as_deref() {
        let who = if agreed.dialled { "dialled by us" } else { "dialled by the peer" };
        line("connection", &format!("{} to {}, {who}", agreed.local, agreed.remote));
        line("router id", &agreed.peer_router_id);
        let heard =
            agreed.last_received_seconds.map(|ago| format!(", last heard {} ago", age(ago)));
        let times = format!(
            "hold {}, keepalive {}{}",
            off_or(agreed.hold_time_seconds),
            off_or(agreed.keepalive_seconds),
            heard.unwrap_or_default()
        );
        line("timers", &times);
        line("families", &list(&agreed.families));
        let paths = &agreed.add_paths;
        for (title, families) in [("paths in", &paths.receive), ("paths out", &paths.send)] {
            if !families.is_empty() {
                line(title, &format!("several of a prefix: {}", list(families)));
            }
        }
        line("we offer", &list(&agreed.capabilities_sent));
        line("peer offers", &list(&agreed.capabilities_received));
        line("agreed", &list(&agreed.capabilities_agreed));
        if let Some(said) = &agreed.graceful_restart_sent {
            line("restart, we", &restart(said));
        }
        if let Some(said) = &agreed.graceful_restart_received {
            line("restart, peer", &restart(said));
        }
        line("waiting", &format!("{} octets to be written", agreed.out_queue_bytes));
    } else {
        let retry = peer.timers.connect_retry_seconds;
        let hold = off_or(peer.timers.hold_time_seconds);
        line("timers", &format!("hold {hold} offered, connect retry {retry}s"));
    }
    for (title, value) in peer.bfd.as_deref().map(bfd::lines).unwrap_or_default() {
        line(title, &value);
    }
    for family in &peer.families {
        let synced = if family.end_of_rib { ", complete" } else { "" };
        let most = family.limit.map(|most| format!(" of at most {most}")).unwrap_or_default();
        let counts = format!(
            "{} received{most}, {} accepted, {} refused, {} advertised{synced}",
            family.received, family.accepted, family.rejected, family.advertised
        );
        let counts = match family.stale {
            0 => counts,
            stale => match family.kept_seconds {
                Some(left) => {
                    format!("{counts}, {stale} kept from the last session for {left}s more")
                }
                None => format!("{counts}, {stale} kept from the last session"),
            },
        };
        line(&family.family.to_string(), &counts);
    }
    line("received", &messages(&peer.messages.received));
    line("sent", &messages(&peer.messages.sent));
    line("flaps", &peer.flaps.to_string());
    let notification =
        |seen: &NotificationSeen| format!("{}, {} ago", seen.reason, age(seen.at_seconds));
    if let Some(seen) = &peer.last_notification_sent {
        line("last sent", &notification(seen));
    }
    if let Some(seen) = &peer.last_notification_received {
        line("last received", &notification(seen));
    }
    let state = paint(&peer.state.to_string(), tone(peer.state), color);
    format!("{}   {state} for {}\n{out}", visible(&peer.name), age(peer.since_seconds))
}

fn messages(types: &MessageTypes) -> String {
    let MessageTypes { open, update, keepalive, notification, route_refresh } = types;
    format!(
        "{open} OPEN, {update} UPDATE, {keepalive} KEEPALIVE, {notification} NOTIFICATION, {route_refresh} ROUTE-REFRESH"
    )
}
