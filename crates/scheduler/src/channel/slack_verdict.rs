//! What an error of Slack means for the message, the recipient and the channel.
//!
//! Never the `Display` of slack-morphism's errors: it includes response bodies. Codes and statuses only.

use slack_morphism::errors::SlackClientError;

use super::Outcome;

pub(super) fn of(error: &SlackClientError) -> Outcome {
    match error {
        SlackClientError::ApiError(error) => said_no(&error.code),
        SlackClientError::RateLimitError(limit) => Outcome::RefusedForNow {
            code: "ratelimited".to_owned(),
            detail: "HTTP 429".to_owned(),
            retry_after: limit.retry_after,
            counts: false,
        },
        SlackClientError::HttpError(error) => {
            let status = error.status_code.as_u16();
            let (code, detail) = (format!("http_{status}"), format!("HTTP {status}"));
            match status {
                408 | 425 | 500..=599 => Outcome::for_now(code, detail),
                // Whatever answers there is not Slack, or does not know us.
                300..=399 | 401 | 403 | 404 | 405 | 407 | 410 => Outcome::down(code, detail),
                _ => Outcome::for_good(code, detail, false),
            }
        }
        SlackClientError::HttpProtocolError(error) => {
            let cause = error.cause.as_ref();
            let cause = cause.and_then(|cause| cause.downcast_ref::<hyper_util::client::legacy::Error>());
            if cause.is_some_and(hyper_util::client::legacy::Error::is_connect) {
                Outcome::for_now("connect", "could not connect to Slack")
            } else {
                Outcome::unknown("the connection broke after the message was sent")
            }
        }
        SlackClientError::EndOfStream(_)
        | SlackClientError::SystemError(_)
        | SlackClientError::ProtocolError(_)
        | SlackClientError::SocketModeProtocolError(_) => Outcome::unknown("an answer that cannot be read"),
    }
}

fn said_no(code: &str) -> Outcome {
    let detail = "Slack answered ok: false";
    match code {
        "ratelimited" | "rate_limited" | "message_limit_exceeded" => Outcome::RefusedForNow {
            code: code.to_owned(),
            detail: detail.to_owned(),
            retry_after: None,
            counts: false,
        },
        "internal_error"
        | "fatal_error"
        | "service_unavailable"
        | "request_timeout"
        | "team_added_to_org" => Outcome::for_now(code, detail),
        "invalid_auth"
        | "not_authed"
        | "token_revoked"
        | "token_expired"
        | "missing_scope"
        | "no_permission"
        | "not_allowed_token_type"
        | "access_denied"
        | "accesslimited"
        | "org_login_required"
        | "team_access_not_granted"
        | "ekm_access_denied"
        | "two_factor_setup_required"
        | "unknown_method" => Outcome::down(code, detail),
        "channel_not_found"
        | "user_not_found"
        | "user_disabled"
        | "users_not_found"
        | "not_in_channel"
        | "is_archived"
        | "account_inactive"
        | "cannot_dm_bot"
        | "messages_tab_disabled"
        | "restricted_action"
        | "channel_is_limited_access" => Outcome::for_good(code, detail, true),
        // `msg_too_long`, `invalid_blocks` and whatever Slack thinks of next: this message will not do.
        _ => Outcome::for_good(code, detail, false),
    }
}
