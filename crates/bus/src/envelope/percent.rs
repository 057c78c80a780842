//! `%41` for `A`, as in urls and in the headers of binary `CloudEvents`.

/// The text without percent encoding. A text with a `%` that encodes nothing, or bytes that are not UTF-8, is taken
/// as it stands: its sender does not encode.
pub(crate) fn decode(text: &str) -> String {
    decoded(text).unwrap_or_else(|| text.to_owned())
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' { hex(bytes.next()?)? << 4 | hex(bytes.next()?)? } else { byte });
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn only_what_is_encoded_is_decoded() {
        assert_eq!(decode("Euro%20%E2%82%ac"), "Euro \u{20ac}");
        for as_it_stands in ["100%", "100%2", "5%zz", "%ff", "plain"] {
            assert_eq!(decode(as_it_stands), as_it_stands);
        }
    }
}
