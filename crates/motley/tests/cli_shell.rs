//! What the command line tells a shell that completes words, and an editor that checks files of settings.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use assert_cmd::Command;
use serde_json::Value;

/// What bash is offered for the last of these words.
fn offered(words: &[&str]) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_motley"));
    command.env("MOTLEY_COMPLETE", "bash").env("_CLAP_IFS", "\n").env("_CLAP_COMPLETE_INDEX", words.len().to_string());
    let output = command.args(["--", "motley"]).args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn shells_complete_names_and_settings() {
    assert_eq!(offered(&["tr"]), ["train"]);
    assert_eq!(offered(&["train", "hat"]), ["hatrpo", "hatd3"]);
    // Options and their values are not in the way.
    assert_eq!(offered(&["--json", "train", "--out", "here", "-q", "hat"]), ["hatrpo", "hatd3"]);
    assert_eq!(offered(&["train", "happo", "mpe/simple_spr"]), ["mpe/simple_spread_v3"]);
    let pair = ["train", "happo", "mpe/simple_spread_v3"];
    let last = |word: &'static str| offered(&[&pair[..], &[word]].concat());
    assert_eq!(last("algo.cl"), ["algo.clip="]);
    assert_eq!(last("task.num_agents"), ["task.num_agents="]);
    assert_eq!(last("algo.order="), ["algo.order=random", "algo.order=fixed"]);
    assert!(last("preset=").contains(&"preset=tuned".to_owned()));
    assert!(last("lambda").is_empty() && last("algo.order=z").is_empty());
    assert!(offered(&["train", "hatrpo", "mpe/simple_reference_v3", "preset="]).contains(&"preset=tuned".to_owned()));
    // Bash cuts words at `=`, and gives an empty one for it at the end.
    assert_eq!(offered(&[&pair[..], &["algo.order", "=", "f"]].concat()), ["fixed"]);
    assert_eq!(offered(&[&pair[..], &["algo.order", ""]].concat()), ["random", "fixed"]);
    assert_eq!(offered(&[&pair[..], &["seed", ""]].concat()), ["0"]);
    assert_eq!(offered(&["train", "--out", "=", "here", "hat"]), ["hatrpo", "hatd3"]);
    // The cursor may stand before other words.
    let mut command = Command::new(env!("CARGO_BIN_EXE_motley"));
    command.envs([("MOTLEY_COMPLETE", "bash"), ("_CLAP_IFS", "\n"), ("_CLAP_COMPLETE_INDEX", "2")]);
    command.args(["--", "motley", "train", "hapx", "mpe/simple_spread_v3"]).assert().success().stdout("");
    command = Command::new(env!("CARGO_BIN_EXE_motley"));
    command.envs([("MOTLEY_COMPLETE", "bash"), ("_CLAP_IFS", "\n"), ("_CLAP_COMPLETE_INDEX", "2")]);
    command.args(["--", "motley", "train", "hap", "mpe/simple_spread_v3"]).assert().success().stdout("happo");
    assert_eq!(offered(&["check", "matrix/climb"]), ["matrix/climbing"]);
    assert_eq!(offered(&["eval", "--task", "matrix/climb"]), ["matrix/climbing"]);
    assert_eq!(offered(&["bench", "train", "qm"]), ["qmix"]);
    assert_eq!(offered(&["bench", "env", "matrix/climb"]), ["matrix/climbing"]);
    assert_eq!(offered(&["reproduce", "harl-spread-continuous/hap"]), ["harl-spread-continuous/happo"]);
    assert_eq!(offered(&["list", "al"]), ["algorithms"]);
    assert!(offered(&["train", "nothing", "of/this", "al"]).is_empty() && offered(&["nothing", "x"]).is_empty());
}

#[test]
fn a_shell_is_told_how_to_ask() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = Command::new(env!("CARGO_BIN_EXE_motley")).env("MOTLEY_COMPLETE", shell).output().unwrap();
        assert!(output.status.success() && String::from_utf8(output.stdout).unwrap().contains("motley"), "{shell}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_motley")).env("MOTLEY_COMPLETE", "tcsh").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("unknown shell"));
}

/// What is neither within the schema nor refused by it: keys of `value` unknown to `schema`, or values of another type or out of range.
fn faults(schema: &Value, value: &Value, place: &str) -> Vec<String> {
    if let Value::Object(table) = value {
        let known = &schema["properties"];
        return table
            .iter()
            .flat_map(|(key, value)| match known.get(key) {
                Some(schema) => faults(schema, value, &format!("{place}.{key}")),
                None => vec![format!("{place}.{key}: unknown")],
            })
            .collect();
    }
    let fits = match schema["type"].as_str() {
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        _ => schema["enum"].as_array().is_none_or(|words| words.contains(value)),
    };
    let within = |end: &str, keeps: &dyn Fn(f64, f64) -> bool| {
        schema[end].as_f64().is_none_or(|end| value.as_f64().is_none_or(|value| keeps(value, end)))
    };
    let fits = fits && within("minimum", &|value, end| value >= end) && within("maximum", &|value, end| value <= end);
    if fits { Vec::new() } else { vec![format!("{place}: {value} against {schema}")] }
}

/// The settings that a pair resolves to are a file of its schema, and a file that is none is found out by it as by the command.
#[test]
fn the_schema_takes_what_the_command_takes() {
    let run = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_motley")).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    for pair in
        [["happo", "mpe/simple_spread_v3"], ["qmix", "skirmish/3m"], ["hatd3", "vmas/balance"], ["pareto-ac", "matrix/climbing"]]
    {
        let schema: Value = serde_json::from_str(&run(&["config", pair[0], pair[1], "--schema"])).unwrap();
        assert_eq!(schema["title"], format!("{} on {}", pair[0], pair[1]));
        let file: toml::Table = run(&["config", pair[0], pair[1]]).parse().unwrap();
        let file = serde_json::to_value(file).unwrap();
        assert_eq!(faults(&schema, &file, ""), Vec::<String>::new(), "{pair:?}");
        for (wrong, place) in
            [(r#"{"sede": 1}"#, ".sede"), (r#"{"seed": "one"}"#, ".seed"), (r#"{"algo": {"gamma": 1.5}}"#, ".algo.gamma")]
        {
            let found = faults(&schema, &serde_json::from_str(wrong).unwrap(), "");
            assert!(found.len() == 1 && found[0].starts_with(place), "{pair:?}, {wrong}: {found:?}");
        }
        for wrong in ["nosuch=1", "algo.gamma=7", "preset=zzz"] {
            let refused =
                Command::new(env!("CARGO_BIN_EXE_motley")).args(["config", pair[0], pair[1], wrong, "--schema"]).output();
            assert_eq!(refused.unwrap().status.code(), Some(2), "{wrong}");
        }
        let event: Value = serde_json::from_str(&run(&["config", pair[0], pair[1], "--schema", "--json"])).unwrap();
        assert_eq!(event["schema"], schema);
    }
}
