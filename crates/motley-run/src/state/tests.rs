//! What is written is what is read, and hostile bytes are refused.

use super::*;
use proptest::prelude::*;

fn sample() -> StateWriter {
    let mut w = StateWriter::new();
    w.put_u8("flags", &[1, 0, 1]);
    w.put_f32("w", &[1.5, -0.0, f32::NAN]);
    {
        let mut critic = w.scope("critic");
        critic.put_f64("mean", &[0.1]);
        critic.scope("adam").put_u64("t", &[u64::MAX]);
        critic.put_text("name", "a/../b \"é\"");
    }
    w.put_f32("empty", &[]);
    w
}

#[test]
fn scopes_nest_and_end() {
    let r = StateReader::from_bytes(sample().to_bytes().unwrap()).unwrap();
    let names: Vec<&str> = r.names().collect();
    assert_eq!(names, ["critic.adam.t", "critic.mean", "critic.name", "empty", "flags", "w"]);
    let critic = r.scope("critic");
    assert_eq!(critic.names().collect::<Vec<_>>(), ["adam.t", "mean", "name"]);
    assert_eq!(critic.scope("adam").u64("t").unwrap(), u64::MAX);
    assert_eq!(critic.f64("mean").unwrap(), 0.1);
    assert_eq!(critic.text("name").unwrap(), "a/../b \"é\"");
    assert_eq!(r.u8s("flags").unwrap(), [1, 0, 1]);
    assert!(r.has("empty") && !r.has("mean") && r.f32s("empty").unwrap().is_empty());
    let bits: Vec<u32> = r.f32s("w").unwrap().iter().map(|x| x.to_bits()).collect();
    assert_eq!(bits, [1.5f32, -0.0, f32::NAN].map(f32::to_bits));
}

#[test]
fn entries_are_copied_bit_for_bit() {
    let r = StateReader::from_bytes(sample().to_bytes().unwrap()).unwrap();
    let mut w = StateWriter::new();
    ["w", "flags", "critic.mean", "critic.adam.t", "critic.name", "empty", "gone"]
        .iter()
        .for_each(|name| r.copy_to(name, &mut w));
    let copy = StateReader::from_bytes(w.to_bytes().unwrap()).unwrap();
    assert_eq!(copy.names().collect::<Vec<_>>(), r.names().collect::<Vec<_>>());
    assert_eq!(copy.raw::<f32>("w", Some(3)).unwrap(), r.raw::<f32>("w", Some(3)).unwrap());
    assert_eq!((copy.u64("critic.adam.t").unwrap(), copy.f64("critic.mean").unwrap()), (u64::MAX, 0.1));
}

#[test]
fn the_official_reader_agrees_and_all_is_aligned() {
    let bytes = sample().to_bytes().unwrap();
    let official = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(official.tensor("flags").unwrap().data(), [1, 0, 1]);
    assert_eq!(official.tensor("critic.adam.t").unwrap().data(), [255; 8]);
    assert_eq!(official.tensor("w").unwrap().shape(), [3]);
    for entry in tensor_table(&bytes).unwrap() {
        assert_eq!(entry.data.start * 8 % entry.dtype.bitsize(), 0, "{}", entry.name);
    }
}

#[test]
fn wrong_lengths_types_and_names_are_told() {
    let r = StateReader::from_bytes(sample().to_bytes().unwrap()).unwrap();
    let mut out = [7.0f32; 2];
    let text = r.f32s_into("w", &mut out).unwrap_err().to_string();
    assert_eq!(text, "checkpoint entry \"w\": expected 2 values of F32, found 3 of F32");
    assert_eq!(out, [7.0; 2]);
    let text = r.scope("critic").f32s("mean").unwrap_err().to_string();
    assert_eq!(text, "checkpoint entry \"critic.mean\": expected values of F32, found 1 of F64");
    assert!(r.f64s("gone").unwrap_err().to_string().contains("no such entry"));
    assert!(r.text("flags").is_ok() && r.scope("no").f32s("w").is_err());
}

#[test]
fn a_name_given_twice_is_an_error() {
    let mut w = sample();
    w.put_f32("w", &[]);
    assert!(matches!(w.to_bytes(), Err(CheckpointError::Duplicate(n)) if n == "w"));
    let mut w = StateWriter::new();
    w.put_u8("__metadata__", &[]);
    assert!(w.to_bytes().is_err());
}

#[test]
fn hostile_sizes_are_refused() {
    let file = |header: &str, data: usize| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        StateReader::from_bytes(bytes)
    };
    let entry = |a: u64, b: u64, n: u64| format!(r#"{{"x":{{"dtype":"U8","shape":[{n}],"data_offsets":[{a},{b}]}}}}"#);
    assert!(file(&entry(0, 4, 4), 4).is_ok());
    assert!(file(&entry(0, 4, 4), 3).is_err());
    assert!(file(&entry(0, u64::MAX - 4, u64::MAX - 4), 4).is_err());
    assert!(file(&entry(4, 0, 4), 4).is_err());
    assert!(file(&entry(0, 4, u64::MAX), 4).is_err());
    assert!(file(&"[".repeat(100_000), 4).is_err());
    let overlap = r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#;
    assert!(file(overlap, 4).is_err());
    for length in [u64::MAX, 1 << 60, 17 << 20] {
        assert!(StateReader::from_bytes(length.to_le_bytes().to_vec()).is_err());
    }
}

proptest! {
    #[test]
    fn decode_encode_is_identity(
        f32s in prop::collection::vec(any::<u32>(), 0..40),
        f64s in prop::collection::vec(any::<u64>(), 0..40),
        u8s in prop::collection::vec(any::<u8>(), 0..40),
        name in "\\PC{0,12}",
    ) {
        let (f32s, f64s): (Vec<f32>, Vec<f64>) =
            (f32s.into_iter().map(f32::from_bits).collect(), f64s.into_iter().map(f64::from_bits).collect());
        let mut w = StateWriter::new();
        w.scope("a").put_f32(&name, &f32s);
        w.scope("b").put_f64(&name, &f64s);
        w.scope("c").put_u8(&name, &u8s);
        let r = StateReader::from_bytes(w.to_bytes().unwrap()).unwrap();
        let bits = |xs: Vec<f32>| xs.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        let bits64 = |xs: Vec<f64>| xs.into_iter().map(f64::to_bits).collect::<Vec<_>>();
        prop_assert_eq!(bits(r.scope("a").f32s(&name).unwrap()), bits(f32s));
        prop_assert_eq!(bits64(r.scope("b").f64s(&name).unwrap()), bits64(f64s));
        prop_assert_eq!(r.scope("c").u8s(&name).unwrap(), u8s);
    }

    #[test]
    fn any_bytes_give_an_answer(mut bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..400, at in 0usize..400, to in any::<u8>()) {
        let _ = StateReader::from_bytes(bytes.clone());
        let mut file = sample().to_bytes().unwrap();
        let at = at % file.len();
        file[at] = to;
        file.truncate(cut.max(1));
        file.append(&mut bytes);
        if let Ok(reader) = StateReader::from_bytes(file) {
            for name in reader.names() {
                let _ = (reader.f32s(name), reader.u8s(name), reader.f64s(name));
            }
        }
    }
}
