//! How well the particle tasks with talk can be played at all: the figures behind `Bounds` and `limit`.
//!
//! Bodies there touch nothing, so each mover is a problem of its own: 25 throttles from rest, a linear motion, a convex cost (the
//! distance to the goal, squared where the task squares it). Nobody has heard of its goal when the first action is due, and everybody
//! when the second is: the first throttle is the same for all three landmarks, the others are free. Allowing what lies between the
//! moves (the convex hull of left, right, down, up, stay) makes the problem convex; the value of its dual is then a cost that *no* play
//! undercuts, whatever the solver missed. Beside it stands play with true moves, found by local search: what certainly can be reached.
//! `cargo test -p motley-stats --test mpe_bounds -- --nocapture` prints the table.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use motley_core::{Actions, FrameBuf};
use motley_envs::mpe::{self, Replay};
use motley_envs::{Registry, registry};
use motley_stats::{Bounds, Metric, RunRecord, published};

const STEPS: usize = 25;
/// Goals that the first action does not tell apart.
const GOALS: usize = 3;
const MOVES: [Vec2; 5] = [[0.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]];

type Vec2 = [f64; 2];
/// Throttles, one a step.
type Throttle = [Vec2; STEPS];

fn dot(a: Vec2, b: Vec2) -> f64 {
    a[0] * b[0] + a[1] * b[1]
}

#[derive(Clone, Copy)]
struct Rules {
    /// Rewards are minus the squared distance.
    squared: bool,
    /// Flavour v2: the new velocity moves the body, not the old one.
    velocity_first: bool,
    continuous: bool,
}

impl Rules {
    /// Where the body is after each step, relative to the goal. The constants are those of the particle world.
    fn path(self, from: Vec2, throttle: &Throttle) -> [Vec2; STEPS] {
        let (mut p, mut v) = (from, [0.0; 2]);
        throttle.map(|u| {
            for k in 0..2 {
                let before = v[k];
                v[k] = 0.75 * v[k] + 0.5 * u[k];
                p[k] += 0.1 * if self.velocity_first { v[k] } else { before };
            }
            p
        })
    }

    /// How throttles change a sum of `by[t] . path[t]`: the adjoint of [`Rules::path`].
    fn pull(self, by: &[Vec2; STEPS]) -> Throttle {
        let (mut place, mut speed, mut out) = ([0.0; 2], [0.0; 2], [[0.0; 2]; STEPS]);
        for t in (0..STEPS).rev() {
            for k in 0..2 {
                place[k] += by[t][k];
                if self.velocity_first {
                    speed[k] += 0.1 * place[k];
                }
                out[t][k] = 0.5 * speed[k];
                speed[k] = 0.75 * speed[k] + if self.velocity_first { 0.0 } else { 0.1 * place[k] };
            }
        }
        out
    }

    fn cost(self, from: Vec2, throttle: &Throttle) -> f64 {
        let of = |p: Vec2| if self.squared { dot(p, p) } else { dot(p, p).sqrt() };
        self.path(from, throttle).into_iter().map(of).sum()
    }

    /// The slope of the cost at a place; that of the distance is smoothed by `soft` at the goal.
    fn slope(self, p: Vec2, soft: f64) -> Vec2 {
        let by = if self.squared { 2.0 } else { 1.0 / (dot(p, p) + soft * soft).sqrt() };
        p.map(|x| by * x)
    }

    /// The nearest throttle that is allowed (discrete moves: of their convex hull).
    fn allowed(self, u: Vec2) -> Vec2 {
        let (a, b) = (u[0].abs(), u[1].abs());
        if self.continuous {
            return u.map(|x| x.clamp(-1.0, 1.0));
        }
        if a + b <= 1.0 {
            return u;
        }
        let first = ((a - b + 1.0) / 2.0).clamp(0.0, 1.0);
        [first.copysign(u[0]), (1.0 - first).copysign(u[1])]
    }

    /// The most that an allowed throttle gains along `w`.
    fn gain(self, w: Vec2) -> f64 {
        let (a, b) = (w[0].abs(), w[1].abs());
        if self.continuous { a + b } else { a.max(b) }
    }
}

/// One mover that may have to go to any of `from.len()` places (offsets from them); `blind` where the first throttle is one for all.
struct Problem<'a> {
    rules: Rules,
    from: &'a [Vec2],
    blind: bool,
}

/// Mean costs over the places.
struct Answer {
    throttles: Vec<Throttle>,
    cost: f64,
    /// No play costs less.
    least: f64,
}

impl Problem<'_> {
    fn mean(&self, of: impl Fn(usize) -> f64) -> f64 {
        (0..self.from.len()).map(of).sum::<f64>() / self.from.len() as f64
    }

    /// The convex problem, by accelerated projected gradients while the smoothing shrinks, and its dual value.
    fn relaxed(&self) -> Answer {
        let n = self.from.len();
        let softs: &[f64] = if self.rules.squared { &[1.0] } else { &[0.1, 0.03, 0.01, 0.003, 0.001] };
        let mut best = vec![[[0.0; 2]; STEPS]; n];
        for soft in softs {
            // The largest gain of 25 steps' path over its throttles is below 3.3.
            let steepness = 3.3 * 3.3 * if self.rules.squared { 2.0 } else { 1.0 / soft };
            let (mut ahead, mut last, mut pace) = (best.clone(), best.clone(), 1.0f64);
            for _ in 0..300 {
                let mut next = ahead.clone();
                for (u, from) in next.iter_mut().zip(self.from) {
                    let pulls = self.rules.pull(&self.rules.path(*from, u).map(|p| self.rules.slope(p, *soft)));
                    u.iter_mut().zip(pulls).for_each(|(u, w)| *u = [u[0] - w[0] / steepness, u[1] - w[1] / steepness]);
                }
                self.share(&mut next);
                next.iter_mut().flatten().for_each(|u| *u = self.rules.allowed(*u));
                let after = (1.0 + (1.0 + 4.0 * pace * pace).sqrt()) / 2.0;
                let keep = (pace - 1.0) / after;
                ahead = next.clone();
                for (a, b) in ahead.iter_mut().flatten().zip(last.iter().flatten()) {
                    *a = [a[0] + keep * (a[0] - b[0]), a[1] + keep * (a[1] - b[1])];
                }
                (last, pace) = (next, after);
            }
            best = last;
        }
        let least = self.dual(&best, softs[softs.len() - 1]);
        Answer { cost: self.mean(|g| self.rules.cost(self.from[g], &best[g])), least, throttles: best }
    }

    /// First throttles that must be one become their mean.
    fn share(&self, throttles: &mut [Throttle]) {
        if self.blind {
            let mean = [0, 1].map(|k| throttles.iter().map(|u| u[0][k]).sum::<f64>() / throttles.len() as f64);
            throttles.iter_mut().for_each(|u| u[0] = mean);
        }
    }

    /// For any vectors `q` (of length 1 at most where distances are not squared) no allowed play costs less than
    /// `sum q . from - [|q|^2 / 4] - sum gain(pull(q))`.
    fn dual(&self, throttles: &[Throttle], soft: f64) -> f64 {
        let (mut least, mut first) = (0.0, [0.0; 2]);
        for (from, u) in self.from.iter().zip(throttles) {
            let q = self.rules.path(*from, u).map(|p| self.rules.slope(p, soft));
            let still: f64 = q.iter().map(|q| dot(*q, *from) - if self.rules.squared { dot(*q, *q) / 4.0 } else { 0.0 }).sum();
            let pulls = self.rules.pull(&q);
            let late: f64 = pulls[usize::from(self.blind)..].iter().map(|w| self.rules.gain(*w)).sum();
            least += still - late;
            first = [first[0] + pulls[0][0], first[1] + pulls[0][1]];
        }
        if self.blind {
            least -= self.rules.gain(first);
        }
        least / self.from.len() as f64
    }

    /// Play with true moves.
    fn played(&self) -> Answer {
        let relaxed = self.relaxed();
        let search = |g: usize, fixed: Option<Vec2>| {
            let mut best = rounded(&relaxed.throttles[g]);
            best[0] = fixed.unwrap_or(best[0]);
            polish(self.rules, self.from[g], &mut best, usize::from(fixed.is_some()));
            best
        };
        let all = |fixed: Option<Vec2>| -> Vec<Throttle> { (0..self.from.len()).map(|g| search(g, fixed)).collect() };
        let cost = |us: &Vec<Throttle>| self.mean(|g| self.rules.cost(self.from[g], &us[g]));
        let tried: Vec<Vec<Throttle>> = if self.blind { MOVES.iter().map(|m| all(Some(*m))).collect() } else { vec![all(None)] };
        let throttles = tried.into_iter().min_by(|a, b| cost(a).total_cmp(&cost(b))).unwrap();
        Answer { cost: cost(&throttles), least: relaxed.least, throttles }
    }
}

/// True moves near the throttles: what one step leaves over is owed to the next.
fn rounded(throttle: &Throttle) -> Throttle {
    let mut owed = [0.0; 2];
    throttle.map(|u| {
        let wanted = [u[0] + owed[0], u[1] + owed[1]];
        let far = |m: &Vec2| (m[0] - wanted[0]).powi(2) + (m[1] - wanted[1]).powi(2);
        let chosen = *MOVES.iter().min_by(|a, b| far(a).total_cmp(&far(b))).unwrap();
        owed = [wanted[0] - chosen[0], wanted[1] - chosen[1]];
        chosen
    })
}

/// Changes one or two moves, from step `start` on, while that helps.
fn polish(rules: Rules, from: Vec2, plan: &mut Throttle, start: usize) {
    let mut best = rules.cost(from, plan);
    loop {
        let before = best;
        for a in start..STEPS {
            for b in a..STEPS {
                for (m, n) in MOVES.iter().flat_map(|m| MOVES.iter().map(move |n| (m, n))) {
                    let mut other = *plan;
                    (other[a], other[b]) = (*m, *n);
                    let cost = rules.cost(from, &other);
                    if cost < best {
                        (*plan, best) = (other, cost);
                    }
                }
            }
        }
        if best > before - 1e-9 {
            return;
        }
    }
}

/// The task's name, its continuous choice, its flavour, and its rules.
fn cases() -> Vec<(&'static str, bool, &'static str, Rules)> {
    let mut all = Vec::new();
    for (task, squared) in [("mpe/simple_reference_v3", false), ("mpe/simple_speaker_listener_v4", true)] {
        for flavour in ["v3", "v2"] {
            for continuous in [false, true] {
                all.push((task, continuous, flavour, Rules { squared, velocity_first: flavour == "v2", continuous }));
            }
        }
    }
    all
}

fn open(task: &str, continuous: bool, flavour: &str) -> Box<dyn Replay> {
    let found = Registry::builtin().get(task).unwrap();
    let settings = [format!("continuous={continuous}"), format!("flavour={flavour}")];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    mpe::open(task, &registry::options(&*found, &settings).unwrap()).unwrap()
}

/// The offsets of each mover from every landmark in the episode of a seed, and which one is its goal.
fn movers(env: &dyn Replay) -> Vec<([Vec2; GOALS], usize)> {
    let raw = env.raw();
    let of = |body: usize, goal: u32| {
        let offset = |k: usize| [raw.pos[body][0] - raw.pos[2 + k][0], raw.pos[body][1] - raw.pos[2 + k][1]];
        ([0, 1, 2].map(offset), goal as usize)
    };
    // An agent of simple_reference knows the other's goal; the listener is body 1.
    if raw.marks.len() == 2 { vec![of(0, raw.marks[1]), of(1, raw.marks[0])] } else { vec![of(1, raw.marks[0])] }
}

/// The mean over where body and goal may be (each uniform on the square, so their difference has a triangular density) of what
/// `cost` says of an offset: midpoints of a grid over one octant's two halves.
fn over_offsets(cost: impl Fn(Vec2) -> f64) -> f64 {
    const N: usize = 20;
    let at = |k: usize| (k as f64 + 0.5) * 2.0 / N as f64;
    let (mut sum, mut total) = (0.0, 0.0);
    for i in 0..N {
        for j in 0..=i {
            let weight = (2.0 - at(i)) * (2.0 - at(j)) * if i == j { 1.0 } else { 2.0 };
            sum += weight * cost([at(i), at(j)]);
            total += weight;
        }
    }
    sum / total
}

/// Movers whose loss by blindness is computed, and of these the ones for which true moves are searched.
const MANY: usize = 300;
const FEW: usize = 24;

/// Best returns of the team: no play is better than the first two; the last is play that was found.
struct Best {
    told: f64,
    blind: f64,
    found: f64,
}

fn best(task: &str, continuous: bool, flavour: &str, rules: Rules) -> Best {
    // Two movers, or one whose reward both agents get.
    let team = -2.0;
    let one = |from: Vec2| Problem { rules, from: &[from], blind: false }.relaxed();
    let told = over_offsets(|from| one(from).least);
    // What the first action's blindness costs, and what true moves cost more, differ little between episodes: some of them tell the mean.
    let mut env = open(task, continuous, flavour);
    let mut buf = FrameBuf::new(env.spec());
    let mut starts = Vec::new();
    for seed in 0.. {
        env.reset_from(seed, &mut buf.frame());
        starts.extend(movers(&*env).into_iter().map(|m| m.0));
        if starts.len() >= MANY {
            break;
        }
    }
    let mean = |of: &dyn Fn(&[Vec2; GOALS]) -> f64, count: usize| starts[..count].iter().map(of).sum::<f64>() / count as f64;
    let lost = |from: &[Vec2; GOALS]| {
        let [blind, told] = [true, false].map(|blind| Problem { rules, from, blind }.relaxed().least);
        blind - told
    };
    let excess = |from: &[Vec2; GOALS]| {
        let problem = Problem { rules, from, blind: true };
        let found = if continuous { problem.relaxed() } else { problem.played() };
        found.cost - found.least
    };
    let lost = mean(&lost, MANY);
    let excess = mean(&excess, FEW);
    let blind = told + lost;
    Best { told: team * told, blind: team * blind, found: team * (blind + excess) }
}

/// The end of the scale in use: for v3 that of aggregates, for v2 the limit of HARL's results.
fn in_use(task: &str, continuous: bool, flavour: &str) -> f64 {
    if flavour == "v3" {
        let run = serde_json::json!({
            "algo": "a", "task": task, "seed": 0, "env_steps": 1, "evaluations": [],
            "config": { "task": { "continuous": continuous, "flavour": flavour, "max_cycles": 25, "local_ratio": 0.5 } },
        });
        let run: RunRecord = serde_json::from_value(run).unwrap();
        return Bounds::known(&run, Metric::Return).unwrap().high;
    }
    let rules = ["task.flavour=v2".to_owned(), format!("task.continuous={continuous}")];
    published::all().iter().find(|p| p.task == task && p.settings == rules).unwrap().limit.unwrap()
}

/// The bounds in use are these, of more episodes and rounded up (the draw leaves a tenth of noise here), and what is played comes near.
#[test]
fn bounds_are_what_no_play_can_beat() {
    println!("| task | goals known from the start | told after one step | play that reaches |\n|---|---|---|---|");
    for (task, continuous, flavour, rules) in cases() {
        let b = best(task, continuous, flavour, rules);
        let kind = if continuous { "continuous" } else { "discrete" };
        println!("| {task}, {kind}, {flavour} | {:.2} | {:.2} | {:.2} |", b.told, b.blind, b.found);
        assert!(b.found <= b.blind + 1e-9 && b.blind <= b.told + 1e-9, "{task}: {} {} {}", b.found, b.blind, b.told);
        assert!(b.found > b.blind - 1.0, "{task}: the bound is near what can be played: {} {}", b.found, b.blind);
        let used = in_use(task, continuous, flavour);
        assert!(used >= b.blind - 0.1 && used < b.blind + 0.3, "{task} {kind} {flavour}: {used} is used, {} found", b.blind);
    }
}

/// A plan played in the task itself returns what was computed: the motion, the costs and what is heard when are those of the task.
#[test]
fn plans_return_what_was_computed() {
    for (task, continuous, flavour, rules) in cases() {
        let mut env = open(task, continuous, flavour);
        let team = env.spec().clone();
        let mut buf = FrameBuf::new(&team);
        for seed in 100..104 {
            env.reset_from(seed, &mut buf.frame());
            let movers = movers(&*env);
            let answer = |from: &[Vec2; GOALS]| {
                let problem = Problem { rules, from, blind: true };
                if continuous { problem.relaxed() } else { problem.played() }
            };
            let plans: Vec<Throttle> = movers.iter().map(|(from, goal)| answer(from).throttles[*goal]).collect();
            let computed: f64 = movers.iter().zip(&plans).map(|((from, goal), u)| rules.cost(from[*goal], u)).sum();
            let computed = if movers.len() == 2 { -computed } else { -2.0 * computed };
            let mut returned = 0.0;
            for step in 0..STEPS {
                let joint = act(&movers, &plans, step, continuous, flavour);
                env.step(Actions::new(&team, &joint), &mut buf.frame()).unwrap();
                returned += buf.rewards.iter().sum::<f64>();
                for (k, (_, goal)) in movers.iter().enumerate() {
                    let mover = if movers.len() == 2 { k } else { 1 };
                    let heard = &buf.obs[team.obs_range(mover)];
                    let words = if movers.len() == 2 { 10 } else { 3 };
                    assert_eq!(heard[heard.len() - words + goal], 1.0, "{task}: the goal is heard after step {}", step + 1);
                }
            }
            let slack = if continuous { 1e-4 } else { 1e-9 };
            assert!((returned - computed).abs() < slack, "{task} {flavour} {continuous}: {returned}, computed {computed}");
        }
    }
}

/// Everybody says the other's goal at every step, and moves as planned.
fn act(movers: &[([Vec2; GOALS], usize)], plans: &[Throttle], step: usize, continuous: bool, flavour: &str) -> Vec<f32> {
    let push = |u: Vec2| -> Vec<f32> {
        if !continuous {
            let choice = MOVES.iter().position(|m| *m == u).unwrap();
            return vec![choice as f32];
        }
        // Channels: stay, left, right, down, up; before v3 left and right, down and up are the other way round.
        let sign = if flavour == "v3" { 1.0 } else { -1.0 };
        let channel = |x: f64| (sign * x).clamp(0.0, 1.0) as f32;
        vec![0.0, channel(-u[0]), channel(u[0]), channel(-u[1]), channel(u[1])]
    };
    let say = |word: usize, words: usize| -> Vec<f32> { (0..words).map(|k| f32::from(u8::from(k == word))).collect() };
    if movers.len() == 1 {
        let speaker = if continuous { say(movers[0].1, GOALS) } else { vec![movers[0].1 as f32] };
        return [speaker, push(plans[0][step])].concat();
    }
    let both = |k: usize| {
        let moved = push(plans[k][step]);
        let word = movers[1 - k].1;
        if continuous { [moved, say(word, 10)].concat() } else { vec![moved[0] + (5 * word) as f32] }
    };
    [both(0), both(1)].concat()
}
