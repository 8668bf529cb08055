//! The work that is measured.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use integration_tests::{Host, Netns, load};

use super::daemon::Program;
use super::usage::{Cost, Meter};

/// The AS of the daemon, and of its reflector clients.
pub(crate) const OUR_AS: u32 = 65001;

/// Nothing here takes longer, unless it hangs.
const LIMIT: Duration = Duration::from_secs(600);

/// The daemon's namespace, the peers', and the cable between.
pub(crate) struct Bench {
    pub(crate) daemon: Host,
    pub(crate) peers: Arc<Netns>,
}

pub(crate) const DAEMON: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);

impl Bench {
    /// With peers at 10.9.1.1, 10.9.1.2 and so on.
    pub(crate) fn new(count: usize) -> Self {
        let daemon = Netns::new("daemon").expect("namespaces can be made");
        let peers = Netns::new("peers").expect("namespaces can be made");
        daemon.cable("eth0", &peers, "eth0").expect("both are new");
        let v6 = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1);
        daemon.add_address("eth0", &format!("{DAEMON}/16")).expect("it is new");
        daemon.add_address("eth0", &format!("{v6}/64")).expect("it is new");
        for number in 0..count {
            peers.add_address("eth0", &format!("{}/16", peer(number))).expect("it is new");
        }
        Self { daemon: Host { netns: daemon, v4: DAEMON, v6 }, peers }
    }
}

pub(crate) fn peer(number: usize) -> Ipv4Addr {
    let number = u8::try_from(number / 250).ok().zip(u8::try_from(number % 250).ok());
    let (high, low) = number.expect("at most 62,500 peers");
    Ipv4Addr::new(10, 9, 1 + high, 1 + low)
}

/// One peer sends `count` prefixes, another receives them.
pub(crate) fn pass_on(program: Program, count: usize) -> Result<Cost, String> {
    let bench = Bench::new(2);
    let neighbors = [(peer(0).into(), 65002), (peer(1).into(), 65003)];
    let mut daemon = program.start(&bench.daemon, &neighbors, false);
    let octets = load::table(count, 65002, peer(0));
    let heard = load::count(load::establish(&bench.peers, peer(1), DAEMON.into(), 65003)?);
    let mut sender = load::establish(&bench.peers, peer(0), DAEMON.into(), 65002)?;

    let meter = Meter::start(daemon.pid());
    sender.write_all(&octets).map_err(|error| format!("the sender was cut off: {error}"))?;
    load::wait(LIMIT, || {
        let heard = heard.announced();
        if heard >= count { Ok(()) } else { Err(format!("{heard} of {count} prefixes arrived")) }
    })?;
    Ok(meter.stop())
}

/// Of a table that was passed on, a part goes, comes again and changes; then its sender is
/// lost. Each kind of work until the receiver has heard of all of it, with what it cost.
pub(crate) fn churn(
    program: Program,
    count: usize,
    part: usize,
) -> Vec<(String, Result<Cost, String>)> {
    let mut costs = Vec::new();
    let bench = Bench::new(2);
    let neighbors = [(peer(0).into(), 65002), (peer(1).into(), 65003)];
    let mut daemon = program.start(&bench.daemon, &neighbors, false);
    let mut run = || -> Result<(), String> {
        let heard = load::count(load::establish(&bench.peers, peer(1), DAEMON.into(), 65003)?);
        let mut sender = load::establish(&bench.peers, peer(0), DAEMON.into(), 65002)?;
        let mut told = (0, 0);
        let mut step = |octets: Option<Vec<u8>>, withdrawn: usize, announced: usize| {
            told = (told.0 + withdrawn, told.1 + announced);
            let meter = Meter::start(daemon.pid());
            match octets {
                Some(octets) => sender.write_all(&octets),
                None => sender.shutdown(std::net::Shutdown::Both),
            }
            .map_err(|error| format!("the sender was cut off: {error}"))?;
            load::wait(LIMIT, || {
                let heard = (heard.withdrawn(), heard.announced());
                match heard.0 >= told.0 && heard.1 >= told.1 {
                    true => Ok(()),
                    false => Err(format!("heard of {heard:?}, not {told:?}")),
                }
            })?;
            Ok::<Cost, String>(meter.stop())
        };
        step(Some(load::table(count, 65002, peer(0))), 0, count)?;
        let of = format!("{part} of {count}");
        let steps = [
            (format!("{of} withdrawn"), Some(load::withdrawal(part)), part, 0),
            (format!("{of} announced"), Some(load::table(part, 65002, peer(0))), 0, part),
            (format!("{of} changed"), Some(load::changed_table(part, 65002, peer(0))), 0, part),
            (format!("peer with {count} lost"), None, count, 0),
        ];
        for (what, octets, withdrawn, announced) in steps {
            costs.push((what, Ok(step(octets, withdrawn, announced)?)));
        }
        Ok(())
    };
    if let Err(why) = run() {
        costs.push((format!("changes among {count} prefixes"), Err(why)));
    }
    costs
}

/// One peer sends `count` prefixes, the daemon writes them into the kernel.
pub(crate) fn install(program: Program, count: usize) -> Result<Cost, String> {
    let bench = Bench::new(1);
    let mut daemon = program.start(&bench.daemon, &[(peer(0).into(), 65002)], true);
    let octets = load::table(count, 65002, peer(0));
    let mut sender = load::establish(&bench.peers, peer(0), DAEMON.into(), 65002)?;

    let meter = Meter::start(daemon.pid());
    sender.write_all(&octets).map_err(|error| format!("the sender was cut off: {error}"))?;
    load::wait(LIMIT, || {
        let routes = bench.daemon.netns.inside(routes);
        if routes >= count { Ok(()) } else { Err(format!("{routes} of {count} routes are there")) }
    })?;
    Ok(meter.stop())
}

/// How many IPv4 prefixes the main table of the calling thread's namespace has.
fn routes() -> usize {
    let stat = std::fs::read_to_string("/proc/thread-self/net/fib_triestat").unwrap_or_default();
    let main = stat.split("Local:").next().unwrap_or_default();
    let line = main.lines().find_map(|line| line.trim().strip_prefix("Prefixes:"));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// `count` reflector clients send two prefixes each and hear those of all others.
pub(crate) fn reflect(program: Program, count: usize) -> Result<Cost, String> {
    let bench = Bench::new(count);
    let neighbors: Vec<(IpAddr, u32)> =
        (0..count).map(|number| (peer(number).into(), OUR_AS)).collect();
    let mut daemon = program.start(&bench.daemon, &neighbors, false);
    let mut senders = Vec::new();
    let mut heard = Vec::new();
    for number in 0..count {
        let stream = load::establish(&bench.peers, peer(number), DAEMON.into(), OUR_AS)?;
        let reader = stream.try_clone().map_err(|error| error.to_string())?;
        senders.push((stream, load::two(number, peer(number))));
        heard.push(load::count(reader));
    }

    let meter = Meter::start(daemon.pid());
    for (stream, octets) in &mut senders {
        stream.write_all(octets).map_err(|error| format!("a client was cut off: {error}"))?;
    }
    let wanted = 2 * (count - 1);
    load::wait(LIMIT, || {
        let missing = heard.iter().filter(|heard| heard.announced() < wanted).count();
        if missing == 0 { Ok(()) } else { Err(format!("{missing} clients miss prefixes")) }
    })?;
    Ok(meter.stop())
}
