//! Certificates, and the provider of cryptography that rustls needs.

use std::path::Path;

use redis::{Client, IntoConnectionInfo, RedisResult, TlsCertificates};
#[cfg(all(feature = "tls-aws-lc", not(feature = "tls-ring")))]
use rustls::crypto::aws_lc_rs as provider;
#[cfg(feature = "tls-ring")]
use rustls::crypto::ring as provider;
use storage_core::config::Problem;

use crate::config::RedisConfig;

/// The certificate authorities to trust, if they are not those of the system.
#[derive(Clone)]
pub(super) struct Certificates(Option<TlsCertificates>);

impl Certificates {
    /// Reads the files. Makes rustls ready if TLS is used.
    pub(super) fn read(config: &RedisConfig) -> Result<Self, Problem> {
        if !config.tls {
            return Ok(Self(None));
        }
        // Fails if the process has chosen one already, which will do as well.
        let _ = provider::default_provider().install_default();
        if config.ca_certs.is_empty() {
            return Ok(Self(None));
        }
        let mut pem = Vec::new();
        for file in &config.ca_certs {
            pem.extend(read(file)?);
            pem.push(b'\n');
        }
        Ok(Self(Some(TlsCertificates { client_tls: None, root_cert: Some(pem) })))
    }

    /// A client that trusts them.
    pub(super) fn client(&self, info: impl IntoConnectionInfo) -> RedisResult<Client> {
        match &self.0 {
            Some(certificates) => Client::build_with_tls(info, certificates.clone()),
            None => Client::open(info),
        }
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Problem> {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let problem = |message: String| Problem::new("ca_certs", message);
    let pem = std::fs::read(file).map_err(|error| problem(format!("{}: {error}", file.display())))?;
    if !pem.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return Err(problem(format!("{}: contains no certificate in PEM format", file.display())));
    }
    Ok(pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_named() {
        let config =
            RedisConfig { tls: true, ca_certs: vec!["/nonexistent/ca.pem".into()], ..RedisConfig::default() };
        let problem = Certificates::read(&config).err().unwrap().to_string();
        assert!(problem.starts_with("`ca_certs`: /nonexistent/ca.pem: No such file"), "{problem}");
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let config = RedisConfig { tls: true, ca_certs: vec![file.path().into()], ..RedisConfig::default() };
        assert!(
            Certificates::read(&config)
                .err()
                .unwrap()
                .message
                .ends_with("contains no certificate in PEM format")
        );
    }
}
