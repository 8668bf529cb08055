//! How a session's TCP connections are signed.

use std::path::PathBuf;

use crate::error::{Place, Problem};
use crate::secret::{BadKey, Secret};

/// What signs the TCP connections of a peer, or of all nodes of the mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Nothing.
    #[default]
    None,
    /// `password`: TCP MD5 signatures (RFC 2385).
    Md5(KeyFile),
    /// `tcpAO.keys`: the TCP authentication option (RFC 5925), the preferred key first.
    Ao(Vec<AoKey>),
}

impl Auth {
    /// The files with its keys.
    pub fn files(&self) -> impl Iterator<Item = &KeyFile> {
        let (one, more) = match self {
            Auth::None => (None, &[][..]),
            Auth::Md5(file) => (Some(file), &[][..]),
            Auth::Ao(keys) => (None, &keys[..]),
        };
        one.into_iter().chain(more.iter().map(|key| &key.file))
    }
}

/// `file`: where a key is. Two are equal if the path is, wherever it stands.
#[derive(Clone, Debug)]
pub struct KeyFile {
    /// The file.
    pub path: PathBuf,
    /// Where the configuration names it.
    pub place: Place,
    /// The key that names it, for instance `bgp.peers[0].password.file`.
    pub key: String,
}

impl PartialEq for KeyFile {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for KeyFile {}

impl KeyFile {
    /// That it does not hold a key, said of the place that names it.
    pub fn problem(&self, why: &BadKey) -> Problem {
        self.said(format!("{}: {why}", self.path.display()))
    }

    /// That the file does not keep its key to itself, if so.
    pub(crate) fn doubt(&self) -> Option<Problem> {
        crate::secret::is_open_to_all(&self.path).then(|| {
            let path = self.path.display();
            self.said(format!("everybody on this host may read {path}; chmod 600 closes it"))
        })
    }

    /// That it holds no key, if so.
    pub(crate) fn check(&self) -> Option<Problem> {
        Secret::read(&self.path).err().map(|why| self.problem(&why))
    }

    fn said(&self, message: String) -> Problem {
        Problem { place: self.place.clone(), path: self.key.clone(), message }
    }
}

/// One of `tcpAO.keys`: a master key tuple (RFC 5925 §3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AoKey {
    /// `sendID`: the KeyID in what we send.
    pub send_id: u8,
    /// `recvID`: the KeyID in what the peer sends.
    pub recv_id: u8,
    /// `algorithm`.
    pub algorithm: AoAlgorithm,
    /// `file`.
    pub file: KeyFile,
}

/// `algorithm`: those of RFC 5926.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AoAlgorithm {
    /// `hmac-sha1-96`, the default.
    HmacSha1,
    /// `aes-128-cmac-96`.
    AesCmac,
}
