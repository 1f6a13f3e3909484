//! What a robot is paid for, when it has fallen, where it starts and what the whole of it is seen as: the rules of Gymnasium's
//! `v5` robots, and of their `v2` generation.

use motley_core::Stream;

use super::graph::Read;
use super::robots::{COUPLED_DOFS, PUSHER_BODIES, Robot};
use crate::engine::Sim;

/// What is measured before and after a step: the reward is for its change over the time of the step.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Progress {
    /// The first coordinate.
    Way,
    /// Body 1 along x.
    Torso,
    /// The centre of all mass along x.
    MassCentre,
    /// The mean of both cheetahs' ways.
    BothWays,
    /// Nothing.
    None,
}

/// The rules of one robot.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    robot: Robot,
    v2: bool,
    /// Engine steps a step.
    pub(super) skip: usize,
    /// Whether external forces on bodies count or are seen.
    pub(super) contacts: bool,
    progress: Progress,
    /// Reward a unit of progress.
    forward: f64,
    /// Cost of the sum of squared actions.
    ctrl: f64,
    /// Reward of being upright.
    healthy: f64,
    /// Half the width of the noise of the start.
    noise: f64,
    /// Whether velocities start normally distributed instead of uniformly.
    normal: bool,
    /// Seconds an engine step.
    timestep: f64,
    masses: Vec<f64>,
}

impl Rules {
    /// The rules of a robot with the model of `sim`; `v2` takes the older generation.
    pub(super) fn new(robot: Robot, v2: bool, sim: &Sim) -> Self {
        use Progress::{BothWays, MassCentre, None, Torso, Way};
        let (skip, progress, forward, ctrl, healthy, noise, normal) = match robot {
            Robot::HalfCheetah => (5, Way, 1.0, 0.1, 0.0, 0.1, true),
            Robot::CoupledHalfCheetah => (5, BothWays, 1.0, 0.05, 0.0, 0.1, true),
            Robot::Ant | Robot::ManySegmentAnt => (5, Torso, 1.0, 0.5, 1.0, 0.1, true),
            Robot::Hopper | Robot::Walker2d => (4, Way, 1.0, 1e-3, 1.0, 5e-3, false),
            Robot::Humanoid => (5, MassCentre, 1.25, 0.1, 5.0, 1e-2, false),
            Robot::HumanoidStandup => (5, None, 0.0, 0.1, 1.0, 1e-2, false),
            Robot::Swimmer | Robot::ManySegmentSwimmer => (4, Way, 1.0, 1e-4, 0.0, 0.1, false),
            Robot::Reacher => (2, None, 0.0, 1.0, 0.0, 0.1, false),
            Robot::Pusher => (5, None, 0.0, 0.1, 0.0, 0.0, false),
        };
        let touching = matches!(robot, Robot::Ant | Robot::ManySegmentAnt | Robot::Humanoid | Robot::HumanoidStandup);
        Self {
            robot,
            v2,
            skip,
            contacts: touching && !v2,
            progress,
            forward,
            ctrl,
            healthy,
            noise,
            normal,
            timestep: sim.model().opt().timestep,
            masses: sim.model().body_mass().to_vec(),
        }
    }

    /// What is measured before and after each step.
    pub(super) fn measure(&self, sim: &Sim) -> f64 {
        let data = sim.data();
        match self.progress {
            Progress::Way => data.qpos()[0],
            Progress::Torso => data.xpos()[1][0],
            Progress::MassCentre => {
                let weighted: f64 = self.masses.iter().zip(data.xipos()).map(|(m, at)| m * at[0]).sum();
                weighted / self.masses.iter().sum::<f64>()
            }
            Progress::BothWays => 0.5 * (data.qpos()[0] + data.qpos()[data.qpos().len() / 2]),
            // The older reacher is paid for where it was before the step.
            Progress::None if self.robot == Robot::Reacher => distance(sim, 3, 4),
            Progress::None => 0.0,
        }
    }

    /// The reward of a step that began at `before` with the controls `action`.
    pub(super) fn reward(&self, sim: &Sim, before: f64, action: &[f64]) -> f64 {
        let squares = |xs: &mut dyn Iterator<Item = f64>| xs.map(|x| x * x).sum::<f64>();
        let ctrl = self.ctrl * squares(&mut action.iter().copied());
        let forces = || sim.data().cfrc_ext().iter().flatten().copied();
        match self.robot {
            Robot::HumanoidStandup => {
                let impact = if self.contacts { (0.5e-6 * squares(&mut forces())).min(10.0) } else { 0.0 };
                sim.data().qpos()[2] / self.timestep - ctrl - impact + self.healthy
            }
            Robot::Reacher if self.v2 => -before - ctrl,
            Robot::Reacher => -distance(sim, 3, 4) - ctrl,
            Robot::Pusher => {
                let [tip, object, goal] = PUSHER_BODIES;
                -distance(sim, object, goal) - ctrl - 0.5 * distance(sim, object, tip)
            }
            _ => {
                let contact = match self.robot {
                    _ if !self.contacts => 0.0,
                    Robot::Humanoid => (5e-7 * squares(&mut forces())).min(10.0),
                    _ => 5e-4 * squares(&mut forces().map(|f| f.clamp(-1.0, 1.0))),
                };
                let upright = if self.v2 || self.upright(sim) { self.healthy } else { 0.0 };
                let speed = (self.measure(sim) - before) / (self.timestep * self.skip as f64);
                self.forward * speed + upright - (ctrl + contact)
            }
        }
    }

    /// Whether it has not fallen: an episode of one that has is over.
    pub(super) fn upright(&self, sim: &Sim) -> bool {
        let (qpos, qvel) = (sim.data().qpos(), sim.data().qvel());
        let inside = |low: f64, x: f64, high: f64| low < x && x < high;
        match self.robot {
            Robot::Ant | Robot::ManySegmentAnt => {
                qpos.iter().chain(qvel).all(|x| x.is_finite()) && (0.2..=1.0).contains(&qpos[2])
            }
            Robot::Hopper => {
                let state = qpos[2..].iter().chain(qvel).all(|&x| inside(-100.0, x, 100.0));
                state && qpos[1] > 0.7 && inside(-0.2, qpos[2], 0.2)
            }
            Robot::Walker2d => inside(0.8, qpos[1], 2.0) && inside(-1.0, qpos[2], 1.0),
            Robot::Humanoid => inside(1.0, qpos[2], 2.0),
            _ => true,
        }
    }

    /// A start: noise around the model's own, drawn from `stream`.
    pub(super) fn start(&self, sim: &Sim, stream: &mut Stream) -> (Vec<f64>, Vec<f64>) {
        let mut qpos = sim.model().qpos0().to_vec();
        let mut qvel = vec![0.0; sim.data().qvel().len()];
        qpos.iter_mut().for_each(|x| *x += stream.range(-self.noise, self.noise));
        let point = |stream: &mut Stream, x: [f64; 2], fits: fn(f64) -> bool| loop {
            let point = [stream.range(x[0], x[1]), stream.range(-0.2, 0.2)];
            if fits(point[0].hypot(point[1])) {
                return point;
            }
        };
        // Angles start noisy, what has to be reached stands still.
        let fixed = match self.robot {
            Robot::Reacher => {
                qpos[2..].copy_from_slice(&point(stream, [-0.2, 0.2], |r| r < 0.2));
                2
            }
            Robot::Pusher => {
                qpos[7..9].copy_from_slice(&point(stream, [-0.3, 0.0], |r| r > 0.17));
                qpos[9..].fill(0.0);
                4
            }
            _ => 0,
        };
        let width = if fixed > 0 { 0.005 } else { self.noise };
        let moving = qvel.len() - fixed;
        for x in &mut qvel[..moving] {
            *x = if self.normal { width * stream.normal() } else { stream.range(-width, width) };
        }
        (qpos, qvel)
    }

    /// The observation of the whole robot.
    pub(super) fn base(&self, sim: &Sim) -> Vec<Read> {
        let (nq, nv, bodies) = (sim.data().qpos().len(), sim.data().qvel().len(), self.masses.len());
        let hidden = match self.robot {
            Robot::HalfCheetah | Robot::Hopper | Robot::Walker2d => 1,
            _ => 2,
        };
        let mut reads: Vec<Read> = (hidden..nq).map(Read::Qpos).collect();
        let per_body = |width: usize, read: fn(usize, usize) -> Read| {
            // The older generation has the world itself among the bodies.
            (usize::from(!self.v2)..bodies).flat_map(move |b| (0..width).map(move |k| read(b, k)))
        };
        match self.robot {
            Robot::Hopper | Robot::Walker2d => reads.extend((0..nv).map(Read::QvelClipped)),
            Robot::Ant | Robot::ManySegmentAnt => {
                reads.extend((0..nv).map(Read::Qvel));
                reads.extend(per_body(6, Read::ContactClipped));
            }
            Robot::Humanoid | Robot::HumanoidStandup => {
                reads.extend((0..nv).map(Read::Qvel));
                reads.extend(per_body(10, Read::Inertia));
                reads.extend(per_body(6, Read::Velocity));
                reads.extend((if self.v2 { 0 } else { 6 }..nv).map(Read::Force));
                reads.extend(per_body(6, Read::Contact));
            }
            Robot::Reacher => {
                reads = vec![Read::Cos(0), Read::Cos(1), Read::Sin(0), Read::Sin(1), Read::Qpos(2), Read::Qpos(3)];
                reads.extend([Read::Qvel(0), Read::Qvel(1)]);
                reads.extend((0..if self.v2 { 3 } else { 2 }).map(|k| Read::Apart(3, 4, k)));
            }
            Robot::Pusher => {
                reads = (0..7).map(Read::Qpos).chain((0..7).map(Read::Qvel)).collect();
                reads.extend(PUSHER_BODIES.iter().flat_map(|&b| (0..3).map(move |k| Read::Position(b, k))));
            }
            Robot::CoupledHalfCheetah => {
                reads = (1..9).chain(10..18).map(Read::Qpos).chain((0..nv).map(Read::Qvel)).collect();
                reads.extend(COUPLED_DOFS.map(Read::TendonJacobian));
                reads.extend([Read::TendonLength, Read::TendonVelocity]);
            }
            _ => reads.extend((0..nv).map(Read::Qvel)),
        }
        reads
    }
}

/// Between the origins of two bodies.
fn distance(sim: &Sim, a: usize, b: usize) -> f64 {
    let at = sim.data().xpos();
    (0..3).map(|k| (at[a][k] - at[b][k]).powi(2)).sum::<f64>().sqrt()
}
