//! The calls a pickle may ask for, and what becomes of them: the whole list.
//!
//! Input: names and arguments from the pickle. Output: dictionaries, lists, storages and tensors of `pickle.rs`.
//! The tensor functions follow their signatures in PyTorch's `torch/_utils.py`, the storage tuple its `torch/serialization.py`.

use super::pickle::{Id, Machine, Node, StorageNode, TensorNode};
use super::tensor::ElementType;
use super::{MAX_DIMENSIONS, MAX_TENSORS};
use crate::error::{Error, Result};
use std::io::BufRead;

/// Values that training scripts store beside the weights. They are kept as a name without content: what is in them is of no
/// use here, and refusing them would refuse the weights.
const KEPT_AS_NAME: [(&str, &str); 7] = [
    ("_codecs", "encode"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("pathlib", "PosixPath"),
    ("pathlib", "WindowsPath"),
    ("torch", "device"),
];

/// Longest module or class name that is put together from two strings of a pickle, bytes.
const MAX_CLASS_BYTES: usize = 256;

impl<R: BufRead> Machine<'_, R> {
    /// The class that two texts name.
    pub fn global_of(&mut self, module: Id, name: Id) -> Result<Id> {
        let (Node::Text(module), Node::Text(name)) = (self.node(module), self.node(name)) else {
            return Err(self.malformed("the name of a class is not text"));
        };
        if module.len() + name.len() > MAX_CLASS_BYTES {
            return Err(Error::Limit(format!("a class name of over {MAX_CLASS_BYTES} bytes")));
        }
        let pair = Box::new((module.clone(), name.clone()));
        self.spend((pair.0.len() + pair.1.len()) as u64 / 16)?;
        Ok(self.add(Node::Global(pair)))
    }

    /// The error for a call that is not on the list.
    pub fn refused(&self, callee: Id) -> Error {
        let at = self.source.position();
        match self.node(callee) {
            Node::Global(name) => Error::Unsupported(format!(
                "the pickle wants to call {}.{} at byte {at}, which a file of weights has no need to; nothing was run",
                name.0.escape_debug(),
                name.1.escape_debug()
            )),
            _ => self.malformed("a call of something that is not a function"),
        }
    }

    /// REDUCE and NEWOBJ: `callee(*arguments)`.
    pub fn call(&mut self, callee: Id, arguments: Id) -> Result<Id> {
        let Node::Global(name) = self.node(callee) else {
            return Err(self.refused(callee));
        };
        let Node::Tuple(given) = self.node(arguments) else {
            return Err(self.malformed("a call whose arguments are not a tuple"));
        };
        let count = given.len();
        let first = given.first().copied();
        match (name.0.as_str(), name.1.as_str()) {
            ("collections", "OrderedDict") if count <= 1 => self.dictionary(first),
            // The first argument is what makes missing entries.
            ("collections", "defaultdict") if count <= 1 => self.dictionary(None),
            ("argparse", "Namespace") if count == 0 => Ok(self.add(Node::Fields(Vec::new()))),
            ("torch", "Size") if count == 1 => self.list(first),
            ("torch._utils", "_rebuild_tensor") if count == 4 => self.tensor(arguments),
            ("torch._utils", "_rebuild_tensor_v2") if (6..=7).contains(&count) => self.tensor(arguments),
            ("torch._utils", "_rebuild_parameter") if count == 3 => match first.map(|id| (id, self.node(id))) {
                Some((id, Node::Tensor(_))) => Ok(id),
                _ => Err(self.malformed("a parameter without a tensor")),
            },
            (module, name) if KEPT_AS_NAME.contains(&(module, name)) => Ok(callee),
            _ => Err(self.refused(callee)),
        }
    }

    /// A dictionary of nothing, of another dictionary, or of a list of pairs, which is how Python 2 wrote an ordered one.
    fn dictionary(&mut self, from: Option<Id>) -> Result<Id> {
        let pairs = match from.map(|id| self.node(id)) {
            None => Vec::new(),
            Some(Node::Dict(entries)) => entries.clone(),
            Some(Node::List(items)) => {
                let pair = |id: &Id| match self.node(*id) {
                    Node::List(kv) | Node::Tuple(kv) if kv.len() == 2 => Ok((kv[0], kv[1])),
                    _ => Err(self.malformed("an ordered dictionary of something other than pairs")),
                };
                items.iter().map(pair).collect::<Result<_>>()?
            }
            Some(_) => return Err(self.malformed("an ordered dictionary of something other than pairs")),
        };
        self.spend(pairs.len() as u64)?;
        Ok(self.add(Node::Dict(pairs)))
    }

    fn list(&mut self, from: Option<Id>) -> Result<Id> {
        let items = match from.map(|id| self.node(id)) {
            Some(Node::List(items) | Node::Tuple(items)) => items.clone(),
            _ => return Err(self.malformed("a size that is not a tuple")),
        };
        self.spend(items.len() as u64)?;
        Ok(self.add(Node::List(items)))
    }

    /// `(storage, offset, shape, strides, ...)`; what follows is about gradients.
    fn tensor(&mut self, arguments: Id) -> Result<Id> {
        self.tensors += 1;
        if self.tensors > MAX_TENSORS {
            return Err(Error::Limit(format!("more than {MAX_TENSORS} tensors")));
        }
        let Node::Tuple(given) = self.node(arguments) else {
            return Err(self.malformed("a tensor of something other than a tuple"));
        };
        let (storage, offset, shape, strides) = (given[0], given[1], given[2], given[3]);
        if !matches!(self.node(storage), Node::Storage(_)) {
            return Err(self.malformed("a tensor without a storage"));
        }
        let (offset, shape, strides) = (self.size(offset)?, self.sizes(shape)?, self.sizes(strides)?);
        self.spend((shape.len() + strides.len()) as u64)?;
        Ok(self.add(Node::Tensor(Box::new(TensorNode { storage, offset, shape, strides }))))
    }

    fn size(&self, id: Id) -> Result<u64> {
        match self.node(id) {
            Node::Int(n) => u64::try_from(*n).map_err(|_| self.malformed(format!("{n} is not a size"))),
            _ => Err(self.malformed("a size that is not an integer")),
        }
    }

    fn sizes(&self, id: Id) -> Result<Vec<u64>> {
        match self.node(id) {
            Node::Tuple(items) | Node::List(items) if items.len() <= MAX_DIMENSIONS => {
                items.iter().map(|i| self.size(*i)).collect()
            }
            Node::Tuple(_) | Node::List(_) => Err(Error::Limit(format!("a tensor of over {MAX_DIMENSIONS} dimensions"))),
            _ => Err(self.malformed("a shape that is not a tuple")),
        }
    }

    /// BINPERSID: `("storage", class, key, location, elements)`, in legacy files with a sixth entry that is nothing or the
    /// part `(key of the part, first element, elements)`. The location, the GPU it was saved from, has no meaning here.
    pub fn storage(&mut self, name: Id) -> Result<Id> {
        let Node::Tuple(parts) = self.node(name) else {
            return Err(self.malformed("a persistent identifier that is not a tuple"));
        };
        match parts.first().map(|id| self.node(*id)) {
            Some(Node::Text(kind)) if kind == "storage" && (5..=6).contains(&parts.len()) => (),
            Some(Node::Text(kind)) if kind == "module" => {
                return Err(Error::Unsupported("a whole model with its Python source; save its state_dict instead".into()));
            }
            _ => return Err(self.malformed("a persistent identifier that names no storage")),
        }
        let (class, key, count) = (parts[1], parts[2], self.size(parts[4])?);
        let dtype = match self.node(class) {
            Node::Global(name) if name.0 == "torch" => ElementType::of_storage(&name.1)
                .ok_or_else(|| Error::Unsupported(format!("numbers kept as torch.{}", name.1.escape_debug())))?,
            Node::Global(name) => {
                let class = format!("{}.{}", name.0.escape_debug(), name.1.escape_debug());
                return Err(Error::Unsupported(format!("numbers kept as {class}")));
            }
            _ => return Err(self.malformed("a storage without a class")),
        };
        if !matches!(self.node(key), Node::Text(_)) {
            return Err(self.malformed("the key of a storage is not text"));
        }
        let part = match parts.get(5).map(|id| self.node(*id)) {
            None | Some(Node::None) => (0, count),
            Some(Node::Tuple(view)) if view.len() == 3 => (self.size(view[1])?, self.size(view[2])?),
            Some(_) => return Err(self.malformed("a part of a storage that is not a tuple")),
        };
        if part.0.checked_add(part.1).is_none_or(|end| end > count) {
            return Err(self.malformed(format!("elements {} + {} of a storage of {count}", part.0, part.1)));
        }
        Ok(self.add(Node::Storage(Box::new(StorageNode { dtype, key, count, part }))))
    }

    /// BUILD: gives an object its attributes. A namespace is nothing else; those of an ordered dictionary (`_metadata`) are
    /// notes of PyTorch about versions of layers and are passed over.
    pub fn build(&mut self, target: Id, state: Id) -> Result<()> {
        match (self.node(target), self.node(state)) {
            (Node::Dict(_), Node::Dict(_)) => Ok(()),
            (Node::Fields(_), Node::Dict(entries)) => {
                let entries = entries.clone();
                self.spend(entries.len() as u64)?;
                self.nodes[target as usize] = Node::Fields(entries);
                Ok(())
            }
            (Node::Global(name), _) if KEPT_AS_NAME.contains(&(name.0.as_str(), name.1.as_str())) => Ok(()),
            (Node::Global(_), _) => Err(self.refused(target)),
            _ => Err(self.malformed("attributes for something that has none")),
        }
    }
}
