use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use usher_scheduler::channel::{Mailer, Outcome, SmtpConfig};
use usher_scheduler::message::{Address, EmailBody, Message};
use usher_testkit::smtp::{Behaviour, Sink};

use crate::{PATIENCE, acme, message, templates};

const SHORT: Duration = Duration::from_secs(1);

pub(crate) fn url(sink: &Sink, scheme: &str, login: &str, query: &str) -> String {
    format!("{scheme}://{login}127.0.0.1:{}{query}", sink.port())
}

pub(crate) fn config(url: String) -> SmtpConfig {
    let _ = rustls::crypto::ring::default_provider().install_default();
    SmtpConfig::new(url.into(), "Usher <usher@example.com>")
}

/// With deadlines that a stalled server exceeds soon.
fn hurried(sink: &Sink) -> Mailer {
    let url = url(sink, "smtp", "", "");
    Mailer::smtp(&SmtpConfig { connect_limit: SHORT, message_limit: SHORT, ..config(url) }).unwrap()
}

pub(crate) fn mailer(sink: &Sink) -> Mailer {
    Mailer::smtp(&config(url(sink, "smtp", "", ""))).unwrap()
}

fn body(message: &Message) -> EmailBody {
    templates().email(message).unwrap()
}

pub(crate) async fn send(mailer: &Mailer) -> Outcome {
    send_to(mailer, "ada@example.com").await
}

async fn send_to(mailer: &Mailer, address: &str) -> Outcome {
    let mut message = message(vec![acme()]);
    message.to.address = Address::Email(address.to_owned());
    mailer.send(&message, &short()).await
}

fn short() -> EmailBody {
    EmailBody { subject: "s".to_owned(), text: "t\n.\nt".to_owned(), html: "<p>h</p>".to_owned() }
}

pub(crate) fn down(outcome: &Outcome) -> &str {
    assert!(matches!(outcome, Outcome::ChannelDown { .. }), "{outcome:?}");
    outcome.code()
}

fn for_now(outcome: &Outcome) -> &str {
    assert!(matches!(outcome, Outcome::RefusedForNow { counts: true, .. }), "{outcome:?}");
    outcome.code()
}

pub(crate) fn accepted(outcome: &Outcome) {
    assert!(matches!(outcome, Outcome::Accepted { .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_reminder_arrives_as_it_was_rendered() {
    let sink = Sink::start().await.unwrap();
    let mut message = message(vec![acme()]);
    message.to.name = Some("Ada \"the\nBoss\"\r\nBcc: x@y.example".to_owned());
    message.reply_to = Some("grace@example.com".to_owned());
    let body = body(&message);
    accepted(&mailer(&sink).send(&message, &body).await);

    let received = sink.wait_for(1, PATIENCE).await.remove(0);
    assert_eq!(
        (received.from.as_str(), received.recipients.as_slice()),
        ("usher@example.com", &["ada@example.com".to_owned()][..])
    );
    assert!(received.data.is_ascii());
    let mail = received.mail();
    assert_eq!(mail.header("Subject"), Some(body.subject.as_str()));
    assert_eq!(mail.body("text/plain").unwrap().replace("\r\n", "\n").trim_end(), body.text.trim_end());
    assert_eq!(mail.body("text/html").unwrap().replace("\r\n", "\n").trim_end(), body.html.trim_end());
    assert_eq!(mail.parts.len(), 2);
    for (name, start) in [
        ("Message-ID: ", "<rem-1@usher.example>"),
        ("Date: ", "Tue, 12 May 2026 13:00:00 +0000"),
        ("From: ", "Usher <usher@example.com>"),
        ("Reply-To: ", "grace@example.com"),
        ("Auto-Submitted: ", "auto-generated"),
        ("List-Unsubscribe: ", "<https://usher.example/u/abc?t=1&k=2>"),
        ("List-Unsubscribe-Post: ", "List-Unsubscribe=One-Click"),
        ("In-Reply-To: ", "<rem-0@usher.example>"),
        ("References: ", "<onb-7@usher.example> <rem-0@usher.example>"),
        ("Content-Type: ", "multipart/alternative"),
    ] {
        assert!(
            received.data.contains(&format!("\r\n{name}{start}"))
                || received.data.starts_with(&format!("{name}{start}")),
            "{name}\n{}",
            received.data
        );
    }
    assert_eq!(mail.headers_named("Bcc").len(), 0);
    assert_eq!(received.data.matches("Content-Transfer-Encoding: quoted-printable").count(), 2);
}

#[tokio::test]
async fn without_unsubscribe_url_and_references_there_are_no_such_headers() {
    let sink = Sink::start().await.unwrap();
    let message = Message { unsubscribe_url: None, references: Vec::new(), ..message(vec![acme()]) };
    accepted(&mailer(&sink).send(&message, &short()).await);
    let mail = sink.wait_for(1, PATIENCE).await.remove(0).mail();
    for name in ["List-Unsubscribe", "List-Unsubscribe-Post", "References", "In-Reply-To", "Reply-To"] {
        assert_eq!(mail.header(name), None);
    }
}

#[tokio::test]
async fn addresses_of_every_kind() {
    let sink = Sink::start().await.unwrap();
    let mailer = mailer(&sink);
    let longest =
        format!("{}@{}.example", "a".repeat(64), ["b".repeat(60), "c".repeat(60), "d".repeat(59)].join("."));
    assert_eq!(longest.len(), 254);
    let cases = [
        ("\"ada @ home\"@example.com", "\"ada @ home\"@example.com"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("jürgen@bücher.example", "jürgen@xn--bcher-kva.example"),
        (longest.as_str(), longest.as_str()),
    ];
    for (given, sent) in cases {
        accepted(&send_to(&mailer, given).await);
        assert_eq!(sink.messages().last().unwrap().recipients, [sent]);
    }
    for bad in [
        "",
        "ada",
        "@example.com",
        "ada@",
        "a b@example.com",
        "ada@example.com\r\nRCPT TO:<x@y>",
        "ada@exa mple.com",
    ] {
        let outcome = send_to(&mailer, bad).await;
        assert!(matches!(&outcome, Outcome::RefusedForGood { broken: true, .. }), "{bad}: {outcome:?}");
    }
    assert_eq!(sink.messages().len(), 4);
    assert_eq!(sink.connections(), 1, "all of them travel on one connection");
}

#[tokio::test]
async fn refusals_say_for_how_long_and_whose_fault() {
    let sink = Sink::start().await.unwrap();
    let mailer = mailer(&sink);
    let rcpt = |code, text: &str| Behaviour::RejectRcpt {
        address_contains: String::new(),
        code,
        text: text.to_owned(),
    };
    let data = |code, text: &str| Behaviour::RejectData { code, text: text.to_owned() };
    let sender = |code, text: &str| Behaviour::RejectSender { code, text: text.to_owned() };

    for behaviour in [
        rcpt(450, "4.2.1 busy"),
        rcpt(421, "later"),
        data(451, "4.3.0 later"),
        sender(450, "no"),
        sender(421, "no"),
    ] {
        sink.next(2, behaviour.clone());
        for_now(&send(&mailer).await);
        // On a connection in use 421 is a farewell: what was queued for the second try is used up here.
        let _ = send(&mailer).await;
        accepted(&send(&mailer).await);
    }
    for (behaviour, blamed) in [
        (rcpt(550, "5.1.1 no such user"), true),
        (rcpt(550, "no such user"), true),
        (rcpt(554, "5.7.1 relaying denied"), false),
        (rcpt(552, "5.2.2 mailbox full"), false),
        (data(554, "5.7.1 spam"), false),
        (data(550, "5.1.1 no such user"), true),
    ] {
        sink.next(1, behaviour.clone());
        let outcome = send(&mailer).await;
        assert!(
            matches!(outcome, Outcome::RefusedForGood { broken, .. } if broken == blamed),
            "{behaviour:?} {outcome:?}"
        );
    }
    for code in [530, 535, 550] {
        sink.next(1, sender(code, "5.7.1 not you"));
        assert_eq!(down(&send(&mailer).await), code.to_string());
    }
    accepted(&send(&mailer).await);
}

#[tokio::test]
async fn one_bad_recipient_does_not_hold_the_others_up() {
    let sink = Sink::start().await.unwrap();
    sink.set(Behaviour::RejectRcpt {
        address_contains: "bad".to_owned(),
        code: 550,
        text: "5.1.1 no".to_owned(),
    });
    let mailer = mailer(&sink);
    for (address, fine) in [("a@x.example", true), ("bad@x.example", false), ("c@x.example", true)] {
        assert_eq!(matches!(send_to(&mailer, address).await, Outcome::Accepted { .. }), fine);
    }
}

#[tokio::test]
async fn a_server_that_never_greets_or_is_not_there() {
    let sink = Sink::start().await.unwrap();
    sink.next(1, Behaviour::NeverGreet);
    let mailer = hurried(&sink);
    assert_eq!(for_now(&send(&mailer).await), "timeout_hello");
    sink.next(1, Behaviour::Greet { code: 421, text: "too many".to_owned() });
    assert_eq!(for_now(&send(&mailer).await), "421");
    sink.next(1, Behaviour::Greet { code: 554, text: "go away".to_owned() });
    assert_eq!(down(&send(&mailer).await), "554");
    accepted(&send(&mailer).await);
    let port = sink.port();
    drop(sink);
    let gone = Mailer::smtp(&config(format!("smtp://127.0.0.1:{port}"))).unwrap();
    // The listener ends with its task, soon after the drop.
    let refused = async { while for_now(&send(&gone).await) != "connect" {} };
    tokio::time::timeout(PATIENCE, refused).await.unwrap();
}

#[tokio::test]
async fn no_answer_after_data_is_unknown_and_never_repeated_here() {
    let sink = Sink::start().await.unwrap();
    let mailer = hurried(&sink);
    for behaviour in
        [Behaviour::StallInData, Behaviour::DropInData, Behaviour::StallAfterData, Behaviour::DropAfterData]
    {
        // The first time on a fresh connection, the second on one that was in use.
        for _ in 0..2 {
            sink.next(1, behaviour.clone());
            let outcome = send(&mailer).await;
            assert!(matches!(outcome, Outcome::Unknown { .. }), "{behaviour:?} {outcome:?}");
            accepted(&send(&mailer).await);
        }
    }
    // Eight times accepted; and four that were taken without an answer.
    assert_eq!(sink.messages().len(), 12);
}

#[tokio::test]
async fn a_connection_closed_while_idle_costs_nothing() {
    // The first connection is closed after its message, the second when it is used again, the third lives on.
    let (port, serving) = scripted(&[&TAKES_ONE, &[&TAKES_ONE[..], &[""]].concat(), &TAKES_ONE]).await;
    let mailer = Mailer::smtp(&config(format!("smtp://127.0.0.1:{port}"))).unwrap();
    for _ in 0..3 {
        accepted(&send(&mailer).await);
    }
    assert_eq!(serving.await.unwrap().iter().filter(|line| *line == "Message-ID:").count(), 3);

    let sink = Sink::start().await.unwrap();
    let mailer = self::mailer(&sink);
    accepted(&send(&mailer).await);
    sink.next(1, Behaviour::RejectSender { code: 421, text: "4.4.2 idle for too long".to_owned() });
    accepted(&send(&mailer).await);
    assert_eq!((sink.messages().len(), sink.connections()), (2, 2));
}

#[tokio::test]
async fn many_at_once_share_few_connections() {
    let sink = Sink::start().await.unwrap();
    let config = SmtpConfig { max_connections: 3, ..config(url(&sink, "smtp", "", "")) };
    let mailer = Arc::new(Mailer::smtp(&config).unwrap());
    for _ in 0..2 {
        let sends: Vec<_> = (0..8)
            .map(|n| {
                let mailer = Arc::clone(&mailer);
                tokio::spawn(async move { send_to(&mailer, &format!("p{n}@example.com")).await })
            })
            .collect();
        for send in sends {
            accepted(&send.await.unwrap());
        }
    }
    assert_eq!(sink.messages().len(), 16);
    assert!(sink.connections() <= 3, "{}", sink.connections());
}

/// A server without PIPELINING that takes one message and hangs up.
const TAKES_ONE: [&str; 7] = [
    "220 hi\r\n",
    "250-h\r\n250 8BITMIME\r\n",
    "250-h\r\n250 8BITMIME\r\n",
    "250 ok\r\n",
    "250 ok\r\n",
    "354 go\r\n",
    "250 queued as 1\r\n",
];

/// Serves as many connections as there are scripts, one after the other. Writes the next answer, reads the next line;
/// hangs up after the last answer. Fails when a client does not wait for an answer. Ends with the verbs it heard.
async fn scripted(scripts: &[&[&'static str]]) -> (u16, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let scripts: Vec<Vec<&str>> = scripts.iter().map(|script| script.to_vec()).collect();
    let serving = tokio::spawn(async move {
        let mut heard = Vec::new();
        for script in scripts {
            let mut io = BufReader::new(listener.accept().await.unwrap().0);
            let (last, answers) = script.split_last().unwrap();
            for answer in answers {
                io.write_all(answer.as_bytes()).await.unwrap();
                let mut line = String::new();
                io.read_line(&mut line).await.unwrap();
                heard.push(line.split([' ', '\r']).next().unwrap().to_owned());
                let content = line.starts_with("Message-ID");
                assert!(content || io.buffer().is_empty(), "sent ahead of the answer to {line}");
                while content && line != ".\r\n" {
                    line.clear();
                    io.read_line(&mut line).await.unwrap();
                }
            }
            io.write_all(last.as_bytes()).await.unwrap();
        }
        heard
    });
    (port, serving)
}

#[tokio::test]
async fn without_pipelining_each_answer_is_waited_for() {
    let (port, serving) = scripted(&[&TAKES_ONE]).await;
    let mailer = Mailer::smtp(&config(format!("smtp://127.0.0.1:{port}"))).unwrap();
    assert_eq!(send(&mailer).await, Outcome::Accepted { reference: Some("queued as 1".to_owned()) });
    assert_eq!(serving.await.unwrap(), ["EHLO", "EHLO", "MAIL", "RCPT", "DATA", "Message-ID:"]);
}

#[tokio::test]
async fn an_address_beyond_ascii_needs_a_server_that_takes_it() {
    let (port, _serving) = scripted(&[&TAKES_ONE]).await;
    let mailer = Mailer::smtp(&config(format!("smtp://127.0.0.1:{port}"))).unwrap();
    let outcome = send_to(&mailer, "jürgen@example.com").await;
    assert!(matches!(&outcome, Outcome::RefusedForGood { code, .. } if code == "no_smtputf8"), "{outcome:?}");
}

#[tokio::test]
async fn captured_mail_is_a_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox");
    let mailer = Mailer::capture(&path, "usher@example.com").unwrap();
    accepted(&mailer.check().await);
    accepted(&send(&mailer).await);
    accepted(&send(&mailer).await);
    let names: Vec<String> = std::fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, ["rem-1@usher.example.eml"], "a repeat replaces the first");
    let mail = usher_testkit::mail::parse(&std::fs::read_to_string(path.join(&names[0])).unwrap()).unwrap();
    assert_eq!(mail.header("Subject"), Some("s"));

    let mut nasty = message(vec![acme()]);
    nasty.message_id = "<../../../etc/x@h>".to_owned();
    accepted(&mailer.send(&nasty, &short()).await);
    assert!(path.join("_.._.._etc_x@h.eml").exists());
    std::fs::remove_dir_all(&path).unwrap();
    assert_eq!(for_now(&send(&mailer).await), "capture");
}
