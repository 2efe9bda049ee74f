//! Storages on CockroachDB, as the project recommends them.

use storage_pg::recommended::{AddressColumn, Dialect, Recommendation};

use super::pg::Design;
use super::{Fresh, TestTarget, UnderTest};
use crate::runtime::block_on;
use crate::servers::{Missing, Servers};

pub(super) fn all() -> Vec<UnderTest> {
    vec![
        under_test("cockroach/inet", AddressColumn::Inet),
        under_test("cockroach/bytea", AddressColumn::Bytea),
    ]
}

fn under_test(name: &str, address: AddressColumn) -> UnderTest {
    let recommendation =
        Recommendation { dialect: Dialect::Cockroachdb, address, ..Recommendation::default() };
    let design = Design::from(recommendation);
    let under_test = UnderTest::new(name, move || {
        let server = Servers::shared().cockroach()?;
        let database = block_on(server.database(&design.tables)).map_err(Missing::failed)?;
        let config = design.config_at(database.url().to_string());
        Ok(Fresh::new(config, TestTarget::SqlDatabase(database)))
    });
    under_test.on_rare(|| Servers::shared().cockroach())
}
