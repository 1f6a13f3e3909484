//! Point estimates with their intervals, side by side: a row a name, a panel a statistic.

use crate::curves::{COLORS, GRID, INK, SOFT};
use crate::picture::{Anchor, Picture, Primitive, rgb};
use crate::raster::shorten;
use crate::ticks::Axis;
use crate::{ViewError, font};

/// One estimate. All numbers are finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Whose it is.
    pub name: String,
    /// The point.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// One statistic of every name.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// What it is.
    pub title: String,
    /// From top to bottom; every panel of a picture has the same names.
    pub rows: Vec<Row>,
}

const LETTER: f32 = 8.0;
const EDGE: f32 = 24.0;
const ROW: f32 = 30.0;
const PANEL: f32 = 210.0;
const GAP: f32 = 28.0;

/// The panels beside each other, names at the left, under a title and a remark.
///
/// # Errors
/// [`ViewError::Empty`] without a panel or without a row.
pub fn picture(title: &str, note: &str, panels: &[Panel]) -> Result<Picture, ViewError> {
    let rows = panels.iter().map(|p| p.rows.len()).max().unwrap_or(0);
    if rows == 0 {
        return Err(ViewError::Empty("no estimate was given"));
    }
    let names = panels.iter().flat_map(|p| &p.rows).map(|r| shorten(&r.name, 40.0));
    let left = EDGE + LETTER * names.map(|n| font::width(&n)).fold(0.0, f32::max) + 14.0;
    let width = left + panels.len() as f32 * (PANEL + GAP) - GAP + EDGE;
    let (top, height) = (92.0, 92.0 + rows as f32 * ROW + 44.0);
    let mut picture = Picture::new(width.max(420.0), height, rgb(0xff_ff_ff));
    picture.text([EDGE, 32.0], 11.0, shorten(title, (picture.width - 2.0 * EDGE) / 11.0), INK, Anchor::Start);
    picture.text([EDGE, 54.0], 7.0, shorten(note, (picture.width - 2.0 * EDGE) / 7.0), SOFT, Anchor::Start);
    for (k, panel) in panels.iter().enumerate() {
        let x = left + k as f32 * (PANEL + GAP);
        panel.draw(&mut picture, [x, top], rows);
        if k == 0 {
            for (r, row) in panel.rows.iter().enumerate() {
                let y = top + (r as f32 + 0.5) * ROW + 3.5;
                picture.text([left - 12.0, y], LETTER, shorten(&row.name, 40.0), INK, Anchor::End);
            }
        }
    }
    Ok(picture)
}

impl Panel {
    fn draw(&self, picture: &mut Picture, [x, top]: [f32; 2], rows: usize) {
        let bottom = top + rows as f32 * ROW;
        let ends = |low: f64, high: f64, r: &Row| (low.min(r.low).min(r.value), high.max(r.high).max(r.value));
        let (low, high) = self.rows.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), r| ends(l, h, r));
        let axis = Axis::new(low, high, 3, true);
        let place = |value: f64| x + axis.part(value) as f32 * PANEL;
        picture.text([x + PANEL / 2.0, top - 12.0], LETTER, shorten(&self.title, PANEL / LETTER), INK, Anchor::Middle);
        for (value, label) in &axis.marks {
            picture.line([place(*value), top], [place(*value), bottom], 1.0, GRID);
            picture.text([place(*value), bottom + 16.0], 7.0, label.clone(), SOFT, Anchor::Middle);
        }
        picture.line([x, bottom], [x + PANEL, bottom], 1.0, SOFT);
        for (r, row) in self.rows.iter().enumerate() {
            let (y, color) = (top + (r as f32 + 0.5) * ROW, rgb(COLORS[r % COLORS.len()]));
            let (low, high) = (place(row.low), place(row.high));
            // An interval without width is still seen.
            picture.rect([low, y - 6.0], [(high - low).max(1.0), 12.0], motley_core::Color(color.0, color.1, color.2, 0.35));
            picture.push(Primitive::Line {
                points: vec![[place(row.value), y - 8.0], [place(row.value), y + 8.0]],
                width: 2.6,
                color,
                dash: 0.0,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svg;
    use crate::svg::tests::well_formed;

    fn row(name: &str, value: f64, low: f64, high: f64) -> Row {
        Row { name: name.into(), value, low, high }
    }

    #[test]
    fn every_estimate_is_drawn_where_its_axis_says() {
        let rows = vec![row("a & b", 0.5, 0.0, 1.0), row("c", 0.25, 0.25, 0.25)];
        let panels = [Panel { title: "IQM".into(), rows: rows.clone() }, Panel { title: "Mean".into(), rows }];
        let p = picture("Aggregates", "95 % intervals", &panels).unwrap();
        let said = well_formed(&svg::write(&p)).unwrap();
        for want in ["Aggregates", "95 % intervals", "IQM", "Mean", "a & b", "c", "0.5"] {
            assert!(said.iter().any(|s| s == want), "{want}: {said:?}");
        }
        let bars: Vec<&Vec<[f32; 2]>> = p
            .items()
            .iter()
            .filter_map(|i| if let Primitive::Polygon { points, .. } = i { Some(points) } else { None })
            .collect();
        assert_eq!(bars.len(), 4);
        assert!((bars[0][1][0] - bars[0][0][0] - PANEL).abs() < 1e-3, "0 to 1 is the whole axis");
        assert!((bars[1][1][0] - bars[1][0][0] - 1.0).abs() < 1e-3, "no width is still seen");
        assert!(picture("x", "", &[]).is_err());
    }
}
