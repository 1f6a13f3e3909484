//! A velocity controller: the force that brings a body to a wanted velocity.

use super::shape::{Vec2, norm};
use super::world::{Body, World};

/// Numbers of memory that a controller needs: the integral and the last error, two each.
pub const STATE: usize = 4;

/// PID in standard form, for each axis: `F = m K (e + I / T_i + T_d (e - e') / dt)`, where `e = wanted - velocity` and `I`
/// sums `e dt`, bounded by half of what the engine could answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VelocityController {
    /// `K`.
    pub gain: f64,
    /// `T_i` in seconds.
    pub integral_time: f64,
    /// `T_d` in seconds.
    pub derivative_time: f64,
}

impl VelocityController {
    /// The force on `body`; `state` is this controller's memory.
    pub fn force(&self, body: &Body, wanted: Vec2, dt: f64, state: &mut [f32]) -> Vec2 {
        let bound = (0.5 * f64::from(body.f_range) * self.integral_time / (dt * self.gain)) as f32;
        std::array::from_fn(|axis| {
            let error = wanted[axis] - body.vel[axis];
            state[axis] = (state[axis] + error * dt as f32).clamp(-bound, bound);
            let rate = (error - state[2 + axis]) / dt as f32;
            state[2 + axis] = error;
            let sum = error + (state[axis] / self.integral_time as f32 + self.derivative_time as f32 * rate);
            sum * self.gain as f32 * body.mass as f32
        })
    }

    /// Drives agent `i` towards a wanted velocity with the memory of its controller, the `i`-th in `world.memory[at..]`. Who wants to
    /// stand forgets what came before.
    pub fn steer(&self, world: &mut World, i: usize, wanted: Vec2, at: usize) {
        let (dt, id) = (world.rules.dt, world.team[i]);
        let state = &mut world.memory[at + STATE * i..at + STATE * (i + 1)];
        if norm(wanted) < 1e-3 {
            state.fill(0.0);
        }
        let force = self.force(&world.bodies[id], wanted, dt, state);
        world.bodies[id].drive = force;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vmas::scenario::paint;
    use crate::vmas::shape::Shape;

    /// By hand: e = 0.5, I = 0.025, rate = 10: 3 * 2 (0.5 + 0.0125 + 0.1); then, at the wanted speed, only I acts and the
    /// fall of e.
    #[test]
    fn terms_add_up() {
        let pid = VelocityController { gain: 2.0, integral_time: 2.0, derivative_time: 0.01 };
        let mut body = Body::agent("a", Shape::Circle { radius: 0.1 }, paint(0));
        (body.mass, body.f_range) = (3.0, 10.0);
        let mut state = [0.0; STATE];
        assert!((pid.force(&body, [0.5, 0.0], 0.05, &mut state)[0] - 6.0 * 0.6125).abs() < 1e-5);
        body.vel = [0.5, 0.0];
        assert!((pid.force(&body, [0.5, 0.0], 0.05, &mut state)[0] - 6.0 * (0.0125 - 0.1)).abs() < 1e-5);
        for _ in 0..100_000 {
            pid.force(&body, [5.0, 0.0], 0.05, &mut state);
        }
        assert_eq!(state[0], 100.0, "half of 10 times 2 over 0.05 times 2");
    }
}
