//! The map as the game describes it: images of one bit or one byte a cell.

use motley_envs::skirmish::ground::{Ground, SIZE};

use crate::game::GameError;
use crate::proto::{ImageData, StartRaw};

/// Ground, and width and height of the playable area.
///
/// The pathing grid has one bit a cell in newer versions, first cell in the highest bit, rows from the south; in older ones one byte, rows
/// from the north, 0 where units can walk. Heights are bytes, with rows in the order of the same version's pathing grid.
///
/// # Errors
/// A map of another size than 32 x 32, or images that are not of that size.
pub fn ground(start: &StartRaw) -> Result<(Ground, [f32; 2]), GameError> {
    let nonsense = |expected: &str, found: String| GameError::Nonsense {
        during: "the question about the map",
        expected: expected.into(),
        found,
    };
    let size = start.map_size.as_ref().map(|size| (size.x.unwrap_or(0), size.y.unwrap_or(0)));
    if size != Some((SIZE as i32, SIZE as i32)) {
        return Err(nonsense("a map of 32 x 32 cells", format!("{size:?}")));
    }
    let bytes = |image: &Option<ImageData>, bits: i32| {
        let image = image.as_ref().filter(|image| image.bits_per_pixel == Some(bits))?;
        image.data.clone().filter(|data| data.len() * 8 == SIZE * SIZE * bits as usize)
    };
    let mut walk = [0_u32; SIZE];
    let mut height = [[0_u8; SIZE]; SIZE];
    let from_north = if let Some(data) = bytes(&start.pathing_grid, 1) {
        for (row, cells) in walk.iter_mut().zip(data.as_chunks::<{ SIZE / 8 }>().0) {
            // The highest bit is the first cell, which the ground keeps in its lowest.
            *row = u32::from_be_bytes(*cells).reverse_bits();
        }
        false
    } else if let Some(data) = bytes(&start.pathing_grid, 8) {
        for (row, cells) in walk.iter_mut().rev().zip(data.chunks_exact(SIZE)) {
            *row = cells.iter().enumerate().fold(0, |row, (x, cell)| row | u32::from(*cell == 0) << x);
        }
        true
    } else {
        return Err(nonsense("a pathing grid of 32 x 32 bits or bytes", described(&start.pathing_grid)));
    };
    let data =
        bytes(&start.terrain_height, 8).ok_or_else(|| nonsense("heights of 32 x 32 bytes", described(&start.terrain_height)))?;
    for (y, cells) in data.as_chunks::<SIZE>().0.iter().enumerate() {
        height[if from_north { SIZE - 1 - y } else { y }] = *cells;
    }
    let area = start.playable_area.as_ref().and_then(|area| Some((area.p0.as_ref()?, area.p1.as_ref()?)));
    let extent = area.and_then(|(low, high)| {
        let side = |low: Option<i32>, high: Option<i32>| high.unwrap_or(0).checked_sub(low.unwrap_or(0)).map(|side| side as f32);
        Some([side(low.x, high.x)?, side(low.y, high.y)?])
    });
    match extent {
        Some(extent) if extent.iter().all(|side| *side > 0.0) => Ok((Ground::seen(walk, height), extent)),
        other => Err(nonsense("a playable area", format!("{other:?}"))),
    }
}

fn described(image: &Option<ImageData>) -> String {
    match image {
        None => "none".into(),
        Some(image) => {
            format!("{} bits a cell in {} bytes", image.bits_per_pixel.unwrap_or(0), image.data.as_ref().map_or(0, Vec::len))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{PointI, RectangleI, Size2Di};

    fn image(bits: i32, data: Vec<u8>) -> Option<ImageData> {
        Some(ImageData { bits_per_pixel: Some(bits), size: None, data: Some(data) })
    }

    fn start(pathing: Option<ImageData>, heights: Option<ImageData>) -> StartRaw {
        let corner = |x, y| Some(PointI { x: Some(x), y: Some(y) });
        StartRaw {
            map_size: Some(Size2Di { x: Some(32), y: Some(32) }),
            pathing_grid: pathing,
            terrain_height: heights,
            playable_area: Some(RectangleI { p0: corner(0, 8), p1: corner(32, 24) }),
        }
    }

    #[test]
    fn both_kinds_of_grids_say_the_same() {
        // Cell (x 3, y 1) is free, and 200 high.
        let mut bits = vec![0; 128];
        bits[4] = 0b0001_0000;
        let mut south_first = vec![0; 1024];
        south_first[32 + 3] = 200;
        let mut north_first = vec![255; 1024];
        north_first[30 * 32 + 3] = 0;
        let mut heights_north_first = vec![0; 1024];
        heights_north_first[30 * 32 + 3] = 200;
        for raw in [start(image(1, bits), image(8, south_first)), start(image(8, north_first), image(8, heights_north_first))] {
            let (ground, extent) = ground(&raw).unwrap();
            assert_eq!(ground.walk[1], 1 << 3);
            assert!(ground.walk.iter().enumerate().all(|(y, row)| y == 1 || *row == 0));
            assert_eq!((ground.height[1][3], ground.height[30][3]), (200, 0));
            assert_eq!(extent, [32.0, 16.0]);
        }
    }

    #[test]
    fn what_is_no_map_is_refused() {
        let good = || start(image(1, vec![0; 128]), image(8, vec![0; 1024]));
        assert!(ground(&good()).is_ok());
        let mut bad = [good(), good(), good(), good(), good()];
        bad[0].map_size = Some(Size2Di { x: Some(64), y: Some(32) });
        bad[1].pathing_grid = image(1, vec![0; 127]);
        bad[2].terrain_height = None;
        bad[3].playable_area = None;
        bad[4].pathing_grid = image(-8, vec![0; 128]);
        for raw in &bad {
            assert!(matches!(ground(raw), Err(GameError::Nonsense { .. })), "{raw:?}");
        }
    }
}
