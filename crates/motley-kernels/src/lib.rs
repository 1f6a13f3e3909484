//! CPU kernels of Motley on plain slices: networks with their gradients, recurrent cells, vector functions.
//!
//! Bits depend neither on the number of threads, nor on the instruction set, nor on the other rows of a batch: every element
//! of a product is one chain of fused multiply-adds in ascending order, reductions run over 16 virtual lanes folded in one
//! order, and work is cut by shape alone. `MOTLEY_SIMD=portable|avx2|avx512` forces an instruction set.

pub mod adam;
mod buffer;
pub mod conv;
mod gemm;
pub mod gru;
pub mod math;
pub mod mlp;
pub mod pool;
pub mod qmix;
#[cfg(test)]
mod reference;
mod simd;

pub use adam::{AdamStep, adam};
pub use conv::{Conv, ConvScratch, ConvShape};
pub use gru::{Gru, GruScratch, GruShape, GruTape};
pub use mlp::{Activation, Entry, Mlp, MlpShape, RowLoss, Scratch, Workspace};
pub use pool::{Pool, PoolError};
pub use qmix::{Qmix, QmixShape, QmixWork};
pub use simd::Isa;
