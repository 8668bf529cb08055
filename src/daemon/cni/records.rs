//! What the plug-in has made before we came, from its records. It is told before the cluster's
//! state is complete, so that nothing in the kernel changes by our start.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use brindle_policy::{Attachment, Change};
use tracing::info;

use super::super::answer::Known;
use super::interfaces::is_there;
use super::{Area, attachment};
use crate::cni::protocol::Attach;
use crate::cni::record::{self, Record};

/// How often it is tried to read them.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Whether the policy half was told of them. Until it is, it is not told either that it knows
/// everything, and so writes nothing: what the kernel holds stays, and what is not open there
/// stays closed.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Records {
    are_told: bool,
    tried: Option<Instant>,
    /// The policy half is to be told that it knows everything.
    owes_in_sync: bool,
}

impl Records {
    /// What the policy half is to be told when the source told `changes`.
    pub(in crate::daemon) fn before(
        &mut self,
        known: &Known,
        mut changes: Vec<Change>,
    ) -> Vec<Change> {
        if self.are_told {
            return changes;
        }
        self.owes_in_sync |= changes.contains(&Change::InSync);
        changes.retain(|change| *change != Change::InSync);
        changes.extend(self.again(known));
        changes
    }

    /// What it is to be told besides. To be called now and then.
    pub(in crate::daemon) fn again(&mut self, known: &Known) -> Vec<Change> {
        let is_due = self.tried.is_none_or(|at| at.elapsed() >= TRY_AGAIN);
        if self.are_told || !is_due {
            return Vec::new();
        }
        self.tried = Some(Instant::now());
        let data_dir = &known.facts.load().config.cni.data_dir;
        let (attachments, damaged) = match read(&known.name, data_dir) {
            Ok(read) => read,
            Err(error) => {
                let problem = format!(
                    "{}: pods' interfaces are not known: {error}; policies stay as they are, and \
                     new pods closed, until that is mended",
                    record::folder(data_dir).display()
                );
                known.cni.set(Area::Records, vec![problem]);
                return Vec::new();
            }
        };
        known.cni.set(Area::Records, Vec::new());
        known.cni.set(Area::Damaged, damaged);
        self.are_told = true;
        if !attachments.is_empty() {
            info!(pods = attachments.len(), "pods are connected already");
        }
        let in_sync = self.owes_in_sync.then_some(Change::InSync);
        let attached = attachments.into_iter().map(|one| Change::Attached(Arc::new(one)));
        attached.chain(in_sync).collect()
    }
}

/// The interfaces that are there, and what is wrong with records. Those of interfaces that are
/// not are left from before the host was started anew.
fn read(node: &Arc<str>, data_dir: &Path) -> std::io::Result<(Vec<Attachment>, Vec<String>)> {
    let (records, mut damaged) = record::read_all(data_dir)?;
    let mut attachments = Vec::new();
    for record in records {
        match of_record(node, record) {
            Ok(attachment) if is_there(attachment.interface) => attachments.push(attachment),
            Ok(_) => {}
            Err(why) => damaged.push(why),
        }
    }
    let damaged = damaged.into_iter().map(|why| {
        format!("a record of a pod's interface is damaged, and the pod is closed: {why}")
    });
    Ok((attachments, damaged.collect()))
}

fn of_record(node: &Arc<str>, record: Record) -> Result<Attachment, String> {
    let Record { pod, host_interface, addresses, container_id, .. } = record;
    let attach = Attach { pod, host_interface, addresses, wait_seconds: 0 };
    attachment(node, &attach).map_err(|why| format!("container {container_id}: {why}"))
}
