//! Any bytes as a recorded trace: never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use motley_envs::npz::Npz;

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("motley-fuzz-trace-{}.npz", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    let _ = Npz::read(&path);
});
