//! Values that no file and no message may show: those whose keys speak of a token, a secret or a password, however deep they lie.

use toml::Value;

/// What stands in place of a secret.
pub const MASK: &str = "***";

/// Whether words speak of a secret.
pub fn speaks_of_secrets(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    ["token", "secret", "password"].iter().any(|word| words.contains(word))
}

/// Whether what `name` is set to is a secret: text and tables whose key speaks of one, and numbers, but for those that count or weigh
/// tokens (`max_tokens`, `token_scale`). Switches and what is empty hide nothing.
pub fn is_secret(name: &str, value: &Value) -> bool {
    match value {
        Value::String(text) => !text.is_empty() && speaks_of_secrets(name),
        Value::Table(table) => !table.is_empty() && speaks_of_secrets(name),
        Value::Array(items) => items.iter().any(|item| is_secret(name, item)),
        Value::Integer(_) | Value::Float(_) | Value::Datetime(_) => {
            let name = name.to_ascii_lowercase();
            name.ends_with("token") || speaks_of_secrets(&name.replace("token", ""))
        }
        Value::Boolean(_) => false,
    }
}

/// The value of `name` as it may be shown: secrets in it, or it itself, are [`MASK`].
#[must_use]
pub fn masked(name: &str, value: &Value) -> Value {
    match value {
        _ if is_secret(name, value) => Value::String(MASK.into()),
        Value::Table(table) => Value::Table(table.iter().map(|(key, v)| (key.clone(), masked(key, v))).collect()),
        Value::Array(items) => Value::Array(items.iter().map(|v| masked("", v)).collect()),
        _ => value.clone(),
    }
}

/// Whether two values are alike wherever neither is masked.
pub fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::String(text), _) | (_, Value::String(text)) if text == MASK => true,
        (Value::Table(a), Value::Table(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| alike(value, other)))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b)),
        (a, b) => a == b,
    }
}

/// Where in the value of `name` a secret is missing, because it was read from a file that has [`MASK`] in its place: the dotted name.
pub fn missing(name: &str, value: &Value) -> Option<String> {
    match value {
        Value::String(text) => (is_secret(name, value) && text == MASK).then(|| name.to_owned()),
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
        assert_eq!(masked("task.tokens", &Value::Array(vec!["a".into()])).as_str(), Some(MASK));
        for (name, shown) in
            [("max_tokens", Value::Integer(5)), ("token_scale", Value::Float(0.5)), ("use_password", Value::Boolean(true))]
        {
            assert_eq!(masked(name, &shown), shown, "{name}: a count or a switch is none");
        }
        let deep: Value = "v = {password = {value = 'x'}, auth_tokens = [{v = 'y'}], secrets = {}, token = 12}"
            .parse::<toml::Table>()
            .unwrap()
            .remove("v")
            .unwrap();
        let shown = masked("task.kwargs", &deep).to_string();
        assert!(!["x", "y", "12"].iter().any(|word| shown.contains(&format!("\"{word}\"")) || shown.contains("= 12")), "{shown}");
        assert!(alike(&deep, &masked("task.kwargs", &deep)) && !alike(&deep, &value));
        assert_eq!(missing("task.name", &Value::String(MASK.into())), None, "only what is a secret is missing");
    }
}
