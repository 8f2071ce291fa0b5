//! The part of Python's pickles (protocols 2 to 5) that data sets use: dictionaries, lists, numbers, strings, NumPy arrays of
//! bytes.
//!
//! Nothing is called or imported: an object is known by the state that would be given to it. Values stand in one list and
//! refer to each other by number, so that no depth of nesting and no number of references costs more than the file is long.
//!
//! Source: `pickletools.py` of CPython, which lists every code with its argument.

use std::collections::HashMap;

use crate::{Error, Result};

/// A value of a pickle, as its place in the list of all values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Id(usize);

#[derive(Clone, Debug)]
enum Value<'a> {
    /// A string or bytes.
    Bytes(&'a [u8]),
    Int(i64),
    /// A list or a tuple.
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// An object with what it was made of: the arguments of its constructor, or the state that it was given later.
    Object(Option<Id>),
    Other,
}

/// A pickle in memory; its strings stay in the bytes of the file.
pub(super) struct Pickle<'a> {
    file: &'a str,
    values: Vec<Value<'a>>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// Parses a pickle; `file` names it in errors.
    ///
    /// # Errors
    /// [`Error::Data`] where the bytes are no pickle, cut off, or use what data sets do not.
    pub fn parse(file: &'a str, bytes: &'a [u8]) -> Result<Self> {
        let mut machine =
            Machine { rest: bytes, values: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
        let at = |rest: &[u8]| bytes.len() - rest.len();
        loop {
            match machine.step() {
                Some(None) => {}
                Some(Some(root)) => return Ok(Self { file, values: machine.values, root }),
                None => {
                    let message = format!("no pickle that is understood: stopped at byte {}", at(machine.rest));
                    return Err(Error::Data { file: file.into(), message });
                }
            }
        }
    }

    /// The entry `key` of the outermost dictionary.
    ///
    /// # Errors
    /// [`Error::Data`] where there is none.
    pub fn entry(&self, key: &str) -> Result<Id> {
        let missing = || self.error(format!("it has no entry `{key}`"));
        let Value::Dict(entries) = self.value(self.root) else { return Err(missing()) };
        let named = |id: Id| matches!(self.value(id), Value::Bytes(name) if *name == key.as_bytes());
        entries.iter().find(|(name, _)| named(*name)).map(|(_, value)| *value).ok_or_else(missing)
    }

    /// A list of numbers.
    ///
    /// # Errors
    /// [`Error::Data`] where the entry is none.
    pub fn ints(&self, key: &str) -> Result<Vec<i64>> {
        self.list(key, |value| if let Value::Int(x) = value { Some(*x) } else { None })
    }

    /// A list of strings.
    ///
    /// # Errors
    /// [`Error::Data`] where the entry is none.
    pub fn strings(&self, key: &str) -> Result<Vec<String>> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        self.list(key, |value| if let Value::Bytes(bytes) = value { text(bytes) } else { None })
    }

    /// The bytes [n, `columns`] of a NumPy array: of its state (version, shape, type, column-major, bytes), or, in protocol 5,
    /// of the arguments (bytes, type, shape, order) that it is made of.
    ///
    /// # Errors
    /// [`Error::Data`] where the entry is none.
    pub fn array(&self, key: &str, columns: usize) -> Result<&'a [u8]> {
        let wrong = || self.error(format!("its `{key}` is no array of bytes [n, {columns}]"));
        let Value::Object(Some(parts)) = self.value(self.entry(key)?) else { return Err(wrong()) };
        let Value::List(parts) = self.value(*parts) else { return Err(wrong()) };
        let parts: Vec<_> = parts.iter().map(|&id| self.value(id)).collect();
        let (shape, bytes) = match parts.as_slice() {
            [_, Value::List(shape), _, Value::Int(0), Value::Bytes(bytes)] => (shape, bytes),
            [Value::Bytes(bytes), _, Value::List(shape), Value::Bytes(b"C")] => (shape, bytes),
            _ => return Err(wrong()),
        };
        let shape: Vec<_> = shape.iter().map(|&id| self.value(id)).collect();
        match shape.as_slice() {
            [Value::Int(rows), Value::Int(cols)]
                if *cols == columns as i64 && rows.checked_mul(*cols) == Some(bytes.len() as i64) =>
            {
                Ok(bytes)
            }
            _ => Err(wrong()),
        }
    }

    fn list<T>(&self, key: &str, item: impl Fn(&Value<'a>) -> Option<T>) -> Result<Vec<T>> {
        let wrong = || self.error(format!("its `{key}` is no list of what is needed"));
        let Value::List(items) = self.value(self.entry(key)?) else { return Err(wrong()) };
        items.iter().map(|&id| item(self.value(id))).collect::<Option<_>>().ok_or_else(wrong)
    }

    fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id.0]
    }

    fn error(&self, message: String) -> Error {
        Error::Data { file: self.file.into(), message }
    }
}

/// The stack machine that a pickle is a program of.
struct Machine<'a> {
    rest: &'a [u8],
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack that later codes go back to.
    marks: Vec<usize>,
    memo: HashMap<usize, Id>,
}

impl<'a> Machine<'a> {
    /// Does what the next code says: the whole value at the end of the program, nothing where it makes no sense.
    fn step(&mut self) -> Option<Option<Id>> {
        match self.take(1)?[0] {
            0x80 => drop(self.take(1)?),            // protocol
            0x95 => drop(self.take(8)?),            // frame
            b'.' => return Some(Some(self.pop()?)), // stop
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'N' => self.push(Value::Other), // None
            code @ (0x88 | 0x89) => self.push(Value::Int(i64::from(code == 0x88))), // True, False
            b'K' => self.int(1)?,
            b'M' => self.int(2)?,
            b'J' => {
                let word = self.take(4)?.try_into().ok()?;
                self.push(Value::Int(i32::from_le_bytes(word).into()));
            }
            0x8a => {
                let length = self.length(1)?;
                let bytes = self.take(length)?;
                self.push(long(bytes));
            }
            b'U' | b'C' | 0x8c => self.bytes(1)?, // short strings, bytes, text
            b'T' | b'B' | b'X' => self.bytes(4)?, // the same, long
            0x8d | 0x8e | 0x96 => self.bytes(8)?, // longer
            b']' | b')' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b'l' | b't' => {
                let items = self.since_mark()?;
                self.push(Value::List(items));
            }
            code @ 0x85..=0x87 => {
                let start = self.stack.len().checked_sub(usize::from(code) - 0x84)?;
                let items = self.stack.split_off(start);
                self.push(Value::List(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.since_mark()?;
                self.append(items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[key, value])?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set(&items)?;
            }
            b'q' => self.remember(1)?,
            b'r' => self.remember(4)?,
            0x94 => {
                let top = *self.stack.last()?;
                self.memo.insert(self.memo.len(), top);
            }
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            b'c' => {
                // The names of a module and of what is in it, a line each.
                for _ in 0..2 {
                    let end = self.rest.iter().position(|&b| b == b'\n')?;
                    self.take(end + 1)?;
                }
                self.push(Value::Object(None));
            }
            0x93 => {
                self.pop().and(self.pop())?;
                self.push(Value::Object(None));
            }
            b'R' => {
                let arguments = self.pop()?;
                self.pop()?;
                self.push(Value::Object(Some(arguments)));
            }
            b'b' => {
                let state = self.pop()?;
                let object = *self.stack.last()?;
                match &mut self.values[object.0] {
                    Value::Object(own) => *own = Some(state),
                    _ => return None,
                }
            }
            _ => return None,
        }
        Some(None)
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        Some(head)
    }

    /// A length in `n` bytes, the least significant first.
    fn length(&mut self, n: usize) -> Option<usize> {
        let bytes = self.take(n)?;
        usize::try_from(bytes.iter().rev().fold(0u64, |x, &b| x << 8 | u64::from(b))).ok()
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(Id(self.values.len()));
        self.values.push(value);
    }

    /// The top of the stack, unless it lies below a mark.
    fn pop(&mut self) -> Option<Id> {
        if self.marks.last().is_some_and(|&mark| mark >= self.stack.len()) { None } else { self.stack.pop() }
    }

    fn since_mark(&mut self) -> Option<Vec<Id>> {
        let mark = self.marks.pop()?;
        (mark <= self.stack.len()).then(|| self.stack.split_off(mark))
    }

    fn int(&mut self, n: usize) -> Option<()> {
        let value = self.length(n)?;
        self.push(Value::Int(value as i64));
        Some(())
    }

    fn bytes(&mut self, n: usize) -> Option<()> {
        let length = self.length(n)?;
        let bytes = self.take(length)?;
        self.push(Value::Bytes(bytes));
        Some(())
    }

    fn append(&mut self, items: Vec<Id>) -> Option<()> {
        match &mut self.values[self.stack.last()?.0] {
            Value::List(list) => list.extend(items),
            _ => return None,
        }
        Some(())
    }

    fn set(&mut self, items: &[Id]) -> Option<()> {
        match &mut self.values[self.stack.last()?.0] {
            Value::Dict(entries) if items.len().is_multiple_of(2) => {
                entries.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
            }
            _ => return None,
        }
        Some(())
    }

    fn remember(&mut self, n: usize) -> Option<()> {
        let at = self.length(n)?;
        self.memo.insert(at, *self.stack.last()?);
        Some(())
    }

    fn recall(&mut self, n: usize) -> Option<()> {
        let at = self.length(n)?;
        let id = *self.memo.get(&at)?;
        self.stack.push(id);
        Some(())
    }
}

/// A whole number in two's complement, the least significant byte first.
fn long<'a>(bytes: &[u8]) -> Value<'a> {
    if bytes.len() > 8 {
        return Value::Other;
    }
    let sign = if bytes.last().is_some_and(|&b| b >= 0x80) { -1 } else { 0 };
    Value::Int(bytes.iter().rev().fold(sign, |x, &b| x << 8 | i64::from(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tests::golden;

    /// Pickles that NumPy wrote.
    #[test]
    fn reads_what_python_writes() {
        for protocol in [4, 5] {
            let bytes = golden(&format!("pickle-{protocol}.file")).1;
            let pickle = Pickle::parse("numpy", &bytes).unwrap();
            assert_eq!(pickle.ints("fine_labels").unwrap(), [3, 1]);
            assert_eq!(pickle.strings("filenames").unwrap(), ["a.png", "b.png"]);
            let expected: Vec<u8> = (0..2 * 3072).map(|i| (i % 251) as u8).collect();
            assert_eq!(pickle.array("data", 3072).unwrap(), expected);
            for (error, words) in [
                (pickle.array("data", 3071).err(), "[n, 3071]"),
                (pickle.ints("filenames").err(), "`filenames`"),
                (pickle.entry("labels").err(), "no entry `labels`"),
            ] {
                let text = error.unwrap().to_string();
                assert!(text.contains("numpy") && text.contains(words), "{text}");
            }
            for cut in [0, 1, 2, bytes.len() / 2, bytes.len() - 1] {
                let text = Pickle::parse("numpy", &bytes[..cut]).err().unwrap().to_string();
                assert!(text.contains("no pickle"), "{text}");
            }
        }
    }

    /// Neither depth nor references that double at every step cost more than the file.
    #[test]
    fn nesting_and_references_cost_nothing() {
        let deep = [vec![b']'], vec![0x85; 1 << 20], vec![b'.']].concat();
        assert!(Pickle::parse("deep", &deep).unwrap().entry("x").is_err());
        let mut doubling = b"]q\0".to_vec();
        (0..200u8).for_each(|i| doubling.extend([b'h', i, b'h', i, 0x86, b'q', i + 1]));
        doubling.push(b'.');
        assert!(Pickle::parse("doubling", &doubling).is_ok());
    }

    #[test]
    fn programs_that_make_no_sense_are_refused() {
        for program in
            [&b"."[..], b"(0.", b"e.", b"K\x01K\x02a.", b"}K\x01s.", b"h\x05.", b"cos\nsystem\n", b"(K\x01u."]
        {
            assert!(Pickle::parse("bad", program).is_err(), "{program:?}");
        }
    }
}
