//! A connection with TLS, in a process where this crate alone has to do with it: nobody else has chosen the
//! provider of cryptography that rustls needs.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use storage_core::{Backend, OpenError};
use storage_redis::{RedisConfig, RedisStorage};

const PATIENCE: Duration = Duration::from_secs(20);

/// A server that ends with its test.
struct TlsServer(Child);

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server that talks TLS only; `None` without a program for it.
fn start(directory: &Path, port: u16) -> Option<TlsServer> {
    let start = |program: &str| {
        let port = port.to_string();
        let settings = ["--port", "0", "--bind", "127.0.0.1", "--tls-port", &port, "--save", ""];
        let tls =
            ["--tls-cert-file", "server.pem", "--tls-key-file", "server.key", "--tls-auth-clients", "no"];
        let mut command = Command::new(program);
        command.current_dir(directory).args(settings).args(tls).args(["--tls-ca-cert-file", "ca.pem"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
    };
    let server = TlsServer(["redis-server", "valkey-server"].into_iter().find_map(start)?);
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < PATIENCE, "the server does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    Some(server)
}

/// An authority and a certificate from it for 127.0.0.1.
fn write_certificates(directory: &Path) {
    let mut authority = CertificateParams::new([]).unwrap();
    authority.distinguished_name.push(rcgen::DnType::CommonName, "tracker tests: authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let certificate = authority.self_signed(&authority_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut server = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    server.distinguished_name.push(rcgen::DnType::CommonName, "tracker tests: server");
    let server = server.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
    for (name, content) in
        [("ca.pem", certificate.pem()), ("server.pem", server.pem()), ("server.key", key.serialize_pem())]
    {
        std::fs::write(directory.join(name), content).unwrap();
    }
}

fn config(port: u16) -> RedisConfig {
    RedisConfig {
        addresses: vec![format!("127.0.0.1:{port}")],
        tls: true,
        startup_timeout: PATIENCE,
        ..RedisConfig::default()
    }
}

#[tokio::test]
async fn this_crate_alone_talks_tls() {
    let directory = tempfile::tempdir().unwrap();
    write_certificates(directory.path());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let Some(_server) = start(directory.path(), port) else {
        let required = std::env::var("TRACKER_STORAGE_TEST_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|name| name.trim() == "redis"), "there is no Redis program");
        eprintln!("not tested: there is no Redis program");
        return;
    };

    let trusting = RedisConfig { ca_certs: vec![directory.path().join("ca.pem")], ..config(port) };
    let storage = RedisStorage::open(trusting).await.unwrap();
    storage.ping().await.unwrap();
    storage.close().await.unwrap();

    // Nobody but the test knows its authority.
    let wary = RedisConfig { startup_timeout: Duration::from_secs(1), ..config(port) };
    let refused = RedisStorage::open(wary).await.err();
    assert!(matches!(refused, Some(OpenError::Storage(_))), "{refused:?}");
}
