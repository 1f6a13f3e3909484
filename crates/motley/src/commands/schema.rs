//! `motley config --schema`: the settings of a pair as JSON Schema (draft 2020-12), for editors of `--config` files.

use motley_core::{Key, Kind, SHARE};
use serde_json::{Map, Value, json};

/// What a `--config` file of these keys may say; `title` names the pair, `presets` those that it has.
pub(crate) fn schema(title: &str, presets: &[&str], keys: &[Key]) -> Value {
    let mut root = Map::new();
    root.insert("preset".into(), json!({ "enum": presets, "description": "Tuned settings to start from." }));
    for key in keys {
        place(&mut root, &key.name, of_key(key));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "type": "object",
        "properties": root,
        "additionalProperties": false,
    })
}

/// Puts `a.b` under the properties of the table `a`.
fn place(properties: &mut Map<String, Value>, name: &str, leaf: Value) {
    let Some((section, rest)) = name.split_once('.') else {
        properties.insert(name.to_owned(), leaf);
        return;
    };
    let table =
        properties.entry(section).or_insert_with(|| json!({ "type": "object", "properties": {}, "additionalProperties": false }));
    if let Some(Value::Object(inner)) = table.get_mut("properties") {
        place(inner, rest, leaf);
    }
}

fn of_key(key: &Key) -> Value {
    let mut leaf = of_kind(&key.kind);
    leaf.insert("description".into(), key.help.clone().into());
    leaf.insert("default".into(), json!(key.default));
    leaf.into()
}

fn of_kind(kind: &Kind) -> Map<String, Value> {
    let bounded = |name: &str, ends: [(&str, Value); 2]| {
        let mut map = Map::from_iter([("type".to_owned(), Value::from(name))]);
        // An end at infinity is none, and JSON has no word for it.
        map.extend(ends.into_iter().filter(|(_, end)| !end.is_null()).map(|(word, end)| (word.to_owned(), end)));
        map
    };
    let whole = |low: i64, high: i64| bounded("integer", [("minimum", json!(low)), ("maximum", json!(high))]);
    let plain = |value: Value| match value {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    match kind {
        Kind::Bool => plain(json!({ "type": "boolean" })),
        Kind::Int(low, high) => whole(*low, *high),
        Kind::Float(low, high) => bounded("number", [("minimum", json!(low)), ("maximum", json!(high))]),
        Kind::Choice(words) => plain(json!({ "enum": words })),
        Kind::Text => plain(json!({ "type": "string" })),
        Kind::Ints(low, high) => plain(json!({ "type": "array", "items": whole(*low, *high) })),
        Kind::Share => plain(json!({ "anyOf": [
            { "enum": SHARE },
            { "type": "array", "items": { "type": "array", "items": { "type": "string" } } },
        ] })),
        Kind::Any => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_tables_with_their_bounds() {
        let keys = [
            Key::new("seed", 0, Kind::Int(0, 9), "Names the streams."),
            Key::new("algo.lr", 0.1, Kind::Float(0.0, f64::INFINITY), "Rate."),
            Key::new("net.share", "none", Kind::Share, "Who shares."),
            Key::new("net.deep.sizes", vec![64], Kind::Ints(1, 256), "Widths."),
        ];
        let made = schema("happo on a task", &["tuned", "none"], &keys);
        assert_eq!(
            made["properties"]["seed"],
            json!({ "type": "integer", "minimum": 0, "maximum": 9, "description": "Names the streams.", "default": 0 })
        );
        let rate = &made["properties"]["algo"]["properties"]["lr"];
        assert_eq!((&rate["minimum"], &rate["maximum"], &rate["default"]), (&json!(0.0), &Value::Null, &json!(0.1)));
        assert_eq!(made["properties"]["net"]["properties"]["deep"]["properties"]["sizes"]["items"]["maximum"], json!(256));
        assert_eq!(made["properties"]["net"]["additionalProperties"], json!(false));
        assert_eq!(made["properties"]["preset"]["enum"], json!(["tuned", "none"]));
    }
}
