//! Convolution of images with 3 x 3 windows, stride 1, no padding: a linear layer over patches.

use crate::mlp::{Activation, Entry, Mlp, MlpShape, Scratch, Workspace, backward, lay_out};
use crate::pool::Pool;

/// Side of the window.
const SIDE: usize = 3;
/// Patches that are laid out together.
const PATCHES: usize = 4096;

/// Images `[height, width, channels]` to `[height - 2, width - 2, filters]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Rows of pixels.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
    /// Values of a pixel.
    pub channels: usize,
    /// Values of a result's pixel.
    pub filters: usize,
    /// On the results.
    pub activation: Activation,
}

impl ConvShape {
    /// The flat layout: `weight` `[3, 3, channels, filters]` (row, column), `bias` `[filters]`.
    pub fn entries(&self) -> Vec<Entry> {
        let weight = vec![SIDE, SIDE, self.channels, self.filters];
        lay_out([("weight".to_string(), weight), ("bias".to_string(), vec![self.filters])])
    }

    /// Length of the flat parameter vector.
    pub fn param_len(&self) -> usize {
        (SIDE * SIDE * self.channels + 1) * self.filters
    }

    /// Windows of an image (0 where it is smaller than one).
    fn windows(&self) -> (usize, usize) {
        (self.height.saturating_sub(SIDE - 1), self.width.saturating_sub(SIDE - 1))
    }

    /// Length of an image.
    pub fn in_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Length of an image's result.
    pub fn out_len(&self) -> usize {
        self.windows().0 * self.windows().1 * self.filters
    }
}

/// A convolution with its weights packed for the kernels.
#[derive(Clone, Debug)]
pub struct Conv {
    shape: ConvShape,
    over_patches: Mlp,
}

/// Working memory of [`Conv`].
#[derive(Clone, Debug, Default)]
pub struct ConvScratch {
    patches: Vec<f32>,
    forward: Scratch,
    backward: Workspace,
    part: Vec<f32>,
}

impl Conv {
    /// A convolution with all parameters zero.
    pub fn new(shape: ConvShape) -> Self {
        let over_patches = Mlp::new(MlpShape {
            input: SIDE * SIDE * shape.channels,
            input_norm: false,
            hidden: Vec::new(),
            activation: shape.activation,
            last_activation: None,
            hidden_norm: false,
            output: shape.filters,
            output_activation: shape.activation,
        });
        Self { shape, over_patches }
    }

    /// The shape it was built from.
    pub fn shape(&self) -> ConvShape {
        self.shape
    }

    /// Takes new parameters, laid out as [`ConvShape::entries`] says.
    ///
    /// # Panics
    /// When `params` has another length than [`ConvShape::param_len`].
    pub fn pack(&mut self, params: &[f32]) {
        self.over_patches.pack(params);
    }

    /// Images whose patches are laid out together, from the shape alone.
    fn together(&self) -> usize {
        (PATCHES / (self.shape.windows().0 * self.shape.windows().1).max(1)).max(1)
    }

    /// The windows of `images` as rows.
    fn lay_patches(&self, images: &[f32], patches: &mut Vec<f32>) {
        let ConvShape { width, channels, .. } = self.shape;
        let (down, across) = self.shape.windows();
        patches.clear();
        for image in images.chunks(self.shape.in_len().max(1)) {
            for y in 0..down {
                for x in 0..across {
                    for row in y..y + SIDE {
                        patches.extend_from_slice(&image[(row * width + x) * channels..][..SIDE * channels]);
                    }
                }
            }
        }
    }

    /// `x` `[rows, height, width, channels]` to `out` `[rows, height - 2, width - 2, filters]`. Allocates nothing once the
    /// scratch has grown.
    ///
    /// # Panics
    /// When a slice has not the length its shape says.
    pub fn forward(&self, x: &[f32], rows: usize, out: &mut [f32], scratch: &mut ConvScratch) {
        let (input, output) = (self.shape.in_len(), self.shape.out_len());
        assert!(x.len() == rows * input && out.len() == rows * output, "image and result slices: {rows} rows");
        let many = self.together();
        for (x, out) in x.chunks((many * input).max(1)).zip(out.chunks_mut((many * output).max(1))) {
            self.lay_patches(x, &mut scratch.patches);
            self.over_patches.forward(&scratch.patches, out.len() / self.shape.filters.max(1), out, &mut scratch.forward);
        }
    }

    /// Gradient by the parameters (`grad`, flat, overwritten) from the gradient `dout` of the results.
    ///
    /// # Panics
    /// When a slice has not the length its shape says.
    pub fn backward(&self, pool: &Pool, x: &[f32], rows: usize, dout: &[f32], grad: &mut [f32], scratch: &mut ConvScratch) {
        let (input, output) = (self.shape.in_len(), self.shape.out_len());
        assert!(x.len() == rows * input && dout.len() == rows * output, "image and gradient slices: {rows} rows");
        let many = self.together();
        grad.fill(0.0);
        scratch.part.resize(grad.len(), 0.0);
        for (x, dout) in x.chunks((many * input).max(1)).zip(dout.chunks((many * output).max(1))) {
            self.lay_patches(x, &mut scratch.patches);
            let count = dout.len() / self.shape.filters.max(1);
            let ConvScratch { patches, part, backward: work, .. } = scratch;
            backward(pool, &self.over_patches, patches, count, dout, part, None, work);
            grad.iter_mut().zip(part).for_each(|(g, p)| *g += *p);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{Dual, Noise, assert_close, duals, unit};

    /// The definition, pixel by pixel.
    fn naive(s: ConvShape, params: &[Dual], x: &[Dual]) -> Vec<Dual> {
        let mut out = Vec::new();
        for image in x.chunks(s.in_len()) {
            for y in 0..s.height - 2 {
                for x in 0..s.width - 2 {
                    for f in 0..s.filters {
                        let mut sum = params[9 * s.channels * s.filters + f];
                        for (dy, dx) in (0..9).map(|i| (i / 3, i % 3)) {
                            for c in 0..s.channels {
                                let pixel = image[((y + dy) * s.width + x + dx) * s.channels + c];
                                sum = sum + pixel * params[((dy * 3 + dx) * s.channels + c) * s.filters + f];
                            }
                        }
                        out.push(sum.tanh());
                    }
                }
            }
        }
        out
    }

    #[test]
    fn values_and_gradients_match_the_definition() {
        let mut noise = Noise(2);
        for (height, width, channels, filters, rows) in [(5, 4, 3, 7, 3), (3, 3, 1, 16, 1), (4, 6, 2, 2, 600), (2, 5, 1, 3, 2)] {
            let shape = ConvShape { height, width, channels, filters, activation: Activation::Tanh };
            let params = noise.vec(shape.param_len(), 0.5);
            let x = noise.vec(rows * shape.in_len(), 1.0);
            let dout = noise.vec(rows * shape.out_len(), 1.0);
            let mut conv = Conv::new(shape);
            conv.pack(&params);
            let (mut out, mut grad, mut scratch) = (dout.clone(), params.clone(), ConvScratch::default());
            conv.forward(&x, rows, &mut out, &mut scratch);
            conv.backward(&Pool::serial(), &x, rows, &dout, &mut grad, &mut scratch);
            if height < 3 {
                assert!(out.is_empty() && grad.iter().all(|g| *g == 0.0));
                continue;
            }
            let value = naive(shape, &duals(&params, None), &duals(&x, None));
            assert_close("out", &out, &value.iter().map(|v| v.v).collect::<Vec<_>>(), 1e-5);
            let slope = |i| {
                let moved = naive(shape, &duals(&params, Some(&unit(params.len(), i))), &duals(&x, None));
                moved.iter().zip(&dout).map(|(m, d)| m.d * f64::from(*d)).sum::<f64>()
            };
            assert_close("grad", &grad, &(0..params.len()).map(slope).collect::<Vec<_>>(), 1e-4);
        }
    }
}
