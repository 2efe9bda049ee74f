//! Starting PostgreSQL, Redis, Valkey and CockroachDB in containers.

use redis::{Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};
use testcontainers::{ContainerRequest, GenericImage, ImageExt};

use super::images::COCKROACH;
use super::{Container, DATA, Image, TIMEOUT, accepts_connections, password};
use crate::servers::cockroach::Cockroach;
use crate::servers::postgres::{Postgres, SETTINGS};
use crate::servers::redis::{NUMBER_OF_DATABASES, Redis};
use crate::servers::{Found, Missing};

const POSTGRES_PORT: u16 = 5432;
const REDIS_PORT: u16 = 6379;
const COCKROACH_PORT: u16 = 26257;

/// Starts PostgreSQL with the settings of those that are started from programs.
pub(in crate::servers) fn postgres(image: &Image) -> Found<Postgres> {
    let password = password();
    let settings = SETTINGS.iter().flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]);
    // SCRAM takes debug builds long, so that only one of the servers uses it.
    let auth = if image.storage.is_empty() { "password" } else { "scram-sha-256" };
    let container = Container::start(&image.obtain()?, POSTGRES_PORT, |image| {
        image
            .with_env_var("POSTGRES_USER", "tracker")
            .with_env_var("POSTGRES_PASSWORD", &password)
            .with_env_var("POSTGRES_HOST_AUTH_METHOD", auth)
            .with_env_var("POSTGRES_INITDB_ARGS", "--encoding=UTF8 --locale=C --no-sync")
            .with_env_var("PGDATA", format!("{DATA}/cluster"))
            .with_cmd(settings)
    })?;
    let url = format!("postgres://tracker:{password}@127.0.0.1:{}/postgres", container.port());
    container.wait_until(|| accepts_connections(&url))?;
    Ok(Postgres::in_container(url, container))
}

/// Starts Redis or Valkey without persistence.
pub(in crate::servers) fn redis(image: &Image) -> Found<Redis> {
    let reference = image.obtain()?;
    let password = password();
    let program = if reference.is_valkey() { "valkey-server" } else { "redis-server" };
    let databases = NUMBER_OF_DATABASES.to_string();
    let settings = [
        ["--bind", "0.0.0.0"],
        ["--save", ""],
        ["--appendonly", "no"],
        ["--databases", databases.as_str()],
        ["--requirepass", password.as_str()],
    ];
    let command = std::iter::once(program).chain(settings.into_iter().flatten());
    let container = Container::start(&reference, REDIS_PORT, |image| image.with_cmd(command))?;

    let address = ConnectionAddr::Tcp("127.0.0.1".into(), container.port()).into_connection_info();
    let access = RedisConnectionInfo::default().set_password(&password);
    let server = address.map_err(Missing::failed)?.set_redis_settings(access);
    let client = Client::open(server.clone()).map_err(Missing::failed)?;
    container.wait_until(|| client.get_connection_with_timeout(TIMEOUT).is_ok())?;
    Ok(Redis::in_container(server, container))
}

/// The path of the program in the image of CockroachDB.
const COCKROACH_PROGRAM: &str = "/cockroach/cockroach";

/// Makes certificates and starts the node with them.
const START_SECURED: &str = r#"
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

/// Starts a single CockroachDB node without authentication, which keeps everything in memory.
pub(in crate::servers) fn cockroach() -> Found<Cockroach> {
    let container = Container::start(&COCKROACH.obtain()?, COCKROACH_PORT, |image| {
        image
            .with_entrypoint(COCKROACH_PROGRAM)
            .with_cmd(cockroach_settings().chain(["--insecure".to_owned()]))
    })?;
    let url = format!("postgres://root@127.0.0.1:{}/defaultdb?sslmode=disable", container.port());
    container.wait_until(|| accepts_connections(&url))?;
    Ok(Cockroach::in_container(&url, container, None))
}

/// Starts a single CockroachDB node that requires TLS and a password.
pub(in crate::servers) fn cockroach_secured() -> Found<Cockroach> {
    let certificates = format!("{DATA}/certificates");
    let container =
        Container::start(&COCKROACH.obtain()?, COCKROACH_PORT, |image| secured(image, &certificates))?;
    let password = password();
    let create = format!("CREATE USER tracker WITH PASSWORD '{password}'; GRANT admin TO tracker");
    let folder = format!("--certs-dir={certificates}");
    let create = [COCKROACH_PROGRAM, "sql", &folder, "--host=127.0.0.1", "--execute", &create];
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
    let arguments = ["-c", START_SECURED, "start", COCKROACH_PROGRAM, certificates].map(str::to_owned);
    image.with_entrypoint("/bin/sh").with_cmd(arguments.into_iter().chain(cockroach_settings()))
}

fn cockroach_settings() -> impl Iterator<Item = String> {
    let memory = ["--store=type=mem,size=1GiB", "--cache=128MiB", "--max-sql-memory=256MiB"];
    let settings = std::iter::once("start-single-node").chain(memory).map(str::to_owned);
    settings.chain([format!("--listen-addr=0.0.0.0:{COCKROACH_PORT}")])
}
