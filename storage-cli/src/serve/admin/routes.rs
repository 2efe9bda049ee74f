//! The paths of the admin address.

/// What a path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AdminRoute {
    Page,
    Metrics,
    Health,
    Stats,
    Swarms,
    Swarm,
    OpenApi,
}

/// Every path, as the OpenAPI description writes it; `/stats` is `/api/stats` for scripts that are older than the API.
pub(super) const ROUTES: &[(&str, AdminRoute)] = &[
    ("/", AdminRoute::Page),
    ("/metrics", AdminRoute::Metrics),
    ("/health", AdminRoute::Health),
    ("/stats", AdminRoute::Stats),
    ("/api/stats", AdminRoute::Stats),
    ("/api/swarms", AdminRoute::Swarms),
    ("/api/swarms/{info_hash}", AdminRoute::Swarm),
    ("/api/openapi.json", AdminRoute::OpenApi),
];

/// The route of a path, and what the path has in place of its parameter.
pub(super) fn find(path: &str) -> Option<(AdminRoute, &str)> {
    ROUTES.iter().find_map(|(template, route)| Some((*route, argument(template, path)?)))
}

/// Whether errors at this path are JSON.
pub(super) fn is_api(path: &str) -> bool {
    path == "/api" || path.starts_with("/api/")
}

/// The part of a path that a template leaves open, which is at its end; empty for a template that leaves nothing open.
fn argument<'a>(template: &str, path: &'a str) -> Option<&'a str> {
    match template.split_once('{') {
        Some((prefix, _)) => path.strip_prefix(prefix).filter(|rest| !rest.is_empty() && !rest.contains('/')),
        None => (template == path).then_some(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_served_as_it_is_written_and_no_other_way() {
        assert_eq!(find("/"), Some((AdminRoute::Page, "")));
        assert_eq!(find("/stats"), Some((AdminRoute::Stats, "")));
        assert_eq!(find("/api/swarms"), Some((AdminRoute::Swarms, "")));
        assert_eq!(find("/api/swarms/00ff"), Some((AdminRoute::Swarm, "00ff")));
        for path in
            ["", "/api", "/api/", "/api/swarms/", "/api/swarms/00ff/", "/api/swarms/00ff/peers", "/Stats"]
        {
            assert_eq!(find(path), None, "{path}");
        }
    }

    #[test]
    fn the_description_has_every_route_and_no_other() {
        let description: serde_json::Value = serde_json::from_str(super::super::api::OPENAPI).unwrap();
        let mut described: Vec<_> = description["paths"].as_object().unwrap().keys().cloned().collect();
        let mut routes: Vec<_> = ROUTES.iter().map(|(template, _)| (*template).to_owned()).collect();
        described.sort_unstable();
        routes.sort_unstable();
        assert_eq!(described, routes);
    }
}
