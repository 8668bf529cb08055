//! Waiting for a condition, with a deadline and with the reason that it was not met.

use std::time::{Duration, Instant};

/// Long enough for a session to come up on a busy machine, retries included.
pub const SOON: Duration = Duration::from_secs(60);

/// Asks `condition` again and again until it says `Ok`, and returns that.
///
/// # Panics
/// After `limit`, with `what` and what `condition` said last.
#[track_caller]
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<T, String>,
) -> T {
    let begin = Instant::now();
    let mut pause = Duration::from_millis(5);
    loop {
        let missing = match condition() {
            Ok(value) => return value,
            Err(missing) => missing,
        };
        assert!(begin.elapsed() < limit, "not within {limit:?}: {what}; last seen: {missing}");
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

/// Asks `condition` for the whole of `span` and panics as soon as it says `Err`: for what
/// must not happen.
///
/// # Panics
/// If the condition is broken within `span`.
#[track_caller]
pub fn throughout(what: &str, span: Duration, mut condition: impl FnMut() -> Result<(), String>) {
    let begin = Instant::now();
    while begin.elapsed() < span {
        if let Err(broken) = condition() {
            panic!("after {:?}, broken: {what}: {broken}", begin.elapsed());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// `Ok` if `holds`, else what `seen` says: for conditions that are a yes or no.
///
/// # Errors
/// If it does not hold.
pub fn met(holds: bool, seen: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(seen()) }
}
