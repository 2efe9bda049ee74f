//! Data: writes go to the storage at once, and what was read of late is answered from memory.

use async_trait::async_trait;
use bytes::Bytes;
use storage_core::{Backend, Context, DataStorage, Operation, Result};

use crate::CachedStorage;
use crate::data_cache::{Asking, DataKey, DataLookup, Known};
use crate::shared::Shared;

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: DataStorage + ?Sized + 'static> DataStorage for CachedStorage<S> {
    async fn put_data(&self, context: &Context, entries: &[(Bytes, Bytes)]) -> Result<()> {
        let Self { shared, .. } = self;
        let keys = || entries.iter().map(|(key, _)| &**key);
        shared.write_data(Operation::PutData, context, keys, shared.backend.put_data(context, entries)).await
    }

    async fn load_data(&self, context: &Context, key: &[u8]) -> Result<Option<Bytes>> {
        let Self { shared, .. } = self;
        let known = shared.read_data(Operation::LoadData, context, &[Bytes::copy_from_slice(key)]).await?;
        Ok(known.into_iter().find_map(|known| match known {
            Known::Value(value) => Some(value),
            _ => None,
        }))
    }

    async fn contains_data(&self, context: &Context, keys: &[Bytes]) -> Result<Vec<bool>> {
        let Self { shared, .. } = self;
        let known = shared.read_data(Operation::ContainsData, context, keys).await?;
        Ok(known.into_iter().map(|known| known != Known::Absent).collect())
    }

    async fn delete_data(&self, context: &Context, keys: &[Bytes]) -> Result<()> {
        let Self { shared, .. } = self;
        let named = || keys.iter().map(|key| &**key);
        shared
            .write_data(Operation::DeleteData, context, named, shared.backend.delete_data(context, keys))
            .await
    }
}

/// Calls that ask for keys. Dropped without an answer, those who wait ask themselves.
struct Asked<'a, S: Backend + ?Sized> {
    shared: &'a Shared<S>,
    asking: Vec<(usize, Asking)>,
}

impl<S: Backend + ?Sized> Asked<'_, S> {
    /// Tells what is known now of the keys asked for, in their order.
    fn answer(&mut self, known: impl IntoIterator<Item = Known>, told: &mut [Option<Known>]) {
        for ((place, asking), known) in std::mem::take(&mut self.asking).into_iter().zip(known) {
            told[place] = Some(known.clone());
            self.shared.data.answered(asking, Some(known));
        }
    }
}

impl<S: Backend + ?Sized> Drop for Asked<'_, S> {
    fn drop(&mut self) {
        for (_, asking) in self.asking.drain(..) {
            self.shared.data.answered(asking, None);
        }
    }
}

impl<S: DataStorage + ?Sized> Shared<S> {
    /// Asks the storage inside for the values of keys, or whether they are there.
    async fn ask(&self, operation: Operation, context: &Context, keys: &[Bytes]) -> Result<Vec<Known>> {
        if operation == Operation::ContainsData {
            let found = self.backend.contains_data(context, keys).await?;
            return Ok(found
                .into_iter()
                .map(|there| if there { Known::Present } else { Known::Absent })
                .collect());
        }
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            values.push(self.backend.load_data(context, key).await?.map_or(Known::Absent, Known::Value));
        }
        Ok(values)
    }

    /// What is known of these keys, after those were asked for of which nothing is.
    async fn read_data(&self, operation: Operation, context: &Context, keys: &[Bytes]) -> Result<Vec<Known>> {
        if !self.data.is_on() {
            return self.noted(self.ask(operation, context, keys).await);
        }
        let needs_value = operation == Operation::LoadData;
        let mut told: Vec<Option<Known>> = vec![None; keys.len()];
        loop {
            let mut waits = Vec::new();
            let mut asked = Asked { shared: self, asking: Vec::new() };
            for (place, key) in keys.iter().enumerate() {
                if told[place].is_some() {
                    continue;
                }
                let key = DataKey::new(context, key);
                if self.state.is_away() {
                    told[place] =
                        Some(self.data.look_up_any(&key, needs_value).ok_or_else(|| self.away(operation))?);
                    continue;
                }
                match self.data.look_up(key, needs_value) {
                    DataLookup::Known(known) => told[place] = Some(known),
                    DataLookup::Wait(wait) => waits.push(wait),
                    DataLookup::Ask(asking) => asked.asking.push((place, asking)),
                }
            }
            if !asked.asking.is_empty() {
                let wanted: Vec<_> = asked.asking.iter().map(|(place, _)| keys[*place].clone()).collect();
                match self.state.timed(self.ask(operation, context, &wanted)).await {
                    Ok(known) => asked.answer(known, &mut told),
                    // Memory may know, if the backend is away.
                    Err(error) if self.state.failed(&error) => continue,
                    Err(error) => return Err(crate::shared::of_backend(error)),
                }
            }
            for wait in waits {
                // Answered or given up: look again.
                let _ = wait.await;
            }
            if told.iter().all(Option::is_some) {
                return Ok(told.into_iter().flatten().collect());
            }
        }
    }

    async fn write_data<'a, K: Iterator<Item = &'a [u8]>>(
        &self,
        operation: Operation,
        context: &Context,
        keys: impl Fn() -> K,
        write: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        if self.state.is_away() {
            return Err(self.away(operation));
        }
        self.data.forget(context, keys());
        let written = self.noted(write.await);
        self.data.forget(context, keys());
        written
    }
}
