//! Laws over a table of three rows.

use serde_json::json;
use sqlx::Connection;

use super::*;

const POSITIVE: Law = Law {
    name: "positive",
    law: "a number is above zero",
    broken: "select id, name as 'from' from thing where number <= 0 order by id limit ?1",
};

const ALLOWED: Law = Law {
    name: "allowed",
    law: "a name is one that is allowed",
    broken: "select id, name, number from thing
        where coalesce(name, '') not in (select value from json_each(?2)) order by id limit ?1",
};

async fn check_laws(insert: &'static str, laws: &[Law]) -> Vec<Invariant> {
    let mut things = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    let table = "create table thing (id integer primary key, name text, number integer) strict";
    sqlx::raw_sql(table).execute(&mut things).await.unwrap();
    sqlx::raw_sql(insert).execute(&mut things).await.unwrap();
    check(&mut things, laws, r#"["a", "b"]"#).await.unwrap()
}

#[tokio::test]
async fn a_law_that_is_kept_shows_nothing() {
    let found = check_laws("insert into thing values (1, 'a', 1)", &[POSITIVE, ALLOWED]).await;
    assert!(found.iter().all(|law| law.kept && law.violations.is_empty()), "{found:?}");
    assert!(Audit::new(found, ()).kept);
}

#[tokio::test]
async fn what_breaks_a_law_is_shown_column_by_column() {
    let insert = "insert into thing values (1, 'a', 0), (2, 'c', 7), (3, null, 8)";
    let found = check_laws(insert, &[POSITIVE, ALLOWED]).await;
    let audit = serde_json::to_value(Audit::new(found, json!({ "things": 3 }))).unwrap();
    let expected = json!({
        "kept": false,
        "invariants": [
            { "name": "positive", "law": POSITIVE.law, "kept": false, "violations": [{ "id": 1, "from": "a" }] },
            { "name": "allowed", "law": ALLOWED.law, "kept": false, "violations": [
                { "id": 2, "name": "c", "number": 7 }, { "id": 3, "name": null, "number": 8 },
            ] },
        ],
        "totals": { "things": 3 },
    });
    assert_eq!(audit, expected);
}

#[tokio::test]
async fn violations_are_bounded() {
    let insert = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 100)
        insert into thing select i, 'a', 0 from n";
    let found = check_laws(insert, &[POSITIVE]).await;
    assert_eq!(found[0].violations.len() as i64, VIOLATIONS_MAX);
}
