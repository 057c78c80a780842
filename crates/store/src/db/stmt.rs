//! Statements: named constants in shared SQL, translated once per engine.
//!
//! Marks in the text: `{in:$n}` = any of a list argument, `{each:$n}` = its members as a table with the column `value`,
//! `{lock}` = `FOR UPDATE`, `{lock of:tables}`, `{skip locked}` = `FOR UPDATE SKIP LOCKED`,
//! `{skip locked:tables}`, `{index:name}` = `INDEXED BY name` on SQLite, which knows nothing of values when it plans,
//! `{try lock:expr}` = takes a lock on the text value for this transaction or is false. SQLite has one writer,
//! so its locks are empty.

use std::sync::OnceLock;

use super::Kind;

/// A statement in shared SQL.
#[derive(Debug)]
pub(crate) struct Stmt {
    /// What errors and tests call it.
    pub(crate) name: &'static str,
    text: &'static str,
    postgres: OnceLock<String>,
    sqlite: OnceLock<String>,
}

impl Stmt {
    pub(crate) const fn new(name: &'static str, text: &'static str) -> Self {
        Self { name, text, postgres: OnceLock::new(), sqlite: OnceLock::new() }
    }

    pub(super) fn postgres(&'static self) -> &'static str {
        self.postgres.get_or_init(|| translate(self.text, true))
    }

    pub(super) fn sqlite(&'static self) -> &'static str {
        self.sqlite.get_or_init(|| translate(self.text, false))
    }

    #[cfg(test)]
    pub(crate) fn for_engine(&'static self, postgres: bool) -> &'static str {
        if postgres { self.postgres() } else { self.sqlite() }
    }
}

fn translate(text: &str, postgres: bool) -> String {
    let mut out = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some((before, mark)) = rest.split_once('{') {
        out.push_str(before);
        let (mark, after) = mark.split_once('}').unwrap_or((mark, ""));
        let part = match (mark.split_once(':').unwrap_or((mark, "")), postgres) {
            (("in", arg), true) => format!("= ANY ({arg})"),
            (("in", arg), false) => format!("IN (SELECT value FROM json_each({arg}))"),
            (("each", arg), true) => format!("UNNEST({arg}::text[]) AS each(value)"),
            (("each", arg), false) => format!("json_each({arg})"),
            (("lock", _), true) => "FOR UPDATE".into(),
            (("lock of", tables), true) => format!("FOR UPDATE OF {tables}"),
            (("skip locked", ""), true) => "FOR UPDATE SKIP LOCKED".into(),
            (("skip locked", tables), true) => format!("FOR UPDATE OF {tables} SKIP LOCKED"),
            (("try lock", value), true) => format!("pg_try_advisory_xact_lock(hashtextextended({value}, 0))"),
            (("try lock", _), false) => "TRUE".into(),
            (("index", name), false) => format!("INDEXED BY {name}"),
            (("lock" | "lock of" | "skip locked", _), false) | (("index", _), true) => String::new(),
            ((unknown, _), _) => format!("unknown mark {unknown}"),
        };
        out.push_str(&part);
        rest = after;
    }
    out.push_str(rest);
    // SQLite plans a statement for the very value of a bare `LIMIT $n`, and so anew each time it is bound.
    if postgres { out } else { out.replace("LIMIT $", "LIMIT +$") }
}

/// A write of many rows with the same columns.
#[derive(Debug)]
pub(crate) struct Bulk {
    /// What errors and tests call it.
    pub(crate) name: &'static str,
    table: &'static str,
    pub(super) columns: &'static [(&'static str, Kind)],
    /// What follows the values: `ON CONFLICT ...`. Or a whole statement with the mark `{rows}` where the values stand.
    tail: &'static str,
    postgres: OnceLock<String>,
    sqlite: OnceLock<String>,
}

impl Bulk {
    pub(crate) const fn new(
        name: &'static str,
        table: &'static str,
        columns: &'static [(&'static str, Kind)],
        tail: &'static str,
    ) -> Self {
        Self { name, table, columns, tail, postgres: OnceLock::new(), sqlite: OnceLock::new() }
    }

    fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn postgres(&'static self) -> &'static str {
        self.postgres.get_or_init(|| {
            let names = self.names();
            let values = self.columns.iter().map(|(name, kind)| match kind {
                Kind::Json => format!("v.{name}::jsonb AS {name}"),
                Kind::Text | Kind::Int | Kind::Float | Kind::Bool | Kind::Time | Kind::Date => {
                    format!("v.{name}")
                }
            });
            let values = values.collect::<Vec<_>>().join(", ");
            let arrays = self
                .columns
                .iter()
                .enumerate()
                .map(|(i, (_, kind))| format!("${}::{}[]", i + 1, kind.postgres()));
            let arrays = arrays.collect::<Vec<_>>().join(", ");
            let rows = format!("SELECT {values} FROM UNNEST({arrays}) AS v({names})");
            self.statement(&names, &rows, &format!("({rows})"))
        })
    }

    pub(super) fn sqlite(&'static self) -> &'static str {
        self.sqlite.get_or_init(|| {
            let named =
                self.columns.iter().enumerate().map(|(i, (name, _))| format!("value ->> {i} AS {name}"));
            let rows = format!("SELECT {} FROM json_each($1)", named.collect::<Vec<_>>().join(", "));
            // Without a condition, the ON of a conflict would be read as that of a join.
            self.statement(&self.names(), &format!("{rows} WHERE TRUE"), &format!("({rows})"))
        })
    }

    fn statement(&self, names: &str, values: &str, table: &str) -> String {
        if self.tail.contains("{rows}") {
            return self.tail.replace("{rows}", table);
        }
        format!("INSERT INTO {} ({names}) {values} {}", self.table, self.tail)
    }

    #[cfg(test)]
    pub(crate) fn for_engine(&'static self, postgres: bool) -> &'static str {
        if postgres { self.postgres() } else { self.sqlite() }
    }
}

/// Declares statements and lists them, so that a test prepares each on both engines.
macro_rules! statements {
    ($($name:ident = $text:expr;)*) => {
        $(static $name: crate::db::Stmt = crate::db::Stmt::new(concat!(module_path!(), "::", stringify!($name)), $text);)*
        #[cfg(test)]
        pub(crate) static STATEMENTS: &[&crate::db::Stmt] = &[$(&$name),*];
    };
}

/// Declares bulk writes and lists them.
macro_rules! bulks {
    ($($name:ident = $table:literal ($($column:ident: $kind:ident),* $(,)?) $tail:expr;)*) => {
        $(pub(crate) static $name: crate::db::Bulk = crate::db::Bulk::new(
            concat!(module_path!(), "::", stringify!($name)),
            $table,
            &[$((stringify!($column), crate::db::Kind::$kind)),*],
            $tail,
        );)*
        #[cfg(test)]
        pub(crate) static BULKS: &[&crate::db::Bulk] = &[$(&$name),*];
    };
}

pub(crate) use {bulks, statements};
