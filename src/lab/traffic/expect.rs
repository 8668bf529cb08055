//! A file of expectations held against real packets.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use brindle_policy::Protocol;
use comfy_table::{Table, presets};
use serde::Serialize;

use super::super::plan::Plan;
use super::super::state::Lab;
use super::checks::{self, Check, Probe, Seen};
use crate::control::view::Outcome;
use crate::expect::{Asked, Expectations};
use crate::flow::{End, Service};

/// A port for "any port": one that no rule is likely to name.
const ANY_PORT: u16 = 61_999;

/// What `lab test --expect` found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `brindle.dev/v1alpha1`.
    pub api_version: &'static str,
    /// `LabExpectations`.
    pub kind: &'static str,
    /// Every connection that was tried.
    pub connections: Vec<Connection>,
    /// What packets cannot show, with the reason.
    pub left_out: Vec<String>,
    /// Whether every connection came out as expected.
    pub passed: bool,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// The test that asks for it.
    pub test: String,
    /// Who began.
    pub from: String,
    /// With whom.
    pub to: String,
    /// At this address.
    pub address: IpAddr,
    /// To what there.
    pub service: String,
    /// What is expected.
    pub expected: Outcome,
    /// What became of it.
    pub seen: Seen,
    /// Whether that is the same.
    pub passed: bool,
}

/// Sends a packet for each expectation; those that fail are tried again for up to `limit`.
///
/// # Errors
/// An end is not part of the lab, or nothing could be tried.
pub fn run(lab: &Lab, file: &Expectations, limit: Duration) -> anyhow::Result<Report> {
    let plan = &lab.state.plan;
    let mut planned = Vec::new();
    let mut left_out = Vec::new();
    for test in &file.tests {
        let at = || format!("{}:{}: \"{}\"", file.file.display(), test.line, test.name);
        if test.direction != Asked::Both {
            left_out.push(format!("{}: packets do not show one direction alone", at()));
            continue;
        }
        for (from, to, service) in test.flows() {
            let probes = match service {
                None => vec![Probe::Tcp(ANY_PORT), Probe::Udp(ANY_PORT), Probe::Icmp],
                Some(Service::Icmp) => vec![Probe::Icmp],
                Some(Service::Port(Protocol::Tcp, port)) => {
                    vec![Probe::Tcp(port.unwrap_or(ANY_PORT))]
                }
                Some(Service::Port(Protocol::Udp, port)) => {
                    vec![Probe::Udp(port.unwrap_or(ANY_PORT))]
                }
                Some(Service::Port(Protocol::Sctp, _)) => {
                    left_out.push(format!("{}: SCTP is not sent", at()));
                    continue;
                }
            };
            let name = name(plan, from).with_context(at)?;
            let all = addresses(plan, to).with_context(at)?;
            let own = addresses(plan, from).with_context(at)?;
            for address in all {
                // without an address of this family there is nobody to send
                if !own.iter().any(|own| own.is_ipv4() == address.is_ipv4()) {
                    continue;
                }
                for probe in &probes {
                    let answered = test.expect == Outcome::Allowed;
                    let from = name.clone();
                    let check = Check { from, to: address, probe: *probe, answered };
                    planned.push((test, from_to(&name, to), check));
                }
            }
        }
    }
    if planned.is_empty() {
        bail!("{} asks for nothing that packets can show", file.file.display());
    }
    let all: Vec<Check> = planned.iter().map(|(.., check)| check.clone()).collect();
    let seen = checks::run(lab, &all, limit)?;
    let connections: Vec<Connection> = planned
        .into_iter()
        .zip(seen)
        .map(|((test, (from, to), check), seen)| Connection {
            test: test.name.clone(),
            from,
            to,
            address: check.to,
            service: match check.probe {
                Probe::Tcp(port) => format!("{port}/tcp"),
                Probe::Udp(port) => format!("{port}/udp"),
                Probe::Icmp => "icmp".to_owned(),
            },
            expected: test.expect,
            passed: checks::is_as_expected(&check, &seen),
            seen,
        })
        .collect();
    let passed = connections.iter().all(|connection| connection.passed);
    let api_version = "brindle.dev/v1alpha1";
    Ok(Report { api_version, kind: "LabExpectations", connections, left_out, passed })
}

fn from_to(from: &str, to: &End) -> (String, String) {
    (from.to_owned(), to.to_string())
}

/// What the lab calls the one who begins.
fn name(plan: &Plan, end: &End) -> anyhow::Result<String> {
    let name = match end {
        End::Pod(key) => key.to_string(),
        End::Node(name) => format!("node/{name}"),
        End::Address(address) => {
            let found = super::super::exec::at(plan, *address);
            return found.with_context(|| format!("nobody in this lab has {address}"));
        }
    };
    super::super::exec::find(plan, &name)?;
    Ok(name)
}

/// Where one end can be reached.
fn addresses(plan: &Plan, end: &End) -> anyhow::Result<Vec<IpAddr>> {
    let name = match end {
        End::Address(address) => return Ok(vec![*address]),
        End::Pod(key) => key.to_string(),
        End::Node(name) => format!("node/{name}"),
    };
    Ok(super::super::exec::find(plan, &name)?.addresses)
}

/// One line for each connection, and the sum.
pub fn render(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["", "FROM", "TO", "ADDRESS", "SERVICE", "EXPECTED", "SEEN"]);
    for connection in &report.connections {
        let expected = match connection.expected {
            Outcome::Allowed => "allowed",
            Outcome::Denied => "denied",
        };
        let seen = match &connection.seen {
            Seen::Answered => "answered".to_owned(),
            Seen::Silence => "time-out".to_owned(),
            Seen::Refused(why) => format!("refused: {why}"),
        };
        table.add_row([
            if connection.passed { "ok" } else { "FAIL" },
            &connection.from,
            &connection.to,
            &connection.address.to_string(),
            &connection.service,
            expected,
            &seen,
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text: String = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    for line in &report.left_out {
        text += &format!("left out  {line}\n");
    }
    let failed = report.connections.iter().filter(|c| !c.passed).count();
    let sum = if failed == 0 {
        "all as expected".to_owned()
    } else {
        format!("{failed} not as expected")
    };
    text + &format!("{} connections: {sum}\n", report.connections.len())
}
