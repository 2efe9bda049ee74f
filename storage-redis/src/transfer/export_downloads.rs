//! Downloads: one hash.

use storage_core::{DownloadsRecord, ErrorKind, InfoHash, Page, Result};

use super::Export;
use crate::connection::command;
use crate::layout::{DOWNLOADS, read_decimal};

pub(super) async fn run(mut export: Export<'_, DownloadsRecord>) -> Result<Page<DownloadsRecord>> {
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
        let mut ask = command("HMGET", DOWNLOADS);
        ask.arg(names);
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
