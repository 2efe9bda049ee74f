//! Settings as sqlx takes them. It fills options from the environment by itself, so everything is
//! set, that our reading alone decides.

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::host::Host;
use super::settings::ConnectionSettings;
use super::tls::TlsMode;

/// The options for one host, but for the mode of encryption.
pub(super) fn connect_options(settings: &ConnectionSettings, host: &Host) -> PgConnectOptions {
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(host.target())
        .port(host.port())
        .username(&settings.user)
        .password(host.password().map_or("", |password| password.expose()))
        .database(&settings.database)
        .application_name(&settings.application_name)
        // Layers tell of calls; sqlx would log the text of every slow statement.
        .disable_statement_logging();
    options = match &settings.tls.root_certificates {
        Some(file) => options.ssl_root_cert(file),
        None => options.ssl_root_cert_from_pem(Vec::new()),
    };
    if let Some(client) = &settings.tls.client {
        options = options.ssl_client_cert(&client.certificate).ssl_client_key(&client.key);
    }
    if !settings.session.settings.is_empty() {
        options = options.options(settings.session.settings.iter().map(|(name, value)| (name, value)));
    }
    if settings.pooler_mode {
        options = options.extra_float_digits(None).statement_cache_capacity(0);
    }
    options
}

/// The modes of encryption to try on a host, one after the other. sqlx does not try again by itself.
pub(super) fn modes(mode: TlsMode, host: &Host) -> &'static [PgSslMode] {
    if host.is_socket() {
        return &[PgSslMode::Disable];
    }
    match mode {
        TlsMode::Disable => &[PgSslMode::Disable],
        TlsMode::Allow => &[PgSslMode::Disable, PgSslMode::Require],
        TlsMode::Prefer => &[PgSslMode::Prefer, PgSslMode::Disable],
        TlsMode::Require => &[PgSslMode::Require],
        TlsMode::VerifyAuthority => &[PgSslMode::VerifyCa],
        TlsMode::VerifyFull => &[PgSslMode::VerifyFull],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> PgConnectOptions {
        let settings = ConnectionSettings::parse(text, &|_| None).unwrap();
        connect_options(&settings, &settings.hosts[0])
    }

    #[test]
    fn our_reading_decides() {
        let options = options("postgres://me@db1:5433/tracker?search_path=a,%20b&geqo=off");
        assert_eq!((options.get_host(), options.get_port()), ("db1", 5433));
        assert_eq!((options.get_username(), options.get_database()), ("me", Some("tracker")));
        assert_eq!(options.get_application_name(), Some("tracker-storage"));
        assert_eq!(options.get_options(), Some(r"-c geqo=off -c search_path=a,\ b"));
    }

    #[test]
    fn a_pooler_gets_no_parameter_it_may_refuse() {
        assert_eq!(options("host=db1 user=me default_query_exec_mode=exec").get_options(), None);
    }

    #[test]
    fn a_socket_is_never_encrypted() {
        let settings = ConnectionSettings::parse("host=/tmp,db1 user=me sslmode=require", &|_| None).unwrap();
        let modes: Vec<_> = settings.hosts.iter().map(|host| modes(settings.tls.mode, host)).collect();
        assert!(matches!(modes[..], [[PgSslMode::Disable], [PgSslMode::Require]]));
    }
}
