//! Keys on listening sockets: there before a peer's connection is, so that an unsigned one
//! never begins.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use brindle_bgp::net::{Family, Prefix};

use super::ao::Step;
use super::{AoKey, Key, no_ao, no_md5, options};

/// The keys that listening sockets have for those who connect.
#[derive(Debug, Default)]
pub(in crate::speaker) struct ListenerKeys {
    set: BTreeMap<Place, Key>,
}

/// Whose connections a key is for, and the interface of those that are link-local.
pub(in crate::speaker) type Place = (Prefix, Option<Arc<str>>);

/// A listening socket: its address, and the interface of one that is link-local.
pub(in crate::speaker) type At<S> = (IpAddr, Option<Arc<str>>, S);

impl ListenerKeys {
    /// Gives the sockets these keys for those who connect from these prefixes, and no others.
    /// Answers for each why it could not be set: whoever comes from there must not be spoken to.
    pub(in crate::speaker) fn follow<S: AsFd>(
        &mut self,
        wanted: &[(Place, Key)],
        sockets: &[At<S>],
    ) -> Vec<Option<String>> {
        // Where one goes there is room for another.
        self.forget_others(wanted, sockets);
        let unset = std::mem::take(&mut self.set);
        let mut refusals = Vec::new();
        for (peers, key) in wanted {
            let before = unset.get(peers).unwrap_or(&Key::None);
            let mut refused = None;
            if key != before {
                each(sockets, peers, |socket| {
                    if let Err(why) = install(socket, peers.0, before, key) {
                        refused = Some(why);
                    }
                });
            }
            match (&refused, key) {
                (None, Key::Md5(_) | Key::Ao(_)) => {
                    self.set.insert(peers.clone(), key.clone());
                }
                (None, Key::None | Key::Missing(_)) => {}
                (Some(_), _) => each(sockets, peers, |socket| forget(socket, peers.0, key)),
            }
            refusals.push(refused);
        }
        refusals
    }
}

impl ListenerKeys {
    /// Takes the keys off the sockets that are not among these.
    pub(in crate::speaker) fn forget_others<S: AsFd>(
        &mut self,
        wanted: &[(Place, Key)],
        sockets: &[At<S>],
    ) {
        self.set.retain(|peers, key| {
            let stays = wanted.iter().any(|(other, new)| other == peers && is_same_kind(new, key));
            if !stays {
                each(sockets, peers, |socket| forget(socket, peers.0, key));
            }
            stays
        });
    }

    /// Gives a new socket on a link the keys that there are for that link. Where that fails, the
    /// peer cannot connect, and is dialled.
    pub(in crate::speaker) fn arm(&self, socket: &impl AsFd, link: &Arc<str>) {
        for ((peers, of_link), key) in &self.set {
            if of_link.as_ref() == Some(link) {
                let _ = install(socket, *peers, &Key::None, key);
            }
        }
    }
}

fn is_same_kind(one: &Key, other: &Key) -> bool {
    matches!((one, other), (Key::Md5(_), Key::Md5(_)) | (Key::Ao(_), Key::Ao(_)))
}

/// A peer on a link connects to the socket of that link, or to one that is everywhere.
fn each<S: AsFd>(sockets: &[At<S>], (peers, link): &Place, mut deed: impl FnMut(&S)) {
    for (address, of_link, socket) in sockets {
        let of_family = Family::of(*address) == Family::of(peers.address());
        let is_everywhere = link.is_some() && address.is_unspecified();
        if of_family && (of_link == link || is_everywhere) {
            deed(socket);
        }
    }
}

/// Puts `key` on a listening socket that has `before` for these peers. MD5 keys are replaced
/// in one step; of TCP-AO, what stays is never away.
pub(super) fn install(
    socket: &impl AsFd,
    peers: Prefix,
    before: &Key,
    key: &Key,
) -> Result<(), String> {
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

/// Takes a connection with `peer` from one list of keys to another.
pub(super) fn carry_out(steps: &[Step<'_>], socket: &impl AsFd, peer: IpAddr) -> io::Result<()> {
    steps.iter().try_for_each(|step| match step {
        Step::Add(key) => options::add_ao(socket, Prefix::host(peer), key, false),
        Step::AskFor(recv_id) => options::ask_for_ao(socket, *recv_id),
        Step::Delete { ids, instead } => remove(socket, peer, *ids, *instead),
    })
}

/// Removes a key from a connection. One that was accepted has the keys of its listening socket,
/// each for the prefix that it was for there, which is part of what names it.
fn remove(socket: &impl AsFd, peer: IpAddr, ids: (u8, u8), instead: (u8, u8)) -> io::Result<()> {
    let mut place = Prefix::host(peer);
    loop {
        let removed = options::delete_ao(socket, place, ids, Some(instead));
        let is_elsewhere = |error: &io::Error| error.raw_os_error() == Some(nix::libc::ENOENT);
        match (removed, place.parent()) {
            (Err(error), Some(wider)) if is_elsewhere(&error) => place = wider,
            (removed, _) => return removed,
        }
    }
}
