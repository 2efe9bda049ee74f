//! `data`: reads and writes of arbitrary data.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use storage_core::{Backends, Capability, Context, Cursor, DataRecord, Opened, Page, Record};

use crate::arguments::{
    ContextArguments, DataAction, DataArguments, DeleteArguments, GetArguments, ListArguments, PutArguments,
    StorageArguments,
};
use crate::exit_code::{CommandError, Exit};
use crate::open::ConfiguredStorage;
use crate::output::{Output, confirm, note};
use crate::scan::{PAGE, PageScan};

/// Runs the subcommand.
pub(crate) async fn run(
    backends: &Backends,
    arguments: &DataArguments,
    output: &mut Output,
) -> Result<Exit, CommandError> {
    match &arguments.action {
        DataAction::Contexts(arguments) => contexts(backends, arguments, output).await,
        DataAction::List(arguments) => list(backends, arguments, output).await,
        DataAction::Get(arguments) => get(backends, arguments, output).await,
        DataAction::Put(arguments) => put(backends, arguments).await,
        DataAction::Delete(arguments) => delete(backends, arguments, output).await,
    }
}

async fn contexts(
    backends: &Backends,
    arguments: &StorageArguments,
    output: &mut Output,
) -> Result<Exit, CommandError> {
    let mut entries: BTreeMap<Context, u64> = BTreeMap::new();
    let each = |records: Vec<DataRecord>, _: &mut Output| {
        for record in records {
            *entries.entry(record.context).or_default() += 1;
        }
        Ok(())
    };
    let exit = scan(backends, arguments, "contexts", output, each).await?;
    if exit == Exit::Success {
        for (context, entries) in entries {
            output.line(format_args!("{entries}\t{}", context.as_str()))?;
        }
    }
    Ok(exit)
}

async fn list(
    backends: &Backends,
    arguments: &ListArguments,
    output: &mut Output,
) -> Result<Exit, CommandError> {
    let ContextArguments { storage, context, .. } = &arguments.target;
    let form = KeyFormat::of(&arguments.target);
    let each = |records: Vec<DataRecord>, output: &mut Output| {
        let mut records = records.into_iter().filter(|record| record.context == *context);
        if arguments.json {
            return output.json_lines(records.map(Record::Data));
        }
        records.try_for_each(|DataRecord { key, value, .. }| {
            output.line(format_args!("{}\t{}", form.write(&key), form.write(&value)))
        })
    };
    scan(backends, storage, "data", output, each).await
}

/// Hands all entries of a storage to `each`.
async fn scan(
    backends: &Backends,
    arguments: &StorageArguments,
    what: &str,
    output: &mut Output,
    mut each: impl FnMut(Vec<DataRecord>, &mut Output) -> io::Result<()>,
) -> Result<Exit, CommandError> {
    let configured = ConfiguredStorage::read(backends.clone(), arguments)?;
    let scan = configured.with_storage(async |Opened { storage, .. }| {
        if let Some(reason) = storage.missing_capabilities().reason(Capability::ExportData) {
            return Err(CommandError::finding(format!("cannot list {what}: {reason}")).into());
        }
        let read = async |from: Option<&Cursor>| storage.export_data(from, PAGE).await;
        let scan = PageScan::new();
        let pages = scan.pages(read, async |page: Page<DataRecord>| {
            each(page.records, output)?;
            Ok(output.flow())
        });
        pages.await?;
        Ok(Exit::Success)
    });
    scan.await
}

async fn get(
    backends: &Backends,
    arguments: &GetArguments,
    output: &mut Output,
) -> Result<Exit, CommandError> {
    let ContextArguments { storage, context, .. } = &arguments.target;
    let form = KeyFormat::of(&arguments.target);
    let key = form.read(&arguments.key)?;
    let configured = ConfiguredStorage::read(backends.clone(), storage)?;
    let get = configured.with_data(async |storage| match storage.load_data(context, &key).await? {
        Some(value) => {
            output.line(form.write(&value))?;
            Ok(Exit::Success)
        }
        None => {
            note("not found");
            Ok(Exit::Finding)
        }
    });
    get.await
}

async fn put(backends: &Backends, arguments: &PutArguments) -> Result<Exit, CommandError> {
    let ContextArguments { storage, context, .. } = &arguments.target;
    let form = KeyFormat::of(&arguments.target);
    let entry = (form.read(&arguments.key)?, form.read(&arguments.value)?);
    let configured = ConfiguredStorage::read(backends.clone(), storage)?;
    let put = configured.with_data(async |storage| {
        storage.put_data(context, &[entry]).await?;
        Ok(Exit::Success)
    });
    put.await
}

async fn delete(
    backends: &Backends,
    arguments: &DeleteArguments,
    output: &mut Output,
) -> Result<Exit, CommandError> {
    let ContextArguments { storage, context, .. } = &arguments.target;
    let form = KeyFormat::of(&arguments.target);
    let keys: Vec<_> = arguments.keys.iter().map(|key| form.read(key)).collect::<Result<_, _>>()?;
    let configured = ConfiguredStorage::read(backends.clone(), storage)?;
    let delete = configured.with_data(async |storage| {
        let found = storage.contains_data(context, &keys).await?.into_iter().filter(|found| *found).count();
        let question = format!("{found} of {} keys exist. Remove them from {context:?}?", keys.len());
        if !arguments.yes && !confirm(question)? {
            return Err(CommandError::usage("nothing was removed").into());
        }
        storage.delete_data(context, &keys).await?;
        output.line(format_args!("removed {found}"))?;
        Ok(Exit::Success)
    });
    delete.await
}

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyFormat {
    Hex,
    Text,
}

impl KeyFormat {
    fn of(target: &ContextArguments) -> Self {
        if target.text { Self::Text } else { Self::Hex }
    }

    fn read(self, text: &str) -> Result<Bytes, CommandError> {
        match self {
            Self::Text => Ok(Bytes::copy_from_slice(text.as_bytes())),
            Self::Hex => hex::decode(text).map(Bytes::from).map_err(|_| {
                CommandError::usage("error: keys and values must be hexadecimal; use --text for plain text")
            }),
        }
    }

    fn write(self, bytes: &[u8]) -> String {
        let text = std::str::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control));
        match (self, text) {
            (Self::Hex, _) => hex::encode(bytes),
            (Self::Text, Some(text)) => text.to_owned(),
            (Self::Text, None) => format!("hex:{}", hex::encode(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_they_are_written() {
        for (form, text) in [(KeyFormat::Hex, "00ff"), (KeyFormat::Hex, ""), (KeyFormat::Text, "ключ")] {
            assert_eq!(form.write(&form.read(text).unwrap()), text);
        }
        assert_eq!(KeyFormat::Text.write(b"a\nb"), "hex:610a62");
        assert!(KeyFormat::Hex.read("ключ").is_err());
    }
}
