//! Pictures as SVG text.

use std::fmt::Write;

use motley_core::Color;

use crate::picture::{Anchor, Picture, Primitive};

/// Height of a capital as a part of the font size, about the same in all common sans-serif fonts.
const CAPITAL: f32 = 0.72;

/// The picture as a complete SVG document. Text stays text, so it can be searched and edited.
pub fn write(picture: &Picture) -> String {
    let (w, h) = (number(picture.width), number(picture.height));
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\" \
         font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\">\n<rect width=\"{w}\" height=\"{h}\" {}/>\n",
        paint("fill", opaque(picture.ground))
    );
    for item in picture.items() {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{}", element(item));
    }
    out.push_str("</svg>\n");
    out
}

fn element(item: &Primitive) -> String {
    match item {
        Primitive::Line { points, width, color, dash } => {
            let dash = if *dash > 0.0 { format!(" stroke-dasharray=\"{}\"", number(*dash)) } else { String::new() };
            format!(
                "<polyline points=\"{}\" fill=\"none\" {} stroke-width=\"{}\" stroke-linejoin=\"round\"{dash}/>",
                list(points),
                paint("stroke", *color),
                number(*width)
            )
        }
        Primitive::Polygon { points, fill } => format!("<polygon points=\"{}\" {}/>", list(points), paint("fill", *fill)),
        Primitive::Disc { at, radius, fill, outline } => {
            let edge = outline.map_or(String::new(), |(color, width)| {
                format!(" {} stroke-width=\"{}\"", paint("stroke", color), number(width))
            });
            let [x, y] = at.map(number);
            format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"{}\" {}{edge}/>", number(*radius), paint("fill", *fill))
        }
        Primitive::Text { at, height, text, color, anchor, upwards } => {
            let [x, y] = at.map(number);
            let turn = if *upwards { format!(" transform=\"rotate(-90 {x} {y})\"") } else { String::new() };
            let anchor = match anchor {
                Anchor::Start => "start",
                Anchor::Middle => "middle",
                Anchor::End => "end",
            };
            format!(
                "<text x=\"{x}\" y=\"{y}\" font-size=\"{}\" text-anchor=\"{anchor}\" {}{turn}>{}</text>",
                number(height / CAPITAL),
                paint("fill", *color),
                escape(text)
            )
        }
    }
}

fn number(x: f32) -> String {
    let text = format!("{x:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

fn list(points: &[[f32; 2]]) -> String {
    points.iter().map(|[x, y]| format!("{},{}", number(*x), number(*y))).collect::<Vec<_>>().join(" ")
}

fn opaque(Color(r, g, b, _): Color) -> Color {
    Color(r, g, b, 1.0)
}

fn paint(what: &str, Color(r, g, b, a): Color) -> String {
    // The cast takes NaN to 0 and the rest into range.
    let byte = |x: f32| (x * 255.0).round() as u8;
    let opacity = if a < 1.0 { format!(" {what}-opacity=\"{}\"", number(a.clamp(0.0, 1.0))) } else { String::new() };
    format!("{what}=\"#{:02x}{:02x}{:02x}\"{opacity}", byte(r), byte(g), byte(b))
}

/// Text that XML takes: its five special letters named, control letters dropped.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::picture::rgb;

    /// A small reader of XML: tags nest and close, attributes are quoted once each, text has no stray special letters.
    pub(crate) fn well_formed(text: &str) -> Result<Vec<String>, String> {
        let entity = |rest: &str| ["amp;", "lt;", "gt;", "quot;", "apos;"].iter().any(|e| rest.starts_with(e));
        let (mut open, mut said, mut rest) = (Vec::new(), Vec::new(), text.trim());
        while let Some(start) = rest.find('<') {
            let between = &rest[..start];
            let stray = between.match_indices('&').any(|(i, _)| !entity(&between[i + 1..]));
            if stray || between.contains('>') || between.chars().any(|c| c.is_control() && c != '\n') {
                return Err(format!("bad text {between:?}"));
            }
            if !between.trim().is_empty() {
                said.push(
                    between
                        .replace("&lt;", "<")
                        .replace("&gt;", ">")
                        .replace("&quot;", "\"")
                        .replace("&apos;", "'")
                        .replace("&amp;", "&"),
                );
            }
            let end = rest.find('>').ok_or("a tag without an end")?;
            let tag = &rest[start + 1..end];
            rest = &rest[end + 1..];
            if let Some(name) = tag.strip_prefix('/') {
                if open.pop() != Some(name.to_owned()) {
                    return Err(format!("</{name}> closes nothing"));
                }
                continue;
            }
            let (name, attributes) = tag.trim_end_matches('/').split_once(' ').unwrap_or((tag, ""));
            let quoted: Vec<&str> = attributes.split('"').collect();
            let names: Vec<&str> = quoted.iter().step_by(2).map(|n| n.trim()).filter(|n| !n.is_empty()).collect();
            let unique: std::collections::BTreeSet<&&str> = names.iter().collect();
            if quoted.len().is_multiple_of(2) || unique.len() != names.len() || names.iter().any(|n| !n.ends_with('=')) {
                return Err(format!("bad attributes in <{tag}>"));
            }
            if !tag.ends_with('/') {
                open.push(name.to_owned());
            }
        }
        if open.is_empty() && rest.is_empty() { Ok(said) } else { Err(format!("left open: {open:?} {rest:?}")) }
    }

    #[test]
    fn every_primitive_is_written_and_text_survives() {
        let mut p = Picture::new(100.0, 50.0, rgb(0xff_ff_ff));
        p.line([0.0, 0.0], [10.0, 5.5], 2.0, rgb(0x01_02_03));
        p.rect([1.0, 2.0], [3.0, 4.0], Color(1.0, 0.0, 0.0, 0.5));
        p.push(Primitive::Disc { at: [5.0, 6.0], radius: 7.25, fill: rgb(0), outline: Some((rgb(0xff), 1.0)) });
        let odd = "a < b & \"c\" > 'd' \u{1} \u{e9}";
        p.text([9.0, 9.0], 7.2, odd, rgb(0), Anchor::End);
        p.line([f32::NAN, 0.0], [1.0, 1.0], 1.0, rgb(0));
        let text = write(&p);
        assert_eq!(well_formed(&text).unwrap(), ["a < b & \"c\" > 'd'  \u{e9}"]);
        for part in [
            "<polyline points=\"0,0 10,5.5\" fill=\"none\" stroke=\"#010203\" stroke-width=\"2\"",
            "<polygon points=\"1,2 4,2 4,6 1,6\" fill=\"#ff0000\" fill-opacity=\"0.5\"/>",
            "<circle cx=\"5\" cy=\"6\" r=\"7.25\" fill=\"#000000\" stroke=\"#0000ff\"",
            "font-size=\"10\" text-anchor=\"end\"",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert_eq!(text.matches("<polyline").count(), 1, "what is not finite is left out");
        assert!(well_formed("<a><b></a></b>").is_err() && well_formed("<a>x & y</a>").is_err());
    }
}
