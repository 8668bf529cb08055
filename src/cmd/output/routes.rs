//! Routes, paths and what the kernel holds as rows.

use super::table::{Column, Row, Shown, number, text};
use super::text::{Tone, age, list, or_dash};
use crate::control::view::{
    Attributes, KernelRoute, KernelState, Path, PathStatus, Rejected, Route, RouteChange, Target,
};

impl Shown for Path {
    fn columns(is_wide: bool) -> Vec<Column> {
        let mut columns = vec![
            text("PREFIX"),
            text("NEXT HOP"),
            text("FROM"),
            text("STATUS"),
            number("PREF"),
            number("MED"),
            text("AS PATH"),
        ];
        if is_wide {
            columns.extend([
                text("ORIGIN"),
                text("COMMUNITIES"),
                text("ORIGINATOR"),
                text("CLUSTERS"),
            ]);
        }
        columns.push(text("REASON"));
        columns
    }

    fn rows(&self, is_wide: bool) -> Vec<Row> {
        let attributes = &self.attributes;
        let mut cells = vec![
            match self.path_id {
                Some(id) => format!("{} #{id}", self.prefix),
                None => self.prefix.to_string(),
            },
            or_dash(self.next_hop),
            self.from.clone().unwrap_or_else(|| "this node".to_owned()),
            if self.stale { format!("{} (stale)", self.status) } else { self.status.to_string() },
            or_dash(attributes.local_pref),
            or_dash(attributes.med),
            if attributes.as_path.is_empty() { "-".to_owned() } else { attributes.as_path.clone() },
        ];
        if is_wide {
            cells.extend([
                attributes.origin.clone(),
                communities(attributes),
                or_dash(attributes.originator_id.as_ref()),
                list(&attributes.cluster_list),
            ]);
        }
        // What was changed on the way is the reason for what stands in the other columns.
        let changed = self.filters.iter().filter(|step| !step.changes.is_empty());
        let reasons: Vec<String> =
            self.reason.iter().cloned().chain(changed.map(ToString::to_string)).collect();
        cells.push(or_dash((!reasons.is_empty()).then(|| reasons.join("; "))));
        let tone = match self.status {
            PathStatus::Best | PathStatus::Multipath if self.stale => Tone::Middling,
            PathStatus::Best | PathStatus::Multipath | PathStatus::Advertised => Tone::Good,
            PathStatus::Lost => Tone::Middling,
            PathStatus::Unreachable | PathStatus::Refused => Tone::Bad,
        };
        vec![Row::new(cells).tone(3, tone)]
    }

    fn name(&self) -> String {
        self.prefix.to_string()
    }
}

fn communities(attributes: &Attributes) -> String {
    let all =
        [&attributes.communities, &attributes.large_communities, &attributes.extended_communities];
    list(all.into_iter().flatten())
}

impl Shown for Route {
    fn columns(is_wide: bool) -> Vec<Column> {
        Path::columns(is_wide)
    }

    fn rows(&self, is_wide: bool) -> Vec<Row> {
        self.paths.iter().flat_map(|path| path.rows(is_wide)).collect()
    }

    fn name(&self) -> String {
        self.prefix.to_string()
    }
}

impl Shown for RouteChange {
    fn columns(is_wide: bool) -> Vec<Column> {
        Path::columns(is_wide)
    }

    /// The paths in use now, behind the first of them why; where none is, that it is gone.
    fn rows(&self, is_wide: bool) -> Vec<Row> {
        let with_reason = |path: &Path| Path { reason: Some(self.reason()), ..path.clone() };
        let mut paths = self.paths.iter();
        if let Some(first) = paths.next() {
            let rest = paths.flat_map(|path| path.rows(is_wide));
            return with_reason(first).rows(is_wide).into_iter().chain(rest).collect();
        }
        let columns = Self::columns(is_wide).len();
        let mut cells = vec!["-".to_owned(); columns];
        cells[0] = self.prefix.to_string();
        cells[3] = "gone".to_owned();
        cells[columns - 1] = self.reason();
        vec![Row::new(cells).tone(3, Tone::Bad)]
    }

    fn name(&self) -> String {
        self.prefix.to_string()
    }
}

impl Shown for Rejected {
    fn columns(is_wide: bool) -> Vec<Column> {
        let mut columns = vec![
            text("PREFIX"),
            text("FROM"),
            text("RULE"),
            text("REASON"),
            number("COUNT"),
            text("LAST"),
        ];
        if is_wide {
            columns.push(text("OWNER"));
        }
        columns
    }

    fn rows(&self, is_wide: bool) -> Vec<Row> {
        let mut cells = vec![
            self.prefix.to_string(),
            self.from.clone(),
            self.rule.clone(),
            self.reason.clone(),
            or_dash(self.count),
            or_dash(self.last_rejected_seconds.map(age)),
        ];
        if is_wide {
            cells.push(or_dash(self.owner.as_ref()));
        }
        vec![Row::new(cells)]
    }

    fn name(&self) -> String {
        self.prefix.to_string()
    }
}

impl Shown for KernelRoute {
    fn columns(_: bool) -> Vec<Column> {
        vec![text("PREFIX"), text("WANTED"), text("INSTALLED"), text("STATE"), text("PROBLEM")]
    }

    fn rows(&self, _: bool) -> Vec<Row> {
        let tone = match self.state {
            KernelState::Installed => Tone::Good,
            KernelState::Stale => Tone::Middling,
            KernelState::Missing | KernelState::Different => Tone::Bad,
        };
        let cells = [
            self.prefix.to_string(),
            target(self.wanted.as_ref()),
            target(self.installed.as_ref()),
            self.state.to_string(),
            or_dash(self.problem.as_ref()),
        ];
        vec![Row::new(cells).tone(3, tone)]
    }

    fn name(&self) -> String {
        self.prefix.to_string()
    }
}

/// `via 10.0.0.7 eth0`, as people know it.
fn target(target: Option<&Target>) -> String {
    match target {
        None => "-".to_owned(),
        Some(Target::Local) => "unreachable (our own)".to_owned(),
        Some(Target::Via { next_hops }) => {
            let hops = next_hops.iter().map(|hop| match &hop.interface {
                Some(interface) => format!("{} {interface}", hop.address),
                None => hop.address.to_string(),
            });
            format!("via {}", list(hops))
        }
    }
}
