//! One connection: the dialogue of RFC 5321, as far as clients use it.

use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::{Behaviour, Received, Server, Tls};

/// In bytes, announced by EHLO and held.
const MAX_SIZE: usize = 25 * 1024 * 1024;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

struct Session<'a> {
    server: &'a Server,
    io: BufReader<Box<dyn Stream>>,
    tls: bool,
    authenticated: bool,
    idle_limit: Option<Duration>,
    message: Option<Message>,
}

/// What MAIL began.
struct Message {
    from: String,
    recipients: Vec<String>,
    behaviour: Behaviour,
}

/// Whether the dialogue goes on.
enum Next {
    Command,
    Close,
}

pub(super) async fn run(server: &Server, socket: TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let behaviour = server.script.lock().expect("no holder panics").for_connection();
    if matches!(behaviour, Behaviour::NeverGreet) {
        return until_closed(BufReader::new(Box::new(socket))).await;
    }
    let tls = server.options.tls == Tls::Implicit;
    let io: Box<dyn Stream> =
        if tls { Box::new(server.acceptor.accept(socket).await?) } else { Box::new(socket) };
    let io = BufReader::new(io);
    let mut session = Session { server, io, tls, authenticated: false, idle_limit: None, message: None };
    if let Behaviour::Greet { code, text } = &behaviour {
        session.reply(*code, text).await?;
        return session.io.shutdown().await;
    }
    if let Behaviour::CloseIdleAfter(limit) = behaviour {
        session.idle_limit = Some(limit);
    }
    session.reply(220, "localhost ESMTP usher-testkit").await?;
    while let Some(line) = session.command().await? {
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        if verb.eq_ignore_ascii_case("STARTTLS") && server.options.tls == Tls::StartTls && !session.tls {
            session = session.start_tls().await?;
        } else if matches!(session.answer(&verb.to_ascii_uppercase(), rest).await?, Next::Close) {
            break;
        }
    }
    session.io.shutdown().await
}

/// Reads and forgets, so that the client decides when it has waited long enough.
async fn until_closed(mut io: BufReader<Box<dyn Stream>>) -> io::Result<()> {
    tokio::io::copy(&mut io, &mut tokio::io::sink()).await.map(drop)
}

impl Session<'_> {
    async fn answer(&mut self, verb: &str, rest: &str) -> io::Result<Next> {
        match verb {
            "EHLO" => self.hello().await,
            "HELO" => self.reply(250, "localhost").await,
            "AUTH" => self.auth(rest).await,
            "MAIL" => self.mail(rest).await,
            "RCPT" => self.rcpt(rest).await,
            "DATA" => self.data().await,
            "RSET" => {
                self.message = None;
                self.reply(250, "OK").await
            }
            "NOOP" => self.reply(250, "OK").await,
            "QUIT" => self.reply(221, "Bye").await.map(|_| Next::Close),
            _ => self.reply(502, "Command not implemented").await,
        }
    }

    async fn hello(&mut self) -> io::Result<Next> {
        let mut lines = vec!["localhost".to_owned(), "PIPELINING".to_owned(), "8BITMIME".to_owned()];
        lines.extend(["SMTPUTF8".to_owned(), format!("SIZE {MAX_SIZE}")]);
        if self.server.options.tls == Tls::StartTls && !self.tls {
            lines.push("STARTTLS".to_owned());
        } else if self.server.options.credentials.is_some() {
            lines.push("AUTH PLAIN LOGIN".to_owned());
        }
        let last = lines.pop().unwrap_or_default();
        for line in &mut lines {
            line.insert_str(0, "250-");
        }
        lines.push(format!("250 {last}\r\n"));
        self.message = None;
        self.io.write_all(lines.join("\r\n").as_bytes()).await?;
        self.io.flush().await?;
        Ok(Next::Command)
    }

    async fn start_tls(mut self) -> io::Result<Self> {
        self.reply(220, "Ready to start TLS").await?;
        // What the client sent ahead of the handshake is dropped with the buffer, as it must be.
        let stream = self.server.acceptor.accept(self.io.into_inner()).await?;
        Ok(Self { io: BufReader::new(Box::new(stream)), tls: true, message: None, ..self })
    }

    async fn auth(&mut self, rest: &str) -> io::Result<Next> {
        let Some((user, password)) = self.server.options.credentials.clone() else {
            return self.reply(502, "AUTH is not offered").await;
        };
        if self.server.options.tls == Tls::StartTls && !self.tls {
            return self.reply(538, "5.7.11 Encryption required").await;
        }
        let (mechanism, initial) = rest.split_once(' ').unwrap_or((rest, ""));
        let (given_user, given_password) = match mechanism.to_ascii_uppercase().as_str() {
            "PLAIN" => {
                let text = if initial.is_empty() { self.challenge("").await? } else { decode(initial) };
                let mut fields = text.split('\0').skip(1).map(ToOwned::to_owned);
                (fields.next().unwrap_or_default(), fields.next().unwrap_or_default())
            }
            "LOGIN" => (self.challenge("Username:").await?, self.challenge("Password:").await?),
            _ => return self.reply(504, "Mechanism not offered").await,
        };
        self.authenticated = given_user == user && given_password == password;
        if self.authenticated {
            self.reply(235, "2.7.0 Authenticated").await
        } else {
            self.reply(535, "5.7.8 Credentials invalid").await
        }
    }

    async fn challenge(&mut self, prompt: &str) -> io::Result<String> {
        self.reply(334, &STANDARD.encode(prompt)).await?;
        Ok(decode(&self.command().await?.unwrap_or_default()))
    }

    async fn mail(&mut self, rest: &str) -> io::Result<Next> {
        if self.server.options.credentials.is_some() && !self.authenticated {
            return self.reply(530, "5.7.0 Authentication required").await;
        }
        if self.message.is_some() {
            return self.reply(503, "5.5.1 One message at a time").await;
        }
        let behaviour = self.server.script.lock().expect("no holder panics").for_message();
        if let Behaviour::RejectSender { code, text } = &behaviour {
            return self.reply(*code, text).await;
        }
        self.message = Some(Message { from: address(rest), recipients: Vec::new(), behaviour });
        self.reply(250, "2.1.0 OK").await
    }

    async fn rcpt(&mut self, rest: &str) -> io::Result<Next> {
        let Some(message) = &mut self.message else {
            return self.reply(503, "5.5.1 MAIL first").await;
        };
        let address = address(rest);
        match message.behaviour.clone() {
            Behaviour::RejectRcpt { address_contains, code, text } if address.contains(&address_contains) => {
                self.reply(code, &text).await
            }
            _ => {
                message.recipients.push(address);
                self.reply(250, "2.1.5 OK").await
            }
        }
    }

    async fn data(&mut self) -> io::Result<Next> {
        let message = match self.message.take() {
            Some(message) if !message.recipients.is_empty() => message,
            Some(_) => return self.reply(554, "5.5.1 No valid recipients").await,
            None => return self.reply(503, "5.5.1 MAIL first").await,
        };
        self.reply(354, "End with a dot").await?;
        match message.behaviour {
            Behaviour::StallInData => return self.stall().await,
            Behaviour::DropInData => return Ok(Next::Close),
            _ => {}
        }
        let Some(data) = self.text().await? else { return Ok(Next::Close) };
        if data.len() > MAX_SIZE {
            return self.reply(552, "5.3.4 Too big").await;
        }
        if let Behaviour::RejectData { code, text } = &message.behaviour {
            return self.reply(*code, text).await;
        }
        let Message { from, recipients, behaviour } = message;
        let data = String::from_utf8_lossy(&data).into_owned();
        self.server.received.push(Received { from, recipients, data, tls: self.tls, at: Instant::now() });
        match behaviour {
            Behaviour::DropAfterData => Ok(Next::Close),
            Behaviour::StallAfterData => self.stall().await,
            _ => self.reply(250, "2.0.0 Taken").await,
        }
    }

    /// The message up to the line with the single dot, dots unstuffed; `None` when the client went away before.
    async fn text(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut text = Vec::new();
        loop {
            let start = text.len();
            self.io.read_until(b'\n', &mut text).await?;
            match &text[start..] {
                b".\r\n" => {
                    text.truncate(start);
                    return Ok(Some(text));
                }
                [b'.', ..] => drop(text.remove(start)),
                [.., b'\n'] => {}
                _ => return Ok(None),
            }
        }
    }

    async fn stall(&mut self) -> io::Result<Next> {
        tokio::io::copy(&mut self.io, &mut tokio::io::sink()).await?;
        Ok(Next::Close)
    }

    /// The next line, without its end; `None` when the client went away or was idle for too long.
    async fn command(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        let reading = self.io.read_until(b'\n', &mut line);
        let limit = self.idle_limit.filter(|_| self.message.is_none()).unwrap_or(Duration::MAX);
        let Ok(read) = timeout(limit, reading).await else {
            self.reply(421, "4.4.2 Idle for too long").await?;
            return Ok(None);
        };
        if read? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
        Ok(Some(line))
    }

    async fn reply(&mut self, code: u16, text: &str) -> io::Result<Next> {
        self.io.write_all(format!("{code} {text}\r\n").as_bytes()).await?;
        self.io.flush().await?;
        Ok(if code == 421 { Next::Close } else { Next::Command })
    }
}

/// What stands between the first `<` and the last `>`: a quoted local part may contain either.
fn address(argument: &str) -> String {
    let start = argument.find('<').map_or(0, |at| at + 1);
    let end = argument.rfind('>').unwrap_or(argument.len());
    argument.get(start..end).unwrap_or_default().to_owned()
}

fn decode(base64: &str) -> String {
    String::from_utf8_lossy(&STANDARD.decode(base64).unwrap_or_default()).into_owned()
}
