//! Optimal reciprocal collision avoidance: each unit picks the velocity nearest to the one it wants among those that no
//! neighbour and no wall forbids for a while.
//!
//! J. van den Berg, S. Guy, M. Lin, D. Manocha, "Reciprocal n-Body Collision Avoidance", ISRR 2011: half-planes of permitted
//! velocities per neighbour (section 4), a linear programme in two dimensions, and where that has no solution the velocity
//! that violates the half-planes least (section 5.3). Walls are the edges of rectangles, seen as velocity
//! obstacles of segments in the way of the authors' RVO2 library (Apache-2.0).

/// A vector of the plane.
pub type V = [f64; 2];

const EPSILON: f64 = 1e-5;
/// Seconds ahead that neighbours are avoided for; also for walls.
pub const HORIZON: f64 = 1.0;

fn add(a: V, b: V) -> V {
    [a[0] + b[0], a[1] + b[1]]
}

fn sub(a: V, b: V) -> V {
    [a[0] - b[0], a[1] - b[1]]
}

fn scale(a: V, s: f64) -> V {
    [a[0] * s, a[1] * s]
}

fn dot(a: V, b: V) -> f64 {
    a[0] * b[0] + a[1] * b[1]
}

fn det(a: V, b: V) -> f64 {
    a[0] * b[1] - a[1] * b[0]
}

fn sq(a: V) -> f64 {
    dot(a, a)
}

fn unit(a: V) -> V {
    scale(a, 1.0 / sq(a).sqrt())
}

/// A directed line; velocities to its left are permitted.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    point: V,
    direction: V,
}

/// One corner of a wall's outline; corners of one wall run counter-clockwise.
#[derive(Debug, Clone, Copy)]
pub struct Corner {
    /// Where.
    pub at: V,
    /// Unit vector towards the next corner.
    pub along: V,
    /// Index of the next corner.
    pub next: usize,
    /// Index of the one before.
    pub previous: usize,
}

/// The corners of axis-parallel rectangles `[x0, y0, x1, y1]`.
pub fn corners(rectangles: &[[f64; 4]]) -> Vec<Corner> {
    let mut corners = Vec::with_capacity(4 * rectangles.len());
    for &[x0, y0, x1, y1] in rectangles {
        let first = corners.len();
        let points = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];
        for (k, at) in points.into_iter().enumerate() {
            let along = unit(sub(points[(k + 1) % 4], at));
            corners.push(Corner { at, along, next: first + (k + 1) % 4, previous: first + (k + 3) % 4 });
        }
    }
    corners
}

/// The unit that chooses.
#[derive(Debug, Clone, Copy)]
pub struct Mover {
    /// Where it is.
    pub at: V,
    /// How it moves now.
    pub velocity: V,
    /// Its radius.
    pub radius: f64,
    /// How fast it can move.
    pub max_speed: f64,
}

/// Someone to avoid.
#[derive(Debug, Clone, Copy)]
pub struct Neighbour {
    /// Where it is.
    pub at: V,
    /// How it moves now.
    pub velocity: V,
    /// Its radius.
    pub radius: f64,
    /// The share of the avoidance that falls to the mover: a half, or all of it where the other stands.
    pub share: f64,
}

/// Lines of one unit, kept between calls so that nothing is allocated.
#[derive(Debug, Default)]
pub struct Solver {
    lines: Vec<Line>,
    projected: Vec<Line>,
    walls: usize,
}

impl Solver {
    /// Forgets the last unit.
    pub fn clear(&mut self) {
        self.lines.clear();
        self.walls = 0;
    }

    /// Adds the line of one wall edge, from `corners[k]` to the next corner, unless an earlier wall's line covers it. Walls come
    /// before neighbours.
    pub fn wall(&mut self, mover: &Mover, corners: &[Corner], k: usize) {
        let inv = 1.0 / HORIZON;
        let (mut a, mut b) = (corners[k], corners[corners[k].next]);
        let (to_a, to_b) = (sub(a.at, mover.at), sub(b.at, mover.at));
        let radius = mover.radius;
        let covered = self.lines.iter().any(|line| {
            let outside = |to: V| det(sub(scale(to, inv), line.point), line.direction) - inv * radius >= -EPSILON;
            outside(to_a) && outside(to_b)
        });
        if covered {
            return;
        }
        let (sq_a, sq_b, sq_r) = (sq(to_a), sq(to_b), radius * radius);
        let edge = sub(b.at, a.at);
        let s = -dot(to_a, edge) / sq(edge);
        let sq_line = sq(sub(scale(to_a, -1.0), scale(edge, s)));
        // Touching already: just do not go deeper.
        if s < 0.0 && sq_a <= sq_r {
            return self.push_wall([0.0; 2], unit([-to_a[1], to_a[0]]));
        } else if s > 1.0 && sq_b <= sq_r {
            if det(to_b, b.along) >= 0.0 {
                self.push_wall([0.0; 2], unit([-to_b[1], to_b[0]]));
            }
            return;
        } else if (0.0..1.0).contains(&s) && sq_line <= sq_r {
            return self.push_wall([0.0; 2], scale(a.along, -1.0));
        }
        // Seen along its length, one end hides the other.
        let single = !(0.0..=1.0).contains(&s) && sq_line <= sq_r;
        let ends = if single { if s < 0.0 { (to_a, to_a) } else { (to_b, to_b) } } else { (to_a, to_b) };
        if single {
            (a, b) = if s < 0.0 { (a, a) } else { (b, b) };
        }
        let (mut left, mut right) = (tangents(ends.0, radius).0, tangents(ends.1, radius).1);
        // A leg that points into the neighbouring edge is replaced by that edge, whose own line it is.
        let before = scale(corners[a.previous].along, -1.0);
        let left_foreign = det(left, before) >= 0.0;
        if left_foreign {
            left = before;
        }
        let right_foreign = det(right, b.along) <= 0.0;
        if right_foreign {
            right = b.along;
        }
        let cut_left = scale(sub(a.at, mover.at), inv);
        let cut_right = scale(sub(b.at, mover.at), inv);
        let cut = sub(cut_right, cut_left);
        let v = mover.velocity;
        let t = if single { 0.5 } else { dot(sub(v, cut_left), cut) / sq(cut) };
        let (t_left, t_right) = (dot(sub(v, cut_left), left), dot(sub(v, cut_right), right));
        if (t < 0.0 && t_left < 0.0) || (single && t_left < 0.0 && t_right < 0.0) {
            let w = unit(sub(v, cut_left));
            return self.push_wall(add(cut_left, scale(w, radius * inv)), [w[1], -w[0]]);
        } else if t > 1.0 && t_right < 0.0 {
            let w = unit(sub(v, cut_right));
            return self.push_wall(add(cut_right, scale(w, radius * inv)), [w[1], -w[0]]);
        }
        let far = f64::INFINITY;
        let sq_cut = if !(0.0..=1.0).contains(&t) || single { far } else { sq(sub(v, add(cut_left, scale(cut, t)))) };
        let sq_left = if t_left < 0.0 { far } else { sq(sub(v, add(cut_left, scale(left, t_left)))) };
        let sq_right = if t_right < 0.0 { far } else { sq(sub(v, add(cut_right, scale(right, t_right)))) };
        // The paper shifts a line by the radius across it; SMAClite shifts both coordinates by the same amount, so that walls
        // along x have no width. Its runs show it, and only its profile has walls of this kind.
        let beside = |from: V, direction: V| add(from, scale([-direction[1], -direction[1]], radius * inv));
        if sq_cut <= sq_left && sq_cut <= sq_right {
            let direction = scale(a.along, -1.0);
            self.push_wall(beside(cut_left, direction), direction);
        } else if sq_left <= sq_right {
            if !left_foreign {
                self.push_wall(beside(cut_left, left), left);
            }
        } else if !right_foreign {
            let direction = scale(right, -1.0);
            self.push_wall(beside(cut_right, direction), direction);
        }
    }

    fn push_wall(&mut self, point: V, direction: V) {
        self.lines.push(Line { point, direction });
        self.walls = self.lines.len();
    }

    /// Adds the line of one neighbour; `tick` is the length of a tick in seconds, in which an overlap has to end.
    pub fn neighbour(&mut self, mover: &Mover, other: &Neighbour, tick: f64) {
        let to = sub(other.at, mover.at);
        let relative = sub(mover.velocity, other.velocity);
        let radius = mover.radius + other.radius;
        let (sq_to, sq_r) = (sq(to), radius * radius);
        let (direction, change);
        let round = |inv: f64, w: V| {
            let length = sq(w).sqrt();
            let w_unit = if length > 0.0 { scale(w, 1.0 / length) } else { [1.0, 0.0] };
            ([w_unit[1], -w_unit[0]], scale(w_unit, radius * inv - length))
        };
        if sq_to > sq_r {
            let inv = 1.0 / HORIZON;
            let w = sub(relative, scale(to, inv));
            let along = dot(w, to);
            if along < 0.0 && along * along > sq_r * sq(w) {
                (direction, change) = round(inv, w);
            } else {
                let (left, right) = tangents(to, radius);
                direction = if det(to, w) > 0.0 { left } else { scale(right, -1.0) };
                change = sub(scale(direction, dot(relative, direction)), relative);
            }
        } else {
            let inv = 1.0 / tick;
            (direction, change) = round(inv, sub(relative, scale(to, inv)));
        }
        self.lines.push(Line { point: add(mover.velocity, scale(change, other.share)), direction });
    }

    /// The permitted velocity nearest to `wanted` within `max_speed`.
    pub fn solve(&mut self, wanted: V, max_speed: f64) -> V {
        let (failed, mut result) = program(&self.lines, max_speed, wanted, false);
        if failed < self.lines.len() {
            self.relax(failed, max_speed, &mut result);
        }
        result
    }

    /// Minimises the deepest violation of the neighbours' lines, walls held.
    fn relax(&mut self, begin: usize, max_speed: f64, result: &mut V) {
        let mut depth = 0.0;
        for i in begin..self.lines.len() {
            let line = self.lines[i];
            if det(line.direction, sub(line.point, *result)) <= depth {
                continue;
            }
            self.projected.clear();
            self.projected.extend_from_slice(&self.lines[..self.walls]);
            for other in &self.lines[self.walls..i] {
                let across = det(line.direction, other.direction);
                let point = if across.abs() <= EPSILON {
                    if dot(line.direction, other.direction) > 0.0 {
                        continue;
                    }
                    scale(add(line.point, other.point), 0.5)
                } else {
                    let t = det(other.direction, sub(line.point, other.point)) / across;
                    add(line.point, scale(line.direction, t))
                };
                self.projected.push(Line { point, direction: unit(sub(other.direction, line.direction)) });
            }
            let outwards = [-line.direction[1], line.direction[0]];
            let (failed, found) = program(&self.projected, max_speed, outwards, true);
            // A failure here is a matter of rounding only: the old result stands.
            if failed == self.projected.len() {
                *result = found;
            }
            depth = det(line.direction, sub(line.point, *result));
        }
    }
}

/// Directions of the left and right tangents from the origin to a disc around `to`.
fn tangents(to: V, radius: f64) -> (V, V) {
    let leg = (sq(to) - radius * radius).sqrt();
    let turned = |r: f64| scale([to[0] * leg - to[1] * r, to[0] * r + to[1] * leg], 1.0 / sq(to));
    (turned(radius), turned(-radius))
}

/// The incremental linear programme: how many lines could be met, and the best velocity for those.
fn program(lines: &[Line], max_speed: f64, wanted: V, outwards: bool) -> (usize, V) {
    let mut result = if outwards {
        scale(wanted, max_speed)
    } else if sq(wanted) > max_speed * max_speed {
        scale(unit(wanted), max_speed)
    } else {
        wanted
    };
    for (i, line) in lines.iter().enumerate() {
        if det(line.direction, sub(line.point, result)) > 0.0 {
            match on_line(lines, i, max_speed, wanted, outwards) {
                Some(better) => result = better,
                None => return (i, result),
            }
        }
    }
    (lines.len(), result)
}

/// The best point of line `i` that all lines before it permit.
fn on_line(lines: &[Line], i: usize, max_speed: f64, wanted: V, outwards: bool) -> Option<V> {
    let line = lines[i];
    let along = dot(line.point, line.direction);
    let inside = along * along + max_speed * max_speed - sq(line.point);
    if inside < 0.0 {
        return None;
    }
    let root = inside.sqrt();
    let (mut low, mut high) = (-along - root, -along + root);
    for other in &lines[..i] {
        let across = det(line.direction, other.direction);
        let side = det(other.direction, sub(line.point, other.point));
        if across.abs() <= EPSILON {
            if side < 0.0 {
                return None;
            }
            continue;
        }
        let t = side / across;
        if across >= 0.0 {
            high = high.min(t);
        } else {
            low = low.max(t);
        }
        if low > high {
            return None;
        }
    }
    let t = if outwards {
        if dot(wanted, line.direction) > 0.0 { high } else { low }
    } else {
        dot(line.direction, sub(wanted, line.point)).clamp(low, high)
    };
    Some(add(line.point, scale(line.direction, t)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: f64 = 1.0 / 16.0;

    fn mover(at: V, velocity: V) -> Mover {
        Mover { at, velocity, radius: 0.5, max_speed: 3.0 }
    }

    #[test]
    fn alone_it_gets_what_it_wants_up_to_its_speed() {
        let mut solver = Solver::default();
        assert_eq!(solver.solve([1.0, 2.0], 3.0), [1.0, 2.0]);
        assert_eq!(solver.solve([0.0, 6.0], 3.0), [0.0, 3.0]);
    }

    /// Two equal units head on: each gives way half, and for a second they do not touch.
    #[test]
    fn two_that_meet_share_the_avoidance() {
        let (a, b) = (mover([0.0, 0.0], [2.0, 0.0]), mover([3.0, 0.1], [-2.0, 0.0]));
        let as_seen = |m: &Mover| Neighbour { at: m.at, velocity: m.velocity, radius: m.radius, share: 0.5 };
        let mut solver = Solver::default();
        solver.neighbour(&a, &as_seen(&b), TICK);
        let va = solver.solve(a.velocity, 3.0);
        solver.clear();
        solver.neighbour(&b, &as_seen(&a), TICK);
        let vb = solver.solve(b.velocity, 3.0);
        assert!(va[1] < 0.0 && vb[1] > 0.0 && (va[1] + vb[1]).abs() < 1e-9, "{va:?} {vb:?}");
        let nearest = (0..=100)
            .map(|k| {
                let t = f64::from(k) / 100.0;
                sq(sub(add(b.at, scale(vb, t)), add(a.at, scale(va, t)))).sqrt()
            })
            .fold(f64::INFINITY, f64::min);
        assert!(nearest >= 1.0 - 1e-9, "they touch: {nearest}");
    }

    #[test]
    fn a_wall_is_not_entered_and_a_crowd_is_left_by_the_least_bad_way() {
        let walls = corners(&[[1.0, -5.0, 2.0, 5.0]]);
        let m = mover([0.0, 0.0], [3.0, 0.0]);
        let mut solver = Solver::default();
        solver.wall(&m, &walls, 3); // the edge that faces it
        let v = solver.solve([3.0, 0.0], 3.0);
        assert!(v[0] <= 0.5 + 1e-9, "{v:?} reaches the wall within a second");
        // Squeezed from both sides there is no solution; what comes out is finite and within the speed.
        for x in [-0.8, 0.8] {
            solver.neighbour(&m, &Neighbour { at: [x, 0.0], velocity: [0.0; 2], radius: 0.5, share: 1.0 }, TICK);
        }
        let v = solver.solve([3.0, 0.0], 3.0);
        assert!(v.iter().all(|x| x.is_finite()) && sq(v) <= 9.0 + 1e-6, "{v:?}");
    }
}
