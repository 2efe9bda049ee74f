//! Data: context by context.

use bytes::Bytes;
use storage_core::{Context, DataRecord, ErrorKind, Page, Result};

use super::Export;
use crate::connection::command;
use crate::layout::{CONTEXT_PATTERN, context_key, read_context_key};

pub(super) async fn run(mut export: Export<'_, DataRecord>) -> Result<Page<DataRecord>> {
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
        let mut ask = command("HMGET", &keys[0]);
        ask.arg(fields);
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
