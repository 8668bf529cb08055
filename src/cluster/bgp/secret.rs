//! Secrets, which hold passwords of sessions.

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
    /// `data` and `stringData`, decoded.
    pub data: BTreeMap<Arc<str>, Arc<[u8]>>,
}

impl fmt::Debug for Secret {
    /// Its keys, never a value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&Arc<str>> = self.data.keys().collect();
        write!(f, "Secret {}/{} {keys:?}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_ever_shown() {
        let data = [("key".into(), Arc::from(*b"hush"))].into();
        let secret = Secret { namespace: "kube-system".into(), name: "bgp".into(), data };
        let shown = format!("{secret:?}");
        assert_eq!(shown, "Secret kube-system/bgp [\"key\"]");
        assert!(!format!("{secret:#?}").contains("hush"));
    }
}
