//! Any order of the same objects gives the same ruleset.

#[path = "golden/cluster.rs"]
mod cluster;

use brindle_policy::compile::{Compiler, compile};
use brindle_policy::{Change, World};
use cluster::Cluster;
use proptest::prelude::*;

const CLUSTERS: [&str; 9] = [
    include_str!("golden/two-policies-one-pod/cluster.yaml"),
    include_str!("golden/named-ports/cluster.yaml"),
    include_str!("golden/dual-stack/cluster.yaml"),
    include_str!("golden/many-pods/cluster.yaml"),
    include_str!("golden/attached-pods/cluster.yaml"),
    include_str!("golden/calico-network-sets/cluster.yaml"),
    include_str!("golden/calico-services/cluster.yaml"),
    include_str!("golden/calico-staged/cluster.yaml"),
    include_str!("golden/calico-tiers/cluster.yaml"),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_order_of_the_objects_does_not_matter(
        (which, shuffled) in (0..CLUSTERS.len()).prop_flat_map(|which| {
            (Just(which), Just(Cluster::read(CLUSTERS[which]).changes).prop_shuffle())
        }),
        known in any::<prop::sample::Index>(),
    ) {
        let cluster = Cluster::read(CLUSTERS[which]);
        let world_of = |changes: &[Change]| {
            let mut world = World::default();
            changes.iter().for_each(|change| world.apply(change.clone()));
            world
        };
        let (want, mut shown) = (world_of(&cluster.changes), world_of(&shuffled));
        for family in cluster.families {
            let want = compile(&want, &cluster.settings, family);
            prop_assert_eq!(&compile(&shown, &cluster.settings, family), &want);
            // Some at the start, the others one by one.
            let known = known.index(shuffled.len() + 1);
            shown = world_of(&shuffled[..known]);
            shown.take_touched();
            let mut compiler = Compiler::new(&shown, cluster.settings.clone(), family);
            for change in &shuffled[known..] {
                shown.apply(change.clone());
                let touched = shown.take_touched();
                compiler.update(&shown, &touched);
            }
            prop_assert_eq!(compiler.ruleset(), &want);
        }
    }
}
