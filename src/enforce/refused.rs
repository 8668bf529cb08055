//! What of the policies on this host the kernel does not take. It keeps nothing else from being
//! enforced, and is tried again whenever the kernel is compared with what is wanted.

use std::collections::{BTreeMap, BTreeSet};

use brindle_policy::names::ChainName;
use brindle_policy::ruleset::{Plan, Purpose, Table};
use brindle_policy::{Family, PolicyId};

use super::dataplane::Applied;

/// Tables that cannot be written, and chains that stay as they were; each with the reason.
#[derive(Debug, Default)]
pub(super) struct Refused {
    tables: BTreeMap<(Family, Table), String>,
    chains: BTreeMap<(Family, Table, ChainName), (String, String)>,
    /// What was told already.
    told: BTreeSet<String>,
}

/// So much that was told is remembered.
const MOST_TOLD: usize = 64;

impl Refused {
    /// Takes out of what was told after writing what is about policies on this host; what of it
    /// was not told before, in words. Chains are left of which policies are to blame that are
    /// not in quarantine yet: without them the kernel may take the rest.
    pub(super) fn take(
        &mut self,
        family: Family,
        applied: &mut Applied,
        quarantined: &BTreeSet<PolicyId>,
    ) -> Vec<String> {
        let mut news = Vec::new();
        for (table, why) in std::mem::take(&mut applied.lost_tables) {
            news.push(lost(family, table, &why));
            self.tables.insert((family, table), why);
        }
        applied.broken_chains.retain(|broken| {
            let Purpose::Host(name, stage, direction) = &broken.purpose else { return true };
            if !broken.policies.is_subset(quarantined) {
                return true;
            }
            let what = format!("HostEndpoint {name}, {stage} {direction}");
            news.push(kept(family, &what, &broken.why));
            let place = (family, broken.table, broken.chain.clone());
            self.chains.insert(place, (what, broken.why.clone()));
            false
        });
        if self.told.len() > MOST_TOLD {
            self.told.clear();
        }
        news.retain(|what| self.told.insert(what.clone()));
        news
    }

    /// All of a family is tried again.
    pub(super) fn forget(&mut self, family: Family) {
        self.tables.retain(|(of, _), _| *of != family);
        self.chains.retain(|(of, _, _), _| *of != family);
    }

    /// A plan without what is known not to be taken: nobody else is to blame that it is missing.
    pub(super) fn less(&self, mut plan: Plan) -> Plan {
        let family = plan.family;
        plan.chains.retain(|table, _| !self.tables.contains_key(&(family, *table)));
        plan.hook.retain(|hook| !self.tables.contains_key(&(family, hook.table)));
        for (table, ops) in &mut plan.chains {
            ops.retain(|name, _| !self.chains.contains_key(&(family, *table, name.clone())));
        }
        plan
    }

    /// All of it, in words.
    pub(super) fn cases(&self) -> Vec<String> {
        let tables = self.tables.iter().map(|((family, table), why)| lost(*family, *table, why));
        let chains = self.chains.iter();
        let chains = chains.map(|((family, _, _), (what, why))| kept(*family, what, why));
        tables.chain(chains).collect()
    }
}

fn lost(family: Family, table: Table, why: &str) -> String {
    let what = match table {
        Table::Raw => "doNotTrack",
        Table::Mangle => "preDNAT",
        Table::Filter | Table::Nat => "all",
    };
    format!("{what} policies on this host are not enforced for {family}: {why}")
}

fn kept(family: Family, what: &str, why: &str) -> String {
    format!(
        "{what}, {family}: the kernel refused its rules; those before stay, and where there were \
         none, all but failsafe ports is closed: {why}"
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use brindle_policy::Direction;
    use brindle_policy::model::{HostStage, PolicyKind};
    use brindle_policy::names::Fixed;
    use brindle_policy::ruleset::{BuiltIn, Chain, ChainOp, Hook};

    use super::super::dataplane::BrokenChain;
    use super::*;

    #[test]
    fn what_is_refused_for_hosts_is_told_apart_until_it_is_tried_again() {
        let name = |letter: &'static str| ChainName::other(letter, &["x"]);
        let broken = |purpose, chain| BrokenChain {
            table: Table::Filter,
            chain,
            purpose,
            policies: BTreeSet::new(),
            why: "no".to_owned(),
        };
        let host = Purpose::Host("eth".into(), HostStage::Normal, Direction::Ingress);
        let mut applied = Applied {
            broken_chains: vec![
                broken(host, name("ZH")),
                broken(Purpose::Fixed, ChainName::fixed(Fixed::To)),
            ],
            lost_tables: [(Table::Raw, "no module".to_owned())].into(),
            ..Applied::default()
        };
        let mut refused = Refused::default();
        let id =
            PolicyId { kind: PolicyKind::GlobalNetworkPolicy, namespace: None, name: "bad".into() };
        let blamed = BrokenChain {
            policies: BTreeSet::from([id.clone()]),
            ..applied.broken_chains[0].clone()
        };
        let mut isolated = Applied {
            broken_chains: vec![blamed],
            lost_tables: BTreeMap::new(),
            ..applied.clone()
        };
        assert_eq!(refused.take(Family::V4, &mut isolated, &BTreeSet::new()), Vec::<String>::new());
        assert_eq!(isolated.broken_chains.len(), 1, "the policy goes into quarantine");
        let news = Refused::default().take(Family::V4, &mut isolated, &BTreeSet::from([id]));
        assert_eq!((news.len(), isolated.broken_chains.len()), (1, 0), "it did not help");
        let news = refused.take(Family::V4, &mut applied, &BTreeSet::new());
        assert_eq!(
            news,
            [
                "doNotTrack policies on this host are not enforced for IPv4: no module",
                "HostEndpoint eth, normal ingress, IPv4: the kernel refused its rules; those \
                 before stay, and where there were none, all but failsafe ports is closed: no",
            ]
        );
        assert_eq!(refused.cases(), news);
        assert_eq!(applied.broken_chains.len(), 1, "the rest is for others");

        let mut plan = Plan::new(Family::V4);
        let chain = Chain { purpose: Purpose::Fixed, rules: Vec::new() };
        let write = || ChainOp::Write(Arc::new(chain.clone()));
        let ops = |names: [&'static str; 2]| names.map(|one| (name(one), write())).into();
        plan.chains.insert(Table::Filter, ops(["ZH", "ZI"]));
        plan.chains.insert(Table::Raw, ops(["ZJ", "ZK"]));
        plan.hook = [Table::Filter, Table::Raw]
            .map(|table| Hook { table, from: BuiltIn::Prerouting, to: name("ZJ") })
            .into();
        let left = refused.less(plan.clone());
        let filter: Vec<&ChainName> = left.chains[&Table::Filter].keys().collect();
        assert_eq!((filter, left.chains.len()), (vec![&name("ZI")], 1));
        assert_eq!(left.hook.iter().map(|hook| hook.table).collect::<Vec<_>>(), [Table::Filter]);

        refused.forget(Family::V6);
        assert_eq!(refused.cases().len(), 2);
        refused.forget(Family::V4);
        assert_eq!(refused.cases(), Vec::<String>::new());
        assert_eq!(refused.less(plan.clone()), plan);
    }
}
