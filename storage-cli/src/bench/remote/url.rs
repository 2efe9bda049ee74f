//! Announce URLs.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use hyper::Uri;
use tokio::net::lookup_host;

use crate::error_code::ErrorCode;
use crate::exit_code::CommandError;
use crate::serve::TrackerProtocol;

/// The announce URL of a tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AnnounceUrl {
    pub(super) protocol: TrackerProtocol,
    pub(super) host: String,
    /// Path and query, of HTTP.
    path: String,
}

/// An announce URL with its resolved address.
#[derive(Debug)]
pub(super) struct TrackerUrl {
    pub(super) address: SocketAddr,
    pub(super) url: AnnounceUrl,
}

impl FromStr for AnnounceUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected a URL such as http://127.0.0.1:6969/announce or udp://127.0.0.1:6969";
        let url: Uri = text.parse().map_err(|_| expected.to_owned())?;
        let (protocol, usual_port) = match url.scheme_str() {
            Some("http") => (TrackerProtocol::Http, Some(80)),
            Some("udp") => (TrackerProtocol::Udp, None),
            _ => return Err(expected.to_owned()),
        };
        let (Some(host), Some(port)) = (url.host(), url.port_u16().or(usual_port)) else {
            return Err(expected.to_owned());
        };
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let path = if path == "/" { "/announce" } else { path };
        Ok(Self { protocol, host: format!("{host}:{port}"), path: path.to_owned() })
    }
}

impl fmt::Display for AnnounceUrl {
    /// Without the path, which may hold a passkey.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.protocol.name(), self.host)
    }
}

impl AnnounceUrl {
    /// Finds the tracker's address.
    pub(super) async fn resolve(&self) -> Result<TrackerUrl, CommandError> {
        let found = lookup_host(&self.host).await;
        let failed = |reason: String| {
            let message = format!("{self}: cannot resolve the host: {reason}");
            CommandError::finding(ErrorCode::TrackerFailed, message)
        };
        let mut found = found.map_err(|error| failed(error.to_string()))?;
        let address = found.next().ok_or_else(|| failed("it has no address".to_owned()))?;
        Ok(TrackerUrl { address, url: self.clone() })
    }

    /// Path and query, ready for further parameters.
    pub(super) fn path_for_more(&self) -> String {
        format!("{}{}", self.path, if self.path.contains('?') { '&' } else { '?' })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_http_and_udp_are_understood() {
        let of = |text: &str| {
            let url: AnnounceUrl = text.parse().unwrap();
            (url.to_string(), url.path_for_more())
        };
        let is = |url: &str, path: &str| (url.to_owned(), path.to_owned());
        assert_eq!(of("http://tracker.example"), is("http://tracker.example:80", "/announce?"));
        assert_eq!(of("http://[::1]:6969/secret/announce"), is("http://[::1]:6969", "/secret/announce?"));
        assert_eq!(of("http://a:1/announce?key=1"), is("http://a:1", "/announce?key=1&"));
        assert_eq!(of("udp://127.0.0.1:6969"), is("udp://127.0.0.1:6969", "/announce?"));
    }

    #[test]
    fn other_urls_are_refused() {
        for text in ["", "127.0.0.1:6969", "https://a/announce", "udp://127.0.0.1/announce", "http:///x"] {
            assert!(text.parse::<AnnounceUrl>().is_err(), "{text}");
        }
    }
}
