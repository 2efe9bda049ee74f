//! Certificates, and the provider of cryptography that rustls needs.

use std::path::Path;

use redis::TlsCertificates;
use storage_core::config::Problem;

use crate::config::RedisConfig;

/// The certificates to trust, if they are not those of the system. Makes rustls ready if TLS is used.
pub(super) fn certificates(config: &RedisConfig) -> Result<Option<TlsCertificates>, Problem> {
    if !config.tls {
        return Ok(None);
    }
    // Fails if the process has chosen one already, which will do as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if config.ca_certs.is_empty() {
        return Ok(None);
    }
    let mut pem = Vec::new();
    for file in &config.ca_certs {
        pem.extend(read(file)?);
        pem.push(b'\n');
    }
    Ok(Some(TlsCertificates { client_tls: None, root_cert: Some(pem) }))
}

fn read(file: &Path) -> Result<Vec<u8>, Problem> {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let problem = |message: String| Problem { key: "ca_certs".into(), message };
    let pem = std::fs::read(file).map_err(|error| problem(format!("{}: {error}", file.display())))?;
    if !pem.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return Err(problem(format!("{}: has no certificate in PEM form", file.display())));
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
        let problem = certificates(&config).unwrap_err().to_string();
        assert!(problem.starts_with("`ca_certs`: /nonexistent/ca.pem: No such file"), "{problem}");
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let config = RedisConfig { tls: true, ca_certs: vec![file.path().into()], ..RedisConfig::default() };
        assert!(certificates(&config).unwrap_err().message.ends_with("has no certificate in PEM form"));
    }
}
