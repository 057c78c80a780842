//! Headers and messages in our own words. Names are found in any case, values never hold a line break.

use bytes::Bytes;

/// The headers of a message, in order, names as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// No headers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The first value under `name`, whatever its case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Adds a header. Control characters of the value become spaces; a name that NATS cannot carry is left out.
    pub fn push(&mut self, name: impl Into<String>, value: impl AsRef<str>) {
        let name = name.into();
        if !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic() && c != ':') {
            self.0.push((name, clean(value.as_ref())));
        }
    }

    /// Adds a header; for building in one expression.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl AsRef<str>) -> Self {
        self.push(name, value);
        self
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes on the wire: `NATS/1.0`, one line each, an empty line.
    pub fn wire_len(&self) -> usize {
        if self.is_empty() {
            return 0;
        }
        "NATS/1.0\r\n\r\n".len()
            + self.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>()
    }
}

impl<N: Into<String>, V: AsRef<str>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut headers = Self::new();
        for (name, value) in pairs {
            headers.push(name, value);
        }
        headers
    }
}

/// Line breaks would add headers; other control characters are of no use to anyone. Servers cut outer spaces, so we
/// do too.
fn clean(value: &str) -> String {
    value.replace(|c: char| c.is_control(), " ").trim().to_owned()
}

/// A message as it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Where to.
    pub subject: String,
    /// Its headers; `Nats-Msg-Id` makes a repeat harmless.
    pub headers: Headers,
    /// Its bytes.
    pub payload: Bytes,
}

/// A message that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The stream had a message with this `Nats-Msg-Id` already; this one was dropped.
    pub duplicate: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_keep_their_own() {
        let headers = Headers::new().with("CE-Type", "one").with("ce-type", "two");
        assert_eq!(headers.get("Ce-type"), Some("one"));
        assert_eq!(headers.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["CE-Type", "ce-type"]);
    }

    #[test]
    fn a_value_cannot_add_a_header() {
        let headers = Headers::new().with("A", "x\r\nNats-Msg-Id: y\0").with("B:\r\nC", "z").with("", "z");
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("A", "x  Nats-Msg-Id: y")]);
    }
}
