//! The images: their names, and where they come from.

use std::fmt;

use testcontainers::GenericImage;
use testcontainers::bollard::Docker;
use testcontainers::runners::AsyncRunner;

use crate::runtime::block_on;
use crate::servers::{Found, Missing};

/// An image of a server.
#[derive(Debug)]
pub struct Image {
    /// What is tested on it: `pg/postgres-15`. Empty for a server that several storages share.
    pub storage: &'static str,
    /// The environment variable that names another image.
    variable: &'static str,
    /// What `scripts/build-test-images` makes; taken where it is there.
    own: Option<&'static str>,
    /// What a registry has.
    official: &'static str,
}

/// What tests on PostgreSQL use unless they are about a version.
pub(crate) const POSTGRES: Image = Image {
    storage: "",
    variable: "TRACKER_STORAGE_TEST_IMAGE_POSTGRES",
    own: Some("localhost/tracker-storage-test/postgres:17"),
    official: "postgres:17",
};

/// The oldest and the newest PostgreSQL that its makers support.
pub const FURTHER_POSTGRES: [Image; 2] = [
    Image {
        storage: "pg/postgres-15",
        variable: "TRACKER_STORAGE_TEST_IMAGE_POSTGRES_15",
        own: Some("localhost/tracker-storage-test/postgres:15"),
        official: "postgres:15",
    },
    Image {
        storage: "pg/postgres-19",
        variable: "TRACKER_STORAGE_TEST_IMAGE_POSTGRES_19",
        own: None,
        official: "postgres:19",
    },
];

/// CockroachDB, a single node.
pub(crate) const COCKROACH: Image = Image {
    storage: "",
    variable: "TRACKER_STORAGE_TEST_IMAGE_COCKROACH",
    own: None,
    official: "cockroachdb/cockroach:latest-v25.4",
};

/// What tests on Redis use unless they are about a version.
pub(crate) const REDIS: Image = Image {
    storage: "",
    variable: "TRACKER_STORAGE_TEST_IMAGE_REDIS",
    own: Some("localhost/tracker-storage-test/redis:7"),
    official: "redis:7",
};

/// Redis of the next major version, and Valkey.
pub const FURTHER_REDIS: [Image; 2] = [
    Image {
        storage: "redis/redis-8",
        variable: "TRACKER_STORAGE_TEST_IMAGE_REDIS_8",
        own: Some("localhost/tracker-storage-test/redis:8"),
        official: "redis:8",
    },
    Image {
        storage: "redis/valkey-8",
        variable: "TRACKER_STORAGE_TEST_IMAGE_VALKEY_8",
        own: Some("localhost/tracker-storage-test/valkey:8"),
        official: "valkey/valkey:8",
    },
];

impl Image {
    /// The image to use: the one that the environment names, else our own where it is there, else the
    /// official one, which is pulled unless it is there. Blocks the thread.
    ///
    /// # Errors
    /// [`Missing::Absent`] if Docker does not answer, or the image can't be pulled.
    pub fn obtain(&self) -> Found<Reference> {
        block_on(self.find())
    }

    async fn find(&self) -> Found<Reference> {
        let no_docker = |error| Missing::Absent(format!("Docker does not answer: {error}"));
        let docker = Docker::connect_with_defaults().map_err(no_docker)?;
        docker.ping().await.map_err(no_docker)?;

        let named = std::env::var(self.variable).ok();
        let candidates = match &named {
            Some(named) => vec![named.as_str()],
            None => self.own.into_iter().chain([self.official]).collect(),
        };
        for candidate in &candidates {
            if docker.inspect_image(candidate).await.is_ok() {
                return Ok(Reference::parse(candidate));
            }
        }
        let reference = Reference::parse(candidates[candidates.len() - 1]);
        match reference.to_image().pull_image().await {
            Ok(_) => Ok(reference),
            Err(error) => Err(Missing::Absent(error.to_string())),
        }
    }
}

/// The name and the tag of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    name: String,
    tag: String,
}

impl Reference {
    fn parse(text: &str) -> Self {
        // A colon before a slash belongs to the port of a registry.
        let (name, tag) = match text.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (text, "latest"),
        };
        Self { name: name.to_owned(), tag: tag.to_owned() }
    }

    pub(super) fn to_image(&self) -> GenericImage {
        GenericImage::new(self.name.as_str(), self.tag.as_str())
    }

    /// Whether the server is Valkey and not Redis, as far as the name says.
    pub(super) fn is_valkey(&self) -> bool {
        self.name.contains("valkey")
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, String) {
        let Reference { name, tag } = Reference::parse(text);
        (name, tag)
    }

    #[test]
    fn a_reference_without_a_tag_means_the_latest() {
        assert_eq!(parsed("postgres"), ("postgres".into(), "latest".into()));
        assert_eq!(parsed("valkey/valkey:8"), ("valkey/valkey".into(), "8".into()));
    }

    #[test]
    fn the_port_of_a_registry_is_no_tag() {
        assert_eq!(parsed("localhost:5000/postgres"), ("localhost:5000/postgres".into(), "latest".into()));
        assert_eq!(parsed("localhost:5000/postgres:17"), ("localhost:5000/postgres".into(), "17".into()));
    }

    #[test]
    fn a_digest_stays_whole() {
        assert_eq!(Reference::parse("postgres@sha256:0123").to_string(), "postgres@sha256:0123");
    }
}
