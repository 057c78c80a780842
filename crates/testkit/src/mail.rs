//! Reads a received message far enough for assertions: decoded headers, decoded parts.

use anyhow::Context as _;
use mail_parser::{MessageParser, MimeHeaders as _, PartType};

/// A message, or what is left of it once nothing is encoded any more.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Name and value in order of appearance; unfolded, encoded words (RFC 2047) decoded.
    pub headers: Vec<(String, String)>,
    /// Everything that is not `multipart/*`, in order of appearance.
    pub parts: Vec<Part>,
}

/// One leaf of the message.
#[derive(Clone, Debug)]
pub struct Part {
    /// In lower case, without parameters: `text/html`.
    pub content_type: String,
    /// The bytes after quoted-printable or base64.
    pub bytes: Vec<u8>,
    /// The same as text, in whatever character set it came.
    pub body: String,
}

/// Reads the text between DATA and the final dot ([`Received::data`](crate::smtp::Received)).
pub fn parse(data: &str) -> anyhow::Result<Mail> {
    let message = MessageParser::new()
        .with_mime_headers()
        .default_header_text()
        .parse(data.as_bytes())
        .context("not a message")?;
    let headers = message.headers().iter().map(|header| {
        let value = match header.value().as_text() {
            Some(text) => text.to_owned(),
            // The parser takes Content-* apart; those are ASCII and need no decoding, only unfolding.
            None => unfolded(
                data.get(header.offset_start() as usize..header.offset_end() as usize).unwrap_or_default(),
            ),
        };
        (header.name().to_owned(), value)
    });
    let leaves = message.parts.iter().filter(|part| !matches!(part.body, PartType::Multipart(_)));
    let parts = leaves.map(|part| Part {
        content_type: part.content_type().map_or_else(
            || "text/plain".to_owned(),
            |kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or_default()).to_ascii_lowercase(),
        ),
        bytes: part.contents().to_vec(),
        body: part
            .text_contents()
            .map_or_else(|| String::from_utf8_lossy(part.contents()).into_owned(), ToOwned::to_owned),
    });
    Ok(Mail { headers: headers.collect(), parts: parts.collect() })
}

impl Mail {
    /// The first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers_named(name).first().copied()
    }

    /// Every header of this name: a smuggled second one shows here.
    pub fn headers_named(&self, name: &str) -> Vec<&str> {
        let found = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).collect()
    }

    /// The decoded text of the first part of this type, e.g. `text/plain`.
    pub fn body(&self, content_type: &str) -> Option<&str> {
        self.parts.iter().find(|part| part.content_type == content_type).map(|part| part.body.as_str())
    }
}

fn unfolded(raw: &str) -> String {
    raw.split("\r\n").map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}
