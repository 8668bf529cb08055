//! Protocols and ports of rules (policy-semantics 3.5).

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::ingest::doubt::Draft;
use crate::ingest::port::number;
use crate::ingest::shown;
use crate::model::{Holders, PortMatch, PortTerm, Protocol};

/// ICMP of IPv4.
pub(super) const ICMP: u8 = 1;
/// ICMP of IPv6.
pub(super) const ICMPV6: u8 = 58;

/// The protocols that have a name.
const NAMES: [(&str, u8); 6] =
    [("TCP", 6), ("UDP", 17), ("ICMP", ICMP), ("ICMPv6", ICMPV6), ("SCTP", 132), ("UDPLite", 136)];

/// What a port's name must look like to Calico, in words.
pub(super) const CALICO_PORT_NAMES: &str =
    "up to 128 letters, digits, \"_\", \".\" and \"-\", with a letter somewhere";

/// What the rule says of the packet's protocol.
#[derive(Clone, Copy)]
pub(super) enum Carried {
    /// Nothing.
    Any,
    /// That it is this one.
    Number(u8),
    /// Something that is not understood.
    Bad,
}

/// A protocol's number; the error says what is wrong and what would be accepted.
pub(super) fn protocol(typed: &IntOrString) -> Result<u8, String> {
    const ACCEPTED: &str = "accepted are TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite and 1 to 255";
    let of_number = |number: i64| {
        let fits = u8::try_from(number).ok().filter(|number| *number > 0);
        fits.ok_or_else(|| format!("{number} is not a protocol; {ACCEPTED}"))
    };
    match typed {
        IntOrString::Int(number) => of_number((*number).into()),
        IntOrString::String(name) => {
            if let Some((_, number)) = NAMES.iter().find(|(known, _)| known == name) {
                return Ok(*number);
            }
            if is_digits(name)
                && let Ok(number) = name.parse()
            {
                return of_number(number);
            }
            let meant = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            let hint = meant.map(|(known, _)| format!("; did you mean {known}?"));
            let hint = hint.unwrap_or_default();
            Err(format!("{} is not a protocol; {ACCEPTED}{hint}", shown(name)))
        }
    }
}

/// A protocol with ports; the error says what is wrong and what would be accepted.
pub(super) fn port_protocol(typed: &IntOrString) -> Result<Protocol, String> {
    Protocol::of_number(protocol(typed)?).ok_or_else(|| {
        let shown = match typed {
            IntOrString::Int(number) => number.to_string(),
            IntOrString::String(name) => shown(name),
        };
        format!("{shown} is not a protocol with ports; accepted are TCP, UDP and SCTP")
    })
}

/// A name of a port. Calico's own check takes names without a letter too, which only mistyped
/// numbers are.
pub(super) fn is_port_name(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    text.len() <= 128 && text.bytes().all(fits) && text.bytes().any(|b| b.is_ascii_alphabetic())
}

/// What the elements of `ports` or `notPorts` stand for.
pub(super) fn ports(
    typed: &[IntOrString],
    carried: Carried,
    negated: bool,
    field: &str,
    draft: &mut Draft<'_>,
) -> Vec<PortTerm> {
    let protocol = match carried {
        Carried::Any => None,
        Carried::Number(number) => match Protocol::of_number(number) {
            Some(protocol) => Some(protocol),
            None => {
                let message = format!(
                    "ports of protocol {number}, which has none; accepted are those of TCP, UDP \
                     and SCTP"
                );
                draft.bad(field, message);
                return Vec::new();
            }
        },
        // Said already, and nothing of the rule counts.
        Carried::Bad => return Vec::new(),
    };
    let mut terms = Vec::new();
    for (index, typed) in typed.iter().enumerate() {
        let field = format!("{field}[{index}]");
        match (port(typed), protocol) {
            (Ok(port), Some(protocol)) => terms.push(PortTerm { protocol, port }),
            (Ok(port @ PortMatch::Named(..)), None) => terms
                .extend(Protocol::ALL.map(|protocol| PortTerm { protocol, port: port.clone() })),
            (Ok(PortMatch::Range(..) | PortMatch::Any), None) => {
                let message = "a number in a rule without protocol; accepted is one with protocol \
                               TCP, UDP or SCTP";
                draft.bad_in_list(negated, field, message);
            }
            (Err(message), _) => draft.bad_in_list(negated, field, message),
        }
    }
    terms
}

/// `80`, `"80"`, `"8000:8080"` or `"http"`; the error says what is wrong and what would be
/// accepted.
fn port(typed: &IntOrString) -> Result<PortMatch, String> {
    let text = match typed {
        IntOrString::Int(port) => {
            let port = number(*port)?;
            return Ok(PortMatch::Range(port, port));
        }
        IntOrString::String(text) => text,
    };
    let of_digits = |digits: &str| -> Result<u16, String> {
        let port = digits.parse::<u16>().ok().filter(|port| *port > 0);
        port.ok_or_else(|| format!("{} is not a port; accepted are 1 to 65535", shown(digits)))
    };
    if is_digits(text) {
        let port = of_digits(text)?;
        return Ok(PortMatch::Range(port, port));
    }
    if let Some((first, last)) = text.split_once(':').filter(|(a, b)| is_digits(a) && is_digits(b))
    {
        let (first, last) = (of_digits(first)?, of_digits(last)?);
        if last < first {
            let message = format!("{} ends below its start", shown(text));
            return Err(format!("{message}; accepted is for instance \"{last}:{first}\""));
        }
        return Ok(PortMatch::Range(first, last));
    }
    if is_port_name(text) {
        return Ok(PortMatch::Named(text.as_str().into(), Holders::Endpoints));
    }
    let hint = match text.split_once('-').filter(|(a, b)| is_digits(a) && is_digits(b)) {
        Some((first, last)) => format!("; did you mean \"{first}:{last}\"?"),
        None => String::new(),
    };
    Err(format!(
        "{} is not a port; accepted are 1 to 65535, ranges such as \"8000:8080\", and names of \
         {CALICO_PORT_NAMES}{hint}",
        shown(text)
    ))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}
