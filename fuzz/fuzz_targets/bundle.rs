//! Any bytes as a policy bundle: never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use motley_run::{RealDisk, read_bundle};

fuzz_target!(|parts: (&[u8], &[u8])| {
    let dir = std::env::temp_dir().join(format!("motley-fuzz-bundle-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("policy.json"), parts.0).unwrap();
    std::fs::write(dir.join("policy.safetensors"), parts.1).unwrap();
    std::fs::write(dir.join("weights.safetensors"), parts.1).unwrap();
    let _ = read_bundle(&RealDisk, &dir);
});
