//! Keys on listening sockets: there before a peer's connection is, so that an unsigned one
//! never begins.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;

use brindle_bgp::net::{Family, Prefix};

use super::ao::Step;
use super::{AoKey, Key, no_ao, no_md5, options};

/// The keys that listening sockets have for those who connect.
#[derive(Debug, Default)]
pub(in crate::speaker) struct ListenerKeys {
    set: BTreeMap<Prefix, Key>,
}

impl ListenerKeys {
    /// Gives the sockets these keys for those who connect from these prefixes, and no others.
    /// Answers for each why it could not be set: whoever comes from there must not be spoken to.
    pub(in crate::speaker) fn follow<S: AsFd>(
        &mut self,
        wanted: &[(Prefix, Key)],
        sockets: &[(IpAddr, S)],
    ) -> Vec<Option<String>> {
        let mut unset = std::mem::take(&mut self.set);
        // Where one goes there is room for another.
        unset.retain(|peers, key| {
            let stays = wanted.iter().any(|(other, new)| other == peers && is_same_kind(new, key));
            if !stays {
                each(sockets, *peers, |socket| forget(socket, *peers, key));
            }
            stays
        });
        let mut refusals = Vec::new();
        for (peers, key) in wanted {
            let before = unset.get(peers).unwrap_or(&Key::None);
            let mut refused = None;
            if key != before {
                each(sockets, *peers, |socket| {
                    if let Err(why) = install(socket, *peers, before, key) {
                        refused = Some(why);
                    }
                });
            }
            match (&refused, key) {
                (None, Key::Md5(_) | Key::Ao(_)) => {
                    self.set.insert(*peers, key.clone());
                }
                (None, Key::None | Key::Missing(_)) => {}
                (Some(_), _) => each(sockets, *peers, |socket| forget(socket, *peers, key)),
            }
            refusals.push(refused);
        }
        refusals
    }
}

fn is_same_kind(one: &Key, other: &Key) -> bool {
    matches!((one, other), (Key::Md5(_), Key::Md5(_)) | (Key::Ao(_), Key::Ao(_)))
}

fn each<S: AsFd>(sockets: &[(IpAddr, S)], peers: Prefix, mut deed: impl FnMut(&S)) {
    let of_family = |address: &IpAddr| Family::of(*address) == Family::of(peers.address());
    sockets.iter().filter(|(address, _)| of_family(address)).for_each(|(_, s)| deed(s));
}

/// Puts `key` on a listening socket that has `before` for these peers. MD5 keys are replaced
/// in one step; of TCP-AO, what stays is never away.
fn install(socket: &impl AsFd, peers: Prefix, before: &Key, key: &Key) -> Result<(), String> {
    match (before, key) {
        (_, Key::Md5(secret)) => {
            options::md5(socket, peers, secret.octets()).map_err(|error| no_md5(&error))
        }
        (before, Key::Ao(want)) => {
            let have: &[AoKey] = if let Key::Ao(have) = before { have } else { &[] };
            let gone = have.iter().filter(|key| !want.contains(key));
            let fresh = || want.iter().filter(|key| !have.contains(key));
            gone.into_iter()
                .try_for_each(|key| options::delete_ao(socket, peers, key.ids(), None))
                .and_then(|()| {
                    fresh().try_for_each(|key| options::add_ao(socket, peers, key, false))
                })
                .map_err(|error| no_ao(&error))
        }
        (_, Key::None | Key::Missing(_)) => Ok(()),
    }
}

/// Takes a key off a listening socket. What is not there cannot be taken off, which is as good.
fn forget(socket: &impl AsFd, peers: Prefix, key: &Key) {
    match key {
        Key::Md5(_) => {
            let _ = options::md5(socket, peers, &[]);
        }
        Key::Ao(keys) => {
            for key in keys {
                let _ = options::delete_ao(socket, peers, key.ids(), None);
            }
        }
        Key::None | Key::Missing(_) => {}
    }
}

/// Takes a connection from one list of keys to another.
pub(super) fn carry_out(steps: &[Step<'_>], socket: &impl AsFd, peers: Prefix) -> io::Result<()> {
    steps.iter().try_for_each(|step| match step {
        Step::Add(key) => options::add_ao(socket, peers, key, false),
        Step::AskFor(recv_id) => options::ask_for_ao(socket, *recv_id),
        Step::Delete { ids, instead } => options::delete_ao(socket, peers, *ids, Some(*instead)),
    })
}
