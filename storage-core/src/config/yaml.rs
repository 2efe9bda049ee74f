//! YAML, read into values. Scalars without quotes keep the text that they were written as, for it may be a password
//! that only looks like a number.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::Value;

/// The deepest that lists and sections may be within each other.
const DEEPEST: usize = 64;

/// The most values, those that aliases repeat among them.
const MOST_VALUES: usize = 100_000;

/// Reads a document.
///
/// # Errors
/// What is wrong and where, without the text that is there.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut reader = Reader::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let (line, column) = (error.marker().line(), error.marker().col() + 1);
            // Of the text it repeats a character at most, after this sign.
            let reason = error.info().split('`').next().unwrap_or_default().trim_end();
            format!("line {line}, column {column}: {reason}")
        })?;
        reader.take(event).map_err(|reason| format!("line {}: {reason}", span.start.line()))?;
    }
    Ok(reader.root.unwrap_or(Value::Null))
}

#[derive(Default)]
struct Reader {
    root: Option<Value>,
    open: Vec<Open>,
    anchors: HashMap<usize, Value>,
    values: usize,
    documents: usize,
}

/// A list or section that has not ended, and the anchor it has.
struct Open {
    anchor: usize,
    value: Value,
    /// The key that waits for its value.
    key: Option<String>,
}

impl Reader {
    fn take(&mut self, event: Event<'_>) -> Result<(), &'static str> {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err("expected a single document, found another document");
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.put(anchor, scalar(&text, style, tag.as_deref()))?;
            }
            Event::SequenceStart(anchor, _) => self.begin(anchor, Value::List(Vec::new()))?,
            Event::MappingStart(anchor, _) => self.begin(anchor, Value::empty_section())?,
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { anchor, value, .. }) = self.open.pop() {
                    self.put(anchor, value)?;
                }
            }
            Event::Alias(anchor) => {
                let value = self
                    .anchors
                    .get(&anchor)
                    .cloned()
                    .ok_or("an alias refers to a value that contains it")?;
                self.values += size(&value);
                self.put(0, value)?;
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn begin(&mut self, anchor: usize, value: Value) -> Result<(), &'static str> {
        if self.open.len() == DEEPEST {
            return Err("lists and sections are nested too deeply");
        }
        self.open.push(Open { anchor, value, key: None });
        Ok(())
    }

    fn put(&mut self, anchor: usize, value: Value) -> Result<(), &'static str> {
        self.values += 1;
        if self.values > MOST_VALUES {
            return Err("too many values");
        }
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some(Open { value: Value::Section(entries), key, .. }) => match key.take() {
                Some(key) => entries.push((key, value)),
                None => *key = Some(key_of(value)?),
            },
            Some(Open { value: Value::List(values), .. }) => values.push(value),
            Some(_) => {}
        }
        Ok(())
    }
}

fn key_of(value: Value) -> Result<String, &'static str> {
    match value {
        Value::Text(text) | Value::Number(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(boolean) => Ok(boolean.to_string()),
        _ => Err("expected text as a key"),
    }
}

/// How many values a value has in it.
fn size(value: &Value) -> usize {
    match value {
        Value::List(values) => 1 + values.iter().map(size).sum::<usize>(),
        Value::Section(entries) => 1 + entries.iter().map(|(_, value)| size(value)).sum::<usize>(),
        _ => 1,
    }
}

/// A scalar by the core schema of YAML 1.2.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let is_text = tag.is_some_and(|tag| tag.suffix == "str" || tag.suffix.is_empty());
    if style != ScalarStyle::Plain || is_text {
        return Value::Text(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Boolean(true),
        "false" | "False" | "FALSE" => return Value::Boolean(false),
        _ => {}
    }
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => Value::Integer(number),
        _ if is_number(text) => Value::Number(text.to_owned()),
        _ => Value::Text(text.to_owned()),
    }
}

fn is_number(text: &str) -> bool {
    let unsigned = text.trim_start_matches(['+', '-']);
    let digits_of = |prefix, radix| {
        let digits = unsigned.strip_prefix(prefix).filter(|digits: &&str| !digits.is_empty());
        digits.is_some_and(|digits| digits.chars().all(|digit| digit.is_digit(radix)))
    };
    let begins_as_one = unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    digits_of("0x", 16) || digits_of("0o", 8) || (begins_as_one && text.parse::<f64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Value {
        let Value::Section(entries) = parse(&format!("key: {text}\n")).unwrap() else {
            panic!("{text} is in no section")
        };
        entries.into_iter().next().unwrap().1
    }

    #[test]
    fn scalars_without_quotes_are_what_they_look_like() {
        for (text, value) in [
            ("", Value::Null),
            ("~", Value::Null),
            ("True", Value::Boolean(true)),
            ("yes", Value::Text("yes".into())),
            ("-12", Value::Integer(-12)),
            ("'12'", Value::Text("12".into())),
            ("!!str 12", Value::Text("12".into())),
            ("30m", Value::Text("30m".into())),
            ("192.0.2.1", Value::Text("192.0.2.1".into())),
            (".inf", Value::Text(".inf".into())),
        ] {
            assert_eq!(of(text), value, "{text}");
        }
    }

    #[test]
    fn numbers_that_are_written_in_another_way_keep_their_text() {
        for text in ["0x10", "0o17", "012", "+5", "1e3", "1.50", ".5", "9223372036854775808", "-0"] {
            assert_eq!(of(text), Value::Number(text.into()), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-c0-2:{}\\[\\]&*!|>'\"#,? \n-]{0,60}") {
            let _ = parse(&text);
        }
    }

    #[test]
    fn sections_lists_and_aliases_are_read_in_their_order() {
        let text = "b: &x [1, {c: d}]\na: *x\nb: |\n  two\n  lines\n";
        let list = || {
            let inner = Value::Section(vec![("c".into(), Value::Text("d".into()))]);
            Value::List(vec![Value::Integer(1), inner])
        };
        let lines = Value::Text("two\nlines\n".into());
        let expected = [("b".into(), list()), ("a".into(), list()), ("b".into(), lines)];
        assert_eq!(parse(text).unwrap(), Value::Section(expected.into()));
        assert_eq!(parse("# nothing\n").unwrap(), Value::Null);
    }

    #[test]
    fn what_is_no_yaml_or_too_much_is_refused_without_its_text() {
        let bomb: String =
            (1..20).map(|level| format!("l{level}: &l{level} [*l{0}, *l{0}, *l{0}]\n", level - 1)).collect();
        for (text, words) in [
            ("a: [hunter2", "line 2"),
            ("a: {hunter2: b\nc: d", "line 2"),
            ("a: 1\n b: hunter2\n", "line 2"),
            ("a: 1\n---\nhunter2: 2\n", "line 2: expected a single document, found another document"),
            ("hunter2: *hunter2\n", "line 1"),
            (&"[".repeat(100), "too deeply"),
            (&format!("l0: &l0 hunter2\n{bomb}"), "too many values"),
            ("? [hunter2]\n: 1\n", "expected text as a key"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(words) && !error.contains("hunter2"), "{words}: {error}");
        }
    }
}
