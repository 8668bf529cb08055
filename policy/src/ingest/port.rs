//! Ports of rules (policy-semantics 2.5).

use k8s_openapi::api::networking::v1::NetworkPolicyPort;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::name::is_port_name;
use super::{Problems, shown};
use crate::model::{Holders, PortMatch, PortTerm, Protocol};

const FOLLOWS: &str = "this element of ports matches nothing";

/// What a port's name must look like, in words.
pub(super) const PORT_NAMES: &str = "up to 15 lower-case letters, digits and single \"-\", with \
                                     a letter somewhere and a letter or digit first and last";

/// What one element of `ports` stands for; `None` if it cannot be understood.
pub(super) fn port(
    typed: &NetworkPolicyPort,
    field: &str,
    problems: &mut Problems,
) -> Option<PortTerm> {
    let mut bad = |name: &str, message: String| {
        problems.add(format!("{field}.{name}"), format!("{message}; {FOLLOWS}"));
    };
    let protocol = protocol(typed.protocol.as_deref()).map_err(|message| bad("protocol", message));
    let port = ports(typed).map_err(|(name, message)| bad(name, message));
    Some(PortTerm { protocol: protocol.ok()?, port: port.ok()? })
}

/// A protocol as Kubernetes writes it; TCP if there is none. The error says what is wrong and what
/// would be accepted.
pub(super) fn protocol(typed: Option<&str>) -> Result<Protocol, String> {
    let Some(typed) = typed else { return Ok(Protocol::Tcp) };
    let found = Protocol::ALL.into_iter().find(|protocol| protocol.to_string() == typed);
    found.ok_or_else(|| {
        format!("{} is not a protocol with ports; accepted are TCP, UDP and SCTP", shown(typed))
    })
}

/// A port's number; the error says what is wrong and what would be accepted.
pub(super) fn number(typed: i32) -> Result<u16, String> {
    let number = u16::try_from(typed).ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("{typed} is not a port; accepted are 1 to 65535"))
}

/// Fails with the name of the field and what is wrong.
fn ports(typed: &NetworkPolicyPort) -> Result<PortMatch, (&'static str, String)> {
    let in_port = |message| ("port", message);
    let in_end = |message| ("endPort", message);
    match (&typed.port, typed.end_port) {
        (None, None) => Ok(PortMatch::Any),
        (None, Some(end)) => {
            Err(in_end(format!("{end} without port; accepted is a range with port as its start")))
        }
        (Some(IntOrString::Int(port)), None) => {
            let port = number(*port).map_err(in_port)?;
            Ok(PortMatch::Range(port, port))
        }
        (Some(IntOrString::Int(port)), Some(end)) => {
            let port = number(*port).map_err(in_port)?;
            let end = number(end).map_err(in_end)?;
            if end < port {
                let message = format!("{end} is below port {port}; accepted are {port} to 65535");
                return Err(in_end(message));
            }
            Ok(PortMatch::Range(port, end))
        }
        (Some(IntOrString::String(name)), Some(end)) => Err(in_end(format!(
            "{end} after the name {}; accepted is a range with a number as its port",
            shown(name)
        ))),
        (Some(IntOrString::String(name)), None) if is_port_name(name) => {
            Ok(PortMatch::Named(name.as_str().into(), Holders::Pods))
        }
        (Some(IntOrString::String(name)), None) => {
            let quoted = shown(name);
            Err(in_port(match name.parse::<u16>() {
                Ok(_) => format!("{quoted} is text; accepted is the number without quotes"),
                Err(_) => format!(
                    "{quoted} is not the name of a port; accepted are 1 to 65535 and {PORT_NAMES}"
                ),
            }))
        }
    }
}
