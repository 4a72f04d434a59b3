//! A checkpoint as a tree: what a pickle made, with every tensor found in the file.
//!
//! Input: the graph of `pickle.rs` and a function from a storage to its place. Output: [`Value`]. The graph may share parts and
//! contain itself; the tree may not, so its depth and size are limited.

use super::pickle::{Graph, Id, Node, StorageNode, TensorNode};
use super::tensor::{Span, TensorRef};
use super::{MAX_DEPTH, MAX_TREE_NODES};
use crate::error::{Error, Result};
use crate::limits::MAX_NAME_BYTES;
use std::collections::{BTreeMap, HashMap};

/// A value of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Python's `None`.
    None,
    /// A flag.
    Bool(bool),
    /// An integer; those beyond 64 bits are [`Value::Opaque`].
    Int(i64),
    /// A number in double precision.
    Float(f64),
    /// Text.
    Text(String),
    /// A list, a tuple or a set.
    List(Vec<Value>),
    /// A dictionary or the attributes of an `argparse.Namespace`, in the order of the file, each name once.
    /// Whole numbers as keys (an optimiser's parameters) are their digits here.
    Dict(Vec<(String, Value)>),
    /// A tensor, to be read with [`super::Checkpoint::load`].
    Tensor(TensorRef),
    /// Something that is named but not looked into: a class, a path, a number of numpy's.
    Opaque {
        /// Module and name, `numpy.dtype`.
        class: String,
    },
}

impl Value {
    /// The entry `key` of a dictionary.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Dict(entries) => entries.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// All tensors below this value. Names of nested entries are joined with `.`, places in a list are numbers from 0.
    ///
    /// # Errors
    /// Malformed if two tensors get the same name that way, limit for names over [`MAX_NAME_BYTES`].
    pub fn tensors(&self) -> Result<BTreeMap<String, TensorRef>> {
        let mut out = BTreeMap::new();
        self.collect(String::new(), &mut out)?;
        Ok(out)
    }

    /// The tensors whose name begins with `prefix`, without it.
    ///
    /// # Errors
    /// As [`Value::tensors`].
    pub fn tensors_under(&self, prefix: &str) -> Result<BTreeMap<String, TensorRef>> {
        let all = self.tensors()?;
        Ok(all.into_iter().filter_map(|(name, t)| Some((name.strip_prefix(prefix)?.to_string(), t))).collect())
    }

    fn collect(&self, name: String, out: &mut BTreeMap<String, TensorRef>) -> Result<()> {
        if name.len() > MAX_NAME_BYTES && matches!(self, Value::Dict(_) | Value::List(_) | Value::Tensor(_)) {
            return Err(Error::Limit(format!("the name of a tensor has {} bytes, at most {MAX_NAME_BYTES}", name.len())));
        }
        let below = |part: &str| if name.is_empty() { part.to_string() } else { format!("{name}.{part}") };
        match self {
            Value::Dict(entries) => entries.iter().try_for_each(|(key, value)| value.collect(below(key), out)),
            Value::List(items) => items.iter().enumerate().try_for_each(|(i, v)| v.collect(below(&i.to_string()), out)),
            Value::Tensor(tensor) => match out.insert(name.clone(), tensor.clone()) {
                None => Ok(()),
                Some(_) => Err(Error::Malformed(format!("two tensors are called {name:?}"))),
            },
            _ => Ok(()),
        }
    }
}

/// Makes the tree; `locate` finds a storage by its key.
///
/// # Errors
/// Malformed for tensors outside their storages and unusable keys; limit; what `locate` returns.
pub(super) fn grow(graph: &Graph, locate: &mut dyn FnMut(&StorageNode, &str) -> Result<Span>) -> Result<Value> {
    Grower { graph, locate, left: MAX_TREE_NODES }.value(graph.root, 0)
}

/// The text of a node that has been checked to be one.
pub(super) fn text(graph: &Graph, id: Id) -> &str {
    match &graph.nodes[id as usize] {
        Node::Text(text) => text,
        _ => "",
    }
}

struct Grower<'a> {
    graph: &'a Graph,
    locate: &'a mut dyn FnMut(&StorageNode, &str) -> Result<Span>,
    /// Of MAX_TREE_NODES.
    left: u64,
}

impl Grower<'_> {
    fn spend(&mut self, nodes: u64) -> Result<()> {
        let left = self.left.checked_sub(nodes);
        self.left = left.ok_or_else(|| Error::Limit(format!("a pickle of more than {MAX_TREE_NODES} values")))?;
        Ok(())
    }

    fn value(&mut self, id: Id, depth: usize) -> Result<Value> {
        self.spend(1)?;
        if depth > MAX_DEPTH {
            return Err(Error::Limit(format!("a pickle nested deeper than {MAX_DEPTH}, or one that contains itself")));
        }
        let graph = self.graph;
        Ok(match &graph.nodes[id as usize] {
            Node::None => Value::None,
            Node::Bool(b) => Value::Bool(*b),
            Node::Int(n) => i64::try_from(*n).map_or_else(|_| opaque("int"), Value::Int),
            Node::Float(x) => Value::Float(*x),
            Node::Text(text) => {
                self.spend(text.len() as u64 / 16)?;
                Value::Text(text.clone())
            }
            Node::Bytes => opaque("bytes"),
            Node::List(items) | Node::Tuple(items) => {
                Value::List(items.iter().map(|i| self.value(*i, depth + 1)).collect::<Result<_>>()?)
            }
            Node::Dict(entries) | Node::Fields(entries) => self.dictionary(entries, depth)?,
            Node::Global(name) => {
                self.spend((name.0.len() + name.1.len()) as u64 / 16)?;
                Value::Opaque { class: format!("{}.{}", name.0, name.1) }
            }
            Node::Storage(_) => opaque("storage"),
            Node::Tensor(tensor) => Value::Tensor(self.tensor(tensor)?),
        })
    }

    fn dictionary(&mut self, entries: &[(Id, Id)], depth: usize) -> Result<Value> {
        let mut out: Vec<(String, Value)> = Vec::new();
        let mut places = HashMap::new();
        for (key, value) in entries {
            // Entries that are left out below have taken time as well.
            self.spend(1)?;
            let key = match &self.graph.nodes[*key as usize] {
                Node::Text(text) => text.clone(),
                Node::Int(n) => n.to_string(),
                Node::Bool(b) => b.to_string(),
                Node::None => "None".to_string(),
                // Some optimisers key their state by objects; none of that is asked for.
                _ => continue,
            };
            self.spend(key.len() as u64 / 16)?;
            let value = self.value(*value, depth + 1)?;
            // As in Python, a key keeps its first place and its last value.
            match places.get(&key) {
                Some(&place) => out.get_mut::<usize>(place).expect("places are those of `out`").1 = value,
                None => {
                    places.insert(key.clone(), out.len());
                    out.push((key, value));
                }
            }
        }
        Ok(Value::Dict(out))
    }

    fn tensor(&mut self, tensor: &TensorNode) -> Result<TensorRef> {
        // The strides and sides that the reference copies.
        self.spend(tensor.shape.len() as u64)?;
        let Node::Storage(storage) = &self.graph.nodes[tensor.storage as usize] else {
            return Err(Error::Malformed("a tensor without a storage".into()));
        };
        let mut span = (self.locate)(storage, text(self.graph, storage.key))?;
        if storage.part != (0, storage.count) {
            // The part lies inside the storage (checked when it was made), and that inside the file.
            let size = storage.dtype.size();
            span = Span { at: span.at + storage.part.0 * size, len: storage.part.1 * size, crc: None };
        }
        TensorRef::new(storage.dtype, &tensor.shape, &tensor.strides, tensor.offset, span)
    }
}

fn opaque(class: &str) -> Value {
    Value::Opaque { class: class.to_string() }
}
