//! A stroke font for printable ASCII, drawn for Motley.
//!
//! A letter is its width and a few strokes of points `xy`, one digit each: baseline y = 2, small letters to 7, capitals to 9,
//! tails down to 0. A plain stroke is straight, `~` makes it round (corners become the control points of quadratic curves
//! between the middles of the sides; a doubled point stays a corner), `@` round and closed; a single point is a dot.

/// Letters from `!` to `~`.
const GLYPHS: [&str; 94] = [
    "0 0904 02",                          // !
    "2 0907 2927",                        // "
    "4 1219 3239 0444 0747",              // #
    "4 ~4748080646430304 2129",           // $
    "5 0259 @07092927 @32345452",         // %
    "5 ~521719393704023255",              // &
    "0 0907",                             // '
    "2 ~29070421",                        // (
    "2 ~09272401",                        // )
    "4 2529 0648 0846",                   // *
    "4 2327 0545",                        // +
    "1 121100",                           // ,
    "3 0535",                             // -
    "0 02",                               // .
    "4 0149",                             // /
    "4 @02094942",                        // 0
    "4 072922 0242",                      // 1
    "4 ~07094946020242",                  // 2
    "4 ~0809494626 ~2646420203",          // 3
    "4 390444 3932",                      // 4
    "4 490906 ~0646420203",               // 5
    "4 ~4849090242460604",                // 6
    "4 094912",                           // 7
    "4 @06094946 @02064642",              // 8
    "4 ~0302424909054547",                // 9
    "0 06 02",                            // :
    "1 16 121100",                        // ;
    "4 480542",                           // <
    "4 0646 0444",                        // =
    "4 084502",                           // >
    "4 ~070949462524 22",                 // ?
    "6 ~52020969644447 @24274744",        // @
    "4 022942 1434",                      // A
    "4 0209 ~092949462606 ~062646422202", // B
    "5 ~585909025253",                    // C
    "5 0209 ~092959522202",               // D
    "4 49090242 0636",                    // E
    "4 490902 0636",                      // F
    "5 ~5859090252555535",                // G
    "4 0209 4249 0646",                   // H
    "2 0222 0929 1219",                   // I
    "3 ~3935320204",                      // J
    "4 0209 4905 1642",                   // K
    "3 090232",                           // L
    "6 0209346962",                       // M
    "5 02095259",                         // N
    "5 @02095952",                        // O
    "4 0209 ~092949452505",               // P
    "5 @02095952 3451",                   // Q
    "4 0209 ~092949452505 2542",          // R
    "4 ~4849090646420203",                // S
    "4 0949 2922",                        // T
    "5 ~090502525559",                    // U
    "4 092249",                           // V
    "6 0912385269",                       // W
    "4 0249 0942",                        // X
    "4 092549 2522",                      // Y
    "4 09490242",                         // Z
    "2 29090121",                         // [
    "4 0941",                             // \
    "2 09292101",                         // ]
    "4 062946",                           // ^
    "4 0141",                             // _
    "1 0917",                             // `
    "4 @02074742 4742",                   // a
    "4 0209 @02074742",                   // b
    "4 ~464707024243",                    // c
    "4 4249 @02074742",                   // d
    "4 ~0545454707024243",                // e
    "3 ~39191512 0737",                   // f
    "4 @02074742 ~4743400001",            // g
    "4 0209 ~0507474442",                 // h
    "0 0207 09",                          // i
    "2 ~27232000 29",                     // j
    "3 0209 3704 1532",                   // k
    "1 ~09030212",                        // l
    "6 0207 ~0507373432 ~3537676462",     // m
    "4 0207 ~0507474442",                 // n
    "4 @02074742",                        // o
    "4 0007 @02074742",                   // p
    "4 4047 @02074742",                   // q
    "3 0207 ~050737",                     // r
    "3 ~3637070535320203",                // s
    "3 ~19141232 0737",                   // t
    "4 ~0705024244 4742",                 // u
    "4 072247",                           // v
    "6 0712365267",                       // w
    "4 0247 0742",                        // x
    "4 0722 4710",                        // y
    "4 07470242",                         // z
    "3 ~39191505 ~05151131",              // {
    "0 0901",                             // |
    "3 ~09292535 ~35252101",              // }
    "4 ~04163446",                        // ~
];

/// Grid units from the baseline to the top of a capital.
const CAPITAL: f32 = 7.0;
const GAP: f32 = 2.0;
const SPACE: f32 = 2.0;

/// Width of a stroke as a part of the height of a capital.
pub const PEN: f32 = 1.0 / CAPITAL;

/// A piece of a letter, in units of the height of a capital: x to the right, y up from the baseline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// Starts a stroke.
    Move([f32; 2]),
    /// A straight line.
    Line([f32; 2]),
    /// A quadratic curve: control, end.
    Curve([f32; 2], [f32; 2]),
    /// A dot.
    Dot([f32; 2]),
}

/// A letter's width on the grid and its strokes; what is not printable ASCII shows as `?`.
fn glyph(letter: char) -> (f32, &'static str) {
    let index = |c: char| (c as usize).checked_sub('!' as usize);
    let text = index(letter).and_then(|i| GLYPHS.get(i)).or_else(|| GLYPHS.get(index('?')?)).copied().unwrap_or("0 ");
    let (width, strokes) = text.split_once(' ').unwrap_or((text, ""));
    (width.parse().unwrap_or(0.0), strokes)
}

fn advance(letter: char) -> f32 {
    if letter == ' ' { SPACE + GAP } else { glyph(letter).0 + GAP }
}

/// Width of a line of text in units of the height of a capital.
pub fn width(text: &str) -> f32 {
    (text.chars().map(advance).sum::<f32>() - GAP).max(0.0) / CAPITAL
}

/// The strokes of a line of text that starts at the origin.
pub fn outline(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut x = 0.0;
    for letter in text.chars() {
        if letter != ' ' {
            glyph(letter).1.split(' ').for_each(|stroke| add_stroke(stroke, x, &mut steps));
        }
        x += advance(letter);
    }
    steps
}

fn add_stroke(stroke: &str, x: f32, steps: &mut Vec<Step>) {
    let digits = stroke.trim_start_matches(['~', '@']).as_bytes();
    let unit = |d: u8| f32::from(d.saturating_sub(b'0'));
    let points: Vec<[f32; 2]> =
        digits.as_chunks::<2>().0.iter().map(|p| [(unit(p[0]) + x) / CAPITAL, (unit(p[1]) - 2.0) / CAPITAL]).collect();
    let middle = |a: [f32; 2], b: [f32; 2]| [(a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0];
    let (Some(&first), Some(&last)) = (points.first(), points.last()) else { return };
    if points.len() == 1 {
        steps.push(Step::Dot(first));
    } else if stroke.starts_with('@') {
        steps.push(Step::Move(middle(last, first)));
        let next = points.iter().cycle().skip(1);
        steps.extend(points.iter().zip(next).map(|(&p, &q)| Step::Curve(p, middle(p, q))));
    } else if stroke.starts_with('~') && points.len() > 2 {
        steps.push(Step::Move(first));
        let inner = &points[1..];
        let ends = inner.windows(2).enumerate().map(|(i, pair)| {
            let end = if i + 2 == inner.len() { last } else { middle(pair[0], pair[1]) };
            Step::Curve(pair[0], end)
        });
        steps.extend(ends);
    } else {
        steps.push(Step::Move(first));
        steps.extend(points[1..].iter().map(|&p| Step::Line(p)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_printable_letter_has_strokes_of_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        for letter in ' '..='~' {
            let steps = outline(&letter.to_string());
            assert_eq!(steps.is_empty(), letter == ' ');
            assert!(seen.insert(format!("{steps:?}")), "{letter} looks like another letter");
            let wide = width(&letter.to_string());
            let points = steps.iter().flat_map(|s| match *s {
                Step::Move(p) | Step::Line(p) | Step::Dot(p) => vec![p],
                Step::Curve(c, p) => vec![c, p],
            });
            for [x, y] in points {
                assert!((0.0..=wide.max(0.0) + 1e-6).contains(&x) && (-0.3..=1.0).contains(&y), "{letter}: {x} {y}");
            }
        }
        assert_eq!(outline("é"), outline("?"), "unknown letters are seen, not lost");
        assert_eq!(width(""), 0.0);
        assert!((width("ab") - 10.0 / 7.0).abs() < 1e-6);
    }
}
