//! D1, D2, D3: arbitrary data.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::conformance::{CaseError, CaseResult, TestContext, Violation, sample};
use crate::{Context, Operation, Result, Role, Storage};

const PUT: Operation = Operation::PutData;
const DELETE: Operation = Operation::DeleteData;

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn entry(key: &'static str, value: &'static str) -> (Bytes, Bytes) {
    (bytes(key), bytes(value))
}

pub(super) async fn binary_data_comes_back(test: &TestContext) -> CaseResult {
    let context = test.context()?;
    let all_bytes: Bytes = (0..=u8::MAX).collect();
    let keys = [bytes("text"), bytes("\0"), bytes("a\0b"), Bytes::from_static(b"\xff\xfe\x80"), all_bytes];
    let entries: Vec<_> = keys.iter().cloned().zip(keys.iter().rev().cloned()).collect();
    test.put_data(&context, &entries).await?;
    for (key, value) in &entries {
        let did = format!("put a value under the key b\"{}\"", key.escape_ascii());
        test.loads(&did, PUT, &context, key, Some(value)).await?;
    }
    Ok(())
}

pub(super) async fn an_empty_value_is_not_absent(test: &TestContext) -> CaseResult {
    let context = test.context()?;
    test.put_data(&context, &[entry("key", "")]).await?;
    test.loads("put an empty value", PUT, &context, b"key", Some(b"")).await?;
    let found = test.contains(&context, &[bytes("key")]).await?;
    test.equal("put an empty value: is it there?", Operation::ContainsData, vec![true], found)
}

pub(super) async fn the_empty_key_is_a_key(test: &TestContext) -> CaseResult {
    let context = test.context()?;
    test.put_data(&context, &[entry("", "value")]).await?;
    test.loads("put a value under the empty key", PUT, &context, b"", Some(b"value")).await
}

pub(super) async fn the_empty_context_is_a_context(test: &TestContext) -> CaseResult {
    is_a_context(test, "").await
}

pub(super) async fn a_context_is_any_text(test: &TestContext) -> CaseResult {
    for name in ["прокси", "it's \"quoted\"; -- $1 @key", "CHI_%_{x}*\n"] {
        is_a_context(test, &format!("{name}{:032x}", rand::random::<u128>())).await?;
    }
    Ok(())
}

async fn is_a_context(test: &TestContext, name: &str) -> CaseResult {
    let (context, key) = (test.context_named(name)?, test.key());
    test.put_data(&context, &[(key.clone(), bytes("value"))]).await?;
    test.loads(&format!("put data in the context {name:?}"), PUT, &context, &key, Some(b"value")).await
}

pub(super) async fn keys_differ_by_any_byte(test: &TestContext) -> CaseResult {
    let context = test.context()?;
    let keys: [&[u8]; 12] = [
        b"key",
        b"KEY",
        b"key ",
        b" key",
        b"key\0",
        b"ke",
        b"",
        b"k\xc3\xa9y",
        b"k\xffy",
        b"k\xfey",
        b"\\x6b6579",
        b"6b6579",
    ];
    let entries = keys.map(|key| (Bytes::from_static(key), Bytes::from_static(key)));
    test.put_data(&context, &entries).await?;
    for key in keys {
        let key_text = key.escape_ascii();
        let did = format!("put each of 12 similar keys with itself as value, load b\"{key_text}\"");
        test.loads(&did, PUT, &context, key, Some(key)).await?;
    }
    Ok(())
}

pub(super) async fn a_value_may_have_a_mebibyte(test: &TestContext) -> CaseResult {
    let context = test.context()?;
    let value: Bytes = (0..1 << 20).map(|place: u32| (place % 251) as u8).collect();
    test.put_data(&context, &[(bytes("key"), value.clone())]).await?;
    test.loads("put a value of 1 MiB", PUT, &context, b"key", Some(&value)).await
}

pub(super) async fn putting_overwrites(test: &TestContext) -> CaseResult {
    let context = test.context()?;
    test.put_data(&context, &[entry("key", "old")]).await?;
    test.put_data(&context, &[entry("key", "new")]).await?;
    test.loads("put a key twice", PUT, &context, b"key", Some(b"new")).await
}

pub(super) async fn putting_many_overwrites(test: &TestContext) -> CaseResult {
    let context = test.context()?;
    test.put_data(&context, &[entry("there", "old")]).await?;
    test.put_data(&context, &[entry("before", "new"), entry("there", "new"), entry("after", "new")]).await?;
    for key in ["before", "there", "after"] {
        let did = format!("put three keys, one of which was there, load `{key}`");
        test.loads(&did, PUT, &context, key.as_bytes(), Some(b"new")).await?;
    }
    Ok(())
}

pub(super) async fn of_a_key_given_twice_the_last_wins(test: &TestContext) -> CaseResult {
    let context = test.context()?;
    test.put_data(&context, &[entry("key", "first"), entry("other", "x"), entry("key", "last")]).await?;
    test.loads("put a key twice in one call", PUT, &context, b"key", Some(b"last")).await
}

pub(super) async fn a_hundred_keys_in_one_put(test: &TestContext) -> CaseResult {
    let context = test.context()?;
    let mut entries: Vec<_> = (0..99).map(|n| (Bytes::from(format!("key {n}")), bytes("value"))).collect();
    entries.push(entry("key 7", "last"));
    test.put_data(&context, &entries).await?;
    let keys: Vec<_> = entries.iter().map(|(key, _)| key.clone()).collect();
    let found = test.contains(&context, &keys).await?;
    let did = "put 100 keys in one call, one of them given twice: are they there?";
    test.equal(did, PUT, vec![true; 100], found)?;
    test.loads("put 100 keys in one call, one given twice", PUT, &context, b"key 7", Some(b"last")).await
}

pub(super) async fn putting_nothing_is_no_error(test: &TestContext) -> CaseResult {
    let context = test.context()?;
    test.ok("put no entries", test.storage().put_data(&context, &[]).await)?;
    test.ok("delete no keys", test.storage().delete_data(&context, &[]).await)?;
    let found = test.contains(&context, &[]).await?;
    test.equal("look for no keys", Operation::ContainsData, Vec::new(), found)
}

pub(super) async fn what_is_absent_is_none(test: &TestContext) -> CaseResult {
    let context = test.context()?;
    let did = "load a key from a context that is not known";
    test.loads(did, Operation::LoadData, &context, b"absent", None).await?;
    test.put_data(&context, &[entry("key", "value")]).await?;
    test.loads("load a key that is absent", Operation::LoadData, &context, b"absent", None).await
}

pub(super) async fn contains_answers_for_each_key(test: &TestContext) -> CaseResult {
    let context = test.context()?;
    test.put_data(&context, &[entry("a", "x"), entry("c", "x")]).await?;
    let did = "put `a` and `c`, look for";
    let operation = Operation::ContainsData;
    let found = test.contains(&context, &["a", "b", "c", "a", "d"].map(bytes)).await?;
    test.equal(&format!("{did} a, b, c, a, d"), operation, vec![true, false, true, true, false], found)?;
    let found = test.contains(&context, &[bytes("b")]).await?;
    test.equal(&format!("{did} b"), operation, vec![false], found)
}

pub(super) async fn deleting_removes_the_keys_named(test: &TestContext) -> CaseResult {
    let context = test.context()?;
    test.put_data(&context, &[entry("a", "x"), entry("b", "x"), entry("c", "x")]).await?;
    test.ok("delete two keys", test.storage().delete_data(&context, &["a", "c"].map(bytes)).await)?;
    let found = test.contains(&context, &["a", "b", "c"].map(bytes)).await?;
    test.equal("put a, b, c, delete a and c: which are there?", DELETE, vec![false, true, false], found)
}

pub(super) async fn deleting_ignores_absent_keys(test: &TestContext) -> CaseResult {
    let context = test.context()?;
    test.put_data(&context, &[entry("a", "x")]).await?;
    let deleted = test.storage().delete_data(&context, &["absent", "a", "gone"].map(bytes)).await;
    test.ok("delete keys, some of which are absent", deleted)?;
    test.loads("delete a key among absent ones", DELETE, &context, b"a", None).await?;
    let deleted = test.storage().delete_data(&test.context()?, &[bytes("a")]).await;
    test.ok("delete a key from a context that is not known", deleted)
}

pub(super) async fn contexts_do_not_see_each_other(test: &TestContext) -> CaseResult {
    let (first, second) = (test.context()?, test.context()?);
    test.put_data(&first, &[entry("key", "first"), entry("other", "x")]).await?;
    test.put_data(&second, &[entry("key", "second")]).await?;
    let did = "put the same key in two contexts";
    test.loads(did, PUT, &first, b"key", Some(b"first")).await?;
    test.loads(did, PUT, &second, b"key", Some(b"second")).await?;
    let did = "load a key that another context has";
    test.loads(did, Operation::LoadData, &second, b"other", None).await?;
    let found = test.contains(&second, &[bytes("other")]).await?;
    test.equal("look for a key that another context has", Operation::ContainsData, vec![false], found)?;
    test.ok("delete data", test.storage().delete_data(&first, &[bytes("key")]).await)?;
    test.loads("delete the key in the other context", DELETE, &second, b"key", Some(b"second")).await
}

pub(super) async fn many_are_seen_all_or_none(test: &TestContext) -> CaseResult {
    for round in 0..6 {
        let context = test.context()?;
        let keys: Vec<_> = (0..40).map(|number| Bytes::from(format!("key {number:02}"))).collect();
        test.adopt_data(&context, keys.iter().cloned());
        let (watched, other) = if round % 2 == 0 { (0, 39) } else { (39, 0) };
        let (watched, other) = (keys[watched].clone(), keys[other].clone());
        let entries: Vec<_> = keys.into_iter().map(|key| (key, bytes("value"))).collect();
        let (putting, watching) = (Arc::clone(test.storage()), Arc::clone(test.storage()));
        let target = context.clone();
        let calls: [BoxFuture<'static, Result<bool>>; 2] = [
            Box::pin(async move { putting.put_data(&target, &entries).await.map(|()| true) }),
            Box::pin(async move { is_followed_by(&*watching, &context, &watched, &other).await }),
        ];
        let did = "put 40 keys in one call and load two of them meanwhile";
        let seen = test.all_ok(did, test.at_once(calls).await?)?;
        let did = "put 40 keys in one call, load one of them until it is there, then another: is it there?";
        test.equal(did, PUT, vec![true, true], seen)?;
    }
    Ok(())
}

/// Waits for the key `watched`, then says whether `other` is there too.
async fn is_followed_by(
    storage: &dyn Storage,
    context: &Context,
    watched: &[u8],
    other: &[u8],
) -> Result<bool> {
    let arrival = async {
        while storage.load_data(context, watched).await?.is_none() {
            tokio::task::yield_now().await;
        }
        Ok(())
    };
    if let Ok(arrived) = tokio::time::timeout(Duration::from_secs(10), arrival).await {
        arrived?;
    }
    Ok(storage.load_data(context, other).await?.is_some())
}

pub(super) async fn concurrent_puts_do_not_mix(test: &TestContext) -> CaseResult {
    let context = test.context()?;
    let keys: Vec<_> = (0..20).map(|number| Bytes::from(format!("key {number}"))).collect();
    test.adopt_data(&context, keys.iter().cloned());
    let puts = (0..8).map(|writer: u8| {
        let (storage, context) = (Arc::clone(test.storage()), context.clone());
        let mut entries: Vec<_> =
            keys.iter().map(|key| (key.clone(), Bytes::copy_from_slice(&[writer]))).collect();
        if writer % 2 == 1 {
            entries.reverse();
        }
        async move { storage.put_data(&context, &entries).await }
    });
    let did = "put the same 20 keys in 8 tasks, each with its own value and some in reverse order";
    test.all_ok(did, test.at_once(puts).await?)?;
    let mut values = Vec::new();
    for key in &keys {
        values.push(test.ok("load data", test.storage().load_data(&context, key).await)?);
    }
    values.dedup();
    test.holds(
        did,
        PUT,
        "one task's value under all 20 keys",
        values.len() == 1 && values[0].is_some(),
        values,
    )
}

pub(super) async fn names_of_the_peers_keys_are_refused(_scene: &TestContext) -> CaseResult {
    for name in ["I", "D", "C_S", "C_L", "S4_", "S4_x", "S6_x", "L4_x", "L6_x", "L6_\u{fffd}"] {
        if Context::new(name).is_ok() {
            let did = format!("make the context {name:?}");
            return Err(CaseError::Failed(Violation::new(did, "it is refused as reserved", "it is taken")));
        }
    }
    Ok(())
}

pub(super) async fn names_like_the_peers_keys_disturb_no_swarm(test: &TestContext) -> CaseResult {
    let (info_hash, operation) = (test.info_hash(), PUT);
    test.put(&info_hash, &sample::peer(1), Role::Seeder).await?;
    test.put(&info_hash, &sample::peer_v6(2), Role::Leecher).await?;
    for name in ["S4", "L6", "s4_x", "S5_x", "i", "d", "II", "C", "C_X", "c_s", "CHI_I", "CHI_D"] {
        is_a_context(test, name).await?;
        let did = format!("put data in the context {name:?}, then scrape a swarm");
        test.counts(&did, operation, &info_hash, 1, 1).await?;
    }
    Ok(())
}
