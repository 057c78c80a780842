//! One member of a JSON object, read as what it should be. Every refusal names the path, the value and what is allowed.

use std::{fmt::Display, str::FromStr};

use chrono::{DateTime, Utc};
use serde_json::Value;
use usher_lifecycle::{
    limits::{self, excerpt},
    refusal::{Code, Refusal},
    state::UnknownName,
};

/// Longest text that can name a record: an address, an id, a key with its prefix.
const REFERENCE: usize = 300;
/// The greatest number of things: up to here every whole number has a float of its own, so that no JSON reader blurs it.
pub(crate) const COUNT: i64 = 9_007_199_254_740_992;
/// Longest path told in `field`: a key may be a megabyte long.
const PATH: usize = 128;

/// A member of an object: its name, its path from the top, its value.
pub(super) struct Field<'a> {
    pub(super) name: &'a str,
    pub(super) path: String,
    value: &'a Value,
}

/// The members of the body, in document order.
pub(super) fn members(body: &Value) -> Result<impl Iterator<Item = Field<'_>>, Refusal> {
    let Value::Object(map) = body else {
        return Err(Refusal::new(
            Code::InvalidType,
            format!("the body is {}; a JSON object is wanted", told(body)),
        ));
    };
    Ok(map.iter().map(|(name, value)| Field { name, path: short(name), value }))
}

/// The refusal of a body that lacks `name`.
pub(super) fn missing(name: &str) -> Refusal {
    Refusal::field(Code::MissingField, name, format!("{name} is missing"))
}

/// The path as it may stand in `field`.
pub(super) fn short(path: &str) -> String {
    path.chars().take(PATH).collect()
}

impl<'a> Field<'a> {
    /// The refusal of a key that means nothing here.
    pub(super) fn unrecognized(&self, known: &[&str]) -> Refusal {
        let message = format!("{} is not known here; known are {}", excerpt(self.name), known.join(", "));
        Refusal::field(Code::UnrecognizedKey, &*self.path, message)
    }

    /// The refusal of a value of another type.
    pub(super) fn wrong_type(&self, wanted: &str) -> Refusal {
        let message = format!("{} is {}; {wanted} is wanted", self.path, told(self.value));
        Refusal::field(Code::InvalidType, &*self.path, message)
    }

    /// A refusal with `why` after the path and the value.
    pub(super) fn refuse(&self, code: Code, why: impl Display) -> Refusal {
        Refusal::field(code, &*self.path, format!("{} is {}; {why}", self.path, shown(self.value)))
    }

    /// Null is none, all else is read by `read`.
    pub(super) fn nullable<T>(
        &self,
        read: impl FnOnce(&Self) -> Result<T, Refusal>,
    ) -> Result<Option<T>, Refusal> {
        if self.value.is_null() { Ok(None) } else { read(self).map(Some) }
    }

    pub(super) fn raw(&self) -> Result<&'a str, Refusal> {
        self.value.as_str().ok_or_else(|| self.wrong_type("a string"))
    }

    /// Text of at most `max` characters; may be empty.
    pub(super) fn text(&self, max: usize) -> Result<String, Refusal> {
        limits::text(&self.path, self.raw()?, max)
    }

    /// Text that is neither empty nor blank.
    pub(super) fn filled(&self, max: usize) -> Result<String, Refusal> {
        limits::filled(&self.path, self.raw()?, max)
    }

    /// What names another record.
    pub(super) fn reference(&self) -> Result<String, Refusal> {
        self.filled(REFERENCE)
    }

    /// The caller's own key.
    pub(super) fn external_id(&self) -> Result<String, Refusal> {
        self.filled(limits::EXTERNAL_ID)
    }

    /// An address, lower-cased.
    pub(super) fn email(&self) -> Result<String, Refusal> {
        limits::email(&self.path, self.raw()?)
    }

    /// An instant.
    pub(super) fn instant(&self) -> Result<DateTime<Utc>, Refusal> {
        limits::instant(&self.path, self.raw()?)
    }

    /// One of a few names.
    pub(super) fn one_of<T: FromStr<Err = UnknownName>>(&self) -> Result<T, Refusal> {
        self.raw()?.parse().map_err(|unknown: UnknownName| self.refuse(Code::InvalidValue, unknown))
    }

    pub(super) fn boolean(&self) -> Result<bool, Refusal> {
        self.value.as_bool().ok_or_else(|| self.wrong_type("true or false"))
    }

    /// A whole number; `1.0` and `1e2` are some, as in JSON Schema.
    pub(super) fn integer(&self) -> Result<i64, Refusal> {
        let Value::Number(number) = self.value else { return Err(self.wrong_type("a whole number")) };
        if let Some(number) = number.as_i64() {
            return Ok(number);
        }
        let float = number.as_f64().filter(|float| float.fract() == 0.0);
        let float = float.ok_or_else(|| self.wrong_type("a whole number"))?;
        // Whole floats up to `COUNT` are exact; beyond there is no field that takes them.
        if float.abs() <= 9_007_199_254_740_992.0 {
            return format!("{float:.0}").parse().map_err(|_| self.wrong_type("a whole number"));
        }
        let (code, why) = if float > 0.0 {
            (Code::TooBig, "that is too big")
        } else {
            (Code::TooSmall, "that is too small")
        };
        Err(self.refuse(code, why))
    }

    /// Days, 1 to 365.
    pub(super) fn days(&self) -> Result<u16, Refusal> {
        limits::frequency_days(&self.path, self.integer()?)
    }

    /// A whole number from 0 to [`COUNT`].
    pub(super) fn count(&self) -> Result<i64, Refusal> {
        self.within(0, COUNT)
    }

    /// A whole number of that range.
    pub(super) fn within(&self, least: i64, most: i64) -> Result<i64, Refusal> {
        let number = self.integer()?;
        let allowed = format!("{least} to {most} are allowed");
        match number {
            number if number < least => Err(self.refuse(Code::TooSmall, allowed)),
            number if number > most => Err(self.refuse(Code::TooBig, allowed)),
            number => Ok(number),
        }
    }

    /// A number from 0.
    pub(super) fn amount(&self) -> Result<f64, Refusal> {
        let number = self.value.as_f64().ok_or_else(|| self.wrong_type("a number"))?;
        if number < 0.0 { Err(self.refuse(Code::TooSmall, "it must not be negative")) } else { Ok(number) }
    }

    /// The members of an object.
    pub(super) fn object(&self) -> Result<impl Iterator<Item = Field<'a>> + use<'a>, Refusal> {
        let Value::Object(map) = self.value else { return Err(self.wrong_type("an object")) };
        let above = self.path.clone();
        Ok(map.iter().map(move |(name, value)| Field {
            name,
            path: short(&format!("{above}.{name}")),
            value,
        }))
    }

    /// The items of an array of at most `max`, named by their index.
    pub(super) fn items(&self, max: usize) -> Result<impl Iterator<Item = Field<'a>> + use<'a>, Refusal> {
        let Value::Array(items) = self.value else { return Err(self.wrong_type("an array")) };
        if items.len() > max {
            let message = format!("{} has {} items; at most {max} are allowed", self.path, items.len());
            return Err(Refusal::field(Code::TooLong, &*self.path, message));
        }
        let above = self.path.clone();
        Ok(items.iter().enumerate().map(move |(index, value)| Field {
            name: "",
            path: short(&format!("{above}.{index}")),
            value,
        }))
    }

    pub(super) const fn value(&self) -> &'a Value {
        self.value
    }
}

/// The value in words.
fn told(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(_) => "a string".to_owned(),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => excerpt(text),
        other => told(other),
    }
}
