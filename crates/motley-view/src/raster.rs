//! Pictures as pixels, and scenes as pictures.

use motley_core::{Color, Photo, Scene, Shape};
use tiny_skia::{FillRule, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, Stroke, StrokeDash, Transform};

use crate::font::{self, Step};
use crate::picture::{Anchor, Picture, Primitive, rgb};
use crate::{MAX_SIDE, ViewError};

/// Opaque pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// `[height, width, 4]`: red, green, blue, 255.
    pub rgba: Vec<u8>,
}

/// Paints a picture at `scale` pixels per pixel of the picture.
///
/// # Errors
/// [`ViewError::Size`] where a side would have no pixel or more than [`MAX_SIDE`].
pub fn render(picture: &Picture, scale: f32) -> Result<Image, ViewError> {
    let (width, height) = ((picture.width * scale).round(), (picture.height * scale).round());
    let sides = 1.0..=MAX_SIDE as f32;
    let size = || ViewError::Size { width: f64::from(width), height: f64::from(height) };
    if !(sides.contains(&width) && sides.contains(&height)) {
        return Err(size());
    }
    let mut pixmap = Pixmap::new(width as u32, height as u32).ok_or_else(size)?;
    let Color(r, g, b, _) = picture.ground;
    pixmap.fill(color(Color(r, g, b, 1.0)));
    picture.items().iter().for_each(|item| paint(&mut pixmap, item, scale));
    // Over an opaque ground everything is opaque, so premultiplied and plain bytes are the same.
    Ok(Image { width: pixmap.width(), height: pixmap.height(), rgba: pixmap.take() })
}

fn color(Color(r, g, b, a): Color) -> tiny_skia::Color {
    let part = |x: f32| if x.is_nan() { 0.0 } else { x.clamp(0.0, 1.0) };
    tiny_skia::Color::from_rgba(part(r), part(g), part(b), part(a)).unwrap_or(tiny_skia::Color::BLACK)
}

fn brush(fill: Color) -> Paint<'static> {
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    paint.set_color(color(fill));
    paint
}

fn pen(width: f32, dash: f32) -> Stroke {
    let dash = if dash > 0.0 { StrokeDash::new(vec![dash, dash], 0.0) } else { None };
    let line_cap = if dash.is_some() { LineCap::Butt } else { LineCap::Round };
    Stroke { width, line_cap, line_join: LineJoin::Round, dash, ..Stroke::default() }
}

fn paint(pixmap: &mut Pixmap, item: &Primitive, scale: f32) {
    let place = |[x, y]: [f32; 2]| [x * scale, y * scale];
    match item {
        Primitive::Line { points, width, color, dash } => {
            if let Some(path) = polyline(points.iter().copied().map(place), false) {
                pixmap.stroke_path(&path, &brush(*color), &pen(width * scale, dash * scale), Transform::identity(), None);
            }
        }
        Primitive::Polygon { points, fill } => {
            if let Some(path) = polyline(points.iter().copied().map(place), true) {
                pixmap.fill_path(&path, &brush(*fill), FillRule::Winding, Transform::identity(), None);
            }
        }
        Primitive::Disc { at, radius, fill, outline } => {
            let [x, y] = place(*at);
            if let Some(path) = PathBuilder::from_circle(x, y, radius * scale) {
                pixmap.fill_path(&path, &brush(*fill), FillRule::Winding, Transform::identity(), None);
                if let Some((color, width)) = outline {
                    pixmap.stroke_path(&path, &brush(*color), &pen(width * scale, 0.0), Transform::identity(), None);
                }
            }
        }
        Primitive::Text { at, height, text, color, anchor, upwards } => {
            let line = TextLine { at: place(*at), height: height * scale, anchor: *anchor, upwards: *upwards };
            line.paint(pixmap, text, *color);
        }
    }
}

fn polyline(points: impl Iterator<Item = [f32; 2]>, close: bool) -> Option<Path> {
    let mut builder = PathBuilder::new();
    for (i, [x, y]) in points.enumerate() {
        if i == 0 { builder.move_to(x, y) } else { builder.line_to(x, y) }
    }
    if close {
        builder.close();
    }
    builder.finish()
}

struct TextLine {
    at: [f32; 2],
    height: f32,
    anchor: Anchor,
    upwards: bool,
}

impl TextLine {
    fn paint(&self, pixmap: &mut Pixmap, text: &str, fill: Color) {
        let width = (font::PEN * self.height).max(1.0);
        let shift = match self.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => 0.5,
            Anchor::End => 1.0,
        } * font::width(text)
            * self.height;
        let [x, y] = self.at;
        // A pen of an odd number of pixels is sharp when its middle runs through the middle of a pixel.
        let offset = if width.round() % 2.0 == 1.0 { 0.5 } else { 0.0 };
        let snap = |v: f32| (v - offset).round() + offset;
        let [x, y] = if self.upwards { [snap(x), snap(y + shift)] } else { [snap(x - shift), snap(y)] };
        let place = |[u, v]: [f32; 2]| {
            let (u, v) = (u * self.height, v * self.height);
            if self.upwards { [x - v, y - u] } else { [x + u, y - v] }
        };
        let (mut strokes, mut dots) = (PathBuilder::new(), PathBuilder::new());
        for step in font::outline(text) {
            match step {
                Step::Move(p) => strokes.move_to(place(p)[0], place(p)[1]),
                Step::Line(p) => strokes.line_to(place(p)[0], place(p)[1]),
                Step::Curve(c, p) => strokes.quad_to(place(c)[0], place(c)[1], place(p)[0], place(p)[1]),
                Step::Dot(p) => dots.push_circle(place(p)[0], place(p)[1], 0.7 * width),
            }
        }
        let brush = brush(fill);
        if let Some(path) = strokes.finish() {
            pixmap.stroke_path(&path, &brush, &pen(width, 0.0), Transform::identity(), None);
        }
        if let Some(path) = dots.finish() {
            pixmap.fill_path(&path, &brush, FillRule::Winding, Transform::identity(), None);
        }
    }
}

/// Draws a scene `width` pixels wide; the height follows from its view. A caption gets a strip of its own below.
///
/// Shapes whose numbers are not finite are left out. A caption too long for one line is set smaller, then cut.
///
/// # Errors
/// A view that is empty, a picture with no pixel or too many.
pub fn draw(scene: &Scene, width: u32) -> Result<Image, ViewError> {
    render(&picture(scene, width)?, 1.0)
}

/// The scene as a picture `width` pixels wide, for SVG or any scale.
///
/// # Errors
/// A view that is empty.
pub fn picture(scene: &Scene, width: u32) -> Result<Picture, ViewError> {
    let [x0, y0, x1, y1] = scene.view;
    let span = [x1 - x0, y1 - y0];
    if !span.iter().all(|s| *s > 0.0 && s.is_finite()) {
        return Err(ViewError::View(scene.view));
    }
    let wide = width as f32;
    let scale = wide / span[0];
    let field = (span[1] * scale).round();
    let mut picture = Picture::new(wide, field, rgb(0xff_ff_ff));
    let place = |[x, y]: [f32; 2]| [(x - x0) * scale, (y1 - y) * scale];
    let hair = (wide / 480.0).max(1.0);
    scene.shapes.iter().for_each(|shape| picture.push(primitive(shape, place, scale, hair)));
    caption(&mut picture, &scene.caption);
    Ok(picture)
}

/// Adds a strip below the picture with one line of text; nothing for an empty one.
fn caption(picture: &mut Picture, text: &str) {
    if text.is_empty() {
        return;
    }
    let (wide, field) = (picture.width, picture.height);
    let letter = (wide / 48.0).round().clamp(7.0, 28.0);
    let strip = (2.6 * letter).round();
    picture.height += strip;
    picture.rect([0.0, field], [wide, strip], rgb(0xf1_f3_f5));
    picture.line([0.0, field], [wide, field], (wide / 480.0).max(1.0), rgb(0xc8_cd_d3));
    let room = wide - 2.0 * letter;
    let height = (room / font::width(text)).clamp(letter.min(6.0), letter);
    let text = shorten(text, room / height);
    picture.text([letter, field + strip / 2.0 + height / 2.0], height, text, rgb(0x22_26_2b), Anchor::Start);
}

/// The pixels of a photo as they are, with a caption in a strip of its own below, as [`draw`] sets it.
///
/// # Errors
/// Sides that [`render`] does not take, or bytes that do not fit them.
pub fn develop(photo: &Photo, text: &str) -> Result<Image, ViewError> {
    let Photo { width, height, rgb: pixels } = photo;
    if pixels.len() != *width as usize * *height as usize * 3 {
        return Err(ViewError::Encode(format!("a photo of {width} x {height} has {} bytes", pixels.len())));
    }
    let mut picture = Picture::new(*width as f32, *height as f32, rgb(0xff_ff_ff));
    caption(&mut picture, text);
    let mut image = render(&picture, 1.0)?;
    for (to, from) in image.rgba.as_chunks_mut::<4>().0.iter_mut().zip(pixels.as_chunks::<3>().0) {
        to[..3].copy_from_slice(from);
    }
    Ok(image)
}

fn primitive(shape: &Shape, place: impl Fn([f32; 2]) -> [f32; 2], scale: f32, hair: f32) -> Primitive {
    match shape {
        Shape::Circle { at, radius, fill, outline } => {
            Primitive::Disc { at: place(*at), radius: radius * scale, fill: *fill, outline: outline.map(|color| (color, hair)) }
        }
        Shape::Rect { at, size, angle, fill } => {
            let (sin, cos) = angle.sin_cos();
            let corner = |[u, v]: [f32; 2]| {
                let (u, v) = (u * size[0], v * size[1]);
                place([at[0] + u * cos - v * sin, at[1] + u * sin + v * cos])
            };
            let points = [[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]].map(corner).to_vec();
            Primitive::Polygon { points, fill: *fill }
        }
        Shape::Line { from, to, width, color } => {
            Primitive::Line { points: vec![place(*from), place(*to)], width: (width * scale).max(hair), color: *color, dash: 0.0 }
        }
        Shape::Text { at, height, text, color } => {
            let height = height * scale;
            let [x, y] = place(*at);
            Primitive::Text {
                at: [x, y + height / 2.0],
                height,
                text: text.clone(),
                color: *color,
                anchor: Anchor::Middle,
                upwards: false,
            }
        }
    }
}

/// The text, cut with dots where it is wider than `room` heights of a capital.
pub(crate) fn shorten(text: &str, room: f32) -> String {
    if font::width(text) <= room * 1.001 {
        return text.to_owned();
    }
    let mut cut = String::new();
    for letter in text.chars() {
        cut.push(letter);
        if font::width(&cut) + font::width("....") > room {
            cut.pop();
            break;
        }
    }
    cut + "..."
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RED: Color = Color(1.0, 0.0, 0.0, 1.0);
    const BLUE: Color = Color(0.0, 0.0, 1.0, 1.0);

    fn scene(shapes: Vec<Shape>, caption: &str) -> Scene {
        Scene { view: [-2.0, -1.0, 2.0, 1.0], shapes, caption: caption.into() }
    }

    fn pixel(image: &Image, x: u32, y: u32) -> [u8; 3] {
        let at = 4 * (y * image.width + x) as usize;
        [image.rgba[at], image.rgba[at + 1], image.rgba[at + 2]]
    }

    fn dark(image: &Image) -> usize {
        image.rgba.as_chunks::<4>().0.iter().filter(|p| p[0] < 128 && p[1] < 128 && p[2] < 128).count()
    }

    #[test]
    fn shapes_lie_where_the_world_says() {
        let shapes = vec![
            Shape::Circle { at: [1.0, 0.5], radius: 0.25, fill: RED, outline: None },
            Shape::Rect { at: [-1.0, -0.5], size: [0.8, 0.2], angle: std::f32::consts::FRAC_PI_2, fill: BLUE },
            Shape::Line { from: [-2.0, 0.0], to: [2.0, 0.0], width: 0.04, color: Color(0.0, 0.0, 0.0, 1.0) },
        ];
        let image = draw(&scene(shapes, ""), 400).unwrap();
        assert_eq!((image.width, image.height), (400, 200));
        assert!(image.rgba.iter().skip(3).step_by(4).all(|a| *a == 255));
        // 100 pixels a unit: x = 100 (X + 2), y = 100 (1 - Y).
        for (x, y, color) in [(300, 50, [255, 0, 0]), (322, 50, [255, 0, 0]), (330, 50, [255; 3]), (300, 150, [255; 3])] {
            assert_eq!(pixel(&image, x, y), color, "{x} {y}");
        }
        // A quarter turn makes the wide rectangle tall: 20 across, 80 down.
        for (x, y, color) in [(100, 150, [0, 0, 255]), (100, 185, [0, 0, 255]), (92, 150, [0, 0, 255]), (115, 150, [255; 3])] {
            assert_eq!(pixel(&image, x, y), color, "{x} {y}");
        }
        assert_eq!((pixel(&image, 200, 100), pixel(&image, 200, 105)), ([0; 3], [255; 3]));
        let red = image.rgba.as_chunks::<4>().0.iter().filter(|p| p[0] == 255 && p[1] == 0).count() as f32;
        assert!((red - std::f32::consts::PI * 625.0).abs() < 120.0, "{red}");
    }

    #[test]
    fn text_and_captions_are_seen() {
        let label = |text: &str| Shape::Text { at: [0.0, 0.0], height: 0.3, text: text.into(), color: Color(0.0, 0.0, 0.0, 1.0) };
        let plain = draw(&scene(vec![], ""), 400).unwrap();
        assert_eq!(dark(&plain), 0);
        let written = draw(&scene(vec![label("Agent 7")], ""), 400).unwrap();
        assert!(dark(&written) > 300);
        // Centred: as much ink in the middle half as anywhere, none near the edges.
        let ink = |x: u32| (0..200).any(|y| pixel(&written, x, y) != [255; 3]);
        let (first, last) = ((0..400).find(|x| ink(*x)).unwrap(), (0..400).rev().find(|x| ink(*x)).unwrap());
        assert!((first + last).abs_diff(399) <= 3, "{first} {last}");
        let captioned = draw(&scene(vec![], "step 3  return -12.5"), 400).unwrap();
        assert!(captioned.height > 200 && dark(&captioned) > 80);
        let long = draw(&scene(vec![], &"health 100 ".repeat(500)), 400).unwrap();
        let edge = (200..long.height).all(|y| (393..400).all(|x| pixel(&long, x, y).iter().all(|c| *c > 150)));
        assert!(edge, "a long caption ends before the edge");
    }

    #[test]
    fn photos_keep_their_pixels_and_get_the_caption_of_scenes() {
        let rgb: Vec<u8> = (0..400 * 200 * 3).map(|k| (k % 251) as u8).collect();
        let photo = Photo { width: 400, height: 200, rgb };
        let (bare, captioned) = (develop(&photo, "").unwrap(), develop(&photo, "step 3").unwrap());
        let drawn = draw(&scene(vec![], "step 3"), 400).unwrap();
        assert_eq!((bare.height, captioned.height), (200, drawn.height));
        assert!(bare.rgba.as_chunks::<4>().0.iter().zip(photo.rgb.as_chunks::<3>().0).all(|(a, b)| a[..3] == *b && a[3] == 255));
        assert_eq!(captioned.rgba[..bare.rgba.len()], bare.rgba);
        // The line above the strip reaches half a pixel into the field.
        let strip = 4 * 400 * 201;
        assert_eq!(captioned.rgba[strip..], drawn.rgba[strip..]);
        assert!(develop(&Photo { width: 401, ..photo.clone() }, "").is_err());
        assert!(matches!(develop(&Photo { width: 0, height: 0, rgb: vec![] }, ""), Err(ViewError::Size { .. })));
    }

    #[test]
    fn bad_scenes_are_errors_not_panics() {
        let mut empty = scene(vec![], "");
        for view in [[0.0; 4], [1.0, 0.0, -1.0, 1.0], [0.0, 0.0, f32::NAN, 1.0], [0.0, 0.0, f32::INFINITY, 1.0]] {
            empty.view = view;
            assert!(matches!(draw(&empty, 100), Err(ViewError::View(_))));
        }
        assert!(draw(&scene(vec![], ""), 0).is_err());
        let text = draw(&scene(vec![], ""), 100_000).unwrap_err().to_string();
        assert!(text.contains("100000") && text.contains("8192"), "{text}");
        let thin = Scene { view: [0.0, 0.0, 1e-3, 1e3], shapes: vec![], caption: String::new() };
        assert!(matches!(draw(&thin, 100), Err(ViewError::Size { .. })));
    }

    fn any_f32() -> impl Strategy<Value = f32> {
        prop_oneof![-3.0f32..3.0, any::<f32>(), Just(f32::NAN), Just(f32::INFINITY), Just(-1e38f32), Just(0.0)]
    }

    proptest! {
        #[test]
        fn no_shape_panics(xs in prop::collection::vec(any_f32(), 8), text in "\\PC{0,12}") {
            let at = [xs[0], xs[1]];
            let fill = Color(xs[4], xs[5], xs[6], xs[7]);
            let shapes = vec![
                Shape::Circle { at, radius: xs[2], fill, outline: Some(fill) },
                Shape::Rect { at, size: [xs[2], xs[3]], angle: xs[4], fill },
                Shape::Line { from: at, to: [xs[2], xs[3]], width: xs[4], color: fill },
                Shape::Text { at, height: xs[2], text: text.clone(), color: fill },
            ];
            let scene = scene(shapes, &text);
            prop_assert!(draw(&scene, 64).is_ok());
            let document = crate::svg::write(&picture(&scene, 64).unwrap());
            prop_assert!(crate::svg::tests::well_formed(&document).is_ok(), "{}", document);
        }
    }
}
