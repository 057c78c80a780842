//! Bytes of strangers, shown so that they do nothing to a terminal.

use std::fmt::Write as _;

use base64::Engine as _;
use serde_json::{Value, json};

/// How many bytes of a body that is no text are shown.
const SHOWN: usize = 1024;

/// For programs: the text, or base64 where it is no text.
pub(super) fn document(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!({"encoding": "utf-8", "data": text}),
        Err(_) => {
            json!({"encoding": "base64", "data": base64::engine::general_purpose::STANDARD.encode(bytes)})
        }
    }
}

/// For people: JSON with its lines, other text as it is, all else in hex.
pub(super) fn for_people(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else { return hex(bytes) };
    let pretty =
        serde_json::from_str::<Value>(text).ok().and_then(|json| serde_json::to_string_pretty(&json).ok());
    pretty.as_deref().unwrap_or(text).split('\n').map(escaped).collect::<Vec<_>>().join("\n")
}

/// One line: what steers a terminal or turns the direction of writing stands as `\u{1b}`.
pub(super) fn escaped(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    for c in line.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if turns || (c.is_control() && c != '\t') {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (line, chunk) in bytes.chunks(16).take(SHOWN / 16).enumerate() {
        let digits = chunk.iter().fold(String::new(), |mut digits, byte| {
            // Writing to a String cannot fail.
            let _ = write!(digits, "{byte:02x} ");
            digits
        });
        let letters: String =
            chunk.iter().map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' }).collect();
        let _ = writeln!(out, "{:08x}  {digits:<48} {letters}", line * 16);
    }
    if bytes.len() > SHOWN {
        let _ = writeln!(out, "... `usher rejected show ID --body` writes all of it");
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_does_nothing_to_a_terminal() {
        let evil = "{\"a\":\"\u{1b}]0;owned\u{7}\u{202e}txt\"";
        let shown = for_people(evil.as_bytes());
        assert_eq!(shown, "{\"a\":\"\\u{1b}]0;owned\\u{7}\\u{202e}txt\"");
        // In JSON the same, as an escape of JSON, comes out as one of ours.
        assert!(!for_people(br#"{"a":"\u001b[2J\u009b"}"#).chars().any(|c| c.is_control() && c != '\n'));
        let binary = for_people(&[0xff, 0x1b, b'A']);
        assert_eq!(binary, "00000000  ff 1b 41                                         ..A");
        assert_eq!(document(&[0xff]), json!({"encoding": "base64", "data": "/w=="}));
        assert!(for_people(&[0xff; 5000]).ends_with("writes all of it"));
    }
}
