//! Named numbers on their way to the logs.

/// Sums with counts, kept in the order of first use, so that logs never depend on a hash.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics {
    entries: Vec<(String, f64, f64)>,
}

impl Metrics {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one observation of `name`; [`Metrics::mean`] averages them.
    pub fn add(&mut self, name: &str, value: f64) {
        self.add_weighted(name, value, 1.0);
    }

    /// Adds an observation that counts `weight` times. A weight of 0 leaves the metric as it was.
    pub fn add_weighted(&mut self, name: &str, value: f64, weight: f64) {
        if weight == 0.0 {
            return;
        }
        match self.entries.iter_mut().find(|e| e.0 == name) {
            Some(e) => {
                e.1 += value * weight;
                e.2 += weight;
            }
            None => self.entries.push((name.to_owned(), value * weight, weight)),
        }
    }

    /// Merges another set, its names prefixed.
    pub fn merge(&mut self, prefix: &str, other: &Metrics) {
        for (name, sum, weight) in &other.entries {
            self.add_weighted(&format!("{prefix}{name}"), sum / weight, *weight);
        }
    }

    /// The mean of everything added under `name`.
    pub fn mean(&self, name: &str) -> Option<f64> {
        self.entries.iter().find(|e| e.0 == name).map(|e| e.1 / e.2)
    }

    /// Names with their means, in order of first use.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.entries.iter().map(|e| (e.0.as_str(), e.1 / e.2))
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_weighted_and_ordered() {
        let mut m = Metrics::new();
        m.add("b", 1.0);
        m.add_weighted("a", 3.0, 2.0);
        m.add("b", 2.0);
        m.add_weighted("a", 100.0, 0.0);
        assert_eq!(m.iter().collect::<Vec<_>>(), vec![("b", 1.5), ("a", 3.0)]);
        let mut all = Metrics::new();
        all.merge("x/", &m);
        assert_eq!(all.mean("x/b"), Some(1.5));
    }
}
