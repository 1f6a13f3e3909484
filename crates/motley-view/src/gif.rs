//! Frames as a looping GIF with one palette for all of them.

#![allow(clippy::disallowed_types, reason = "colours are counted fast, and sorted before their order matters")]

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use crate::{Image, MAX_SIDE, ViewError, file};

type Rgb = [u8; 3];

/// The bytes of a GIF that shows every frame for `seconds` (kept to hundredths, at least 0.02) and starts again for ever.
///
/// Frames smaller than the largest one stand in its upper left corner on white. Up to 256 colours are kept exactly; of
/// more, the most used, so that flat surfaces stay exact and only soft edges are approximated.
///
/// # Errors
/// No frames, a side beyond [`MAX_SIDE`], bytes that do not fit the sides, or an encoder's refusal.
pub fn encode(frames: &[Image], seconds: f64) -> Result<Vec<u8>, ViewError> {
    let failed = |e: ::gif::EncodingError| ViewError::Encode(e.to_string());
    let width = frames.iter().map(|f| f.width).max().unwrap_or(0);
    let height = frames.iter().map(|f| f.height).max().unwrap_or(0);
    if frames.is_empty() {
        return Err(ViewError::Empty("a GIF needs at least one frame"));
    }
    if !((1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height)) {
        return Err(ViewError::Size { width: width.into(), height: height.into() });
    }
    if let Some(bad) = frames.iter().find(|f| f.rgba.len() != f.width as usize * f.height as usize * 4) {
        return Err(ViewError::Encode(format!("a frame of {} x {} has {} bytes", bad.width, bad.height, bad.rgba.len())));
    }
    let palette = Palette::of(frames);
    let mut out = Vec::new();
    let flat: Vec<u8> = palette.colors.concat();
    let mut encoder = ::gif::Encoder::new(&mut out, width as u16, height as u16, &flat).map_err(failed)?;
    encoder.set_repeat(::gif::Repeat::Infinite).map_err(failed)?;
    // The cast takes NaN to 0 and the rest into range.
    let delay = ((seconds * 100.0).round() as u16).max(2);
    let mut shown: Option<Vec<u8>> = None;
    for frame in frames {
        let indices = palette.indices(frame, width, height);
        let area = shown.as_ref().map_or((0, 0, width, height), |old| changed(old, &indices, width as usize));
        encoder.write_frame(&part(&indices, width as usize, area, delay)).map_err(failed)?;
        shown = Some(indices);
    }
    drop(encoder);
    Ok(out)
}

/// Writes a GIF file, whole or not at all.
///
/// # Errors
/// As [`encode`], and [`ViewError::Write`].
pub fn save(frames: &[Image], seconds: f64, path: &Path) -> Result<(), ViewError> {
    file::write_atomic(path, &encode(frames, seconds)?)
}

/// `(left, top, width, height)` around all pixels that differ; one pixel where none does.
fn changed(old: &[u8], new: &[u8], width: usize) -> (u32, u32, u32, u32) {
    let (mut left, mut top, mut right, mut bottom) = (width, usize::MAX, 0, 0);
    for (y, (a, b)) in old.chunks(width).zip(new.chunks(width)).enumerate() {
        let differs = |x: &usize| a[*x] != b[*x];
        if let (Some(first), Some(last)) = ((0..width).find(differs), (0..width).rev().find(differs)) {
            (left, right, top, bottom) = (left.min(first), right.max(last), top.min(y), y);
        }
    }
    if top == usize::MAX {
        return (0, 0, 1, 1);
    }
    (left as u32, top as u32, (right - left + 1) as u32, (bottom - top + 1) as u32)
}

fn part(indices: &[u8], stride: usize, (left, top, width, height): (u32, u32, u32, u32), delay: u16) -> ::gif::Frame<'static> {
    let rows = indices.chunks(stride).skip(top as usize).take(height as usize);
    let buffer: Vec<u8> = rows.flat_map(|row| &row[left as usize..(left + width) as usize]).copied().collect();
    ::gif::Frame {
        delay,
        dispose: ::gif::DisposalMethod::Keep,
        left: left as u16,
        top: top as u16,
        width: width as u16,
        height: height as u16,
        buffer: Cow::Owned(buffer),
        ..::gif::Frame::default()
    }
}

const WHITE: Rgb = [255; 3];

struct Palette {
    colors: Vec<Rgb>,
    index: HashMap<Rgb, u8>,
}

fn pixels(image: &Image) -> impl Iterator<Item = Rgb> {
    image.rgba.as_chunks::<4>().0.iter().map(|&[r, g, b, _]| [r, g, b])
}

impl Palette {
    fn of(frames: &[Image]) -> Self {
        let mut counts: HashMap<Rgb, u64> = HashMap::from([(WHITE, 1)]);
        for color in frames.iter().flat_map(pixels) {
            *counts.entry(color).or_default() += 1;
        }
        let mut used: Vec<(Rgb, u64)> = counts.into_iter().collect();
        // Ties by colour: the order of a hash map must not reach the file.
        used.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        let colors = if used.len() <= 256 { used.iter().map(|c| c.0).collect() } else { Self::popular(&used) };
        let nearest = |color: Rgb| {
            let distance = |c: &Rgb| -> u32 { c.iter().zip(color).map(|(a, b)| u32::from(a.abs_diff(b)).pow(2)).sum() };
            (0..colors.len()).min_by_key(|&i| distance(&colors[i])).unwrap_or(0) as u8
        };
        let index = used.iter().map(|c| (c.0, nearest(c.0))).collect();
        Self { colors, index }
    }

    /// The most used colour of each of the 256 fullest cells of a grid of 32 x 32 x 32.
    fn popular(used: &[(Rgb, u64)]) -> Vec<Rgb> {
        let mut cells: HashMap<Rgb, (Rgb, u64)> = HashMap::new();
        for (color, count) in used {
            cells.entry(color.map(|x| x / 8)).or_insert((*color, 0)).1 += count;
        }
        let mut cells: Vec<(Rgb, u64)> = cells.into_values().collect();
        cells.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        cells.into_iter().take(256).map(|c| c.0).collect()
    }

    /// One palette index per pixel of the whole canvas.
    fn indices(&self, image: &Image, width: u32, height: u32) -> Vec<u8> {
        let of = |color: &Rgb| self.index.get(color).copied().unwrap_or(0);
        let mut out = vec![of(&WHITE); width as usize * height as usize];
        for (i, color) in pixels(image).enumerate() {
            let (x, y) = (i % image.width as usize, i / image.width as usize);
            out[y * width as usize + x] = of(&color);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(width: u32, height: u32, color: Rgb) -> Image {
        let rgba = [color[0], color[1], color[2], 255].repeat((width * height) as usize);
        Image { width, height, rgba }
    }

    /// Plays a GIF: every frame's full canvas, and its delay.
    fn play(bytes: &[u8]) -> Vec<(Vec<Rgb>, u16)> {
        let mut options = ::gif::DecodeOptions::new();
        options.set_color_output(::gif::ColorOutput::RGBA);
        let mut decoder = options.read_info(bytes).unwrap();
        assert_eq!(decoder.repeat(), ::gif::Repeat::Infinite);
        let (w, h) = (decoder.width() as usize, decoder.height() as usize);
        let mut canvas = vec![[0; 3]; w * h];
        let mut frames = Vec::new();
        while let Some(frame) = decoder.read_next_frame().unwrap() {
            for (i, &[r, g, b, a]) in frame.buffer.as_chunks::<4>().0.iter().enumerate() {
                assert_eq!(a, 255);
                let (x, y) = (i % frame.width as usize, i / frame.width as usize);
                canvas[(y + frame.top as usize) * w + x + frame.left as usize] = [r, g, b];
            }
            frames.push((canvas.clone(), frame.delay));
        }
        frames
    }

    #[test]
    fn few_colours_come_back_exactly_frame_by_frame() {
        let mut frames = vec![flat(20, 10, [9, 9, 9]); 4];
        for (k, frame) in frames.iter_mut().enumerate().skip(1) {
            frame.rgba[4 * (20 * k + 3 * k)..][..3].copy_from_slice(&[200, k as u8, 0]);
            frame.rgba[4 * 150..][..3].copy_from_slice(&[1, 2, 3]);
        }
        frames.push(frames[3].clone());
        let played = play(&encode(&frames, 0.1).unwrap());
        assert_eq!(played.len(), 5);
        for (frame, (canvas, delay)) in frames.iter().zip(&played) {
            assert_eq!((pixels(frame).collect::<Vec<_>>(), 10), (canvas.clone(), *delay));
        }
    }

    #[test]
    fn many_colours_keep_flat_surfaces_exact_and_edges_close() {
        let mut image = flat(200, 200, [17, 130, 77]);
        for i in 0..4000 {
            let (t, at) = (i % 1000, 4 * (i * 7 % 40_000));
            image.rgba[at..at + 3].copy_from_slice(&[(t / 4) as u8, (t * 13 % 256) as u8, 255 - (t / 4) as u8]);
        }
        let bytes = encode(std::slice::from_ref(&image), 0.05).unwrap();
        assert_eq!(bytes, encode(std::slice::from_ref(&image), 0.05).unwrap(), "the same bytes every time");
        for (want, got) in pixels(&image).zip(&play(&bytes)[0].0) {
            let off = want.iter().zip(got).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(off <= if want == [17, 130, 77] { 0 } else { 64 }, "{want:?} {got:?}");
        }
    }

    #[test]
    fn unequal_frames_share_a_canvas_and_bad_input_is_refused() {
        let played = play(&encode(&[flat(4, 2, [0; 3]), flat(3, 3, [5; 3])], f64::NAN).unwrap());
        assert_eq!((played[0].0.len(), played[0].1), (12, 2));
        assert_eq!((played[0].0[11], played[1].0[3], played[1].0[8]), (WHITE, WHITE, [5; 3]));
        assert!(matches!(encode(&[], 0.1), Err(ViewError::Empty(_))));
        assert!(matches!(encode(&[flat(0, 3, [0; 3])], 0.1), Err(ViewError::Size { .. })));
        assert!(encode(&[Image { width: 2, height: 2, rgba: vec![0; 3] }], 0.1).is_err());
    }
}
