//! What a checkpoint holds of a learner is all that its next update depends on.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Bench, SMALL, Toy};
use motley_algos::Registry;

#[test]
fn a_learner_read_back_goes_on_to_the_bit() {
    for spec in Registry::builtin().iter() {
        for net in ["?net.recurrent=false", "?net.recurrent=true"] {
            for more in [&[][..], &["?algo.target_update=0.3", "?net.critic_recurrent=false", "?algo.gradient=sampled"]] {
                let overrides = [&SMALL[..], &["?net.share=none", net, "?algo.discount_gradient=true"], more].concat();
                let toy = Toy { terminates: true, ..Toy::discrete() };
                let Ok(mut one) = Bench::try_new(spec.name(), toy.make(), &overrides, 4, 1, 1) else { continue };
                one.iterate(2);
                let mut other = Bench::try_new(spec.name(), toy.make(), &overrides, 4, 2, 1).unwrap();
                assert_ne!(one.params(), other.params());
                other.algorithm.load(&one.saved()).unwrap();
                assert!(one.bytes() == other.bytes(), "{} {net}", spec.name());
                // The same data and randomness from here on.
                other.seed = one.seed;
                one.collect();
                other.field.roll = one.field.roll.clone();
                one.update();
                other.skip_updates(2);
                other.update();
                assert!(one.bytes() == other.bytes(), "{} {net} {more:?}: something was not saved", spec.name());
            }
        }
    }
}
