//! Learning curves: the seeds of a run become a line with a band.

use std::collections::BTreeSet;
use std::path::Path;

use motley_core::Color;

use crate::picture::{Anchor, Picture, Primitive, rgb};
use crate::raster::{render, shorten};
use crate::ticks::Axis;
use crate::{ViewError, file, font, png, svg};

/// One run's curve. Series with the same label are runs of one group.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What the legend calls it.
    pub label: String,
    /// The run's seed: of two runs with one seed the legend makes no two seeds.
    pub seed: u64,
    /// (environment steps, value), in any order; entries that are not finite are left out, and of two at one step the later
    /// stands.
    pub points: Vec<(f64, f64)>,
}

/// What the band around a group's mean shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Band {
    /// From the lowest to the highest seed.
    MinMax,
    /// One population standard deviation to either side.
    Std,
}

/// What to draw.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Above the picture.
    pub title: String,
    /// Under the horizontal axis.
    pub x_label: String,
    /// Beside the vertical axis.
    pub y_label: String,
    /// All curves of all groups; groups appear in the order of their first series.
    pub series: Vec<Series>,
    /// The band of groups of several seeds.
    pub band: Band,
}

/// A group's mean and band at one step; of a [`Lines`], any point with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Environment steps, or whatever the horizontal axis counts.
    pub step: f64,
    /// Mean over the seeds, or the point estimate.
    pub mean: f64,
    /// Lower edge of the band.
    pub low: f64,
    /// Upper edge of the band.
    pub high: f64,
}

/// Values larger than this would overflow when axes and means are computed.
const LARGEST: f64 = 1e100;
/// More steps than this are thinned evenly: a picture has no more pixels.
const MOST_STEPS: usize = 1200;

/// Mean and band of some seeds on the union of their steps, seeds interpolated linearly in between.
///
/// Beyond its first and last step a seed counts, level, for 1 % of the whole span (seeds rarely log at quite the same
/// steps), and no further. A step is left out where no more than half of the seeds count, so that one lone seed of several never
/// passes for the group. Very many steps are thinned evenly, both ends kept.
pub fn summarize(seeds: &[&Series], band: Band) -> Vec<Point> {
    let seeds: Vec<Vec<(f64, f64)>> = seeds.iter().map(|s| tidy(&s.points)).filter(|s| !s.is_empty()).collect();
    let mut steps: Vec<f64> = seeds.iter().flatten().map(|p| p.0).collect();
    steps.sort_by(f64::total_cmp);
    steps.dedup();
    if steps.len() > MOST_STEPS {
        steps = (0..MOST_STEPS).map(|k| steps[k * (steps.len() - 1) / (MOST_STEPS - 1)]).collect();
    }
    let slack = 0.01 * (steps.last().unwrap_or(&0.0) - steps.first().unwrap_or(&0.0));
    let at = |step: f64| {
        let values: Vec<f64> = seeds.iter().filter_map(|s| interpolate(s, step, slack)).collect();
        (2 * values.len() > seeds.len()).then(|| summary(step, &values, band))
    };
    steps.into_iter().filter_map(at).collect()
}

fn summary(step: f64, values: &[f64], band: Band) -> Point {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let (low, high) = match band {
        Band::MinMax => values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v))),
        Band::Std => {
            let std = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
            (mean - std, mean + std)
        }
    };
    Point { step, mean, low, high }
}

/// Finite points by rising step, one per step.
fn tidy(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let fine = |p: &&(f64, f64)| p.0.abs() < LARGEST && p.1.abs() < LARGEST;
    // Adding 0 makes -0 and 0 one step.
    let mut points: Vec<(f64, f64)> = points.iter().filter(fine).map(|p| (p.0 + 0.0, p.1)).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points.reverse();
    points.dedup_by(|later, kept| later.0 == kept.0);
    points.reverse();
    points
}

fn interpolate(points: &[(f64, f64)], step: f64, slack: f64) -> Option<f64> {
    let after = points.partition_point(|p| p.0 < step);
    let left = after.checked_sub(1).and_then(|i| points.get(i));
    match (left, points.get(after)) {
        (_, Some(right)) if right.0 == step => Some(right.1),
        (Some(left), Some(right)) => Some(left.1 + (right.1 - left.1) * (step - left.0) / (right.0 - left.0)),
        (Some(end), None) | (None, Some(end)) => ((end.0 - step).abs() <= slack).then_some(end.1),
        (None, None) => None,
    }
}

/// Writes a picture as `.svg` or `.png` (two pixels per unit), whole or not at all.
///
/// # Errors
/// Another ending, [`ViewError::Size`], [`ViewError::Write`].
pub fn save(picture: &Picture, path: &Path) -> Result<(), ViewError> {
    let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    match ending.as_deref() {
        Some("svg") => file::write_atomic(path, svg::write(picture).as_bytes()),
        Some("png") => png::save(&render(picture, 2.0)?, path),
        _ => Err(ViewError::Format { path: path.display().to_string(), expected: ".svg or .png" }),
    }
}

struct Group {
    name: String,
    points: Vec<Point>,
    several: bool,
}

/// Okabe and Ito's colours, told apart with any colour vision, without the yellow that white swallows.
pub(crate) const COLORS: [u32; 7] = [0x00_72_b2, 0xd5_5e_00, 0x00_9e_73, 0xcc_79_a7, 0xe6_9f_00, 0x56_b4_e9, 0x00_00_00];
pub(crate) const INK: Color = rgb(0x22_26_2b);
pub(crate) const SOFT: Color = rgb(0x5b_62_6b);
pub(crate) const GRID: Color = rgb(0xe4_e7_eb);
const SIZE: [f32; 2] = [800.0, 500.0];
const LETTER: f32 = 8.0;

/// Colour and dash of the k-th group: colours first, then the same colours dashed.
fn style(k: usize) -> (Color, f32) {
    (rgb(COLORS[k % COLORS.len()]), [0.0, 7.0, 3.0][k / COLORS.len() % 3])
}

/// Curves that are computed already, each with its band.
#[derive(Debug, Clone, PartialEq)]
pub struct Lines {
    /// Above the picture.
    pub title: String,
    /// Under the horizontal axis.
    pub x_label: String,
    /// Beside the vertical axis.
    pub y_label: String,
    /// What line and band show, under the legend.
    pub note: String,
    /// Names with their points, by rising `step`, all numbers finite.
    pub lines: Vec<(String, Vec<Point>)>,
}

impl Lines {
    /// The curves as a picture of 800 x 500, taller where the legend needs it.
    ///
    /// # Errors
    /// [`ViewError::Empty`] where no line has a point.
    pub fn picture(&self) -> Result<Picture, ViewError> {
        let has_band = |points: &[Point]| points.iter().any(|p| p.low < p.high);
        let group = |(name, points): &(String, Vec<Point>)| Group {
            name: name.clone(),
            points: points.clone(),
            several: has_band(points),
        };
        let groups: Vec<Group> = self.lines.iter().map(group).collect();
        draw(&Words { title: &self.title, x: &self.x_label, y: &self.y_label, note: &self.note }, &groups)
    }
}

/// What is written around the curves.
struct Words<'a> {
    title: &'a str,
    x: &'a str,
    y: &'a str,
    note: &'a str,
}

fn draw(words: &Words<'_>, groups: &[Group]) -> Result<Picture, ViewError> {
    let points = || groups.iter().flat_map(|g| &g.points);
    if points().next().is_none() {
        return Err(ViewError::Empty("no curve has a finite point"));
    }
    let bounds = |low: &dyn Fn(&Point) -> f64, high: &dyn Fn(&Point) -> f64| {
        points().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), p| (l.min(low(p)), h.max(high(p))))
    };
    let (first, last) = bounds(&|p| p.step, &|p| p.step);
    let (low, high) = bounds(&|p| p.low, &|p| p.high);
    // Steps start at 0 unless the curves are a late stretch.
    let first = if first > 0.0 && first < 0.5 * last { 0.0 } else { first };
    let axes = [Axis::new(first, last, 8, false), Axis::new(low, high, 6, true)];
    let mut picture = Picture::new(SIZE[0], SIZE[1], rgb(0xff_ff_ff));
    let top = words.heading(&mut picture, groups);
    // A long legend makes the picture taller, not the curves smaller.
    picture.height = picture.height.max(top + 350.0);
    let widest = axes[1].marks.iter().map(|m| font::width(&m.1)).fold(0.0, f32::max);
    let left = 46.0 + widest * LETTER;
    let field = Field { left, top, right: SIZE[0] - 24.0, bottom: picture.height - 54.0, axes };
    field.grid(&mut picture);
    groups.iter().enumerate().for_each(|(k, g)| field.band(&mut picture, g, style(k).0));
    groups.iter().enumerate().for_each(|(k, g)| field.line(&mut picture, g, style(k)));
    words.axis_labels(&mut picture, &field);
    Ok(picture)
}

impl Chart {
    /// The chart as a picture of 800 x 500, taller where the legend needs it.
    ///
    /// # Errors
    /// [`ViewError::Empty`] where no series has a finite point.
    pub fn picture(&self) -> Result<Picture, ViewError> {
        let note = match self.band {
            Band::MinMax => "line: mean of the runs, band: lowest to highest run",
            Band::Std => "line: mean of the runs, band: one standard deviation to either side",
        };
        draw(&Words { title: &self.title, x: &self.x_label, y: &self.y_label, note }, &self.groups())
    }

    /// Writes `.svg` or `.png` (two pixels per unit), whole or not at all.
    ///
    /// # Errors
    /// As [`Chart::picture`], another ending, or [`ViewError::Write`].
    pub fn save(&self, path: &Path) -> Result<(), ViewError> {
        save(&self.picture()?, path)
    }

    fn groups(&self) -> Vec<Group> {
        let mut labels: Vec<&str> = Vec::new();
        for series in &self.series {
            if !labels.contains(&series.label.as_str()) {
                labels.push(&series.label);
            }
        }
        let group = |label: &str| {
            let runs: Vec<&Series> = self.series.iter().filter(|s| s.label == label).collect();
            let seeds = runs.iter().map(|s| s.seed).collect::<BTreeSet<_>>().len();
            let name = match (runs.len(), seeds) {
                (1, _) => label.to_owned(),
                (all, seeds) if all == seeds => format!("{label} ({seeds} seeds)"),
                (all, 1) => format!("{label} ({all} runs, 1 seed)"),
                (all, seeds) => format!("{label} ({all} runs, {seeds} seeds)"),
            };
            Group { name, points: summarize(&runs, self.band), several: runs.len() > 1 }
        };
        labels.into_iter().map(group).collect()
    }
}

impl Words<'_> {
    /// Title and legend; returns where the field may begin.
    fn heading(&self, picture: &mut Picture, groups: &[Group]) -> f32 {
        let edge = 24.0;
        let room = (SIZE[0] - 2.0 * edge) / 11.0;
        picture.text([edge, 32.0], 11.0, shorten(self.title, room), INK, Anchor::Start);
        let (mut x, mut y) = (edge, 56.0);
        for (k, group) in groups.iter().enumerate() {
            let name = shorten(&group.name, (SIZE[0] - 2.0 * edge - 34.0) / LETTER);
            let width = 34.0 + font::width(&name) * LETTER;
            if x > edge && x + width > SIZE[0] - edge {
                (x, y) = (edge, y + 18.0);
            }
            let (color, dash) = style(k);
            let middle = y - LETTER / 2.0;
            if group.several {
                picture.rect([x, middle - 6.0], [26.0, 12.0], Color(color.0, color.1, color.2, 0.2));
            }
            picture.push(Primitive::Line { points: vec![[x, middle], [x + 26.0, middle]], width: 2.2, color, dash });
            picture.text([x + 34.0, y], LETTER, name, INK, Anchor::Start);
            x += width + 26.0;
        }
        if groups.iter().any(|g| g.several) {
            y += 18.0;
            picture.text([edge, y], 7.0, self.note, SOFT, Anchor::Start);
        }
        y + 18.0
    }

    fn axis_labels(&self, picture: &mut Picture, field: &Field) {
        let middle = [(field.left + field.right) / 2.0, (field.top + field.bottom) / 2.0];
        let across = shorten(self.x, (field.right - field.left) / LETTER);
        picture.text([middle[0], field.bottom + 40.0], LETTER, across, INK, Anchor::Middle);
        picture.push(Primitive::Text {
            at: [26.0, middle[1]],
            height: LETTER,
            text: shorten(self.y, (field.bottom - field.top) / LETTER),
            color: INK,
            anchor: Anchor::Middle,
            upwards: true,
        });
    }
}

/// The rectangle of the curves.
struct Field {
    left: f32,
    top: f32,
    right: f32,
    bottom: f32,
    axes: [Axis; 2],
}

impl Field {
    fn place(&self, step: f64, value: f64) -> [f32; 2] {
        let (u, v) = (self.axes[0].part(step) as f32, self.axes[1].part(value) as f32);
        [self.left + u * (self.right - self.left), self.bottom - v * (self.bottom - self.top)]
    }

    fn grid(&self, picture: &mut Picture) {
        for (value, label) in &self.axes[1].marks {
            let y = self.place(self.axes[0].low, *value)[1];
            picture.line([self.left, y], [self.right, y], 1.0, GRID);
            picture.text([self.left - 8.0, y + 3.5], 7.0, label.clone(), SOFT, Anchor::End);
        }
        for (value, label) in &self.axes[0].marks {
            let x = self.place(*value, self.axes[1].low)[0];
            picture.line([x, self.bottom], [x, self.bottom + 5.0], 1.0, SOFT);
            picture.text([x, self.bottom + 18.0], 7.0, label.clone(), SOFT, Anchor::Middle);
        }
        picture.line([self.left, self.bottom], [self.right, self.bottom], 1.0, SOFT);
    }

    fn band(&self, picture: &mut Picture, group: &Group, Color(r, g, b, _): Color) {
        if group.several && group.points.len() > 1 {
            let upper = group.points.iter().map(|p| self.place(p.step, p.high));
            let lower = group.points.iter().rev().map(|p| self.place(p.step, p.low));
            picture.push(Primitive::Polygon { points: upper.chain(lower).collect(), fill: Color(r, g, b, 0.2) });
        }
    }

    fn line(&self, picture: &mut Picture, group: &Group, (color, dash): (Color, f32)) {
        let points: Vec<[f32; 2]> = group.points.iter().map(|p| self.place(p.step, p.mean)).collect();
        match points.as_slice() {
            [] => {}
            [at] => picture.push(Primitive::Disc { at: *at, radius: 3.5, fill: color, outline: None }),
            _ => picture.push(Primitive::Line { points, width: 2.2, color, dash }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svg::tests::well_formed;

    fn series(label: &str, points: &[(f64, f64)]) -> Series {
        Series { label: label.into(), seed: 0, points: points.to_vec() }
    }

    fn chart(series: Vec<Series>) -> Chart {
        let (title, x_label) = ("A <title> & more".into(), "environment steps".into());
        Chart { title, x_label, y_label: "return".into(), series, band: Band::MinMax }
    }

    #[test]
    fn means_and_bands_on_the_union_of_steps() {
        let (a, b) = (series("x", &[(0.0, 0.0), (10.0, 10.0)]), series("x", &[(10.0, 30.0), (0.0, 4.0), (5.0, 1.0)]));
        let got = summarize(&[&a, &b], Band::MinMax);
        let point = |step, mean, low, high| Point { step, mean, low, high };
        assert_eq!(got, [point(0.0, 2.0, 0.0, 4.0), point(5.0, 3.0, 1.0, 5.0), point(10.0, 20.0, 10.0, 30.0)]);
        let got = summarize(&[&a, &b], Band::Std);
        assert_eq!(got, [point(0.0, 2.0, 0.0, 4.0), point(5.0, 3.0, 1.0, 5.0), point(10.0, 20.0, 10.0, 30.0)]);
        // Of four values 1, 2, 3, 6: mean 3, population deviation sqrt(3.5), not the band from 1 to 6.
        let four: Vec<Series> = [1.0, 2.0, 3.0, 6.0].iter().map(|v| series("y", &[(7.0, *v)])).collect();
        let got = summarize(&four.iter().collect::<Vec<_>>(), Band::Std);
        assert_eq!(got, [point(7.0, 3.0, 3.0 - 3.5f64.sqrt(), 3.0 + 3.5f64.sqrt())]);
    }

    #[test]
    fn seeds_that_log_a_little_apart_make_no_jump_at_the_ends() {
        let a = series("x", &[(0.0, 0.0), (100.0, 0.0)]);
        let b = series("x", &[(1.0, 4.0), (99.5, 4.0)]);
        let late = series("x", &[(3.0, 8.0), (100.0, 8.0)]);
        assert!(summarize(&[&a, &b], Band::MinMax).iter().all(|p| (p.mean, p.low, p.high) == (2.0, 0.0, 4.0)));
        assert_eq!(summarize(&[&a, &a, &late], Band::MinMax)[0].mean, 0.0, "three steps of a hundred are too far");
    }

    #[test]
    fn lone_seeds_and_bad_points_do_not_count() {
        let (long, short) = (series("x", &[(0.0, 1.0), (5.0, 1.0), (100.0, 9.0)]), series("x", &[(0.0, 3.0), (5.0, 3.0)]));
        let third = series("x", &[(0.0, 2.0), (5.0, 2.0)]);
        let steps = |seeds: &[&Series]| summarize(seeds, Band::MinMax).iter().map(|p| p.step).collect::<Vec<_>>();
        assert_eq!(steps(&[&long, &short, &third]), [0.0, 5.0]);
        assert_eq!(steps(&[&long, &short]), [0.0, 5.0], "half is not enough");
        assert_eq!(steps(&[&long, &long, &short]), [0.0, 5.0, 100.0]);
        let odd = series("x", &[(1.0, 5.0), (f64::NAN, 1.0), (2.0, f64::INFINITY), (3.0, 7.0), (1.0, 6.0)]);
        let got = summarize(&[&odd], Band::MinMax);
        assert_eq!(got.iter().map(|p| (p.step, p.mean)).collect::<Vec<_>>(), [(1.0, 6.0), (3.0, 7.0)]);
        let many = series("x", &(0..50_000).map(|k| (f64::from(k), 1.0)).collect::<Vec<_>>());
        let got = summarize(&[&many], Band::MinMax);
        assert_eq!((got.len(), got[0].step, got[MOST_STEPS - 1].step), (MOST_STEPS, 0.0, 49_999.0));
    }

    #[test]
    fn a_chart_says_everything_in_words() {
        let seeded = |seed, s: Series| Series { seed, ..s };
        let c = chart(vec![
            series("HAPPO", &[(0.0, -100.0), (2e6, -20.0)]),
            seeded(1, series("HAPPO", &[(0.0, -110.0), (2e6, -30.0)])),
            series("a & <b>", &[(0.0, -90.0), (2e6, -60.0)]),
        ]);
        let document = svg::write(&c.picture().unwrap());
        let said = well_formed(&document).unwrap();
        for want in ["A <title> & more", "environment steps", "return", "HAPPO (2 seeds)", "a & <b>", "0", "2.0M", "-120", "-20"]
        {
            assert!(said.iter().any(|s| s == want), "{want}: {said:?}");
        }
        assert!(said.iter().any(|s| s.contains("lowest to highest")));
        let bands = c
            .picture()
            .unwrap()
            .items()
            .iter()
            .filter(|i| matches!(i, Primitive::Polygon { points, .. } if points.len() == 4))
            .count();
        assert_eq!(bands, 2, "the key and the band of the group with two seeds, none for the other");
        let legend = |seeds: [u64; 3]| {
            let runs = seeds.map(|seed| seeded(seed, series("HAPPO", &[(0.0, 1.0), (9.0, 2.0)])));
            well_formed(&svg::write(&chart(runs.to_vec()).picture().unwrap())).unwrap()
        };
        assert!(legend([1, 1, 2]).contains(&"HAPPO (3 runs, 2 seeds)".to_owned()));
        assert!(legend([4, 4, 4]).contains(&"HAPPO (3 runs, 1 seed)".to_owned()));
        let std = Chart { band: Band::Std, ..c };
        assert!(svg::write(&std.picture().unwrap()).contains("standard deviation"));
    }

    #[test]
    fn lines_show_their_own_bands_and_words() {
        let point = |step, mean, half| Point { step, mean, low: mean - half, high: mean + half };
        let lines = vec![
            ("with".to_owned(), vec![point(0.0, 0.2, 0.1), point(1.0, 0.8, 0.1)]),
            ("without".to_owned(), vec![point(0.0, 0.5, 0.0), point(1.0, 0.5, 0.0)]),
        ];
        let (title, x_label, y_label) = ("Profiles".into(), "score".into(), "share of runs".into());
        let l = Lines { title, x_label, y_label, note: "band: 95 % interval".into(), lines };
        let picture = l.picture().unwrap();
        let said = well_formed(&svg::write(&picture)).unwrap();
        let wanted = ["Profiles", "score", "share of runs", "band: 95 % interval", "with", "without"];
        assert!(wanted.iter().all(|w| said.iter().any(|s| s == w)), "{said:?}");
        let polygons = picture.items().iter().filter(|i| matches!(i, Primitive::Polygon { .. })).count();
        assert_eq!(polygons, 2, "key and band of the one that has a band");
        assert!(matches!(Lines { lines: vec![], ..l }.picture(), Err(ViewError::Empty(_))));
    }

    #[test]
    fn files_are_written_by_their_ending() {
        let dir = tempfile::tempdir().unwrap();
        let c = chart(vec![series("one", &[(3.0, 5.0)])]);
        let png = dir.path().join("a.PNG");
        c.save(&png).unwrap();
        let reader = ::png::Decoder::new(std::io::BufReader::new(std::fs::File::open(&png).unwrap())).read_info().unwrap();
        assert_eq!((reader.info().width, reader.info().height), (1600, 1000));
        c.save(&dir.path().join("a.svg")).unwrap();
        assert!(std::fs::read_to_string(dir.path().join("a.svg")).unwrap().starts_with("<svg"));
        let text = c.save(&dir.path().join("a.pdf")).unwrap_err().to_string();
        assert!(text.contains("a.pdf") && text.contains(".svg or .png"), "{text}");
    }

    #[test]
    fn extremes_are_drawn_or_refused() {
        assert!(matches!(chart(vec![]).picture(), Err(ViewError::Empty(_))));
        assert!(matches!(chart(vec![series("x", &[(0.0, f64::NAN)])]).picture(), Err(ViewError::Empty(_))));
        for value in [0.0, 1e-300, 1e99, -1e99, 5.0] {
            let flat = chart(vec![series("x", &[(0.0, value), (1.0, value)])]).picture().unwrap();
            assert!(render(&flat, 1.0).is_ok());
        }
        let crowd = (0..60).map(|k| series(&format!("run number {k}"), &[(0.0, f64::from(k)), (1.0, 0.0)])).collect();
        let tall = render(&chart(crowd).picture().unwrap(), 1.0).unwrap();
        assert!(tall.width == 800 && tall.height > 500);
    }
}
