//! The logs: what is written, read back by readers of the test's own; what a failing sink costs; what resume cuts.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use motley_core::Metrics;
use motley_run::{EvalEpisode, Point, Sink, Sinks, read_eval, read_metrics};
use proptest::prelude::*;

fn metrics(values: &[(&str, f64)]) -> Metrics {
    let mut m = Metrics::new();
    values.iter().for_each(|(n, v)| m.add(n, *v));
    m
}

fn episode(env_steps: u64, episode: u64) -> EvalEpisode {
    EvalEpisode { env_steps, episode, team_return: -1.25, mean_agent_return: 0.1, length: 25, won: None }
}

fn events_file(dir: &Path) -> PathBuf {
    let found: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.file_name().unwrap().to_str().unwrap().starts_with("events.out.tfevents."))
        .collect();
    assert_eq!(found.len(), 1, "one file a run");
    found[0].clone()
}

/// CRC-32C bit by bit (reflected polynomial 0x82F63B78), and TFRecord's mask.
fn masked_crc(data: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 };
        }
    }
    // As a 64-bit shift of the doubled word, not the rotation of the code under test.
    let twice = u64::from(!crc) << 32 | u64::from(!crc);
    ((twice >> 15) as u32).wrapping_add(0xA282_EAD8)
}

fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        assert_eq!(u32::from_le_bytes(bytes[8..12].try_into().unwrap()), masked_crc(&bytes[..8]));
        let data = &bytes[12..12 + length];
        assert_eq!(u32::from_le_bytes(bytes[12 + length..16 + length].try_into().unwrap()), masked_crc(data));
        out.push(data.to_vec());
        bytes = &bytes[16 + length..];
    }
    out
}

/// The fields of a protobuf message: (number, wire type, bytes of the value).
fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, Vec<u8>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let (byte, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(byte & 0x7F) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    }
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let size = match key & 7 {
            0 => {
                let value = varint(&mut bytes);
                out.push((key >> 3, 0, value.to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            5 => 4,
            2 => varint(&mut bytes) as usize,
            other => panic!("wire type {other}"),
        };
        out.push((key >> 3, key & 7, bytes[..size].to_vec()));
        bytes = &bytes[size..];
    }
    out
}

fn field(message: &[u8], number: u64) -> Option<Vec<u8>> {
    fields(message).into_iter().find(|f| f.0 == number).map(|f| f.2)
}

/// (step, tag, value) of all scalars in an event file, in order.
fn scalars(path: &Path) -> Vec<(i64, String, f32)> {
    let records = records(&fs::read(path).unwrap());
    assert_eq!(field(&records[0], 3).unwrap(), b"brain.Event:2");
    let mut out = Vec::new();
    for record in &records[1..] {
        let wall = f64::from_le_bytes(field(record, 1).unwrap().try_into().unwrap());
        assert!(wall > 1.7e9, "seconds since 1970: {wall}");
        let step = field(record, 2).map_or(0, |b| i64::from_le_bytes(b.try_into().unwrap()));
        for (number, _, value) in fields(&field(record, 5).unwrap()) {
            assert_eq!(number, 1);
            let tag = String::from_utf8(field(&value, 1).unwrap_or_default()).unwrap();
            out.push((step, tag, f32::from_le_bytes(field(&value, 2).unwrap().try_into().unwrap())));
        }
    }
    out
}

#[test]
fn the_checksum_of_the_test_is_the_standard_one() {
    let plain = masked_crc(b"123456789").wrapping_sub(0xA282_EAD8).rotate_left(15);
    assert_eq!(plain, 0xE306_9283);
}

#[test]
fn lines_are_flat_and_fixed() {
    let dir = tempfile::tempdir().unwrap();
    let mut sinks = Sinks::open(dir.path(), false).unwrap();
    sinks.log(128, &metrics(&[("loss/a/policy", 0.1), ("env_steps", 9.0), ("x\"y", f64::NAN), ("train/fps", 3.0)]));
    sinks.log(256, &metrics(&[("loss/a/policy", 1e-30)]));
    sinks.eval(&[episode(256, 0), EvalEpisode { won: Some(true), team_return: f64::NAN, ..episode(256, 1) }]);
    let text = fs::read_to_string(dir.path().join("metrics.jsonl")).unwrap();
    assert_eq!(
        text,
        "{\"env_steps\":128,\"loss/a/policy\":0.1,\"x\\\"y\":null,\"train/fps\":3.0}\n{\"env_steps\":256,\"loss/a/policy\":1e-30}\n"
    );
    let text = fs::read_to_string(dir.path().join("eval.jsonl")).unwrap();
    let first = r#"{"env_steps":256,"episode":0,"return":-1.25,"mean_agent_return":0.1,"length":25}"#;
    assert_eq!(text.lines().next(), Some(first));
    let eval = read_eval(&dir.path().join("eval.jsonl")).unwrap().lines;
    assert_eq!(eval[0], episode(256, 0));
    assert!(eval[1].won == Some(true) && eval[1].team_return.is_nan());
    assert!(sinks.take_warnings().is_empty());
    assert!(fs::read_dir(dir.path()).unwrap().all(|e| !e.unwrap().file_name().to_str().unwrap().contains("tfevents")));
}

#[test]
fn tensorboard_records_are_read_by_a_reader_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut sinks = Sinks::open(dir.path(), true).unwrap();
    sinks.log(0, &metrics(&[("train/episode_return_sum", -3.5)]));
    sinks.log(1 << 40, &metrics(&[("loss/a/policy", 0.1), ("loss/b/policy", f64::INFINITY)]));
    let expected = [
        (0, "train/episode_return_sum".to_owned(), -3.5),
        (1 << 40, "loss/a/policy".to_owned(), 0.1),
        (1 << 40, "loss/b/policy".to_owned(), f32::INFINITY),
    ];
    assert_eq!(scalars(&events_file(dir.path())), expected);
}

/// Resume gives the logs of a run never stopped.
#[test]
fn resume_cuts_to_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let log = |sinks: &mut Sinks, steps: std::ops::Range<u64>| {
        for step in steps {
            sinks.log(step, &metrics(&[("a", step as f64 / 3.0)]));
            sinks.eval(&[episode(step, 0)]);
        }
    };
    let mut sinks = Sinks::open(dir.path(), true).unwrap();
    log(&mut sinks, 0..4);
    let at_checkpoint = sinks.lengths();
    assert_eq!(at_checkpoint.len(), 3);
    for (name, length) in &at_checkpoint {
        assert_eq!(fs::metadata(dir.path().join(name)).unwrap().len(), *length);
    }
    log(&mut sinks, 4..7);
    drop(sinks);
    let whole = fs::read(dir.path().join("metrics.jsonl")).unwrap();
    fs::write(dir.path().join("metrics.jsonl"), &whole[..whole.len() - 5]).unwrap();

    let mut sinks = Sinks::open(dir.path(), true).unwrap();
    sinks.truncate_to(&at_checkpoint);
    assert_eq!(sinks.lengths(), at_checkpoint);
    log(&mut sinks, 4..7);
    assert_eq!(fs::read(dir.path().join("metrics.jsonl")).unwrap(), whole);
    let steps: Vec<u64> = read_eval(&dir.path().join("eval.jsonl")).unwrap().lines.iter().map(|e| e.env_steps).collect();
    assert_eq!(steps, [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(scalars(&events_file(dir.path())).len(), 7);
    assert!(sinks.take_warnings().is_empty());
}

#[test]
fn resume_from_nothing_empties_and_a_short_log_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut sinks = Sinks::open(dir.path(), true).unwrap();
    sinks.log(1, &metrics(&[("a", 1.0)]));
    let mut lengths = sinks.lengths();
    sinks.truncate_to(&Default::default());
    assert_eq!(fs::read(dir.path().join("metrics.jsonl")).unwrap(), b"");
    assert!(scalars(&events_file(dir.path())).is_empty(), "the version record stands");
    sinks.log(2, &metrics(&[("a", 2.0)]));
    assert_eq!(scalars(&events_file(dir.path())).len(), 1);
    lengths.insert("eval.jsonl".into(), 10);
    sinks.truncate_to(&lengths);
    let warnings = sinks.take_warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("eval.jsonl is shorter than the 10 bytes"), "{warnings:?}");
}

#[test]
fn a_short_and_torn_log_can_be_appended_to() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.jsonl");
    fs::write(&path, "{\"env_steps\":1}\n{\"env_st").unwrap();
    let mut sinks = Sinks::open(dir.path(), false).unwrap();
    sinks.truncate_to(&[("metrics.jsonl".to_owned(), 100)].into());
    sinks.log(3, &metrics(&[("a", 1.0)]));
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\"env_steps\":1}\n{\"env_steps\":3,\"a\":1.0}\n");
    assert_eq!(sinks.take_warnings().len(), 1);
}

#[test]
fn switching_tensorboard_off_between_keeps_its_history() {
    let dir = tempfile::tempdir().unwrap();
    let mut lengths = Default::default();
    for (step, on) in [(1, true), (2, false), (3, true)] {
        let mut sinks = Sinks::open(dir.path(), on).unwrap();
        sinks.truncate_to(&lengths);
        sinks.log(step, &metrics(&[("a", 1.0)]));
        lengths = sinks.lengths();
        assert!(sinks.take_warnings().is_empty());
    }
    let steps: Vec<i64> = scalars(&events_file(dir.path())).iter().map(|s| s.0).collect();
    assert_eq!(steps, [1, 3]);
    assert_eq!(read_metrics(&dir.path().join("metrics.jsonl")).unwrap().lines.len(), 3);
}

struct Flaky(u32);

impl Sink for Flaky {
    fn name(&self) -> String {
        "flaky".into()
    }
    fn point(&mut self, _: &Point) -> io::Result<()> {
        self.0 += 1;
        assert!(self.0 <= 2, "a sink that failed is not used again");
        if self.0 == 2 { Err(io::Error::other("gone")) } else { Ok(()) }
    }
    fn episodes(&mut self, _: &[EvalEpisode]) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_sink_of_ones_own_may_fail_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut sinks = Sinks::open(dir.path(), false).unwrap();
    sinks.push(Box::new(Flaky(0)));
    for step in 0..4 {
        sinks.log(step, &metrics(&[("a", 1.0)]));
    }
    assert_eq!(sinks.take_warnings(), ["flaky is switched off, training goes on: gone"]);
    assert_eq!(sinks.lengths().len(), 2);
    assert_eq!(read_metrics(&dir.path().join("metrics.jsonl")).unwrap().lines.len(), 4);
}

#[test]
fn only_the_last_line_may_be_torn() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.jsonl");
    let whole = "{\"env_steps\":1,\"a\":0.5,\"b\":null}\n{\"env_steps\":2,\"a\":1}\n";
    for cut in 0..=whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        assert_eq!(read_metrics(&path).unwrap().lines.len(), whole[..cut].matches('\n').count());
    }
    let points = read_metrics(&path).unwrap().lines;
    assert_eq!((points[1].env_steps, points[1].get("a"), points[1].get("b")), (2, Some(1.0), None));
    assert!(points[0].get("b").unwrap().is_nan());
    for (bad, line) in
        [("{\"env_steps\":1\n{}\n", "line 1"), ("{\"env_steps\":1}\n{\"a\":1}\n", "line 2"), ("\u{0}\n\n", "line 1")]
    {
        fs::write(&path, bad).unwrap();
        let error = read_metrics(&path).unwrap_err().to_string();
        assert!(error.contains(line) && error.contains("without that line"), "{error}");
    }
    fs::write(&path, "{\"env_steps\":1,\"a\":\"x\"}\n").unwrap();
    assert!(read_metrics(&path).unwrap_err().to_string().contains("not a number"));
    fs::write(&path, [0xFF, b'\n', b'{', b'}', b'\n']).unwrap();
    assert!(read_metrics(&path).is_err());
}

/// What an editor, a shell or a file system after a crash leaves at the end is no reason to lose all before it.
#[test]
fn a_torn_last_line_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.jsonl");
    for torn in [&b"{\"bad\n"[..], b"\0\0\0\n", b"\xFF\n", b"{\"env_steps\":2,\"a\n"] {
        fs::write(&path, [b"{\"env_steps\":1}\n", torn].concat()).unwrap();
        let log = read_metrics(&path).unwrap();
        assert_eq!(log.lines.len(), 1);
        assert!(log.warning.unwrap().contains("the last line (2) is torn"));
    }
    fs::write(&path, "{\"env_steps\":1}\n{\"env_st").unwrap();
    assert_eq!(read_metrics(&path).unwrap().warning, None, "a run at work is read while it writes");
    let path = dir.path().join("eval.jsonl");
    let whole = r#"{"env_steps":256,"episode":0,"return":-1.25,"mean_agent_return":0.1,"length":25}"#;
    fs::write(&path, format!("{whole}\n{{\"bad\n")).unwrap();
    let log = read_eval(&path).unwrap();
    assert!(log.lines.len() == 1 && log.warning.is_some());
    fs::write(&path, format!("{whole}\n{{}}\n")).unwrap();
    assert!(read_eval(&path).unwrap_err().to_string().contains("line 2"), "whole, but no episode");
}

proptest! {
    #[test]
    fn what_is_logged_is_read_bit_for_bit(
        steps in any::<u64>(),
        values in prop::collection::btree_map("\\PC{0,12}", any::<f64>(), 0..8),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let pairs: Vec<(&str, f64)> = values.iter().map(|(n, v)| (n.as_str(), *v)).collect();
        Sinks::open(dir.path(), true).unwrap().log(steps, &metrics(&pairs));
        let points = read_metrics(&dir.path().join("metrics.jsonl")).unwrap().lines;
        prop_assert_eq!(points[0].env_steps, steps);
        let expected: Vec<(&str, f64)> = pairs.into_iter().filter(|p| p.0 != "env_steps").collect();
        prop_assert_eq!(points[0].values.len(), expected.len());
        for ((name, value), (wanted, number)) in points[0].values.iter().zip(&expected) {
            prop_assert_eq!(name, wanted);
            prop_assert!(value.to_bits() == number.to_bits() || (!number.is_finite() && value.is_nan()));
        }
        prop_assert_eq!(scalars(&events_file(dir.path())).len(), expected.len());
    }
}
