//! What a person sees of a battle.

use motley_core::{Color, Scene, Shape};

use super::ground::SIZE;
use super::world::{NOBODY, Side, World};

const INK: Color = Color(0.1, 0.1, 0.1, 1.0);
const ALLY: Color = Color(0.25, 0.6, 0.3, 0.9);
const FOE: Color = Color(0.8, 0.3, 0.25, 0.9);
const FALLEN: Color = Color(0.55, 0.55, 0.55, 0.6);
const BLOCKED: Color = Color(0.82, 0.82, 0.8, 1.0);
const HEALTH: Color = Color(0.1, 0.75, 0.2, 1.0);
const SHIELD: Color = Color(0.2, 0.45, 0.95, 1.0);
const ENERGY: Color = Color(0.65, 0.3, 0.85, 1.0);
const EMPTY: Color = Color(0.2, 0.2, 0.2, 0.5);

/// Ground below, then the fallen, who aims at whom, the living with their letters and bars of health, shield and energy.
pub(super) fn draw(world: &World, name: &str, steps: usize) -> Scene {
    let mut shapes = Vec::new();
    for (y, row) in world.ground.walk.iter().enumerate() {
        let mut x = 0;
        while x < SIZE {
            let run = (x..SIZE).take_while(|&c| row >> c & 1 == 0).count();
            if run > 0 {
                let at = [x as f32 + run as f32 / 2.0, y as f32 + 0.5];
                shapes.push(Shape::Rect { at, size: [run as f32, 1.0], angle: 0.0, fill: BLOCKED });
            }
            x += run.max(1);
        }
    }
    for u in (0..world.len()).filter(|&u| !world.alive(u)) {
        let (x, y, r) = (world.x[u], world.y[u], 0.6 * world.stats[u].radius);
        for s in [1.0, -1.0] {
            shapes.push(Shape::Line { from: [x - r, y - s * r], to: [x + r, y + s * r], width: 0.08, color: FALLEN });
        }
    }
    let living = |u: &usize| world.alive(*u);
    for u in (0..world.len()).filter(living) {
        let t = usize::from(world.target[u]);
        if world.target[u] != NOBODY && world.reaches[u] && world.alive(t) {
            let Color(r, g, b, _) = if world.side(u) == Side::Ally { ALLY } else { FOE };
            let color = Color(r, g, b, 0.5);
            shapes.push(Shape::Line { from: [world.x[u], world.y[u]], to: [world.x[t], world.y[t]], width: 0.06, color });
        }
    }
    for u in (0..world.len()).filter(living) {
        let (stats, x, y) = (world.stats[u], world.x[u], world.y[u]);
        let fill = if world.side(u) == Side::Ally { ALLY } else { FOE };
        shapes.push(Shape::Circle { at: [x, y], radius: stats.radius, fill, outline: Some(INK) });
        let text = stats.kind.letter().to_owned();
        shapes.push(Shape::Text { at: [x, y], height: (0.9 * stats.radius).max(0.4), text, color: INK });
        let mut bars = vec![(world.hp[u] / f64::from(stats.health), HEALTH)];
        if stats.shield > 0.0 {
            bars.push((world.shield[u] / f64::from(stats.shield), SHIELD));
        }
        if stats.heals() {
            bars.push((world.energy[u] / super::units::ENERGY, ENERGY));
        }
        let wide = 2.0 * stats.radius;
        for (k, (part, color)) in bars.into_iter().enumerate() {
            let at = y + stats.radius + 0.12 + 0.14 * k as f32;
            let full = wide * part.clamp(0.0, 1.0) as f32;
            shapes.push(Shape::Rect { at: [x, at], size: [wide, 0.1], angle: 0.0, fill: EMPTY });
            shapes.push(Shape::Rect { at: [x - (wide - full) / 2.0, at], size: [full, 0.1], angle: 0.0, fill: color });
        }
    }
    let left = |side: Side| world.sides[side as usize].clone().filter(living).count();
    let caption = format!("{name}   step {steps}   allies {}   foes {}", left(Side::Ally), left(Side::Foe));
    Scene { view: view(world), shapes, caption }
}

/// The free part of the map, and all units.
fn view(world: &World) -> [f32; 4] {
    let rows = || (0..SIZE).filter(|&y| world.ground.walk[y] != 0);
    let columns = world.ground.walk.iter().fold(0, |all, row| all | row);
    let low = |list: &[f32], edge: usize| list.iter().fold(edge as f32, |a, &b| a.min(b));
    let high = |list: &[f32], edge: usize| list.iter().fold(edge as f32, |a, &b| a.max(b));
    [
        low(&world.x, columns.trailing_zeros() as usize) - 1.0,
        low(&world.y, rows().next().unwrap_or(0)) - 1.0,
        high(&world.x, SIZE - columns.leading_zeros() as usize) + 1.0,
        high(&world.y, rows().next_back().map_or(SIZE, |y| y + 1)) + 1.0,
    ]
}
