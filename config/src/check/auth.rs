//! `password`, `tcpAO`, `ttlSecurity`, `ebgpMultihop`: how a session's connections are protected.

use crate::meaning::{AoAlgorithm, AoKey, Auth, KeyFile};
use crate::section::{Item, Section};
use crate::value;

/// What `algorithm` accepts (RFC 5926).
pub(crate) const ALGORITHMS: [(&str, AoAlgorithm); 2] =
    [("hmac-sha1-96", AoAlgorithm::HmacSha1), ("aes-128-cmac-96", AoAlgorithm::AesCmac)];

/// How many hops packets may have gone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hops {
    pub(super) security: Option<u8>,
    pub(super) multihop: Option<u8>,
}

/// What signs connections, from the keys of a peer or of the mesh; `None` if that is not clear.
pub(super) fn signing(section: &mut Section) -> Option<Auth> {
    let password = section.filled("password");
    let ao = section.filled("tcpAO");
    if let (Some(_), Some(ao)) = (&password, &ao) {
        ao.refuse(
            "password and tcpAO exclude each other on one session; keep one of them \
             (tcpAO, where both kernels have it)",
        );
        return None;
    }
    match (password, ao) {
        (Some(item), _) => password_file(&item).map(Auth::Md5),
        (None, Some(item)) => ao_keys(&item).map(Auth::Ao),
        (None, None) => Some(Auth::None),
    }
}

fn password_file(item: &Item) -> Option<KeyFile> {
    let mut section = mapping(item)?;
    let file = key_file(&mut section);
    section.finish();
    file
}

/// A key itself must not stand in the configuration, and is not repeated in the complaint.
fn mapping<'a>(item: &Item<'a>) -> Option<Section<'a>> {
    if item.is_scalar() {
        item.refuse(
            "the key itself does not belong here, where many may read it; put it into a file \
             and write for instance \"{file: /etc/brindle/keys/tor-a}\"",
        );
        return None;
    }
    item.section()
}

fn key_file(section: &mut Section) -> Option<KeyFile> {
    let item = section.need("file", "/etc/brindle/keys/tor-a")?;
    let path = value::path(&item)?;
    Some(KeyFile { path, place: item.node.place.clone(), key: item.path })
}

fn ao_keys(item: &Item) -> Option<Vec<AoKey>> {
    let mut section = item.section()?;
    let list = section.need(
        "keys",
        "[{sendID: 1, recvID: 1, algorithm: hmac-sha1-96, file: /etc/brindle/keys/tor-a}]",
    );
    section.finish();
    let list = list?;
    let keys = list.list(ao_key)?;
    if list.len() == 0 {
        list.refuse("is empty; a session that nothing signs is one without tcpAO");
    }
    for (index, key) in keys.iter().enumerate() {
        let mut earlier = keys.iter().take(index);
        if let Some(other) = earlier.find(|other| {
            other.value.send_id == key.value.send_id || other.value.recv_id == key.value.recv_id
        }) {
            key.item.refuse(format!(
                "the key at {} has the same sendID or recvID; each key has its own",
                other.item.node.place
            ));
        }
    }
    let is_whole = keys.len() == list.len() && !keys.is_empty();
    is_whole.then(|| super::values(&keys))
}

fn ao_key(item: &Item) -> Option<AoKey> {
    let mut section = item.section()?;
    let id = |item: Item| item.number(0, 255).and_then(|id| u8::try_from(id).ok());
    let send_id = section.need("sendID", "1").and_then(id);
    let recv_id = section.need("recvID", "1").and_then(id);
    let algorithm =
        section.get("algorithm").map_or(Some(AoAlgorithm::HmacSha1), |item| item.word(&ALGORITHMS));
    let file = key_file(&mut section);
    section.finish();
    Some(AoKey { send_id: send_id?, recv_id: recv_id?, algorithm: algorithm?, file: file? })
}

/// `ttlSecurity` and `ebgpMultihop`; `None` if they are not clear.
pub(super) fn hops(section: &mut Section, is_internal: bool) -> Option<Hops> {
    let number = |item: &Option<Item>, most| match item {
        Some(item) => item.number(1, most).and_then(|number| u8::try_from(number).ok()).map(Some),
        None => Some(None),
    };
    let security = section.filled("ttlSecurity");
    let multihop = section.filled("ebgpMultihop");
    // 255 would let everything in.
    let hops = Hops { security: number(&security, 254)?, multihop: number(&multihop, 255)? };
    match (&multihop, hops.security) {
        (Some(item), Some(hops)) => item.refuse(format!(
            "ttlSecurity says already that the peer is up to {hops} hops away; keep one of them"
        )),
        (Some(item), None) if is_internal => {
            item.warn("says nothing for a peer in our own AS: it may be any number of hops away");
        }
        _ => {}
    }
    Some(hops)
}
