//! What part a server plays, as `target_session_attrs` asks for it.

use sqlx::{PgConnection, Row};

use super::settings::TargetSession;

/// Whether a server will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suitability {
    Suits,
    /// It will, if there is no better one.
    SecondChoice,
    /// It won't; this is what it is.
    Unfit(&'static str),
}

/// Asks the server, unless any will do.
pub(super) async fn judge_role(
    connection: &mut PgConnection,
    target: TargetSession,
) -> sqlx::Result<Suitability> {
    let fit = match target {
        TargetSession::Any => Suitability::Suits,
        TargetSession::ReadWrite if is_read_only(connection).await? => Suitability::Unfit("it is read-only"),
        TargetSession::ReadOnly if !is_read_only(connection).await? => {
            Suitability::Unfit("it is not read-only")
        }
        TargetSession::Primary if is_standby(connection).await? => Suitability::Unfit("it is a standby"),
        TargetSession::Standby if !is_standby(connection).await? => Suitability::Unfit("it is no standby"),
        TargetSession::PreferStandby if !is_standby(connection).await? => Suitability::SecondChoice,
        _ => Suitability::Suits,
    };
    Ok(fit)
}

async fn is_read_only(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let row = sqlx::raw_sql("SHOW transaction_read_only").fetch_one(connection).await?;
    Ok(row.try_get::<&str, _>(0)? == "on")
}

async fn is_standby(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::raw_sql("SELECT pg_is_in_recovery()").fetch_one(connection).await?.try_get(0)
}
