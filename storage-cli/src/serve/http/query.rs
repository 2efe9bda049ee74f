//! Query strings as clients write them: names and values that are bytes, percent-encoded (RFC 3986).

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// The parameters of a query string, in their order, still encoded.
pub(crate) fn parameters(query: &[u8]) -> impl Iterator<Item = (Cow<'_, [u8]>, Encoded<'_>)> {
    query.split(|byte| *byte == b'&').filter(|part| !part.is_empty()).map(|part| {
        let end_of_name = part.iter().position(|byte| *byte == b'=');
        let (name, value) = part.split_at(end_of_name.unwrap_or(part.len()));
        // An invalid name matches no parameter.
        let name = Encoded(name).decode().unwrap_or(Cow::Borrowed(name));
        (name, Encoded(value.get(1..).unwrap_or_default()))
    })
}

/// A value, still encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Encoded<'a>(&'a [u8]);

/// A `%` that no two hexadecimal digits follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidEscape;

impl<'a> Encoded<'a> {
    /// The bytes. A `+` is a space, as forms write it: a client that means a plus writes `%2B`.
    pub(crate) fn decode(self) -> Result<Cow<'a, [u8]>, InvalidEscape> {
        if !self.0.contains(&b'%') && !self.0.contains(&b'+') {
            return Ok(Cow::Borrowed(self.0));
        }
        let is_escape = |after: &[u8]| after.len() >= 2 && after[..2].iter().all(u8::is_ascii_hexdigit);
        if !self.0.split(|byte| *byte == b'%').skip(1).all(is_escape) {
            return Err(InvalidEscape);
        }
        let with_spaces = |byte: &u8| if *byte == b'+' { b' ' } else { *byte };
        let unescaped: Vec<u8> = self.0.iter().map(with_spaces).collect();
        Ok(Cow::Owned(percent_decode(&unescaped).collect()))
    }

    /// The text, if it is valid UTF-8.
    pub(crate) fn text(self) -> Option<String> {
        String::from_utf8(self.decode().ok()?.into_owned()).ok()
    }

    /// The parsed text, if it is valid.
    pub(crate) fn parse<T: std::str::FromStr>(self) -> Option<T> {
        self.text()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
    use proptest::prelude::*;

    type Decoded = (Vec<u8>, Result<Vec<u8>, InvalidEscape>);

    fn all(query: &[u8]) -> Vec<Decoded> {
        let decoded = |(name, value): (Cow<'_, [u8]>, Encoded<'_>)| {
            (name.into_owned(), value.decode().map(Cow::into_owned))
        };
        parameters(query).map(decoded).collect()
    }

    fn pair(name: &str, value: &str) -> Decoded {
        (name.into(), Ok(value.into()))
    }

    #[test]
    fn parameters_are_found_whatever_lies_between_them() {
        assert_eq!(all(b""), []);
        assert_eq!(all(b"&&"), []);
        let found = all(b"a=1&&b&c=&=d&e=f=g&");
        assert_eq!(found, [pair("a", "1"), pair("b", ""), pair("c", ""), pair("", "d"), pair("e", "f=g")]);
        assert_eq!(all(b"info%5Fhash=%41+%2b"), [pair("info_hash", "A +")]);
    }

    #[test]
    fn an_invalid_escape_is_an_error_of_its_value_alone() {
        for wrong in ["%", "%4", "%zz", "a%", "%%41", "%4g", "%+1"] {
            let found = all(format!("a={wrong}&b=2").as_bytes());
            assert_eq!(found, [(b"a".to_vec(), Err(InvalidEscape)), pair("b", "2")], "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(query: Vec<u8>) {
            for (name, value) in parameters(&query) {
                prop_assert!(name.len() <= query.len());
                prop_assert!(value.decode().is_err() || value.decode().unwrap().len() <= query.len());
            }
        }

        #[test]
        fn encoded_bytes_are_read_back(value: Vec<u8>) {
            let query = format!("x={}", percent_encode(&value, NON_ALPHANUMERIC));
            prop_assert_eq!(all(query.as_bytes()), [(b"x".to_vec(), Ok(value))]);
        }
    }
}
