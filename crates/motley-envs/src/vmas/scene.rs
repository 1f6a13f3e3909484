//! What a person sees of the robots.

use motley_core::{Color, Scene, Shape as Drawn};

use super::scenario::INK;
use super::shape::{Shape, THICKNESS, plus, times};
use super::world::World;

/// Landmarks below, agents above. The part shown follows the bodies, and is never narrower than 2.4.
pub fn draw(world: &World, steps: usize) -> Scene {
    let first = world.team.first().copied().unwrap_or_default();
    let mut shapes = Vec::with_capacity(world.bodies.len());
    let mut view = [-1.2_f32, -1.2, 1.2, 1.2];
    for (id, body) in world.bodies.iter().enumerate() {
        let (at, fill) = (body.pos, body.color);
        if fill.3 > 0.0 {
            let reach = match body.shape {
                Shape::Rect { length, .. } if length > 5.0 => 0.0,
                shape => shape.reach() as f32 + 0.1,
            };
            view =
                [view[0].min(at[0] - reach), view[1].min(at[1] - reach), view[2].max(at[0] + reach), view[3].max(at[1] + reach)];
        }
        shapes.push(match body.shape {
            Shape::Circle { radius } => {
                let outline = (id >= first).then_some(INK);
                Drawn::Circle { at, radius: radius as f32, fill, outline }
            }
            Shape::Line { length } => {
                let half = times(body.axes[0], length as f32 / 2.0);
                Drawn::Line { from: plus(at, half), to: plus(at, times(half, -1.0)), width: 2.0 * THICKNESS as f32, color: fill }
            }
            Shape::Rect { length, width, hollow } => {
                let fill = if hollow { Color(fill.0, fill.1, fill.2, 0.3 * fill.3) } else { fill };
                Drawn::Rect { at, size: [length as f32, width as f32], angle: body.rot, fill }
            }
        });
    }
    Scene { view, shapes, caption: format!("step {steps}") }
}
