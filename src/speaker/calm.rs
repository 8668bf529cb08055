//! Keeps a peer that comes and goes all the time from filling the log.

use std::time::{Duration, Instant};

/// Lines about a peer's session that are written within [`WINDOW`].
const LINES: u32 = 6;
const WINDOW: Duration = Duration::from_secs(60);

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// It is written; so many before it were not.
    Written(u32),
    /// It is written, and is the last for a while.
    Last,
    /// It is not written.
    Dropped,
}

/// Counts lines.
#[derive(Debug, Default)]
pub(super) struct Calm {
    since: Option<Instant>,
    lines: u32,
}

impl Calm {
    /// A line is to be written now.
    pub(super) fn line(&mut self, now: Instant) -> Line {
        let is_over = self.since.is_none_or(|since| now.duration_since(since) >= WINDOW);
        let dropped = self.lines.saturating_sub(LINES);
        if is_over {
            (self.since, self.lines) = (Some(now), 0);
        }
        self.lines = self.lines.saturating_add(1);
        match self.lines {
            _ if is_over => Line::Written(dropped),
            ..LINES => Line::Written(0),
            LINES => Line::Last,
            _ => Line::Dropped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_often_is_written_a_few_times_a_minute_and_what_is_rare_each_time() {
        let start = Instant::now();
        let mut calm = Calm::default();
        // Every two seconds for ten minutes.
        let lines: Vec<Line> =
            (0..300).map(|i| calm.line(start + Duration::from_secs(2 * i))).collect();
        let written = lines.iter().filter(|line| **line != Line::Dropped).count();
        assert_eq!(written, 60, "six a minute");
        assert_eq!(lines[..7], {
            let mut first = [Line::Written(0); 7];
            (first[5], first[6]) = (Line::Last, Line::Dropped);
            first
        });
        assert_eq!(lines[30], Line::Written(24), "says how many were dropped");
        let mut calm = Calm::default();
        for i in 0..100 {
            assert_eq!(calm.line(start + Duration::from_secs(60 * i)), Line::Written(0), "{i}");
        }
    }
}
