//! The SMTP sink, spoken to line by line and by the client that usher uses.

use std::time::Duration;

use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls as ClientTls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use usher_testkit::smtp::{Behaviour, Options, Sink, Tls};

use crate::SOON;

/// A client that says what it is told.
struct Client(BufReader<TcpStream>);

impl Client {
    async fn connect(sink: &Sink) -> Self {
        Self(BufReader::new(TcpStream::connect((sink.host(), sink.port())).await.unwrap()))
    }

    /// The code of the next reply; 0 when the connection is closed instead.
    async fn reply(&mut self) -> u16 {
        loop {
            let mut line = String::new();
            let read = tokio::time::timeout(SOON, self.0.read_line(&mut line)).await.unwrap();
            if read.unwrap_or(0) == 0 {
                return 0;
            }
            if line.as_bytes()[3] == b' ' {
                return line[..3].parse().unwrap();
            }
        }
    }

    async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    async fn ask(&mut self, line: &str) -> u16 {
        self.say(&format!("{line}\r\n")).await;
        self.reply().await
    }

    /// Greeting, EHLO and one message; the codes of MAIL, each RCPT, DATA and the final dot.
    async fn send(&mut self, recipients: &[&str]) -> Vec<u16> {
        let mut codes = vec![self.ask("MAIL FROM:<usher@example.org>").await];
        for recipient in recipients {
            codes.push(self.ask(&format!("RCPT TO:<{recipient}>")).await);
        }
        codes.push(self.ask("DATA").await);
        if codes.last() == Some(&354) {
            codes.push(self.ask("Subject: x\r\n\r\nline\r\n..dot\r\n.").await);
        }
        codes
    }
}

async fn greeted(sink: &Sink) -> Client {
    let mut client = Client::connect(sink).await;
    assert_eq!((client.reply().await, client.ask("EHLO test").await), (220, 250));
    client
}

fn reject(address_contains: &str, code: u16) -> Behaviour {
    Behaviour::RejectRcpt { address_contains: address_contains.to_owned(), code, text: "no".to_owned() }
}

#[tokio::test]
async fn messages_are_recorded_as_sent() {
    let sink = Sink::start().await.unwrap();
    let mut client = greeted(&sink).await;
    assert_eq!(client.send(&["a@example.org", "\"b>c\"@example.org"]).await, [250, 250, 250, 354, 250]);
    assert_eq!(client.ask("DATA").await, 503);
    // Pipelined: everything at once, the answers in order.
    client.say("MAIL FROM:<> SIZE=10\r\nRCPT TO:<c@example.org>\r\nDATA\r\n").await;
    assert_eq!([client.reply().await, client.reply().await, client.reply().await], [250, 250, 354]);
    assert_eq!((client.ask("\r\n.").await, client.ask("QUIT").await, client.reply().await), (250, 221, 0));

    let received = sink.wait_for(2, SOON).await;
    assert_eq!(received[0].from, "usher@example.org");
    assert_eq!(received[0].recipients, ["a@example.org", "\"b>c\"@example.org"]);
    assert_eq!(received[0].data, "Subject: x\r\n\r\nline\r\n.dot\r\n");
    assert_eq!(received[0].mail().header("subject"), Some("x"));
    assert_eq!((received[1].from.as_str(), received[1].tls), ("", false));
    assert!(received[0].at <= received[1].at);
    assert_eq!((sink.connections(), sink.most_connections_at_once()), (1, 1));
}

#[tokio::test]
async fn a_rejected_recipient_does_not_hold_the_others_up() {
    let sink = Sink::start().await.unwrap();
    sink.next(2, reject("bad", 550));
    let mut client = greeted(&sink).await;
    assert_eq!(client.send(&["good@x.org", "bad@x.org"]).await, [250, 250, 550, 354, 250]);
    assert_eq!(client.send(&["bad@x.org"]).await, [250, 550, 554], "nobody left to send to");
    assert_eq!(client.send(&["bad@x.org"]).await, [250, 250, 354, 250], "for two messages only");
    let recipients: Vec<_> = sink.messages().into_iter().map(|message| message.recipients).collect();
    assert_eq!(recipients, [["good@x.org"], ["bad@x.org"]]);
}

#[tokio::test]
async fn it_misbehaves_as_told() {
    let sink = Sink::start().await.unwrap();
    let one = ["a@x.org"];
    let text = || "no".to_owned();

    sink.next(1, Behaviour::DropAfterData);
    assert_eq!(greeted(&sink).await.send(&one).await, [250, 250, 354, 0]);
    assert_eq!(sink.messages().len(), 1, "taken, but the client does not know");
    sink.clear();

    sink.next(1, Behaviour::DropInData);
    let mut client = greeted(&sink).await;
    assert_eq!((client.ask("MAIL FROM:<a@x>").await, client.ask("RCPT TO:<b@x>").await), (250, 250));
    assert_eq!((client.ask("DATA").await, client.reply().await), (354, 0));

    sink.set(Behaviour::RejectData { code: 451, text: text() });
    let mut client = greeted(&sink).await;
    assert_eq!(client.send(&one).await, [250, 250, 354, 451]);
    sink.set(Behaviour::RejectSender { code: 421, text: text() });
    assert_eq!(client.ask("MAIL FROM:<a@x>").await, 421);
    assert_eq!(client.reply().await, 0, "421 closes");
    assert!(sink.messages().is_empty());
}

#[tokio::test]
async fn connections_are_refused_stalled_and_closed_as_told() {
    let sink = Sink::start().await.unwrap();
    sink.next(1, Behaviour::Greet { code: 554, text: "go away".to_owned() });
    sink.next(1, Behaviour::NeverGreet);
    sink.next(1, Behaviour::CloseIdleAfter(Duration::from_millis(20)));
    let mut refused = Client::connect(&sink).await;
    assert_eq!((refused.reply().await, refused.reply().await), (554, 0));

    let mut silent = Client::connect(&sink).await;
    silent.say("EHLO test\r\n").await;
    let heard = tokio::time::timeout(Duration::from_millis(50), silent.0.read_u8()).await;
    assert!(heard.is_err(), "not a word");

    let mut idle = greeted(&sink).await;
    assert_eq!((idle.reply().await, idle.reply().await), (421, 0));

    sink.set(Behaviour::StallInData);
    let mut stalled = greeted(&sink).await;
    stalled.say("MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n").await;
    assert_eq!([stalled.reply().await, stalled.reply().await, stalled.reply().await], [250, 250, 354]);
    stalled.say("x\r\n.\r\n").await;
    let heard = tokio::time::timeout(Duration::from_millis(50), stalled.0.read_u8()).await;
    assert!(heard.is_err() && sink.messages().is_empty());
    assert_eq!(sink.connections(), 4);
}

fn message() -> Message {
    let builder =
        Message::builder().from("u@example.org".parse().unwrap()).to("a@example.org".parse().unwrap());
    builder.subject("Grüße").body("hello".to_owned()).unwrap()
}

fn transport(sink: &Sink, tls: ClientTls, password: &str) -> AsyncSmtpTransport<Tokio1Executor> {
    let builder =
        AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(sink.host()).port(sink.port()).tls(tls);
    builder.credentials(Credentials::new("user".to_owned(), password.to_owned())).build()
}

fn trusting(sink: &Sink, host: &str) -> TlsParameters {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority = Certificate::from_pem(sink.ca_pem().as_bytes()).unwrap();
    TlsParameters::builder(host.to_owned()).add_root_certificate(authority).build().unwrap()
}

#[tokio::test]
async fn a_real_client_speaks_tls_and_logs_in() {
    for tls in [Tls::StartTls, Tls::Implicit] {
        let credentials = Some(("user".to_owned(), "secret".to_owned()));
        let sink = Sink::start_with(Options { tls, credentials, ..Options::default() }).await.unwrap();
        let client_tls = |host| match tls {
            Tls::StartTls | Tls::Off => ClientTls::Required(trusting(&sink, host)),
            Tls::Implicit => ClientTls::Wrapper(trusting(&sink, host)),
        };
        transport(&sink, client_tls("localhost"), "secret").send(message()).await.unwrap();
        let wrong = transport(&sink, client_tls("localhost"), "guess").send(message()).await.unwrap_err();
        assert_eq!(wrong.status().map(u16::from), Some(535));
        let other_name = transport(&sink, client_tls("mail.example.org"), "secret").send(message()).await;
        assert!(
            other_name.unwrap_err().to_string().contains("onnection"),
            "the certificate is for localhost"
        );
        let received = sink.wait_for(1, SOON).await;
        assert!(received[0].tls);
        assert_eq!(received[0].mail().header("subject"), Some("Grüße"));
        assert_eq!((received.len(), sink.connections()), (1, 3));
    }
}

#[tokio::test]
#[should_panic(expected = "for 2 messages, got 0")]
async fn waiting_in_vain_fails_the_test() {
    let sink = Sink::start().await.unwrap();
    sink.wait_for(2, Duration::from_millis(10)).await;
}
