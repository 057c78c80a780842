//! Which record a request is about, and in which version the caller believes it to be.

use std::convert::Infallible;

use axum::{
    extract::{FromRequestParts, Path},
    http::{HeaderMap, header, request::Parts},
};
use usher_lifecycle::{Code, Refusal, command::Aggregate};
use usher_store::Ref;

/// The record that the path names. Text that is no id names nothing.
pub(super) struct Target(pub(super) Ref);

impl<S: Send + Sync> FromRequestParts<S> for Target {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        // Only a path that is not UTF-8 fails; that is no id either.
        let text = Path::<String>::from_request_parts(parts, state).await.map(|Path(text)| text);
        let text = text.unwrap_or_default();
        Ok(Self(Ref::parse(&text)))
    }
}

impl Target {
    /// The refusal when nothing of that kind is there.
    pub(super) fn not_found(&self, kind: Aggregate) -> Refusal {
        Refusal::not_found(kind.not_found(), kind.as_str(), &self.0)
    }

    /// The same, of a record that a query parameter names.
    pub(super) fn not_found_in(&self, field: &str, kind: Aggregate) -> Refusal {
        Refusal { field: Some(field.to_owned()), ..self.not_found(kind) }
    }

    /// A customer as commands name it. The form that commands over NATS have beside is no id here.
    pub(super) fn customer(&self) -> Result<String, Refusal> {
        let named = self.0.to_string();
        if named.starts_with("external:") { Err(self.not_found(Aggregate::Customer)) } else { Ok(named) }
    }
}

/// What `If-Match` wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// Any version.
    Any,
    /// This one.
    Version(i64),
    /// A tag that is none of ours: no record has it.
    Never,
}

impl Expected {
    /// Reads `If-Match: "3"`; a weak tag counts like a strong one, since proxies that compress weaken ours. A list of
    /// tags is not supported and matches nothing.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get(header::IF_MATCH) else { return Self::Any };
        let tag = value.to_str().unwrap_or_default().trim();
        if tag == "*" {
            return Self::Any;
        }
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        let version =
            tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).and_then(|tag| tag.parse().ok());
        version.map_or(Self::Never, Self::Version)
    }

    /// The version to check for, once the record is found.
    pub(super) const fn version(self) -> Option<i64> {
        match self {
            Self::Any => None,
            Self::Version(version) => Some(version),
            // Versions begin at 1.
            Self::Never => Some(0),
        }
    }

    /// What the refusal says to whoever sent this.
    pub(super) fn told(self, refusal: Refusal) -> Refusal {
        match self {
            Self::Never if refusal.code == Code::VersionMismatch => {
                let message = "If-Match is no tag of ours; send the ETag of the record as it was read";
                Refusal { message: message.into(), ..refusal }
            }
            Self::Never | Self::Any | Self::Version(_) => refusal,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn if_match_is_a_version_in_quotes() {
        for (text, wanted) in [
            ("\"3\"", Expected::Version(3)),
            ("W/\"3\"", Expected::Version(3)),
            ("*", Expected::Any),
            ("3", Expected::Never),
            ("\"x\"", Expected::Never),
            ("\"1\", \"2\"", Expected::Never),
            ("", Expected::Never),
        ] {
            let headers = HeaderMap::from_iter([(header::IF_MATCH, HeaderValue::from_static(text))]);
            assert_eq!(Expected::of(&headers), wanted, "{text}");
        }
        assert_eq!(Expected::of(&HeaderMap::new()), Expected::Any);
    }
}
