//! `data`: reads and writes of arbitrary data.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};

use bytes::Bytes;
use storage_core::{Capability, Context, Cursor, DataRecord, DataStorage, Opened, Page, Record};

use super::CommandContext;
use crate::arguments::{
    ContextArguments, DataAction, DeleteArguments, GetArguments, ListArguments, PutArguments,
    StorageArguments,
};
use crate::error_code::ErrorCode;
use crate::exit_code::{CodedMessage, CommandError, CommandResult, Exit};
use crate::output::{Output, confirm, note};
use crate::scan::{PAGE, PageScan};

/// What `list` lists.
const DATA: &str = "data";

/// Runs the subcommand.
pub(crate) async fn run(context: &mut CommandContext, action: &DataAction) -> CommandResult {
    match action {
        DataAction::Contexts(arguments) => contexts(context, arguments).await,
        DataAction::List(arguments) => list(context, arguments).await,
        DataAction::Get(arguments) => get(context, arguments).await,
        DataAction::Put(arguments) => put(context, arguments).await,
        DataAction::Delete(arguments) => delete(context, arguments).await,
    }
}

async fn contexts(context: &mut CommandContext, arguments: &StorageArguments) -> CommandResult {
    let mut entries: BTreeMap<Context, u64> = BTreeMap::new();
    let each = |records: Vec<DataRecord>, _: &mut Output| {
        for record in records {
            *entries.entry(record.context).or_default() += 1;
        }
        Ok(())
    };
    let exit = scan(context, arguments, "contexts", each).await?;
    if exit == Exit::Success {
        for (name, entries) in entries {
            context.output.line(format_args!("{entries}\t{}", name.as_str()))?;
        }
    }
    Ok(exit)
}

async fn list(context: &mut CommandContext, arguments: &ListArguments) -> CommandResult {
    let target = &arguments.target;
    let each = |records: Vec<DataRecord>, output: &mut Output| {
        let mut records = records.into_iter().filter(|record| record.context == target.context);
        if arguments.json {
            return output.json_lines(records.map(Record::Data));
        }
        records.try_for_each(|DataRecord { key, value, .. }| {
            output.line(format_args!("{}\t{}", target.write(&key), target.write(&value)))
        })
    };
    scan(context, &target.storage, DATA, each).await
}

/// Hands all entries of a storage to `each`.
async fn scan(
    context: &mut CommandContext,
    arguments: &StorageArguments,
    what: &str,
    mut each: impl FnMut(Vec<DataRecord>, &mut Output) -> io::Result<()>,
) -> CommandResult {
    let scan = context.with_storage(arguments, async |Opened { storage, .. }, output| {
        if let Some(reason) = storage.missing_capabilities().reason(Capability::ExportData) {
            return Err(CommandError::finding(
                ErrorCode::CapabilityMissing,
                format!("cannot list {what}: {reason}"),
            )
            .into());
        }
        let read = async |from: Option<&Cursor>| storage.export_data(from, PAGE).await;
        let scan = PageScan::new();
        let each = async |page: Page<DataRecord>| {
            each(page.records, output)?;
            Ok(output.flow())
        };
        // At a terminal the entries themselves show the progress, if they are printed.
        if what == DATA && io::stdout().is_terminal() {
            scan.pages(read, each).await?;
        } else {
            scan.pages_with_progress("data entries", read, each).await?;
        }
        Ok(Exit::Success)
    });
    scan.await
}

async fn get(context: &mut CommandContext, arguments: &GetArguments) -> CommandResult {
    let target = &arguments.target;
    let key = target.read(&arguments.key)?;
    let get = context.with_data(&target.storage, async |storage, output| {
        let Some(value) = storage.load_data(&target.context, &key).await? else {
            note(CodedMessage::new(ErrorCode::NotFound, "not found: the context has no such key"));
            return Ok(Exit::Finding);
        };
        output.line(target.write(&value))?;
        Ok(Exit::Success)
    });
    get.await
}

async fn put(context: &mut CommandContext, arguments: &PutArguments) -> CommandResult {
    let target = &arguments.target;
    let entry = (target.read(&arguments.key)?, target.read(&arguments.value)?);
    let put = context.with_data(&target.storage, async |storage, _| {
        storage.put_data(&target.context, &[entry]).await?;
        note_if_lost(storage);
        Ok(Exit::Success)
    });
    put.await
}

/// Without a server, what was written ends with the command.
fn note_if_lost(storage: &dyn DataStorage) {
    if !storage.durable() {
        note(format_args!(
            "warning: nothing is kept: a storage on `{}` ends with this command, and others do not see it",
            storage.name()
        ));
    }
}

async fn delete(context: &mut CommandContext, arguments: &DeleteArguments) -> CommandResult {
    let target = &arguments.target;
    let keys: Vec<_> = arguments.keys.iter().map(|key| target.read(key)).collect::<Result<_, _>>()?;
    let delete = context.with_data(&target.storage, async |storage, output| {
        let found = storage.contains_data(&target.context, &keys).await?;
        let found = found.into_iter().filter(|found| *found).count();
        let question =
            format!("{found} of {} keys exist. Remove them from {:?}?", keys.len(), target.context);
        if !arguments.yes && !confirm(question)? {
            return Err(CommandError::usage(ErrorCode::Declined, "nothing was removed").into());
        }
        storage.delete_data(&target.context, &keys).await?;
        output.line(format_args!("removed {found}"))?;
        Ok(Exit::Success)
    });
    delete.await
}

impl ContextArguments {
    /// The bytes of a key or a value.
    fn read(&self, text: &str) -> Result<Bytes, CommandError> {
        if self.text {
            return Ok(Bytes::copy_from_slice(text.as_bytes()));
        }
        hex::decode(text).map(Bytes::from).map_err(|_| {
            let message = "expected keys and values in hexadecimal; use --text for plain text";
            CommandError::usage(ErrorCode::Usage, message)
        })
    }

    fn write(&self, bytes: &[u8]) -> String {
        let text = std::str::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control));
        match text {
            _ if !self.text => hex::encode(bytes),
            Some(text) => text.to_owned(),
            None => format!("hex:{}", hex::encode(bytes)),
        }
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(text: bool) -> ContextArguments {
        let storage = StorageArguments { config: "tracker.yaml".into(), at: "storage".to_owned() };
        ContextArguments { storage, context: Context::new("any").unwrap(), text }
    }

    #[test]
    fn bytes_are_read_as_they_are_written() {
        for (form, text) in [(arguments(false), "00ff"), (arguments(false), ""), (arguments(true), "ключ")]
        {
            assert_eq!(form.write(&form.read(text).unwrap()), text);
        }
        assert_eq!(arguments(true).write(b"a\nb"), "hex:610a62");
        assert!(arguments(false).read("ключ").is_err());
    }
}
