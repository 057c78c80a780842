//! Makes foreign text fit to stand in a line, a paragraph, a header.
//!
//! Law: what leaves here contains no control character (so no CR, LF or NUL outside the line breaks of a paragraph)
//! and no override of the writing direction. Everything else stays as it was written.

/// One line of at most `max` characters; breaks and control characters become a space, what is cut ends in `…`.
pub fn line(text: &str, max: usize) -> String {
    cut(&spaced(text, |c| c.is_whitespace() || is_foul(c)), max)
}

/// The same for text that was rendered from clean parts: what [`isolate`] put around them stays.
pub(super) fn rendered_line(text: &str, max: usize) -> String {
    cut(&spaced(text, |c| c.is_whitespace() || c.is_control()), max)
}

fn spaced(text: &str, is_space: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split(is_space).filter(|word| !word.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// Paragraphs of at most `max` characters; lines are kept, of several empty lines one.
pub fn paragraphs(text: &str, max: usize) -> String {
    let mut out = String::new();
    let mut empty = 0;
    for row in text.replace("\r\n", "\n").split(['\n', '\r', '\u{2028}', '\u{2029}']) {
        let row = line(row, max);
        if row.is_empty() {
            empty += 1;
            continue;
        }
        if !out.is_empty() {
            out.push_str(if empty > 0 { "\n\n" } else { "\n" });
        }
        empty = 0;
        out.push_str(&row);
    }
    cut(&out, max)
}

/// At most `max` characters, the last of them `…` when something was left out; what was isolated is so again.
pub fn cut(text: &str, max: usize) -> String {
    if text.char_indices().nth(max).is_none() {
        return text.to_owned();
    }
    let end = text.char_indices().nth(max.saturating_sub(1)).map_or(0, |(at, _)| at);
    let kept = text[..end].trim_end();
    let open = kept.matches('\u{2068}').count() > kept.matches('\u{2069}').count();
    format!("{kept}…{}", if open { "\u{2069}" } else { "" })
}

/// Sets right-to-left text apart (Unicode isolates), so that it does not turn the words around it.
pub fn isolate(text: String) -> String {
    if text.chars().any(is_rtl) { format!("\u{2068}{text}\u{2069}") } else { text }
}

fn is_foul(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200E}' | '\u{200F}' | '\u{061C}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' | '\u{FEFF}')
}

fn is_rtl(c: char) -> bool {
    matches!(c, '\u{0590}'..='\u{08FF}' | '\u{FB1D}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFC}' | '\u{10800}'..='\u{10FFF}' | '\u{1E800}'..='\u{1EFFF}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_line_is_a_line(text in ".*", max in 1_usize..50) {
            let clean = line(&text, max);
            prop_assert!(clean.chars().count() <= max);
            prop_assert!(!clean.contains(|c: char| c.is_control() || is_foul(c)));
        }

        #[test]
        fn paragraphs_hold_only_line_breaks(text in "[\\x00-\\x7f\u{2028}\u{202e}é]*", max in 1_usize..80) {
            let clean = paragraphs(&text, max);
            prop_assert!(clean.chars().count() <= max);
            prop_assert!(!clean.contains(|c: char| c != '\n' && is_foul(c)));
            prop_assert!(!clean.contains("\n\n\n"));
        }
    }

    #[test]
    fn no_header_line_can_be_smuggled_in() {
        assert_eq!(line("Acme\r\nBcc: x@y\0", 100), "Acme Bcc: x@y");
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(line("abcdef", 4), "abc…");
        assert_eq!(line("abcd", 4), "abcd");
        assert_eq!(paragraphs("a\r\n\r\n\r\nb\nc", 10), "a\n\nb\nc");
    }

    #[test]
    fn what_is_cut_stays_set_apart() {
        assert_eq!(cut(&isolate("שלום עולם".to_owned()), 6), "\u{2068}שלום…\u{2069}");
    }

    #[test]
    fn only_right_to_left_text_is_set_apart() {
        assert_eq!(isolate("Acme".to_owned()), "Acme");
        assert_eq!(isolate("שלום".to_owned()), "\u{2068}שלום\u{2069}");
    }
}
