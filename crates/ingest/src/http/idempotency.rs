//! `Idempotency-Key`: the store keeps the answers; here stands which requests with a key are running in this process.
//!
//! Law: a key is free again when its request ends, however it ends (its guard is dropped with it).

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use axum::{extract::Request, http::Method};
use sha2::{Digest as _, Sha256};
use usher_lifecycle::{Code, Refusal, WorkspaceId};
use usher_store::Dedupe;

/// Longest key, in bytes.
const LONGEST: usize = 255;
const HEADER: &str = "Idempotency-Key";

/// The key of a POST, with the endpoint it is for.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// `POST /api/v1/onboardings`: the path as it was called, since the id in it is part of what was asked.
    endpoint: String,
    key: String,
}

impl Key {
    /// The key of a request; of none that is no POST. Printable ASCII, since clients disagree on how other characters of a
    /// header become bytes: what one library repeats would be another key to the next.
    pub(super) fn of(request: &Request) -> Result<Option<Self>, Refusal> {
        let Some(value) = request.headers().get(HEADER).filter(|_| request.method() == Method::POST) else {
            return Ok(None);
        };
        let refuse = |code, why: String| Refusal::field(code, HEADER, format!("{HEADER} {why}"));
        let printable = value.as_bytes().iter().all(|byte| (b' '..=b'~').contains(byte));
        let Some(key) = value.to_str().ok().filter(|_| printable) else {
            return Err(refuse(Code::InvalidString, "may only have printable ASCII characters".into()));
        };
        match key.len() {
            0 => Err(refuse(Code::TooSmall, "must not be empty".into())),
            1..=LONGEST => {
                let endpoint = format!("POST {}", request.uri().path());
                Ok(Some(Self { endpoint, key: key.to_owned() }))
            }
            len => Err(refuse(Code::TooLong, format!("has {len} bytes; at most {LONGEST} are allowed"))),
        }
    }

    /// How the store knows a repeat of a request with this body.
    pub(super) fn dedupe(&self, body: &[u8], status: u16) -> Dedupe {
        Dedupe::Idempotency {
            endpoint: self.endpoint.clone(),
            key: self.key.clone(),
            body_hash: format!("{:x}", Sha256::digest(body)),
            status,
        }
    }
}

type Running = (WorkspaceId, bool, String, String);

/// The requests with a key that are running in this process.
#[derive(Default)]
pub(super) struct InFlight(Mutex<HashSet<Running>>);

impl InFlight {
    /// Takes the key until the guard is dropped; refused while another request has it.
    pub(super) fn take(
        &self,
        workspace: WorkspaceId,
        livemode: bool,
        key: &Key,
    ) -> Result<Guard<'_>, Refusal> {
        let running = (workspace, livemode, key.endpoint.clone(), key.key.clone());
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(running.clone());
        if free {
            return Ok(Guard { all: self, running });
        }
        let message =
            "the first request with this Idempotency-Key is still running; send it again in a moment";
        Err(Refusal::field(Code::IdempotencyKeyInProgress, HEADER, message))
    }
}

/// Holds a key.
pub(super) struct Guard<'a> {
    all: &'a InFlight,
    running: Running,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.running);
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use chrono::DateTime;

    use super::*;

    fn key(method: &str, path: &str, key: &[u8]) -> Result<Option<Key>, Refusal> {
        let request = Request::builder().method(method).uri(path).header(HEADER, key).body(Body::empty());
        Key::of(&request.expect("a request"))
    }

    #[test]
    fn keys_are_1_to_255_printable_ascii_characters_on_posts() {
        let code =
            |text: &[u8]| key("POST", "/x", text).map(|key| key.is_some()).map_err(|refusal| refusal.code);
        assert_eq!(code(b"k"), Ok(true));
        assert_eq!(code(&[b'k'; 255]), Ok(true));
        assert_eq!(code(&[b'k'; 256]), Err(Code::TooLong));
        assert_eq!(code(b""), Err(Code::TooSmall));
        assert_eq!(code(b" !~"), Ok(true));
        for no_ascii in ["\u{fc}".as_bytes(), b"\xff", b"a\tb"] {
            assert_eq!(code(no_ascii), Err(Code::InvalidString));
        }
        assert!(key("PATCH", "/x", b"k").expect("ignored").is_none());
    }

    #[test]
    fn a_key_is_taken_once_per_workspace_mode_and_endpoint_until_it_is_dropped() {
        let all = InFlight::default();
        let of = |path| key("POST", path, b"k").expect("fine").expect("a POST");
        let workspace = |random| WorkspaceId::new(DateTime::UNIX_EPOCH, random);
        let first = all.take(workspace(1), true, &of("/a"));
        let again = all.take(workspace(1), true, &of("/a")).map(drop);
        assert_eq!(again.map_err(|refusal| refusal.code), Err(Code::IdempotencyKeyInProgress));
        assert!(all.take(workspace(1), false, &of("/a")).is_ok());
        assert!(all.take(workspace(2), true, &of("/a")).is_ok());
        assert!(all.take(workspace(1), true, &of("/b")).is_ok());
        drop(first);
        assert!(all.take(workspace(1), true, &of("/a")).is_ok());
    }
}
