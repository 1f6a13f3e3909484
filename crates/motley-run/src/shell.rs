//! Words that a shell takes as they stand.

use std::path::Path;

/// A word in quotes.
pub fn in_quotes(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A word, in quotes where something in it means something to a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./=:,+-@".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { in_quotes(word) }
}

/// Words with blanks between them.
pub fn line(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// A path as a word.
pub fn path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_read_otherwise_is_quoted() {
        let words =
            ["happo", "mamujoco/Humanoid-9|8", "net.hidden_sizes=[8, 8]", "algo.order=\"fixed\"", "it's", ""].map(String::from);
        let told = "happo 'mamujoco/Humanoid-9|8' 'net.hidden_sizes=[8, 8]' 'algo.order=\"fixed\"' 'it'\\''s' ''";
        assert_eq!(line(&words), told);
        assert_eq!(path(Path::new("my runs/a")), "'my runs/a'");
    }
}
