use super::*;

/// What is seen at a tenth of a second: peers with a session, of these untold, packets so far.
type At = (u64, usize, usize, Option<u64>);

/// Runs it over what is seen, three peers being wanted, and writes down what is to be done.
fn run(mut drain: Drain, start: Instant, seen: &[At]) -> (Vec<(u64, Step)>, Drain) {
    let mut steps = Vec::new();
    for &(tenth, established, untold, arrived) in seen {
        let now = start + Duration::from_millis(tenth * 100);
        let seen = Seen { peers: 3, established, untold, arrived };
        if let Some(step) = drain.look(&seen, now) {
            steps.push((tenth, step));
        }
    }
    (steps, drain)
}

#[test]
fn each_step_comes_when_all_is_told_and_quiet_or_its_time_is_over() {
    use Step::{Close, Done, Withdraw};
    let some = Some;
    for (what, is_resumed, wait, seen, want) in [
        (
            "nobody sends",
            false,
            30,
            vec![
                (0, 3, 3, some(0)),
                (2, 3, 0, some(0)),
                (11, 3, 0, some(0)),
                (12, 3, 0, some(0)),
                (13, 3, 1, some(0)),
                (14, 3, 0, some(0)),
                (23, 3, 0, some(0)),
                (24, 3, 0, some(0)),
                (25, 3, 0, some(0)),
                (26, 1, 0, some(0)),
                (27, 0, 0, some(0)),
                (28, 0, 0, some(0)),
            ],
            vec![(12, Withdraw), (24, Close), (25, Close), (26, Close), (27, Done)],
        ),
        (
            "a packet begins the wait anew",
            false,
            30,
            vec![(0, 3, 0, some(5)), (9, 3, 0, some(6)), (18, 3, 0, some(6)), (19, 3, 0, some(6))],
            vec![(19, Withdraw)],
        ),
        (
            "who has no other way does not stop",
            false,
            3,
            vec![
                (0, 3, 0, some(1)),
                (10, 3, 0, some(2)),
                (20, 3, 0, some(3)),
                (29, 3, 0, some(4)),
                (30, 3, 0, some(5)),
                (59, 3, 0, some(6)),
                (60, 3, 0, some(7)),
            ],
            vec![(30, Withdraw), (60, Close)],
        ),
        (
            "packets that cannot be counted may be there",
            false,
            10,
            vec![(0, 3, 0, None), (99, 3, 0, None), (100, 3, 0, None), (150, 3, 0, None)],
            vec![(100, Withdraw), (150, Close)],
        ),
        (
            "a peer that takes nothing is not waited for beyond the limit",
            false,
            2,
            vec![(0, 3, 1, some(0)), (19, 3, 1, some(0)), (20, 3, 1, some(0)), (40, 3, 1, some(0))],
            vec![(20, Withdraw), (40, Close)],
        ),
        (
            "without sessions there is nobody to wait for",
            false,
            30,
            vec![(0, 0, 0, some(0)), (2, 0, 0, some(0)), (4, 0, 0, some(0))],
            vec![(0, Withdraw), (2, Close), (4, Done)],
        ),
        (
            "peers of an earlier run must first be back",
            true,
            30,
            vec![
                (0, 0, 0, some(0)),
                (20, 2, 0, some(0)),
                (40, 3, 1, some(0)),
                (50, 3, 0, some(0)),
                (60, 3, 0, some(0)),
            ],
            vec![(60, Withdraw)],
        ),
        (
            "a session that does not end is not waited for for ever",
            false,
            1,
            vec![
                (0, 1, 0, None),
                (10, 1, 0, None),
                (20, 1, 0, None),
                (69, 1, 0, None),
                (70, 1, 0, None),
            ],
            vec![(10, Withdraw), (20, Close), (69, Close), (70, Done)],
        ),
    ] {
        let start = Instant::now();
        let begun = Drain::begin(Duration::from_secs(wait), is_resumed, start);
        let (steps, _) = run(begun, start, &seen);
        assert_eq!(steps, want, "{what}");
    }
}

#[test]
fn a_wait_that_is_said_anew_counts_from_the_beginning() {
    let start = Instant::now();
    let busy = |at: u64| (at, 1, 0, Some(at));
    let (_, mut drain) =
        run(Drain::begin(Duration::from_secs(20), false, start), start, &[busy(0)]);
    drain.set_wait(Duration::from_secs(2));
    let (steps, _) = run(drain, start, &[busy(10), busy(30)]);
    assert_eq!(steps, [(30, Step::Withdraw)]);
}

#[test]
fn the_outcome_counts_peers_seconds_and_packets() {
    let start = Instant::now();
    let begun = Drain::begin(Duration::from_secs(2), false, start);
    let seen = [
        (0, 3, 0, Some(0)),
        (10, 2, 0, Some(100)),
        (15, 2, 0, Some(120)),
        (20, 2, 0, Some(140)),
        (40, 2, 0, Some(150)),
        (42, 0, 0, Some(150)),
    ];
    let (_, drain) = run(begun, start, &seen[..3]);
    assert_eq!(drain.outcome().packets_per_second, Some(100));
    let begun = Drain::begin(Duration::from_secs(2), false, start);
    let (_, drain) = run(begun, start, &seen);
    let want = Outcome {
        peers: 3,
        withdrawn_after: Some(Duration::from_secs(2)),
        packets_per_second: Some(5),
    };
    assert_eq!((drain.phase(), drain.outcome()), (Phase::Drained, want));
    let again = Drain::done(want, start);
    let (steps, again) = run(again, start, &seen);
    assert_eq!((steps, again.outcome()), (vec![], want), "what is done stays so");
}
