//! The paths at which announces and scrapes are served.

use std::fmt;

/// Where announces and scrapes are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Routes {
    pub(crate) announce: Vec<Route>,
    pub(crate) scrape: Vec<Route>,
}

/// A path. A segment with a colon at its beginning is a wildcard with a name, such as a passkey, whose text is
/// ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route(Vec<String>);

/// What a path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RouteTarget {
    Announce,
    Scrape,
    Health,
}

impl Default for Routes {
    fn default() -> Self {
        Self::new(vec![Route::new("/announce")], None)
    }
}

impl Routes {
    /// Scrapes are by default at the paths that clients derive from those of announces (BEP 48).
    pub(crate) fn new(announce: Vec<Route>, scrape: Option<Vec<Route>>) -> Self {
        let scrape = scrape.unwrap_or_else(|| announce.iter().filter_map(Route::scrape).collect());
        Self { announce, scrape }
    }

    pub(super) fn target(&self, path: &str) -> Option<RouteTarget> {
        let is_among = |routes: &[Route]| routes.iter().any(|route| route.matches(path));
        match path {
            "/health" => Some(RouteTarget::Health),
            _ if is_among(&self.announce) => Some(RouteTarget::Announce),
            _ if is_among(&self.scrape) => Some(RouteTarget::Scrape),
            _ => None,
        }
    }
}

impl Route {
    /// A path as routers write it: `/announce.php`, `/:passkey/announce`, `/announce/{key}`.
    pub(crate) fn new(text: &str) -> Self {
        let segment = |text: &str| match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) => format!(":{name}"),
            None => text.to_owned(),
        };
        Self(segments(text).map(segment).collect())
    }

    fn matches(&self, path: &str) -> bool {
        let mut segments = segments(path);
        let mut is_next = |expected: &String| {
            segments.next().is_some_and(|found| expected.starts_with(':') || expected == found)
        };
        self.0.iter().all(&mut is_next) && segments.next().is_none()
    }

    /// `announce` at the beginning of the last segment that is no wildcard is replaced, `/announce/{key}` included.
    fn scrape(&self) -> Option<Self> {
        let mut segments = self.0.clone();
        let last = segments.iter_mut().rev().find(|segment| !segment.starts_with(':'))?;
        *last = format!("scrape{}", last.strip_prefix("announce")?);
        Some(Self(segments))
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0.join("/"))
    }
}

/// Slashes that are doubled or at the end make no difference: torrents have them.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(announce: &[&str], path: &str) -> Option<RouteTarget> {
        Routes::new(announce.iter().map(|route| Route::new(route)).collect(), None).target(path)
    }

    #[test]
    fn announces_and_scrapes_are_served_with_and_without_a_slash_at_the_end() {
        for (path, expected) in [
            ("/announce", Some(RouteTarget::Announce)),
            ("/announce/", Some(RouteTarget::Announce)),
            ("//announce", Some(RouteTarget::Announce)),
            ("/scrape", Some(RouteTarget::Scrape)),
            ("/scrape/", Some(RouteTarget::Scrape)),
            ("/health", Some(RouteTarget::Health)),
            ("/announce.php", None),
            ("/0123456789abcdef/announce", None),
            ("/announce/0123456789abcdef", None),
            ("/Announce", None),
            ("/", None),
        ] {
            assert_eq!(Routes::default().target(path), expected, "{path}");
        }
    }

    #[test]
    fn further_routes_are_served_where_they_are_configured_and_scrapes_beside_them() {
        let routes = ["announce.php", "/:passkey/announce", "/announce/{key}/"];
        for (path, expected) in [
            ("/announce.php", Some(RouteTarget::Announce)),
            ("/scrape.php", Some(RouteTarget::Scrape)),
            ("/0123456789abcdef/announce", Some(RouteTarget::Announce)),
            ("/0123456789abcdef/announce/", Some(RouteTarget::Announce)),
            ("/0123456789abcdef/scrape", Some(RouteTarget::Scrape)),
            ("/announce/0123456789abcdef", Some(RouteTarget::Announce)),
            ("/scrape/0123456789abcdef", Some(RouteTarget::Scrape)),
            ("/announce", None),
            ("/a/b/announce", None),
            ("/health", Some(RouteTarget::Health)),
        ] {
            assert_eq!(target(&routes, path), expected, "{path}");
        }
        assert_eq!(target(&["/"], "/"), Some(RouteTarget::Announce));
        assert_eq!(target(&["/tracker"], "/scrape"), None, "clients derive no scrape from it");
    }

    #[test]
    fn a_route_is_shown_as_it_is_written() {
        let routes = ["/announce", "/:passkey/announce.php", "/"];
        assert_eq!(routes.map(|route| Route::new(route).to_string()), routes);
    }
}
