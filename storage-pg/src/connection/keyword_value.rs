//! Connection strings of keywords and values: `host=db1 password='it\'s'`.

use super::parameters::KeyValue;

/// Reads `keyword = value` pairs. A value with spaces stands between single quotes; a backslash takes
/// the meaning from the character after it.
///
/// # Errors
/// What is malformed, without a word of the text.
pub(super) fn parse(text: &str) -> Result<Vec<KeyValue>, String> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let number = pairs.len() + 1;
        let (keyword, after) =
            rest.split_once('=').ok_or_else(|| format!("pair {number} has no `=`; {EXPECTED}"))?;
        let keyword = keyword.trim_end();
        if keyword.is_empty() || keyword.contains(char::is_whitespace) {
            return Err(format!("pair {number} has no single word before its `=`; {EXPECTED}"));
        }
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('\'') {
            Some(quoted) => take_quoted(quoted).ok_or_else(|| {
                format!("the quote of the value of pair {number} is not closed; {EXPECTED}")
            })?,
            None => take_plain(after)
                .ok_or_else(|| format!("pair {number} ends in a backslash; write it twice to mean one"))?,
        };
        pairs.push((keyword.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(pairs)
}

const EXPECTED: &str =
    "expected a URL postgres://… or pairs keyword=value, values with spaces between single quotes";

/// Takes a value up to its closing quote.
fn take_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '\'' => return Some((value, characters.as_str())),
            '\\' => value.push(characters.next()?),
            character => value.push(character),
        }
    }
}

/// Takes a value up to the next space.
fn take_plain(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next() {
            None => return Some((value, "")),
            Some(space) if space.is_whitespace() => return Some((value, characters.as_str())),
            Some('\\') => value.push(characters.next()?),
            Some(character) => value.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap()
    }

    fn pair(keyword: &str, value: &str) -> (String, String) {
        (keyword.into(), value.into())
    }

    #[test]
    fn spaces_around_the_sign_and_between_pairs_do_not_matter() {
        let expected = [pair("host", "db1"), pair("port", "5432")];
        assert_eq!(pairs("host=db1 port=5432"), expected);
        assert_eq!(pairs("  host = db1\n\tport =5432 "), expected);
    }

    #[test]
    fn quotes_keep_spaces_and_backslashes_keep_quotes() {
        assert_eq!(pairs(r"password = 'va\'l ue'"), [pair("password", "va'l ue")]);
        assert_eq!(pairs(r"password=va\'l\ ue user=x"), [pair("password", "va'l ue"), pair("user", "x")]);
        assert_eq!(pairs(r"password='' user=x"), [pair("password", ""), pair("user", "x")]);
        assert_eq!(pairs(r"password= "), [pair("password", "")]);
    }

    #[test]
    fn what_is_malformed_is_told_without_repeating_it() {
        for text in
            ["hunter2", "password='hunter2", "password=hunter2\\", "=hunter2", "password=a my hunter2 =x"]
        {
            let problem = parse(text).unwrap_err();
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }

    fn quote(value: &str) -> String {
        format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
    }

    fn escape(value: &str) -> String {
        let escaped = |character: char| match character {
            '\\' | '\'' => format!("\\{character}"),
            space if space.is_whitespace() => format!("\\{space}"),
            other => other.to_string(),
        };
        value.chars().map(escaped).collect()
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_read_back(values in prop::collection::vec(any::<String>(), 0..5)) {
            let text: Vec<_> = values.iter().map(|value| format!("keyword = {}", quote(value))).collect();
            let read = parse(&text.join(" ")).unwrap();
            prop_assert_eq!(read.into_iter().map(|(_, value)| value).collect::<Vec<_>>(), values);
        }

        #[test]
        fn what_is_escaped_is_read_back(value in ".+") {
            let read = parse(&format!("keyword={}", escape(&value))).unwrap();
            prop_assert_eq!(&read[0].1, &value);
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _ = parse(&text);
        }
    }
}
