//! Values that no file and no message may show: those whose keys speak of a token, a secret or a password, however deep they lie.

use toml::Value;

/// What stands in place of a secret.
pub const MASK: &str = "***";

/// Whether a key names a secret.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["token", "secret", "password"].iter().any(|word| name.contains(word))
}

/// The value of `name` as it may be shown: secrets in it, or it itself, are [`MASK`]. Empty text hides nothing and stays.
#[must_use]
pub fn masked(name: &str, value: &Value) -> Value {
    match value {
        Value::String(text) if text.is_empty() => value.clone(),
        _ if is_secret(name) => Value::String(MASK.into()),
        Value::Table(table) => Value::Table(table.iter().map(|(key, v)| (key.clone(), masked(key, v))).collect()),
        Value::Array(items) => Value::Array(items.iter().map(|v| masked("", v)).collect()),
        _ => value.clone(),
    }
}

/// Where in the value of `name` a secret is missing, because it was read from a file that has [`MASK`] in its place: the dotted name.
pub fn missing(name: &str, value: &Value) -> Option<String> {
    match value {
        Value::String(text) => (is_secret(name) && text == MASK).then(|| name.to_owned()),
        Value::Table(table) => table.iter().find_map(|(key, v)| missing(&format!("{name}.{key}"), v)),
        Value::Array(items) => items.iter().find_map(|v| missing(name, v)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_at_any_depth() {
        let value: Value = "v = {url = 'x', Api_Token = 's', list = [{password = 7, n = 1}], token = ''}"
            .parse::<toml::Table>()
            .unwrap()
            .remove("v")
            .unwrap();
        let shown = masked("task.kwargs", &value);
        assert_eq!(shown["url"].as_str(), Some("x"));
        assert_eq!((shown["Api_Token"].as_str(), shown["token"].as_str()), (Some(MASK), Some("")));
        assert_eq!((shown["list"][0]["password"].as_str(), shown["list"][0]["n"].as_integer()), (Some(MASK), Some(1)));
        assert_eq!(missing("task.kwargs", &value), None);
        assert_eq!(missing("task.kwargs", &shown).as_deref(), Some("task.kwargs.Api_Token"));
        assert_eq!(masked("log.secret", &Value::Integer(3)).as_str(), Some(MASK));
        assert_eq!(missing("task.name", &Value::String(MASK.into())), None, "only what is a secret is missing");
    }
}
