//! Answers over HTTP, read.

use std::collections::HashMap;

use serde_bencode::value::Value;

/// A dictionary.
#[derive(Debug, Clone, PartialEq)]
pub struct BencodeMap(HashMap<Vec<u8>, Value>);

impl BencodeMap {
    pub fn read(bytes: &[u8]) -> Self {
        match serde_bencode::from_bytes(bytes) {
            Ok(Value::Dict(entries)) => Self(entries),
            other => panic!("{other:?} of {:?}", bytes.escape_ascii().to_string()),
        }
    }

    pub fn number(&self, key: &str) -> i64 {
        match self.0.get(key.as_bytes()) {
            Some(Value::Int(number)) => *number,
            other => panic!("{key}: {other:?} in {self:?}"),
        }
    }

    pub fn bytes(&self, key: impl AsRef<[u8]>) -> &[u8] {
        match self.0.get(key.as_ref()) {
            Some(Value::Bytes(bytes)) => bytes,
            other => panic!("{other:?} in {self:?}"),
        }
    }

    pub fn text(&self, key: &str) -> &str {
        std::str::from_utf8(self.bytes(key)).unwrap()
    }

    pub fn list(&self, key: &str) -> Vec<Self> {
        match self.0.get(key.as_bytes()) {
            Some(Value::List(values)) => values.iter().cloned().map(Self::of).collect(),
            other => panic!("{key}: {other:?} in {self:?}"),
        }
    }

    pub fn within(&self, key: impl AsRef<[u8]>) -> Self {
        Self::of(self.0.get(key.as_ref()).cloned().unwrap())
    }

    pub fn has(&self, key: impl AsRef<[u8]>) -> bool {
        self.0.contains_key(key.as_ref())
    }

    /// `complete`, `incomplete`, `downloaded`.
    pub fn counts(&self) -> [i64; 3] {
        ["complete", "incomplete", "downloaded"].map(|key| self.number(key))
    }

    fn of(value: Value) -> Self {
        match value {
            Value::Dict(entries) => Self(entries),
            other => panic!("{other:?}"),
        }
    }
}
