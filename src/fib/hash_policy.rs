//! By what the kernel spreads packets over the hops of a multipath route, where that is asked
//! for; else it is nobody's business here.

use brindle_bgp::net::Family;
use tracing::info;

use super::forwarding::{read_setting, write_setting};
use super::{HashBy, HashState};

/// What is known of it, and what we did about it.
#[derive(Debug, Default)]
pub struct HashPolicy {
    states: [HashState; 2],
}

impl HashPolicy {
    /// The states by [`Family::index`]; of what was never asked for nothing is known.
    pub fn states(&self) -> [HashState; 2] {
        self.states
    }

    /// Sees to it that both families are as wanted, also if somebody has changed that; what
    /// failed, if something did. What is not wanted is not touched, nor put back.
    pub fn ensure(&mut self, wanted: Option<HashBy>) -> Option<String> {
        let Some(wanted) = wanted else {
            self.states = Default::default();
            return None;
        };
        let mut failure = None;
        for family in Family::ALL {
            let key = key(family);
            let state = &mut self.states[family.index()];
            // A kernel without the family has nothing to be set.
            let Some(now) = read_setting(key).ok().and_then(|text| text.parse().ok()) else {
                continue;
            };
            state.now = Some(now);
            if now == wanted.number() {
                continue;
            }
            match write_setting(key, &wanted.number().to_string()) {
                Ok(()) => {
                    info!(%family, key, before = now, now = wanted.number(),
                        "changed by what packets are spread over several hops");
                    state.before.get_or_insert(now);
                    state.now = Some(wanted.number());
                }
                Err(error) => {
                    failure = Some(format!(
                        "setting routes.hashPolicy: /proc/sys/net/{key}: {error}; make it \
                         writable, or set it to {} at boot",
                        wanted.number()
                    ));
                }
            }
        }
        failure
    }
}

fn key(family: Family) -> &'static str {
    match family {
        Family::Ipv4Unicast => "ipv4/fib_multipath_hash_policy",
        Family::Ipv6Unicast => "ipv6/fib_multipath_hash_policy",
    }
}
