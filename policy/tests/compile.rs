//! A ruleset that follows the world, against one compiled from scratch; and plans, carried
//! out.

#[path = "compile/kernel.rs"]
mod kernel;
#[path = "compile/random.rs"]
mod random;
#[path = "world/random.rs"]
mod random_world;

use std::collections::BTreeSet;

use brindle_policy::compile::{Compiler, Settings, compile};
use brindle_policy::diff::{between, diff};
use brindle_policy::{Change, Family, PolicyId, World};
use kernel::Kernel;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

/// What may happen to a compiler.
#[derive(Clone, Debug)]
enum Step {
    /// Changes of the world, told together.
    Changes(Vec<Change>),
    /// Other policies are quarantined.
    Quarantine(BTreeSet<PolicyId>),
    /// Other settings.
    Settings(Settings),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => vec(random::change(), 1..6).prop_map(Step::Changes),
        1 => btree_set(random::policy_id(), 0..4).prop_map(Step::Quarantine),
        1 => random::settings().prop_map(Step::Settings),
    ]
}

fn family() -> impl Strategy<Value = Family> {
    prop::sample::select(&Family::ALL[..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn following_the_world_gives_what_compiling_gives(
        start in vec(random::change(), 0..30),
        steps in vec(step(), 1..12),
        settings in random::settings(),
        family in family(),
    ) {
        let mut world = World::default();
        start.into_iter().for_each(|change| world.apply(change));
        world.take_touched();
        let mut settings = settings;
        let mut quarantined = BTreeSet::new();
        let mut compiler = Compiler::new(&world, settings.clone(), family);
        let mut kernel = Kernel::holding(compiler.ruleset());
        for step in steps {
            let plan = match step.clone() {
                Step::Changes(changes) => {
                    changes.into_iter().for_each(|change| world.apply(change));
                    let touched = world.take_touched();
                    compiler.update(&world, &touched)
                }
                Step::Quarantine(policies) => {
                    quarantined = policies.clone();
                    compiler.quarantine(&world, policies)
                }
                Step::Settings(other) => {
                    settings = other.clone();
                    compiler.set_settings(&world, other)
                }
            };
            kernel.apply(&plan);
            let mut fresh = Compiler::new(&world, settings.clone(), family);
            fresh.quarantine(&world, quarantined.clone());
            prop_assert_eq!(compiler.ruleset(), fresh.ruleset(), "after {:?}", step);
            prop_assert_eq!(&kernel, &Kernel::holding(compiler.ruleset()), "after {:?}", step);
            kernel.assert_no_waste();
        }
    }

    #[test]
    fn a_difference_carried_out_gives_what_is_wanted(
        have in vec(random::change(), 0..40),
        want in vec(random::change(), 0..40),
        settings in random::settings(),
        family in family(),
    ) {
        let ruleset = |changes: Vec<Change>| {
            let mut world = World::default();
            changes.into_iter().for_each(|change| world.apply(change));
            compile(&world, &settings, family)
        };
        let (have, want) = (ruleset(have), ruleset(want));
        for plan in [between(&have, &want), diff(&want, &Kernel::holding(&have).installed())] {
            let mut kernel = Kernel::holding(&have);
            kernel.apply(&plan);
            prop_assert_eq!(&kernel, &Kernel::holding(&want));
        }
        prop_assert!(between(&want, &want).is_empty());
        prop_assert!(diff(&want, &Kernel::holding(&want).installed()).is_empty());
    }
}
