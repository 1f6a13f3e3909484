//! What a person would see: a few flat shapes in world coordinates, drawn by whoever has a canvas.

/// Red, green, blue, opacity, each in `0..=1`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Color(pub f32, pub f32, pub f32, pub f32);

/// A shape in world coordinates (x to the right, y up). Later shapes lie over earlier ones.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// A filled disc.
    Circle {
        /// Centre.
        at: [f32; 2],
        /// Radius.
        radius: f32,
        /// Fill.
        fill: Color,
        /// A thin outline, where given.
        outline: Option<Color>,
    },
    /// A filled rectangle, turned by `angle` radians.
    Rect {
        /// Centre.
        at: [f32; 2],
        /// Full width and height.
        size: [f32; 2],
        /// Radians, counter-clockwise.
        angle: f32,
        /// Fill.
        fill: Color,
    },
    /// A straight line.
    Line {
        /// One end.
        from: [f32; 2],
        /// Other end.
        to: [f32; 2],
        /// Width in world units.
        width: f32,
        /// Colour.
        color: Color,
    },
    /// A short label.
    Text {
        /// Centre of the text.
        at: [f32; 2],
        /// Height of a capital letter in world units.
        height: f32,
        /// What it says (ASCII).
        text: String,
        /// Colour.
        color: Color,
    },
}

/// One picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// `[x_min, y_min, x_max, y_max]` of the part to show.
    pub view: [f32; 4],
    /// From back to front.
    pub shapes: Vec<Shape>,
    /// A line under the picture (utterances, health, score).
    pub caption: String,
}

/// What an environment's own renderer sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Photo {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// `[height, width, 3]`, from the top row down: red, green, blue.
    pub rgb: Vec<u8>,
}
