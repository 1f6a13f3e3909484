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
    ("ia2c", false, 0x626a9d4d99fef3c4),
    ("ia2c", true, 0xac38effb1ba549f1),
    ("ippo", false, 0x29001840f5386011),
    ("ippo", true, 0xb715961f40cfdc16),
    ("reinforce", false, 0x25819fd5d20ee6ce),
    ("reinforce", true, 0x9fbe0a6144d51793),
    ("coma", false, 0x8d9a11ad0b66ca6c),
    ("coma", true, 0xe2cf3efca64eea8d),
    ("maa2c", false, 0xf0fc0fdc8e44fcb8),
    ("maa2c", true, 0xa5018cc64f61c930),
    ("mappo", false, 0x3136c9e178380a99),
    ("mappo", true, 0x7c9f5e122a663f8d),
    ("pareto-ac", false, 0x35bbf8bf4d769dad),
    ("pareto-ac", true, 0x62a0774c6ea1b862),
    ("maddpg", false, 0xa6d06e7f401ec363),
    ("matd3", false, 0x732456d1bca8fe70),
    ("haa2c", false, 0x2c23444569277a8e),
    ("haa2c", true, 0x4bd44dfc6aba869b),
    ("happo", false, 0x12846417b88c87bf),
    ("happo", true, 0x9cdcbe0084cdd2f8),
    ("hatrpo", false, 0xef406d432a30328c),
    ("hatrpo", true, 0xd3364a2f598bc3c1),
    ("haddpg", false, 0xdd177dd96ed8cc92),
    ("hatd3", false, 0x5f915ccab6c2af1f),
    ("hasac", false, 0x649c8a79d442bf7e),
    ("gppo", false, 0x7012f4ec4a469987),
    ("gppo", true, 0x9735ae9d2d9fd548),
    ("hetgppo", false, 0x7012f4ec4a469987),
    ("hetgppo", true, 0x9735ae9d2d9fd548),
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
