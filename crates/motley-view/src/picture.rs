//! What a picture is made of, whether it becomes SVG or pixels.

use motley_core::Color;

/// Where the given point lies on a line of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// At the left end.
    Start,
    /// In the middle.
    Middle,
    /// At the right end.
    End,
}

/// One thing to draw. Lengths are in pixels of the picture, y grows downwards.
#[derive(Debug, Clone, PartialEq)]
pub enum Primitive {
    /// A line through points, with round joins.
    Line {
        /// At least two.
        points: Vec<[f32; 2]>,
        /// Width of the line.
        width: f32,
        /// Its colour.
        color: Color,
        /// Length of dashes and gaps; 0 for a solid line.
        dash: f32,
    },
    /// A filled polygon.
    Polygon {
        /// Corners, at least three.
        points: Vec<[f32; 2]>,
        /// Its colour.
        fill: Color,
    },
    /// A filled disc.
    Disc {
        /// Centre.
        at: [f32; 2],
        /// Radius.
        radius: f32,
        /// Its colour.
        fill: Color,
        /// Colour and width of the outline.
        outline: Option<(Color, f32)>,
    },
    /// One line of text.
    Text {
        /// The anchor on the baseline.
        at: [f32; 2],
        /// Height of a capital letter.
        height: f32,
        /// What it says.
        text: String,
        /// Its colour.
        color: Color,
        /// Where `at` lies.
        anchor: Anchor,
        /// Reads from bottom to top.
        upwards: bool,
    },
}

/// A flat list of primitives on an opaque ground.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Pixels across.
    pub width: f32,
    /// Pixels down.
    pub height: f32,
    /// The ground; its opacity is ignored.
    pub ground: Color,
    items: Vec<Primitive>,
}

/// Coordinates beyond this are drawn at it: far outside any picture, and safe for every renderer.
const FAR: f32 = 20_000.0;

impl Picture {
    /// An empty picture.
    pub fn new(width: f32, height: f32, ground: Color) -> Self {
        Self { width, height, ground, items: Vec::new() }
    }

    /// Adds a primitive on top; one with a coordinate or length that is not finite is left out.
    pub fn push(&mut self, mut item: Primitive) {
        let (points, length): (&mut [[f32; 2]], f32) = match &mut item {
            Primitive::Line { points, width, .. } => (points, *width),
            Primitive::Polygon { points, .. } => (points, 1.0),
            Primitive::Disc { at, radius, .. } => (std::slice::from_mut(at), *radius),
            Primitive::Text { at, height, .. } => (std::slice::from_mut(at), *height),
        };
        if length > 0.0 && length < FAR && points.iter().flatten().all(|x| x.is_finite()) {
            points.iter_mut().flatten().for_each(|x| *x = x.clamp(-FAR, FAR));
            self.items.push(item);
        }
    }

    /// From back to front.
    pub fn items(&self) -> &[Primitive] {
        &self.items
    }

    /// Adds a solid line between two points.
    pub fn line(&mut self, from: [f32; 2], to: [f32; 2], width: f32, color: Color) {
        self.push(Primitive::Line { points: vec![from, to], width, color, dash: 0.0 });
    }

    /// Adds a filled rectangle with an upper left corner and a size.
    pub fn rect(&mut self, [x, y]: [f32; 2], [w, h]: [f32; 2], fill: Color) {
        self.push(Primitive::Polygon { points: vec![[x, y], [x + w, y], [x + w, y + h], [x, y + h]], fill });
    }

    /// Adds a level line of text with its anchor on the baseline at `at`.
    pub fn text(&mut self, at: [f32; 2], height: f32, text: impl Into<String>, color: Color, anchor: Anchor) {
        self.push(Primitive::Text { at, height, text: text.into(), color, anchor, upwards: false });
    }
}

/// A colour from `0xRRGGBB`.
pub const fn rgb(hex: u32) -> Color {
    Color((hex >> 16 & 0xff) as f32 / 255.0, (hex >> 8 & 0xff) as f32 / 255.0, (hex & 0xff) as f32 / 255.0, 1.0)
}
