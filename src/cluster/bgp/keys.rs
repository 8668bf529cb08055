//! Keys of sessions out of Secrets, and what they were while a Secret is away.
//!
//! What a Secret once held goes on being used while it is gone or wrong: a session that runs is
//! not ended for it, and whoever starts anew without a key does not speak at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use brindle_config::Secret as Octets;

use super::secret::NoData;
use super::{BgpObject, BgpObjects, DEFAULT, SecretRef};
use crate::speaker::{Key, Protection};

/// The last good key of each place, a Secret's name and a key of its data, that an object
/// names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Held(BTreeMap<(Arc<str>, Arc<str>), Octets>);

/// Why there is no key.
enum Lack {
    /// There is none.
    Absent(String),
    /// There is something that is none, or cannot be read.
    Unusable(String),
}

impl BgpObject {
    /// Where the key is that it names.
    pub(crate) fn secret(&self) -> Option<&SecretRef> {
        match self {
            BgpObject::Peer(peer) => peer.password.as_ref(),
            BgpObject::Configuration(one) if &*one.name == DEFAULT => one.mesh_password.as_ref(),
            BgpObject::Configuration(_) | BgpObject::Filter(_) | BgpObject::Secret(_) => None,
        }
    }
}

impl BgpObjects {
    /// Has sessions signed with the key at a place, which `field` of an object names.
    pub(super) fn sign(&self, field: &str, at: &SecretRef, protection: &mut Protection) {
        let place = (Arc::clone(&at.name), Arc::clone(&at.key));
        let found = self.key(at);
        protection.key = match (found, self.held.0.get(&place)) {
            (Ok(key), _) => Key::Md5(key),
            (Err(Lack::Absent(why) | Lack::Unusable(why)), Some(before)) => {
                protection.trouble = Some(format!("the key read before is used: {field}: {why}"));
                Key::Md5(before.clone())
            }
            (Err(Lack::Absent(_)), None) if at.optional => return,
            (Err(Lack::Absent(why) | Lack::Unusable(why)), None) => {
                Key::Missing(format!("{field}: {why}"))
            }
        };
        protection.source = Some(format!("Secret {}, key {}", at.name, at.key).into());
    }

    /// Keeps the keys that Secrets hold now, and of those that they do not hold any more the
    /// ones that an object still names. To be called once all of what changed was taken.
    pub(crate) fn remember_keys(&mut self) {
        let configured = self.configurations.get(DEFAULT);
        let configured = configured.and_then(|all| all.mesh_password.as_ref());
        let of_peers = self.peers.values().filter_map(|peer| peer.password.as_ref());
        let named: BTreeSet<&SecretRef> = of_peers.chain(configured).collect();
        let mut held = BTreeMap::new();
        for at in named {
            let place = (Arc::clone(&at.name), Arc::clone(&at.key));
            let key = self.key(at).ok().or_else(|| self.held.0.get(&place).cloned());
            held.extend(key.map(|key| (place, key)));
        }
        self.held.0 = held;
    }

    /// The key at a place.
    fn key(&self, at: &SecretRef) -> Result<Octets, Lack> {
        let SecretRef { name, key, .. } = at;
        // Of an API server only those of our own namespace are known.
        let mut named = self.secrets.values().filter(|secret| secret.name == *name);
        let Some(secret) = named.next() else {
            return Err(Lack::Absent(format!("there is no Secret {name} with its password")));
        };
        if let Some(other) = named.next() {
            let (one, other) = (&secret.namespace, &other.namespace);
            let why = format!("there are two Secrets {name}, in {one} and in {other}");
            return Err(Lack::Unusable(why));
        }
        let data = match &secret.data {
            Ok(data) => data,
            Err(NoData::Absent(why)) => return Err(Lack::Absent(why.clone())),
            Err(NoData::Unreadable(why)) => return Err(Lack::Unusable(why.clone())),
        };
        let Some(octets) = data.get(&**key) else {
            let why = format!("Secret {name} has no key {key:?} for its password");
            return Err(Lack::Absent(why));
        };
        Octets::new(octets)
            .map_err(|bad| Lack::Unusable(format!("key {key:?} of Secret {name} {bad}")))
    }
}
