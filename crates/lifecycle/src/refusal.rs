//! A refusal: why a command changes nothing. The code and the field reach the API, the rejected stream and the log.

use alloc::string::{String, ToString};
use core::fmt;

/// What is wrong, as callers see it in `error.code`. The list in docs/api.md is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(
    missing_docs,
    reason = "the names are the documentation; docs/api.md gives cause and remedy of each"
)]
pub enum Code {
    MissingField,
    InvalidJson,
    InvalidType,
    InvalidValue,
    InvalidString,
    TooSmall,
    TooBig,
    TooLong,
    UnrecognizedKey,
    ImmutableField,
    InvalidCombination,
    UnknownUser,
    UnknownTemplate,
    UnknownCommand,
    UnknownWorkspace,
    OnboardingNotFound,
    CustomerNotFound,
    ContactNotFound,
    UserNotFound,
    TemplateNotFound,
    OnboardingCompleted,
    SlugTaken,
    EmailTaken,
    ExternalIdTaken,
    IdempotencyKeyReused,
    IdempotencyKeyInProgress,
    VersionMismatch,
    Superseded,
    PayloadTooLarge,
    Poison,
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

impl Code {
    /// The code on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MissingField => "missing_field",
            Self::InvalidJson => "invalid_json",
            Self::InvalidType => "invalid_type",
            Self::InvalidValue => "invalid_value",
            Self::InvalidString => "invalid_string",
            Self::TooSmall => "too_small",
            Self::TooBig => "too_big",
            Self::TooLong => "too_long",
            Self::UnrecognizedKey => "unrecognized_key",
            Self::ImmutableField => "immutable_field",
            Self::InvalidCombination => "invalid_combination",
            Self::UnknownUser => "unknown_user",
            Self::UnknownTemplate => "unknown_template",
            Self::UnknownCommand => "unknown_command",
            Self::UnknownWorkspace => "unknown_workspace",
            Self::OnboardingNotFound => "onboarding_not_found",
            Self::CustomerNotFound => "customer_not_found",
            Self::ContactNotFound => "contact_not_found",
            Self::UserNotFound => "user_not_found",
            Self::TemplateNotFound => "template_not_found",
            Self::OnboardingCompleted => "onboarding_completed",
            Self::SlugTaken => "slug_taken",
            Self::EmailTaken => "email_taken",
            Self::ExternalIdTaken => "external_id_taken",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::IdempotencyKeyInProgress => "idempotency_key_in_progress",
            Self::VersionMismatch => "version_mismatch",
            Self::Superseded => "superseded",
            Self::PayloadTooLarge => "payload_too_large",
            Self::Poison => "poison",
        }
    }

    /// How callers treat it.
    pub const fn kind(self) -> Kind {
        match self {
            Self::MissingField
            | Self::InvalidJson
            | Self::InvalidType
            | Self::InvalidValue
            | Self::InvalidString
            | Self::TooSmall
            | Self::TooBig
            | Self::TooLong
            | Self::UnrecognizedKey
            | Self::ImmutableField
            | Self::InvalidCombination
            | Self::UnknownUser
            | Self::UnknownTemplate
            | Self::UnknownCommand
            | Self::UnknownWorkspace
            | Self::PayloadTooLarge
            | Self::Poison => Kind::Invalid,
            Self::OnboardingNotFound
            | Self::CustomerNotFound
            | Self::ContactNotFound
            | Self::UserNotFound
            | Self::TemplateNotFound => Kind::NotFound,
            Self::OnboardingCompleted
            | Self::SlugTaken
            | Self::EmailTaken
            | Self::ExternalIdTaken
            | Self::IdempotencyKeyReused
            | Self::IdempotencyKeyInProgress
            | Self::Superseded => Kind::Conflict,
            Self::VersionMismatch => Kind::Precondition,
        }
    }
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
