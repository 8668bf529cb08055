//! What the session tests share: settings, messages and a short notation for actions.

pub(crate) mod shell;
pub(crate) mod simulation;

use std::time::Instant;

use brindle_bgp::fsm::{Action, Delivery, PeerSettings, WireId};
use brindle_bgp::msg::{Capability, HoldTime, Message, Notification, Open};
use brindle_bgp::net::{Asn, Family, RouterId};

pub(crate) fn asn(number: u32) -> Asn {
    Asn::new(number).expect("tests use legal numbers")
}

pub(crate) fn router_id(last: u32) -> RouterId {
    RouterId::new(0x0A00_0000 | last).expect("tests use legal identifiers")
}

pub(crate) fn hold(secs: u16) -> HoldTime {
    HoldTime::from_secs(secs).expect("tests use legal hold times")
}

/// Speaker 10.0.0.`id` in AS `local` towards a peer in AS `remote`.
pub(crate) fn settings(id: u32, local: u32, remote: u32) -> PeerSettings {
    PeerSettings::new(asn(local), router_id(id), asn(remote))
}

/// The OPEN of speaker 10.0.0.`id` in AS `number`, with both families.
pub(crate) fn open(id: u32, number: u32) -> Open {
    let mut capabilities: Vec<Capability> =
        Family::ALL.into_iter().map(|f| Capability::Multiprotocol(f.into())).collect();
    capabilities.push(Capability::FourOctetAsn(number));
    Open {
        my_as: asn(number).two_octets(),
        hold_time: hold(90),
        router_id: router_id(id),
        capabilities,
    }
}

/// Some instant: where virtual clocks begin.
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made up")]
pub(crate) fn epoch() -> Instant {
    Instant::now()
}

/// `OPEN`, `KEEPALIVE`, `6/7` and so on.
pub(crate) fn name(message: &Message) -> String {
    match message {
        Message::Open(_) => "OPEN".to_owned(),
        Message::Update(_) => "UPDATE".to_owned(),
        Message::EndOfRib(family) => format!("EoR {family}"),
        Message::Notification(Notification { code, subcode, .. }) => format!("{code}/{subcode}"),
        Message::Keepalive => "KEEPALIVE".to_owned(),
        Message::RouteRefresh(_) => "REFRESH".to_owned(),
    }
}

/// Actions in one line: `send 1 6/7, close 1, up 2`.
pub(crate) fn names(actions: &[Action]) -> String {
    let names = actions.iter().map(|action| match action {
        Action::Dial => "dial".to_owned(),
        Action::AbandonDial => "abandon".to_owned(),
        Action::Send(WireId(wire), message) => format!("send {wire} {}", name(message)),
        Action::Close(WireId(wire)) => format!("close {wire}"),
        Action::Up(WireId(wire), _) => format!("up {wire}"),
        Action::Down(why) => format!("down ({why})"),
        Action::Deliver(Delivery::Update(_)) => "deliver UPDATE".to_owned(),
        Action::Deliver(Delivery::EndOfRib(family)) => format!("deliver EoR {family}"),
        Action::Deliver(Delivery::Refresh(_)) => "deliver REFRESH".to_owned(),
    });
    names.collect::<Vec<_>>().join(", ")
}
