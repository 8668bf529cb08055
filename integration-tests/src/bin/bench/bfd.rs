//! 200 BFD sessions at 50 ms while the agent takes in a full table: is one taken for lost?

use std::fmt;
use std::io::Write;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use brindle::bfd::{Handle, Report, Wanted};
use brindle_bgp::bfd::{Intervals, Path, Settings, State};
use integration_tests::agent::{Agent, Config};
use integration_tests::load;

use super::usage::{Cost, Meter};
use super::work::{Bench, DAEMON, peer};

const SESSIONS: usize = 200;
const INTERVAL: Duration = Duration::from_millis(50);
const LIMIT: Duration = Duration::from_secs(120);

/// What came of it.
pub(crate) struct Outcome {
    prefixes: usize,
    /// While nothing else happens, for ten seconds.
    idle: Cost,
    /// While the table comes in.
    busy: Cost,
    /// Sessions that each side took for lost.
    failures: [u64; 2],
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |cost: &Cost| 100.0 * cost.cpu.as_secs_f64() / cost.wall.as_secs_f64();
        writeln!(
            f,
            "\n{SESSIONS} BFD sessions at {INTERVAL:?} x3: {:.1} % of a core while nothing happens; \
             {} prefixes came in within {:.2} s; taken for lost: {} by the agent, {} by its peers",
            share(&self.idle),
            self.prefixes,
            self.busy.wall.as_secs_f64(),
            self.failures[0],
            self.failures[1],
        )
    }
}

/// Measures it.
pub(crate) fn measure(prefixes: usize) -> anyhow::Result<Outcome> {
    let bench = Bench::new(SESSIONS + 1);
    let mut config = Config::new(super::work::OUR_AS);
    for number in 0..=SESSIONS {
        let more = ", passive: true, importFilters: [], exportFilters: [], \
                    bfd: {transmitInterval: 50ms, receiveInterval: 50ms}";
        let more = if number == SESSIONS { more.split(", bfd").next() } else { Some(more) };
        let address = peer(number).to_string();
        config = config.line(&format!("p{number}"), &address, 65002, more.unwrap_or_default());
    }
    let routes = "routes: {install: false, forwarding: false}";
    let mut agent = Agent::start(&bench.daemon, &config.rest(routes));

    let intervals = Intervals {
        transmit: INTERVAL,
        receive: INTERVAL,
        multiplier: NonZeroU8::new(3).context("three is not zero")?,
    };
    let reports: Vec<Arc<Report>> = (0..SESSIONS).map(|_| Arc::default()).collect();
    let wanted = reports.iter().enumerate().map(|(number, report)| Wanted {
        peer: IpAddr::from(DAEMON),
        source: Some(peer(number).into()),
        interface: None,
        is_far: false,
        settings: Settings { intervals, path: Path::SingleHop, graceful_restart: true },
        report: Arc::clone(report),
    });
    let wanted = wanted.collect();
    let mut peers = Handle::default();
    bench.peers.inside(|| peers.set(wanted));
    let is_up =
        |report: &&Arc<Report>| report.status().seen.is_some_and(|seen| seen.state == State::Up);
    let all_up = || match reports.iter().filter(is_up).count() {
        SESSIONS => Ok(()),
        up => Err(format!("{up} of {SESSIONS} BFD sessions are up")),
    };
    load::wait(LIMIT, all_up).map_err(anyhow::Error::msg)?;

    let pid = agent.process().pid();
    let meter = Meter::start(pid);
    std::thread::sleep(Duration::from_secs(10));
    let idle = meter.stop();
    let octets = load::table(prefixes, 65002, peer(SESSIONS));
    let sender = load::establish(&bench.peers, peer(SESSIONS), DAEMON.into(), 65002);
    let mut sender = sender.map_err(anyhow::Error::msg)?;
    let meter = Meter::start(pid);
    sender.write_all(&octets)?;
    let name = format!("p{SESSIONS}");
    load::wait(LIMIT, || {
        let families = agent.peer(&name)["families"].clone();
        let received = families[0]["received"].as_u64().unwrap_or(0);
        let is_there = usize::try_from(received).is_ok_and(|received| received >= prefixes);
        if is_there { Ok(()) } else { Err(format!("{received} of {prefixes} prefixes arrived")) }
    })
    .map_err(anyhow::Error::msg)?;
    let busy = meter.stop();

    let shown = agent.ask(&["peers"]).context("the agent does not answer")?;
    let items = shown["items"].as_array().context("peers are a list")?;
    let ours: u64 = items.iter().filter_map(|peer| peer["bfd"]["failures"].as_u64()).sum();
    let theirs: u64 = reports.iter().map(|report| report.status().failures).sum();
    if let Err(missing) = all_up() {
        bail!("afterwards only {missing}");
    }
    Ok(Outcome { prefixes, idle, busy, failures: [ours, theirs] })
}
