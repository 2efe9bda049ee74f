//! Redis or Valkey in a container.

use redis::{Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};
use testcontainers::ImageExt;

use super::{Container, Image, TIMEOUT, password};
use crate::servers::redis::{NUMBER_OF_DATABASES, Redis};
use crate::servers::{Found, Missing};

const PORT: u16 = 6379;

/// Starts a server without persistence.
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
    let container = Container::start(&reference, PORT, |image| image.with_cmd(command))?;

    let address = ConnectionAddr::Tcp("127.0.0.1".into(), container.port()).into_connection_info();
    let access = RedisConnectionInfo::default().set_password(&password);
    let server = address.map_err(Missing::failed)?.set_redis_settings(access);
    let client = Client::open(server.clone()).map_err(Missing::failed)?;
    container.wait_until(|| client.get_connection_with_timeout(TIMEOUT).is_ok())?;
    Ok(Redis::in_container(server, container))
}
