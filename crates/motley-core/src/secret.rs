//! Values that no file and no message may show: those whose keys speak of a token, a secret or a password, however deep they lie.

use toml::Value;

/// What stands in place of a secret.
pub const MASK: &str = "***";

/// Whether what `name` is set to is a secret: text whose key speaks of one, and numbers of a secret or a password (those of tokens count
/// them). Empty text hides nothing.
pub fn is_secret(name: &str, value: &Value) -> bool {
    let name = name.to_ascii_lowercase();
    let speaks_of = |words: &[&str]| words.iter().any(|word| name.contains(word));
    match value {
        Value::String(text) => !text.is_empty() && speaks_of(&["token", "secret", "password"]),
        Value::Integer(_) | Value::Float(_) | Value::Datetime(_) => speaks_of(&["secret", "password"]),
        Value::Array(items) => items.iter().any(|item| is_secret(&name, item)),
        Value::Boolean(_) | Value::Table(_) => false,
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
        assert_eq!(missing("task.name", &Value::String(MASK.into())), None, "only what is a secret is missing");
    }
}
