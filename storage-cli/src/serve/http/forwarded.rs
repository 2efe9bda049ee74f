//! The header `Forwarded` (RFC 7239), in which proxies name their clients.

use std::net::IpAddr;

use super::address::address;

/// The `for` address of each element of a header, in their order; `None` for an element without one. `None` for a
/// malformed header: if the client left a quote open, the proxy's element cannot be separated from it.
pub(super) fn clients(header: &str) -> Option<Vec<Option<IpAddr>>> {
    let elements = split(header, ',')?.into_iter().map(str::trim).filter(|element| !element.is_empty());
    elements.map(client).collect()
}

fn client(element: &str) -> Option<Option<IpAddr>> {
    let mut named = None;
    for pair in split(element, ';')?.into_iter().map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let value = unquoted(value)?;
        if name.eq_ignore_ascii_case("for") && named.replace(value).is_some() {
            return None;
        }
    }
    Some(named.and_then(|node| node_address(&node)))
}

/// An address, perhaps with a port. `unknown` and identifiers such as `_proxy` have none.
fn node_address(node: &str) -> Option<IpAddr> {
    match node.rsplit_once(':') {
        Some((node, port)) if port.starts_with('_') => address(node),
        _ => address(node),
    }
}

/// The parts between separators that are not in quotes; none, if a quote is left open.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut begin) = (Vec::new(), 0);
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if character == separator && !is_quoted => {
                parts.push(&text[begin..at]);
                begin = at + separator.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    (!is_quoted).then_some(parts)
}

/// A value without its quotes and escapes.
fn unquoted(value: &str) -> Option<String> {
    let Some(quoted) = value.strip_prefix('"') else {
        let is_token = !value.contains(|character: char| character == '"' || character.is_whitespace());
        return is_token.then(|| value.to_owned());
    };
    let mut text = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => return characters.next().is_none().then_some(text),
            '\\' => text.push(characters.next()?),
            character => text.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(header: &str) -> Option<Vec<String>> {
        let text = |client: Option<IpAddr>| client.map_or("hidden".to_owned(), |address| address.to_string());
        clients(header).map(|clients| clients.into_iter().map(text).collect())
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        for (header, expected) in [
            (r#"for="_gazonk""#, &["hidden"] as &[_]),
            (r#"For="[2001:db8:cafe::17]:4711""#, &["2001:db8:cafe::17"]),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", &["192.0.2.60"]),
            ("for=192.0.2.43, for=198.51.100.17", &["192.0.2.43", "198.51.100.17"]),
            (r#"for=192.0.2.43, for="[2001:db8:cafe::17]""#, &["192.0.2.43", "2001:db8:cafe::17"]),
            (
                r#"for=192.0.2.43,for="[2001:db8:cafe::17]",for=unknown"#,
                &["192.0.2.43", "2001:db8:cafe::17", "hidden"],
            ),
            ("for=_hidden, for=_SEVKISEK", &["hidden", "hidden"]),
            (r#"for="192.0.2.43:47011""#, &["192.0.2.43"]),
            (r#"for="192.0.2.43:_port""#, &["192.0.2.43"]),
            (r#"for="[2001:db8::1]:_port""#, &["2001:db8::1"]),
            ("proto=https;for=192.0.2.1 ; by=_x", &["192.0.2.1"]),
            ("proto=https", &["hidden"]),
            (r#"host="a,b;for=6.6.6.6";for="192\.0.2.1""#, &["192.0.2.1"]),
            (", ,", &[]),
            ("", &[]),
        ] {
            assert_eq!(told(header).unwrap(), expected, "{header}");
        }
    }

    #[test]
    fn what_is_written_wrongly_tells_nothing() {
        for header in [
            "192.0.2.1",
            "for=192.0.2.1 198.51.100.1",
            "for=192.0.2.1;for=198.51.100.1",
            r#"for="192.0.2.1"#,
            r#"for="192.0.2.1"x"#,
            r#"for=6.6.6.6;x=", for=192.0.2.1"#,
            r#"for=6.6.6.6;x=", for="[2001:db8::1]""#,
            r#"for=6.6.6.6;x="\", for="[2001:db8::1]";by="_y""#,
        ] {
            assert_eq!(told(header), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(header in r#"([ -~]|[",;=\\:\[\]])*"#) {
            let _ = clients(&header);
        }
    }
}
