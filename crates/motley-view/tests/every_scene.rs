//! Every robots task and every particle task can be drawn: an episode becomes a moving picture in which its agents are seen to move.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail loudly")]

use motley_core::{ActionSpace, Actions, FrameBuf, Purpose, Scene, Shape, Stream};
use motley_envs::Registry;
use motley_view::{Image, gif, raster};

/// Wide enough that the smallest robot on the largest field covers some pixels.
const WIDTH: u32 = 500;

/// The scenes of a few steps of uniformly drawn actions, allowed ones.
fn play(task: &str) -> Vec<Scene> {
    let mut env = Registry::builtin().make(task, &[]).unwrap();
    let (spec, mut rng) = (env.spec().clone(), Stream::new(3, Purpose::Check, 0, 0));
    let mut buf = FrameBuf::new(&spec);
    env.reset(Stream::new(4, Purpose::Check, 0, 0), &mut buf.frame()).unwrap();
    let mut scenes = vec![env.scene().expect("a scene after a reset")];
    for _ in 0..12 {
        let mut flat = Vec::new();
        for (i, agent) in spec.agents.iter().enumerate() {
            let mut mask = &buf.avail[spec.mask_range(i)];
            match &agent.action {
                ActionSpace::Box { low, high } => {
                    flat.extend(low.iter().zip(high).map(|(l, h)| rng.range(f64::from(*l), f64::from(*h)) as f32));
                }
                space => flat.extend(space.choices().iter().map(|n| {
                    let (own, rest) = mask.split_at(*n);
                    mask = rest;
                    let allowed: Vec<usize> = (0..*n).filter(|k| own[*k]).collect();
                    allowed[rng.below(allowed.len() as u32) as usize] as f32
                })),
            }
        }
        let status = env.step(Actions::new(&spec, &flat), &mut buf.frame()).unwrap();
        scenes.push(env.scene().unwrap());
        if status.done() {
            break;
        }
    }
    scenes
}

/// The pixel at a place of the world.
fn pixel(image: &Image, view: [f32; 4], at: [f32; 2]) -> [u8; 3] {
    let scale = image.width as f32 / (view[2] - view[0]);
    let (x, y) = ((at[0] - view[0]) * scale, (view[3] - at[1]) * scale);
    let k = 4 * (y as usize * image.width as usize + x as usize);
    [image.rgba[k], image.rgba[k + 1], image.rgba[k + 2]]
}

/// Whoever draws a battle with some room around it sees ground that nobody walks on, and no edge of the world.
#[test]
fn battles_have_ground_all_around() {
    const BLOCKED: [u8; 3] = [209, 209, 204];
    let mut beyond = 0;
    for name in Registry::builtin().iter().map(|task| task.name()).filter(|name| name.starts_with("skirmish/")) {
        let mut scene = play(&name).swap_remove(0);
        let [x0, y0, x1, y1] = scene.view;
        let more = 0.1 * (x1 - x0).max(y1 - y0);
        scene.view = [x0 - more, y0 - more, x1 + more, y1 + more];
        let image = raster::draw(&scene, WIDTH).unwrap();
        let (inset, [x0, y0, x1, y1]) = (0.3, scene.view);
        let (middle, half) = ([(x0 + x1) / 2.0, (y0 + y1) / 2.0], [(x1 - x0) / 2.0 - inset, (y1 - y0) / 2.0 - inset]);
        for (x, y) in [(-1.0, -1.0), (-1.0, 0.0), (-1.0, 1.0), (0.0, -1.0), (0.0, 1.0), (1.0, -1.0), (1.0, 0.0), (1.0, 1.0)] {
            let at = [middle[0] + x * half[0], middle[1] + y * half[1]];
            if at.iter().any(|v| !(0.0..32.0).contains(v)) {
                assert_eq!(pixel(&image, scene.view, at), BLOCKED, "{name} at {at:?}");
                beyond += 1;
            }
        }
    }
    assert!(beyond > 40, "{beyond} places beyond the map");
}

#[test]
fn every_robots_and_particle_task_becomes_a_film() {
    let registry = Registry::builtin();
    let tasks: Vec<String> =
        registry.iter().map(|task| task.name()).filter(|name| name.starts_with("vmas/") || name.starts_with("mpe/")).collect();
    assert!(tasks.iter().filter(|name| name.starts_with("vmas/")).count() >= 22, "{tasks:?}");
    for task in tasks {
        let scenes = play(&task);
        let images: Vec<Image> = scenes.iter().map(|scene| raster::draw(scene, WIDTH).unwrap()).collect();
        assert!(images.windows(2).any(|pair| pair[0] != pair[1]), "{task}: nothing moves");
        let film = gif::encode(&images, 0.1).unwrap();
        assert!(film.starts_with(b"GIF89a") && film.len() > 500, "{task}");
        // The last robot lies on top of everything and is seen where it is; particles have words over them.
        for (scene, image) in scenes.iter().zip(&images).filter(|_| task.starts_with("vmas/")) {
            let top = scene.shapes.iter().rev().find_map(|shape| match shape {
                Shape::Circle { at, radius, fill, .. } if fill.3 == 1.0 && *radius > 0.02 => Some((*at, *fill)),
                _ => None,
            });
            let (at, fill) = top.expect("an agent");
            let seen = pixel(image, scene.view, at);
            let off = seen.iter().zip([fill.0, fill.1, fill.2]).map(|(s, f)| (f32::from(*s) - 255.0 * f).abs());
            assert!(off.fold(0.0, f32::max) < 3.0, "{task}: {seen:?} at {at:?} for {fill:?}");
        }
    }
}
