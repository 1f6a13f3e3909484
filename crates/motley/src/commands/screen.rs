//! Episodes in the terminal: pictures of half blocks, each drawn over the one before at the rate of frames.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use console::Term;
use motley_view::{Image, terminal};

use crate::commands::plot::drawn;
use crate::error::Failure;
use crate::output::Output;

/// Where no size is told.
const USUAL: (u16, u16) = (24, 80);
/// Lines that are no picture: the caption, and the one that the shell writes next.
const OTHER_LINES: u32 = 2;

/// What a player needs to know of the terminal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    /// Characters across.
    pub(crate) columns: u32,
    /// Lines of pictures.
    pub(crate) rows: u32,
    /// How long a picture stands.
    pub(crate) pause: Duration,
}

impl Screen {
    /// The terminal that standard output is.
    ///
    /// # Errors
    /// Where it is none, or where results are asked for as JSON: exit code 2.
    pub(crate) fn find(pause: Duration, out: &Output) -> Result<Self, Failure> {
        const INSTEAD: &str = "give -o FILE (.gif, .png or .html)";
        if out.is_json() {
            return Err(Failure::usage(format!("--json has no place for pictures in the terminal: {INSTEAD}")));
        }
        if !std::io::stdout().is_terminal() {
            return Err(Failure::usage(format!(
                "standard output is no terminal, so nothing can be played there: {INSTEAD}, or run it in a terminal with 24-bit colours"
            )));
        }
        let (rows, columns) = Term::stdout().size_checked().unwrap_or(USUAL);
        Ok(Self { columns: u32::from(columns.max(1)), rows: u32::from(rows).saturating_sub(OTHER_LINES).max(1), pause })
    }

    /// Plays pictures with their captions; returns how many were shown before the end or `stop`. The last one stays.
    ///
    /// # Errors
    /// A picture that cannot be made, a terminal that takes nothing more.
    pub(crate) fn play(
        self,
        to: &mut impl Write,
        frames: impl Iterator<Item = Result<(Image, String), Failure>>,
        stop: &AtomicBool,
    ) -> Result<usize, Failure> {
        let mut shown = 0;
        let mut lines_before = 0;
        for frame in frames {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let begun = Instant::now();
            let (image, caption) = frame?;
            let (width, height) = terminal::fit(image.width, image.height, self.columns, self.rows);
            let picture = terminal::blocks(&terminal::shrink(&image, width, height).map_err(drawn)?);
            let caption: String = caption.chars().take(self.columns as usize - 1).collect();
            let back = if lines_before > 0 { format!("\x1b[{lines_before}A\r") } else { String::new() };
            lines_before = picture.lines().count() + 1;
            let written = writeln!(to, "{back}{picture}\x1b[2K{caption}").and_then(|()| to.flush());
            written.map_err(|e| Failure::run(format!("the terminal takes no more pictures: {e}")))?;
            shown += 1;
            std::thread::sleep(self.pause.saturating_sub(begun.elapsed()));
        }
        Ok(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_drawn_over_each_other() {
        let screen = Screen { columns: 8, rows: 2, pause: Duration::ZERO };
        let image = |shade: u8| Image { width: 16, height: 8, rgba: [shade, shade, shade, 255].repeat(128) };
        let frames = || (0..3u8).map(|k| Ok((image(k), format!("step {k}, a long caption"))));
        let (mut text, stop) = (Vec::new(), AtomicBool::new(false));
        assert_eq!(screen.play(&mut text, frames(), &stop).unwrap(), 3);
        let text = String::from_utf8(text).unwrap();
        // Two rows of eight half blocks and a caption, three times; the second and third begin three lines higher.
        assert_eq!((text.matches('\u{2580}').count(), text.matches("\x1b[3A\r").count(), text.lines().count()), (48, 2, 9));
        assert!(text.ends_with("\x1b[2Kstep 2,\n") && text.contains("\x1b[38;2;1;1;1m"), "{text:?}");
        stop.store(true, Ordering::Relaxed);
        let mut nothing = Vec::new();
        assert_eq!((screen.play(&mut nothing, frames(), &stop).unwrap(), nothing.len()), (0, 0));
    }
}
