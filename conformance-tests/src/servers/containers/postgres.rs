//! PostgreSQL in a container.

use testcontainers::ImageExt;

use super::{Container, DATA, Image, lets_in, password};
use crate::servers::Found;
use crate::servers::postgres::{Postgres, SETTINGS};

const PORT: u16 = 5432;

/// Starts a server with the settings of those that are started from programs.
pub(in crate::servers) fn postgres(image: &Image) -> Found<Postgres> {
    let password = password();
    let settings = SETTINGS.iter().flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]);
    // SCRAM takes debug builds long, so that only one of the servers uses it.
    let auth = if image.storage.is_empty() { "password" } else { "scram-sha-256" };
    let container = Container::start(&image.obtain()?, PORT, |image| {
        image
            .with_env_var("POSTGRES_USER", "tracker")
            .with_env_var("POSTGRES_PASSWORD", &password)
            .with_env_var("POSTGRES_HOST_AUTH_METHOD", auth)
            .with_env_var("POSTGRES_INITDB_ARGS", "--encoding=UTF8 --locale=C --no-sync")
            .with_env_var("PGDATA", format!("{DATA}/cluster"))
            .with_cmd(settings)
    })?;
    let url = format!("postgres://tracker:{password}@127.0.0.1:{}/postgres", container.port());
    container.wait_until(|| lets_in(&url))?;
    Ok(Postgres::in_container(url, container))
}
