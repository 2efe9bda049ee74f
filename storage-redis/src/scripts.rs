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
    ($($(#[$doc:meta])* $name:ident = $($file:literal)+;)*) => {
        $(
            $(#[$doc])*
            pub(crate) static $name: Script = Script {
                text: concat!(
                    // The version is of what scripts make of the layout: nodes of one version run side by side with
                    // those of another as long as it is the same.
                    "-- tracker-storage, scripts version 1\n",
                    $(include_str!(concat!("scripts/", $file, ".lua"))),+
                ),
                sha1: LazyLock::new(|| redis::Script::new($name.text).get_hash().to_owned()),
            };
        )*

        const ALL: &[&Script] = &[$(&$name,)*];
    };
}

scripts! {
    PUT = "parts/expiry" "parts/put" "put";
    GRADUATE = "parts/expiry" "parts/put" "parts/standing" "parts/graduate" "graduate";
    DELETE = "parts/expiry" "parts/remove" "delete";
    REMOVE = "parts/expiry" "parts/remove" "remove";
    PUT_DATA = "parts/expiry" "put_data";
    DELETE_DATA = "parts/expiry" "delete_data";
    SCRAPE = "scrape";
    ANNOUNCE = "parts/standing" "parts/look_up" "parts/select_peers" "announce";
    WHOLE_ANNOUNCE = "parts/expiry" "parts/put" "parts/remove" "parts/standing" "parts/graduate" "parts/look_up"
        "parts/select_peers" "whole_announce";
    REMOVE_UNCHANGED = "remove_unchanged";
    SET_UNCHANGED = "set_unchanged";
    MOVE_UNCHANGED = "move_unchanged";
    WRITE_PEERS = "parts/expiry" "parts/put" "parts/remove" "parts/standing" "parts/stored" "parts/graduate"
        "write_peers";
    READ_SWARM = "parts/standing" "parts/look_up" "read_swarm";
    FORGET = "forget";
    JOIN = "join";
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

/// A write that changes nothing, on a hash. It goes by its text, and needs no loading.
pub(crate) fn mark(hash: &[u8]) -> Cmd {
    redis::cmd("EVAL").arg(include_str!("scripts/mark.lua")).arg(1).arg(hash).take()
}

/// The commands that load every script.
pub(crate) fn load_all() -> Pipeline {
    let mut pipeline = redis::pipe();
    for script in ALL {
        pipeline.cmd("SCRIPT").arg("LOAD").arg(script.text);
    }
    pipeline
}
