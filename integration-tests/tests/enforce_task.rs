//! The policy half against a real kernel and real packets: changes in, rules in the kernel.

mod support_enforce;

use brindle_policy::{Change, Family};
use support_enforce::{
    Outcome, TestNode, applied, clients_only, namespace, node, on_both, pod, settings, v4, v6,
};

#[test]
fn a_policy_closes_and_a_label_opens() {
    on_both("a_policy_closes_and_a_label_opens", |backend, word| {
        let host = TestNode::new();
        let task = host.start(settings(backend));
        let server = host.pod("server", 10);
        let client = host.pod("client", 11);
        task.apply(vec![
            namespace(),
            node(),
            applied(pod("server", 10, "server")),
            applied(pod("client", 11, "other")),
        ]);
        task.until("programs are found", |status| status.backend.is_some());
        assert!(!host.rules(word).contains("BRN-"), "nothing is written before all is told");
        assert_eq!(client.reach(v4(10)), Outcome::Open);

        task.apply(vec![clients_only(), Change::InSync]);
        let status = task.until("it is ready", |status| status.ready);
        assert_eq!((status.programmed, status.pending.len()), (2, 0));
        for address in [v4(10), v6(10)] {
            // Dropped, not refused.
            assert_eq!(client.reach(address), Outcome::TimedOut, "{word} {address}");
        }
        assert_eq!(server.reach(v4(11)), Outcome::Open, "the other way is open");

        task.apply(vec![applied(pod("client", 11, "client"))]);
        task.settle();
        for address in [v4(10), v6(10)] {
            assert_eq!(client.reach(address), Outcome::Open, "{word} {address}");
        }
        task.apply(vec![applied(pod("client", 11, "other"))]);
        task.settle();
        assert_eq!(client.reach(v4(10)), Outcome::TimedOut);

        let counted = task.block_on(task.handle.counters(Family::V4)).expect("it can be read");
        let dropped: u64 = counted.chains.values().flatten().map(|rule| rule.packets).sum();
        assert!(dropped > 0, "packets are counted");
        task.stop();
        assert!(host.rules(word).contains("BRN-FORWARD"), "all stays when it stops");
        assert_eq!(client.reach(v4(10)), Outcome::TimedOut);
    });
}
