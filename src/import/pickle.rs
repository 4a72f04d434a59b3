//! The pickle machine: a pickle's opcodes to a graph of plain values. It calls nothing.
//!
//! Input: protocols 0 to 5 as Python's `pickletools` documents them. Output: nodes that name each other by number, because
//! pickled lists and dictionaries change after they were remembered, share parts and may contain themselves.
//! What the few accepted calls make is in `calls.rs`.
//!
//! Work and memory stay in proportion to the steps taken ([`MAX_PICKLE_STEPS`]) and the bytes read: an opcode makes at most one
//! small node, and whatever copies elements or text pays for each.

use super::source::Source;
use super::tensor::ElementType;
use super::{MAX_INTEGER_BYTES, MAX_PICKLE_STEPS};
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::io::BufRead;

/// Number of a node.
pub(super) type Id = u32;

/// A value; its parts by number.
#[derive(Debug)]
pub(super) enum Node {
    None,
    Bool(bool),
    /// Wide enough for the magic number of legacy files (77 bits).
    Int(i128),
    Float(f64),
    Text(String),
    /// Bytes that are not text. Nothing here needs their content.
    Bytes,
    List(Vec<Id>),
    Tuple(Vec<Id>),
    /// Keys and values in the order they were set; a key may come again.
    Dict(Vec<(Id, Id)>),
    /// The attributes of an `argparse.Namespace`.
    Fields(Vec<(Id, Id)>),
    /// A class or function, by name. Naming one is harmless.
    Global(Box<(String, String)>),
    Storage(Box<StorageNode>),
    Tensor(Box<TensorNode>),
}

/// Numbers of the container, by key.
#[derive(Debug)]
pub(super) struct StorageNode {
    pub dtype: ElementType,
    /// A text node.
    pub key: Id,
    /// Elements of the whole storage.
    pub count: u64,
    /// The part of it that this is: first element and number of elements.
    pub part: (u64, u64),
}

#[derive(Debug)]
pub(super) struct TensorNode {
    /// A storage node.
    pub storage: Id,
    pub offset: u64,
    pub shape: Vec<u64>,
    pub strides: Vec<u64>,
}

/// What a pickle made.
pub(super) struct Graph {
    pub nodes: Vec<Node>,
    pub root: Id,
}

/// Runs one pickle up to its STOP and leaves `source` right behind it.
///
/// # Errors
/// Malformed; limit; unsupported, with the name, for a call that is not on the list.
pub(super) fn run<R: BufRead>(source: &mut Source<R>) -> Result<Graph> {
    let mut machine =
        Machine { source, nodes: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new(), steps: 0, tensors: 0 };
    loop {
        machine.spend(1)?;
        match machine.source.byte()? {
            b'.' => break,
            op => machine.step(op)?,
        }
    }
    let root = machine.pop()?;
    Ok(Graph { nodes: machine.nodes, root })
}

pub(super) struct Machine<'a, R> {
    pub source: &'a mut Source<R>,
    pub nodes: Vec<Node>,
    stack: Vec<Id>,
    /// Heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    steps: u64,
    pub tensors: usize,
}

impl<R: BufRead> Machine<'_, R> {
    pub fn malformed(&self, what: impl AsRef<str>) -> Error {
        self.source.malformed(what)
    }

    /// Accounts for work.
    pub fn spend(&mut self, steps: u64) -> Result<()> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > MAX_PICKLE_STEPS {
            return Err(Error::Limit(format!("pickle, byte {}: more than {MAX_PICKLE_STEPS} steps", self.source.position())));
        }
        Ok(())
    }

    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    /// Adds a node without pushing it.
    pub fn add(&mut self, node: Node) -> Id {
        // One node a step, and steps are limited far below 2^32.
        let id = self.nodes.len() as Id;
        self.nodes.push(node);
        id
    }

    fn push(&mut self, node: Node) -> Result<bool> {
        let id = self.add(node);
        self.stack.push(id);
        Ok(true)
    }

    /// Takes the top value; values under the last mark are out of reach.
    fn pop(&mut self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len() > floor {
            true => Ok(self.stack.pop().expect("longer than the floor")),
            false => Err(self.malformed("nothing on the stack")),
        }
    }

    fn top(&mut self) -> Result<Id> {
        let id = self.pop()?;
        self.stack.push(id);
        Ok(id)
    }

    /// Takes everything above the last mark, and the mark.
    fn pop_mark(&mut self) -> Result<Vec<Id>> {
        let height = self.marks.pop().ok_or_else(|| self.source.malformed("no mark on the stack"))?;
        Ok(self.stack.split_off(height))
    }

    fn step(&mut self, op: u8) -> Result<()> {
        let known = self.number(op)? || self.text(op)? || self.collection(op)? || self.keeping(op)? || self.object(op)?;
        match known {
            true => Ok(()),
            false => Err(self.malformed(format!("opcode {op:#04x} is unknown or not supported"))),
        }
    }

    fn number(&mut self, op: u8) -> Result<bool> {
        let node = match op {
            b'N' => Node::None,
            0x88 => Node::Bool(true),
            0x89 => Node::Bool(false),
            b'J' => Node::Int(i32::from_le_bytes(self.source.array()?).into()),
            b'K' => Node::Int(self.source.byte()?.into()),
            b'M' => Node::Int(u16::from_le_bytes(self.source.array()?).into()),
            b'G' => Node::Float(f64::from_be_bytes(self.source.array()?)),
            0x8a => {
                let len = self.source.byte()?;
                Node::Int(self.integer(len.into())?)
            }
            0x8b => {
                let len = u32::from_le_bytes(self.source.array()?);
                Node::Int(self.integer(len.into())?)
            }
            b'I' | b'L' | b'F' => {
                let line = self.source.line()?;
                self.number_of_line(op, &line)?
            }
            _ => return Ok(false),
        };
        self.push(node)
    }

    /// Two's complement, little-endian, any width.
    fn integer(&mut self, len: u64) -> Result<i128> {
        if len > MAX_INTEGER_BYTES as u64 {
            return Err(Error::Limit(format!("an integer of {len} bytes, at most {MAX_INTEGER_BYTES}")));
        }
        let bytes = self.source.bytes(len)?;
        let fill = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
        let mut wide = [fill; MAX_INTEGER_BYTES];
        wide[..bytes.len()].copy_from_slice(&bytes);
        Ok(i128::from_le_bytes(wide))
    }

    fn number_of_line(&self, op: u8, line: &str) -> Result<Node> {
        let node = match (op, line) {
            // Protocol 0 spells flags as integers with a leading zero.
            (b'I', "00") => Some(Node::Bool(false)),
            (b'I', "01") => Some(Node::Bool(true)),
            (b'F', _) => line.parse().ok().map(Node::Float),
            _ => line.trim_end_matches('L').parse().ok().map(Node::Int),
        };
        node.ok_or_else(|| self.malformed(format!("{:?} is not a number", line.chars().take(40).collect::<String>())))
    }

    fn text(&mut self, op: u8) -> Result<bool> {
        let len = match op {
            b'U' | b'C' | 0x8c => self.source.byte()?.into(),
            b'T' | b'B' | b'X' => u32::from_le_bytes(self.source.array()?).into(),
            0x8d | 0x8e | 0x96 => u64::from_le_bytes(self.source.array()?),
            b'S' | b'V' => {
                let line = self.source.line()?;
                let text = unescape(&line, op == b'S').ok_or_else(|| self.malformed("a string with a broken escape"))?;
                return self.push(Node::Text(text));
            }
            _ => return Ok(false),
        };
        let bytes = self.source.bytes(len)?;
        let node = match (op, String::from_utf8(bytes)) {
            (b'C' | b'B' | 0x8e | 0x96, _) => Node::Bytes,
            (_, Ok(text)) => Node::Text(text),
            // Python 2 wrote its byte strings with these: names are text, anything else is of no use here.
            (b'U' | b'T', Err(_)) => Node::Bytes,
            (_, Err(_)) => return Err(self.malformed("a string that is not UTF-8")),
        };
        self.push(node)
    }

    fn collection(&mut self, op: u8) -> Result<bool> {
        let node = match op {
            b')' => Node::Tuple(Vec::new()),
            b']' | 0x8f => Node::List(Vec::new()),
            b'}' => Node::Dict(Vec::new()),
            b't' => Node::Tuple(self.pop_mark()?),
            b'l' | 0x91 => Node::List(self.pop_mark()?),
            b'd' => {
                let items = self.pop_mark()?;
                Node::Dict(self.pairs(&items)?)
            }
            0x85..=0x87 => {
                let mut items = Vec::new();
                for _ in 0x84..op {
                    items.push(self.pop()?);
                }
                items.reverse();
                Node::Tuple(items)
            }
            b'a' | b's' | b'e' | b'u' | 0x90 => return self.extend(op),
            _ => return Ok(false),
        };
        self.push(node)
    }

    fn pairs(&self, items: &[Id]) -> Result<Vec<(Id, Id)>> {
        match items.len() % 2 {
            0 => Ok(items.chunks_exact(2).map(|kv| (kv[0], kv[1])).collect()),
            _ => Err(self.malformed("a key without a value")),
        }
    }

    /// APPEND, APPENDS, ADDITEMS, SETITEM and SETITEMS: more items for the list or dictionary below them.
    fn extend(&mut self, op: u8) -> Result<bool> {
        let items = match op {
            b'a' => vec![self.pop()?],
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.pop_mark()?,
        };
        let pairs = if matches!(op, b's' | b'u') { self.pairs(&items)? } else { Vec::new() };
        let target = self.top()?;
        match (op, &mut self.nodes[target as usize]) {
            (b's' | b'u', Node::Dict(entries)) => entries.extend(pairs),
            (b'a' | b'e' | 0x90, Node::List(list)) => list.extend(items),
            _ => return Err(self.malformed("items for something that is neither list nor dictionary")),
        }
        Ok(true)
    }

    /// Protocol, marks, the memo, and moves on the stack.
    fn keeping(&mut self, op: u8) -> Result<bool> {
        match op {
            0x80 => match self.source.byte()? {
                0..=5 => (),
                other => return Err(Error::Unsupported(format!("pickle protocol {other}, at most 5"))),
            },
            // The length of a frame only helps readers that fetch ahead.
            0x95 => drop(self.source.array::<8>()?),
            b'(' => self.marks.push(self.stack.len()),
            b'1' => drop(self.pop_mark()?),
            b'0' if self.marks.last() == Some(&self.stack.len()) => drop(self.marks.pop()),
            b'0' => drop(self.pop()?),
            b'2' => {
                let id = self.top()?;
                self.stack.push(id);
            }
            b'g' | b'h' | b'j' => {
                let index = self.memo_index(op)?;
                let id = self.memo.get(&index).copied();
                self.stack.push(id.ok_or_else(|| self.malformed(format!("nothing was remembered as {index}")))?);
            }
            b'p' | b'q' | b'r' | 0x94 => {
                let index = self.memo_index(op)?;
                let id = self.top()?;
                self.memo.insert(index, id);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn memo_index(&mut self, op: u8) -> Result<u32> {
        Ok(match op {
            b'h' | b'q' => self.source.byte()?.into(),
            b'j' | b'r' => u32::from_le_bytes(self.source.array()?),
            // Like the keys it counts, the size of the memo is limited by the steps.
            0x94 => self.memo.len() as u32,
            _ => {
                let line = self.source.line()?;
                line.parse().map_err(|_| self.malformed("a place in the memo that is not a number"))?
            }
        })
    }

    /// Everything that Python would import, call or ask PyTorch for.
    fn object(&mut self, op: u8) -> Result<bool> {
        let id = match op {
            b'c' => self.named()?,
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                self.global_of(module, name)?
            }
            b'R' | 0x81 => {
                let (arguments, callee) = (self.pop()?, self.pop()?);
                self.call(callee, arguments)?
            }
            // Keyword arguments: no accepted call has any.
            0x92 => {
                let (keywords, arguments, callee) = (self.pop()?, self.pop()?, self.pop()?);
                match self.node(keywords) {
                    Node::Dict(entries) if entries.is_empty() => self.call(callee, arguments)?,
                    _ => return Err(self.refused(callee)),
                }
            }
            b'o' => {
                let mut items = self.pop_mark()?;
                if items.is_empty() {
                    return Err(self.malformed("an object without a class"));
                }
                let callee = items.remove(0);
                let arguments = self.add(Node::Tuple(items));
                self.call(callee, arguments)?
            }
            b'i' => {
                let callee = self.named()?;
                let items = self.pop_mark()?;
                let arguments = self.add(Node::Tuple(items));
                self.call(callee, arguments)?
            }
            b'Q' => {
                let name = self.pop()?;
                self.storage(name)?
            }
            b'b' => {
                let state = self.pop()?;
                let target = self.top()?;
                self.build(target, state)?;
                return Ok(true);
            }
            _ => return Ok(false),
        };
        self.stack.push(id);
        Ok(true)
    }

    /// The two lines of GLOBAL and INST.
    fn named(&mut self) -> Result<Id> {
        let module = self.source.line()?;
        let name = self.source.line()?;
        Ok(self.add(Node::Global(Box::new((module, name)))))
    }
}

/// The text of protocol 0: `quoted` as Python 2 wrote byte strings, otherwise with escapes for what is not Latin-1.
fn unescape(line: &str, quoted: bool) -> Option<String> {
    let inner = match quoted {
        true => ['\'', '"'].iter().find_map(|q| line.strip_prefix(*q)?.strip_suffix(*q))?,
        false => line,
    };
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let digits = match (rest.next()?, quoted) {
            ('u', false) => 4,
            ('U', false) => 8,
            ('x', true) => 2,
            ('n', true) => {
                out.push('\n');
                continue;
            }
            ('t', true) => {
                out.push('\t');
                continue;
            }
            ('r', true) => {
                out.push('\r');
                continue;
            }
            (c @ ('\\' | '\'' | '"'), true) => {
                out.push(c);
                continue;
            }
            _ => return None,
        };
        let hex: String = rest.by_ref().take(digits).collect();
        let code = if hex.len() == digits { u32::from_str_radix(&hex, 16).ok()? } else { return None };
        out.push(char::from_u32(code)?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn text_of_protocol_0_is_unescaped_as_each_python_wrote_it() {
        assert_eq!(unescape(r"'lin0.weight'", true).as_deref(), Some("lin0.weight"));
        assert_eq!(unescape(r#""it's \\ \x41\n""#, true).as_deref(), Some("it's \\ A\n"));
        assert_eq!(unescape(r"a\u00e9\U0001f600'", false).as_deref(), Some("a\u{e9}\u{1f600}'"));
        for broken in [r"'a", r"a'", r"'\q'", r"'\x4'", r"'\'"] {
            assert_eq!(unescape(broken, true), None, "{broken}");
        }
        // A lone surrogate and a short escape.
        assert_eq!(unescape(r"\ud800", false), None);
        assert_eq!(unescape(r"\u12", false), None);
    }
}
