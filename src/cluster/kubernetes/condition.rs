//! Takes `NetworkUnavailable` off our own Node once the network is there: as long as it is set,
//! the node gets no pods. It is not set back when the agent stops: forwarding goes on then.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::sleep;
use tracing::{info, warn};

use super::line::Line;

/// The condition's type, as cloud controllers set it.
pub const CONDITION: &str = "NetworkUnavailable";
/// Why it is `False`.
pub const REASON: &str = "BrindleIsUp";

/// Time until the first try again, and the longest between two.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How often it is looked whether somebody has set it again: cloud controllers that look for
/// routes of their own kind do.
const LOOK_AGAIN: Duration = Duration::from_secs(5 * 60);

/// Clears the condition of the node `name`, and again whenever it is found set; for ever. To be
/// called when the network is there.
pub async fn keep_clear(line: Line, name: Arc<str>) {
    loop {
        if patched(&line, &name).await {
            info!(node = %name, condition = CONDITION, "cleared");
        }
        loop {
            sleep(LOOK_AGAIN).await;
            let node = line.ask(async |client| nodes(client).get(&name).await).await;
            if node.is_ok_and(|node| !is_clear(&node)) {
                warn!(node = %name, condition = CONDITION, "set, though the network is there");
                break;
            }
        }
    }
}

/// Tries until it is done; tells whether it had to be.
async fn patched(line: &Line, name: &str) -> bool {
    let (mut pause, longest) = BACKOFF;
    let mut told = false;
    loop {
        let error = match line.ask(async |client| clear(&nodes(client), name).await).await {
            Ok(changed) => return changed,
            Err(error) => error,
        };
        if !told {
            warn!(node = %name, condition = CONDITION, error, "cannot be cleared; trying again");
            told = true;
        }
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

fn nodes(client: Client) -> Api<Node> {
    Api::all(client)
}

/// Clears it if it is not clear; tells whether it was not.
async fn clear(nodes: &Api<Node>, name: &str) -> Result<bool, kube::Error> {
    // Who may not look, may write.
    if nodes.get(name).await.is_ok_and(|node| is_clear(&node)) {
        return Ok(false);
    }
    let patch = Patch::Strategic(patch(SystemTime::now()));
    nodes.patch_status(name, &PatchParams::default(), &patch).await.map(|_| true)
}

/// Whether the condition says that the network is there. A node without it is told so too: the
/// cloud's controller may come only then.
fn is_clear(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref());
    let mut conditions = conditions.unwrap_or_default().iter();
    conditions.any(|condition| condition.type_ == CONDITION && condition.status == "False")
}

/// A strategic merge: conditions are told apart by their type, and others stay.
fn patch(now: SystemTime) -> Value {
    let now = Time(Timestamp::try_from(now).unwrap_or_default());
    json!({"status": {"conditions": [{
        "type": CONDITION,
        "status": "False",
        "reason": REASON,
        "message": "brindle has brought up the network of this node",
        "lastTransitionTime": now,
        "lastHeartbeatTime": now,
    }]}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_condition_that_says_so_is_clear() {
        for (conditions, want) in [
            (json!([]), false),
            (json!([{"type": "Ready", "status": "False"}]), false),
            (json!([{"type": CONDITION, "status": "True"}]), false),
            (json!([{"type": CONDITION, "status": "Unknown"}]), false),
            (
                json!([{"type": "Ready", "status": "True"}, {"type": CONDITION, "status": "False"}]),
                true,
            ),
        ] {
            let node = json!({"metadata": {}, "status": {"conditions": conditions}});
            let node = serde_json::from_value(node).expect("a Node");
            assert_eq!(is_clear(&node), want, "{conditions}");
        }
        assert!(!is_clear(&Node::default()));
    }
}
