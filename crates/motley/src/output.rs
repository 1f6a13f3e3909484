//! Standard output holds results (with `--json`, one flat object a line); everything else goes to standard error.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value};

use crate::error::Failure;

/// Where a command writes.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    color: bool,
    /// Standard output took a result no longer.
    lost: AtomicBool,
}

impl Output {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        let color = std::io::stderr().is_terminal() && !no_color();
        Self { json, quiet, color, lost: AtomicBool::new(false) }
    }

    /// Whether a moving progress line fits: a terminal, and nobody asked for quiet.
    pub(crate) fn is_lively(&self) -> bool {
        self.color && !self.quiet
    }

    /// Whether results go to a program.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a result could not be written. A reader that closed its pipe wanted no more.
    pub(crate) fn lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    fn put(&self, line: impl Display) {
        match writeln!(std::io::stdout().lock(), "{line}") {
            Err(error) if error.kind() != ErrorKind::BrokenPipe && !self.lost.swap(true, Ordering::Relaxed) => {
                self.warning(format!("results cannot be written to standard output: {error}"));
            }
            _ => {}
        }
    }

    /// A result for a person; nothing under `--json`. What cannot be written is told once and is no reason to stop.
    pub(crate) fn line(&self, text: impl AsRef<str>) {
        if !self.json {
            self.put(plain(text.as_ref()));
        }
    }

    /// A result for a program: `{"event": event, ...}`; nothing without `--json`.
    pub(crate) fn event(&self, event: &str, fields: Value) {
        if self.json {
            self.put(event_line(event, fields));
        }
    }

    /// Progress and remarks.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr().lock(), "{}", message(text.as_ref()));
        }
    }

    /// Something the user should know even when quiet.
    pub(crate) fn warning(&self, text: impl AsRef<str>) {
        let head = if self.color { "\x1b[33mwarning:\x1b[0m" } else { "warning:" };
        let _ = writeln!(std::io::stderr().lock(), "{head} {}", message(text.as_ref()));
    }

    /// Why the command failed.
    pub(crate) fn failure(&self, failure: &Failure) {
        let head = if self.color { "\x1b[31merror:\x1b[0m" } else { "error:" };
        let text = shortened(&failure.message);
        let _ = writeln!(std::io::stderr().lock(), "{head} {}", message(&text));
        self.error_event(failure.code, &text);
    }

    /// The last line of a command that failed, for a program.
    pub(crate) fn error_event(&self, code: u8, message: &str) {
        self.event("error", serde_json::json!({ "exit_code": code, "message": message }));
    }
}

/// `{"event": event, ...}`
pub(crate) fn event_line(event: &str, fields: Value) -> String {
    let mut all = Map::new();
    all.insert("event".into(), event.into());
    if let Value::Object(fields) = fields {
        all.extend(fields);
    }
    Value::Object(all).to_string()
}

/// Whether `NO_COLOR` asks for plain text; set to nothing it does not.
pub(crate) fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Text as a terminal may have it. Names of agents, exceptions and files come from anywhere, and their control characters would colour,
/// move or clear what others wrote.
fn plain(text: &str) -> Cow<'_, str> {
    let odd = |c: char| c.is_control() && !['\n', '\t'].contains(&c);
    if !text.contains(odd) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if odd(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// Text of which no line but the first stands at the margin, where it could be taken for a message of its own.
fn message(text: &str) -> String {
    plain(text).replace('\n', "\n  ")
}

/// A message that quotes a hostile file or word can be as long as that; its beginning and its end say what is wrong.
fn shortened(message: &str) -> String {
    const SHOWN: usize = 4_000;
    let count = message.chars().count();
    if count <= SHOWN {
        return message.to_owned();
    }
    let half = |chars: &mut dyn Iterator<Item = char>| chars.take(SHOWN / 2).collect::<String>();
    let end: String = half(&mut message.chars().rev()).chars().rev().collect();
    format!("{} [{} characters left out] {end}", half(&mut message.chars()), count - SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_told_and_not_obeyed() {
        assert_eq!(plain("\x1b[31mred\r\x07\u{9b}2J\tend"), "\\u{1b}[31mred\\r\\u{7}\\u{9b}2J\tend");
        assert!(matches!(plain("\u{e4}gent \u{4e16}\nsecond line"), Cow::Borrowed(_)), "letters and lines are none");
        assert_eq!(message("raised\nerror: all is lost"), "raised\n  error: all is lost");
    }
}
