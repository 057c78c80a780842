//! Plans for any values, which is what a prepared statement gets after some runs if that looks no dearer: at a million rows
//! they, too, use an index. "Is one due?" for a time that is not known yet is planned as if a third of the table were, and
//! then reads all of it to find that none is.

use anyhow::Context as _;
use serde_json::Value;
use sqlx::{Connection as _, Executor as _, Row as _};

use crate::{
    Store,
    db::Db,
    prepared::{BULKS, STATEMENTS},
    reads,
};

/// Tables that are filled when this is asked.
const FILLED: [&str; 9] = [
    "onboardings",
    "customers",
    "schedules",
    "users",
    "contacts",
    "templates",
    "events",
    "deliveries",
    "api_keys",
];

/// Statements whose plan for any values is dearer than every one for the values at hand, so that it is never taken: it supposes a
/// tenth of the table where a batch has a limit, and cannot put two indexes together for a lock.
const NEVER_TAKEN: [&str; 2] = ["inbox::FORGET_LEDGER", "keys::BY_NAME"];

/// Statements that read a large table from end to end when they are planned for any values.
pub(crate) async fn faults(store: &Store) -> anyhow::Result<Vec<String>> {
    let Db::Postgres(pool) = store.db() else { anyhow::bail!("this is Postgres") };
    let mut connection = pool.acquire().await?.detach();
    connection.execute("SET plan_cache_mode = force_generic_plan").await?;
    let listed = [reads::ONBOARDINGS, reads::PEOPLE, reads::TEMPLATES].concat();
    let planned_anew =
        |name: &str| name.ends_with("metrics::READ") || listed.iter().any(|it| it.name == name);
    let statements = STATEMENTS.iter().copied().flatten().map(|it| (it.name, it.for_engine(true)));
    let bulks = BULKS.iter().copied().flatten().map(|it| (it.name, it.for_engine(true)));
    let mut wrong = Vec::new();
    // Of savepoints there is no plan.
    let has_plan =
        |text: &str| ["SELECT", "WITH", "INSERT", "UPDATE", "DELETE"].iter().any(|it| text.starts_with(it));
    for (name, text) in statements.chain(bulks).filter(|(name, text)| has_plan(text) && !planned_anew(name)) {
        let prepare = format!("PREPARE looked_at AS {text}");
        connection.execute(sqlx::AssertSqlSafe(prepare)).await.with_context(|| name.to_owned())?;
        let count = (1..100).take_while(|n| has(text, *n)).count();
        let nulls = vec!["NULL"; count].join(", ");
        let values = if count == 0 { String::new() } else { format!("({nulls})") };
        let explain = format!("EXPLAIN (FORMAT JSON) EXECUTE looked_at{values}");
        let row =
            connection.fetch_one(sqlx::AssertSqlSafe(explain)).await.with_context(|| name.to_owned())?;
        let plan: Value = row.try_get(0)?;
        let mut scans = Vec::new();
        find(&plan[0]["Plan"], &mut scans);
        assert!(!is_never_taken(name) || !scans.is_empty(), "{name} need not be excepted");
        if is_never_taken(name) {
            scans.clear();
        }
        if !scans.is_empty() {
            wrong.push(format!("{name}, planned for any values, reads all of {scans:?}\n{text}"));
        }
        connection.execute("DEALLOCATE looked_at").await?;
    }
    connection.close().await?;
    Ok(wrong)
}

fn is_never_taken(name: &str) -> bool {
    NEVER_TAKEN.iter().any(|it| name.ends_with(it))
}

/// Whether the text has the argument of that number.
fn has(text: &str, number: usize) -> bool {
    text.split(&format!("${number}")).skip(1).any(|rest| !rest.starts_with(|it: char| it.is_ascii_digit()))
}

fn find(node: &Value, scans: &mut Vec<String>) {
    if node["Node Type"] == "Seq Scan" {
        let table = node["Relation Name"].as_str().unwrap_or_default();
        if FILLED.contains(&table) {
            scans.push(table.to_owned());
        }
    }
    for below in node["Plans"].as_array().into_iter().flatten() {
        find(below, scans);
    }
}
