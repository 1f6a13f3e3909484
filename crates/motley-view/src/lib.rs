//! Drawing for Motley: scenes as PNG and GIF and in the terminal, learning curves as SVG and PNG.
//!
//! Everything is first a [`Picture`], a flat list of primitives, and then either SVG text ([`svg::write`]) or pixels
//! ([`raster::render`]). Letters in pixels come from a small font of our own, so no font file is ever looked for.
//!
//! ```
//! use motley_core::{Color, Scene, Shape};
//! let disc = Shape::Circle { at: [0.0, 0.0], radius: 0.3, fill: Color(0.2, 0.4, 0.9, 1.0), outline: None };
//! let scene = Scene { view: [-1.0, -1.0, 1.0, 1.0], shapes: vec![disc], caption: "step 1".into() };
//! let image = motley_view::raster::draw(&scene, 200)?;
//! let file = motley_view::png::encode(&image)?;
//! assert!(image.height > 200 && file.starts_with(b"\x89PNG"));
//! # Ok::<(), motley_view::ViewError>(())
//! ```

pub mod curves;
pub mod file;
mod font;
pub mod gif;
pub mod html;
pub mod intervals;
pub mod picture;
pub mod png;
pub mod raster;
pub mod svg;
pub mod terminal;
mod ticks;

use thiserror::Error;

pub use curves::{Band, Chart, Lines, Series};
pub use intervals::{Panel, Row};
pub use picture::{Anchor, Picture, Primitive};
pub use raster::Image;

/// Why something could not be drawn or written.
#[derive(Debug, Error)]
pub enum ViewError {
    /// A picture with no pixels, or with more than fit.
    #[error("a picture of {width} x {height} pixels cannot be drawn: each side must be 1 to {MAX_SIDE}")]
    Size {
        /// Pixels across.
        width: f64,
        /// Pixels down.
        height: f64,
    },
    /// A scene whose view is empty, turned over or not finite.
    #[error("the scene's view {0:?} is empty: expected finite x_min < x_max and y_min < y_max")]
    View([f32; 4]),
    /// Nothing to draw.
    #[error("nothing to draw: {0}")]
    Empty(&'static str),
    /// A file name that says no known format.
    #[error("{path}: unknown picture format, expected a name that ends in {expected}")]
    Format {
        /// The path as given.
        path: String,
        /// What is known.
        expected: &'static str,
    },
    /// An encoder refused the picture.
    #[error("the picture could not be encoded: {0}")]
    Encode(String),
    /// A file could not be written.
    #[error("{path}: {why}")]
    Write {
        /// The path as given.
        path: String,
        /// What the system said.
        why: std::io::Error,
    },
}

/// The longest side of a picture in pixels.
pub const MAX_SIDE: u32 = 8192;
