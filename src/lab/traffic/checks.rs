//! Single connections that are expected to work, or to vanish: real packets for the lines of
//! an expectation file.
//!
//! A pod that has nothing listening on a port gets somebody who does for as long as the check
//! takes, so that what does not answer was dropped on the way.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;
use socket2::{Domain, Socket, Type};

use super::super::exec;
use super::super::netns;
use super::super::plan::Plan;
use super::super::state::Lab;
use super::{PATIENCE, icmp};

/// How soon a listener notices that it may stop.
const TICK: Duration = Duration::from_millis(50);
/// Checks that are made at a time.
const WORKERS: usize = 32;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Probe {
    /// A connection to this port.
    Tcp(u16),
    /// A datagram to this port and one back.
    Udp(u16),
    /// An echo request.
    Icmp,
}

/// A connection and what is expected of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Who begins: a pod, node or router of the lab.
    pub from: String,
    /// The address that it is sent to.
    pub to: IpAddr,
    /// What is sent.
    pub probe: Probe,
    /// Whether it is to be answered; else it is to vanish without a word.
    pub answered: bool,
}

/// What became of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Seen {
    /// It was answered.
    Answered,
    /// Nothing came back in time: dropped on the way.
    Silence,
    /// Somebody said no, or it could not be sent.
    Refused(String),
}

/// Makes all `checks`; those that do not come out as expected are made again until they do or
/// `limit` has passed since all were made once. What came of each, in their order.
///
/// # Errors
/// A namespace cannot be entered, or nobody can listen where it is needed.
pub fn run(lab: &Lab, checks: &[Check], limit: Duration) -> anyhow::Result<Vec<Seen>> {
    let plan = &lab.state.plan;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let work = || {
            listen_for(plan, checks, scope, &stop)?;
            // what vanishes takes its time: trying again is counted from the end of the first round
            let mut deadline = None;
            let mut seen: Vec<Option<Seen>> = vec![None; checks.len()];
            loop {
                let open: Vec<usize> = (0..checks.len())
                    .filter(|&i| seen[i].as_ref().is_none_or(|s| !is_as_expected(&checks[i], s)))
                    .collect();
                if open.is_empty() {
                    break;
                }
                for (index, result) in probe_all(plan, checks, &open)? {
                    seen[index] = Some(result);
                }
                if Instant::now() >= *deadline.get_or_insert_with(|| Instant::now() + limit) {
                    break;
                }
            }
            seen.into_iter().map(|s| s.context("a check was not made")).collect()
        };
        let done = work();
        stop.store(true, Ordering::Release);
        done
    })
}

/// Whether what was seen is what was expected.
pub fn is_as_expected(check: &Check, seen: &Seen) -> bool {
    *seen == if check.answered { Seen::Answered } else { Seen::Silence }
}

/// The namespace that has `address`: a pod's, node's or router's.
pub fn owner(plan: &Plan, address: IpAddr) -> Option<&str> {
    let name = exec::at(plan, address)?;
    exec::find(plan, &name).ok().map(|found| found.namespace)
}

/// Puts a listener wherever a check needs one and none is there.
fn listen_for<'scope>(
    plan: &Plan,
    checks: &[Check],
    scope: &'scope Scope<'scope, '_>,
    stop: &'scope AtomicBool,
) -> anyhow::Result<()> {
    let mut wanted: Vec<(IpAddr, Probe)> = checks.iter().map(|c| (c.to, c.probe)).collect();
    wanted.sort_unstable();
    wanted.dedup();
    for (address, probe) in wanted {
        let (Some(namespace), Probe::Tcp(port) | Probe::Udp(port)) = (owner(plan, address), probe)
        else {
            // kernels answer echo requests; what is not of the lab looks after itself
            continue;
        };
        let at = SocketAddr::new(address, port);
        let made = netns::within(namespace, || Ok(listen(at, matches!(probe, Probe::Tcp(_)))))?;
        match made {
            Ok(Listener::Tcp(listener)) => drop(scope.spawn(move || answer(&listener, stop))),
            Ok(Listener::Udp(socket)) => drop(scope.spawn(move || echo(&socket, stop))),
            // the pod has a server of its own
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot listen on {at} in {namespace}"));
            }
        }
    }
    Ok(())
}

enum Listener {
    Tcp(Socket),
    Udp(UdpSocket),
}

fn listen(at: SocketAddr, tcp: bool) -> io::Result<Listener> {
    if !tcp {
        let socket = UdpSocket::bind(at)?;
        socket.set_read_timeout(Some(TICK))?;
        return Ok(Listener::Udp(socket));
    }
    let listener = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
    listener.set_reuse_address(true)?;
    listener.bind(&at.into())?;
    listener.listen(128)?;
    listener.set_read_timeout(Some(TICK))?;
    Ok(Listener::Tcp(listener))
}

fn answer(listener: &Socket, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        if let Ok((mut stream, _)) = listener.accept() {
            // whoever asked has gone away if this fails
            let _ = stream.write_all(b"here\n");
        }
    }
}

fn echo(socket: &UdpSocket, stop: &AtomicBool) {
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Acquire) {
        if let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], peer);
        }
    }
}

fn probe_all(plan: &Plan, checks: &[Check], open: &[usize]) -> anyhow::Result<Vec<(usize, Seen)>> {
    let next = AtomicUsize::new(0);
    let worker = || -> anyhow::Result<Vec<(usize, Seen)>> {
        let mut done = Vec::new();
        while let Some(&index) = open.get(next.fetch_add(1, Ordering::Relaxed)) {
            let check = &checks[index];
            let namespace = exec::find(plan, &check.from)?.namespace;
            let result = netns::within(namespace, || Ok(send(check)))?;
            done.push((index, seen(result)));
        }
        Ok(done)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS.min(open.len())).map(|_| scope.spawn(worker)).collect();
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.join().unwrap_or_else(|p| std::panic::resume_unwind(p))?);
        }
        Ok(all)
    })
}

/// A number that no earlier echo request has had for long: one with the number of an earlier
/// one belongs to its connection, which goes on whatever policies say now.
fn fresh_number() -> usize {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    let begin = std::process::id() as usize * 997;
    begin + LAST.fetch_add(1, Ordering::Relaxed)
}

fn send(check: &Check) -> io::Result<()> {
    match check.probe {
        Probe::Tcp(port) => {
            let at = SocketAddr::new(check.to, port);
            let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            // a server of the pod's own may wait for us to speak first
            match stream.read(&mut [0; 16]) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(error),
                _ => Ok(()),
            }
        }
        Probe::Udp(port) => {
            let any: IpAddr = if check.to.is_ipv6() { [0; 16].into() } else { [0; 4].into() };
            let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
            socket.connect(SocketAddr::new(check.to, port))?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.send(b"there?")?;
            socket.recv(&mut [0; 64]).map(drop)
        }
        Probe::Icmp => icmp::echo(check.to, fresh_number()).map(drop),
    }
}

fn seen(result: io::Result<()>) -> Seen {
    match result {
        Ok(()) => Seen::Answered,
        Err(error) => match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Seen::Silence,
            _ => Seen::Refused(error.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_not_refusal() {
        for (result, want) in [
            (Ok(()), Seen::Answered),
            (Err(io::ErrorKind::TimedOut.into()), Seen::Silence),
            (Err(io::Error::from_raw_os_error(libc::EAGAIN)), Seen::Silence),
            (
                Err(io::Error::from_raw_os_error(libc::ECONNREFUSED)),
                Seen::Refused("Connection refused (os error 111)".to_owned()),
            ),
        ] {
            assert_eq!(seen(result), want);
        }
    }

    #[test]
    fn a_denied_connection_must_vanish_to_be_as_expected() {
        let check = |answered| Check {
            from: "a".to_owned(),
            to: [10, 0, 0, 1].into(),
            probe: Probe::Tcp(80),
            answered,
        };
        let refused = || Seen::Refused("no".to_owned());
        for (answered, seen, want) in [
            (true, Seen::Answered, true),
            (true, Seen::Silence, false),
            (true, refused(), false),
            (false, Seen::Silence, true),
            (false, Seen::Answered, false),
            (false, refused(), false),
        ] {
            assert_eq!(is_as_expected(&check(answered), &seen), want, "{answered} {seen:?}");
        }
    }
}
