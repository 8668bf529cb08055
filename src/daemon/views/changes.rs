//! What becomes of the paths in use, for those who read along.

use std::time::Duration;

use brindle_bgp::net::{Family, Prefix};
use brindle_bgp::rib::{self, Cause, Changes, Gap, Place, UsedPath};
use tokio::time::{Instant, sleep, timeout_at};

use super::routes::link_local;
use crate::control::view::{
    self, ChangeCause, ChangeKind, Path, PathStatus, RouteChange, RouteChanges, RouteGap,
};
use crate::control::{Failure, MAX_CHANGES_WAIT, MAX_PAGE, RouteFilter};
use crate::daemon::answer::stopping;
use crate::speaker::SpeakerHandle;

/// How long what follows upon a change is waited for: where one route changes, others do.
const TOGETHER: Duration = Duration::from_millis(20);

/// Changes of what a filter lets through from a place on; where there are none, waits for some.
pub(in crate::daemon) async fn route_changes(
    speaker: &SpeakerHandle,
    filter: &RouteFilter,
    after: Option<&str>,
    wait: Duration,
) -> Result<RouteChanges, Failure> {
    let deadline = Instant::now() + wait.min(MAX_CHANGES_WAIT);
    let mut place = after.map(place).transpose()?;
    loop {
        let read = speaker.route_changes(place, MAX_PAGE).await;
        let (Changes { changes, gap, next }, mut newest) = read.map_err(|_| stopping())?;
        let wanted = changes.into_iter().filter(|change| is_asked(filter, &change.prefix));
        let answer = RouteChanges {
            items: wanted.map(as_change).collect(),
            gap: gap.map(as_gap),
            next: written(next),
        };
        if place.is_none() || !answer.items.is_empty() || answer.gap.is_some() {
            return Ok(answer);
        }
        place = Some(next);
        match timeout_at(deadline, newest.is_beyond(next)).await {
            Ok(more) if Instant::now() < deadline => more.map_err(|_| stopping())?,
            Ok(_) | Err(_) => return Ok(answer),
        }
        sleep(TOGETHER).await;
    }
}

/// Where an answer ended, as clients give it back.
fn written(place: Place) -> String {
    format!("{}-{}", place.history, place.count)
}

fn place(text: &str) -> Result<Place, Failure> {
    let read = |(history, count): (&str, &str)| {
        Some(Place { history: history.parse().ok()?, count: count.parse().ok()? })
    };
    text.split_once('-').and_then(read).ok_or_else(|| {
        Failure::Invalid(format!(
            "after: {text:?} is no place among changes; accepted is `next` of an earlier answer, or nothing"
        ))
    })
}

fn is_asked(filter: &RouteFilter, prefix: &Prefix) -> bool {
    match filter {
        RouteFilter::All(family) => family.is_none_or(|family: Family| family == prefix.family()),
        RouteFilter::Exact(one) => one == prefix,
        RouteFilter::Longest(address) => prefix.contains(*address),
    }
}

fn as_change(change: rib::RouteChange) -> RouteChange {
    let rib::RouteChange { at, prefix, before, after, cause } = change;
    let (cause, peer) = match cause {
        Cause::Announced(peer) => (ChangeCause::Announced, peer),
        Cause::Withdrawn(peer) => (ChangeCause::Withdrawn, peer),
        Cause::Kept(peer) => (ChangeCause::Kept, peer),
        Cause::Judged(peer) => (ChangeCause::Judged, peer),
        Cause::NextHop => (ChangeCause::NextHop, None),
    };
    let change = match (&before[..], &after[..]) {
        ([], _) => ChangeKind::Added,
        (_, []) => ChangeKind::Removed,
        (..) => ChangeKind::Changed,
    };
    let paths = |used: &[UsedPath]| -> Vec<Path> {
        let statuses =
            [PathStatus::Best].into_iter().chain(std::iter::repeat(PathStatus::Multipath));
        used.iter().zip(statuses).map(|(path, status)| as_path(prefix, path, status)).collect()
    };
    RouteChange {
        time: at.into(),
        prefix,
        change,
        cause,
        peer: peer.map(|name| name.to_string()),
        paths: paths(&after),
        before: paths(&before),
    }
}

fn as_path(prefix: Prefix, path: &UsedPath, status: PathStatus) -> Path {
    Path {
        prefix,
        from: path.from.as_ref().map(ToString::to_string),
        path_id: path.path_id.map(|id| id.0),
        next_hop: path.next_hop.map(|next_hop| next_hop.address()),
        next_hop_link_local: link_local(path.next_hop),
        status,
        stale: path.is_stale,
        reason: None,
        attributes: view::Attributes::from(&*path.attributes),
        filters: Vec::new(),
    }
}

fn as_gap(gap: Gap) -> RouteGap {
    match gap {
        Gap::Missed(changes) => RouteGap::Missed { changes },
        Gap::OtherHistory => RouteGap::OtherHistory,
    }
}
