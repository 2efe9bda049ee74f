//! A connection in use.

use std::ops::{Deref, DerefMut};
use std::time::Instant;

use deadpool::managed::Object;
use sqlx::PgConnection;

use super::closing::close_in_background;
use super::manager::Manager;

/// A connection in use. One that is dropped without [`release`](Self::release) may be in the middle
/// of something, and is closed.
pub(crate) struct Lease {
    connection: PgConnection,
    place: Place,
}

impl Lease {
    pub(super) fn new(connection: PgConnection, object: Object<Manager>) -> Self {
        Self { connection, place: Place(Some(object)) }
    }

    /// Gives the connection back to the pool: the last statement has ended, well or with an error
    /// that the server answered, and no transaction is open.
    pub(crate) fn release(self) {
        let Self { connection, place } = self;
        place.give_back(connection);
    }
}

impl Deref for Lease {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

/// The place in the pool that a lease has; it is given up when dropped.
struct Place(Option<Object<Manager>>);

impl Place {
    fn give_back(mut self, connection: PgConnection) {
        let Some(mut object) = self.0.take() else { return };
        let is_open = Object::pool(&object).is_some_and(|pool| !pool.manager().is_closed());
        if is_open {
            object.idle_since = Instant::now();
            object.connection = Some(connection);
        } else {
            drop(Object::take(object));
            close_in_background(connection);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(object) = self.0.take() else { return };
        if let Some(pool) = Object::pool(&object) {
            pool.manager().lost(&object);
        }
        drop(Object::take(object));
    }
}
