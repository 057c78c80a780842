//! What a text may be, per key: small predicates without I/O, so that a bad value is named at start and not at the
//! first send. Where another crate parses the value for real (URLs, mailboxes), the check here is the looser one or
//! asks for percent-encoding.

use std::net::SocketAddr;

use chrono::{NaiveDate, NaiveTime, Weekday};
use tracing_subscriber::EnvFilter;

pub(super) fn listen(text: &str) -> bool {
    text.parse::<SocketAddr>().is_ok()
}

pub(super) fn word(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

pub(super) fn title(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= 200 && !text.chars().any(char::is_control)
}

/// One token of a NATS subject, or of a stream's name.
pub(super) fn token(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

pub(super) fn slug(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

pub(super) fn log_filter(text: &str) -> bool {
    !text.trim().is_empty() && EnvFilter::try_new(text).is_ok()
}

pub(super) fn time(text: &str) -> bool {
    text.len() == 5 && NaiveTime::parse_from_str(text, "%H:%M").is_ok()
}

pub(super) fn dates(items: &[&str]) -> bool {
    items.iter().all(|item| item.len() == 10 && NaiveDate::parse_from_str(item, "%Y-%m-%d").is_ok())
}

pub(super) fn working_days(items: &[&str]) -> bool {
    let mut seen = Vec::<Weekday>::new();
    !items.is_empty()
        && items.iter().all(|item| {
            // Chrono alone would take "Monday" and "MON" too.
            let known = item.len() == 3 && !item.contains(|c: char| !c.is_ascii_lowercase());
            item.parse().is_ok_and(|day| {
                let fresh = !seen.contains(&day);
                seen.push(day);
                known && fresh
            })
        })
}

pub(super) fn address(text: &str) -> bool {
    let fine = |part: &str| !part.is_empty() && !part.contains(['@', '<', '>', ',', ';']);
    word(text)
        && text.len() <= 254
        && text.split_once('@').is_some_and(|(user, host)| fine(user) && fine(host))
}

/// A cron expression.
pub(super) fn cron(text: &str) -> bool {
    text.parse::<crate::cron::Cron>().is_ok()
}

/// `address`, or `name <address>`.
pub(super) fn mailbox(text: &str) -> bool {
    match text.split_once('<') {
        None => address(text),
        Some((name, rest)) => {
            name.chars().count() <= 200
                && !name.chars().any(|c| c.is_control() || c == '>')
                && rest.strip_suffix('>').is_some_and(address)
        }
    }
}

/// The parts of `scheme://[userinfo@]authority[tail]`; the tail starts with `/`, `?` or `#`.
struct Parts<'a> {
    scheme: &'a str,
    userinfo: Option<&'a str>,
    authority: &'a str,
    tail: &'a str,
}

fn parts(text: &str) -> Option<Parts<'_>> {
    let (scheme, rest) = text.split_once("://")?;
    if !word(text) {
        return None;
    }
    let (front, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (userinfo, authority) = match front.rsplit_once('@') {
        Some((userinfo, authority)) => (Some(userinfo), authority),
        None => (None, front),
    };
    Some(Parts { scheme, userinfo, authority, tail })
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn host_and_port(text: &str) -> bool {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let Some((host, port)) = rest.split_once(']') else { return false };
        if host.parse::<std::net::Ipv6Addr>().is_err() || !(port.is_empty() || port.starts_with(':')) {
            return false;
        }
        (host, port.strip_prefix(':'))
    } else {
        let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
        if !host.chars().all(|c| c.is_alphanumeric() || ".-_%".contains(c)) {
            return false;
        }
        (host, port)
    };
    !host.is_empty() && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number > 0))
}

pub(super) fn base_url(text: &str) -> bool {
    parts(text).is_some_and(|url| {
        matches!(url.scheme, "http" | "https")
            && url.userinfo.is_none()
            && host_and_port(url.authority)
            && !url.tail.contains(['?', '#', '@'])
            && !url.tail.ends_with('/')
    })
}

/// A page for one onboarding: a URL that names it in some place.
pub(super) fn record_url(text: &str) -> bool {
    let named = ["{id}", "{display_id}", "{external_id}"]
        .into_iter()
        .fold(text.to_owned(), |url, mark| url.replace(mark, "1"));
    let is_url = parts(&named).is_some_and(|url| {
        matches!(url.scheme, "http" | "https") && url.userinfo.is_none() && host_and_port(url.authority)
    });
    is_url && named != text && !named.contains(['{', '}', ' ', '"', '<', '>'])
}

pub(super) fn store_url(text: &str) -> bool {
    if let Some(path) = text.strip_prefix("sqlite://") {
        return !path.is_empty() && !path.starts_with('?') && !path.chars().any(char::is_control);
    }
    parts(text).is_some_and(|url| {
        matches!(url.scheme, "postgres" | "postgresql")
            // Without a host it may be in the query: `postgres:///usher?host=/run/postgresql`.
            && (host_and_port(url.authority) || url.authority.is_empty() && url.tail.contains("host="))
    })
}

pub(super) fn nats_url(text: &str) -> bool {
    text.split(',').all(|server| {
        parts(server).is_some_and(|url| {
            matches!(url.scheme, "nats" | "tls")
                && url.userinfo.is_none_or(|user| !user.is_empty() && !user.contains('@'))
                && host_and_port(url.authority)
                && matches!(url.tail, "" | "/")
        })
    })
}

pub(super) fn smtp_url(text: &str) -> bool {
    parts(text).is_some_and(|url| {
        let login = |text: &str| {
            text.split_once(':').is_some_and(|(user, password)| {
                !user.is_empty() && !password.is_empty() && !text.contains('@') && !password.contains(':')
            })
        };
        matches!(url.scheme, "smtp" | "smtps")
            && url.userinfo.is_none_or(login)
            && host_and_port(url.authority)
            && matches!(
                url.tail.strip_prefix('/').unwrap_or(url.tail),
                "" | "?tls=required" | "?tls=opportunistic" | "?tls=off"
            )
    })
}
