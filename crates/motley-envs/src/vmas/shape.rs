//! Bodies' shapes and the geometry of points, segments and rectangles, in f32 with a fixed order of operations.

/// A point or a vector in the plane.
pub type Vec2 = [f32; 2];

/// Half of the room that a line or a box's edge takes: contacts with one begin this far outside of it.
pub const THICKNESS: f64 = 4.0 / 600.0;

/// The outline of a body around its position. Sizes are f64 and rounded where a calculation uses them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// A disc.
    Circle {
        /// Its radius.
        radius: f64,
    },
    /// A thin rod along the body's direction.
    Line {
        /// From end to end.
        length: f64,
    },
    /// A rectangle.
    Rect {
        /// Along the body's direction.
        length: f64,
        /// Across it.
        width: f64,
        /// Whether things may be inside, held by its edges.
        hollow: bool,
    },
}

impl Shape {
    /// Distance from the centre within which the body lies.
    pub fn reach(self) -> f64 {
        match self {
            Self::Circle { radius } => radius,
            Self::Line { length } => length / 2.0,
            Self::Rect { length, width, .. } => (length / 2.0).hypot(width / 2.0),
        }
    }

    /// Moment of inertia about the centre, per mass.
    pub fn inertia(self, mass: f64) -> f64 {
        match self {
            Self::Circle { radius } => mass / 2.0 * radius * radius,
            Self::Line { length } => mass / 12.0 * (length * length),
            Self::Rect { length, width, .. } => mass / 12.0 * (length * length + width * width),
        }
    }
}

/// Where a straight segment lies: its middle, its unit direction, its length.
#[derive(Debug, Clone, Copy)]
pub struct Segment {
    /// The middle.
    pub at: Vec2,
    /// Unit vector along it.
    pub along: Vec2,
    /// From end to end.
    pub length: f32,
}

/// `a + b`.
#[inline]
pub fn plus(a: Vec2, b: Vec2) -> Vec2 {
    [a[0] + b[0], a[1] + b[1]]
}

/// `a - b`.
#[inline]
pub fn minus(a: Vec2, b: Vec2) -> Vec2 {
    [a[0] - b[0], a[1] - b[1]]
}

/// `a k`.
#[inline]
pub fn times(a: Vec2, k: f32) -> Vec2 {
    [a[0] * k, a[1] * k]
}

/// The scalar product.
#[inline]
pub fn dot(a: Vec2, b: Vec2) -> f32 {
    a[0] * b[0] + a[1] * b[1]
}

/// The third component of the vector product.
#[inline]
pub fn cross(a: Vec2, b: Vec2) -> f32 {
    a[0] * b[1] - a[1] * b[0]
}

/// Euclidean length. The second square is added without rounding it first, as fused arithmetic does; in f64, where the
/// product is exact, so that every machine gives the same bits.
#[inline]
pub fn norm(a: Vec2) -> f32 {
    let second = f64::from(a[1]);
    ((second * second + f64::from(a[0] * a[0])) as f32).sqrt()
}

/// Distance of two points.
#[inline]
pub fn distance(a: Vec2, b: Vec2) -> f32 {
    norm(minus(a, b))
}

/// 1, 0 or -1.
#[inline]
pub fn sign(x: f32) -> f32 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

impl Segment {
    /// The point of the segment nearest to `point`.
    #[inline]
    pub fn closest(&self, point: Vec2) -> Vec2 {
        let along = dot(minus(self.at, point), self.along);
        minus(self.at, times(self.along, sign(along) * along.abs().min(self.length / 2.0)))
    }

    /// Both ends.
    #[inline]
    fn ends(&self) -> [Vec2; 2] {
        let half = times(self.along, self.length / 2.0);
        [plus(self.at, half), minus(self.at, half)]
    }

    /// Where this and another segment cross, if they do.
    fn crossing(&self, other: &Self) -> Option<Vec2> {
        let ([a, a2], [b, b2]) = (self.ends(), other.ends());
        let (r, s, between) = (minus(a2, a), minus(b2, b), minus(b, a));
        let turn = cross(r, s);
        let (t, u) = (cross(between, s) / turn, cross(between, r) / turn);
        ((0.0..=1.0).contains(&t) && (0.0..=1.0).contains(&u)).then(|| plus(a, times(r, t)))
    }

    /// The nearest points of this and another segment.
    pub fn closest_pair(&self, other: &Self) -> [Vec2; 2] {
        if let Some(point) = self.crossing(other) {
            return [point; 2];
        }
        let [a, a2] = self.ends();
        let [b, b2] = other.ends();
        let candidates = [[a, other.closest(a)], [a2, other.closest(a2)], [self.closest(b), b], [self.closest(b2), b2]];
        nearest(candidates)
    }
}

/// The pair whose points are nearest to each other, the first of equals.
fn nearest<const N: usize>(pairs: [[Vec2; 2]; N]) -> [Vec2; 2] {
    let mut best = (f32::INFINITY, pairs[0]);
    for pair in pairs {
        let gap = distance(pair[0], pair[1]);
        if gap < best.0 {
            best = (gap, pair);
        }
    }
    best.1
}

/// The four edges of a rectangle.
#[derive(Debug, Clone, Copy)]
pub struct Edges([Segment; 4]);

impl Edges {
    /// Around `at`, `length` along `along` and `width` along `across`.
    #[inline]
    pub fn new(at: Vec2, along: Vec2, across: Vec2, length: f32, width: f32) -> Self {
        let (ahead, aside) = (times(along, length / 2.0), times(across, width / 2.0));
        Self([
            Segment { at: plus(at, ahead), along: across, length: width },
            Segment { at: minus(at, ahead), along: across, length: width },
            Segment { at: plus(at, aside), along, length },
            Segment { at: minus(at, aside), along, length },
        ])
    }

    /// The point of the edges nearest to `point`.
    #[inline]
    pub fn closest(&self, point: Vec2) -> Vec2 {
        nearest(self.0.map(|edge| [edge.closest(point), point]))[0]
    }

    /// The nearest points of the edges and a segment.
    pub fn closest_pair(&self, segment: &Segment) -> [Vec2; 2] {
        nearest(self.0.map(|edge| edge.closest_pair(segment)))
    }
}

/// For a solid rectangle around `centre`: the point as deep inside as the centre, straight below the surface point nearest
/// to `outside`, and that depth. Pushing away from there acts alike on points outside and inside.
#[inline]
pub fn core_below(outside: Vec2, surface: Vec2, centre: Vec2) -> (Vec2, f32) {
    let inwards = minus(surface, outside);
    let gap = norm(inwards);
    if gap == 0.0 {
        return (surface, 0.0);
    }
    let depth = dot(inwards, minus(centre, surface)) / gap;
    (plus(surface, times([inwards[0] / gap, inwards[1] / gap], depth)), depth.abs())
}

#[cfg(test)]
mod tests {
    use super::super::elementary::direction;
    use super::*;
    use motley_core::{Purpose, Stream};

    fn point(rng: &mut Stream, half: f64) -> Vec2 {
        [0; 2].map(|_| rng.range(-half, half) as f32)
    }

    fn segment(rng: &mut Stream) -> Segment {
        let at = point(rng, 1.0);
        Segment { at, along: direction(rng.range(-4.0, 4.0) as f32), length: rng.range(0.1, 2.0) as f32 }
    }

    /// Points of a segment, evenly.
    fn walk(s: &Segment) -> impl Iterator<Item = Vec2> + '_ {
        (0..=400).map(|k| plus(s.at, times(s.along, s.length * (k as f32 / 400.0 - 0.5))))
    }

    #[test]
    fn the_nearest_points_are_those_of_brute_force() {
        let mut rng = Stream::new(0, Purpose::Check, 0, 0);
        for _ in 0..200 {
            let (a, b, p) = (segment(&mut rng), segment(&mut rng), point(&mut rng, 2.0));
            let brute = walk(&a).map(|q| distance(q, p)).fold(f32::INFINITY, f32::min);
            assert!((distance(a.closest(p), p) - brute).abs() < 6e-3);
            let [x, y] = a.closest_pair(&b);
            let brute = walk(&a).map(|q| distance(q, b.closest(q))).fold(f32::INFINITY, f32::min);
            assert!((distance(x, y) - brute).abs() < 6e-3, "{} {brute}", distance(x, y));
            assert!(distance(a.closest(x), x) < 1e-5 && distance(b.closest(y), y) < 1e-5);
            let across = direction(0.3 + std::f32::consts::FRAC_PI_2);
            let edges = Edges::new(a.at, direction(0.3), across, 0.7, 0.4);
            let brute = edges.0.iter().flat_map(walk).map(|q| distance(q, p)).fold(f32::INFINITY, f32::min);
            assert!((distance(edges.closest(p), p) - brute).abs() < 6e-3);
            let [x, y] = edges.closest_pair(&b);
            let brute = edges.0.iter().flat_map(walk).map(|q| distance(q, b.closest(q))).fold(f32::INFINITY, f32::min);
            assert!((distance(x, y) - brute).abs() < 6e-3);
        }
    }

    #[test]
    fn a_rectangle_pushes_outwards_from_inside_too() {
        let edges = Edges::new([0.0; 2], [1.0, 0.0], [0.0, 1.0], 2.0, 1.0);
        for (point, expected) in [([0.0, 0.7], 0.2), ([0.1, 0.4], -0.1), ([-1.5, 0.0], 0.5), ([0.9, 0.1], -0.1)] {
            let surface = edges.closest(point);
            let (core, depth) = core_below(point, surface, [0.0; 2]);
            assert!((distance(point, core) - depth - expected).abs() < 1e-6, "{point:?}");
            assert!(dot(minus(point, core), point) > 0.0, "pushed outwards");
        }
    }

    #[test]
    fn inertias_are_the_textbooks() {
        assert_eq!(Shape::Circle { radius: 2.0 }.inertia(3.0), 6.0);
        assert_eq!(Shape::Line { length: 2.0 }.inertia(3.0), 1.0);
        assert_eq!(Shape::Rect { length: 2.0, width: 4.0, hollow: false }.inertia(3.0), 5.0);
    }
}
