//! The Lua scripts: what must happen as a whole, in one round trip. They are called by their hash and
//! loaded on every new connection.

use std::sync::LazyLock;

use redis::{Cmd, Pipeline};

/// A script.
pub(crate) struct Script {
    text: &'static str,
    sha1: LazyLock<String>,
}

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $file:literal;)*) => {
        $(
            $(#[$doc])*
            pub(crate) static $name: Script = Script {
                text: include_str!($file),
                sha1: LazyLock::new(|| redis::Script::new(include_str!($file)).get_hash().to_owned()),
            };
        )*

        const ALL: &[&Script] = &[$(&$name,)*];
    };
}

scripts! {
    PUT = "scripts/put.lua";
    GRADUATE = "scripts/graduate.lua";
    DELETE = "scripts/delete.lua";
    SCRAPE = "scripts/scrape.lua";
    ANNOUNCE = "scripts/announce.lua";
    REMOVE_UNCHANGED = "scripts/remove_unchanged.lua";
    SET_UNCHANGED = "scripts/set_unchanged.lua";
    MOVE_UNCHANGED = "scripts/move_unchanged.lua";
    FORGET = "scripts/forget.lua";
    JOIN = "scripts/join.lua";
}

impl Script {
    /// A call of the script with these keys; arguments are added to it.
    pub(crate) fn call<K: AsRef<[u8]>>(&self, keys: &[K]) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(self.sha1.as_str()).arg(keys.len());
        for key in keys {
            command.arg(key.as_ref());
        }
        command
    }
}

/// The commands that load every script.
pub(crate) fn load_all() -> Pipeline {
    let mut pipeline = redis::pipe();
    for command in load_commands() {
        pipeline.add_command(command);
    }
    pipeline
}

/// The commands that load every script, one by one.
pub(crate) fn load_commands() -> impl Iterator<Item = Cmd> {
    ALL.iter().map(|script| {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(script.text);
        command
    })
}
