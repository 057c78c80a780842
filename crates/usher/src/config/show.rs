//! How settings are shown: secrets as `***`, URLs without their password. A `SecretString` has no `Serialize` of its
//! own, so a secret field without one of these functions does not compile.

use chrono::{NaiveTime, Weekday};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serializer, de::Error};
use toml::Value;

use super::{
    Cron,
    keys::{Key, Kind},
};

const HIDDEN: &str = "***";

#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
pub(super) fn secret<S: Serializer>(value: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(_) => serializer.serialize_some(HIDDEN),
        None => serializer.serialize_none(),
    }
}

pub(super) fn url<S: Serializer>(value: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&redact(value.expose_secret()))
}

#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
pub(super) fn optional_url<S: Serializer>(
    value: &Option<SecretString>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.serialize_some(&redact(value.expose_secret())),
        None => serializer.serialize_none(),
    }
}

pub(super) fn days<S: Serializer>(days: &[Weekday], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(days.iter().map(|day| day.to_string().to_lowercase()))
}

/// `NaiveTime` as `HH:MM`.
pub(super) mod time {
    use super::{Deserialize, Deserializer, Error, NaiveTime, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference to the field")]
    pub(in super::super) fn serialize<S: Serializer>(
        time: &NaiveTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&time.format("%H:%M"))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<NaiveTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        NaiveTime::parse_from_str(&text, "%H:%M").map_err(D::Error::custom)
    }
}

/// A cron expression as it was written.
pub(super) mod cron {
    use super::{Cron, Deserialize, Deserializer, Error, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(cron: &Cron, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(cron)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Cron, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A value for a fault: never a secret, no password in a URL, not endlessly long.
pub(super) fn for_fault(key: &Key, value: &Value) -> String {
    const LONGEST: usize = 120;
    match (&key.kind, value) {
        (Kind::Secret, _) => "the value (not shown)".to_owned(),
        (Kind::SecretUrl(_), Value::String(text)) => format!("\"{}\"", redact(text)),
        (Kind::SecretUrl(_), other) => format!("a value of type {}", other.type_str()),
        (_, Value::String(text)) if text.contains("://") => format!("\"{}\"", redact(text)),
        (_, value) => {
            let text = value.to_string();
            match text.char_indices().nth(LONGEST) {
                Some((at, _)) => format!("{}...", &text[..at]),
                None => text,
            }
        }
    }
}

/// A URL (or several, separated by commas) without its password: `postgres://user:***@host/db`. Text whose shape is in
/// doubt is hidden rather than guessed at: a password may hold `@`, `/`, `?` or `,`.
pub(super) fn redact(text: &str) -> String {
    let mut shown = Vec::new();
    let mut rest = text;
    // Only a comma that starts another URL separates.
    while let Some(at) = rest.match_indices(',').map(|(at, _)| at).find(|at| starts_url(&rest[at + 1..])) {
        shown.push(redact_one(&rest[..at]));
        rest = &rest[at + 1..];
    }
    shown.push(redact_one(rest));
    shown.join(",")
}

fn starts_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| scheme_like(scheme))
}

fn scheme_like(text: &str) -> bool {
    !text.is_empty() && text.len() <= 12 && text.chars().all(|c| c.is_ascii_lowercase())
}

fn redact_one(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| scheme_like(scheme)) else {
        return HIDDEN.to_owned();
    };
    let (front, query) = rest.split_once('?').map_or((rest, None), |(front, query)| (front, Some(query)));
    let query = query.map(redact_query).unwrap_or_default();
    if scheme == "sqlite" {
        return format!("{scheme}://{front}{query}");
    }
    if rest.len() > front.len() && rest[front.len()..].contains('@') {
        return format!("{scheme}://{HIDDEN}");
    }
    if let Some((userinfo, host)) = front.rsplit_once('@') {
        return match userinfo.split_once(':') {
            Some((user, _)) => format!("{scheme}://{user}:{HIDDEN}@{host}{query}"),
            // A NATS token stands alone.
            None => format!("{scheme}://{HIDDEN}@{host}{query}"),
        };
    }
    let authority = front.split('/').next().unwrap_or_default();
    let behind_v6 = authority.rsplit_once(']').map_or(authority, |(_, behind)| behind);
    let port = behind_v6.split_once(':').map_or("", |(_, port)| port);
    if port.len() <= 5 && port.chars().all(|c| c.is_ascii_digit()) {
        format!("{scheme}://{front}{query}")
    } else {
        // `smtp://user:password` with the host forgotten.
        format!("{scheme}://{HIDDEN}")
    }
}

fn redact_query(query: &str) -> String {
    let shown: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if ["pass", "secret", "token", "key"].iter().any(|word| name.contains(word)) => {
                format!("{name}={HIDDEN}")
            }
            Some(_) | None => pair.to_owned(),
        })
        .collect();
    format!("?{}", shown.join("&"))
}
