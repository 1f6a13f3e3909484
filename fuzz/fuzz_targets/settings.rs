//! Any text as a word of the command line and as a configuration file: an error or a value inside its range.
#![no_main]

use libfuzzer_sys::fuzz_target;
use motley_core::{Key, Kind, Origin, Settings};

fn settings() -> Settings {
    Settings::new([
        Key::new("seed", 0, Kind::Int(0, i64::MAX), "a whole number"),
        Key::new("algo.lr", 5e-4, Kind::Float(0.0, 1.0), "a number"),
        Key::new("algo.order", "random", Kind::Choice(&["random", "fixed"]), "a word"),
        Key::new("net.share", "none", Kind::Share, "groups"),
        Key::new("net.recurrent", false, Kind::Bool, "a flag"),
    ])
}

fuzz_target!(|text: &str| {
    let mut words = settings();
    if words.set_text(text, Origin::CommandLine).is_ok() {
        let lr: f64 = words.get("algo.lr").unwrap();
        let seed: u64 = words.get("seed").unwrap();
        assert!((0.0..=1.0).contains(&lr) && i64::try_from(seed).is_ok());
    }
    if let Ok(table) = text.parse::<toml::Table>() {
        let mut file = settings();
        if file.merge(&table, &Origin::File("fuzz".into())).is_ok() {
            let mut again = settings();
            again.merge(&file.to_table(), &Origin::Run).unwrap();
            assert_eq!(again.to_table(), file.to_table());
        }
    }
});
