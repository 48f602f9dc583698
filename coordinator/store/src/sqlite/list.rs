//! Lists of sagas, newest first.
//!
//! A list is put together from short walks, each along one index and already in the order of the list, so
//! its cost is that of its page and not of the history. A walk with a further condition may pass over
//! rows; the walks are chosen so that the condition that is passed over is the one that fits many.

use super::{
    append::integer,
    connect::failed,
    row::{self, STORED_COLUMNS},
};
use crate::{Error, Filter, Stored, is_live};
use amends_saga::{SagaId, Status};
use sqlx::{
    AssertSqlSafe, Row as _,
    sqlite::{SqliteArguments, SqliteConnection},
};

/// Reads a page of sagas; see [`crate::Store::list`].
pub(super) async fn list(
    connection: &mut SqliteConnection,
    filter: &Filter,
    after: Option<SagaId>,
    limit: usize,
) -> Result<Vec<Stored>, Error> {
    let Some(walks) = walks(connection, filter).await? else { return Ok(Vec::new()) };
    let mut page = Page { sql: String::new(), arguments: SqliteArguments::default() };
    page.text(&format!(
        "select {STORED_COLUMNS} from saga s join saga_definition d on d.n = s.definition \
         where s.id in (select id from ("
    ));
    for (at, walk) in walks.iter().enumerate() {
        page.text(if at == 0 { "" } else { " union all " });
        page.walk(walk, filter, after, limit)?;
    }
    page.text(") order by id desc limit ?) order by s.id desc");
    page.bind(integer(limit as u64))?;
    let query = sqlx::query_with(AssertSqlSafe(page.sql), page.arguments).persistent(false);
    Ok(row::readable(&query.fetch_all(connection).await.map_err(failed)?))
}

/// One way through the sagas, newest first.
enum Walk {
    /// Along all of them.
    All,
    /// The one with the key.
    Key(String),
    /// Those with a label.
    Label(String, String),
    /// Those with a status and an owner. Nobody's are those that wait for an operator only, those that sleep,
    /// and those that have ended, but for completed ones that were revived.
    Status(i64, Option<i64>),
    /// Those of a definition with a status.
    Definition(i64, i64),
}

/// More definitions than this of one name are told apart by passing over rows.
const DEFINITIONS_WALKED_MAX: usize = 8;

/// Chooses the walks for a filter, `None` when nothing can fit it.
async fn walks(connection: &mut SqliteConnection, filter: &Filter) -> Result<Option<Vec<Walk>>, Error> {
    if let Some(key) = &filter.key {
        return Ok(Some(vec![Walk::Key(key.clone())]));
    }
    if let Some((name, value)) = filter.labels.first_key_value() {
        return Ok(Some(vec![Walk::Label(name.clone(), value.clone())]));
    }
    let statuses = statuses(filter);
    if statuses.is_empty() {
        return Ok(None);
    }
    if filter.definition.is_some() || filter.version.is_some() {
        let numbers = definitions(connection, filter).await?;
        if numbers.is_empty() {
            return Ok(None);
        }
        if numbers.len() <= DEFINITIONS_WALKED_MAX {
            let each =
                |number: &i64| statuses.iter().map(|status| Walk::Definition(*number, *status)).collect();
            let walks: Vec<Vec<Walk>> = numbers.iter().map(each).collect();
            return Ok(Some(walks.into_iter().flatten().collect()));
        }
    }
    if statuses.len() == row::STATUSES.len() {
        return Ok(Some(vec![Walk::All]));
    }
    let mut walks = Vec::new();
    for status in statuses {
        for owner in owners(connection, status).await? {
            walks.push(Walk::Status(status, owner));
        }
    }
    Ok((!walks.is_empty()).then_some(walks))
}

/// The numbers of the statuses a filter allows. What stands somewhere has not ended.
fn statuses(filter: &Filter) -> Vec<i64> {
    let stands = filter.step.is_some() || filter.participant.is_some();
    let allowed = |status: &&Status| {
        (filter.statuses.is_empty() || filter.statuses.contains(status)) && (!stands || is_live(**status))
    };
    row::STATUSES.iter().filter(allowed).map(|status| row::status_number(*status)).collect()
}

async fn definitions(connection: &mut SqliteConnection, filter: &Filter) -> Result<Vec<i64>, Error> {
    let rows = sqlx::query(
        "select n from saga_definition where (? is null or name = ?) and (? is null or version = ?)",
    )
    .bind(filter.definition.clone())
    .bind(filter.definition.clone())
    .bind(filter.version)
    .bind(filter.version)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.iter().map(|row| row.try_get(0).map_err(failed)).collect()
}

/// Who owns sagas of a status, nobody included where that can be.
async fn owners(connection: &mut SqliteConnection, status: i64) -> Result<Vec<Option<i64>>, Error> {
    if status > row::status_number(Status::Completed) {
        return Ok(vec![None]);
    }
    let rows = sqlx::query(
        "with recursive held (owner) as (
           select min(saga.owner) from saga where saga.status = ?
           union all
           select (select min(saga.owner) from saga where saga.status = ? and saga.owner > held.owner)
           from held where held.owner is not null)
         select owner from held where owner is not null",
    )
    .bind(status)
    .bind(status)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    let owners = rows.iter().map(|row| row.try_get(0).map(Some).map_err(failed));
    std::iter::once(Ok(None)).chain(owners).collect()
}

/// A statement in the making.
struct Page {
    sql: String,
    arguments: SqliteArguments,
}

/// By how much the time in an id and the time of acceptance may differ, in milliseconds.
const ID_SLACK_MS: i64 = 60_000;

impl Page {
    fn walk(
        &mut self,
        walk: &Walk,
        filter: &Filter,
        after: Option<SagaId>,
        limit: usize,
    ) -> Result<(), Error> {
        match walk {
            Walk::All => self.text("select * from (select s.id as id from saga s where true"),
            Walk::Key(key) => {
                self.text("select * from (select s.id as id from saga s where s.key = ?");
                self.bind(key.clone())?;
            }
            Walk::Label(name, value) => {
                self.text(
                    "select * from (select l.saga_id as id from saga_label l cross join saga s \
                     on s.id = l.saga_id where l.name = ? and l.value = ?",
                );
                self.bind(name.clone())?;
                self.bind(value.clone())?;
            }
            Walk::Status(status, owner) => {
                self.text(
                    "select * from (select s.id as id from saga s indexed by saga_by_owner \
                     where s.status = ? and s.owner is ?",
                );
                self.bind(*status)?;
                self.bind(*owner)?;
            }
            Walk::Definition(number, status) => {
                self.text(
                    "select * from (select s.id as id from saga s indexed by saga_by_definition \
                     where s.definition = ? and s.status = ?",
                );
                self.bind(*number)?;
                self.bind(*status)?;
            }
        }
        let id = if matches!(walk, Walk::Label(..)) { "l.saga_id" } else { "s.id" };
        self.between(id, filter, after)?;
        self.conditions(filter)?;
        self.text(" order by id desc limit ?)");
        self.bind(integer(limit as u64))
    }

    /// Where the walk begins and ends. Ids carry their time, which spares walking to it.
    fn between(&mut self, id: &str, filter: &Filter, after: Option<SagaId>) -> Result<(), Error> {
        if let Some(after) = after {
            self.text(&format!(" and {id} < ?"));
            self.bind(after.as_bytes().to_vec())?;
        }
        if let Some(at) = filter.created_after {
            self.text(&format!(" and {id} >= ? and s.created_at >= ?"));
            self.bind(id_at(at.0.saturating_sub(ID_SLACK_MS)))?;
            self.bind(at.0)?;
        }
        if let Some(at) = filter.created_before {
            self.text(&format!(" and {id} < ? and s.created_at < ?"));
            self.bind(id_at(at.0.saturating_add(ID_SLACK_MS)))?;
            self.bind(at.0)?;
        }
        Ok(())
    }

    /// Every further condition, also where the walk keeps it already.
    fn conditions(&mut self, filter: &Filter) -> Result<(), Error> {
        let allowed = statuses(filter);
        if allowed.len() < row::STATUSES.len() {
            let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
            self.text(&format!(" and +s.status in ({})", allowed.join(",")));
        }
        if filter.definition.is_some() || filter.version.is_some() {
            self.text(
                " and exists (select 1 from saga_definition d where d.n = s.definition \
                 and (? is null or d.name = ?) and (? is null or d.version = ?))",
            );
            for _ in 0..2 {
                self.bind(filter.definition.clone())?;
            }
            for _ in 0..2 {
                self.bind(filter.version)?;
            }
        }
        for (name, value) in &filter.labels {
            self.text(
                " and exists (select 1 from saga_label o where o.name = ? and o.value = ? \
                 and o.saga_id = s.id)",
            );
            self.bind(name.clone())?;
            self.bind(value.clone())?;
        }
        if let Some(step) = &filter.step {
            self.text(" and (instr(' ' || s.at_steps || ' ', ?) > 0 or instr(' ' || s.at_steps, ?) > 0)");
            self.bind(format!(" {step} "))?;
            self.bind(format!(" {step}["))?;
        }
        if let Some(participant) = &filter.participant {
            self.text(" and instr(' ' || s.at_participants || ' ', ?) > 0");
            self.bind(format!(" {participant} "))?;
        }
        Ok(())
    }

    fn text(&mut self, sql: &str) {
        self.sql.push_str(sql);
    }

    fn bind<'t>(
        &mut self,
        value: impl sqlx::Encode<'t, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    ) -> Result<(), Error> {
        let added = sqlx::Arguments::add(&mut self.arguments, value);
        added.map_err(|error| failed(sqlx::Error::Encode(error)))
    }
}

/// The lowest id of a time.
fn id_at(ms: i64) -> Vec<u8> {
    let ms = ms.clamp(0, (1 << 48) - 1);
    (u128::from(ms.unsigned_abs()) << 80).to_be_bytes().to_vec()
}
