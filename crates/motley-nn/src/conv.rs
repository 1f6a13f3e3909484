//! The convolution in front of image trunks: `x / 255 -> 3x3, stride 1, no padding -> activation -> flatten` (HARL).

use motley_kernels::Activation;

use crate::net::Entry;

const KERNEL: usize = 3;

/// Shape of the convolution of an image `[height, width, channels]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ConvShape {
    /// Rows of the image.
    pub height: usize,
    /// Columns of the image.
    pub width: usize,
    /// Channels of the image.
    pub channels: usize,
    /// Feature maps put out.
    pub maps: usize,
    /// After the convolution.
    pub activation: Activation,
}

impl ConvShape {
    /// For an image shape `[height, width, channels]` of at least 3 x 3.
    pub fn new(shape: &[usize], maps: usize, activation: Activation) -> Self {
        Self { height: shape[0], width: shape[1], channels: shape[2], maps, activation }
    }

    /// `weight [maps, 9 * channels]` (row, column, channel within a patch), `bias [maps]`.
    pub fn entries(&self) -> Vec<Entry> {
        let weight = self.maps * self.patch();
        vec![
            Entry { name: "weight".into(), offset: 0, shape: vec![self.maps, self.patch()] },
            Entry { name: "bias".into(), offset: weight, shape: vec![self.maps] },
        ]
    }

    /// Entries of a patch.
    pub fn patch(&self) -> usize {
        KERNEL * KERNEL * self.channels
    }

    /// Number of parameters.
    pub fn param_len(&self) -> usize {
        self.maps * (self.patch() + 1)
    }

    /// Rows and columns of a feature map.
    pub fn output_size(&self) -> (usize, usize) {
        (self.height.saturating_sub(KERNEL - 1), self.width.saturating_sub(KERNEL - 1))
    }

    /// Entries put out, `[maps, rows, columns]` flattened.
    pub fn output_len(&self) -> usize {
        let (h, w) = self.output_size();
        self.maps * h * w
    }

    /// One image to its feature maps.
    pub fn forward(&self, params: &[f32], image: &[f32], out: &mut [f32]) {
        let (weights, bias) = params.split_at(self.maps * self.patch());
        let (h, w) = self.output_size();
        let row_len = KERNEL * self.channels;
        for map in 0..self.maps {
            let kernel = &weights[map * self.patch()..(map + 1) * self.patch()];
            for y in 0..h {
                for x in 0..w {
                    let mut acc = 0.0f32;
                    for dy in 0..KERNEL {
                        let from = ((y + dy) * self.width + x) * self.channels;
                        let patch = &image[from..from + row_len];
                        for (p, k) in patch.iter().zip(&kernel[dy * row_len..]) {
                            acc = (p / 255.0).mul_add(*k, acc);
                        }
                    }
                    out[(map * h + y) * w + x] = activate(self.activation, acc + bias[map]);
                }
            }
        }
    }
}

/// One value through an activation.
fn activate(kind: Activation, x: f32) -> f32 {
    match kind {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::LeakyRelu => x.max(0.01 * x),
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Elu => x.max(0.0) + x.min(0.0).exp_m1(),
        Activation::Selu => 1.050_701 * (x.max(0.0) + 1.673_263_2 * x.min(0.0).exp_m1()),
    }
}
