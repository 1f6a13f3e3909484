//! Memory that Rust owns and numpy looks into, through numpy's array interface: no copy, no C interface of numpy.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// What an array holds.
pub(crate) enum Data {
    F32(Vec<f32>),
    F64(Vec<f64>),
    /// Flags written here and only read in Python.
    Flags(Vec<bool>),
    /// Flags and codes that Python may write: any byte is valid.
    Bytes(Vec<u8>),
}

impl Data {
    /// Numpy's name of the type, and where the memory lies. It never moves: lengths are fixed at construction.
    fn place(&mut self) -> (&'static str, usize) {
        match self {
            Self::F32(x) => ("<f4", x.as_mut_ptr() as usize),
            Self::F64(x) => ("<f8", x.as_mut_ptr() as usize),
            Self::Flags(x) => ("|b1", x.as_mut_ptr() as usize),
            Self::Bytes(x) => ("|u1", x.as_mut_ptr() as usize),
        }
    }

    pub(crate) fn f32(&mut self) -> &mut [f32] {
        if let Self::F32(x) = self { x } else { &mut [] }
    }

    pub(crate) fn f64(&mut self) -> &mut [f64] {
        if let Self::F64(x) = self { x } else { &mut [] }
    }

    pub(crate) fn flags(&mut self) -> &mut [bool] {
        if let Self::Flags(x) = self { x } else { &mut [] }
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        if let Self::Bytes(x) = self { x } else { &mut [] }
    }
}

/// An array of fixed shape. `numpy.asarray` of it is a view that keeps it alive.
#[pyclass(frozen)]
pub(crate) struct Array {
    shape: Vec<usize>,
    writable: bool,
    data: Mutex<Data>,
}

impl Array {
    fn new(py: Python<'_>, shape: Vec<usize>, writable: bool, data: Data) -> PyResult<Py<Self>> {
        Py::new(py, Self { shape, writable, data: Mutex::new(data) })
    }

    pub(crate) fn f32(py: Python<'_>, shape: Vec<usize>, writable: bool) -> PyResult<Py<Self>> {
        let len = shape.iter().product();
        Self::new(py, shape, writable, Data::F32(vec![0.0; len]))
    }

    pub(crate) fn f64(py: Python<'_>, shape: Vec<usize>, writable: bool) -> PyResult<Py<Self>> {
        let len = shape.iter().product();
        Self::new(py, shape, writable, Data::F64(vec![0.0; len]))
    }

    pub(crate) fn flags(py: Python<'_>, shape: Vec<usize>) -> PyResult<Py<Self>> {
        let len = shape.iter().product();
        Self::new(py, shape, false, Data::Flags(vec![true; len]))
    }

    pub(crate) fn bytes(py: Python<'_>, shape: Vec<usize>, writable: bool) -> PyResult<Py<Self>> {
        let len = shape.iter().product();
        Self::new(py, shape, writable, Data::Bytes(vec![0; len]))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Array {
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (kind, at) = self.lock().place();
        let described = PyDict::new(py);
        described.set_item("version", 3)?;
        described.set_item("shape", pyo3::types::PyTuple::new(py, &self.shape)?)?;
        described.set_item("typestr", kind)?;
        described.set_item("data", (at, !self.writable))?;
        Ok(described)
    }
}
