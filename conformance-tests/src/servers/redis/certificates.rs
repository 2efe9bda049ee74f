//! A certificate authority of the tests, and a certificate from it for servers on the loopback interface.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// Certificates and a key, as PEM.
pub(super) struct Certificates {
    /// The authority's certificate, for clients.
    pub(super) authority: String,
    /// The servers' certificate.
    pub(super) server: String,
    /// The servers' key.
    pub(super) key: String,
}

impl Certificates {
    pub(super) fn new() -> Result<Self, rcgen::Error> {
        let mut authority = named("tracker tests: authority", &[])?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate()?;
        let authority_certificate = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate()?;
        let server = named("tracker tests: server", &["127.0.0.1"])?.signed_by(&key, &issuer)?;
        Ok(Self { authority: authority_certificate.pem(), server: server.pem(), key: key.serialize_pem() })
    }
}

/// A certificate for these addresses. Each needs a name of its own: no client trusts one that names itself as
/// its issuer.
fn named(name: &str, addresses: &[&str]) -> Result<CertificateParams, rcgen::Error> {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(addresses)?;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}
