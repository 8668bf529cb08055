//! What works on the kernel: one piece of work at a time, and the task stays free to answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use brindle_policy::Family;
use brindle_policy::readback::Installed;
use brindle_policy::ruleset::Plan;
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;

use super::BackendChoice;
use super::dataplane::{Applied, ApplyError, CommandError, Dataplane, Tuning, Unavailable};

/// What became of a piece of work.
#[derive(Debug)]
pub(super) enum Done {
    /// The programs were looked for.
    Detected(Result<(), Unavailable>),
    /// The kernel was read.
    Read(BTreeMap<Family, Result<Installed, ApplyError>>),
    /// Plans were carried out.
    Written(Vec<Written>),
    /// What the other backend had of ours was removed: so many chains and jumps.
    Swept(Result<usize, CommandError>),
}

/// What became of the plans of one family.
#[derive(Debug)]
pub(super) struct Written {
    /// The family.
    pub family: Family,
    /// How long it took.
    pub took: Duration,
    /// What was carried out; of several plans all that was said.
    pub result: Result<Applied, ApplyError>,
}

/// The dataplane, with what is done with it.
pub(super) struct Hands {
    /// Away while something is done.
    dataplane: Option<Dataplane>,
    work: Option<LocalBoxFuture<'static, (Option<Dataplane>, Done)>>,
    tuning: Tuning,
}

impl Hands {
    /// With nothing in them.
    pub(super) fn new(tuning: Tuning) -> Self {
        Self { dataplane: None, work: None, tuning }
    }

    /// Whether they do something.
    pub(super) fn is_busy(&self) -> bool {
        self.work.is_some()
    }

    /// The dataplane; `None` if there is none, or while they are busy.
    pub(super) fn dataplane(&mut self) -> Option<&mut Dataplane> {
        self.dataplane.as_mut()
    }

    /// Waits for the end of what they do; for ever if that is nothing. Nothing is lost if it
    /// is not waited for to the end.
    pub(super) async fn done(&mut self) -> Done {
        let Some(work) = &mut self.work else { return std::future::pending().await };
        let (dataplane, done) = work.await;
        self.work = None;
        self.dataplane = dataplane;
        done
    }

    /// Looks for the programs; those there are stay if none are found.
    pub(super) fn detect(&mut self, choice: BackendChoice) {
        let tuning = self.tuning.clone();
        self.begin(|before| async move {
            match Dataplane::detect_tuned(choice, tuning).await {
                Ok(found) => (Some(found), Done::Detected(Ok(()))),
                Err(missing) => (before, Done::Detected(Err(missing))),
            }
        });
    }

    /// Reads what the kernel holds.
    pub(super) fn read(&mut self, families: BTreeSet<Family>) {
        self.begin(|dataplane| async move {
            let mut all = BTreeMap::new();
            if let Some(dataplane) = &dataplane {
                for family in families {
                    all.insert(family, dataplane.read(family).await);
                }
            }
            (dataplane, Done::Read(all))
        });
    }

    /// Carries out plans, those of a family in their order. What fails in one family does not
    /// hold up another.
    pub(super) fn write(&mut self, plans: BTreeMap<Family, Vec<Plan>>) {
        self.begin(|mut dataplane| async move {
            let mut all = Vec::new();
            if let Some(dataplane) = &mut dataplane {
                for (family, plans) in plans {
                    let begin = Instant::now();
                    let result = write(dataplane, &plans).await;
                    all.push(Written { family, took: begin.elapsed(), result });
                }
            }
            (dataplane, Done::Written(all))
        });
    }

    /// Removes what the backend that is not used has of ours.
    pub(super) fn sweep(&mut self) {
        self.begin(|mut dataplane| async move {
            let swept = match &mut dataplane {
                Some(dataplane) => dataplane.remove_leftovers_elsewhere().await,
                None => Ok(0),
            };
            (dataplane, Done::Swept(swept))
        });
    }

    fn begin<F>(&mut self, work: impl FnOnce(Option<Dataplane>) -> F)
    where
        F: Future<Output = (Option<Dataplane>, Done)> + 'static,
    {
        debug_assert!(self.work.is_none(), "one piece of work at a time");
        self.work = Some(work(self.dataplane.take()).boxed_local());
    }
}

async fn write(dataplane: &mut Dataplane, plans: &[Plan]) -> Result<Applied, ApplyError> {
    let mut all = Applied::default();
    for plan in plans {
        let applied = dataplane.apply(plan).await?;
        all.broken_chains.extend(applied.broken_chains);
        all.broken_sets.extend(applied.broken_sets);
        all.lost_tables.extend(applied.lost_tables);
        all.warnings.extend(applied.warnings);
        all.is_astray |= applied.is_astray;
    }
    Ok(all)
}
