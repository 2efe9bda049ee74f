//! The address of a client: that of its connection, or the one in the header of a trusted proxy.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::{FORWARDED, HeaderName};
use ipnet::IpNet;

use super::forwarded;
use super::request::Malformed;

/// Where the address of a client is found.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct AddressRules {
    /// The header with the client's address: a list of addresses, or `Forwarded`.
    pub(crate) real_ip_header: Option<HeaderName>,
    /// The proxies whose header is trusted.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Whether a client may announce other addresses than its own.
    pub(crate) allow_ip_spoofing: bool,
}

impl AddressRules {
    /// The address that a request comes from. The header counts only if a trusted proxy sent it. Of several
    /// addresses in it the last one that is not a trusted proxy's counts: the client may have written
    /// those before it.
    pub(super) fn client(&self, connection: IpAddr, headers: &HeaderMap) -> Result<IpAddr, Malformed> {
        let connection = connection.to_canonical();
        let Some(name) = &self.real_ip_header else { return Ok(connection) };
        if !self.trusts(connection) {
            return Ok(connection);
        }
        let mut client = connection;
        for value in headers.get_all(name).iter().rev() {
            let told =
                value.to_str().ok().and_then(|text| addresses(name, text)).ok_or(Malformed::Address)?;
            for named in told.into_iter().rev() {
                client = named.ok_or(Malformed::Address)?;
                if !self.trusts(client) {
                    return Ok(client);
                }
            }
        }
        Ok(client)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&address))
    }
}

/// The addresses in a header, in their order; `None` for an element without one.
fn addresses(header: &HeaderName, text: &str) -> Option<Vec<Option<IpAddr>>> {
    if header == FORWARDED {
        return forwarded::clients(text);
    }
    Some(text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(address).collect())
}

/// Parses an address: bare, in brackets, or with a port (BEP 7).
pub(super) fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn rules() -> AddressRules {
        AddressRules {
            real_ip_header: Some(HeaderName::from_static("x-forwarded-for")),
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
            allow_ip_spoofing: false,
        }
    }

    fn client(rules: &AddressRules, connection: &str, named: &[&str]) -> Result<String, Malformed> {
        let mut headers = HeaderMap::new();
        for value in named {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        rules.client(connection.parse().unwrap(), &headers).map(|address| address.to_string())
    }

    #[test]
    fn headers_of_untrusted_connections_are_ignored() {
        assert_eq!(client(&rules(), "192.0.2.9", &["198.51.100.1"]).unwrap(), "192.0.2.9");
        assert_eq!(client(&AddressRules::default(), PROXY, &["198.51.100.1"]).unwrap(), PROXY);
    }

    #[test]
    fn a_trusted_proxy_names_the_client() {
        assert_eq!(client(&rules(), PROXY, &["198.51.100.1"]).unwrap(), "198.51.100.1");
        assert_eq!(client(&rules(), "::ffff:10.0.0.1", &["[2001:db9::1]:80"]).unwrap(), "2001:db9::1");
        assert_eq!(client(&rules(), "2001:db8::5", &["::ffff:198.51.100.1"]).unwrap(), "198.51.100.1");
    }

    #[test]
    fn forwarded_names_the_client_and_elements_before_a_hidden_one_are_ignored() {
        let rules = AddressRules { real_ip_header: Some(FORWARDED), ..rules() };
        let client = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(FORWARDED, value.parse().unwrap());
            }
            rules.client(PROXY.parse().unwrap(), &headers).map(|address| address.to_string())
        };
        for (values, expected) in [
            (&[r#"for=1.1.1.1, for="198.51.100.1:80";proto=http, For=10.0.0.2"#] as &[_], Ok("198.51.100.1")),
            (&["for=1.1.1.1", r#"for="[2001:db9::1]:4711";by=_proxy"#], Ok("2001:db9::1")),
            (&[r#"for="unclosed"#, "for=198.51.100.1"], Ok("198.51.100.1")),
            (&["for=1.1.1.1, for=_hidden"], Err(Malformed::Address)),
            (&["for=1.1.1.1, for=unknown, for=10.0.0.2"], Err(Malformed::Address)),
            (&["for=1.1.1.1, proto=https"], Err(Malformed::Address)),
            (&[r#"for="1.1.1.1, for=198.51.100.1"#], Err(Malformed::Address)),
            (&[], Ok(PROXY)),
        ] {
            assert_eq!(client(values).as_deref().map_err(|error| *error), expected, "{values:?}");
        }
    }

    #[test]
    fn addresses_written_by_the_client_are_ignored() {
        assert_eq!(client(&rules(), PROXY, &["1.1.1.1, 198.51.100.1, 10.0.0.2"]).unwrap(), "198.51.100.1");
        assert_eq!(client(&rules(), PROXY, &["1.1.1.1", "198.51.100.1"]).unwrap(), "198.51.100.1");
        assert_eq!(client(&rules(), PROXY, &["nonsense, 198.51.100.1"]).unwrap(), "198.51.100.1");
    }

    #[test]
    fn a_proxy_that_names_nobody_is_the_client_and_one_that_names_nonsense_has_none() {
        assert_eq!(client(&rules(), PROXY, &[]).unwrap(), PROXY);
        assert_eq!(client(&rules(), PROXY, &["unknown"]), Err(Malformed::Address));
    }

    #[test]
    fn addresses_are_written_in_several_ways() {
        for (text, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:6881", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:6881", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(address(text).unwrap().to_string(), expected);
        }
        for text in ["", "example.org", "192.0.2", "[", "[]", "192.0.2.1:99999"] {
            assert_eq!(address(text), None, "{text}");
        }
    }
}
