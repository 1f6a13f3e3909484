//! The particle world: bodies on a plane, soft contacts, damped Euler steps, all in f64.
//!
//! The order of every operation is part of the rules here: a step gives the same bits as mpe2 1.1.1 does, so sums are never
//! regrouped and nothing is fused.

/// A point or a vector in the plane.
pub type Vec2 = [f64; 2];

/// Seconds per step.
const DT: f64 = 0.1;
/// Share of the velocity that a step takes away.
const DAMPING: f64 = 0.25;
/// Stiffness of contacts.
const CONTACT_FORCE: f64 = 100.0;
/// Softness of contacts, in world units.
const CONTACT_MARGIN: f64 = 1e-3;

/// Which generation of the particle environments is imitated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// PettingZoo up to 1.22 and the original: velocity before position, continuous axes mirrored, and simple_spread counts
    /// each agent as touching itself.
    V2,
    /// PettingZoo 1.23.0 to 1.24.0: position before velocity, continuous axes still mirrored.
    V25,
    /// PettingZoo from 1.24.3 and mpe2.
    V3,
}

/// An agent or a landmark.
#[derive(Debug, Clone, PartialEq)]
pub struct Body {
    /// Position.
    pub pos: Vec2,
    /// Velocity.
    pub vel: Vec2,
    /// Radius.
    pub size: f64,
    /// Mass.
    pub mass: f64,
    /// Force of a full action.
    pub accel: f64,
    /// Greatest speed; infinite where there is none.
    pub max_speed: f64,
    /// Whether forces move it.
    pub movable: bool,
    /// Whether it takes part in contacts.
    pub collides: bool,
    /// Whether it speaks (agents only).
    pub talks: bool,
}

impl Body {
    /// An agent that moves, collides and is silent.
    pub fn agent(size: f64) -> Self {
        Self {
            pos: [0.0; 2],
            vel: [0.0; 2],
            size,
            mass: 1.0,
            accel: 5.0,
            max_speed: f64::INFINITY,
            movable: true,
            collides: true,
            talks: false,
        }
    }

    /// A landmark that only marks a place.
    pub fn landmark(size: f64) -> Self {
        Self { movable: false, collides: false, ..Self::agent(size) }
    }

    /// Whether the two overlap.
    pub fn touches(&self, other: &Self) -> bool {
        distance(self.pos, other.pos) < self.size + other.size
    }
}

/// `a - b`.
pub fn minus(a: Vec2, b: Vec2) -> Vec2 {
    [a[0] - b[0], a[1] - b[1]]
}

/// Squared Euclidean distance.
pub fn distance2(a: Vec2, b: Vec2) -> f64 {
    let d = minus(a, b);
    d[0] * d[0] + d[1] * d[1]
}

/// Euclidean distance.
pub fn distance(a: Vec2, b: Vec2) -> f64 {
    distance2(a, b).sqrt()
}

/// Everything that changes during an episode, and the bodies' constants.
#[derive(Debug, Clone, PartialEq)]
pub struct World {
    /// Agents first, then landmarks.
    pub bodies: Vec<Body>,
    /// How many of them are agents.
    pub agents: usize,
    /// Channels of an utterance.
    pub dim_c: usize,
    /// What was said last, `[agents, dim_c]`.
    pub comm: Vec<f64>,
    /// Small numbers that a scenario keeps for the episode (goals, what is carried).
    pub marks: Vec<u32>,
    forces: Vec<Vec2>,
    /// Pairs that can touch, in the order in which their forces are added.
    pairs: Vec<(usize, usize)>,
}

impl World {
    /// A world at rest.
    pub fn new(agents: Vec<Body>, landmarks: Vec<Body>, dim_c: usize) -> Self {
        let n = agents.len();
        let bodies: Vec<Body> = agents.into_iter().chain(landmarks).collect();
        let mut pairs = Vec::new();
        for (a, first) in bodies.iter().enumerate() {
            for (b, second) in bodies.iter().enumerate().skip(a + 1) {
                if first.collides && second.collides && (first.movable || second.movable) {
                    pairs.push((a, b));
                }
            }
        }
        Self {
            forces: vec![[0.0; 2]; bodies.len()],
            comm: vec![0.0; n * dim_c],
            marks: Vec::new(),
            agents: n,
            bodies,
            dim_c,
            pairs,
        }
    }

    /// The landmarks.
    pub fn landmarks(&self) -> &[Body] {
        &self.bodies[self.agents..]
    }

    /// The agents.
    pub fn team(&self) -> &[Body] {
        &self.bodies[..self.agents]
    }

    /// What agent `i` said last, `[dim_c]`.
    pub fn said(&self, i: usize) -> &[f64] {
        &self.comm[i * self.dim_c..(i + 1) * self.dim_c]
    }

    /// Everyone still and silent; positions are then drawn by the scenario.
    pub fn quiet(&mut self) {
        self.bodies.iter_mut().for_each(|b| b.vel = [0.0; 2]);
        self.comm.fill(0.0);
    }

    /// Sets the force of agent `i`'s own engine for the coming step: `direction` times its strength.
    pub fn push(&mut self, i: usize, direction: Vec2) {
        let accel = self.bodies[i].accel;
        self.forces[i] = [direction[0] * accel, direction[1] * accel];
    }

    /// One step of physics with the forces pushed before. Utterances are set by the caller afterwards.
    pub fn advance(&mut self, flavour: Flavour) {
        self.add_contacts();
        let velocity_first = flavour == Flavour::V2;
        for (body, force) in self.bodies.iter_mut().zip(&self.forces) {
            if !body.movable {
                continue;
            }
            if !velocity_first {
                body.drift();
            }
            for ((v, f), mass) in body.vel.iter_mut().zip(force).zip([body.mass; 2]) {
                *v *= 1.0 - DAMPING;
                *v += (f / mass) * DT;
            }
            body.limit_speed();
            if velocity_first {
                body.drift();
            }
        }
    }

    fn add_contacts(&mut self) {
        for &(a, b) in &self.pairs {
            let (first, second) = (&self.bodies[a], &self.bodies[b]);
            let d = minus(first.pos, second.pos);
            let r = (d[0] * d[0] + d[1] * d[1]).sqrt();
            let Some(overlap) = penetration(r, first.size + second.size) else { continue };
            let force = d.map(|d| CONTACT_FORCE * d / r * overlap);
            if first.movable {
                self.forces[a] = [force[0] + self.forces[a][0], force[1] + self.forces[a][1]];
            }
            if second.movable {
                self.forces[b] = [-force[0] + self.forces[b][0], -force[1] + self.forces[b][1]];
            }
        }
    }
}

impl Body {
    fn drift(&mut self) {
        self.pos[0] += self.vel[0] * DT;
        self.pos[1] += self.vel[1] * DT;
    }

    fn limit_speed(&mut self) {
        if self.max_speed == f64::INFINITY {
            return;
        }
        let speed = (self.vel[0] * self.vel[0] + self.vel[1] * self.vel[1]).sqrt();
        if speed > self.max_speed {
            self.vel = self.vel.map(|v| v / speed * self.max_speed);
        }
    }
}

/// The soft overlap `k ln(1 + exp(-(r - least)/k))` of two bodies at distance `r`, as numpy's `logaddexp(0, .)` computes it;
/// `None` where it underflows to nothing.
fn penetration(r: f64, least: f64) -> Option<f64> {
    let y = -(r - least) / CONTACT_MARGIN;
    let t = -y;
    let soft = if t > 746.0 {
        return None;
    } else if t == 0.0 {
        std::f64::consts::LN_2
    } else if t > 0.0 {
        log1p((-t).exp())
    } else {
        y + log1p(t.exp())
    };
    Some(soft * CONTACT_MARGIN)
}

/// `ln(1 + x)` for `x >= 0`: below 2^-54 the nearest number is `x` itself, and the call can be saved.
fn log1p(x: f64) -> f64 {
    if x < 5.0e-17 { x } else { x.ln_1p() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(gap: f64) -> World {
        let mut world = World::new(vec![Body::agent(0.1), Body::agent(0.1)], vec![], 0);
        world.bodies[1].pos = [0.2 + gap, 0.0];
        world
    }

    /// Just touching bodies overlap by `k ln 2`; a step turns the force into `f dt`.
    #[test]
    fn contacts_push_apart_equally() {
        let mut world = pair(0.0);
        (0..2).for_each(|i| world.push(i, [0.0; 2]));
        world.advance(Flavour::V3);
        let expected = 100.0 * 1e-3 * std::f64::consts::LN_2 * 0.1;
        assert!((world.bodies[1].vel[0] - expected).abs() < 1e-15 && world.bodies[1].vel[1] == 0.0);
        assert_eq!(world.bodies[0].vel[0], -world.bodies[1].vel[0]);
    }

    #[test]
    fn the_short_cut_of_the_logarithm_changes_no_bit() {
        for x in (0..2000).map(|i| f64::from(i) * 0.4).map(|t| (-t).exp()) {
            assert_eq!(log1p(x).to_bits(), x.ln_1p().to_bits(), "{x}");
        }
        assert_eq!((-746.0_f64).exp(), 0.0);
    }

    /// From rest with full throttle to the right: v = 0.5, 0.875; the old velocity moves V3, the new one V2.
    #[test]
    fn flavours_differ_in_the_order_of_integration() {
        for (flavour, x) in [(Flavour::V3, 0.05), (Flavour::V25, 0.05), (Flavour::V2, 0.1375)] {
            let mut world = World::new(vec![Body::agent(0.1)], vec![], 0);
            for _ in 0..2 {
                world.push(0, [1.0, 0.0]);
                world.advance(flavour);
            }
            assert_eq!(world.bodies[0].vel, [0.875, 0.0]);
            assert!((world.bodies[0].pos[0] - x).abs() < 1e-15, "{flavour:?}");
        }
    }

    #[test]
    fn speed_is_limited() {
        let mut world = World::new(vec![Body { max_speed: 1.0, ..Body::agent(0.1) }], vec![], 0);
        for _ in 0..30 {
            world.push(0, [1.0, 1.0]);
            world.advance(Flavour::V3);
        }
        assert!((world.bodies[0].vel[0].hypot(world.bodies[0].vel[1]) - 1.0).abs() < 1e-12);
    }
}
