//! `password` and `tcpAO`: where keys are, never the keys.

use crate::meaning::{AoAlgorithm, Auth, KeyFile};
use crate::schema::{Algorithm, AoKeySection, PasswordSection, TcpAoSection};

/// The sections that say it; at most one is there.
pub(super) fn sections(auth: &Auth) -> (Option<PasswordSection>, Option<TcpAoSection>) {
    let path = |file: &KeyFile| file.path.display().to_string();
    match auth {
        Auth::None => (None, None),
        Auth::Md5(file) => (Some(PasswordSection { file: path(file) }), None),
        Auth::Ao(keys) => {
            let keys = keys.iter().map(|key| AoKeySection {
                send_id: key.send_id,
                recv_id: key.recv_id,
                algorithm: match key.algorithm {
                    AoAlgorithm::HmacSha1 => Algorithm::HmacSha1,
                    AoAlgorithm::AesCmac => Algorithm::AesCmac,
                },
                file: path(&key.file),
            });
            (None, Some(TcpAoSection { keys: keys.collect() }))
        }
    }
}
