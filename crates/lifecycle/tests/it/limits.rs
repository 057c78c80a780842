//! What callers may send, at the edges.

use usher_lifecycle::{
    Code, Refusal,
    limits::{self, email, excerpt, filled, frequency_days, instant, text},
};

use crate::at;

fn code<T: std::fmt::Debug>(found: Result<T, Refusal>) -> Code {
    let refusal = found.expect_err("is not allowed");
    assert_eq!(refusal.field.as_deref(), Some("f"));
    assert!(refusal.message.starts_with("f "), "{}", refusal.message);
    refusal.code
}

#[test]
fn frequency_is_1_to_365_days() {
    for (days, wanted) in [
        (0, Code::TooSmall),
        (-1, Code::TooSmall),
        (i64::MIN, Code::TooSmall),
        (366, Code::TooBig),
        (65_537, Code::TooBig),
        (i64::MAX, Code::TooBig),
    ] {
        assert_eq!(code(frequency_days("f", days)), wanted, "{days}");
    }
    assert_eq!((frequency_days("f", 1), frequency_days("f", 365)), (Ok(1), Ok(365)));
}

#[test]
fn instants_have_a_zone_and_a_year_that_databases_know() {
    for bad in [
        "",
        "2026-03-29",
        "2026-03-29T09:00:00",
        "2026-03-29T09:00Z",
        "2026-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-03-29T24:00:00Z",
        "2026-03-29T09:00:61Z",
        "10000-01-01T00:00:00Z",
        "+10000-01-01T00:00:00Z",
        "9999-12-31T23:59:59-01:00",
        "1899-12-31T23:59:59Z",
        "1900-01-01T00:00:00+01:00",
        "0000-01-01T00:00:00Z",
        "-0001-01-01T00:00:00Z",
        "1774774800",
        "2026-03-29T09:00:00 Europe/Berlin",
        " 2026-03-29T09:00:00Z",
        "2026-03-29T09:00:00Z\0",
        "２０２６-03-29T09:00:00Z",
    ] {
        assert_eq!(code(instant("f", bad)), Code::InvalidString, "{bad}");
    }
}

#[test]
fn instants_are_utc_in_microseconds() {
    for (text, wanted) in [
        ("2026-03-29T09:00:00Z", "2026-03-29T09:00:00Z"),
        ("2026-03-29T09:00:00+02:00", "2026-03-29T07:00:00Z"),
        ("2026-03-29T09:00:00.1234567Z", "2026-03-29T09:00:00.123456Z"),
        ("2026-03-29T09:00:00.999999999Z", "2026-03-29T09:00:00.999999Z"),
        ("2028-02-29T12:00:00Z", "2028-02-29T12:00:00Z"),
        ("2000-02-29T12:00:00Z", "2000-02-29T12:00:00Z"),
        ("1900-01-01T00:00:00Z", "1900-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        // A leap second is the last instant of its minute.
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999Z"),
        ("2016-12-31T23:59:60.5Z", "2016-12-31T23:59:59.999999Z"),
    ] {
        assert_eq!(instant("f", text), Ok(at(wanted)), "{text}");
    }
}

#[test]
fn addresses_that_people_have() {
    let long_local = "a".repeat(64);
    let domain = format!("{}.{}.{}.com", "b".repeat(63), "c".repeat(63), "d".repeat(57));
    let longest = format!("{long_local}@{domain}");
    assert_eq!(longest.len(), limits::EMAIL);
    for good in [
        "ann@example.com",
        "ann.o'hara+tag@mail.example.co.uk",
        "ann@localhost",
        r#""ann o'hara"@example.com"#,
        r#""a@b"@example.com"#,
        r#""a\"b\\"@example.com"#,
        "ann@müller.example",
        "ann@उदाहरण.परीक्षा",
        "ann@xn--mller-kva.example",
        "用户@例子.广告",
        &longest,
    ] {
        assert_eq!(email("f", good).as_deref(), Ok(good));
    }
    assert_eq!(email("f", "Ann@EXAMPLE.com").as_deref(), Ok("ann@example.com"));
}

#[test]
fn addresses_that_nobody_has() {
    for bad in [
        "",
        "ann",
        "@example.com",
        "ann@",
        "ann@example..com",
        "ann@.example.com",
        "ann@example.com.",
        "ann@-example.com",
        "ann@exa mple.com",
        "ann@exam_ple.com",
        "ann@[127.0.0.1]",
        "ann @example.com",
        "ann@bob@example.com",
        ".ann@example.com",
        "ann.@example.com",
        "an..n@example.com",
        "ann,bob@example.com",
        "Ann <ann@example.com>",
        r#""ann@example.com"#,
        r#"""@example.com"#,
        r#"""#,
        r#""ann\"@example.com"#,
        r#"an"n@example.com"#,
        // Two addresses in one header, if quotes were not looked into.
        r#""a" <evil@example.net>, "b"@example.com"#,
        r#""a"b"@example.com"#,
        "ann@example.com\r\nBcc: evil@example.net",
        "ann\r\n@example.com",
        "\"a\r\nBcc: x\"@example.com",
        "ann@example.com\0",
        "ann@exam\u{202e}ple.com",
        "an\u{200b}n@example.com",
        "ann\u{a0}@example.com",
    ] {
        assert_eq!(code(email("f", bad)), Code::InvalidString, "{bad:?}");
    }
    let label = format!("ann@{}.com", "b".repeat(64));
    assert_eq!(code(email("f", &label)), Code::InvalidString);
    let local = format!("{}@example.com", "a".repeat(65));
    assert_eq!(code(email("f", &local)), Code::InvalidString);
}

#[test]
fn addresses_are_at_most_254_bytes_also_in_lower_case() {
    let domain = format!("{}.{}.{}.com", "b".repeat(63), "c".repeat(63), "d".repeat(58));
    assert_eq!(code(email("f", &format!("{}@{domain}", "a".repeat(64)))), Code::TooLong);
    // The dotted capital I of Turkish has two bytes, its lower case three.
    let turkish = format!("{}@{}.{}.{}.com", "İ".repeat(32), "b".repeat(63), "c".repeat(63), "d".repeat(57));
    assert_eq!(turkish.len(), limits::EMAIL);
    assert_eq!(code(email("f", &turkish)), Code::TooLong);
}

#[test]
fn text_is_counted_in_characters_and_has_no_nul() {
    assert_eq!(text("f", &"é".repeat(limits::NOTES), limits::NOTES), Ok("é".repeat(limits::NOTES)));
    assert_eq!(code(text("f", &"é".repeat(limits::NOTES + 1), limits::NOTES)), Code::TooLong);
    assert_eq!(code(text("f", "a\0b", 10)), Code::InvalidString);
    assert_eq!(text("f", "", 10), Ok(String::new()));
    assert_eq!(text("f", "right\u{202e}left\nand on", 100), Ok("right\u{202e}left\nand on".into()));
}

#[test]
fn names_are_filled() {
    for blank in ["", " ", "\t\n", "\u{2003}"] {
        assert_eq!(code(filled("f", blank, 10)), Code::TooSmall);
    }
    assert_eq!(code(filled("f", "\0", 10)), Code::InvalidString);
    assert_eq!(code(filled("f", "12345678901", 10)), Code::TooLong);
    assert_eq!(filled("f", " a ", 10), Ok(" a ".into()));
}

#[test]
fn what_a_message_quotes_is_short_and_on_one_line() {
    assert_eq!(excerpt("a\r\nb"), r#""a\r\nb""#);
    assert_eq!(excerpt(&"x".repeat(64)), format!("\"{}\"", "x".repeat(64)));
    assert_eq!(excerpt(&"é".repeat(100_000)), format!("\"{}\"...", "é".repeat(64)));
}
