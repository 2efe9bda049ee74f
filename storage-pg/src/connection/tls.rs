//! Encryption: `sslmode`, `sslrootcert`, `sslcert`, `sslkey`.

use std::path::PathBuf;

use super::parameters::{Parameters, Variable, in_home};

/// How a connection is encrypted, and who vouches for the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    /// How far encryption is wanted.
    pub(crate) mode: TlsMode,
    /// The certificate authorities that vouch for the server, beside those of the system.
    pub(crate) root_certificates: Option<PathBuf>,
    /// Our own certificate and its key.
    pub(crate) client: Option<ClientCertificate>,
}

/// A certificate that we show to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsMode {
    /// Never encrypted.
    Disable,
    /// Encrypted if the server refuses otherwise.
    Allow,
    /// Encrypted if the server can.
    Prefer,
    /// Always encrypted; whoever answers is trusted.
    Require,
    /// The server's certificate must be signed by a known authority.
    VerifyAuthority,
    /// It must bear the server's name besides.
    VerifyFull,
}

/// Whether this program was built with TLS.
const HAS_TLS: bool = cfg!(any(feature = "tls-ring", feature = "tls-aws-lc"));

const WITHOUT_TLS: &str = "`sslmode`: asks for TLS, but this program was built without it; build it with the feature \
                           `tls-ring` or `tls-aws-lc`, or set `sslmode` to disable";

const MODES: &[(&str, TlsMode)] = &[
    ("disable", TlsMode::Disable),
    ("allow", TlsMode::Allow),
    ("prefer", TlsMode::Prefer),
    ("require", TlsMode::Require),
    ("verify-ca", TlsMode::VerifyAuthority),
    ("verify-full", TlsMode::VerifyFull),
];

/// Takes the settings out.
pub(super) fn take_tls(parameters: &mut Parameters, variable: Variable<'_>) -> TlsSettings {
    let mode = parameters.choice("sslmode", MODES);
    if mode == Some(TlsMode::Disable) {
        for key in ["sslrootcert", "sslcert", "sslkey"] {
            parameters.take(key);
        }
        return TlsSettings { mode: TlsMode::Disable, root_certificates: None, client: None };
    }
    let (mode, root_certificates) = take_root_certificates(parameters, mode, variable);
    let mode = if binds_channel(parameters) { verified(mode) } else { mode };
    if !HAS_TLS && matches!(mode, TlsMode::Require | TlsMode::VerifyAuthority | TlsMode::VerifyFull) {
        parameters.problems.push(WITHOUT_TLS.into());
    }
    TlsSettings { mode, root_certificates, client: take_client(parameters, variable) }
}

/// Whether channel binding is required. It makes sure that nobody stands between us and the server, which the
/// library can't do; a certificate that is verified does as well.
fn binds_channel(parameters: &mut Parameters) -> bool {
    let Some(given) = parameters.take("channel_binding") else { return false };
    let is_required = given.value.eq_ignore_ascii_case("require");
    if is_required {
        parameters.warnings.push(format!(
            "{}: channel binding is not supported; the server's certificate is verified instead, as by `sslmode` \
             verify-full",
            given.place
        ));
    } else {
        parameters.put_back("channel_binding", given);
    }
    is_required
}

/// The mode that verifies the server's certificate.
fn verified(mode: TlsMode) -> TlsMode {
    match mode {
        TlsMode::VerifyAuthority => TlsMode::VerifyAuthority,
        _ => TlsMode::VerifyFull,
    }
}

fn take_root_certificates(
    parameters: &mut Parameters,
    mode: Option<TlsMode>,
    variable: Variable<'_>,
) -> (TlsMode, Option<PathBuf>) {
    if let Some(given) = parameters.take("sslrootcert") {
        if given.value == "system" {
            if mode.is_some_and(|mode| mode != TlsMode::VerifyFull) {
                let place = given.place;
                parameters.problems.push(format!("{place}: `system` requires `sslmode` verify-full"));
            }
            return (TlsMode::VerifyFull, None);
        }
        parameters.put_back("sslrootcert", given);
    }
    let file = parameters.file("sslrootcert").or_else(|| existing(".postgresql/root.crt", variable));
    let mode = match mode.unwrap_or(TlsMode::Prefer) {
        // As libpq and pgx have it: who names an authority wants it asked.
        TlsMode::Require if file.is_some() => TlsMode::VerifyAuthority,
        mode => mode,
    };
    (mode, file)
}

fn take_client(parameters: &mut Parameters, variable: Variable<'_>) -> Option<ClientCertificate> {
    let certificate = parameters.file("sslcert");
    let key = parameters.file("sslkey");
    let (certificate, key) = match (certificate, key) {
        (None, None) => (
            existing(".postgresql/postgresql.crt", variable)?,
            existing(".postgresql/postgresql.key", variable)?,
        ),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => {
            parameters.problems.push("`sslkey`: is missing, and `sslcert` is given".into());
            return None;
        }
        (None, Some(_)) => {
            parameters.problems.push("`sslcert`: is missing, and `sslkey` is given".into());
            return None;
        }
    };
    Some(ClientCertificate { certificate, key })
}

fn existing(name: &str, variable: Variable<'_>) -> Option<PathBuf> {
    in_home(name, variable).filter(|file| file.exists())
}

#[cfg(all(test, not(any(feature = "tls-ring", feature = "tls-aws-lc"))))]
mod without_tls {
    use super::*;

    #[test]
    fn tls_is_refused() {
        for mode in ["require", "verify-ca", "verify-full"] {
            let mut parameters = Parameters::gather(&format!("sslmode={mode}"), &|_| None);
            take_tls(&mut parameters, &|_| None);
            assert_eq!(parameters.problems, [WITHOUT_TLS]);
        }
    }
}

#[cfg(all(test, any(feature = "tls-ring", feature = "tls-aws-lc")))]
mod tests {
    use super::*;

    fn take(text: &str) -> Result<TlsSettings, Vec<String>> {
        let mut parameters = Parameters::gather(text, &|_| None);
        let settings = take_tls(&mut parameters, &|_| None);
        if parameters.problems.is_empty() { Ok(settings) } else { Err(parameters.problems) }
    }

    #[test]
    fn an_authority_that_is_named_is_asked() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display();
        let settings = take(&format!("sslmode=require sslrootcert={path}")).unwrap();
        assert_eq!(settings.mode, TlsMode::VerifyAuthority);
        assert_eq!(take("sslmode=require").unwrap().mode, TlsMode::Require);
        assert_eq!(take("").unwrap().mode, TlsMode::Prefer);
        assert_eq!(take("sslrootcert=system").unwrap().mode, TlsMode::VerifyFull);
        assert!(take("sslrootcert=system sslmode=require").is_err());
    }

    #[test]
    fn files_that_are_not_there_are_problems_unless_nothing_is_encrypted() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("absent").display().to_string();
        let problems = take(&format!("sslmode=verify-full sslrootcert={file}")).unwrap_err();
        assert!(problems[0].starts_with(&format!("`sslrootcert`: {file}: ")), "{problems:?}");
        assert!(take(&format!("sslmode=disable sslrootcert={file}")).is_ok());
        assert_eq!(take("sslcert=/dev/null").unwrap_err(), ["`sslkey`: is missing, and `sslcert` is given"]);
    }

    #[test]
    fn an_unknown_mode_is_told_the_known_ones() {
        assert_eq!(
            take("sslmode=hunter2").unwrap_err(),
            ["`sslmode`: expected one of disable, allow, prefer, require, verify-ca, verify-full"]
        );
    }

    #[test]
    fn files_in_the_home_directory_are_found() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".postgresql");
        std::fs::create_dir(&folder).unwrap();
        for name in ["root.crt", "postgresql.crt", "postgresql.key"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        let variable = |name: &str| (name == "HOME").then(|| home.path().display().to_string());
        let mut parameters = Parameters::gather("sslmode=require", &variable);
        let settings = take_tls(&mut parameters, &variable);
        assert_eq!(settings.mode, TlsMode::VerifyAuthority);
        assert_eq!(settings.root_certificates, Some(folder.join("root.crt")));
        assert_eq!(settings.client.unwrap().key, folder.join("postgresql.key"));
    }
}
