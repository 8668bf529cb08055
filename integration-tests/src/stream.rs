//! Traffic that goes on while something happens: a datagram each millisecond.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

use crate::netns::Netns;
use crate::wait::{SOON, met, until};

/// How long a receiver waits for a datagram that is still on its way.
const TAIL: Duration = Duration::from_millis(500);

const GAP: Duration = Duration::from_millis(1);

/// Datagrams that are under way from one namespace to another.
#[derive(Debug)]
pub struct Stream {
    name: String,
    stop: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    sender: JoinHandle<Sent>,
    receiver: JoinHandle<Vec<u64>>,
}

#[derive(Debug)]
struct Sent {
    count: u64,
    /// Those that the kernel would not take, and why: it had no route.
    refused: Vec<String>,
}

impl Stream {
    /// Starts it towards `address`, which `to` has, once a first one has arrived.
    ///
    /// # Panics
    /// If none arrives.
    pub fn start(from: &Arc<Netns>, to: &Arc<Netns>, address: IpAddr) -> Self {
        let receiver = to.inside(|| UdpSocket::bind((address, 0)).expect("the address is its own"));
        let at: SocketAddr = receiver.local_addr().expect("it is bound");
        // So that a busy machine loses none here; without the right to it, the usual must do.
        let _ = setsockopt(&receiver, sockopt::RcvBufForce, &(16 << 20));
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let sender = from.inside(|| UdpSocket::bind(any).expect("a free port"));
        receiver.set_read_timeout(Some(Duration::from_millis(20))).expect("it can wait");
        let name = format!("{} to {at}", from.name());
        until(&format!("a datagram from {name}"), SOON, || {
            let sent = sender.send_to(&u64::MAX.to_be_bytes(), at);
            met(receiver.recv(&mut [0; 8]).is_ok(), || format!("{sent:?}"))
        });
        receiver.set_read_timeout(Some(TAIL)).expect("it can wait");
        let (stop, ended) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
        let sender = thread::spawn({
            let stop = stop.clone();
            move || send(&sender, at, &stop)
        });
        let receiver = thread::spawn({
            let ended = ended.clone();
            move || receive(&receiver, &ended)
        });
        Self { name, stop, ended, sender, receiver }
    }

    /// Ends it and says which datagrams were lost; at least `least` must have been sent.
    ///
    /// # Panics
    /// If there were fewer, so that nothing was seen.
    pub fn lost(self, least: u64) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let Sent { count, refused } = self.sender.join().expect("the sender lives");
        self.ended.store(true, Ordering::Relaxed);
        let mut arrived = self.receiver.join().expect("the receiver lives");
        assert!(count >= least, "{}: only {count} were sent", self.name);
        arrived.sort_unstable();
        let mut lost = refused;
        let missing = (0..count).filter(|number| arrived.binary_search(number).is_err());
        lost.extend(missing.map(|number| format!("{}: number {number} of {count}", self.name)));
        lost
    }
}

fn send(socket: &UdpSocket, at: SocketAddr, stop: &AtomicBool) -> Sent {
    let mut sent = Sent { count: 0, refused: Vec::new() };
    let begin = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if let Err(error) = socket.send_to(&sent.count.to_be_bytes(), at) {
            sent.refused.push(format!("number {} to {at}: {error}", sent.count));
        }
        sent.count += 1;
        // By the clock, so that a late turn is made up for.
        let due = GAP * u32::try_from(sent.count).unwrap_or(u32::MAX);
        thread::sleep(due.saturating_sub(begin.elapsed()));
    }
    sent
}

/// What arrives, until nothing has come for a while after the end.
fn receive(socket: &UdpSocket, ended: &AtomicBool) -> Vec<u64> {
    let (mut arrived, mut octets) = (Vec::new(), [0; 8]);
    loop {
        match socket.recv(&mut octets) {
            Ok(_) => arrived.push(u64::from_be_bytes(octets)),
            Err(_) if ended.load(Ordering::Relaxed) => return arrived,
            Err(_) => {}
        }
    }
}
