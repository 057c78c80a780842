//! A row of either engine. A value that cannot be read is named by its column.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Value, value::RawValue};
use sqlx::{Row as _, postgres::PgRow, sqlite::SqliteRow, types::Json};

use crate::error::StoreError;

/// One row.
pub(crate) enum Row {
    Postgres(PgRow),
    Sqlite(SqliteRow),
}

macro_rules! get {
    ($row:expr, $column:expr, $kind:ty) => {
        match $row {
            Row::Postgres(row) => row.try_get::<$kind, _>($column),
            Row::Sqlite(row) => row.try_get::<$kind, _>($column),
        }
        .map_err(|error| StoreError::decode($column, error.to_string()))
    };
}

impl Row {
    pub(crate) fn text(&self, column: &'static str) -> Result<String, StoreError> {
        get!(self, column, String)
    }

    pub(crate) fn opt_text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        get!(self, column, Option<String>)
    }

    pub(crate) fn int(&self, column: &'static str) -> Result<i64, StoreError> {
        get!(self, column, i64)
    }

    pub(crate) fn opt_int(&self, column: &'static str) -> Result<Option<i64>, StoreError> {
        get!(self, column, Option<i64>)
    }

    pub(crate) fn opt_float(&self, column: &'static str) -> Result<Option<f64>, StoreError> {
        get!(self, column, Option<f64>)
    }

    pub(crate) fn bytes(&self, column: &'static str) -> Result<Vec<u8>, StoreError> {
        get!(self, column, Vec<u8>)
    }

    pub(crate) fn bool(&self, column: &'static str) -> Result<bool, StoreError> {
        match self {
            Self::Postgres(row) => row.try_get(column),
            Self::Sqlite(row) => row.try_get::<i64, _>(column).map(|it| it != 0),
        }
        .map_err(|error| StoreError::decode(column, error.to_string()))
    }

    pub(crate) fn opt_time(&self, column: &'static str) -> Result<Option<DateTime<Utc>>, StoreError> {
        match self {
            Self::Postgres(row) => row
                .try_get::<Option<DateTime<Utc>>, _>(column)
                .map_err(|error| StoreError::decode(column, error.to_string())),
            Self::Sqlite(_) => self.parsed_opt(column),
        }
    }

    pub(crate) fn time(&self, column: &'static str) -> Result<DateTime<Utc>, StoreError> {
        self.opt_time(column)?.ok_or_else(|| StoreError::decode(column, "is null".into()))
    }

    pub(crate) fn opt_date(&self, column: &'static str) -> Result<Option<NaiveDate>, StoreError> {
        match self {
            Self::Postgres(row) => row
                .try_get::<Option<NaiveDate>, _>(column)
                .map_err(|error| StoreError::decode(column, error.to_string())),
            Self::Sqlite(_) => self.parsed_opt(column),
        }
    }

    pub(crate) fn date(&self, column: &'static str) -> Result<NaiveDate, StoreError> {
        self.opt_date(column)?.ok_or_else(|| StoreError::decode(column, "is null".into()))
    }

    pub(crate) fn opt_json(&self, column: &'static str) -> Result<Option<Value>, StoreError> {
        match self {
            Self::Postgres(row) => row
                .try_get::<Option<Value>, _>(column)
                .map_err(|error| StoreError::decode(column, error.to_string())),
            Self::Sqlite(_) => self
                .opt_text(column)?
                .map(|text| serde_json::from_str(&text))
                .transpose()
                .map_err(|error| StoreError::decode(column, error.to_string())),
        }
    }

    pub(crate) fn json(&self, column: &'static str) -> Result<Value, StoreError> {
        self.opt_json(column)?.ok_or_else(|| StoreError::decode(column, "is null".into()))
    }

    /// The text of a JSON document, as it is.
    pub(crate) fn json_text(&self, column: &'static str) -> Result<Box<RawValue>, StoreError> {
        match self {
            Self::Postgres(row) => row
                .try_get::<Json<Box<RawValue>>, _>(column)
                .map(|Json(text)| text)
                .map_err(|error| StoreError::decode(column, error.to_string())),
            Self::Sqlite(_) => RawValue::from_string(self.text(column)?)
                .map_err(|error| StoreError::decode(column, error.to_string())),
        }
    }

    /// A JSON document of a known shape.
    pub(crate) fn document<T: serde::de::DeserializeOwned>(
        &self,
        column: &'static str,
    ) -> Result<T, StoreError> {
        serde_json::from_value(self.json(column)?)
            .map_err(|error| StoreError::decode(column, error.to_string()))
    }

    /// A text of a known form: an id, a phase, a state.
    pub(crate) fn parsed<T>(&self, column: &'static str) -> Result<T, StoreError>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        let text = self.text(column)?;
        text.parse().map_err(|error| StoreError::decode(column, format!("{text:?}: {error}")))
    }

    /// A text of a known form, or null.
    pub(crate) fn parsed_opt<T>(&self, column: &'static str) -> Result<Option<T>, StoreError>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        self.opt_text(column)?
            .map(|text| {
                text.parse().map_err(|error| StoreError::decode(column, format!("{text:?}: {error}")))
            })
            .transpose()
    }
}
