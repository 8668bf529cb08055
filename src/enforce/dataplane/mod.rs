//! Carries plans out in the kernel, and reads what it holds.
//!
//! ```text
//!  Plan ─► jumps that go ─► sets that come ─► chains ─► interfaces ─► jumps that  ─► sets that
//!                                                       that open     come           go
//!             iptables       ipset restore   iptables-  ipset         iptables       ipset
//!                                            restore    restore                      restore
//! ```
//!
//! Each step needs the one before; what a step could not do is told, and the steps after it
//! are done only if nothing is open then that should be closed.
//!
//! Chains and jumps of the tables raw and mangle, which only policies on hosts have, come after
//! those of filter and nat and go before them: what they exempt from connection tracking, the
//! filter table has to know of already, or it would drop it. A kernel that lacks these tables
//! enforces the rest.

mod backend;
mod chains;
mod command;
mod figures;
mod hooked;
mod hooks;
mod ipset;
mod iptables;
mod leftovers;
pub mod marked;
mod own;
mod probe;
mod sets;
mod trial;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use brindle_policy::names::{ChainName, SetName};
use brindle_policy::readback::{self, Installed};
use brindle_policy::ruleset::{Hook, Plan, Purpose, SetOp, Table};
use brindle_policy::{Family, PolicyId, Ruleset};

use super::{Backend, BackendChoice};
use backend::Installed as Programs;
use command::Runner;
use hooks::{Hooks, Placed};
use ipset::Ipset;
use iptables::Iptables;

pub use backend::Unavailable;
pub use command::CommandError;
pub use figures::{Figures, Op, Tally};
pub use hooked::Hooked;
pub use own::OwnWrites;

/// What can be set otherwise than usual, for tests.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// The folders that programs are looked for in.
    pub search: Vec<PathBuf>,
    /// How long a program may take before it is killed; five sixths of it are spent waiting
    /// for the xtables lock.
    pub limit: Duration,
}

impl Default for Tuning {
    /// PATH and the places of system programs; thirty seconds.
    fn default() -> Self {
        Self { search: backend::search_path(), limit: Duration::from_secs(30) }
    }
}

/// The iptables and ipset programs of this host, and which backend is used. It works in the
/// network namespace of the thread that calls it.
#[derive(Debug)]
pub struct Dataplane {
    backend: Backend,
    why: &'static str,
    tables: BTreeMap<Family, Iptables>,
    /// The same of the backend that is not used; nothing if it is not installed.
    elsewhere: BTreeMap<Family, Iptables>,
    ipset: Ipset,
    hooks: Hooks,
    /// Sets that go as soon as no rule uses them.
    doomed: BTreeMap<Family, BTreeSet<SetName>>,
    hooked: Hooked,
    own: OwnWrites,
    figures: Figures,
}

/// What became of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// Chains that the kernel refused; what closes stands in their place.
    pub broken_chains: Vec<BrokenChain>,
    /// Sets that the kernel refused; they hold less than they should.
    pub broken_sets: Vec<BrokenSet>,
    /// Tables for policies on hosts that could not be written, and why; the others are.
    pub lost_tables: BTreeMap<Table, String>,
    /// What may open what we close, and is left alone.
    pub warnings: Vec<String>,
    /// The kernel held something else than the plan took for granted: it is to be read, and
    /// compared with what is wanted.
    pub is_astray: bool,
}

/// A chain that the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenChain {
    /// Its table.
    pub table: Table,
    /// Its name.
    pub chain: ChainName,
    /// What it is for.
    pub purpose: Purpose,
    /// The policies of which rules were refused; none if the rules are nobody's.
    pub policies: BTreeSet<PolicyId>,
    /// Which rule was refused, and how.
    pub why: String,
}

/// A set that the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenSet {
    /// Its name.
    pub set: SetName,
    /// How.
    pub why: String,
}

/// Why a plan was not carried out. What was done of it before stands; no table is half
/// written. What the kernel holds is to be read again.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A set operation could not be done.
    #[error("cannot write sets: {0}")]
    Sets(#[source] CommandError),
    /// A table could not be written.
    #[error("cannot write the {family} {table} table: {error}")]
    Chains {
        /// The family.
        family: Family,
        /// The table.
        table: Table,
        /// Why.
        #[source]
        error: CommandError,
    },
    /// A jump of ours could not be placed or removed.
    #[error("{0}")]
    Hook(String),
    /// The kernel has not got the family.
    #[error("the kernel has no {0}")]
    NoFamily(Family),
}

impl ApplyError {
    /// Whether only the xtables lock, held by another program, is in the way.
    pub fn is_lock_held(&self) -> bool {
        match self {
            ApplyError::Chains { error, .. } => error.is_lock_held(),
            ApplyError::Sets(_) | ApplyError::Hook(_) | ApplyError::NoFamily(_) => false,
        }
    }
}

impl Dataplane {
    /// Finds the programs, the backend that this host uses, and whether the kernel has what
    /// rules need; to be called once.
    ///
    /// # Errors
    /// With the name of what is missing: a program, or a module of the kernel.
    pub async fn detect(choice: BackendChoice) -> Result<Self, Unavailable> {
        Self::detect_tuned(choice, Tuning::default()).await
    }

    /// The same with other than usual settings.
    ///
    /// # Errors
    /// As [`Dataplane::detect`].
    pub async fn detect_tuned(choice: BackendChoice, tuning: Tuning) -> Result<Self, Unavailable> {
        let Tuning { search, limit } = tuning;
        let (own, figures) = (OwnWrites::default(), Figures::default());
        let runner = Runner { limit, own: own.clone(), figures: figures.clone() };
        let families = backend::families();
        let programs = Programs::find(&search, &families, &runner).await;
        let tables = |backend| tables(&programs, backend, &runner);
        let all = |backend| tables(backend).into_values().collect();
        let ipset = backend::find(&search, "ipset");
        let chosen = backend::choose(choice, &programs, all).await;
        let missing = || "ipset".to_owned();
        let (chosen, program) = match (chosen, ipset) {
            (Ok(chosen), Some(program)) => (chosen, program),
            (Ok(_), None) => return Err(Unavailable::Programs([missing()].into())),
            (Err(Unavailable::Programs(mut names)), None) => {
                names.insert(missing());
                return Err(Unavailable::Programs(names));
            }
            (Err(error), _) => return Err(error),
        };
        let (backend, why) = chosen;
        let other = match backend {
            Backend::Nft => Backend::Legacy,
            Backend::Legacy => Backend::Nft,
        };
        let (tables, elsewhere) = (tables(backend), tables(other));
        let commands = tables.iter().map(|(family, iptables)| {
            (*family, hooks::for_ever(&iptables.programs.command.to_string_lossy()))
        });
        let dataplane = Self {
            backend,
            why,
            hooks: Hooks::new(commands.collect(), own.clone(), figures.clone(), limit),
            tables,
            elsewhere,
            ipset: Ipset { program, runner },
            doomed: BTreeMap::new(),
            hooked: Hooked::default(),
            own,
            figures,
        };
        probe::probe(&dataplane.tables, &dataplane.ipset).await?;
        tracing::info!(%backend, why, "found iptables");
        Ok(dataplane)
    }

    /// The backend in use.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Why it is that one, for operators.
    pub fn why(&self) -> &'static str {
        self.why
    }

    /// The families that the kernel has.
    pub fn families(&self) -> Vec<Family> {
        self.tables.keys().copied().collect()
    }

    /// What a [`Monitor`](super::monitor::Monitor) needs.
    pub fn watched(&self) -> Watched {
        Watched {
            backend: self.backend,
            tables: self.tables.clone(),
            ipset: self.ipset.clone(),
            hooked: self.hooked.clone(),
            own: self.own.clone(),
        }
    }

    /// What programs were run, and for how long.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// What the kernel holds of ours for one family, with counters.
    ///
    /// # Errors
    /// If a program fails, or the kernel has not got the family.
    pub async fn read(&self, family: Family) -> Result<Installed, ApplyError> {
        let iptables = self.tables.get(&family).ok_or(ApplyError::NoFamily(family))?;
        let failed = |error| ApplyError::Chains { family, table: Table::Filter, error };
        let saved = iptables.save().await.map_err(failed)?;
        let sets = self.ipset.save().await.map_err(ApplyError::Sets)?;
        let mut installed = Installed::new(family);
        for table in Table::ALL {
            readback::read_tables(&mut installed, table, iptables::table(&saved, table));
        }
        readback::read_sets(&mut installed, &sets);
        self.hooked.found(family, installed.hooks.iter().map(|there| &there.hook));
        Ok(installed)
    }

    /// Carries out a plan; an empty one costs nothing.
    ///
    /// # Errors
    /// If a step fails as a whole. The steps after it are not done.
    pub async fn apply(&mut self, plan: &Plan) -> Result<Applied, ApplyError> {
        let family = plan.family;
        let iptables = self.tables.get(&family).ok_or(ApplyError::NoFamily(family))?.clone();
        let mut applied = Applied::default();
        let (only_hosts, all) = (|hook: &&Hook| is_only_for_hosts(hook.table), plan.unhook.iter());
        for hook in all.clone().filter(only_hosts).chain(all.filter(|hook| !only_hosts(hook))) {
            self.hooks.remove(family, hook).await.map_err(ApplyError::Hook)?;
            self.hooked.remove(family, hook);
        }
        let filled = sets::fill(&self.ipset, family, &plan.sets).await.map_err(ApplyError::Sets)?;
        applied.broken_sets = filled.broken;
        applied.is_astray = filled.is_astray;
        for table in Table::ALL.into_iter().filter(|table| !is_only_for_hosts(*table)) {
            let written = self.write_chains(&iptables, plan, table, &mut applied).await;
            written.map_err(|error| ApplyError::Chains { family, table, error })?;
        }
        let opened = sets::fill(&self.ipset, family, &plan.admit).await;
        let opened = opened.map_err(ApplyError::Sets)?;
        applied.broken_sets.extend(opened.broken);
        applied.is_astray |= opened.is_astray;
        for hook in plan.hook.iter().filter(|hook| !only_hosts(hook)) {
            self.place(family, hook, &mut applied).await.map_err(ApplyError::Hook)?;
        }
        for table in Table::ALL.into_iter().filter(|table| is_only_for_hosts(*table)) {
            if let Err(lost) = self.write_for_hosts(&iptables, plan, table, &mut applied).await {
                applied.lost_tables.insert(table, lost);
            }
        }
        self.destroy(plan).await?;
        Ok(applied)
    }

    /// Writes the chains of one table.
    async fn write_chains(
        &self,
        iptables: &Iptables,
        plan: &Plan,
        table: Table,
        applied: &mut Applied,
    ) -> Result<(), CommandError> {
        let Some(ops) = plan.chains.get(&table).filter(|ops| !ops.is_empty()) else {
            return Ok(());
        };
        let written = chains::write(iptables, table, ops).await?;
        applied.broken_chains.extend(written.broken);
        applied.warnings.extend(written.kept.iter().map(|chain| {
            format!("a rule of another program uses {chain} in the {} {table} table; it is left there, empty", plan.family)
        }));
        Ok(())
    }

    /// Writes the chains of a table that only policies on hosts need, and the jumps to them.
    ///
    /// # Errors
    /// Why it could not be done. That keeps nothing else from being done.
    async fn write_for_hosts(
        &mut self,
        iptables: &Iptables,
        plan: &Plan,
        table: Table,
        applied: &mut Applied,
    ) -> Result<(), String> {
        let written = self.write_chains(iptables, plan, table, applied).await;
        written.map_err(|error| error.to_string())?;
        for hook in plan.hook.iter().filter(|hook| hook.table == table) {
            self.place(plan.family, hook, applied).await?;
        }
        Ok(())
    }

    /// Puts a jump in its place.
    async fn place(
        &mut self,
        family: Family,
        hook: &Hook,
        applied: &mut Applied,
    ) -> Result<(), String> {
        self.hooked.add(family, hook);
        match self.hooks.place(family, hook).await? {
            Placed::First => {}
            Placed::Behind(rule) => applied.warnings.push(behind(family, hook, &rule)),
        }
        Ok(())
    }

    /// Removes the sets that a plan does not want any more, and those of earlier plans that
    /// were still in use then.
    async fn destroy(&mut self, plan: &Plan) -> Result<(), ApplyError> {
        let doomed = self.doomed.entry(plan.family).or_default();
        for op in plan.set_ops() {
            doomed.remove(set_of(op));
        }
        doomed.extend(plan.destroy.iter().cloned());
        for pause in [0, 5, 20, 50].map(Duration::from_millis) {
            if doomed.is_empty() {
                break;
            }
            tokio::time::sleep(pause).await;
            *doomed = sets::destroy(&self.ipset, doomed).await.map_err(ApplyError::Sets)?;
        }
        Ok(())
    }

    /// Whether the backend that is not used holds something of ours, from before.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn has_leftovers_elsewhere(&self) -> Result<bool, CommandError> {
        Ok(backend::Evidence::gather(self.elsewhere.values()).await?.own > 0)
    }

    /// Takes everything of ours out of the backend that is not used; to be called when all
    /// that is wanted is in the one that is. Returns how many chains and jumps there were.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub async fn remove_leftovers_elsewhere(&mut self) -> Result<usize, CommandError> {
        let mut removed = 0;
        for iptables in self.elsewhere.values() {
            removed += leftovers::remove(iptables).await.map_err(|refused| refused.error)?;
        }
        Ok(removed)
    }

    /// What the kernel would have to change to hold what is wanted.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn drift(&self, want: &Ruleset) -> Result<(Plan, Installed), ApplyError> {
        let have = self.read(want.family).await?;
        Ok((super::audit::drift(want, &have), have))
    }
}

/// What is needed to notice changes by others; cheap to clone.
#[derive(Clone, Debug)]
pub struct Watched {
    backend: Backend,
    tables: BTreeMap<Family, Iptables>,
    ipset: Ipset,
    hooked: Hooked,
    own: OwnWrites,
}

impl Watched {
    /// The backend in use.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The families that the kernel has.
    pub fn families(&self) -> Vec<Family> {
        self.tables.keys().copied().collect()
    }

    /// Which changes are our own.
    pub fn own_writes(&self) -> OwnWrites {
        self.own.clone()
    }

    /// Which of the kernel's chains may hold jumps of ours.
    pub fn hooked(&self) -> Hooked {
        self.hooked.clone()
    }

    /// All tables of a family that are in use, as `iptables-save` prints them.
    ///
    /// # Errors
    /// If that program fails.
    pub async fn chains(&self, family: Family) -> Result<BTreeMap<String, String>, CommandError> {
        match self.tables.get(&family) {
            Some(iptables) => iptables.save().await,
            None => Ok(BTreeMap::new()),
        }
    }

    /// Name, type and size of all our sets.
    ///
    /// # Errors
    /// If `ipset` fails.
    pub async fn sets(&self) -> Result<String, CommandError> {
        self.ipset.headers().await
    }
}

fn tables(programs: &Programs, backend: Backend, runner: &Runner) -> BTreeMap<Family, Iptables> {
    let Ok(found) = programs.of(backend) else { return BTreeMap::new() };
    let iptables = |(family, programs): (&Family, &iptables::Programs)| {
        let (programs, runner) = (programs.clone(), runner.clone());
        (*family, Iptables { family: *family, programs, runner })
    };
    found.iter().map(iptables).collect()
}

/// Whether a table has chains of ours only where there are policies on hosts.
fn is_only_for_hosts(table: Table) -> bool {
    match table {
        Table::Raw | Table::Mangle => true,
        Table::Filter | Table::Nat => false,
    }
}

fn set_of(op: &SetOp) -> &SetName {
    match op {
        SetOp::Create(set, _)
        | SetOp::Replace(set, _)
        | SetOp::Recreate(set, _)
        | SetOp::Change { set, .. } => set,
    }
}

fn behind(family: Family, hook: &Hook, rule: &str) -> String {
    let rule = crate::visible::visible(rule);
    format!(
        "in {family} {} {}, another program keeps this rule before our jump: {rule}",
        hook.table,
        hook.from.as_str()
    )
}
