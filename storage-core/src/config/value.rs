//! Values of a configuration, before anything is known of their meaning.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::format_duration;

/// A value of a configuration. `Debug` shows its kind only, for it may be a secret.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// Nothing; as good as absent.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A number as it was written, where that is not how Rust writes it: `0x10`, `012`, `1.50`.
    Number(String),
    /// Text.
    Text(String),
    /// Text from an environment variable; the setting it is for decides its type.
    Variable {
        /// The variable's name.
        name: String,
        /// Its text.
        text: String,
    },
    /// A list.
    List(Vec<Value>),
    /// Keys and values, in the order given.
    Section(Vec<(String, Value)>),
}

impl Value {
    /// A section without keys.
    pub fn empty_section() -> Self {
        Self::Section(Vec::new())
    }

    /// A section of these entries, without those that are [`Null`](Self::Null).
    pub fn section<'a>(entries: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        let given = entries.into_iter().filter(|(_, value)| *value != Self::Null);
        Self::Section(given.map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// What kind of value it is, in words.
    pub fn kind(&self) -> String {
        match self {
            Self::Null => "nothing".into(),
            Self::Boolean(_) => "a boolean".into(),
            Self::Integer(_) | Self::Float(_) | Self::Number(_) => "a number".into(),
            Self::Text(_) => "text".into(),
            Self::Variable { name, .. } => format!("the text of environment variable {name}"),
            Self::List(_) => "a list".into(),
            Self::Section(_) => "a section".into(),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.kind())
    }
}

impl From<bool> for Value {
    fn from(boolean: bool) -> Self {
        Self::Boolean(boolean)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        i64::try_from(number).map_or(Self::Float(number as f64), Self::Integer)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<Duration> for Value {
    /// As [`parse_duration`](super::parse_duration) reads it.
    fn from(duration: Duration) -> Self {
        Self::Text(format_duration(duration))
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => to.serialize_unit(),
            Self::Boolean(boolean) => to.serialize_bool(*boolean),
            Self::Integer(number) => to.serialize_i64(*number),
            Self::Float(number) => to.serialize_f64(*number),
            Self::Number(text) | Self::Text(text) | Self::Variable { text, .. } => to.serialize_str(text),
            Self::List(values) => to.collect_seq(values),
            Self::Section(entries) => to.collect_map(entries.iter().map(|(key, value)| (key, value))),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        Value::deserialize(from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Section(entries))
    }
}
