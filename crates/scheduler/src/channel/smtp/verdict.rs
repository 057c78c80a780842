//! What a fault at a step means for the message, the recipient and the channel.
//!
//! | step | 4xx, hung up, late | 5xx |
//! | --- | --- | --- |
//! | up to the login | refused for now | channel down: the server does not want us |
//! | MAIL | refused for now | channel down: it takes no mail from our sender |
//! | RCPT | refused for now | refused for good; the address is broken unless policy is the reason |
//! | DATA | refused for now | refused for good |
//! | the message | 4xx: refused for now; else unknown | refused for good |
//!
//! 530, 534, 535 and 538 mean the login, at every step: channel down.

use std::error::Error as _;

use super::super::Outcome;
use super::dialogue::{Fault, Step};

/// The deadline passed at this step.
pub(super) fn late(step: Step) -> Outcome {
    match step {
        Step::Content => Outcome::unknown("no answer in time after the message was sent"),
        Step::Connect => Outcome::for_now("timeout_connect", "could not connect in time"),
        Step::Hello | Step::Tls | Step::Auth => {
            Outcome::for_now("timeout_hello", "the server was not ready in time")
        }
        Step::Mail | Step::Rcpt | Step::Data => {
            Outcome::for_now("timeout", "no answer in time, before the message was sent")
        }
    }
}

pub(super) fn of(step: Step, fault: &Fault) -> Outcome {
    match fault {
        Fault::NoStartTls => Outcome::down(
            "no_starttls",
            "the server offers no STARTTLS, which is required here (a login needs it; tls=off goes without)",
        ),
        Fault::NoMechanism => Outcome::down(
            "no_auth",
            "a login is configured, and the server offers neither AUTH PLAIN nor LOGIN",
        ),
        Fault::NoSmtpUtf8 => {
            Outcome::for_good("no_smtputf8", "the server takes no addresses beyond ASCII", true)
        }
        Fault::NoGoAhead(code) => Outcome::for_now(code.to_string(), "an odd answer to DATA"),
        Fault::Io(error) => broken(step, error),
        Fault::Smtp(error) => match error.status() {
            Some(code) => said_no(step, u16::from(code), &words(error)),
            None => broken(step, error),
        },
    }
}

fn said_no(step: Step, code: u16, words: &str) -> Outcome {
    let name = code.to_string();
    match (code, step) {
        (0..=499, _) => Outcome::for_now(name, words),
        (530 | 534 | 535 | 538, _)
        | (_, Step::Connect | Step::Hello | Step::Tls | Step::Auth | Step::Mail) => {
            Outcome::down(name, words)
        }
        (_, Step::Rcpt) => Outcome::for_good(name, words, blames_address(words).unwrap_or(code != 503)),
        (_, Step::Data | Step::Content) => {
            Outcome::for_good(name, words, blames_address(words).unwrap_or(false))
        }
    }
}

/// Whether the enhanced status (RFC 3463), if there is one, finds fault with the address rather than with a full
/// mailbox, our reputation or the message.
fn blames_address(words: &str) -> Option<bool> {
    let mut parts = words.split_whitespace().next()?.split('.');
    let (class, subject, detail) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let blamed = matches!((subject, detail), ("1", _) | ("2", "0" | "1"));
    (class == "5" && digits(subject) && digits(detail)).then_some(blamed)
}

/// The connection broke, or TLS did not come about.
fn broken(step: Step, error: &(dyn std::error::Error + 'static)) -> Outcome {
    if let Some(tls) = tls_fault(error) {
        let code = if matches!(tls, rustls::Error::InvalidCertificate(_)) { "certificate" } else { "tls" };
        return Outcome::down(code, tls.to_string());
    }
    match step {
        Step::Content => Outcome::unknown("the connection broke after the message was sent"),
        Step::Connect => Outcome::for_now("connect", error.to_string()),
        Step::Hello | Step::Tls | Step::Auth | Step::Mail | Step::Rcpt | Step::Data => {
            Outcome::for_now("connection", error.to_string())
        }
    }
}

/// rustls hides inside `io::Error`, whose `source` skips it.
fn tls_fault<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner as &(dyn std::error::Error + 'static)),
            None => error.source(),
        };
    }
    None
}

/// What the server wrote.
fn words(error: &lettre::transport::smtp::Error) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_address_is_blamed_for_the_address() {
        for (words, blamed) in [
            ("5.1.1 no such user", Some(true)),
            ("5.2.1 disabled", Some(true)),
            ("5.2.2 mailbox full", Some(false)),
            ("5.7.1 relaying denied", Some(false)),
            ("no such user", None),
            ("5.x.1 odd", None),
            ("", None),
        ] {
            assert_eq!(blames_address(words), blamed, "{words}");
        }
    }

    #[test]
    fn a_fault_in_tls_after_the_message_is_still_unknown_or_down_never_for_good() {
        let hung_up = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(matches!(of(Step::Content, &Fault::Io(hung_up)), Outcome::Unknown { .. }));
    }

    #[test]
    fn a_refused_login_is_no_bounce_at_any_step() {
        for step in [Step::Auth, Step::Mail, Step::Rcpt, Step::Data, Step::Content] {
            assert!(matches!(said_no(step, 535, "5.7.8 no"), Outcome::ChannelDown { .. }));
        }
    }
}
