//! Drawing for Motley: scenes as PNG and GIF, learning curves as SVG and PNG.
