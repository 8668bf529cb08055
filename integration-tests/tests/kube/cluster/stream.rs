//! Traffic that goes on while something happens: a datagram each millisecond and one new
//! connection after the other from pod to pod, and datagrams to a pod that is closed.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use brindle::lab::{exec, netns};
use integration_tests::TestLab;
use nix::sys::socket::{setsockopt, sockopt};

const PORT: u16 = 9000;
/// How long a receiver waits for a datagram that is still on its way.
const TAIL: Duration = Duration::from_secs(2);
/// A connection that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// What became of it all.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Datagrams to the open pod.
    pub(crate) sent: u64,
    /// Those that arrived.
    pub(crate) arrived: u64,
    /// New connections.
    pub(crate) connections: u64,
    /// Those that failed.
    pub(crate) failed: Vec<String>,
    /// First packets of connections that had to be sent again.
    pub(crate) retried: u64,
    /// Datagrams that arrived in the closed pod.
    pub(crate) trespassed: u64,
}

/// Traffic that is under way.
pub(crate) struct Streams {
    stop: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    sender: JoinHandle<u64>,
    receiver: JoinHandle<u64>,
    closed: JoinHandle<u64>,
    caller: JoinHandle<(u64, Vec<String>)>,
    callee: JoinHandle<()>,
    place: String,
    retried_before: u64,
}

impl Streams {
    /// Starts it, from the pod `from`.
    pub(crate) fn start(lab: &TestLab, from: &str, to: &str, closed: &str) -> Self {
        let plan = lab.plan();
        let find = |name: &str| {
            let found = exec::find(&plan, name).expect("it is part of the lab");
            (found.namespace.to_owned(), found.addresses[0])
        };
        let (place, _) = find(from);
        let (to_place, to_address) = find(to);
        let (closed_place, closed_address) = find(closed);
        let (stop, ended) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();

        let receiver = receive(&to_place, to_address, &ended);
        let closed = receive(&closed_place, closed_address, &ended);
        let listener = netns::within(&to_place, || Ok(TcpListener::bind((to_address, PORT))?));
        let listener = listener.expect("a free port");
        listener.set_nonblocking(true).expect("it can wait");
        let callee = thread::spawn({
            let ended = ended.clone();
            move || {
                while !ended.load(Ordering::Relaxed) {
                    match listener.accept() {
                        Ok((mut stream, _)) => drop(stream.write_all(b"x")),
                        Err(_) => thread::sleep(Duration::from_millis(1)),
                    }
                }
            }
        });
        let socket = netns::within(&place, || Ok(UdpSocket::bind("0.0.0.0:0")?));
        let socket = socket.expect("a free port");
        let sender = thread::spawn({
            let stop = stop.clone();
            move || {
                let mut sent: u64 = 0;
                while !stop.load(Ordering::Relaxed) {
                    let text = sent.to_be_bytes();
                    socket.send_to(&text, (to_address, PORT)).expect("there is a route");
                    // one that is closed is dropped on the way, or refused on the spot
                    let _ = socket.send_to(&text, (closed_address, PORT));
                    sent += 1;
                    thread::sleep(Duration::from_millis(1));
                }
                sent
            }
        });
        let caller = thread::spawn({
            let (place, stop) = (place.clone(), stop.clone());
            let at = SocketAddr::new(to_address, PORT);
            move || netns::within(&place, || Ok(call(at, &stop))).expect("the pod is there")
        });
        let retried_before = retried(&place);
        Self { stop, ended, sender, receiver, closed, caller, callee, place, retried_before }
    }

    /// Lets it go on for a while.
    pub(crate) fn go_on(&self, span: Duration) {
        thread::sleep(span);
        assert!(!self.sender.is_finished() && !self.caller.is_finished(), "the traffic has ended");
    }

    /// Ends it.
    pub(crate) fn end(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().expect("the sender lives");
        let (connections, failed) = self.caller.join().expect("the caller lives");
        self.ended.store(true, Ordering::Relaxed);
        self.callee.join().expect("the callee lives");
        Seen {
            sent,
            arrived: self.receiver.join().expect("the receiver lives"),
            connections,
            failed,
            retried: retried(&self.place) - self.retried_before,
            trespassed: self.closed.join().expect("the receiver lives"),
        }
    }
}

/// Counts the datagrams that arrive, until nothing has come for a while after the end.
fn receive(place: &str, address: IpAddr, ended: &Arc<AtomicBool>) -> JoinHandle<u64> {
    let socket = netns::within(place, || Ok(UdpSocket::bind((address, PORT))?));
    let socket = socket.expect("a free port");
    // so that a busy machine loses none here; without the right to it, the usual must do
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &(16 << 20));
    socket.set_read_timeout(Some(TAIL)).expect("it can wait");
    let ended = ended.clone();
    thread::spawn(move || {
        let mut count = 0;
        let mut octets = [0; 16];
        loop {
            match socket.recv(&mut octets) {
                Ok(_) => count += 1,
                Err(_) if ended.load(Ordering::Relaxed) => return count,
                Err(_) => {}
            }
        }
    })
}

/// Makes one connection after the other; how many, and what was wrong with some.
fn call(at: SocketAddr, stop: &AtomicBool) -> (u64, Vec<String>) {
    let (mut count, mut failed) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        let answer = TcpStream::connect_timeout(&at, PATIENCE).and_then(|mut stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.read_exact(&mut [0; 1])
        });
        if let Err(error) = answer {
            failed.push(format!("connection {count} after {:?}: {error}", start.elapsed()));
        }
        count += 1;
        thread::sleep(Duration::from_millis(5));
    }
    (count, failed)
}

/// How many first packets of connections the pod has sent again.
fn retried(place: &str) -> u64 {
    let text =
        netns::within(place, || Ok(std::fs::read_to_string("/proc/thread-self/net/netstat")?));
    let text = text.expect("the kernel tells");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let at = names.split(' ').position(|name| name == "TCPSynRetrans").expect("Linux has it");
    values.split(' ').nth(at).and_then(|value| value.parse().ok()).expect("a number")
}
