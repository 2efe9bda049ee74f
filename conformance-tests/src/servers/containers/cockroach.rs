//! CockroachDB in a container: a single node, which keeps everything in memory.

use testcontainers::{ContainerRequest, GenericImage, ImageExt};

use super::images::COCKROACH;
use super::{Container, DATA, lets_in, password};
use crate::servers::cockroach::Cockroach;
use crate::servers::{Found, Missing};

const PORT: u16 = 26257;

/// The path of the program in the image.
const PROGRAM: &str = "/cockroach/cockroach";

/// Makes certificates and starts the node with them.
const SECURED: &str = r#"
set -e
program=$1 certificates=$2
shift 2
mkdir -p "$certificates"
set -- "$@" --certs-dir="$certificates"
"$program" cert create-ca --certs-dir="$certificates" --ca-key="$certificates/ca.key"
"$program" cert create-node 127.0.0.1 localhost --certs-dir="$certificates" --ca-key="$certificates/ca.key"
"$program" cert create-client root --certs-dir="$certificates" --ca-key="$certificates/ca.key"
exec "$program" "$@"
"#;

/// Starts a node without authentication.
pub(in crate::servers) fn cockroach() -> Found<Cockroach> {
    let container = Container::start(&COCKROACH.obtain()?, PORT, |image| {
        image.with_entrypoint(PROGRAM).with_cmd(settings().chain(["--insecure".to_owned()]))
    })?;
    let url = format!("postgres://root@127.0.0.1:{}/defaultdb?sslmode=disable", container.port());
    container.wait_until(|| lets_in(&url))?;
    Ok(Cockroach::in_container(&url, container, None))
}

/// Starts a node that requires TLS and a password.
pub(in crate::servers) fn cockroach_secured() -> Found<Cockroach> {
    let certificates = format!("{DATA}/certificates");
    let container = Container::start(&COCKROACH.obtain()?, PORT, |image| secured(image, &certificates))?;
    let password = password();
    let create = format!("CREATE USER tracker WITH PASSWORD '{password}'; GRANT admin TO tracker");
    let folder = format!("--certs-dir={certificates}");
    let create = [PROGRAM, "sql", &folder, "--host=127.0.0.1", "--execute", &create];
    container.wait_until(|| container.run(create).is_ok())?;

    let authority = container.run(["cat", &format!("{certificates}/ca.crt")])?;
    let directory = tempfile::tempdir().map_err(Missing::failed)?;
    let file = directory.path().join("ca.crt");
    std::fs::write(&file, authority).map_err(Missing::failed)?;
    let url = format!(
        "postgres://tracker:{password}@127.0.0.1:{}/defaultdb?sslmode=verify-full&sslrootcert={}",
        container.port(),
        file.display(),
    );
    Ok(Cockroach::in_container(&url, container, Some(directory)))
}

fn secured(image: GenericImage, certificates: &str) -> ContainerRequest<GenericImage> {
    let arguments = ["-c", SECURED, "start", PROGRAM, certificates].map(str::to_owned);
    image.with_entrypoint("/bin/sh").with_cmd(arguments.into_iter().chain(settings()))
}

fn settings() -> impl Iterator<Item = String> {
    let memory = ["--store=type=mem,size=1GiB", "--cache=128MiB", "--max-sql-memory=256MiB"];
    let settings = std::iter::once("start-single-node").chain(memory).map(str::to_owned);
    settings.chain([format!("--listen-addr=0.0.0.0:{PORT}")])
}
