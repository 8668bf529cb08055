//! Both sides dial at once (RFC 4271 §6.8): one session is left, and the right one where
//! the RFC names it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use integration_tests::agent::{Agent, Config};
use integration_tests::octets::{KEEPALIVE, message, open};
use integration_tests::rawpeer::RawPeer;
use integration_tests::wait::{SOON, met};
use integration_tests::{Host, Lan, skip, until};

/// Peers that collide with us: each has an address of its own in one namespace.
struct Crowd {
    // Held: the link goes with it.
    _lan: Lan,
    us: Host,
    them: Host,
    listener: TcpListener,
    agent: Agent,
}

const COUNT: u8 = 100;

fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 0, 100 + number)
}

fn crowd() -> Crowd {
    let lan = Lan::new();
    let (us, them) = (lan.host("n1", 50), lan.host("crowd", 2));
    let mut config = Config::new(65001);
    for number in 0..COUNT {
        let address = address(number);
        them.netns.add_address("eth0", &format!("{address}/24")).expect("it is new");
        let name = format!("p{number}");
        config = config.line(
            &name,
            &address.to_string(),
            65002,
            ", importFilters: [], exportFilters: []",
        );
    }
    let listener = them.netns.inside(|| TcpListener::bind("0.0.0.0:179")).expect("it is free");
    let agent = Agent::start(&us, &config);
    Crowd { _lan: lan, us, them, listener, agent }
}

/// The two connections with one peer.
struct Collision {
    number: u8,
    /// The one that brindle opened.
    theirs: RawPeer,
    /// The one that the test opened.
    ours: RawPeer,
}

impl Crowd {
    /// For each peer: takes brindle's connection and opens one of its own right away.
    fn collide(&self) -> Vec<Collision> {
        let mut collisions: Vec<Collision> = Vec::new();
        while collisions.len() < usize::from(COUNT) {
            let (stream, _) = self.listener.accept().expect("brindle dials every peer");
            let SocketAddr::V4(local) = stream.local_addr().expect("connected") else { continue };
            let number = local.ip().octets()[3] - 100;
            if collisions.iter().any(|collision| collision.number == number) {
                continue;
            }
            let to = SocketAddr::new(self.us.v4.into(), 179);
            let from = SocketAddr::new(address(number).into(), 0);
            let ours = RawPeer::dial_from(&self.them, from, to).expect("brindle listens");
            let theirs = RawPeer::on(stream).expect("connected");
            collisions.push(Collision { number, theirs, ours });
        }
        collisions
    }
}

/// Has an OPEN come?
fn is_open(peer: &RawPeer) -> bool {
    peer.messages().iter().any(|message| message.kind == 1)
}

/// Has a KEEPALIVE come, and no NOTIFICATION?
fn is_up(peer: &RawPeer) -> bool {
    let messages = peer.messages();
    !peer.is_closed() && messages.iter().any(|message| message.kind == KEEPALIVE)
}

fn pseudo_random(seed: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(seed | 1), |x| {
        let x = x ^ (x << 13);
        let x = x ^ (x >> 7);
        Some(x ^ (x << 17))
    })
}

#[test]
fn of_a_hundred_random_collisions_each_leaves_one_session() {
    if !skip::can_run("of_a_hundred_random_collisions_each_leaves_one_session", &[]) {
        return;
    }
    let crowd = crowd();
    let collisions = crowd.collide();
    std::thread::scope(|scope| {
        for collision in &collisions {
            scope.spawn(move || {
                let mut dice = pseudo_random(u64::from(collision.number) * 7919 + 17).skip(5);
                let mut pause = || {
                    let micros = dice.next().unwrap_or(0) % 20_000;
                    std::thread::sleep(Duration::from_micros(micros));
                };
                // Identifiers above and below that of brindle, 10.9.0.50.
                let id = Ipv4Addr::new(10, 9, 0, if collision.number % 2 == 0 { 1 } else { 99 });
                let mut both = [&collision.theirs, &collision.ours];
                if collision.number % 3 == 0 {
                    both.reverse();
                }
                for peer in both {
                    pause();
                    // brindle may have closed this one already: then the other stays.
                    let _ = peer.send(&open(65002, id, 90));
                }
                for peer in both {
                    pause();
                    let _ = peer.send(&message(KEEPALIVE, &[]));
                }
            });
        }
    });
    for Collision { number, theirs, ours } in &collisions {
        until(&format!("collision {number} leaves one session"), SOON, || {
            let up = [is_up(theirs), is_up(ours)].iter().filter(|up| **up).count();
            let closed = [theirs.is_closed(), ours.is_closed()].iter().filter(|x| **x).count();
            met((up, closed) == (1, 1), || {
                format!("up {up}, closed {closed}; theirs {theirs:?}; ours {ours:?}")
            })
        });
    }
    for number in 0..COUNT {
        let peer = crowd.agent.up(&format!("p{number}"));
        assert_eq!(peer["flaps"], 0, "{peer}");
    }
}

#[test]
fn a_collision_before_either_session_is_up_is_won_by_the_higher_identifier() {
    let test = "a_collision_before_either_session_is_up_is_won_by_the_higher_identifier";
    if !skip::can_run(test, &[]) {
        return;
    }
    let crowd = crowd();
    let collisions = crowd.collide();
    for Collision { number, theirs, ours } in &collisions {
        // Both connections are in OpenConfirm before a KEEPALIVE is sent on either.
        let is_higher = number % 2 == 0;
        let id = Ipv4Addr::new(10, 9, 0, if is_higher { 99 } else { 1 });
        theirs.send(&open(65002, id, 90)).expect("nothing collided yet");
        until("brindle's OPEN on its connection", SOON, || met(is_open(theirs), String::new));
        let _ = ours.send(&open(65002, id, 90));
        let (winner, loser) = if is_higher { (ours, theirs) } else { (theirs, ours) };
        until(&format!("the loser of collision {number} is closed"), SOON, || {
            met(loser.is_closed(), || format!("{loser:?}, winner {winner:?}"))
        });
        assert!(!winner.is_closed(), "collision {number}: {winner:?}");
        let reason = loser.notification().map(|(code, subcode, _)| (code, subcode));
        assert_eq!(reason, Some((6, 7)), "collision {number}");
        winner.send(&message(KEEPALIVE, &[])).expect("it won");
        until(&format!("the winner of {number} is up"), SOON, || {
            met(is_up(winner), || format!("{winner:?}"))
        });
    }
}
