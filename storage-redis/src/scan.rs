//! Incremental scans of keys and their entries, which never block the server for long.

use redis::{Cmd, FromRedisValue};
use storage_core::Result;

use crate::connection::{Call, Connections, Node};
use crate::layout::SWARMS;

/// Entries that the server looks at in one step.
const SCAN_COUNT: usize = 1_000;
/// Entries in one step of a scan, where many go together.
const SHORT_STEP: usize = 200;

/// An incremental scan of the keys of a node (SCAN) or the members of a set or hash (SSCAN, HSCAN). Entries that
/// exist during the whole scan are returned at least once.
pub(crate) struct Scan<'a> {
    connections: &'a Connections,
    call: Call,
    node: Node,
    command: &'static str,
    key: Option<Vec<u8>>,
    pattern: Option<&'static str>,
    cursor: Option<u64>,
}

impl<'a> Scan<'a> {
    /// Over the keys of a node that match a pattern.
    pub(crate) fn keys(connections: &'a Connections, call: Call, node: Node, pattern: &'static str) -> Self {
        let (command, pattern) = ("SCAN", Some(pattern));
        Self { connections, call, node, command, key: None, pattern, cursor: Some(0) }
    }

    /// Over the set of swarms.
    pub(crate) fn swarms(connections: &'a Connections, call: Call) -> Self {
        let (command, key) = ("SSCAN", Some(SWARMS.to_vec()));
        Self { connections, call, node: Node::Only, command, key, pattern: None, cursor: Some(0) }
    }

    /// Over the fields and values of a hash.
    pub(crate) fn hash(connections: &'a Connections, call: Call, key: Vec<u8>) -> Self {
        let (command, key) = ("HSCAN", Some(key));
        Self { connections, call, node: Node::Only, command, key, pattern: None, cursor: Some(0) }
    }

    /// What the next step gives; `None` after the last.
    pub(crate) async fn next<T: FromRedisValue>(&mut self) -> Result<Option<Vec<T>>> {
        let Some(cursor) = self.cursor else { return Ok(None) };
        let mut step = redis::cmd(self.command);
        if let Some(key) = &self.key {
            step.arg(key);
        }
        step.arg(cursor);
        if let Some(pattern) = self.pattern {
            step.arg("MATCH").arg(pattern);
        }
        step.arg("COUNT").arg(SCAN_COUNT);
        let (next, items) = self.connections.query_on(self.call, &self.node, step).await?;
        self.cursor = (next != 0).then_some(next);
        Ok(Some(items))
    }
}

/// One step of a walk over a hash, to be sent together with others.
pub(crate) fn hash_step(key: &[u8], cursor: u64) -> Cmd {
    redis::cmd("HSCAN").arg(key).arg(cursor).arg("COUNT").arg(SHORT_STEP).take()
}
