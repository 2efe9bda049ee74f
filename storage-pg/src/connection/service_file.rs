//! Service files: connection parameters by name, as `service=tracker` asks for them.
//!
//! ```text
//! # comment
//! [tracker]
//! host=db1
//! user=tracker
//! ```

use super::parameters::KeyValue;

/// The parameters of a service; `None` if the file has no service of that name.
///
/// # Errors
/// The number of a malformed line within the service, without its text.
pub(super) fn find(text: &str, service: &str) -> Result<Option<Vec<KeyValue>>, String> {
    let mut found: Option<Vec<KeyValue>> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            if found.is_some() {
                break;
            }
            found = (name == service).then(Vec::new);
            continue;
        }
        let Some(pairs) = &mut found else { continue };
        let (key, value) = line
            .split_once('=')
            .ok_or_else(|| format!("line {number}: expected key=value, a [name] or a # comment"))?;
        if key.trim().eq_ignore_ascii_case("service") {
            return Err(format!("line {number}: a service can't refer to another one"));
        }
        pairs.push((key.trim().to_owned(), value.trim().to_owned()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = "# all\n[other]\nhost=db0\n\n[tracker]\n host = db1 \npassword=a=b\n[last]\nbroken\n";

    #[test]
    fn only_the_service_asked_for_is_read() {
        let expected = [("host".to_owned(), "db1".to_owned()), ("password".to_owned(), "a=b".to_owned())];
        assert_eq!(find(FILE, "tracker").unwrap().unwrap(), expected);
        assert_eq!(find(FILE, "absent").unwrap(), None);
    }

    #[test]
    fn a_malformed_line_is_told_by_its_number() {
        assert_eq!(find(FILE, "last").unwrap_err(), "line 9: expected key=value, a [name] or a # comment");
        assert!(find("[a]\nservice=b", "a").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(\\[a\\]|[a-z=#\\[\\]\n ])*") {
            let _ = find(&text, "a");
        }
    }
}
