//! Growable `f32` buffers on cache-line boundaries.
#![allow(unsafe_code)]

use crate::simd::LANES;

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([f32; LANES]);

/// A buffer of `f32` whose start is aligned to 64 bytes. It grows and never shrinks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buf {
    lines: Vec<Line>,
    len: usize,
}

impl Buf {
    /// Makes the length `len`; new elements are zero, old ones stay.
    pub fn set_len(&mut self, len: usize) {
        let lines = len.div_ceil(LANES);
        if lines > self.lines.len() {
            self.lines.resize(lines, Line([0.0; LANES]));
        }
        self.len = len;
    }

    /// Makes the length `len` and every element zero.
    pub fn reset(&mut self, len: usize) {
        self.set_len(len);
        self.fill(0.0);
    }
}

impl std::ops::Deref for Buf {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // SAFETY: `Line` is `repr(C)` over 16 `f32` without padding (64 bytes, aligned to 64), so the lines are one run of
        // initialised `f32`, and `len <= 16 * lines.len()` by `set_len`.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl std::ops::DerefMut for Buf {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and `&mut self` makes it the only access.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}
