//! Lists: the query of a request, and a part of a list as the answer.
//!
//! A parameter that means nothing here is refused: a filter with a typing error would otherwise list everything.

use std::{convert::Infallible, str::FromStr};

use axum::{
    Json,
    extract::{FromRequestParts, Query as Pairs},
    http::request::Parts,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use usher_lifecycle::{
    limits::{self, excerpt},
    refusal::{Code, Refusal},
    state::UnknownName,
};
use usher_store::{Listed, Page, Ref};

use super::target::Target;

const LIMIT: u32 = 25;
const MOST: u32 = 100;
/// Longest value of a filter, in characters.
const VALUE: usize = 300;

/// The parameters of a query, in their order.
pub(super) struct Query(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // Pairs of strings can be read from any query.
        Ok(Self(Pairs::try_from_uri(&parts.uri).map(|Pairs(pairs)| pairs).unwrap_or_default()))
    }
}

/// One parameter.
pub(super) struct Param<'a> {
    pub(super) name: &'a str,
    value: &'a str,
}

impl Query {
    /// The page that is asked for. Other parameters than `limit` and `cursor` go to `filter`, which says whether it
    /// knows them; `known` is for the message.
    pub(super) fn read(
        &self,
        known: &[&str],
        mut filter: impl FnMut(&Param<'_>) -> Result<(), Refusal>,
    ) -> Result<Page, Refusal> {
        let mut page = Page { limit: LIMIT, cursor: None };
        for (at, (name, value)) in self.0.iter().enumerate() {
            let param = Param { name, value };
            if self.0.iter().take(at).any(|(before, _)| before == name) {
                return Err(param.refuse(Code::InvalidCombination, "it stands twice in the query"));
            }
            match name.as_str() {
                "limit" => page.limit = param.limit()?,
                "cursor" => page.cursor = Some(param.parsed(Code::InvalidString)?),
                name if known.contains(&name) => filter(&param)?,
                _ => {
                    let known: Vec<_> = ["limit", "cursor"].iter().chain(known).copied().collect();
                    let message =
                        format!("{} is not known here; known are {}", excerpt(name), known.join(", "));
                    let field: String = name.chars().take(128).collect();
                    return Err(Refusal::field(Code::UnrecognizedKey, field, message));
                }
            }
        }
        Ok(page)
    }
}

impl Param<'_> {
    fn refuse(&self, code: Code, why: impl std::fmt::Display) -> Refusal {
        let name: String = self.name.chars().take(128).collect();
        let message = format!("{name} is {}; {why}", excerpt(self.value));
        Refusal::field(code, name, message)
    }

    fn limit(&self) -> Result<u32, Refusal> {
        let allowed = format!("1 to {MOST} are allowed");
        let number: i64 = self.value.parse().map_err(|_| self.refuse(Code::InvalidType, &allowed))?;
        if number < 1 {
            return Err(self.refuse(Code::TooSmall, &allowed));
        }
        let limit = u32::try_from(number).ok().filter(|limit| *limit <= MOST);
        limit.ok_or_else(|| self.refuse(Code::TooBig, &allowed))
    }

    fn parsed<T: FromStr<Err: std::fmt::Display>>(&self, code: Code) -> Result<T, Refusal> {
        self.value.parse().map_err(|error| self.refuse(code, error))
    }

    /// One of a few names.
    pub(super) fn one_of<T: FromStr<Err = UnknownName>>(&self) -> Result<T, Refusal> {
        self.parsed(Code::InvalidValue)
    }

    /// An instant.
    pub(super) fn instant(&self) -> Result<DateTime<Utc>, Refusal> {
        limits::instant(self.name, self.value)
    }

    /// The record that the value names.
    pub(super) fn target(&self) -> Result<Target, Refusal> {
        Ok(Target(Ref::parse(&self.text()?)))
    }

    /// Text that is not empty: nothing has an empty key.
    pub(super) fn text(&self) -> Result<String, Refusal> {
        limits::filled(self.name, self.value, VALUE)
    }
}

/// `{object: "list", data, has_more, next_cursor}`.
#[derive(Serialize)]
struct List<T> {
    object: &'static str,
    data: Vec<T>,
    has_more: bool,
    next_cursor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upcoming: Option<Value>,
}

/// A part of a list, each record as `view` shows it.
pub(super) fn answer<'a, T, V: Serialize>(listed: &'a Listed<T>, view: impl Fn(&'a T) -> V) -> Response {
    answer_with(listed, view, None)
}

/// The same, with what is still to come.
pub(super) fn answer_with<'a, T, V: Serialize>(
    listed: &'a Listed<T>,
    view: impl Fn(&'a T) -> V,
    upcoming: Option<Value>,
) -> Response {
    let next_cursor = listed.next.map(|cursor| cursor.to_string());
    let data = listed.data.iter().map(view).collect();
    Json(List { object: "list", data, has_more: next_cursor.is_some(), next_cursor, upcoming })
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fault = (&'static str, Option<String>);

    fn read(query: &str) -> Result<(Page, Vec<String>), Fault> {
        let uri = format!("/x?{query}").parse().expect("a uri");
        let Pairs(pairs) = Pairs::try_from_uri(&uri).expect("pairs of strings");
        let mut seen = Vec::new();
        let page = Query(pairs).read(&["state", "slug", "updated_since"], |param| {
            match param.name {
                "state" => seen.push(param.one_of::<usher_lifecycle::State>()?.as_str().to_owned()),
                "slug" => seen.push(param.text()?),
                _ => seen.push(param.instant()?.to_rfc3339()),
            }
            Ok(())
        });
        page.map(|page| (page, seen)).map_err(|refusal| (refusal.code.as_str(), refusal.field))
    }

    #[test]
    fn hostile_queries() {
        for (query, code, field) in [
            ("limit=0", "too_small", "limit"),
            ("limit=-1", "too_small", "limit"),
            ("limit=101", "too_big", "limit"),
            ("limit=99999999999", "too_big", "limit"),
            ("limit=x", "invalid_type", "limit"),
            ("limit=", "invalid_type", "limit"),
            ("cursor=", "invalid_string", "cursor"),
            ("cursor=yesterday", "invalid_string", "cursor"),
            ("cursor=2026-01-01", "invalid_string", "cursor"),
            ("sate=active", "unrecognized_key", "sate"),
            ("state=gone", "invalid_value", "state"),
            ("state=active&state=paused", "invalid_combination", "state"),
            ("slug=", "too_small", "slug"),
            ("slug=%00", "invalid_string", "slug"),
            ("updated_since=1", "invalid_string", "updated_since"),
            // The first fault in the order of the query.
            ("limit=0&cursor=x", "too_small", "limit"),
            ("cursor=x&limit=0", "invalid_string", "cursor"),
        ] {
            assert_eq!(read(query).map(drop), Err((code, Some(field.to_owned()))), "{query}");
        }
    }

    #[test]
    fn the_page_and_the_filters_are_read() {
        assert_eq!(read("").expect("fine").0, Page { limit: 25, cursor: None });
        let (page, seen) =
            read("limit=100&state=active&slug=a%2Db&cursor=2026-01-01T00:00:00Z").expect("fine");
        assert_eq!(page.limit, 100);
        assert_eq!(page.cursor, "2026-01-01T00:00:00Z".parse().ok());
        assert_eq!(seen, ["active", "a-b"]);
    }
}
