//! Keeps the kernel as the world wants it: reads, compares, writes, and says what failed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use brindle_policy::Family;
use brindle_policy::compile::Compiler;
use brindle_policy::diff::diff;
use brindle_policy::model::Side;
use brindle_policy::names::ChainName;
use brindle_policy::readback::Installed;
use brindle_policy::ruleset::{Match, Target};
use tracing::{info, warn};

use super::super::audit::tampering;
use super::super::dataplane::{Applied, ApplyError, Unavailable};
use super::super::hands::Written;
use super::super::hosts;
use super::super::monitor::Monitor;
use super::super::recheck::Affected;
use super::super::{CountersError, EstablishedFlows};
use super::{Enforcer, Writing};

impl Enforcer {
    /// Sees to it that the kernel is known and follows the world. Whether something was begun
    /// for that.
    pub(super) fn prepare(&mut self, families: &[Family], now: Instant) -> bool {
        if self.compilers.is_empty() {
            self.unknown.extend(families);
        }
        if !self.unknown.is_empty() && self.schedule.may_retry(now) {
            self.hands.read(self.unknown.clone());
            return true;
        }
        if self.compilers.is_empty() {
            return false;
        }
        if self.quarantine.release(&BTreeSet::new(), now) {
            self.requarantine();
        }
        self.follow(now);
        self.write()
    }

    /// Compiles what changed in the world.
    pub(super) fn follow(&mut self, now: Instant) {
        let touched = self.world.take_touched();
        if self.compilers.is_empty() || touched.is_empty() {
            return;
        }
        if touched.hosts {
            self.look_at_hosts();
        }
        if self.settings.established == EstablishedFlows::Recheck {
            self.unsettled.add(Affected::of(&self.world, &touched));
        }
        self.roster.touch(&self.world, &self.settings.node, &touched.endpoints);
        let attachments = touched.attachments.iter().filter_map(|one| self.world.attachment(*one));
        let pods: Vec<_> = attachments.filter_map(|one| one.pod.clone()).collect();
        self.roster.touch(&self.world, &self.settings.node, &pods);
        for (family, compiler) in &mut self.compilers {
            let plan = compiler.update(&self.world, &touched);
            self.waiting.entry(*family).or_default().push(plan);
        }
        if self.quarantine.release(&touched.policies, now) {
            self.requarantine();
        }
    }

    fn look_at_hosts(&mut self) {
        let (world, node) = (&self.world, &self.settings.node);
        self.status.host_endpoints = world.host_endpoints_on(node).count();
        self.status.host_problems = hosts::problems(world, node);
    }

    fn requarantine(&mut self) {
        for (family, compiler) in &mut self.compilers {
            let plan = compiler.quarantine(&self.world, self.quarantine.of(*family));
            self.waiting.entry(*family).or_default().push(plan);
        }
        self.status.broken = self.quarantine.cases();
    }

    /// Writes what waits; whether there is something to write. If not, it is settled at once.
    fn write(&mut self) -> bool {
        let mut plans = std::mem::take(&mut self.waiting);
        // What is to be written where the kernel is not known is found out when it is read.
        plans.retain(|family, _| !self.unknown.contains(family));
        plans.values_mut().for_each(|plans| plans.retain(|plan| !plan.is_empty()));
        plans.retain(|_, plans| !plans.is_empty());
        let writing = Writing {
            begun: (Instant::now(), SystemTime::now()),
            round: self.roster.take(),
            affected: std::mem::replace(&mut self.unsettled, Affected::none()),
            closing: self.tenants.closing(),
        };
        if !plans.is_empty() {
            self.writing = Some(writing);
            self.hands.write(plans);
            return true;
        }
        if self.unknown.is_empty() {
            self.settle(writing, Instant::now());
        } else {
            self.put_back(writing);
        }
        false
    }

    /// It is not in the kernel, or not all of it.
    fn put_back(&mut self, writing: Writing) {
        self.roster.put_back(writing.round);
        self.unsettled.add(writing.affected);
    }

    /// It is in the kernel.
    fn settle(&mut self, writing: Writing, now: Instant) {
        self.roster.settle(writing.round, now);
        self.affected.add(writing.affected);
        self.tenants.close(&writing.closing);
        self.schedule.succeeded();
        if let Some((since, _)) = self.status.failing.take() {
            info!(?since, "policies are written again");
        }
        if !self.status.ready {
            let (endpoints, policies) = (self.world.pods().count(), self.world.policies().count());
            info!(pods = endpoints, policies, "all policies are in the kernel");
        }
        self.status.ready = true;
        for found in self.repairs.drain(..) {
            warn!("somebody changed what is ours, and it is put right: {found}");
            self.status.repairs += 1;
            *self.status.repaired.entry((found.table, found.kind)).or_default() += 1;
            self.status.last_repair = Some((SystemTime::now(), found.to_string()));
        }
    }

    fn fail(&mut self, what: String) {
        let now = Instant::now();
        self.schedule.failed(now);
        let since = self.status.failing.as_ref().map(|(since, _)| *since);
        if self.status.failing.as_ref().is_none_or(|(_, before)| *before != what) {
            warn!("cannot write policies: {what}");
        }
        self.status.failing = Some((since.unwrap_or_else(SystemTime::now), what));
    }

    pub(super) fn detected(&mut self, missing: Option<Unavailable>) {
        if let Some(missing) = missing {
            self.schedule.is_missing(Instant::now());
            let missing = missing.to_string();
            if self.hands.dataplane().is_some() {
                self.warn_once(format!("iptables stays the one in use: {missing}"));
            } else if self.status.unavailable.as_ref() != Some(&missing) {
                warn!("policies are not enforced: {missing}");
                self.status.unavailable = Some(missing);
            }
            return;
        }
        let Some(dataplane) = self.hands.dataplane() else { return };
        self.status.unavailable = None;
        self.status.backend = Some(dataplane.backend());
        self.figures = dataplane.figures().clone();
        self.unknown = dataplane.families().into_iter().collect();
        self.is_swept = false;
        match Monitor::start(dataplane.watched()) {
            Ok(monitor) => self.monitor = Some(monitor),
            Err(error) => {
                self.monitor = None;
                self.warn_once(format!("changes by others are found by the audit only: {error}"));
            }
        }
    }

    pub(super) fn has_read(&mut self, found: BTreeMap<Family, Result<Installed, ApplyError>>) {
        let now = Instant::now();
        let may_retry = self.schedule.may_retry(now);
        let (mut have, mut failures) = (Vec::new(), Vec::new());
        for (family, read) in found {
            for answer in self.asked.remove(&family).unwrap_or_default() {
                let told = read.as_ref().map_err(|e| CountersError::Unread(e.to_string()));
                // Whoever asked may have gone meanwhile.
                let _ = answer.send(told.cloned());
            }
            match read {
                Ok(installed) => have.push(installed),
                Err(error) => {
                    self.unknown.insert(family);
                    failures.push(error.to_string());
                }
            }
        }
        if !self.world.is_in_sync() || !may_retry {
            return;
        }
        if self.compilers.is_empty() && !have.is_empty() {
            self.begin(&have);
        }
        let culprits = std::mem::take(&mut self.suspected).culprits;
        for have in have {
            self.compare(&have, &culprits);
        }
        self.schedule.audited(now, self.settings.audit);
        self.follow(now);
        self.write();
        if !failures.is_empty() {
            self.fail(failures.join("; "));
        }
    }

    /// Compares what was found with what was written last; what is different is written again.
    fn compare(&mut self, have: &Installed, culprits: &BTreeSet<String>) {
        let Some(compiler) = self.compilers.get(&have.family) else { return };
        let waiting = self.waiting.entry(have.family).or_default();
        let is_known = !self.unknown.remove(&have.family);
        if is_known && waiting.iter().any(|plan| !plan.is_empty()) {
            // What is found is mixed with what is not written yet: it is looked at again then.
            self.suspected.families.insert(have.family);
            self.suspected.culprits.extend(culprits.iter().cloned());
            return;
        }
        let plan = diff(compiler.ruleset(), have);
        if is_known {
            let wanted = self.refused.less(plan.clone());
            self.repairs.extend(tampering(&wanted, have, culprits));
        }
        self.refused.forget(have.family);
        *waiting = vec![plan];
    }

    /// Compiles for the first time.
    fn begin(&mut self, have: &[Installed]) {
        let installed = have.iter().flat_map(dispatched).collect();
        self.tenants.settle(&mut self.world, installed);
        drop(self.world.take_touched());
        let node = Arc::clone(&self.settings.node);
        let local: Vec<_> = self.world.endpoints_on(&node).map(|pod| pod.key.clone()).collect();
        self.roster.touch(&self.world, &node, &local);
        self.look_at_hosts();
        let settings = self.compile_settings();
        for family in self.unknown.clone() {
            let compiler = Compiler::new(&self.world, settings.clone(), family);
            self.compilers.insert(family, compiler);
        }
    }

    pub(super) fn has_written(&mut self, written: Vec<Written>) {
        let now = Instant::now();
        let Some(writing) = self.writing.take() else { return };
        let (mut failures, mut is_quarantined) = (Vec::new(), false);
        for Written { family, took, result } in written {
            self.status.applying.entry(family).or_default().add(took);
            self.status.applied[usize::from(result.is_err())] += 1;
            match result {
                Ok(mut applied) => {
                    let quarantined = self.quarantine.of(family);
                    for refused in self.refused.take(family, &mut applied, &quarantined) {
                        warn!("{refused}");
                    }
                    if applied.is_astray {
                        self.unknown.insert(family);
                    }
                    match self.admit(family, &applied, now) {
                        Ok(is_new) => is_quarantined |= is_new,
                        Err(why) => failures.push(why),
                    }
                    applied.warnings.into_iter().for_each(|what| self.warn_once(what));
                }
                Err(error) => {
                    self.unknown.insert(family);
                    failures.push(error.to_string());
                }
            }
        }
        if is_quarantined {
            self.requarantine();
        }
        if failures.is_empty() && self.unknown.is_empty() {
            self.settle(writing, now);
        } else {
            self.put_back(writing);
        }
        if !failures.is_empty() {
            self.fail(failures.join("; "));
        }
    }

    /// Puts policies in quarantine that the kernel refused something of; whether there are
    /// new ones.
    ///
    /// # Errors
    /// Why, if it refused something and that is no policy's, or that of one in quarantine.
    fn admit(&mut self, family: Family, applied: &Applied, now: Instant) -> Result<bool, String> {
        let chains = applied
            .broken_chains
            .iter()
            .map(|broken| format!("{family} {} {}: {}", broken.table, broken.chain, broken.why));
        let sets =
            applied.broken_sets.iter().map(|broken| format!("{}: {}", broken.set, broken.why));
        let refused: Vec<String> = chains.chain(sets).collect();
        let Some(compiler) = self.compilers.get(&family).filter(|_| !refused.is_empty()) else {
            return Ok(false);
        };
        if self.quarantine.admit(compiler.ruleset(), applied, now) {
            warn!(
                "the kernel refused part of a policy, which allows nothing now: {}",
                refused.join("; ")
            );
            return Ok(true);
        }
        self.unknown.insert(family);
        Err(refused.join("; "))
    }
}

/// The chains of endpoints by the addresses that the kernel sends there.
fn dispatched(installed: &Installed) -> HashMap<IpAddr, ChainName> {
    let rules = installed.chains.values().flatten().filter_map(|rule| rule.rule.as_ref());
    let mut found = HashMap::new();
    for rule in rules {
        if let (Target::Goto(chain), [Match::In(Side::Destination, block)]) =
            (&rule.target, &rule.matches[..])
            && block.length() == block.family().bits()
        {
            found.insert(block.address(), chain.clone());
        }
    }
    found
}
