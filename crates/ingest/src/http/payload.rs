//! The body of a request: its bytes, bounded in size and time, and what else a POST brings.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use serde_json::Value;
use usher_lifecycle::{Code, Refusal, limits::excerpt};

use super::{Api, ApiError, error::HttpCode, idempotency::Key};
use crate::body::parse_json;

/// In how long the whole body must arrive.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much of a body that is too large is read and thrown away, so that the caller gets to read the answer.
const DRAIN: usize = 4 * 1024 * 1024;

/// A body, and the `Idempotency-Key` if there is one.
pub(super) struct Payload {
    pub(super) bytes: Bytes,
    pub(super) key: Option<Key>,
}

impl Payload {
    /// The body as JSON.
    pub(super) fn json(&self) -> Result<Value, Refusal> {
        parse_json(&self.bytes)
    }
}

impl FromRequest<Api> for Payload {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let key = Key::of(&request)?;
        let (parts, body) = request.into_parts();
        plain(&parts.headers)?;
        if hopeless(&parts.headers, api.body_limit) {
            return Err(too_large(api.body_limit));
        }
        let bytes = tokio::time::timeout(PATIENCE, read(body, api.body_limit));
        let bytes = bytes.await.map_err(|_| unreadable("did not arrive in time"))??;
        if !bytes.is_empty() {
            json_or_nothing(&parts.headers)?;
        }
        Ok(Self { bytes, key })
    }
}

async fn read(mut body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let (mut bytes, mut size) = (BytesMut::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| unreadable("broke off"))?;
        let Some(data) = frame.data_ref() else { continue };
        size = size.saturating_add(data.len());
        if size <= limit {
            bytes.extend_from_slice(data);
        } else if size > limit.saturating_add(DRAIN) {
            break;
        }
    }
    if size <= limit {
        return Ok(bytes.freeze());
    }
    Err(too_large(limit))
}

fn too_large(limit: usize) -> ApiError {
    let message = format!("the body is larger than the {limit} bytes that are allowed");
    Refusal::new(Code::PayloadTooLarge, message).into()
}

/// Whether the body is too large by its own account, and nobody has to send it to get to the answer: because they wait for
/// leave (`Expect`), or because more is to come than would be thrown away.
fn hopeless(headers: &HeaderMap, limit: usize) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse::<usize>().ok());
    let allowed = if headers.contains_key(header::EXPECT) { limit } else { limit.saturating_add(DRAIN) };
    length.is_some_and(|length| length > allowed)
}

/// A body is read as it comes; one that is compressed is no JSON.
fn plain(headers: &HeaderMap) -> Result<(), ApiError> {
    let coded = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .find(|it| !it.as_bytes().eq_ignore_ascii_case(b"identity"));
    let Some(coded) = coded else { return Ok(()) };
    let message = format!(
        "the content encoding is {}; send the body as it is",
        excerpt(coded.to_str().unwrap_or_default())
    );
    Err(ApiError::new(HttpCode::UnsupportedMediaType, message))
}

fn unreadable(why: &str) -> ApiError {
    Refusal::new(Code::InvalidJson, format!("the body {why}")).into()
}

/// A content type may be left out; one that is there must be JSON.
fn json_or_nothing(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let given = given.to_str().unwrap_or_default();
    let media = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let json = media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"));
    if json {
        return Ok(());
    }
    let message = format!("the content type is {}; application/json is wanted", excerpt(given));
    Err(ApiError::new(HttpCode::UnsupportedMediaType, message))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, StatusCode};

    use super::*;

    #[test]
    fn only_json_is_json() {
        for (text, fits) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/merge-patch+json", true),
            ("text/json", false),
            ("application/x-www-form-urlencoded", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(text))]);
            assert_eq!(json_or_nothing(&headers).is_ok(), fits, "{text}");
        }
        assert!(json_or_nothing(&HeaderMap::new()).is_ok());
    }

    #[tokio::test]
    async fn a_body_of_exactly_the_limit_is_read_and_one_more_byte_is_not() {
        let of = |size: usize| read(Body::from(vec![b'x'; size]), 10);
        assert_eq!(of(10).await.map(|bytes| bytes.len()), Ok(10));
        assert_eq!(of(11).await.map_err(|error| error.status()), Err(StatusCode::PAYLOAD_TOO_LARGE));
    }
}
