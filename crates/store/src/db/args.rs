//! Typed arguments, encoded per engine. Nothing is cast in the SQL text: the type of a bind is its Rust type.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Serialize, Serializer, ser};
use serde_json::Value;
use sqlx::{Arguments, postgres::PgArguments, sqlite::SqliteArguments};

use crate::error::StoreError;

/// One bound value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Arg {
    Text(Option<String>),
    Int(Option<i64>),
    Float(Option<f64>),
    Bool(bool),
    Time(Option<DateTime<Utc>>),
    Date(Option<NaiveDate>),
    Json(Value),
    Bytes(Vec<u8>),
    /// For `{in:$n}`.
    Texts(Vec<String>),
    /// For `{in:$n}`.
    Ints(Vec<i64>),
}

/// The type of a column in a bulk write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Int,
    Float,
    Bool,
    Time,
    Date,
    Json,
}

impl Kind {
    /// The array type that carries the column on Postgres. JSON travels as text and is cast in the select list.
    pub(super) const fn postgres(self) -> &'static str {
        match self {
            Self::Text | Self::Json => "text",
            Self::Int => "bigint",
            Self::Float => "double precision",
            Self::Bool => "boolean",
            Self::Time => "timestamptz",
            Self::Date => "date",
        }
    }
}

impl Arg {
    pub(crate) fn text(value: impl Into<String>) -> Self {
        Self::Text(Some(value.into()))
    }
    pub(crate) const fn int(value: i64) -> Self {
        Self::Int(Some(value))
    }
    pub(crate) const fn time(value: DateTime<Utc>) -> Self {
        Self::Time(Some(value))
    }
    pub(crate) fn opt<T: std::fmt::Display>(value: Option<T>) -> Self {
        Self::Text(value.map(|it| it.to_string()))
    }
    pub(crate) fn id(value: impl std::fmt::Display) -> Self {
        Self::Text(Some(value.to_string()))
    }
    pub(crate) fn texts<T: std::fmt::Display>(values: impl IntoIterator<Item = T>) -> Self {
        Self::Texts(values.into_iter().map(|it| it.to_string()).collect())
    }
}

/// Postgres holds no NUL, neither in text nor in JSON. What callers write was refused long before; what a mail server or
/// a foreign client says was not, and must not make an outcome unwritable.
fn clean(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

fn clean_json(value: &mut Value) {
    match value {
        Value::String(text) => *text = clean(std::mem::take(text)),
        Value::Array(values) => values.iter_mut().for_each(clean_json),
        Value::Object(map) => {
            if map.keys().any(|key| key.contains('\0')) {
                *map = std::mem::take(map).into_iter().map(|(key, value)| (clean(key), value)).collect();
            }
            map.values_mut().for_each(clean_json);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

impl Arg {
    /// The same on both engines, so that both find again what they hold.
    fn cleaned(mut self) -> Self {
        match &mut self {
            Self::Text(Some(text)) => *text = clean(std::mem::take(text)),
            Self::Json(value) => clean_json(value),
            Self::Texts(texts) => texts.iter_mut().for_each(|text| *text = clean(std::mem::take(text))),
            Self::Text(None)
            | Self::Int(_)
            | Self::Float(_)
            | Self::Bool(_)
            | Self::Time(_)
            | Self::Date(_)
            | Self::Bytes(_)
            | Self::Ints(_) => {}
        }
        self
    }
}

/// A time as SQLite holds it: fixed width, so that text order is time order.
pub(super) fn fixed_width(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

fn bad(error: sqlx::error::BoxDynError) -> StoreError {
    StoreError::Database(sqlx::Error::Encode(error))
}

pub(super) fn postgres(args: Vec<Arg>) -> Result<PgArguments, StoreError> {
    let mut out = PgArguments::default();
    for arg in args {
        match arg.cleaned() {
            Arg::Text(it) => out.add(it),
            Arg::Int(it) => out.add(it),
            Arg::Float(it) => out.add(it),
            Arg::Bool(it) => out.add(it),
            Arg::Time(it) => out.add(it),
            Arg::Date(it) => out.add(it),
            Arg::Json(it) => out.add(it),
            Arg::Bytes(it) => out.add(it),
            Arg::Texts(it) => out.add(it),
            Arg::Ints(it) => out.add(it),
        }
        .map_err(bad)?;
    }
    Ok(out)
}

pub(super) fn sqlite(args: Vec<Arg>) -> Result<SqliteArguments, StoreError> {
    let mut out = SqliteArguments::default();
    for arg in args {
        match arg.cleaned() {
            Arg::Text(it) => out.add(it),
            Arg::Int(it) => out.add(it),
            Arg::Float(it) => out.add(it),
            Arg::Bool(it) => out.add(i64::from(it)),
            Arg::Time(it) => out.add(it.map(fixed_width)),
            Arg::Date(it) => out.add(it.map(|date| date.to_string())),
            Arg::Json(it) => out.add(it.to_string()),
            Arg::Bytes(it) => out.add(it),
            Arg::Texts(it) => out.add(Value::from(it).to_string()),
            Arg::Ints(it) => out.add(Value::from(it).to_string()),
        }
        .map_err(bad)?;
    }
    Ok(out)
}

/// A value as a member of a JSON array, of the kind that SQLite has it in: what is JSON itself is text there.
impl Serialize for Arg {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(it) => it.serialize(serializer),
            Self::Int(it) => it.serialize(serializer),
            Self::Float(it) => it.serialize(serializer),
            Self::Bool(it) => i64::from(*it).serialize(serializer),
            Self::Time(it) => it.map(fixed_width).serialize(serializer),
            Self::Date(it) => it.serialize(serializer),
            Self::Json(it) => serializer.collect_str(it),
            Self::Bytes(_) | Self::Texts(_) | Self::Ints(_) => {
                Err(ser::Error::custom("bulk rows hold no bytes and no lists"))
            }
        }
    }
}

/// Turns rows into one JSON array of arrays.
pub(super) fn sqlite_rows(
    columns: &[(&str, Kind)],
    rows: Vec<Vec<Arg>>,
) -> Result<SqliteArguments, StoreError> {
    let rows = rows
        .into_iter()
        .map(|row| fits(columns, &row).map(|()| row.into_iter().map(Arg::cleaned).collect()))
        .collect::<Result<Vec<Vec<Arg>>, _>>()?;
    let text = serde_json::to_string(&rows).map_err(|error| StoreError::Bug(error.to_string()))?;
    let mut out = SqliteArguments::default();
    out.add(text).map_err(bad)?;
    Ok(out)
}

fn fits(columns: &[(&str, Kind)], row: &[Arg]) -> Result<(), StoreError> {
    let (values, columns) = (row.len(), columns.len());
    if values == columns {
        return Ok(());
    }
    Err(StoreError::Bug(format!("a bulk row has {values} values for {columns} columns")))
}

/// Turns rows into one array per column.
pub(super) fn postgres_columns(
    columns: &[(&str, Kind)],
    rows: Vec<Vec<Arg>>,
) -> Result<PgArguments, StoreError> {
    let count = rows.len();
    let mut turned: Vec<Vec<Arg>> = columns.iter().map(|_| Vec::with_capacity(count)).collect();
    for row in rows {
        fits(columns, &row)?;
        for (column, value) in turned.iter_mut().zip(row) {
            column.push(value.cleaned());
        }
    }
    let mut out = PgArguments::default();
    for ((name, kind), values) in columns.iter().zip(turned) {
        let wrong = || StoreError::Bug(format!("a bulk value for {name} is not of kind {kind:?}"));
        macro_rules! add {
            ($($pattern:pat => $value:expr),+) => {{
                let column = values
                    .into_iter()
                    .map(|value| match value { $($pattern => Ok($value),)+ _ => Err(wrong()) })
                    .collect::<Result<Vec<_>, _>>()?;
                out.add(column)
            }};
        }
        match kind {
            Kind::Text => add!(Arg::Text(it) => it),
            Kind::Int => add!(Arg::Int(it) => it),
            Kind::Float => add!(Arg::Float(it) => it),
            Kind::Bool => add!(Arg::Bool(it) => it),
            Kind::Time => add!(Arg::Time(it) => it),
            Kind::Date => add!(Arg::Date(it) => it),
            Kind::Json => add!(Arg::Json(it) => Some(it.to_string()), Arg::Text(None) => None),
        }
        .map_err(bad)?;
    }
    Ok(out)
}
