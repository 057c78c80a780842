//! Lists at a million rows: every combination of filters is read by an index, and a page costs the same wherever it is.

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use usher_lifecycle::{
    CustomerId, OnboardingId, Phase, State, TemplateId, UserId, WorkspaceId, customer::CustomerStatus,
    reminder::Rules,
};

use crate::{
    Cursor, ListFilter, Page, Store,
    db::{Arg, Db},
    general_plans, keys,
    reads::{self, customer_query, onboarding_query, window},
};

/// Rows of a table that may be sorted, or read for nothing, for one page: those of one narrow filter.
const SORTED: f64 = 60_000.0;
/// Blocks of 8 KiB that a page with several filters may touch, in memory or not.
const BLOCKS: i64 = 400_000;
/// Blocks that a page may touch when nothing but the list's own order is asked for.
const PLAIN: i64 = 400;

fn base() -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_000_000, 0).unwrap_or_default()
}

fn user(number: u128) -> UserId {
    UserId::new(base(), number)
}

fn template(number: u128) -> TemplateId {
    TemplateId::new(base(), number)
}

fn onboarding() -> OnboardingId {
    OnboardingId::new(base(), 1)
}

fn customer() -> CustomerId {
    CustomerId::new(base(), 1)
}

/// A million onboardings of 200,000 customers: nine in ten of one workspace, 50 CSMs, 10 templates, most of them active.
/// The indexes are made anew afterwards, which is faster than filling them row by row.
async fn fill(url: &str, workspace: WorkspaceId, other: WorkspaceId) -> anyhow::Result<()> {
    let list = |ids: Vec<String>| format!("ARRAY['{}']", ids.join("','"));
    let users = list((0..50).map(|n| user(n).to_text()).collect());
    let templates = list((0..10).map(|n| template(n).to_text()).collect());
    let (base, one) = (base().to_rfc3339(), customer());
    let sql = format!(
        "CREATE TEMP TABLE made AS SELECT indexname, indexdef FROM pg_indexes
            WHERE tablename IN ('onboardings', 'customers', 'schedules', 'users', 'contacts', 'templates', 'events',
                                'deliveries', 'api_keys')
              AND indexname NOT LIKE '%_pkey' AND indexname NOT LIKE '%_key';
         DO $$ DECLARE it record; BEGIN FOR it IN SELECT * FROM made LOOP
            EXECUTE 'DROP INDEX ' || it.indexname; END LOOP; END $$;
         INSERT INTO customers (id, workspace_id, livemode, display_id, name, slug, domain, status, external_id, metadata,
                                created_at, updated_at, version)
         SELECT CASE WHEN i = 1 THEN '{one}' ELSE 'cust_' || i END,
                CASE WHEN i % 10 = 0 THEN '{other}' ELSE '{workspace}' END, TRUE, i, 'C', 'slug-' || i,
                'd' || (i % 1000) || '.example',
                (ARRAY['onboarding','active','active','at_risk','churned'])[1 + i % 5], 'crm-' || i, '{{}}',
                '{base}'::timestamptz - i * interval '1 second', '{base}'::timestamptz, 1
         FROM generate_series(1, 200000) i;
         INSERT INTO onboardings (id, workspace_id, livemode, display_id, customer_id, template_id, phase, state, started_at,
                csm_id, reminder_email, reminder_slack, reminder_frequency_days, created_at, updated_at, version,
                cadence_base, phase_entered_at, idle_seconds, target_shifts)
         SELECT 'onb_' || i, CASE WHEN i % 10 = 0 THEN '{other}' ELSE '{workspace}' END, TRUE, i,
                CASE WHEN i % 200000 = 1 THEN '{one}' ELSE 'cust_' || (1 + (i - 1) % 200000) END,
                ({templates})[1 + (i / 7) % 10],
                (ARRAY['before_getting_started','program_design','review','program_buildout','internal_qa','launch',
                       'completed'])[1 + (i / 3) % 7],
                CASE WHEN i % 100 < 85 THEN 'active' WHEN i % 100 < 95 THEN 'waiting' WHEN i % 100 < 99 THEN 'at_risk'
                     ELSE 'paused' END,
                '{base}', ({users})[1 + (i / 11) % 50], TRUE, TRUE, 1, '{base}'::timestamptz - i * interval '1 second',
                '{base}'::timestamptz - ((i::bigint * 7919) % 1000000) * interval '1 second', 1, '2026-01-01', '{base}', 0, 0
         FROM generate_series(1, 1000000) i;
         INSERT INTO schedules (onboarding_id, workspace_id, slot, due_at)
         SELECT 'onb_' || i, CASE WHEN i % 10 = 0 THEN '{other}' ELSE '{workspace}' END, '2026-06-01',
                CASE WHEN i % 3 = 0 THEN NULL
                     ELSE '{base}'::timestamptz + ((i::bigint * 104729) % 1000000) * interval '1 second' END
         FROM generate_series(1, 1000000) i;
         {others}
         DO $$ DECLARE it record; BEGIN FOR it IN SELECT * FROM made LOOP EXECUTE it.indexdef; END LOOP; END $$;
         ANALYZE;",
        others = others(workspace, other),
    );
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await?;
    Ok(())
}

/// What the other lists are about: of each kind 50,000 and more; of contacts, events and reminders half of one customer or one onboarding.
fn others(workspace: WorkspaceId, other: WorkspaceId) -> String {
    let (base, customer, onboarding) = (base().to_rfc3339(), customer(), onboarding());
    let own = format!("CASE WHEN i % 10 = 0 THEN '{other}' ELSE '{workspace}' END");
    let at = format!("'{base}'::timestamptz - i * interval '1 second'");
    let mostly = |one: &str| format!("CASE WHEN i % 2 = 1 THEN '{one}' ELSE 'other_' || i % 1000 END");
    let (of_customer, of_onboarding) = (mostly(&customer.to_text()), mostly(&onboarding.to_text()));
    format!(
        "INSERT INTO users (id, workspace_id, livemode, display_id, name, email, reach, active, created_at, updated_at, version)
         SELECT 'user_' || i, {own}, i % 3 > 0, i, 'U', 'u' || i || '@example.com', '{{}}', TRUE, {at}, {at}, 1
         FROM generate_series(1, 60000) i;
         INSERT INTO templates (id, workspace_id, livemode, display_id, name, defaults, created_at, updated_at, version)
         SELECT 'tmpl_' || i, {own}, i % 3 > 0, i, 'T', '{{}}', {at}, {at}, 1 FROM generate_series(1, 50000) i;
         INSERT INTO contacts (id, workspace_id, livemode, display_id, customer_id, name, email, is_primary, labels,
                               created_at, updated_at, version)
         SELECT 'contact_' || i, '{workspace}', TRUE, i, {of_customer}, 'C', 'c' || i || '@example.com', FALSE, '[]', {at}, {at}, 1
         FROM generate_series(1, 60000) i;
         INSERT INTO api_keys (id, workspace_id, livemode, name, prefix, hash, scopes, created_at, use_count)
         SELECT 'key_' || i, {own}, i % 2 = 0, 'K', 'pivotal_' || i, 'hash ' || i, '[]', {at}, 0
         FROM generate_series(1, 50000) i;
         INSERT INTO events (id, workspace_id, livemode, kind, subject_id, subject_version, ordinal, onboarding_id,
                             occurred_at, data, shard, published_at)
         SELECT 'evt_' || i, '{workspace}', TRUE, 'onboarding.updated', {of_onboarding}, i, 0, {of_onboarding}, {at}, '{{}}', 0,
                '{base}'
         FROM generate_series(1, 100000) i;
         INSERT INTO deliveries (id, workspace_id, livemode, onboarding_id, kind, slot, channel, recipient, why, status, due_at,
                                 send_after, attempts, ambiguities, errors, planned_at, updated_at)
         SELECT 'rem_' || i, '{workspace}', TRUE, {of_onboarding}, 'cadence', i, 'email', 'u@example.com', 'csm', 'sent', {at},
                {at}, 1, 0, '[]', {at}, {at}
         FROM generate_series(1, 100000) i;"
    )
}

/// What is wrong with a plan: tables that are read from end to end, or too much that is sorted, or read for nothing.
fn faults(node: &Value, found: &mut Vec<String>) {
    let kind = node["Node Type"].as_str().unwrap_or_default();
    let number = |name: &str| node[name].as_f64().unwrap_or(0.0);
    if kind == "Seq Scan" || kind.contains("Sort") {
        let below = &node["Plans"][0];
        let sorted = below["Actual Rows"].as_f64().unwrap_or(0.0);
        if kind == "Seq Scan" || sorted > SORTED {
            found.push(format!("{kind} of {} rows {sorted}", node["Relation Name"]));
        }
    }
    let removed = ["Rows Removed by Filter", "Rows Removed by Join Filter", "Rows Removed by Index Recheck"];
    let removed = removed.into_iter().map(number).sum::<f64>() * number("Actual Loops").max(1.0);
    if removed > SORTED {
        found.push(format!("{kind} of {} reads {removed} rows for nothing", node["Relation Name"]));
    }
    for below in node["Plans"].as_array().into_iter().flatten() {
        faults(below, found);
    }
}

fn blocks(plan: &Value) -> i64 {
    ["Shared Hit Blocks", "Shared Read Blocks"].iter().filter_map(|name| plan[name].as_i64()).sum()
}

/// Every combination of the filters, with the part of the rows that it leaves.
fn combinations() -> Vec<(String, Option<CustomerId>, ListFilter)> {
    let mut all = Vec::new();
    for bits in 0_u8..128 {
        let has = |bit: u8| bits & (1 << bit) != 0;
        let filter = ListFilter {
            state: has(0).then_some(State::Waiting),
            phase: has(1).then_some(Phase::Review),
            csm: has(2).then(|| user(7)),
            template: has(3).then(|| template(3)),
            updated_since: has(4).then(|| base() - TimeDelta::hours(2)),
            due_before: has(5).then(|| base() + TimeDelta::hours(2)),
            ..ListFilter::default()
        };
        let names = ["state", "phase", "csm", "template", "updated_since", "due_before", "customer"];
        let given: Vec<&str> = (0..).zip(names).filter(|(bit, _)| has(*bit)).map(|(_, name)| name).collect();
        all.push((given.join("+"), has(6).then(customer), filter));
    }
    for state in [State::Active, State::Paused, State::AtRisk] {
        let filter = ListFilter { state: Some(state), ..ListFilter::default() };
        all.push((format!("state={state}"), None, filter));
    }
    // Nearly all rows, so that an index of times would be the wrong one.
    let wide = ListFilter {
        updated_since: Some(base() - TimeDelta::days(365)),
        due_before: Some(base() + TimeDelta::days(365)),
        ..ListFilter::default()
    };
    all.push(("everything since and until".into(), None, wide));
    all
}

async fn million() -> anyhow::Result<(Store, WorkspaceId)> {
    let database = usher_testkit::postgres::fresh_database().await?;
    let store = Store::connect(&database.url, 2).await?;
    store.migrate().await?;
    let rules = Rules::default();
    let made = store.create_workspace("acme", "Acme", &rules, base()).await?.context("a workspace")?;
    let other = store.create_workspace("other", "Other", &rules, base()).await?.context("another")?;
    fill(&database.url, made.id, other.id).await?;
    Ok((store, made.id))
}

#[tokio::test]
async fn a_million_rows_are_read_by_an_index() -> anyhow::Result<()> {
    usher_testkit::skip_without_servers!(Ok(()));
    let (store, workspace) = million().await?;
    let mut wrong = Vec::new();
    let first = Page { limit: 25, cursor: None };
    let mut look = async |name: String, (stmt, args)| -> anyhow::Result<i64> {
        let plan = store.db().explain(stmt, args).await?;
        let plan = &plan[0]["Plan"];
        let mut found = Vec::new();
        faults(plan, &mut found);
        if !found.is_empty() {
            wrong.push(format!("{name}: {found:?}\n{plan:#}"));
        }
        let blocks = blocks(plan);
        if blocks > BLOCKS {
            wrong.push(format!("{name} touches {blocks} blocks\n{plan:#}"));
        }
        Ok(blocks)
    };
    for (name, customer, filter) in combinations() {
        look(name, onboarding_query(workspace, true, customer, &filter, &first, None)).await?;
    }
    let text = |text: &str| Some(text.to_owned());
    for bits in 0_u8..16 {
        let has = |bit: u8| bits & (1 << bit) != 0;
        let filter = ListFilter {
            status: has(0).then_some(CustomerStatus::AtRisk),
            slug: text("slug-4711").filter(|_| has(1)),
            external_id: text("crm-4711").filter(|_| has(2)),
            domain: text("d711.example").filter(|_| has(3)),
            ..ListFilter::default()
        };
        look(format!("customers {bits:04b}"), customer_query(workspace, true, &filter, &first)).await?;
    }

    // Page 1 and page 1,000: one row a second, of which the filter leaves one in so many.
    let csm = ListFilter { csm: Some(user(7)), ..ListFilter::default() };
    let phase = ListFilter { phase: Some(Phase::Review), ..ListFilter::default() };
    let state = ListFilter { state: Some(State::Waiting), ..ListFilter::default() };
    let made = ListFilter { template: Some(template(3)), ..ListFilter::default() };
    for (name, filter, one_in) in [
        ("all", ListFilter::default(), 1),
        ("phase", phase, 7),
        ("state", state, 10),
        ("template", made, 10),
        ("csm", csm, 35),
    ] {
        let cursor: Cursor = (base() - TimeDelta::seconds(25_000 * one_in)).to_rfc3339().parse()?;
        let far = Page { limit: 25, cursor: Some(cursor) };
        let near = look(name.into(), onboarding_query(workspace, true, None, &filter, &first, None)).await?;
        let far = look(name.into(), onboarding_query(workspace, true, None, &filter, &far, None)).await?;
        assert!(
            far > 0 && far <= near + near / 2 + 50,
            "{name}: page 1 reads {near} blocks, page 1,000 {far}"
        );
    }
    // The other lists, on their first page and deep within.
    let deep: Cursor = (base() - TimeDelta::seconds(30_000)).to_rfc3339().parse()?;
    for page in [first, Page { limit: 25, cursor: Some(deep) }] {
        let (from, limit) = window(&page);
        let (own, live, from, limit) =
            (Arg::id(workspace), Arg::Bool(true), Arg::time(from), Arg::int(limit));
        let of_mode = || vec![own.clone(), live.clone(), from.clone(), limit.clone()];
        for (name, args) in [
            ("people::USERS", of_mode()),
            (
                "people::CONTACTS",
                vec![own.clone(), live.clone(), Arg::id(customer()), from.clone(), limit.clone()],
            ),
            ("templates::TEMPLATES", of_mode()),
            ("keys::PAGE", of_mode()),
            ("keys::PAGE", vec![own.clone(), Arg::Bool(false), from.clone(), limit.clone()]),
            ("logs::TIMELINE", vec![Arg::id(onboarding()), from.clone(), limit.clone()]),
            ("logs::LEDGER", vec![Arg::id(onboarding()), from.clone(), limit.clone()]),
        ] {
            let lists = [reads::PEOPLE, reads::TEMPLATES, reads::LOGS, keys::STATEMENTS];
            let mut known = lists.into_iter().flatten().copied();
            let stmt = known.find(|it| it.name.ends_with(&format!("::{name}"))).context(name)?;
            let blocks = look(name.into(), (stmt, args)).await?;
            assert!(blocks > 0 && blocks < PLAIN, "{name}, {page:?}: {blocks} blocks");
        }
    }
    wrong.extend(general_plans::faults(&store).await?);
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    Ok(())
}

/// SQLite plans without a look at the values: each narrow filter has a statement that goes by its index.
#[tokio::test]
async fn sqlite_reads_what_changed_and_what_is_due_by_their_indexes() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let store = Store::connect(&format!("sqlite://{}/usher.db", folder.path().display()), 1).await?;
    store.migrate().await?;
    let Db::Sqlite { writer, .. } = store.db() else { anyhow::bail!("this is SQLite") };
    for (name, index) in [
        ("onboardings::NEWEST", "o USING INDEX onboardings_newest"),
        ("onboardings::IN_PHASE", "o USING INDEX onboardings_by_phase"),
        ("onboardings::CHANGED", "o USING INDEX onboardings_changed"),
        ("onboardings::DUE", "s USING INDEX schedules_due_in_workspace"),
        ("onboardings::COUNT_CHANGED", "onboardings USING INDEX onboardings_changed"),
        ("onboardings::COUNT_DUE", "schedules USING COVERING INDEX schedules_due_in_workspace"),
        ("logs::TIMELINE", "events USING INDEX events_of_onboarding"),
    ] {
        let mut known = [reads::ONBOARDINGS, reads::LOGS].into_iter().flatten().copied();
        let stmt = known.find(|it| it.name.ends_with(&format!("::{name}"))).context(name)?;
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", stmt.for_engine(false)));
        let rows = sqlx::query(explain).fetch_all(writer).await?;
        let steps: Vec<String> =
            rows.iter().map(|row| sqlx::Row::try_get(row, "detail")).collect::<Result<_, _>>()?;
        let outer = steps.iter().find(|step| step.starts_with("SEARCH")).context("a search")?;
        assert!(outer.contains(index), "{name}: {steps:?}");
        let sorts = steps.iter().any(|step| step.contains("TEMP B-TREE"));
        assert_eq!(sorts, ["onboardings::CHANGED", "onboardings::DUE"].contains(&name), "{name}: {steps:?}");
    }
    Ok(())
}
