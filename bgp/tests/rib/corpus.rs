//! The corpora of the fuzz targets `rib` and `message`, through the RIB.

#![expect(clippy::disallowed_methods, reason = "a test reads its files")]

use std::fs;
use std::path::PathBuf;

use crate::hostile::{PEERS, check, update};

fn files(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let read = |entry: std::io::Result<fs::DirEntry>| fs::read(entry.unwrap().path()).unwrap();
    let all: Vec<_> = fs::read_dir(folder).unwrap().map(read).collect();
    assert!(!all.is_empty(), "{target}: an empty corpus");
    all
}

#[test]
fn whatever_peers_send_others_hear_what_is_right() {
    for input in files("rib") {
        check(&input);
    }
}

/// Each UPDATE alone, then all of them one after the other, from each kind of peer.
#[test]
fn odd_updates_of_any_peer_are_passed_on_rightly_or_not_at_all() {
    const UPDATE: u8 = 2;
    let all = files("message");
    let bodies = all.iter().filter_map(|file| match &file[..] {
        [_, UPDATE, body @ ..] => Some(body),
        _ => None,
    });
    let bodies: Vec<&[u8]> = bodies.collect();
    assert!(bodies.len() > 10, "{} UPDATEs", bodies.len());
    for number in 0..PEERS {
        bodies.iter().for_each(|body| check(&update(number, body)));
        let each = |body: &&[u8]| update(number, body);
        check(&bodies.iter().flat_map(each).collect::<Vec<u8>>());
    }
}
