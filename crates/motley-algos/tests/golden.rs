//! Golden hashes: the weights of every algorithm after three updates from a fixed seed, with 1 and with 3 threads.
//!
//! A changed hash means that numerics changed: seeds, initial weights, collection, losses or optimisers give other bits than
//! before, so that published curves cannot be repeated exactly. If that was the intention, write the new table with
//! `MOTLEY_BLESS=1 cargo test --workspace --test golden -- --nocapture` and add a line "changes numerics" to the changelog.
//!
//! The order of hash maps is in none of them (R5 of the list of faults): std seeds its hasher anew in every process, so that a hash that
//! depended on it would not be met twice, and `clippy.toml` forbids `HashMap` and `HashSet`.
//!
//! The toy uses neither exp nor sin, and discrete sampling none of the platform's mathematical library either; the losses
//! use its exp and ln, so the table is for glibc on x86-64.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::whisper::Whisper;
use common::{Bench, SMALL, Toy, hash};
use motley_algos::Registry;

/// (algorithm, recurrent, hash); an algorithm that has no recurrent form has one line. The same on every instruction set
/// (`MOTLEY_SIMD`).
const TABLE: &[(&str, bool, u64)] = &[
    ("ia2c", false, 0x9535c8c9b6bdf629),
    ("ia2c", true, 0x8867ebfb92d66bd7),
    ("ippo", false, 0xd4fa0c4c534fadeb),
    ("ippo", true, 0xddf076f11bd53576),
    ("reinforce", false, 0x7de957d89046b7d1),
    ("reinforce", true, 0x71e072f51b6d9f8c),
    ("coma", false, 0x20dd3536fa8dc5bd),
    ("coma", true, 0x0e675e1fb56a9ed2),
    ("maa2c", false, 0x76ea1d82170589fc),
    ("maa2c", true, 0xd2e2be408b09f421),
    ("mappo", false, 0x4f294d2a48985da2),
    ("mappo", true, 0xa37085770e107197),
    ("pareto-ac", false, 0xa965fadc1211b244),
    ("pareto-ac", true, 0xca5aa3e8569f778a),
    ("maddpg", false, 0xa6d06e7f401ec363),
    ("matd3", false, 0x732456d1bca8fe70),
    ("haa2c", false, 0x7af694f95a55d871),
    ("haa2c", true, 0xeaddeee5e4aeb893),
    ("happo", false, 0x32689ed73d2508e6),
    ("happo", true, 0x9825bcc2b9d0d9ff),
    ("hatrpo", false, 0x87beeeeae982d930),
    ("hatrpo", true, 0x5c817f033861f68d),
    ("haddpg", false, 0xdd177dd96ed8cc92),
    ("hatd3", false, 0x5f915ccab6c2af1f),
    ("hasac", false, 0x649c8a79d442bf7e),
    ("gppo", false, 0x7f07f14b2637cb2c),
    ("gppo", true, 0xd2d18e6444a7a004),
    ("hetgppo", false, 0x7f07f14b2637cb2c),
    ("hetgppo", true, 0xd2d18e6444a7a004),
    ("iql", false, 0xc64c8607570dc94c),
    ("iql", true, 0x5e3c8f21b62bf1fa),
    ("vdn", false, 0x42892489605578cb),
    ("vdn", true, 0x805c523bfe84fb3a),
    ("qmix", false, 0x2f5f66580671aa18),
    ("qmix", true, 0xbebbcb3e383647cf),
    ("qtran", false, 0x792d71182a40cb70),
    ("qtran", true, 0xd0de4dbee282e5b8),
    ("had3qn", false, 0x52a9c043acba3b0f),
    ("u-qmix", false, 0x2a9b7e8f091d03be),
    ("u-qmix", true, 0x628ff2e5d8ea7ce8),
    ("u-mappo", false, 0x327f1c45b8745560),
    ("u-mappo", true, 0xca29441544eff092),
];

/// (algorithm, settings, hash) of agents that share networks or hear each other.
const TOGETHER: &[(&str, &[&str], u64)] = &[
    ("mappo", &["net.share=all"], 0x3ba4989dea5520f2),
    ("haddpg", &["net.share=all"], 0x07c04280e99cde96),
    ("gppo", &["net.trunk=gnn"], 0x07250bf53a3734f0),
    ("hetgppo", &["net.trunk=gnn"], 0x270323a8fefab999),
    ("vdn", &["net.trunk=gnn"], 0xba1ff9ba32913cce),
    ("hatd3", &["net.trunk=gnn"], 0x659ebe45aa0b2e6e),
];

/// The hash of all weights after three updates.
fn after_three(mut bench: Bench) -> u64 {
    bench.iterate(3);
    hash(bench.params().iter().flat_map(|p| p.to_bits().to_le_bytes()))
}

/// The hash of all weights, or `None` where the algorithm refuses the settings.
fn golden(algo: &str, recurrent: bool, threads: usize) -> Option<u64> {
    let has_memory = Registry::builtin().get(algo).ok()?.keys().iter().any(|k| k.name == "net.recurrent");
    if recurrent && !has_memory {
        return None;
    }
    let recurrent = format!("?net.recurrent={recurrent}");
    // Steps large enough for ratios to be clipped: without that HAPPO is HAA2C.
    let overrides = [&SMALL[..], &["?net.share=none", &recurrent, "?algo.minibatches=2", "?algo.lr=0.02"]].concat();
    Some(after_three(Bench::try_new(algo, Toy::discrete().make(), &overrides, 5, 17, threads).ok()?))
}

#[test]
fn weights_after_three_updates() {
    let mut table = Vec::new();
    for spec in Registry::builtin().iter() {
        for recurrent in [false, true] {
            let one = golden(spec.name(), recurrent, 1);
            assert_eq!(one, golden(spec.name(), recurrent, 3), "{} (recurrent {recurrent}) depends on threads", spec.name());
            table.extend(one.map(|h| (spec.name(), recurrent, h)));
        }
    }
    if std::env::var_os("MOTLEY_BLESS").is_some() {
        table.iter().for_each(|(algo, recurrent, h)| println!("    (\"{algo}\", {recurrent}, 0x{h:016x}),"));
        return;
    }
    if cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")) {
        for line in &table {
            let known = TABLE.iter().find(|t| (t.0, t.1) == (line.0, line.1));
            assert_eq!(known, Some(line), "numerics changed, or the table has no such line: see the head of this file");
        }
        assert_eq!(TABLE.len(), table.len(), "the table has lines of algorithms that are gone");
    }
}

#[test]
fn agents_together() {
    for (algo, own, known) in TOGETHER {
        let overrides = [&SMALL[..], &["?algo.minibatches=2", "?algo.lr=0.02"], own].concat();
        let run = |threads| after_three(Bench::try_new(algo, Whisper::make(), &overrides, 5, 17, threads).unwrap());
        let found = run(1);
        assert_eq!(found, run(3), "{algo} {own:?} depends on threads");
        if std::env::var_os("MOTLEY_BLESS").is_some() {
            println!("    (\"{algo}\", &{own:?}, 0x{found:016x}),");
        } else if cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")) {
            assert_eq!(*known, found, "numerics changed for {algo} {own:?}: see the head of this file");
        }
    }
}
