//! Draining in a line.

use std::fmt::Write;
use std::time::Duration;

use crate::control::view::{Drain, DrainState, short_duration};
use crate::visible::visible;

/// One line: what was done, what still comes in, whether the node may be stopped.
pub(super) fn screen(drain: &Drain) -> String {
    format!("{}\n", visible(&line(drain)))
}

fn line(drain: &Drain) -> String {
    let told = format!(
        "graceful-shutdown community sent to {} {}",
        drain.peers,
        if drain.peers == 1 { "peer" } else { "peers" }
    );
    let withdrawn = || {
        let after = drain.withdrawn_after_seconds.unwrap_or_default();
        let after = Duration::try_from_secs_f64(after.max(0.0)).unwrap_or_default();
        format!("{told}; local pod routes withdrawn after {}", short_duration(after))
    };
    let arriving = match (drain.packets_per_second, &drain.not_counted) {
        (Some(packets), _) => format!("{packets} packets/s arriving"),
        (None, Some(why)) => format!("packets not counted: {why}"),
        (None, None) => "packets not counted yet".to_owned(),
    };
    match drain.state {
        DrainState::Serving => format!("{} is not drained", drain.node),
        DrainState::Announcing => format!("{told}; {arriving}; waiting for traffic to leave"),
        DrainState::Withdrawing => format!("{}; {arriving}; waiting", withdrawn()),
        DrainState::Closing => format!("{}; {arriving}; sessions end", withdrawn()),
        DrainState::Drained if drain.safe_to_stop && drain.packets_per_second.is_none() => {
            let mut line = withdrawn();
            if let Some(why) = &drain.not_counted {
                write!(line, "; packets not counted: {why}").expect("a String takes everything");
            }
            line + "; drained"
        }
        DrainState::Drained if drain.safe_to_stop => {
            format!("{}; {arriving}; safe to stop", withdrawn())
        }
        DrainState::Drained => {
            format!("{}; STILL {arriving}: who sends them knows no other way", withdrawn())
        }
    }
}

/// What the status says of it; nothing of a node that serves.
pub(super) fn status(drain: &Drain) -> Option<String> {
    let word = match drain.state {
        DrainState::Serving => return None,
        DrainState::Announcing | DrainState::Withdrawing | DrainState::Closing => "draining",
        DrainState::Drained => "drained",
    };
    let since = short_duration(Duration::from_secs(drain.since_seconds.unwrap_or_default()));
    let reason = drain.reason.as_deref().unwrap_or("no reason known");
    Some(format!("{word} since {since} ({reason}): {}", line(drain)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_was_done_and_whether_the_node_may_be_stopped() {
        let drain = |state, packets_per_second, safe_to_stop| Drain {
            state,
            peers: 14,
            since_seconds: Some(90),
            reason: Some("Node/n1 is cordoned".to_owned()),
            withdrawn_after_seconds: Some(30.02),
            packets_per_second,
            safe_to_stop,
            ..Drain::serving("n1")
        };
        let done =
            "graceful-shutdown community sent to 14 peers; local pod routes withdrawn after 30s";
        for (drain, want) in [
            (
                drain(DrainState::Drained, Some(0), true),
                format!("{done}; 0 packets/s arriving; safe to stop"),
            ),
            (
                drain(DrainState::Drained, Some(7), false),
                format!("{done}; STILL 7 packets/s arriving: who sends them knows no other way"),
            ),
            (drain(DrainState::Drained, None, true), format!("{done}; drained")),
            (
                Drain {
                    not_counted: Some("no right".to_owned()),
                    ..drain(DrainState::Drained, None, true)
                },
                format!("{done}; packets not counted: no right; drained"),
            ),
            (
                drain(DrainState::Closing, Some(0), false),
                format!("{done}; 0 packets/s arriving; sessions end"),
            ),
            (
                Drain { peers: 1, ..drain(DrainState::Announcing, None, false) },
                "graceful-shutdown community sent to 1 peer; packets not counted yet; waiting for \
                 traffic to leave"
                    .to_owned(),
            ),
            (Drain::serving("n1"), "n1 is not drained".to_owned()),
        ] {
            assert_eq!(line(&drain), want);
        }
        let status_of = |state| status(&drain(state, Some(0), true));
        assert_eq!(status_of(DrainState::Serving), None);
        let drained = format!(
            "drained since 1m30s (Node/n1 is cordoned): {done}; 0 packets/s arriving; safe to stop"
        );
        assert_eq!(status_of(DrainState::Drained), Some(drained));
    }
}
