//! Parameters of libpq and pgx that change nothing here: most are taken with a warning, those that
//! ask for a protection we can't give are refused.

use super::parameters::Parameters;

/// Beginnings of the names of parameters without effect.
const WITHOUT_EFFECT: &[&str] = &[
    "channel_binding",
    "datestyle",
    "description_cache_capacity",
    "extra_float_digits",
    "gss",
    "keepalives",
    "krb",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "oauth_",
    "pool_health_check_period",
    "pool_min_idle_conns",
    "pool_ping_timeout",
    "requiressl",
    "scram_",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcertmode",
    "sslcompression",
    "sslinline",
    "sslkeylogfile",
    "sslnegotiation",
    "sslsni",
    "statement_cache_capacity",
    "tcp_user_timeout",
];

struct UnsupportedParameter {
    key: &'static str,
    /// The value that is refused; any, if there is none.
    value: Option<&'static str>,
    way_out: &'static str,
}

const REFUSED: &[UnsupportedParameter] = &[
    UnsupportedParameter {
        key: "channel_binding",
        value: Some("require"),
        way_out: "channel binding needs TLS, which `sslmode` disable turns off",
    },
    UnsupportedParameter {
        key: "gssencmode",
        value: Some("require"),
        way_out: "GSSAPI is not supported; use `sslmode`",
    },
    UnsupportedParameter {
        key: "replication",
        value: None,
        way_out: "replication connections are not supported",
    },
    UnsupportedParameter {
        key: "require_auth",
        value: None,
        way_out: "can't be enforced; set the method in the server's pg_hba.conf",
    },
    UnsupportedParameter {
        key: "requirepeer",
        value: None,
        way_out: "can't be enforced; use `sslmode` verify-full over TCP",
    },
    UnsupportedParameter { key: "ssl", value: None, way_out: "is no parameter; write `sslmode=require`" },
    UnsupportedParameter {
        key: "ssl_min_protocol_version",
        value: Some("TLSv1.3"),
        way_out: "can't be enforced; set it in the server's postgresql.conf",
    },
    UnsupportedParameter {
        key: "sslinline",
        value: Some("true"),
        way_out: "write the certificates to files and name these",
    },
    UnsupportedParameter { key: "sslcrl", value: None, way_out: REVOCATION },
    UnsupportedParameter { key: "sslcrldir", value: None, way_out: REVOCATION },
    UnsupportedParameter {
        key: "sslpassword",
        value: None,
        way_out: "encrypted keys can't be read; decrypt the file of `sslkey`",
    },
];

const REVOCATION: &str =
    "revocation lists are not supported; leave it out, or end TLS in front of the server";

/// Takes these parameters out.
pub(super) fn take_unsupported(parameters: &mut Parameters) {
    for UnsupportedParameter { key, value, way_out } in REFUSED {
        let Some(given) = parameters.take(key) else { continue };
        if value.is_none_or(|value| given.value.eq_ignore_ascii_case(value)) {
            parameters.problems.push(format!("{}: {way_out}", given.place));
        } else {
            parameters.put_back(key, given);
        }
    }
    if let Some(given) = parameters.take("client_encoding") {
        let is_utf8 = ["utf8", "utf-8", "auto"].iter().any(|name| given.value.eq_ignore_ascii_case(name));
        if !is_utf8 {
            parameters.warnings.push(format!("{} has no effect here: connections use UTF8", given.place));
        }
    }
    for key in parameters.keys() {
        if WITHOUT_EFFECT.iter().any(|beginning| key.starts_with(beginning))
            && let Some(given) = parameters.take(&key)
        {
            parameters.warnings.push(format!("{} has no effect here", given.place));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(text: &str) -> Parameters {
        let mut parameters = Parameters::gather(text, &|_| None);
        take_unsupported(&mut parameters);
        parameters
    }

    #[test]
    fn settings_of_pgx_are_taken_with_a_warning() {
        let mut parameters =
            take("pool_health_check_period=1m krbsrvname=x gssencmode=disable search_path=a");
        assert_eq!(
            parameters.warnings,
            [
                "`gssencmode` has no effect here",
                "`krbsrvname` has no effect here",
                "`pool_health_check_period` has no effect here",
            ]
        );
        assert_eq!(parameters.text("search_path").unwrap(), "a");
        assert!(take("client_encoding=UTF8").warnings.is_empty());
        assert_eq!(take("client_encoding=latin1").warnings.len(), 1);
    }

    #[test]
    fn a_protection_that_cannot_be_given_is_refused() {
        for text in ["channel_binding=require", "sslcrl=/x", "require_auth=scram-sha-256", "ssl=true"] {
            assert_eq!(take(text).problems.len(), 1, "{text}");
        }
        assert!(take("channel_binding=prefer ssl_min_protocol_version=TLSv1.2").problems.is_empty());
    }
}
