//! Any bytes as a checkpoint's state: an error or a state, and a state that is written again reads as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use motley_run::{StateReader, StateWriter};

fuzz_target!(|bytes: &[u8]| {
    let Ok(reader) = StateReader::from_bytes(bytes.to_vec()) else { return };
    let names: Vec<String> = reader.names().map(ToOwned::to_owned).collect();
    let mut writer = StateWriter::new();
    let mut kept = Vec::new();
    for name in &names {
        // NaN is no number to compare: bits are.
        if let Ok(values) = reader.f32s(name) {
            writer.put_f32(name, &values);
            kept.push((name, values.iter().map(|v| v.to_bits()).collect::<Vec<_>>()));
        }
    }
    let Ok(written) = writer.to_bytes() else { return };
    let again = StateReader::from_bytes(written).unwrap();
    for (name, bits) in kept {
        assert_eq!(again.f32s(name).unwrap().iter().map(|v| v.to_bits()).collect::<Vec<_>>(), bits);
    }
});
