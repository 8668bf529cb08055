//! What an operator should know beside the reason why a session ended.

use std::fmt::Display;

use crate::msg::{Capability, Notification, Open};
use crate::net::{AfiSafi, Family, Role};

use super::{Down, PeerSettings};

/// What does not fit between both sides, where that is why the OPEN exchange ended.
/// `theirs` is the peer's last OPEN.
pub(super) fn advice(why: &Down, settings: &PeerSettings, theirs: Option<&Open>) -> Option<String> {
    let (is_sent, Notification { code, subcode, .. }) = match why {
        Down::Sent(notification) => (true, notification),
        Down::Received(notification) => (false, notification),
        Down::HoldTimerExpired
        | Down::SendHoldTimerExpired
        | Down::BfdDown(_)
        | Down::Tcp(_)
        | Down::Silent => {
            return None;
        }
    };
    let PeerSettings { local_asn, remote_asn, router_id, families, .. } = settings;
    match (code, subcode, is_sent) {
        (2, 2, true) => Some(match theirs?.asn() {
            Some(asn) if settings.any_external => {
                format!("the peer is in our own AS {asn}, configured is an external one")
            }
            Some(asn) => format!("the peer is in AS {asn}, configured is AS {remote_asn}"),
            None => "the peer says that it is in AS 0".to_owned(),
        }),
        (2, 2, false) => Some(format!("the peer does not expect us in AS {local_asn}")),
        (2, 3, true) => Some(format!("the peer has our own router id {router_id}")),
        (2, 3, false) => Some(format!("the peer does not accept our router id {router_id}")),
        (2, 11, true) => {
            let wanted = settings.external_role()?;
            let ours = format!("we are {wanted} to it and it must be {}", wanted.opposite());
            Some(format!("the peer says {}, {ours}", said_role(theirs?)))
        }
        (2, 11, false) => Some(match settings.external_role() {
            Some(role) => format!("the peer does not accept that we are {role} to it"),
            None => "the peer wants to know our role; set the peer's role".to_owned(),
        }),
        (2, 7, true) => {
            let theirs = list(offers(theirs?));
            Some(format!("the peer offers {theirs}, we offer {}", list(families)))
        }
        _ => None,
    }
}

fn said_role(open: &Open) -> String {
    let roles = open.capabilities.iter().filter_map(|capability| match capability {
        Capability::Role(value) => Some(match Role::from_value(*value) {
            Some(role) => format!("it is {role}"),
            None => format!("it has the unknown role {value}"),
        }),
        _ => None,
    });
    let roles: Vec<String> = roles.collect();
    if roles.is_empty() { "no role".to_owned() } else { roles.join(" and ") }
}

fn offers(open: &Open) -> Vec<AfiSafi> {
    let offers = open.capabilities.iter().filter_map(|capability| match capability {
        Capability::Multiprotocol(family) => Some(*family),
        _ => None,
    });
    let offers: Vec<AfiSafi> = offers.collect();
    if offers.is_empty() { vec![Family::Ipv4Unicast.into()] } else { offers }
}

fn list(items: impl IntoIterator<Item = impl Display>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(" and ")
}
