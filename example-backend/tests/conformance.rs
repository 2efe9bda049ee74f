//! The conformance suite on this backend.

use std::sync::Arc;

use async_trait::async_trait;
use example_backend::ExampleDriver;
use storage_core::config::{StorageConfig, Value};
use storage_core::conformance::{Outcome, Provider, Suite};
use storage_core::{Backends, Capability, OpenError, Storage};

struct Example;

#[async_trait]
impl Provider for Example {
    async fn open(&self) -> Result<Arc<dyn Storage>, OpenError> {
        let config = StorageConfig { name: "example".into(), config: Value::Null };
        Ok(Backends::new().with(ExampleDriver).open(config).await?.storage)
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    fn is_private(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_must_and_every_should_holds() {
    let lacking = Example.open().await.unwrap().missing_capabilities();
    let lacking: Vec<_> = lacking.iter().map(|(capability, _)| capability).collect();
    assert_eq!(lacking, [Capability::AtomicWrites], "cases are skipped for it");
    let suite = Suite::new(Arc::new(Example));
    let mut broken = Vec::new();
    for case in Suite::cases() {
        match suite.run(case).await {
            Outcome::Passed => println!("ok {}", case.name()),
            Outcome::Skipped(reason) => println!("skipped {}: {reason}", case.name()),
            Outcome::Failed(failure) | Outcome::Warned(failure) => {
                broken.push(format!("{}\n{failure}", case.name()));
            }
        }
    }
    assert!(broken.is_empty(), "{} rules are broken:\n\n{}\n", broken.len(), broken.join("\n\n"));
}
