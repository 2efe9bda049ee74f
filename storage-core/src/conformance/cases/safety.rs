//! S1: destructive queries touch only what they are given, and a swarm can be forgotten.

use crate::conformance::{CaseError, CaseResult, TestContext, Violation, sample};
use crate::{Capability, Operation, Role};

pub(super) async fn delete_peer_query_has_no_excess_rows(test: &TestContext) -> CaseResult {
    touches_only_its_own(test, Operation::DeletePeer).await
}

pub(super) async fn graduate_peer_query_has_no_excess_rows(test: &TestContext) -> CaseResult {
    touches_only_its_own(test, Operation::GraduatePeers).await
}

pub(super) async fn write_peers_query_has_no_excess_rows(test: &TestContext) -> CaseResult {
    touches_only_its_own(test, Operation::WritePeers).await
}

pub(super) async fn collect_garbage_query_has_no_excess_rows(test: &TestContext) -> CaseResult {
    touches_only_its_own(test, Operation::CollectGarbage).await
}

pub(super) async fn delete_data_query_has_no_excess_rows(test: &TestContext) -> CaseResult {
    touches_only_its_own(test, Operation::DeleteData).await
}

pub(super) async fn forget_swarm_query_has_no_excess_rows(test: &TestContext) -> CaseResult {
    touches_only_its_own(test, Operation::ForgetSwarm).await
}

async fn touches_only_its_own(test: &TestContext, operation: Operation) -> CaseResult {
    let reports =
        test.ok("check the scope of destructive queries", test.storage().check_query_scope().await)?;
    let mut reports = reports.into_iter().filter(|report| report.operation == operation).peekable();
    let reason = format!("the storage has no query of `{operation}` to check");
    test.skip_unless(reports.peek().is_some(), &reason)?;
    for report in reports {
        if let Some(excess_rows) = report.excess_rows {
            let did = format!("check the scope of `{}` without leaving a trace", report.key);
            let failure = Violation::new(did, "it touches its own entry alone", excess_rows);
            return Err(CaseError::Failed(Violation { likely_cause: Some(report.key), ..failure }));
        }
    }
    Ok(())
}

pub(super) async fn forgetting_removes_the_peers(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    test.put(&info_hash, &sample::peer(1), Role::Seeder).await?;
    test.put(&info_hash, &sample::peer(2), Role::Leecher).await?;
    test.put(&info_hash, &sample::peer_v6(3), Role::Leecher).await?;
    let forgotten = test.ok("forget the swarm", test.storage().forget_swarm(&info_hash).await)?;
    test.equal("forget a swarm of three peers", Operation::ForgetSwarm, 3, forgotten.peers)?;
    test.counts("forget the swarm, then scrape", Operation::ForgetSwarm, &info_hash, 0, 0).await
}

pub(super) async fn forgetting_removes_the_downloads(test: &TestContext) -> CaseResult {
    let (info_hash, operation) = (test.info_hash(), Operation::ForgetSwarm);
    test.graduate(&info_hash, &sample::peer(1)).await?;
    let forgotten = test.ok("forget the swarm", test.storage().forget_swarm(&info_hash).await)?;
    test.equal("forget a swarm with downloads: are they gone?", operation, true, forgotten.downloads)?;
    test.downloads("forget a swarm with downloads, then scrape", operation, &info_hash, 0).await
}

pub(super) async fn forgetting_leaves_other_swarms_alone(test: &TestContext) -> CaseResult {
    let ((short, long), other) = (test.twin_info_hashes(), test.info_hash());
    for info_hash in [short, long, other] {
        test.put(&info_hash, &sample::peer(1), Role::Seeder).await?;
    }
    test.ok("forget the swarm", test.storage().forget_swarm(&short).await)?;
    let did = "forget a swarm, then scrape another with the same peer";
    test.counts(did, Operation::ForgetSwarm, &other, 1, 0).await?;
    let did = "forget a v1 swarm, then scrape the v2 swarm whose hash begins like it";
    test.counts(did, Operation::ForgetSwarm, &long, 1, 0).await
}

pub(super) async fn forgetting_many_leaves_other_swarms_alone(test: &TestContext) -> CaseResult {
    let ((short, long), other, operation) =
        (test.twin_info_hashes(), test.info_hash(), Operation::ForgetSwarm);
    for info_hash in [short, long, other] {
        test.put(&info_hash, &sample::peer(1), Role::Seeder).await?;
        test.put(&info_hash, &sample::peer(2), Role::Leecher).await?;
    }
    // One of them twice, and one that is not known.
    let forgotten = [short, other, short, test.info_hash()];
    let forgotten = test.storage().forget_swarms(&forgotten).await;
    let forgotten = test.ok("forget two swarms of two peers each", forgotten)?;
    test.equal("forget two swarms of two peers each", operation, 4, forgotten.peers)?;
    for info_hash in [short, other] {
        test.counts("forget swarms, then scrape one of them", operation, &info_hash, 0, 0).await?;
    }
    let did = "forget swarms, then scrape the v2 swarm whose hash begins like that of one";
    test.counts(did, operation, &long, 1, 1).await?;
    let none = test.ok("forget no swarms", test.storage().forget_swarms(&[]).await)?;
    test.equal("forget no swarms", operation, 0, none.peers)
}

pub(super) async fn forgetting_an_unknown_swarm_is_no_error(test: &TestContext) -> CaseResult {
    let forgotten = test.storage().forget_swarm(&test.info_hash()).await;
    let forgotten = test.ok("forget a swarm that is not known", forgotten)?;
    test.equal("forget a swarm that is not known", Operation::ForgetSwarm, 0, forgotten.peers)
}

pub(super) const FORGETS_DOWNLOADS: &[Capability] = &[Capability::Downloads, Capability::ForgetDownloads];
