//! State dictionaries that PyTorch saved (`torch.save(module.state_dict(), path)`): a zip file with a pickle of names and views,
//! and the numbers beside it.
//!
//! A pickle is a program. The one here is run by an interpreter that knows dictionaries, tuples, numbers, texts and the rebuilding of
//! a tensor, and nothing else: no import, no call. Opcodes: CPython's `pickletools`.

use std::collections::BTreeMap;

use motley_envs::zip::unzip;

/// An array of `f32`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tensor {
    /// Lengths of its axes, the slowest first.
    pub(super) shape: Vec<usize>,
    /// The values, row by row.
    pub(super) values: Vec<f32>,
}

/// What is unpacked of one file at most, in bytes.
const LARGEST: usize = 1 << 30;
/// The most numbers of all tensors that a file names.
const MOST: usize = 1 << 28;
/// The most axes of a tensor, as in PyTorch.
const AXES: usize = 64;

/// The tensors of a state dictionary by name.
///
/// # Errors
/// A file that is none; a pickle that holds anything else.
pub(super) fn state_dict(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, String> {
    if !bytes.starts_with(b"PK") {
        return Err("this is no file of PyTorch 1.6 or newer; load it there and save it again".into());
    }
    let members = unzip(bytes, LARGEST)?;
    let (root, program) = members
        .iter()
        .find_map(|(name, data)| Some((name.strip_suffix("data.pkl")?, data)))
        .ok_or("it has no data.pkl, so PyTorch did not save it")?;
    if members.get(&format!("{root}byteorder")).is_some_and(|order| order.as_slice() != b"little") {
        return Err("its numbers are big-endian; save it again on another machine".into());
    }
    let mut machine = Machine::new(program, root, &members);
    match machine.run()? {
        Value::Dict(dict) => machine.tensors(dict),
        _ => Err("it holds no state dictionary: save module.state_dict()".into()),
    }
}

/// Values are numbers into the machine's arenas, so that nothing nests and nothing is copied.
#[derive(Clone, Copy)]
enum Value {
    Mark,
    /// None, truth values, floats: of no use here.
    Other,
    Int(i64),
    /// Where it lies in the program.
    Text(usize, usize),
    /// A tuple or list.
    Seq(usize),
    Dict(usize),
    Name(Name),
    Storage(usize),
    Tensor(usize),
}

#[derive(Clone, Copy, PartialEq)]
enum Name {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Numbers(Kind),
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    F32,
    F64,
    I64,
}

/// Everything by its name in PyTorch; what is not here is refused.
const NAMES: [(&str, &str, Name); 6] = [
    ("collections", "OrderedDict", Name::OrderedDict),
    ("torch._utils", "_rebuild_tensor_v2", Name::RebuildTensor),
    ("torch._utils", "_rebuild_parameter", Name::RebuildParameter),
    ("torch", "FloatStorage", Name::Numbers(Kind::F32)),
    ("torch", "DoubleStorage", Name::Numbers(Kind::F64)),
    ("torch", "LongStorage", Name::Numbers(Kind::I64)),
];

struct Machine<'a> {
    code: &'a [u8],
    at: usize,
    root: &'a str,
    members: &'a BTreeMap<String, Vec<u8>>,
    stack: Vec<Value>,
    memo: BTreeMap<usize, Value>,
    seqs: Vec<Vec<Value>>,
    dicts: Vec<Vec<(Value, Value)>>,
    storages: Vec<(Kind, String)>,
    views: Vec<View>,
}

/// A tensor as the pickle describes it: which numbers of a storage, in which order. Only those that are named are gathered.
struct View {
    storage: usize,
    offset: i64,
    shape: Vec<usize>,
    stride: Vec<usize>,
}

impl<'a> Machine<'a> {
    fn new(code: &'a [u8], root: &'a str, members: &'a BTreeMap<String, Vec<u8>>) -> Self {
        Self {
            code,
            at: 0,
            root,
            members,
            stack: Vec::new(),
            memo: BTreeMap::new(),
            seqs: Vec::new(),
            dicts: Vec::new(),
            storages: Vec::new(),
            views: Vec::new(),
        }
    }

    fn run(&mut self) -> Result<Value, String> {
        loop {
            let code = self.take(1)?[0];
            match code {
                0x80 => {
                    self.take(1)?;
                }
                b'.' => return self.pop(),
                b'(' => self.stack.push(Value::Mark),
                b'N' | 0x88 | 0x89 => self.stack.push(Value::Other),
                b'G' => {
                    self.take(8)?;
                    self.stack.push(Value::Other);
                }
                b'K' => self.int(1)?,
                b'M' => self.int(2)?,
                b'J' => self.int(4)?,
                0x8a => {
                    let length = self.length(1)?;
                    self.int(length)?;
                }
                b'X' => self.text()?,
                b'c' => self.global()?,
                b')' | b']' => self.seq(Vec::new()),
                b'}' => self.dict(),
                0x85..=0x87 => {
                    let count = usize::from(code - 0x84);
                    let from = self.stack.len().checked_sub(count).ok_or("its pickle is damaged")?;
                    let items = self.stack.split_off(from);
                    self.seq(items);
                }
                b't' => {
                    let items = self.until_mark()?;
                    self.seq(items);
                }
                b'q' => self.keep(1)?,
                b'r' => self.keep(4)?,
                b'h' => self.recall(1)?,
                b'j' => self.recall(4)?,
                b's' => {
                    let items = self.stack.split_off(self.stack.len().saturating_sub(2));
                    self.fill(&items)?;
                }
                b'u' => {
                    let items = self.until_mark()?;
                    self.fill(&items)?;
                }
                // The state of an ordered dictionary: versions of modules.
                b'b' => {
                    self.pop()?;
                }
                b'Q' => self.storage()?,
                b'R' => self.reduce()?,
                other => return Err(format!("its pickle has the opcode {other:#04x}, which no state dictionary needs")),
            }
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let code = self.code;
        let end = self.at.checked_add(count).filter(|end| *end <= code.len()).ok_or("its pickle ends too early")?;
        Ok(&code[std::mem::replace(&mut self.at, end)..end])
    }

    fn length(&mut self, bytes: usize) -> Result<usize, String> {
        let mut wide = [0; 8];
        wide[..bytes].copy_from_slice(self.take(bytes)?);
        usize::try_from(u64::from_le_bytes(wide)).map_err(|e| e.to_string())
    }

    fn pop(&mut self) -> Result<Value, String> {
        self.stack.pop().ok_or_else(|| "its pickle is damaged".into())
    }

    fn until_mark(&mut self) -> Result<Vec<Value>, String> {
        let at = self.stack.iter().rposition(|v| matches!(v, Value::Mark)).ok_or("its pickle is damaged")?;
        let items = self.stack.split_off(at + 1);
        self.stack.pop();
        Ok(items)
    }

    fn int(&mut self, bytes: usize) -> Result<(), String> {
        if bytes > 8 {
            return Err("it has a number of more than 64 bits".into());
        }
        let raw = self.take(bytes)?;
        // BININT (four bytes) and LONG1 are signed, BININT1 and BININT2 are not.
        let negative = bytes >= 3 && raw.last().is_some_and(|b| b & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide[..bytes].copy_from_slice(raw);
        self.stack.push(Value::Int(i64::from_le_bytes(wide)));
        Ok(())
    }

    fn text(&mut self) -> Result<(), String> {
        let length = self.length(4)?;
        let start = self.at;
        self.take(length)?;
        self.stack.push(Value::Text(start, self.at));
        Ok(())
    }

    fn said(&self, value: Value) -> Result<String, String> {
        match value {
            Value::Text(start, end) => Ok(String::from_utf8_lossy(&self.code[start..end]).into_owned()),
            _ => Err("its pickle has something else where a text belongs".into()),
        }
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.code[self.at..];
        let length = rest.iter().position(|b| *b == b'\n').ok_or("its pickle ends too early")?;
        self.at += length + 1;
        Ok(String::from_utf8_lossy(&rest[..length]).into_owned())
    }

    fn global(&mut self) -> Result<(), String> {
        let (module, name) = (self.line()?, self.line()?);
        let known = NAMES.iter().find(|(m, n, _)| *m == module && *n == name);
        let (.., name) = known.ok_or_else(|| {
            format!("it holds {module}.{name}: only state dictionaries of numbers are read, and nothing in them is run")
        })?;
        self.stack.push(Value::Name(*name));
        Ok(())
    }

    fn seq(&mut self, items: Vec<Value>) {
        self.seqs.push(items);
        self.stack.push(Value::Seq(self.seqs.len() - 1));
    }

    fn dict(&mut self) {
        self.dicts.push(Vec::new());
        self.stack.push(Value::Dict(self.dicts.len() - 1));
    }

    fn keep(&mut self, bytes: usize) -> Result<(), String> {
        let place = self.length(bytes)?;
        let value = *self.stack.last().ok_or("its pickle is damaged")?;
        self.memo.insert(place, value);
        Ok(())
    }

    fn recall(&mut self, bytes: usize) -> Result<(), String> {
        let place = self.length(bytes)?;
        let value = self.memo.get(&place).ok_or("its pickle is damaged")?;
        self.stack.push(*value);
        Ok(())
    }

    fn fill(&mut self, items: &[Value]) -> Result<(), String> {
        let Some(Value::Dict(dict)) = self.stack.last() else { return Err("its pickle is damaged".into()) };
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err("its pickle is damaged".into());
        }
        self.dicts[*dict].extend(pairs.iter().map(|[name, value]| (*name, *value)));
        Ok(())
    }

    /// `("storage", kind, key, place, count)`.
    fn storage(&mut self) -> Result<(), String> {
        let Value::Seq(seq) = self.pop()? else { return Err("its pickle is damaged".into()) };
        let &[_, Value::Name(Name::Numbers(kind)), key, _, _] = self.seqs[seq].as_slice() else {
            return Err("it holds numbers of a type other than 32 or 64 bits".into());
        };
        let key = self.said(key)?;
        self.storages.push((kind, key));
        self.stack.push(Value::Storage(self.storages.len() - 1));
        Ok(())
    }

    fn reduce(&mut self) -> Result<(), String> {
        let (Value::Seq(args), Value::Name(name)) = (self.pop()?, self.pop()?) else {
            return Err("its pickle calls what cannot be called".into());
        };
        let args = self.seqs[args].clone();
        match (name, args.as_slice()) {
            (Name::OrderedDict, []) => self.dict(),
            (Name::RebuildParameter, [Value::Tensor(tensor), ..]) => self.stack.push(Value::Tensor(*tensor)),
            (Name::RebuildTensor, [Value::Storage(storage), Value::Int(offset), Value::Seq(size), Value::Seq(stride), ..]) => {
                let (shape, stride) = (self.sizes(*size)?, self.sizes(*stride)?);
                if stride.len() != shape.len() || shape.len() > AXES {
                    return Err(format!("a tensor has {} lengths and {} strides", shape.len(), stride.len()));
                }
                self.views.push(View { storage: *storage, offset: *offset, shape, stride });
                self.stack.push(Value::Tensor(self.views.len() - 1));
            }
            _ => return Err("its pickle calls something with other arguments than PyTorch does".into()),
        }
        Ok(())
    }

    fn sizes(&self, seq: usize) -> Result<Vec<usize>, String> {
        let size = |v: &Value| match v {
            Value::Int(n) => usize::try_from(*n).map_err(|_| format!("a length of {n}")),
            _ => Err("a length that is no number".to_owned()),
        };
        self.seqs[seq].iter().map(size).collect()
    }

    /// The numbers of a view, row by row; no more than its storage has, and no more than `left`.
    fn gather(&self, view: &View, left: usize) -> Result<Tensor, String> {
        let View { storage, offset, shape, stride } = view;
        let (kind, key) = &self.storages[*storage];
        let data = self.members.get(&format!("{}data/{key}", self.root)).ok_or_else(|| format!("its data/{key} is missing"))?;
        let size = if *kind == Kind::F32 { 4 } else { 8 };
        let held = data.len() / size;
        let count = shape.iter().try_fold(1_usize, |n, axis| n.checked_mul(*axis));
        let count = count.filter(|n| *n <= held).ok_or_else(|| {
            format!("a tensor of lengths {shape:?} has more numbers than the {held} that it is made of: save a copy of it")
        })?;
        if count > left {
            return Err(format!("its tensors have more than {MOST} numbers together"));
        }
        let start = usize::try_from(*offset).map_err(|_| format!("a tensor that begins at {offset}"))?;
        let mut values = Vec::with_capacity(count);
        for k in 0..count {
            let (mut rest, mut at) = (k, start);
            for (axis, step) in shape.iter().zip(stride).rev() {
                at = step.checked_mul(rest % axis).and_then(|more| at.checked_add(more)).ok_or("a tensor beyond its numbers")?;
                rest /= axis;
            }
            let raw = at.checked_mul(size).and_then(|from| data.get(from..from.checked_add(size)?));
            values.push(number(*kind, raw.ok_or("a tensor beyond its numbers")?));
        }
        Ok(Tensor { shape: shape.clone(), values })
    }

    fn tensors(&self, dict: usize) -> Result<BTreeMap<String, Tensor>, String> {
        let (mut named, mut left) = (BTreeMap::new(), MOST);
        for (name, value) in &self.dicts[dict] {
            let Value::Tensor(view) = value else {
                return Err("it is no state dictionary: some of its entries are no tensors".into());
            };
            let tensor = self.gather(&self.views[*view], left)?;
            left -= tensor.values.len();
            named.insert(self.said(*name)?, tensor);
        }
        Ok(named)
    }
}

fn number(kind: Kind, raw: &[u8]) -> f32 {
    let mut wide = [0; 8];
    wide[..raw.len()].copy_from_slice(raw);
    match kind {
        Kind::F32 => f32::from_bits(u64::from_le_bytes(wide) as u32),
        Kind::F64 => f64::from_le_bytes(wide) as f32,
        Kind::I64 => i64::from_le_bytes(wide) as f32,
    }
}
