//! A refusal: why a command changes nothing. The code and the field reach the API, the rejected stream and the log.

use alloc::string::{String, ToString};
use core::fmt;

macro_rules! codes {
    ($($name:ident = $wire:literal, $kind:ident;)*) => {
        /// What is wrong, as callers see it in `error.code`. The list in docs/api.md is complete.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the names are the documentation; docs/api.md gives cause and remedy of each")]
        pub enum Code { $($name,)* }

        impl Code {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $wire,)* }
            }

            /// How callers treat it.
            pub const fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind,)* }
            }
        }
    };
}

codes! {
    MissingField = "missing_field", Invalid;
    InvalidJson = "invalid_json", Invalid;
    InvalidType = "invalid_type", Invalid;
    InvalidValue = "invalid_value", Invalid;
    InvalidString = "invalid_string", Invalid;
    TooSmall = "too_small", Invalid;
    TooBig = "too_big", Invalid;
    TooLong = "too_long", Invalid;
    UnrecognizedKey = "unrecognized_key", Invalid;
    ImmutableField = "immutable_field", Invalid;
    InvalidCombination = "invalid_combination", Invalid;
    UnknownUser = "unknown_user", Invalid;
    UnknownTemplate = "unknown_template", Invalid;
    UnknownCommand = "unknown_command", Invalid;
    UnknownWorkspace = "unknown_workspace", Invalid;
    OnboardingNotFound = "onboarding_not_found", NotFound;
    CustomerNotFound = "customer_not_found", NotFound;
    ContactNotFound = "contact_not_found", NotFound;
    UserNotFound = "user_not_found", NotFound;
    TemplateNotFound = "template_not_found", NotFound;
    OnboardingCompleted = "onboarding_completed", Conflict;
    SlugTaken = "slug_taken", Conflict;
    EmailTaken = "email_taken", Conflict;
    ExternalIdTaken = "external_id_taken", Conflict;
    IdempotencyKeyReused = "idempotency_key_reused", Conflict;
    IdempotencyKeyInProgress = "idempotency_key_in_progress", Conflict;
    VersionMismatch = "version_mismatch", Precondition;
    Superseded = "superseded", Conflict;
    PayloadTooLarge = "payload_too_large", Invalid;
    Poison = "poison", Invalid;
}

/// How callers treat a code: the kinds of answer there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request is wrong as it stands (HTTP 400; 413 for too large a body).
    Invalid,
    /// What it names is not there (HTTP 404).
    NotFound,
    /// It is in conflict with what is there (HTTP 409).
    Conflict,
    /// The version it expected is gone (HTTP 412).
    Precondition,
}

/// Why a command was refused; a refused command changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What is wrong.
    pub code: Code,
    /// The path of the field at fault, when there is one.
    pub field: Option<String>,
    /// What was wrong with which value, and what is allowed. For people; no personal data of others, no internals.
    pub message: String,
}

impl Refusal {
    /// A refusal about the whole request.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, field: None, message: message.into() }
    }

    /// A refusal about one field.
    pub fn field(code: Code, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, field: Some(field.into()), message: message.into() }
    }

    /// `what` (a path or reference value) names nothing of that kind.
    pub fn not_found(code: Code, kind: &str, what: &dyn fmt::Display) -> Self {
        let mut message = String::from("no ");
        message.push_str(kind);
        message.push_str(" with id ");
        message.push_str(&crate::limits::excerpt(&what.to_string()));
        Self::new(code, message)
    }
}
