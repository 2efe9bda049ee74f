//! Rewriting a query's named arguments (`@info_hash`) to the numbered ones that the protocol has.
//!
//! What only looks like an argument is left alone: text in literals, quoted names, dollar quotes and
//! comments, and operators such as `@>` and `<@`.

use storage_core::config::nearest;

use crate::arguments::Argument;

/// A query as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rewritten {
    /// The text, with numbered arguments only.
    pub(crate) sql: String,
    /// What `$1`, `$2`, … stand for.
    pub(crate) arguments: Vec<Argument>,
}

/// Rewrites a query in which the arguments `named` may be used by name, or those of `positional` by
/// number. An error says what is wrong with the arguments.
pub(crate) fn rewrite(text: &str, named: &[Argument], positional: &[Argument]) -> Result<Rewritten, String> {
    let mut sql = String::with_capacity(text.len());
    let mut by_name = Vec::new();
    let mut highest_number = 0;
    for token in (Lexer { rest: text, before: None, named }) {
        match token {
            Token::Verbatim(verbatim) => sql.push_str(verbatim),
            Token::Named(name) => {
                let argument = find(name, named)?;
                let index = by_name.iter().position(|known| *known == argument).unwrap_or_else(|| {
                    by_name.push(argument);
                    by_name.len() - 1
                });
                // Glued to a word before it, `$1` would be read as part of that.
                if sql.chars().next_back().is_some_and(is_word) {
                    sql.push(' ');
                }
                sql.push_str(&format!("${}", index + 1));
            }
            Token::Numbered(digits) => {
                let number: usize = digits.parse().unwrap_or(usize::MAX);
                if number == 0 || number > positional.len() {
                    return Err(too_high(digits, positional));
                }
                highest_number = highest_number.max(number);
                sql.push('$');
                sql.push_str(digits);
            }
        }
    }
    if highest_number > 0 && !by_name.is_empty() {
        let example = by_name[0];
        return Err(format!(
            "uses both named arguments (`{example}`) and numbered ones (`${highest_number}`): use one style"
        ));
    }
    let arguments = if highest_number > 0 { positional[..highest_number].to_vec() } else { by_name };
    Ok(Rewritten { sql, arguments })
}

fn find(name: &str, named: &[Argument]) -> Result<Argument, String> {
    if let Some(argument) = named.iter().find(|argument| argument.name() == name) {
        return Ok(*argument);
    }
    Err(match nearest(name, named.iter().map(|argument| argument.name())) {
        Some(known) => format!("there is no argument `@{name}`; did you mean `@{known}`?"),
        None => format!("there is no argument `@{name}`; there are {}", listed(named)),
    })
}

fn too_high(digits: &str, positional: &[Argument]) -> String {
    match positional.len() {
        0 => format!("uses `${digits}`, but takes no arguments"),
        1 => format!("uses `${digits}`, but only one argument is given: {}", listed(positional)),
        given => format!("uses `${digits}`, but {given} arguments are given: {}", listed(positional)),
    }
}

fn listed(arguments: &[Argument]) -> String {
    let names: Vec<_> = arguments.iter().map(|argument| format!("`{argument}`")).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

enum Token<'a> {
    Verbatim(&'a str),
    Named(&'a str),
    Numbered(&'a str),
}

struct Lexer<'a> {
    rest: &'a str,
    /// The character before `rest`.
    before: Option<char>,
    named: &'a [Argument],
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let first = self.rest.chars().next()?;
        if let Some((token, length)) = self.argument(first) {
            self.advance(length);
            return Some(token);
        }
        let length = self.verbatim(first);
        let (verbatim, _) = self.rest.split_at(length);
        self.advance(length);
        Some(Token::Verbatim(verbatim))
    }
}

impl<'a> Lexer<'a> {
    fn advance(&mut self, length: usize) {
        let (passed, rest) = self.rest.split_at(length);
        self.before = passed.chars().next_back();
        self.rest = rest;
    }

    fn after_word(&self) -> bool {
        self.before.is_some_and(is_word)
    }

    /// The argument that begins here, and its length.
    fn argument(&self, first: char) -> Option<(Token<'a>, usize)> {
        let tail = &self.rest[first.len_utf8()..];
        match first {
            '@' if tail.starts_with(is_word_start) => {
                let name = &tail[..leading(tail, is_name)];
                // `a<@b` and `a@@b` are operators, but MoChi reads `created<@created` as a comparison.
                let part_of_operator = match self.before {
                    Some('@') => true,
                    Some('<') => !self.named.iter().any(|argument| argument.name() == name),
                    _ => false,
                };
                (!part_of_operator).then_some((Token::Named(name), 1 + name.len()))
            }
            '$' if tail.starts_with(|next: char| next.is_ascii_digit()) && !self.after_word() => {
                let digits = &tail[..leading(tail, |next| next.is_ascii_digit())];
                Some((Token::Numbered(digits), 1 + digits.len()))
            }
            _ => None,
        }
    }

    /// The length of what begins here and is passed on as it is.
    fn verbatim(&self, first: char) -> usize {
        let rest = self.rest;
        match first {
            '\'' => quoted(rest, '\'', false),
            '"' => quoted(rest, '"', false),
            'e' | 'E' if rest[1..].starts_with('\'') => 1 + quoted(&rest[1..], '\'', true),
            '-' | '/' => comment(rest).unwrap_or(1),
            '$' if !self.after_word() => dollar_quoted(rest).unwrap_or(1),
            _ if is_word(first) => leading(rest, is_word),
            _ => first.len_utf8(),
        }
    }
}

fn is_word_start(character: char) -> bool {
    character.is_ascii_alphabetic() || character == '_'
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// What identifiers, key words and numbers are made of.
fn is_word(character: char) -> bool {
    is_name(character) || character == '$' || !character.is_ascii()
}

/// How many bytes the characters at the beginning take that satisfy a condition.
fn leading(text: &str, condition: impl Fn(char) -> bool) -> usize {
    text.find(|character| !condition(character)).unwrap_or(text.len())
}

/// The length of a literal or quoted name; to the end if it is not closed. A doubled quote stands for
/// itself, which reads like one literal right after another.
fn quoted(text: &str, quote: char, backslash_escapes: bool) -> usize {
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        if character == quote {
            return at + 1;
        }
        if backslash_escapes && character == '\\' {
            characters.next();
        }
    }
    text.len()
}

/// The first word of a query, after comments.
pub(crate) fn first_word(text: &str) -> &str {
    let mut rest = text.trim_start();
    while let Some(length) = comment(rest) {
        rest = rest[length..].trim_start();
    }
    &rest[..leading(rest, is_word)]
}

/// A query without the semicolons after it, which may stand before a comment.
pub(crate) fn without_semicolon(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    // Semicolons, spaces and comments since anything else.
    let mut end = String::new();
    for token in (Lexer { rest: text.trim(), before: None, named: &[] }) {
        let (sign, verbatim) = match token {
            Token::Verbatim(verbatim) => ("", verbatim),
            Token::Named(name) => ("@", name),
            Token::Numbered(digits) => ("$", digits),
        };
        let is_comment = sign.is_empty() && comment(verbatim).is_some();
        if is_comment || verbatim == ";" || verbatim.trim().is_empty() {
            end.push_str(verbatim);
            continue;
        }
        kept.push_str(&std::mem::take(&mut end));
        kept.push_str(sign);
        kept.push_str(verbatim);
    }
    kept
}

/// The word that says what a statement does, in lower case: of `WITH … DELETE` it is `delete`.
pub(crate) fn main_verb(text: &str) -> String {
    const VERBS: [&str; 7] = ["delete", "insert", "merge", "select", "table", "update", "values"];
    let first = first_word(text).to_ascii_lowercase();
    if first != "with" {
        return first;
    }
    let mut depth = 0_usize;
    for token in (Lexer { rest: text, before: None, named: &[] }) {
        let Token::Verbatim(verbatim) = token else { continue };
        match verbatim {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            word if depth == 0 && VERBS.iter().any(|verb| word.eq_ignore_ascii_case(verb)) => {
                return word.to_ascii_lowercase();
            }
            _ => {}
        }
    }
    first
}

/// The length of the comment that begins here, if one does.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("--") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    text.starts_with("/*").then(|| block_comment(text))
}

/// The length of a block comment; comments nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The length of `$tag$…$tag$`, if that is what begins here.
fn dollar_quoted(text: &str) -> Option<usize> {
    let tag_length = leading(&text[1..], |character| is_word(character) && character != '$');
    let tag = text.get(..tag_length + 2).filter(|tag| tag.ends_with('$'))?;
    if text[1..].starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let end = text[tag.len()..].find(tag).map(|at| tag.len() + at + tag.len());
    Some(end.unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMED: &[Argument] = &[Argument::InfoHash, Argument::PeerId, Argument::Created, Argument::Count];

    fn named(text: &str) -> Result<Rewritten, String> {
        rewrite(text, NAMED, NAMED)
    }

    fn sql(text: &str) -> String {
        named(text).unwrap().sql
    }

    #[test]
    fn named_arguments_are_numbered_in_the_order_of_their_first_use() {
        let rewritten = named("a=@peer_id AND b = @info_hash AND c=@peer_id").unwrap();
        assert_eq!(rewritten.sql, "a=$1 AND b = $2 AND c=$1");
        assert_eq!(rewritten.arguments, [Argument::PeerId, Argument::InfoHash]);
    }

    #[test]
    fn semicolons_and_comments_at_the_end_are_left_out() {
        for (text, kept) in [
            ("SELECT 1;", "SELECT 1"),
            (" SELECT 1 ; -- all; of them\n", "SELECT 1"),
            ("SELECT 1 -- all of them", "SELECT 1"),
            ("SELECT 1 /* ; */;;", "SELECT 1"),
            ("SELECT ';' -- a\n, $1, @b -- c", "SELECT ';' -- a\n, $1, @b"),
            ("SELECT 1 - -1", "SELECT 1 - -1"),
            ("", ""),
        ] {
            assert_eq!(without_semicolon(text), kept, "{text}");
        }
    }

    #[test]
    fn the_verb_of_a_statement_is_found_behind_its_subqueries() {
        for (text, verb) in [
            ("  DELETE FROM t", "delete"),
            ("-- SELECT\nUpdate t SET a = 1", "update"),
            ("CALL p()", "call"),
            ("WITH a AS (SELECT 1) DELETE FROM t USING a", "delete"),
            ("WITH a AS (DELETE FROM t RETURNING 1) SELECT count(*) FROM a", "select"),
            (
                "WITH a(x) AS (VALUES (')')), b AS (SELECT f(x) FROM a) insert INTO t SELECT x FROM a",
                "insert",
            ),
            ("WITH \"delete\" AS (SELECT 1) /* update */ TABLE \"delete\"", "table"),
            ("", ""),
        ] {
            assert_eq!(main_verb(text), verb, "{text}");
        }
    }

    #[test]
    fn numbered_arguments_keep_their_order() {
        let rewritten = named("a=$2 AND b=$1 AND c=$2").unwrap();
        assert_eq!(rewritten.sql, "a=$2 AND b=$1 AND c=$2");
        assert_eq!(rewritten.arguments, [Argument::InfoHash, Argument::PeerId]);
    }

    #[test]
    fn what_only_looks_like_an_argument_is_left_alone() {
        for text in [
            "'@info_hash $1 '' @x'",
            "\"@info_hash\"\"$9\"",
            "E'\\'@x' || e'it''s @y'",
            "$$ @x $1 $$",
            "$tag$ @x $$ $9 $tag$",
            "-- @x $9",
            "/* @x /* $9 */ @y */ 1",
            "tags @> '{}' AND tags <@ x AND '{}' @> tags AND a<@b AND a@@b",
            "a$1 = b$x$c",
            "'not closed @x",
            "/* not closed @x",
            "$a$ not closed @x",
        ] {
            assert_eq!(named(text), Ok(Rewritten { sql: text.into(), arguments: vec![] }), "{text}");
        }
        assert_eq!(sql("'a' -- @x\n = @count"), "'a' -- @x\n = $1");
        assert_eq!(sql("tags <@ @count"), "tags <@ $1");
    }

    #[test]
    fn an_argument_may_be_glued_to_what_is_before_it() {
        assert_eq!(sql("created<=@created AND created<@created"), "created<=$1 AND created<$1");
        assert_eq!(sql("LIMIT@count"), "LIMIT $1");
        assert_eq!(sql("@count::int8"), "$1::int8");
        assert_eq!(sql("-@count-@count"), "-$1-$1");
    }

    #[test]
    fn wrong_arguments_are_named() {
        assert_eq!(
            named("@info_hsh").unwrap_err(),
            "there is no argument `@info_hsh`; did you mean `@info_hash`?"
        );
        assert_eq!(
            named("@x").unwrap_err(),
            "there is no argument `@x`; there are `@info_hash`, `@peer_id`, `@created`, `@count`"
        );
        assert_eq!(
            named("$5").unwrap_err(),
            "uses `$5`, but 4 arguments are given: `@info_hash`, `@peer_id`, `@created`, `@count`"
        );
        assert!(named("$0").is_err());
        assert!(named("$99999999999999999999").is_err());
        assert_eq!(
            named("@count = $1").unwrap_err(),
            "uses both named arguments (`@count`) and numbered ones (`$1`): use one style"
        );
        assert_eq!(rewrite("$1", &[], &[]).unwrap_err(), "uses `$1`, but takes no arguments");
    }

    /// Pieces of SQL with what they should become.
    fn piece() -> impl Strategy<Value = (String, String)> {
        let inert = "[a-z@$0-9 ]{0,12}";
        prop_oneof![
            Just(("@peer_id".to_owned(), "$1".to_owned())),
            inert.prop_map(|text| (format!("'{text}'"), format!("'{text}'"))),
            inert.prop_map(|text| (format!("\"{text}\""), format!("\"{text}\""))),
            inert.prop_map(|text| (format!("/*{text}*/"), format!("/*{text}*/"))),
            inert.prop_map(|text| (format!("--{text}\n"), format!("--{text}\n"))),
            "[a-z0-9@ ]{0,12}".prop_map(|text| (format!("$q${text}$q$"), format!("$q${text}$q$"))),
            "[A-Za-z_]{1,6}".prop_map(|word| (word.clone(), word)),
            "[-+*/<>=(),;.:]"
                .prop_filter("no comments", |operator| operator != "-" && operator != "/")
                .prop_map(|operator| (operator.clone(), operator)),
        ]
    }

    proptest! {
        #[test]
        fn only_arguments_are_replaced(pieces in prop::collection::vec(piece(), 0..20)) {
            let (before, after): (Vec<_>, Vec<_>) = pieces.into_iter().unzip();
            prop_assert_eq!(sql(&before.join(" ")), after.join(" "));
        }

        #[test]
        fn any_text_is_read_without_panic(text in any::<String>()) {
            let _ = named(&text);
        }

        #[test]
        fn text_without_signs_is_not_changed(text in "[^@$]*") {
            prop_assert_eq!(sql(&text), text);
        }
    }
}
