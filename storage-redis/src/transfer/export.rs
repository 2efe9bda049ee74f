//! Exports. Peers come swarm by swarm, seeders and leechers together, so that a peer in both roles comes once.

use std::collections::BTreeMap;

use bytes::Bytes;
use redis::Value;
use storage_core::{
    AddressFamily, Context, DataRecord, DownloadsRecord, ErrorKind, ExportScope, InfoHash, Page, PeerRecord,
    Result, Role,
};

use super::Export;
use crate::connection::{command, read};
use crate::layout::{
    CONTEXT_PATTERN, DOWNLOADS, SWARM_PATTERN, SwarmKey, context_key, read_context_key, read_decimal,
    read_peer_key, read_time,
};
use crate::scan::hash_step;

/// Swarms read at once.
const CONCURRENCY: usize = 16;

/// A page of peers being made.
pub(super) struct PeerExport<'a> {
    export: Export<'a, PeerRecord>,
    scope: ExportScope,
}

/// The times of a peer in each role.
#[derive(Default)]
struct Times {
    seeder: Option<Vec<u8>>,
    leecher: Option<Vec<u8>>,
}

/// A peer and its time, as they are stored.
type ExportedEntry = (Vec<u8>, Vec<u8>);

type Entries = BTreeMap<Vec<u8>, Times>;

impl<'a> PeerExport<'a> {
    pub(super) fn new(export: Export<'a, PeerRecord>, scope: ExportScope) -> Self {
        Self { export, scope }
    }

    pub(super) async fn run(mut self) -> Result<Page<PeerRecord>> {
        loop {
            let begun = self.export.position.inner.is_some();
            let outer = self.export.position.outer.as_deref();
            if let Some(swarm) = outer.filter(|_| begun).and_then(SwarmKey::read_name) {
                self.rest_of(&swarm).await?;
            } else {
                let swarms = self.next_swarms().await?;
                if swarms.is_empty() {
                    return Ok(self.export.last_page());
                }
                self.several(&swarms).await?;
            }
            if self.export.is_full() {
                return Ok(self.export.page());
            }
        }
    }

    /// Some swarms after the position; none after the last.
    async fn next_swarms(&mut self) -> Result<Vec<SwarmKey>> {
        let count = self.export.room().min(CONCURRENCY);
        if let ExportScope::Swarm(info_hash) = self.scope {
            let swarms = AddressFamily::BOTH.map(|family| SwarmKey::new(info_hash, family));
            let outer = self.export.position.outer.as_deref();
            let left = swarms.into_iter().filter(|swarm| Some(swarm.name().as_slice()) > outer);
            return Ok(left.collect());
        }
        let (mut unreadable, mut unreadable_names) = (0, Vec::new());
        let name = |key: Vec<u8>| {
            let swarm = SwarmKey::read_key(&key);
            if swarm.is_none() {
                unreadable += 1;
                if unreadable_names.len() < Page::<PeerRecord>::UNREADABLE_NAMES {
                    unreadable_names.push(Bytes::from(key));
                }
            }
            swarm.map(|(swarm, _)| swarm.name())
        };
        let sorted = self.export.names(SWARM_PATTERN, name).await?;
        // Every walk comes by the same ones.
        if self.export.position.outer.is_none() {
            self.export.unreadable += unreadable;
            self.export.unreadable_names = unreadable_names;
        }
        let names = sorted.after(self.export.position.outer.as_deref());
        Ok(names.iter().take(count).filter_map(|name| SwarmKey::read_name(name)).collect())
    }

    /// Small swarms whole, several at once; stops at a larger one or at the end of the page.
    async fn several(&mut self, swarms: &[SwarmKey]) -> Result<()> {
        let steps = swarms.iter().flat_map(|swarm| Role::BOTH.map(|role| hash_step(&swarm.key(role), 0)));
        let mut answers = self.together(steps.collect()).await?.into_iter();
        for swarm in swarms {
            let (mut entries, mut is_whole) = (Entries::new(), true);
            for role in Role::BOTH {
                let answer = match answers.next().unwrap_or(Ok(Value::Nil)) {
                    Ok(answer) => answer,
                    // The other role may be sound.
                    Err(_) => {
                        self.export.pass_over_key(&swarm.key(role));
                        continue;
                    }
                };
                let (cursor, found): (u64, Vec<ExportedEntry>) = read(self.export.call, answer)?;
                is_whole &= cursor == 0;
                for (peer, time) in found {
                    entries.entry(peer).or_default().set(role, time);
                }
            }
            if !is_whole {
                self.export.position.outer = Some(swarm.name());
                self.export.position.inner = Some(Vec::new());
                return Ok(());
            }
            for (peer, times) in entries {
                if self.export.is_full() {
                    return Ok(());
                }
                self.take(swarm, peer, &times);
            }
            self.export.position.finish(swarm.name());
            if self.export.is_full() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The rest of a swarm, or as much of it as there is room for.
    async fn rest_of(&mut self, swarm: &SwarmKey) -> Result<()> {
        let keys = Role::BOTH.map(|role| swarm.key(role));
        while !self.export.is_full() {
            let sorted = self.export.fields(&keys).await?;
            let peers = sorted.after(self.export.position.inner.as_deref());
            let peers = &peers[..peers.len().min(self.export.room())];
            if peers.is_empty() {
                self.export.position.finish(swarm.name());
                return Ok(());
            }
            let asks = keys.iter().map(|key| command("HMGET", key).arg(peers).take());
            let mut answers = self.together(asks.collect()).await?.into_iter();
            let mut times = || match answers.next().unwrap_or(Ok(Value::Nil)) {
                Ok(answer) => read::<Vec<Option<Vec<u8>>>>(self.export.call, answer),
                // Of another type, and counted when the swarm was begun.
                Err(_) => Ok(vec![None; peers.len()]),
            };
            let (seeders, leechers) = (times()?, times()?);
            for ((peer, seeder), leecher) in peers.iter().zip(seeders).zip(leechers) {
                self.take(swarm, peer.clone(), &Times { seeder, leecher });
            }
        }
        Ok(())
    }

    /// Reads the two keys of a swarm at the same moment where they are on one server, so that a peer
    /// that changes its role is not missed in both.
    async fn together(&self, commands: Vec<redis::Cmd>) -> Result<Vec<Result<Value>>> {
        let connections = &self.export.storage.connections;
        if connections.is_cluster() {
            return connections.many(self.export.call, commands).await;
        }
        connections.transaction(self.export.call, commands).await
    }

    /// Adds a peer to the page.
    fn take(&mut self, swarm: &SwarmKey, key: Vec<u8>, times: &Times) {
        let peer = read_peer_key(&key, swarm.family);
        let mut newest = None::<PeerRecord>;
        for (role, time) in [(Role::Seeder, &times.seeder), (Role::Leecher, &times.leecher)] {
            let Some(time) = time else { continue };
            let (Some(peer), Some(announced)) = (peer, read_time(time)) else {
                self.export.pass_over(&[swarm.key(role).as_slice(), b" ", &key].concat());
                continue;
            };
            let record = PeerRecord { info_hash: swarm.info_hash, peer, role, announced };
            self.export.in_both_roles += u64::from(newest.is_some());
            newest = Some(newest.map_or(record, |newest| newest.newer(record)));
        }
        self.export.records.extend(newest);
        self.export.position.outer = Some(swarm.name());
        self.export.position.inner = Some(key);
    }
}

impl Times {
    fn set(&mut self, role: Role, time: Vec<u8>) {
        match role {
            Role::Seeder => self.seeder = Some(time),
            Role::Leecher => self.leecher = Some(time),
        }
    }
}

/// Data, context by context.
pub(super) async fn export_data(mut export: Export<'_, DataRecord>) -> Result<Page<DataRecord>> {
    while !export.is_full() {
        let begun = export.position.inner.is_some();
        let name = match export.position.outer.clone().filter(|_| begun) {
            Some(name) => name,
            None => match next_context(&export).await? {
                Some(name) => name,
                None => return Ok(export.last_page()),
            },
        };
        match context(&name) {
            Some(context) => rest_of(&mut export, &context).await?,
            None => {
                export.pass_over(&name);
                export.position.finish(name);
            }
        }
    }
    Ok(export.page())
}

async fn next_context(export: &Export<'_, DataRecord>) -> Result<Option<Vec<u8>>> {
    let name = |key: Vec<u8>| read_context_key(&key).map(<[u8]>::to_vec);
    let sorted = export.names(CONTEXT_PATTERN, name).await?;
    Ok(sorted.after(export.position.outer.as_deref()).first().cloned())
}

fn context(name: &[u8]) -> Option<Context> {
    Context::new(std::str::from_utf8(name).ok()?).ok()
}

/// The rest of a context, or as much of it as there is room for.
async fn rest_of(export: &mut Export<'_, DataRecord>, context: &Context) -> Result<()> {
    let name = context.as_str().as_bytes();
    let keys = [context_key(context.as_str())];
    while !export.is_full() {
        let sorted = match export.fields(&keys).await {
            // Not ours: some other kind of key under the same prefix.
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                export.pass_over_key(&keys[0]);
                export.position.finish(name.to_vec());
                return Ok(());
            }
            sorted => sorted?,
        };
        let fields = sorted.after(export.position.inner.as_deref());
        let fields = &fields[..fields.len().min(export.room())];
        let Some(last) = fields.last() else {
            export.position.finish(name.to_vec());
            return Ok(());
        };
        let ask = command("HMGET", &keys[0]).arg(fields).take();
        let values: Vec<Option<Vec<u8>>> = export.storage.connections.query(export.call, ask).await?;
        for (key, value) in fields.iter().zip(values) {
            let Some(value) = value else { continue };
            let (context, key) = (context.clone(), Bytes::from(key.clone()));
            export.records.push(DataRecord { context, key, value: value.into() });
        }
        export.position.outer = Some(name.to_vec());
        export.position.inner = Some(last.clone());
    }
    Ok(())
}

/// Downloads, which are one hash.
pub(super) async fn export_downloads(
    mut export: Export<'_, DownloadsRecord>,
) -> Result<Page<DownloadsRecord>> {
    let keys = [DOWNLOADS.to_vec()];
    // The hash is the only outer name; the info hashes are the inner ones.
    export.position.outer = Some(DOWNLOADS.to_vec());
    while !export.is_full() {
        let sorted = match export.fields(&keys).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                export.pass_over_key(DOWNLOADS);
                return Ok(export.last_page());
            }
            sorted => sorted?,
        };
        let names = sorted.after(export.position.inner.as_deref());
        let names = &names[..names.len().min(export.room())];
        let Some(last) = names.last() else { return Ok(export.last_page()) };
        let ask = command("HMGET", DOWNLOADS).arg(names).take();
        let numbers: Vec<Option<Vec<u8>>> = export.storage.connections.query(export.call, ask).await?;
        for (name, number) in names.iter().zip(numbers) {
            let Some(number) = number else { continue };
            match (InfoHash::try_from(name.as_slice()), read_decimal(&number)) {
                (Ok(info_hash), Some(downloads)) => {
                    export.records.push(DownloadsRecord { info_hash, downloads });
                }
                _ => export.pass_over(name),
            }
        }
        export.position.inner = Some(last.clone());
    }
    Ok(export.page())
}
