//! Pictures in a terminal: two pixels a character, the upper half block in the colour of the upper one on the colour of the lower one.

use std::fmt::Write;

use crate::{Image, ViewError};

/// The upper half of a character's cell.
const HALF: char = '\u{2580}';
/// Takes colours back.
const RESET: &str = "\x1b[0m";

/// The largest size in pixels, one a column and two a row, that a picture of `width` by `height` has in `columns` and `rows` of a
/// terminal with its sides in proportion (cells are taken to be twice as tall as wide). At least one pixel by one.
pub fn fit(width: u32, height: u32, columns: u32, rows: u32) -> (u32, u32) {
    let (w, h) = (f64::from(width.max(1)), f64::from(height.max(1)));
    let scale = (f64::from(columns) / w).min(2.0 * f64::from(rows) / h);
    (((w * scale).floor() as u32).clamp(1, columns.max(1)), ((h * scale).floor() as u32).clamp(1, 2 * rows.max(1)))
}

/// The image at another size: a pixel is the mean over the pixels that it covers, by area; the nearest where it covers none whole.
///
/// # Errors
/// [`ViewError::Size`] for an image or a size without pixels.
pub fn shrink(image: &Image, width: u32, height: u32) -> Result<Image, ViewError> {
    if width == 0 || height == 0 || image.width == 0 || image.height == 0 {
        return Err(ViewError::Size { width: f64::from(width), height: f64::from(height) });
    }
    let ends = |k: u32, of: u32, from: u32| {
        let at = |k: u32| (u64::from(k) * u64::from(from) / u64::from(of)) as u32;
        let first = at(k).min(from - 1);
        first..at(k + 1).clamp(first + 1, from)
    };
    let mut rgba = Vec::with_capacity(4 * (width * height) as usize);
    for y in 0..height {
        for x in 0..width {
            let (mut sum, mut count) = ([0u64; 3], 0);
            for row in ends(y, height, image.height) {
                for column in ends(x, width, image.width) {
                    let at = 4 * (row as usize * image.width as usize + column as usize);
                    sum.iter_mut().zip(&image.rgba[at..at + 3]).for_each(|(s, c)| *s += u64::from(*c));
                    count += 1;
                }
            }
            rgba.extend(sum.map(|s| ((s + count / 2) / count) as u8));
            rgba.push(255);
        }
    }
    Ok(Image { width, height, rgba })
}

/// Lines of text that show the image where 24-bit colours are understood; each ends with a line feed and leaves colours as they
/// were. A last odd row of pixels stands on the terminal's own ground.
pub fn blocks(image: &Image) -> String {
    let width = image.width as usize;
    let pixel = |x: usize, y: usize| image.rgba.get(4 * (y * width + x)..).and_then(|rest| rest.first_chunk::<3>()).copied();
    let mut text = String::new();
    for y in (0..image.height as usize).step_by(2) {
        let mut now = None;
        for x in 0..width {
            let cell = (pixel(x, y), pixel(x, y + 1));
            if now != Some(cell) {
                if let (Some([r, g, b]), below) = cell {
                    // Writing to a string cannot fail.
                    let _ = write!(text, "\x1b[38;2;{r};{g};{b}m");
                    if let Some([r, g, b]) = below {
                        let _ = write!(text, "\x1b[48;2;{r};{g};{b}m");
                    }
                }
                now = Some(cell);
            }
            text.push(HALF);
        }
        text.push_str(RESET);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(width: u32, height: u32, colours: &[[u8; 3]]) -> Image {
        Image { width, height, rgba: colours.iter().flat_map(|[r, g, b]| [*r, *g, *b, 255]).collect() }
    }

    const RED: [u8; 3] = [255, 0, 0];
    const BLUE: [u8; 3] = [0, 0, 255];

    #[test]
    fn pictures_fit_in_proportion() {
        assert_eq!(fit(480, 480, 80, 24), (48, 48), "rows are short: two pixels each");
        assert_eq!(fit(480, 120, 80, 24), (80, 20), "columns are short");
        assert_eq!(fit(10, 10, 80, 30), (60, 60), "small ones grow");
        assert_eq!((fit(4000, 1, 80, 24), fit(0, 0, 0, 0)), ((80, 1), (1, 1)));
    }

    #[test]
    fn two_pixels_are_one_character_and_colours_are_said_once() {
        let text = blocks(&image(2, 3, &[RED, RED, BLUE, BLUE, BLUE, RED]));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "\x1b[38;2;255;0;0m\x1b[48;2;0;0;255m\u{2580}\u{2580}\x1b[0m");
        assert_eq!(lines[1], "\x1b[38;2;0;0;255m\u{2580}\x1b[38;2;255;0;0m\u{2580}\x1b[0m", "nothing is below the last row");
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn shrinking_takes_means_and_growing_repeats() {
        let four = image(2, 2, &[RED, BLUE, RED, RED]);
        assert_eq!(shrink(&four, 1, 1).unwrap().rgba, [191, 0, 64, 255]);
        assert_eq!(shrink(&four, 1, 2).unwrap(), image(1, 2, &[[128, 0, 128], RED]));
        assert_eq!(shrink(&image(1, 1, &[BLUE]), 3, 1).unwrap(), image(3, 1, &[BLUE; 3]));
        assert_eq!(shrink(&four, 2, 2).unwrap(), four);
        assert!(shrink(&four, 0, 1).is_err());
    }
}
