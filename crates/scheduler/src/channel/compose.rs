//! From a rendered message to the bytes of an email.
//!
//! Laws: nothing that comes from a person can add a header line. The bytes are ASCII (quoted-printable, encoded
//! words), except where the recipient's local part is not, which SMTPUTF8 is for; an internationalised domain goes
//! out in its ASCII form (punycode), which every server knows.

use std::time::{Duration, UNIX_EPOCH};

use lettre::Address;
use lettre::address::{AddressError, Envelope};
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};

use super::{ConfigError, Outcome};
use crate::message::{self, EmailBody, Message, clean};

/// Longest display name, in characters.
const NAME: usize = 100;
/// More earlier messages than this thread no better.
const REFERENCES: usize = 20;

/// An email, ready to be handed over.
pub(super) struct Composed {
    pub(super) message_id: String,
    pub(super) envelope: Envelope,
    pub(super) bytes: Vec<u8>,
}

/// Reads `Name <address>` or an address.
pub(super) fn sender(text: &str) -> Result<Mailbox, ConfigError> {
    let (name, inner) = match text.trim().strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) {
        Some((name, inner)) => (Some(name.trim().trim_matches('"')), inner),
        None => (None, text.trim()),
    };
    address(inner).map(|address| mailbox(name, address)).map_err(ConfigError::From)
}

/// An error is the outcome of the attempt.
pub(super) fn compose(from: &Mailbox, message: &Message, body: &EmailBody) -> Result<Composed, Outcome> {
    let message::Address::Email(to) = &message.to.address else {
        return Err(Outcome::for_good("not_email", "the recipient has no email address", false));
    };
    let to = address(to).map_err(|error| Outcome::for_good("bad_address", error.to_string(), true))?;
    let sent_at = UNIX_EPOCH + Duration::from_secs(u64::try_from(message.now.timestamp()).unwrap_or(0));
    // Given, not read back from the headers: lettre cannot parse every address that it writes.
    let envelope = Envelope::new(Some(from.email.clone()), vec![to.clone()]).map_err(|_| bad("envelope"))?;
    let mut builder = lettre::Message::builder()
        .envelope(envelope)
        .message_id(Some(one_id(&message.message_id).ok_or_else(|| bad("message_id"))?.to_owned()))
        .date(sent_at)
        .from(from.clone())
        .to(mailbox(message.to.name.as_deref(), to))
        .subject(one_line(&body.subject));
    // One that is no address is no reason to send nothing: answers then go to the sender.
    if let Some(reply_to) = message.reply_to.as_deref().and_then(|text| address(text).ok()) {
        builder = builder.reply_to(mailbox(None, reply_to));
    }
    let earlier: Vec<&str> = message.references.iter().filter_map(|id| one_id(id)).collect();
    if let Some(latest) = earlier.last() {
        let kept = &earlier[earlier.len().saturating_sub(REFERENCES)..];
        builder = builder.in_reply_to((*latest).to_owned()).references(kept.join(" "));
    }
    builder = builder.raw_header(raw("Auto-Submitted", "auto-generated".to_owned()));
    if let Some(text) = &message.unsubscribe_url {
        let url = url::Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| bad("unsubscribe_url"))?;
        builder = builder
            .raw_header(raw("List-Unsubscribe", format!("<{url}>")))
            .raw_header(raw("List-Unsubscribe-Post", "List-Unsubscribe=One-Click".to_owned()));
    }
    let email = builder
        .multipart(
            MultiPart::alternative()
                .singlepart(part(ContentType::TEXT_PLAIN, &body.text))
                .singlepart(part(ContentType::TEXT_HTML, &body.html)),
        )
        .map_err(|_| bad("headers"))?;
    Ok(Composed {
        message_id: message.message_id.clone(),
        envelope: email.envelope().clone(),
        bytes: email.formatted(),
    })
}

fn part(kind: ContentType, text: &str) -> SinglePart {
    SinglePart::builder().header(kind).header(ContentTransferEncoding::QuotedPrintable).body(text.to_owned())
}

/// Whoever made the body: a subject is one line.
fn one_line(subject: &str) -> String {
    subject.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// lettre panics on CR, LF and NUL in a display name.
fn mailbox(name: Option<&str>, address: Address) -> Mailbox {
    let name = name.map(|name| clean::line(name, NAME)).filter(|name| !name.is_empty());
    Mailbox::new(name, address)
}

fn address(text: &str) -> Result<Address, AddressError> {
    let (user, domain) = text.trim().rsplit_once('@').ok_or(AddressError::MissingParts)?;
    if domain.is_ascii() {
        return Address::new(user, domain);
    }
    let domain = url::Host::parse(domain).map_err(|_| AddressError::InvalidDomain)?;
    Address::new(user, domain.to_string())
}

/// `<...>` without anything that could end the header.
fn one_id(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('<')?.strip_suffix('>')?;
    let fine = |c: char| c.is_ascii_graphic() && c != '<' && c != '>';
    (!inner.is_empty() && inner.len() <= 250 && inner.chars().all(fine)).then_some(text)
}

fn raw(name: &'static str, value: String) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value)
}

/// The caller made a message that cannot be one: our fault, not the recipient's.
fn bad(what: &str) -> Outcome {
    Outcome::for_good(format!("bad_{what}"), "the message could not be composed", false)
}
