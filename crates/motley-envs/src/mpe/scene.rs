//! What a person sees of a particle world.

use motley_core::{Color, Scene, Shape, TeamSpec};

use super::scenario::Scenario;
use super::world::World;

const INK: Color = Color(0.1, 0.1, 0.1, 1.0);
const GOAL: Color = Color(0.85, 0.65, 0.0, 1.0);

/// Landmarks below, agents above, names beside them, goals ringed and named; what was said goes under the picture.
pub fn draw<S: Scenario>(scenario: &S, world: &World, spec: &TeamSpec, steps: usize) -> Scene {
    let point = |id: usize| world.bodies[id].pos.map(|x| x as f32);
    let goals = scenario.goals(world);
    // Carried treasures lie far outside and are not shown.
    let shown = |id: &usize| point(*id).iter().all(|x| x.abs() < 100.0);
    let order = (world.agents..world.bodies.len()).chain(0..world.agents).filter(shown);
    let reach = order.clone().flat_map(point).fold(1.2_f32, |most, x| most.max(x.abs() + 0.1));
    let mut shapes = Vec::new();
    for id in order {
        let [x, y] = point(id);
        let radius = world.bodies[id].size as f32;
        let [r, g, b] = scenario.paint(world, id).map(|c| c as f32);
        let label = |text: String, color| Shape::Text { at: [x, y + radius + 0.035 * reach], height: 0.04 * reach, text, color };
        if id >= world.agents {
            let named: Vec<&str> = goals.iter().filter(|(l, _)| l + world.agents == id).map(|(_, name)| *name).collect();
            let opacity = if radius > 0.25 { 0.5 } else { 1.0 };
            if !named.is_empty() {
                shapes.push(Shape::Circle { at: [x, y], radius: radius + 0.03, fill: GOAL, outline: None });
                shapes.push(label(named.join(", "), GOAL));
            }
            shapes.push(Shape::Circle { at: [x, y], radius, fill: Color(r, g, b, opacity), outline: None });
        } else {
            shapes.push(Shape::Circle { at: [x, y], radius, fill: Color(r, g, b, 0.9), outline: Some(INK) });
            shapes.push(label(spec.agents[id].name.clone(), INK));
        }
    }
    Scene { view: [-reach, -reach, reach, reach], shapes, caption: caption(world, spec, steps) }
}

fn caption(world: &World, spec: &TeamSpec, steps: usize) -> String {
    let mut caption = format!("step {steps}");
    for i in (0..world.agents).filter(|&i| world.bodies[i].talks) {
        let said = world.said(i);
        let loudest = said.iter().enumerate().fold((0, 0.0), |best, (k, &c)| if c > best.1 { (k, c) } else { best });
        let word = match loudest {
            (_, 0.0) => "nothing".to_owned(),
            (k, 1.0) if said.iter().sum::<f64>() == 1.0 => char::from(b'A' + k as u8).to_string(),
            _ => format!("[{}]", said.iter().map(|c| format!("{c:.2}")).collect::<Vec<_>>().join(", ")),
        };
        caption += &format!("   {} says {word}", spec.agents[i].name);
    }
    caption
}
