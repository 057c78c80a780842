//! The reader of mails.

use usher_testkit::mail::parse;

const MAIL: &str = "From: =?utf-8?Q?J=C3=BCrgen?= <j@example.org>\r\n\
    Subject: =?utf-8?B?R3LDvMOfZQ==?=\r\n  from usher\r\n\
    X-Twice: one\r\n\
    x-twice: two\r\n\
    Message-ID: <1@usher>\r\n\
    MIME-Version: 1.0\r\n\
    Content-Type: multipart/alternative;\r\n boundary=\"b\"\r\n\
    \r\n\
    --b\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Transfer-Encoding: quoted-printable\r\n\
    \r\n\
    Gr=C3=BC=C3=9Fe, a long =\r\nline\r\n\
    --b\r\n\
    Content-Type: text/html; charset=utf-8\r\n\
    Content-Transfer-Encoding: base64\r\n\
    \r\n\
    PGI+R3LDvMOfZTwvYj4=\r\n\
    --b--\r\n";

#[test]
fn headers_and_parts_are_decoded() {
    let mail = parse(MAIL).unwrap();
    assert_eq!(mail.header("subject"), Some("Grüße from usher"));
    assert_eq!(mail.header("From"), Some("Jürgen <j@example.org>"));
    assert_eq!(mail.header("Message-Id"), Some("<1@usher>"));
    assert_eq!(mail.header("content-type"), Some("multipart/alternative; boundary=\"b\""));
    assert_eq!(mail.headers_named("X-Twice"), ["one", "two"]);
    assert_eq!(mail.header("Bcc"), None);
    let kinds: Vec<_> = mail.parts.iter().map(|part| part.content_type.as_str()).collect();
    assert_eq!(kinds, ["text/plain", "text/html"]);
    assert_eq!(mail.body("text/plain").map(str::trim_end), Some("Grüße, a long line"));
    assert_eq!(mail.body("text/html"), Some("<b>Grüße</b>"));
}
