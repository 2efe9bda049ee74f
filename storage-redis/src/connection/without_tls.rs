//! The certificates of a build without TLS: there are none, and a configuration that asks for TLS is an error.

use redis::{Client, IntoConnectionInfo, RedisResult};
use storage_core::config::{Problem, ProblemKind};

use crate::config::RedisConfig;

/// Nothing to trust.
#[derive(Clone)]
pub(super) struct Certificates;

impl Certificates {
    /// Fails if the configuration asks for TLS.
    pub(super) fn read(config: &RedisConfig) -> Result<Self, Problem> {
        if !config.tls {
            return Ok(Self);
        }
        let message = "is true, but this program was built without TLS; build it with the feature `tls-ring` or \
                       `tls-aws-lc`, or set `tls` to false";
        Err(Problem::new("tls", message).of_kind(ProblemKind::Unsupported))
    }

    /// A client.
    pub(super) fn client(&self, info: impl IntoConnectionInfo) -> RedisResult<Client> {
        Client::open(info)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_refused() {
        let config = RedisConfig { tls: true, ..RedisConfig::default() };
        let problem = Certificates::read(&config).err().unwrap().to_string();
        assert!(problem.starts_with("`tls`: is true, but this program was built without TLS"), "{problem}");
        assert!(Certificates::read(&RedisConfig::default()).is_ok());
    }
}
