//! Service accounts, and the pods that have them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::World;
use super::pods::NamespaceEntry;
use crate::model::{AccountKey, Labels, Pod, ServiceAccount};

/// A service account that is known, or that pods have.
#[derive(Debug)]
pub(super) struct AccountEntry {
    /// The object; one without labels of its own if it is not known.
    pub(super) account: Arc<ServiceAccount>,
    is_known: bool,
    /// How many pods have it, endpoints or not.
    pods: usize,
}

impl AccountEntry {
    fn assumed(key: AccountKey) -> Self {
        Self { account: Arc::new(assumed(key)), is_known: false, pods: 0 }
    }
}

/// What an account is taken for of which nothing but the name is known.
fn assumed(key: AccountKey) -> ServiceAccount {
    ServiceAccount::new(key, Labels::new())
}

impl World {
    /// The service account of a pod. One that is not known has its name and no labels of its
    /// own.
    pub fn account_of(&self, pod: &Pod) -> Arc<ServiceAccount> {
        let (namespace, name) = (&pod.key.namespace, &pod.service_account);
        let entry = self.namespaces.get(namespace).and_then(|entry| entry.accounts.get(name));
        entry.map_or_else(
            || Arc::new(assumed(AccountKey { namespace: namespace.clone(), name: name.clone() })),
            |entry| entry.account.clone(),
        )
    }

    /// All service accounts that are known, by namespace, by name.
    pub fn accounts(&self) -> impl Iterator<Item = &Arc<ServiceAccount>> {
        let all = self.namespaces.values().flat_map(|entry| entry.accounts.values());
        all.filter(|entry| entry.is_known).map(|entry| &entry.account)
    }

    /// A service account is `after` from now on.
    pub(super) fn replace_account(&mut self, key: &AccountKey, after: Option<Arc<ServiceAccount>>) {
        let entry = self.account_entry(key);
        entry.is_known = after.is_some();
        let after = after.unwrap_or_else(|| Arc::new(assumed(key.clone())));
        let before = std::mem::replace(&mut entry.account, after.clone());
        if before != after {
            self.relabel_account(&before.labels, &after);
        }
        self.drop_vain(key);
    }

    /// Another pod has an account.
    pub(super) fn enlist(&mut self, namespace: &Arc<str>, name: &Arc<str>) {
        let key = AccountKey { namespace: namespace.clone(), name: name.clone() };
        self.account_entry(&key).pods += 1;
    }

    /// A pod no longer has an account.
    pub(super) fn discharge(&mut self, namespace: &Arc<str>, name: &Arc<str>) {
        let key = AccountKey { namespace: namespace.clone(), name: name.clone() };
        self.account_entry(&key).pods -= 1;
        self.drop_vain(&key);
    }

    fn account_entry(&mut self, key: &AccountKey) -> &mut AccountEntry {
        let space = self
            .namespaces
            .entry(key.namespace.clone())
            .or_insert_with(|| NamespaceEntry::assumed(key.namespace.clone()));
        let account = space.accounts.entry(key.name.clone());
        account.or_insert_with(|| AccountEntry::assumed(key.clone()))
    }

    /// Forgets an account that is not known and that nobody has, and its namespace likewise.
    fn drop_vain(&mut self, key: &AccountKey) {
        let Some(space) = self.namespaces.get_mut(&key.namespace) else { return };
        if space.accounts.get(&key.name).is_some_and(|entry| !entry.is_known && entry.pods == 0) {
            space.accounts.remove(&key.name);
        }
        if space.is_vain() {
            self.namespaces.remove(&key.namespace);
        }
    }

    /// Tries those expressions again, for the endpoints that have an account, that look at a
    /// label of it that changed.
    fn relabel_account(&mut self, before: &Labels, account: &ServiceAccount) {
        let (labels, AccountKey { namespace, name }) = (&account.labels, &account.key);
        let keys = before.keys().chain(labels.keys());
        let keys: BTreeSet<_> = keys.filter(|key| before.get(*key) != labels.get(*key)).collect();
        let space = &self.namespaces[namespace];
        let mut exprs = self.expressions.looking_at_accounts(&keys);
        // What the namespace alone decides needs no trying.
        exprs.retain(|number| {
            let expr = &self.expressions.get(*number).expr;
            expr.holds_in(namespace, &space.namespace.labels).is_none()
        });
        if exprs.is_empty() {
            return;
        }
        let mut flips = Vec::new();
        for member in space.pods.values().copied() {
            let pod = &self.pods[member].pod;
            if !pod.is_endpoint() || pod.service_account != *name {
                continue;
            }
            let subject = space.subject(pod, true);
            for number in exprs.iter().copied() {
                let entry = self.expressions.get(number);
                let now = entry.expr.matches(&subject);
                if now != entry.members.contains(&member) {
                    flips.push((member, number, now));
                }
            }
        }
        self.flip(flips);
    }
}
