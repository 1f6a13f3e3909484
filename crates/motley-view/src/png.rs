//! Images as PNG.

use std::path::Path;

use crate::{Image, ViewError, file};

/// The bytes of a PNG file, 8-bit RGB.
///
/// # Errors
/// [`ViewError::Encode`] where the bytes do not fit the sides.
pub fn encode(image: &Image) -> Result<Vec<u8>, ViewError> {
    let failed = |e: ::png::EncodingError| ViewError::Encode(e.to_string());
    let mut out = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut out, image.width, image.height);
    encoder.set_color(::png::ColorType::Rgb);
    encoder.set_depth(::png::BitDepth::Eight);
    let rgb: Vec<u8> = image.rgba.as_chunks::<4>().0.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect();
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(&rgb).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(out)
}

/// Writes a PNG file, whole or not at all.
///
/// # Errors
/// As [`encode`], and [`ViewError::Write`].
pub fn save(image: &Image, path: &Path) -> Result<(), ViewError> {
    file::write_atomic(path, &encode(image)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_come_back() {
        let rgba = vec![255, 0, 0, 255, 0, 255, 0, 255, 1, 2, 3, 255, 9, 9, 9, 255, 0, 0, 255, 255, 7, 7, 7, 255];
        let image = Image { width: 3, height: 2, rgba };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        save(&image, &path).unwrap();
        let file = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
        let mut reader = ::png::Decoder::new(file).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (3, 2));
        assert_eq!(pixels, [255, 0, 0, 0, 255, 0, 1, 2, 3, 9, 9, 9, 0, 0, 255, 7, 7, 7]);
        assert!(encode(&Image { width: 5, ..image }).is_err());
    }
}
