//! The programs that are measured, set up alike.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use integration_tests::agent::{self, Agent, Config};
use integration_tests::bird::Bird;
use integration_tests::gobgp::Gobgp;
use integration_tests::router::{Neighbor, Plan};
use integration_tests::{Host, skip};
use nix::unistd::Pid;

/// A program that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Brindle,
    Bird,
    Gobgp,
}

/// One that runs; ends when dropped.
pub(crate) enum Daemon {
    Brindle(Box<Agent>),
    Bird(Box<Bird>),
    Gobgp(Box<Gobgp>),
}

impl Program {
    pub(crate) const ALL: [Program; 3] = [Program::Brindle, Program::Bird, Program::Gobgp];

    /// Whether it can be started here; if not, why.
    pub(crate) fn is_there(self) -> Result<(), String> {
        let name = match self {
            Program::Brindle => {
                let binary = agent::binary();
                return match binary.is_file() {
                    true => Ok(()),
                    false => Err(format!("{} is not built", binary.display())),
                };
            }
            Program::Bird => "bird",
            Program::Gobgp => "gobgpd",
        };
        skip::find(name).map(drop).ok_or_else(|| format!("{name} is not installed"))
    }

    /// Whether it writes routes into the kernel by itself.
    pub(crate) fn installs(self) -> bool {
        self != Program::Gobgp
    }

    /// Starts it in AS 65001 with these neighbours, each with its AS.
    pub(crate) fn start(self, host: &Host, neighbors: &[(IpAddr, u32)], install: bool) -> Daemon {
        let plan = || Plan {
            asn: super::work::OUR_AS,
            neighbors: neighbors
                .iter()
                .map(|&(address, asn)| Neighbor {
                    address,
                    asn,
                    is_client: asn == super::work::OUR_AS,
                    keeps: false,
                })
                .collect(),
            originate: vec![],
        };
        match self {
            Program::Brindle => {
                let mut config = Config::new(super::work::OUR_AS);
                for (number, &(address, asn)) in neighbors.iter().enumerate() {
                    let more = match asn == super::work::OUR_AS {
                        true => ", passive: true, reflectorClient: true",
                        false => ", passive: true, importFilters: [], exportFilters: []",
                    };
                    config = config.line(&format!("p{number}"), &address.to_string(), asn, more);
                }
                let routes = format!("routes: {{install: {install}, forwarding: false}}");
                Daemon::Brindle(Box::new(Agent::start(host, &config.rest(&routes))))
            }
            Program::Bird => {
                let kernel = match install {
                    true => "protocol kernel { ipv4 { export where source = RTS_BGP; }; }\n",
                    false => "",
                };
                Daemon::Bird(Box::new(Bird::start_with(host, plan(), kernel)))
            }
            Program::Gobgp => Daemon::Gobgp(Box::new(Gobgp::start(host, plan()))),
        }
    }
}

impl Daemon {
    /// The process that does the work.
    pub(crate) fn pid(&mut self) -> Pid {
        match self {
            Daemon::Brindle(agent) => agent.process().pid(),
            Daemon::Bird(bird) => bird.process().pid(),
            Daemon::Gobgp(gobgp) => gobgp.process().pid(),
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Program::Brindle => "brindle",
            Program::Bird => "BIRD 2",
            Program::Gobgp => "GoBGP",
        })
    }
}

impl FromStr for Program {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "brindle" => Ok(Program::Brindle),
            "bird" => Ok(Program::Bird),
            "gobgp" => Ok(Program::Gobgp),
            _ => Err(format!("unknown program {text:?}; accepted: brindle, bird, gobgp")),
        }
    }
}
