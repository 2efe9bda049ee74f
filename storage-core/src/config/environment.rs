//! Environment variables over a configuration: `TRACKER_STORAGE__CONFIG__POOL_SIZE` is the key
//! `storage.config.pool_size`.

use super::{Problem, ProblemKind, Value};

const PREFIX: &str = "TRACKER_";
const BETWEEN_LEVELS: &str = "__";

/// The environment variables. Unlike [`std::env::vars`], which panics, it skips those that are not valid
/// Unicode.
pub fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Lays the variables that begin with `TRACKER_` over `root`, as text.
pub(super) fn lay_over(root: &mut Value, variables: impl Iterator<Item = (String, String)>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut variables: Vec<_> = variables.filter(|(name, _)| name.starts_with(PREFIX)).collect();
    variables.sort();
    for (name, text) in variables {
        let path = name[PREFIX.len()..].to_ascii_lowercase();
        let levels: Vec<_> = path.split(BETWEEN_LEVELS).collect();
        let value = Value::Variable { name: name.clone(), text };
        let placed = if levels.iter().any(|level| level.is_empty()) {
            Err("has an empty level: expected names separated by two underscores, such as TRACKER_STORAGE__NAME".to_owned())
        } else {
            place(root, &levels, value)
        };
        if let Err(message) = placed {
            let message = format!("environment variable {name}: {message}");
            problems.push(Problem::new("", message).of_kind(ProblemKind::File));
        }
    }
    problems
}

/// Why a level of a path leads nowhere in a list of this length.
pub(super) fn no_index(level: &str, length: usize) -> String {
    let items = if length == 1 { "1 item".to_owned() } else { format!("{length} items") };
    if level.parse::<usize>().is_ok() {
        return format!("index {level} is out of range: the list has {items}");
    }
    format!("expected an index instead of `{level}`: a list of {items}")
}

/// Why a level of a path leads nowhere in a value that has no levels.
pub(super) fn no_section(level: &str, found: &Value) -> String {
    format!("expected a section with the key `{level}`, found {}", found.kind())
}

fn place(at: &mut Value, levels: &[&str], value: Value) -> Result<(), String> {
    let Some((level, rest)) = levels.split_first() else {
        *at = value;
        return Ok(());
    };
    match at {
        Value::Null => {
            *at = Value::empty_section();
            place(at, levels, value)
        }
        Value::Section(entries) => {
            let index = entries.iter().position(|(key, _)| key.eq_ignore_ascii_case(level));
            let index = index.unwrap_or_else(|| {
                entries.push(((*level).to_owned(), Value::Null));
                entries.len() - 1
            });
            place(&mut entries[index].1, rest, value)
        }
        Value::List(values) => {
            let length = values.len();
            let item = level.parse().ok().and_then(|index: usize| values.get_mut(index));
            let item = item.ok_or_else(|| no_index(level, length))?;
            place(item, rest, value)
        }
        other => Err(no_section(level, other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Section;

    fn lay(root: &mut Value, variables: &[(&str, &str)]) -> Vec<String> {
        let variables = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        lay_over(root, variables).iter().map(ToString::to_string).collect()
    }

    /// Runs itself as a process with such variables.
    #[cfg(unix)]
    #[test]
    fn variables_that_are_no_text_are_skipped() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        use std::process::Command;

        const TEXT: &str = "TRACKER_STORAGE__NAME";
        if std::env::var_os("TRACKER_BYTES").is_some() {
            let variables: Vec<_> = variables().filter(|(name, _)| name.starts_with(PREFIX)).collect();
            assert_eq!(variables, [(TEXT.to_owned(), "memory".to_owned())]);
            return;
        }
        let not_text = OsStr::from_bytes(b"TRACKER_\xff");
        let test = "config::environment::tests::variables_that_are_no_text_are_skipped";
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args([test, "--exact"]);
        child.env_clear().env(TEXT, "memory").env("TRACKER_BYTES", not_text).env(not_text, "memory");
        let output = child.output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
    }

    #[test]
    fn levels_are_found_without_regard_to_case_and_made_where_absent() {
        let config = Value::Section(vec![("Pool_Size".into(), Value::Integer(1))]);
        let mut root = Value::Section(vec![("config".into(), config)]);
        let problems = lay(
            &mut root,
            &[("TRACKER_CONFIG__POOL_SIZE", "7"), ("TRACKER_CONFIG__TLS", "true"), ("HOME", "/root")],
        );
        assert!(problems.is_empty(), "{problems:?}");
        let mut section = Section::new(root);
        section.within("config", |config| {
            assert_eq!(config.number("pool_size", 1..=9), Some(7));
            assert_eq!(config.boolean("tls"), Some(true));
        });
        assert_eq!(section.finish(), Default::default());
    }

    #[test]
    fn a_variable_of_the_wrong_form_is_named_and_its_text_is_not() {
        let mut root = Value::Section(vec![
            ("storage".into(), Value::Text("x".into())),
            ("prehooks".into(), Value::List(vec![])),
        ]);
        let problems = lay(
            &mut root,
            &[
                ("TRACKER_STORAGE__NAME", "hunter2"),
                ("TRACKER_STORAGE____NAME", "hunter2"),
                ("TRACKER_PREHOOKS__0__NAME", "hunter2"),
            ],
        );
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(!problems.concat().contains("hunter2"));
        assert!(problems[0].contains("TRACKER_PREHOOKS__0__NAME"));
    }
}
