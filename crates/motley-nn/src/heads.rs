//! Two heads on one trunk: one network with twice the outputs, and the part of it that acts.

use std::sync::Arc;

use motley_core::Stream;

use crate::net::{Entry, Net};

impl Net {
    /// This network with a second head as wide as its own, whose weights are drawn from `rng`: outputs are its own, then the
    /// second head's.
    pub fn with_second_head(&self, rng: &Stream) -> Net {
        let fresh = |outputs: usize| {
            let mut spec = self.spec().clone();
            spec.output = outputs;
            match self.graph() {
                None => Net::new(spec, rng),
                Some(graph) => Net::on_graph(spec, Arc::clone(graph), rng),
            }
        };
        let (second, mut wide) = (fresh(self.output_len()), fresh(2 * self.output_len()));
        let entries = wide.entries().to_vec();
        wide.set_params(|params| {
            for (entry, own) in entries.iter().zip(self.entries()) {
                copy_columns(self.params(), own, params, entry, 0);
                if entry.len() > own.len() {
                    copy_columns(second.params(), own, params, entry, columns(own));
                }
            }
        });
        wide
    }

    /// A copy of this network with the trunk and the first head of `wide`, which was made of it by [`Net::with_second_head`].
    pub fn with_first_head_of(&self, wide: &Net) -> Net {
        let mut narrow = self.clone();
        let entries = narrow.entries().to_vec();
        narrow.set_params(|params| {
            for (entry, from) in entries.iter().zip(wide.entries()) {
                copy_columns(wide.params(), from, params, entry, 0);
            }
        });
        narrow
    }
}

fn columns(entry: &Entry) -> usize {
    entry.shape.last().copied().unwrap_or(0)
}

/// Copies the columns that both tensors have; those of the target begin at `at`.
fn copy_columns(from: &[f32], source: &Entry, into: &mut [f32], target: &Entry, at: usize) {
    let (have, take) = (columns(source), columns(target));
    let count = have.min(take);
    let rows = from[source.range()].chunks_exact(have.max(1));
    for (row, into) in rows.zip(into[target.range()].chunks_exact_mut(take.max(1))) {
        into[at..at + count].copy_from_slice(&row[..count]);
    }
}

#[cfg(test)]
mod tests {
    use motley_core::{ObsSpace, Purpose};
    use motley_kernels::Activation;

    use super::*;
    use crate::init::Init;
    use crate::net::{NetScratch, NetSpec};

    #[test]
    fn the_first_head_of_two_acts_as_the_one_did() {
        for recurrent in [false, true] {
            let spec = NetSpec {
                obs: ObsSpace::vector(3),
                extra: 0,
                hidden_sizes: vec![6, 5],
                activation: Activation::Tanh,
                last_activation: None,
                feature_norm: true,
                layer_norm: true,
                recurrent,
                output: 4,
                output_gain: 1.0,
                init: Init::Uniform,
                free: Vec::new(),
            };
            let rng = Stream::new(3, Purpose::Check, 0, 0);
            let narrow = Net::new(spec, &rng);
            let wide = narrow.with_second_head(&rng.fork(1));
            let outputs = |net: &Net| {
                let (mut out, mut memory) = (vec![0.0; 2 * net.output_len()], vec![0.1; 2 * net.memory_len()]);
                net.forward(&[0.3, -1.0, 2.0, 0.0, 0.5, -0.2], 2, &mut memory, &mut out, &mut NetScratch::default());
                out
            };
            let (one, two) = (outputs(&narrow), outputs(&wide));
            assert_eq!((one.len(), two.len()), (8, 16));
            let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
            assert!(close(&two[..4], &one[..4]) && close(&two[8..12], &one[4..]) && !close(&two[4..8], &one[..4]));
            let mut moved = wide.clone();
            moved.set_params(|p| p.iter_mut().for_each(|x| *x *= 1.5));
            let (acts, learns) = (outputs(&narrow.with_first_head_of(&moved)), outputs(&moved));
            assert!(close(&acts[..4], &learns[..4]) && close(&acts[4..], &learns[8..12]) && !close(&acts, &one));
        }
    }
}
