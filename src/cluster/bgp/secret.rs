//! Secrets, which hold keys of sessions.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A `v1` Secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// `metadata.namespace`.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `data` and `stringData`, decoded; or why there are none to be had.
    pub data: Result<BTreeMap<Arc<str>, Arc<[u8]>>, NoData>,
}

/// Why a Secret that is needed has no data, in a clause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoData {
    /// There is no such Secret.
    Absent(String),
    /// It may not or cannot be read.
    Unreadable(String),
}

impl fmt::Debug for Secret {
    /// Its keys, never a value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.data.as_ref().map(|data| data.keys().collect::<Vec<&Arc<str>>>());
        write!(f, "Secret {}/{} {keys:?}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_ever_shown() {
        let data = Ok([("key".into(), Arc::from(*b"hush"))].into());
        let secret = Secret { namespace: "kube-system".into(), name: "bgp".into(), data };
        let shown = format!("{secret:?}");
        assert_eq!(shown, "Secret kube-system/bgp Ok([\"key\"])");
        assert!(!format!("{secret:#?}").contains("hush"));
    }
}
