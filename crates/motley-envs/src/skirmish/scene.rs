//! What a person sees of a battle.

use motley_core::{Color, Scene, Shape};

use super::ground::SIZE;
use super::view::{Unit, View};
use super::world::Side;

const INK: Color = Color(0.1, 0.1, 0.1, 1.0);
const ALLY: Color = Color(0.25, 0.6, 0.3, 0.9);
const FOE: Color = Color(0.8, 0.3, 0.25, 0.9);
const FALLEN: Color = Color(0.55, 0.55, 0.55, 0.6);
const BLOCKED: Color = Color(0.82, 0.82, 0.8, 1.0);
const HEALTH: Color = Color(0.1, 0.75, 0.2, 1.0);
const SHIELD: Color = Color(0.2, 0.45, 0.95, 1.0);
const ENERGY: Color = Color(0.65, 0.3, 0.85, 1.0);
const EMPTY: Color = Color(0.2, 0.2, 0.2, 0.5);

/// Cells beyond the edge of the map that a picture can show: whoever draws may add to the view at each side.
const MARGIN: f64 = SIZE as f64 / 4.0;

/// Somebody of a side at the first point who aims at somebody at the second.
pub type Aim = (Side, [f32; 2], [f32; 2]);

/// Ground below, then the fallen, who aims at whom, the living with their letters and bars of health, shield and energy.
pub fn draw(view: &View, aims: &[Aim], name: &str, steps: usize) -> Scene {
    let mut shapes = Vec::new();
    // Nobody goes beyond the map either.
    let (low, high) = (-MARGIN, SIZE as f64 + MARGIN);
    let outside =
        [[low, low, 0.0, high], [high - MARGIN, low, high, high], [0.0, low, high, 0.0], [0.0, high - MARGIN, high, high]];
    for [x0, y0, x1, y1] in outside.into_iter().chain(view.ground.blocked()) {
        let (at, size) = ([(x0 + x1) / 2.0, (y0 + y1) / 2.0], [x1 - x0, y1 - y0]);
        shapes.push(Shape::Rect { at: at.map(|v| v as f32), size: size.map(|v| v as f32), angle: 0.0, fill: BLOCKED });
    }
    for unit in units(view).filter(|unit| !unit.alive()) {
        let (x, y, r) = (unit.x, unit.y, 0.6 * unit.radius);
        for s in [1.0, -1.0] {
            shapes.push(Shape::Line { from: [x - r, y - s * r], to: [x + r, y + s * r], width: 0.08, color: FALLEN });
        }
    }
    for &(side, from, to) in aims {
        let Color(r, g, b, _) = if side == Side::Ally { ALLY } else { FOE };
        shapes.push(Shape::Line { from, to, width: 0.06, color: Color(r, g, b, 0.5) });
    }
    // Flyers above all others, which shine through.
    for (flying, side) in [(false, Side::Ally), (false, Side::Foe), (true, Side::Ally), (true, Side::Foe)] {
        let Color(r, g, b, a) = if side == Side::Ally { ALLY } else { FOE };
        let fill = Color(r, g, b, if flying { 0.6 } else { a });
        let units = view.side(side).iter().filter(|unit| unit.alive() && unit.heals() == flying);
        units.for_each(|unit| draw_unit(unit, fill, &mut shapes));
    }
    let left = |side: Side| view.side(side).iter().filter(|unit| unit.alive()).count();
    let caption = format!("step {steps}   {name}   allies {}   foes {}", left(Side::Ally), left(Side::Foe));
    Scene { view: frame(view), shapes, caption }
}

/// A living unit with its letter and bars.
fn draw_unit(unit: &Unit, fill: Color, shapes: &mut Vec<Shape>) {
    let &Unit { x, y, radius, .. } = unit;
    shapes.push(Shape::Circle { at: [x, y], radius, fill, outline: Some(INK) });
    let text = unit.kind.letter().to_owned();
    shapes.push(Shape::Text { at: [x, y], height: (0.9 * radius).max(0.4), text, color: INK });
    let mut bars = vec![(unit.hp / unit.hp_max, HEALTH)];
    if unit.shield_max > 0.0 {
        bars.push((unit.shield / unit.shield_max, SHIELD));
    }
    if unit.heals() {
        bars.push((unit.charge, ENERGY));
    }
    let wide = 2.0 * radius;
    for (k, (part, color)) in bars.into_iter().enumerate() {
        let at = y + radius + 0.16 + 0.22 * k as f32;
        let full = wide * part.clamp(0.0, 1.0) as f32;
        shapes.push(Shape::Rect { at: [x, at], size: [wide, 0.18], angle: 0.0, fill: EMPTY });
        shapes.push(Shape::Rect { at: [x - (wide - full) / 2.0, at], size: [full, 0.18], angle: 0.0, fill: color });
    }
}

fn units(view: &View) -> impl Iterator<Item = &Unit> {
    view.allies.iter().chain(&view.foes)
}

/// The free part of the map, and all units.
fn frame(view: &View) -> [f32; 4] {
    let walk = &view.ground.walk;
    let rows = || (0..SIZE).filter(|&y| walk[y] != 0);
    let columns = walk.iter().fold(0, |all, row| all | row);
    let low = |at: fn(&Unit) -> f32, edge: usize| units(view).fold(edge as f32, |a, unit| a.min(at(unit)));
    let high = |at: fn(&Unit) -> f32, edge: usize| units(view).fold(edge as f32, |a, unit| a.max(at(unit)));
    [
        low(|unit| unit.x, columns.trailing_zeros() as usize) - 1.0,
        low(|unit| unit.y, rows().next().unwrap_or(0)) - 1.0,
        high(|unit| unit.x, SIZE - columns.leading_zeros() as usize) + 1.0,
        high(|unit| unit.y, rows().next_back().map_or(SIZE, |y| y + 1)) + 1.0,
    ]
}
