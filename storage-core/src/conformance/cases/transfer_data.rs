//! T1: export and import of data.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::transfer::{not_once, pages};
use crate::conformance::{CaseResult, TestContext};
use crate::{Capability, Cursor, DataRecord, Imported, Operation};

pub(super) const IN: &[Capability] = &[Capability::ImportData];
pub(super) const OUT: &[Capability] = &[Capability::ExportData];

const IMPORT: Operation = Operation::ImportData;

async fn import(test: &TestContext, records: &[DataRecord]) -> CaseResult<Imported> {
    for record in records {
        test.adopt_data(&record.context, [record.key.clone()]);
    }
    let imported = test.storage().import_data(records).await;
    test.ok(&format!("import {} entries of data", records.len()), imported)
}

/// Entries that text would spoil, in a context of their own.
fn records(test: &TestContext) -> CaseResult<Vec<DataRecord>> {
    let context = test.context()?;
    let all_bytes: Bytes = (0..=u8::MAX).collect();
    let entries = [
        (Bytes::from_static(b""), all_bytes.clone()),
        (Bytes::from_static(b"empty"), Bytes::new()),
        (Bytes::from_static(b"a\0b\xff\xfe"), Bytes::from_static(b"\0")),
        (all_bytes, Bytes::from_static(b"value")),
    ];
    Ok(entries.map(|(key, value)| DataRecord { context: context.clone(), key, value }).into())
}

pub(super) async fn binary_data_comes_in(test: &TestContext) -> CaseResult {
    let records = records(test)?;
    let imported = import(test, &records).await?;
    test.equal("import 4 entries of data", IMPORT, Imported { written: 4, kept: 0 }, imported)?;
    for DataRecord { context, key, value } in &records {
        let did = format!("import a value under the key b\"{}\"", key.escape_ascii());
        test.loads(&did, IMPORT, context, key, Some(value)).await?;
    }
    Ok(())
}

pub(super) async fn what_is_there_stays(test: &TestContext) -> CaseResult {
    let (context, key) = (test.context()?, Bytes::from_static(b"key"));
    test.put_data(&context, &[(key.clone(), Bytes::from_static(b"there"))]).await?;
    let record = DataRecord { context: context.clone(), key, value: Bytes::from_static(b"imported") };
    let did = "put a value, then import another under its key";
    let imported = import(test, &[record]).await?;
    test.equal(did, IMPORT, Imported { written: 0, kept: 1 }, imported)?;
    test.loads(did, IMPORT, &context, b"key", Some(b"there")).await
}

pub(super) async fn an_empty_value_stays(test: &TestContext) -> CaseResult {
    let (context, key) = (test.context()?, Bytes::from_static(b"key"));
    test.put_data(&context, &[(key.clone(), Bytes::new())]).await?;
    import(test, &[DataRecord { context: context.clone(), key: key.clone(), value: key }]).await?;
    let did = "put an empty value, then import another under its key";
    test.loads(did, IMPORT, &context, b"key", Some(b"")).await
}

pub(super) async fn importing_again_changes_nothing(test: &TestContext) -> CaseResult {
    let records = records(test)?;
    import(test, &records).await?;
    let imported = import(test, &records).await?;
    test.equal("import 4 entries of data twice", IMPORT, Imported { written: 0, kept: 4 }, imported)
}

pub(super) async fn an_empty_batch_is_no_error(test: &TestContext) -> CaseResult {
    let imported = import(test, &[]).await?;
    test.equal("import no data", IMPORT, Imported::default(), imported)
}

pub(super) async fn pages_give_every_entry_once(test: &TestContext) -> CaseResult {
    test.only_if_exclusive()?;
    let (mut records, second) = (records(test)?, test.context()?);
    let number = |number: u8| Bytes::copy_from_slice(&[number]);
    records.extend((0..20).map(|n| DataRecord { context: second.clone(), key: number(n), value: number(n) }));
    for DataRecord { context, key, value } in &records {
        test.put_data(context, &[(key.clone(), value.clone())]).await?;
    }
    let did = "put 24 entries of data into two contexts, export all in pages of 7: how often each came";
    let fetch = |from: Option<Cursor>| async move { test.storage().export_data(from.as_ref(), 7).await };
    let found = not_once(records, pages(test, did, fetch).await?);
    test.equal(&format!("{did}, if not once"), Operation::ExportData, BTreeMap::new(), found)
}
