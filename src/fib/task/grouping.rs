//! What the task does about next-hop objects.

use std::io;

use tokio::time::Instant;

use super::{Fib, Refusals};
use crate::fib::netlink::ObjectMonitor;
use crate::fib::object::ObjectOp;
use crate::fib::table::Outcome;

impl Fib {
    /// Somebody else changed next-hop objects of ours, or may have while nobody listened.
    pub(super) fn objects_changed(&mut self, heard: io::Result<()>) {
        match heard {
            Ok(()) => _ = self.schedule.resync_soon(Instant::now()),
            Err(error) => self.failed(format!(
                "listening to the kernel about next hops: {error}; until that works, what others \
                 do to them is noticed late"
            )),
        }
    }

    /// Has routes lead by groups, or no more; where that is asked for first, tries whether the
    /// kernel has such.
    pub(super) fn see_to_groups(&mut self) {
        if self.can_group.is_some() || !self.settings.install {
            return;
        }
        let Some(resilience) = self.settings.resilience else {
            self.table.set_groups(None);
            self.objects = None;
            self.can_group = Some(Ok(()));
            return;
        };
        let tried = self.try_groups();
        match &tried {
            Ok(()) => {
                self.table.set_groups(Some(resilience));
                self.objects.get_or_insert_with(|| ObjectMonitor::new(&self.writer));
            }
            Err(why) => {
                self.table.set_groups(None);
                self.failed(format!(
                    "routes.multipath: resilient: the kernel has no resilient next-hop groups \
                     (Linux 5.13 or later): {why}; ordinary multipath routes are written"
                ));
            }
        }
        self.can_group = Some(tried);
    }

    /// Whether the kernel has resilient groups, or what it said.
    fn try_groups(&mut self) -> Result<(), String> {
        let ops = self.table.try_groups().ok_or("all numbers of ours are taken")?;
        let answers = self.writer.write_objects(&ops).map_err(|error| error.to_string())?;
        let refused = answers.into_iter().find_map(Result::err);
        refused.map_or(Ok(()), |refused| Err(refused.to_string()))
    }

    /// Writes next-hop objects; whether the kernel answered to all of it.
    pub(super) fn write_objects(&mut self, ops: &[ObjectOp], refusals: &mut Refusals) -> bool {
        let mut left = ops;
        while !left.is_empty() {
            let answers = match self.writer.write_objects(left) {
                Ok(answers) => answers,
                Err(error) => {
                    self.failed(format!("writing next hops: {error}"));
                    self.schedule.resync_failed(Instant::now());
                    return false;
                }
            };
            let (done, rest) = left.split_at(answers.len().min(left.len()));
            for (op, answer) in done.iter().zip(answers) {
                let why = answer.as_ref().err().cloned();
                match self.table.object_written(op, answer) {
                    Outcome::Done | Outcome::Repaired => {}
                    Outcome::Surprised => _ = self.schedule.resync_soon(Instant::now()),
                    Outcome::Refused => refusals.note_object(op, why),
                }
            }
            left = rest;
        }
        true
    }
}

/// Waits until others changed next-hop objects of ours; for ever if nobody listens.
pub(super) async fn changed(objects: &mut Option<ObjectMonitor>) -> io::Result<()> {
    match objects {
        Some(monitor) => monitor.changed().await,
        None => std::future::pending().await,
    }
}
