//! `data`: what an operator reads and writes by hand.

use std::collections::BTreeMap;

use bytes::Bytes;
use storage_core::{Capability, Context, DataRecord, DataStorage, Record, Registry};

use crate::arguments::{
    ContextArguments, DataAction, DataArguments, DeleteArguments, GetArguments, ListArguments, PutArguments,
    StorageArguments,
};
use crate::confirm::confirm;
use crate::exit_code::{CommandError, Exit};
use crate::interrupt::Interrupt;
use crate::open::ConfiguredStorage;
use crate::output::{Output, note};

/// How many entries are read at a time.
const PAGE: usize = 1_000;

/// Does what is asked for.
pub(crate) async fn run(
    registry: &Registry,
    arguments: &DataArguments,
    output: &mut Output,
) -> Result<Exit, CommandError> {
    match &arguments.action {
        DataAction::Contexts(arguments) => contexts(registry, arguments, output).await,
        DataAction::List(arguments) => list(registry, arguments, output).await,
        DataAction::Get(arguments) => get(registry, arguments, output).await,
        DataAction::Put(arguments) => put(registry, arguments).await,
        DataAction::Delete(arguments) => delete(registry, arguments, output).await,
    }
}

async fn contexts(
    registry: &Registry,
    arguments: &StorageArguments,
    output: &mut Output,
) -> Result<Exit, CommandError> {
    let configured = ConfiguredStorage::read(registry.clone(), arguments)?;
    let storage = configured.open().await?.storage;
    if let Some(reason) = storage.missing_capabilities().reason(Capability::ExportData) {
        return Err(CommandError::finding(format!("cannot list contexts: {reason}")));
    }
    let interrupt = Interrupt::listen();
    let mut entries: BTreeMap<Context, u64> = BTreeMap::new();
    let mut from = None;
    loop {
        let page = storage.export_data(from.as_ref(), PAGE).await;
        let page = page.map_err(|error| configured.failed(&error))?;
        for record in page.records {
            *entries.entry(record.context).or_default() += 1;
        }
        from = page.next;
        if from.is_none() {
            break;
        }
        if interrupt.is_set() {
            return Ok(Exit::Interrupted);
        }
    }
    for (context, entries) in entries {
        output.line(format_args!("{entries}\t{}", context.as_str()))?;
    }
    storage.close().await.map_err(|error| configured.failed(&error))?;
    Ok(Exit::Success)
}

async fn list(
    registry: &Registry,
    arguments: &ListArguments,
    output: &mut Output,
) -> Result<Exit, CommandError> {
    let ContextArguments { storage, context, .. } = &arguments.target;
    let configured = ConfiguredStorage::read(registry.clone(), storage)?;
    let storage = configured.open().await?.storage;
    if let Some(reason) = storage.missing_capabilities().reason(Capability::ExportData) {
        return Err(CommandError::finding(format!("cannot list data: {reason}")));
    }
    let interrupt = Interrupt::listen();
    let (mut from, mut exit) = (None, Exit::Success);
    loop {
        let page = storage.export_data(from.as_ref(), PAGE).await;
        let page = page.map_err(|error| configured.failed(&error))?;
        let records = page.records.into_iter().filter(|record| record.context == *context);
        print(records, arguments, output)?;
        from = page.next;
        if from.is_none() || output.is_closed() {
            break;
        }
        if interrupt.is_set() {
            exit = Exit::Interrupted;
            break;
        }
    }
    storage.close().await.map_err(|error| configured.failed(&error))?;
    Ok(exit)
}

fn print(
    records: impl Iterator<Item = DataRecord>,
    arguments: &ListArguments,
    output: &mut Output,
) -> Result<(), CommandError> {
    if arguments.json {
        output.json_lines(records.map(Record::Data))?;
        return Ok(());
    }
    let form = KeyFormat::of(&arguments.target);
    for DataRecord { key, value, .. } in records {
        output.line(format_args!("{}\t{}", form.write(&key), form.write(&value)))?;
    }
    Ok(())
}

async fn get(
    registry: &Registry,
    arguments: &GetArguments,
    output: &mut Output,
) -> Result<Exit, CommandError> {
    let form = KeyFormat::of(&arguments.target);
    let key = form.read(&arguments.key)?;
    let (configured, storage) = open(registry, &arguments.target).await?;
    let value = storage.load_data(&arguments.target.context, &key).await;
    let value = value.map_err(|error| configured.failed(&error))?;
    storage.close().await.map_err(|error| configured.failed(&error))?;
    match value {
        Some(value) => output.line(form.write(&value))?,
        None => {
            note("it is not there");
            return Ok(Exit::Finding);
        }
    }
    Ok(Exit::Success)
}

async fn put(registry: &Registry, arguments: &PutArguments) -> Result<Exit, CommandError> {
    let form = KeyFormat::of(&arguments.target);
    let entry = (form.read(&arguments.key)?, form.read(&arguments.value)?);
    let (configured, storage) = open(registry, &arguments.target).await?;
    let put = storage.put_data(&arguments.target.context, &[entry]).await;
    put.map_err(|error| configured.failed(&error))?;
    storage.close().await.map_err(|error| configured.failed(&error))?;
    Ok(Exit::Success)
}

async fn delete(
    registry: &Registry,
    arguments: &DeleteArguments,
    output: &mut Output,
) -> Result<Exit, CommandError> {
    let (form, context) = (KeyFormat::of(&arguments.target), &arguments.target.context);
    let keys: Vec<_> = arguments.keys.iter().map(|key| form.read(key)).collect::<Result<_, _>>()?;
    let (configured, storage) = open(registry, &arguments.target).await?;
    let there = storage.contains_data(context, &keys).await.map_err(|error| configured.failed(&error))?;
    let there = there.into_iter().filter(|there| *there).count();
    let question = format!("{there} of {} keys are there. Remove them from {context:?}?", keys.len());
    if !arguments.yes && !confirm(question)? {
        return Err(CommandError::usage("nothing was removed"));
    }
    storage.delete_data(context, &keys).await.map_err(|error| configured.failed(&error))?;
    storage.close().await.map_err(|error| configured.failed(&error))?;
    output.line(format_args!("removed {there}"))?;
    Ok(Exit::Success)
}

/// The data part alone: a storage of hooks has no other.
async fn open(
    registry: &Registry,
    target: &ContextArguments,
) -> Result<(ConfiguredStorage, std::sync::Arc<dyn DataStorage>), CommandError> {
    let configured = ConfiguredStorage::read(registry.clone(), &target.storage)?;
    let storage = configured.open_data().await?.storage;
    Ok((configured, storage))
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
                CommandError::usage(
                    "error: keys and values are hexadecimal; give --text for those that are text",
                )
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
