//! Building a graph node by node.

use prost::Message;

use crate::proto::{
    Attribute, Dimension, FLOAT, FLOAT_ATTRIBUTE, Graph, INT_ATTRIBUTE, INT64, INTS_ATTRIBUTE, Model, Node, OperatorSet,
    Property, Shape, Size, Tensor, TensorType, Type, ValueInfo,
};

/// Readable by onnxruntime 1.12 and newer.
const OPSET: i64 = 17;
const IR: i64 = 8;

/// A value in the graph.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Value(String);

/// One size of a shape.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dim {
    /// The batch, free.
    Batch,
    Is(usize),
}

#[derive(Debug, Default)]
pub(crate) struct Builder {
    graph: Graph,
    count: usize,
}

pub(crate) fn int(name: &str, i: i64) -> Attribute {
    Attribute { name: name.into(), i: Some(i), kind: INT_ATTRIBUTE, ..Attribute::default() }
}

pub(crate) fn float(name: &str, f: f32) -> Attribute {
    Attribute { name: name.into(), f: Some(f), kind: FLOAT_ATTRIBUTE, ..Attribute::default() }
}

pub(crate) fn ints(name: &str, ints: &[i64]) -> Attribute {
    Attribute { name: name.into(), ints: ints.to_vec(), kind: INTS_ATTRIBUTE, ..Attribute::default() }
}

fn info(name: &str, element: i32, shape: &[Dim]) -> ValueInfo {
    let dim = |d: &Dim| Dimension {
        size: Some(match d {
            Dim::Batch => Size::Named("B".into()),
            Dim::Is(n) => Size::Value(*n as i64),
        }),
    };
    let shape = Some(Shape { dim: shape.iter().map(dim).collect() });
    ValueInfo { name: name.into(), kind: Some(Type { tensor: Some(TensorType { element, shape }) }) }
}

impl Builder {
    fn fresh(&mut self, stem: &str) -> String {
        self.count += 1;
        format!("{stem}_{}", self.count)
    }

    /// A float input.
    pub(crate) fn input(&mut self, name: &str, shape: &[Dim]) -> Value {
        self.graph.input.push(info(name, FLOAT, shape));
        Value(name.into())
    }

    /// An input of whole numbers.
    pub(crate) fn input_whole(&mut self, name: &str, shape: &[Dim]) -> Value {
        self.graph.input.push(info(name, INT64, shape));
        Value(name.into())
    }

    /// Names a value as an output.
    pub(crate) fn output(&mut self, name: &str, value: &Value, whole: bool, shape: &[Dim]) {
        self.graph.node.push(Node {
            input: vec![value.0.clone()],
            output: vec![name.into()],
            name: format!("out_{name}"),
            op_type: "Identity".into(),
            attribute: Vec::new(),
        });
        self.graph.output.push(info(name, if whole { INT64 } else { FLOAT }, shape));
    }

    /// A constant; `values` in row-major order.
    pub(crate) fn floats(&mut self, stem: &str, dims: &[usize], values: impl IntoIterator<Item = f32>) -> Value {
        let raw = values.into_iter().flat_map(f32::to_le_bytes).collect();
        self.constant(stem, FLOAT, dims, raw)
    }

    /// A constant list of whole numbers.
    pub(crate) fn whole(&mut self, stem: &str, values: &[i64]) -> Value {
        self.constant(stem, INT64, &[values.len()], values.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    /// A constant number: as an index it takes its axis away.
    pub(crate) fn scalar(&mut self, stem: &str, value: usize) -> Value {
        self.constant(stem, INT64, &[], (value as i64).to_le_bytes().to_vec())
    }

    fn constant(&mut self, stem: &str, data_type: i32, dims: &[usize], raw_data: Vec<u8>) -> Value {
        let name = self.fresh(stem);
        let dims = dims.iter().map(|d| *d as i64).collect();
        self.graph.initializer.push(Tensor { dims, data_type, name: name.clone(), raw_data });
        Value(name)
    }

    /// A node with one output.
    pub(crate) fn node(&mut self, op: &str, inputs: &[&Value], attributes: Vec<Attribute>) -> Value {
        let name = self.fresh(&op.to_lowercase());
        self.push(op, inputs, vec![name.clone()], attributes);
        Value(name)
    }

    /// A node with several outputs.
    pub(crate) fn node_many(&mut self, op: &str, inputs: &[&Value], outputs: usize, attributes: Vec<Attribute>) -> Vec<Value> {
        let names: Vec<String> = (0..outputs).map(|_| self.fresh(&op.to_lowercase())).collect();
        self.push(op, inputs, names.clone(), attributes);
        names.into_iter().map(Value).collect()
    }

    /// Values side by side along an axis; one alone is itself.
    pub(crate) fn concat(&mut self, values: &[Value], axis: i64) -> Value {
        match values {
            [one] => one.clone(),
            _ => self.node("Concat", &values.iter().collect::<Vec<_>>(), vec![int("axis", axis)]),
        }
    }

    /// Columns of a matrix.
    pub(crate) fn columns(&mut self, x: &Value, columns: &[usize]) -> Value {
        let columns: Vec<i64> = columns.iter().map(|c| *c as i64).collect();
        let columns = self.whole("columns", &columns);
        self.node("Gather", &[x, &columns], vec![int("axis", 1)])
    }

    fn push(&mut self, op: &str, inputs: &[&Value], output: Vec<String>, attribute: Vec<Attribute>) {
        let input = inputs.iter().map(|v| v.0.clone()).collect();
        let name = format!("n_{}", output.join("_"));
        self.graph.node.push(Node { input, output, name, op_type: op.into(), attribute });
    }

    /// An input that an operator leaves out.
    pub(crate) fn none() -> Value {
        Value(String::new())
    }

    /// The file's bytes.
    pub(crate) fn finish(mut self, name: &str, properties: Vec<(&str, String)>) -> Vec<u8> {
        self.graph.name = name.into();
        let property = |(key, value): (&str, String)| Property { key: key.into(), value };
        Model {
            ir_version: IR,
            producer_name: "motley".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            graph: Some(self.graph),
            opset_import: vec![OperatorSet { domain: String::new(), version: OPSET }],
            metadata_props: properties.into_iter().map(property).collect(),
        }
        .encode_to_vec()
    }
}
