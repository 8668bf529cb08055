//! Keys of the TCP authentication option (RFC 5925), and how one follows the other on a
//! connection that lives on.

use brindle_config::{AoAlgorithm, Secret};

/// A master key tuple (RFC 5925 §3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AoKey {
    /// The KeyID in what we send.
    pub send_id: u8,
    /// The KeyID in what the peer sends.
    pub recv_id: u8,
    /// How it signs.
    pub algorithm: AoAlgorithm,
    /// The key itself.
    pub secret: Secret,
}

impl AoKey {
    /// What the kernel calls the algorithm.
    pub(super) fn kernel_name(&self) -> &'static str {
        match self.algorithm {
            AoAlgorithm::HmacSha1 => "hmac(sha1)",
            AoAlgorithm::AesCmac => "cmac(aes128)",
        }
    }

    pub(super) fn ids(&self) -> (u8, u8) {
        (self.send_id, self.recv_id)
    }
}

/// A step from one list of keys to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step<'k> {
    /// Add this one.
    Add(&'k AoKey),
    /// Ask the peer to sign with the key of this recvID; we follow what it asks of us.
    AskFor(u8),
    /// Remove the key of these sendID and recvID; where it is in use, that of `instead` is.
    Delete { ids: (u8, u8), instead: (u8, u8) },
}

/// The steps from `have` to `want`, whose first key is the preferred one; `None` if there is no
/// way that a connection survives: nothing stays, or a key changed under its identifiers, which
/// a connection may not see (RFC 5925 §3.1).
///
/// New keys come before the peer is asked to use one, and old ones go last, so that at no
/// moment a segment of either side has no key.
pub(super) fn steps<'k>(have: &[AoKey], want: &'k [AoKey]) -> Option<Vec<Step<'k>>> {
    let preferred = want.first()?;
    let stays = |key: &&AoKey| want.contains(key);
    let clashes = have
        .iter()
        .filter(|key| !want.contains(key))
        .any(|old| want.iter().any(|new| new.send_id == old.send_id || new.recv_id == old.recv_id));
    if clashes || !have.iter().any(|key| stays(&key)) {
        return None;
    }
    let mut steps: Vec<Step> =
        want.iter().filter(|key| !have.contains(key)).map(Step::Add).collect();
    if have.first() != Some(preferred) {
        steps.push(Step::AskFor(preferred.recv_id));
    }
    let gone = have.iter().filter(|key| !stays(key));
    steps.extend(gone.map(|key| Step::Delete { ids: key.ids(), instead: preferred.ids() }));
    Some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u8, secret: &str) -> AoKey {
        let secret = Secret::new(secret.as_bytes()).unwrap();
        AoKey { send_id: id, recv_id: id + 100, algorithm: AoAlgorithm::HmacSha1, secret }
    }

    #[test]
    fn a_second_key_follows_the_first_without_a_moment_without_any() {
        let (old, new) = (key(1, "old"), key(2, "new"));
        let both = [old.clone(), new.clone()];
        let turned = [new.clone(), old.clone()];
        let ask = |id| Step::AskFor(id);
        let delete =
            |id, instead| Step::Delete { ids: (id, id + 100), instead: (instead, instead + 100) };
        for (have, want, steps) in [
            // The three edits of a rollover.
            (&both[..1], &both[..], vec![Step::Add(&new)]),
            (&both, &turned, vec![ask(102)]),
            (&turned, &turned[..1], vec![delete(1, 2)]),
            // In one edit less.
            (&both[..1], &turned, vec![Step::Add(&new), ask(102)]),
            (&both, &turned[..1], vec![ask(102), delete(1, 2)]),
            (&both, &both[..1], vec![delete(2, 1)]),
            (&both, &both, vec![]),
        ] {
            assert_eq!(super::steps(have, want), Some(steps), "{have:?} to {want:?}");
        }
    }

    #[test]
    fn a_key_that_changes_under_its_number_starts_the_session_anew() {
        let (old, new, changed) = (key(1, "old"), key(2, "new"), key(1, "changed"));
        let half = AoKey { send_id: 3, ..old.clone() };
        for want in [vec![changed], vec![new.clone()], vec![], vec![half, old.clone()]] {
            let survives = want.contains(&old);
            assert_eq!(steps(std::slice::from_ref(&old), &want).is_some(), survives, "{want:?}");
        }
        let other = AoKey { algorithm: AoAlgorithm::AesCmac, ..old.clone() };
        assert_eq!(steps(&[old, new.clone()], &[other, new]), None);
    }
}
