//! The dialogue about one message, step by step.

use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Ehlo, Mail, Noop, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::{Error, response::Response};

use super::super::compose::Composed;

/// How far an attempt came; later steps are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Name resolution and TCP.
    Connect,
    /// The greeting and EHLO.
    Hello,
    /// TLS.
    Tls,
    /// The login.
    Auth,
    /// MAIL: whether the server takes mail from us.
    Mail,
    /// RCPT: whether it takes mail for them.
    Rcpt,
    /// DATA: whether it wants to have it now.
    Data,
    /// The message itself was sent, at least in part.
    Content,
}

/// What went wrong.
#[derive(Debug)]
pub(super) enum Fault {
    /// The server said no, hung up, or talks nonsense.
    Smtp(Error),
    /// Before SMTP began: TCP, or TLS from the first byte.
    Io(std::io::Error),
    /// TLS is wanted and not offered.
    NoStartTls,
    /// A login is configured and none of our mechanisms is offered.
    NoMechanism,
    /// The local part needs SMTPUTF8, which is not offered.
    NoSmtpUtf8,
    /// Something other than the go-ahead after DATA.
    NoGoAhead(u16),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Smtp(error)
    }
}

impl Fault {
    /// The server is done with this connection, which says nothing about the message.
    pub(super) fn is_farewell(&self) -> bool {
        match self {
            Self::Smtp(error) => match error.status() {
                Some(code) => u16::from(code) == 421,
                None => !error.is_client() && !error.is_tls(),
            },
            Self::Io(_) => true,
            Self::NoStartTls | Self::NoMechanism | Self::NoSmtpUtf8 | Self::NoGoAhead(_) => false,
        }
    }
}

/// A connection that is ready for messages.
pub(super) struct Session {
    connection: AsyncSmtpConnection,
    pipelining: bool,
}

impl Session {
    /// lettre does not keep that PIPELINING was offered: ask once more, once per connection.
    pub(super) async fn new(mut connection: AsyncSmtpConnection, hello: &ClientId) -> Result<Self, Fault> {
        let offered = connection.command(Ehlo::new(hello.clone())).await?;
        let pipelining = offered.message().any(|line| line.trim().eq_ignore_ascii_case("PIPELINING"));
        Ok(Self { connection, pipelining })
    }

    pub(super) async fn noop(&mut self) -> Result<(), Fault> {
        self.connection.command(Noop).await?;
        Ok(())
    }

    /// Returns what the server said when it took the message: its queue id, mostly.
    pub(super) async fn deliver(
        &mut self,
        mail: &Composed,
        step: &mut Step,
    ) -> Result<Option<String>, Fault> {
        *step = Step::Mail;
        let envelope = &mail.envelope;
        let sender = Mail::new(envelope.from().cloned(), self.parameters(mail)?);
        let recipients = envelope.to().iter().map(|to| Rcpt::new(to.clone(), Vec::new()));
        let go_ahead = if self.pipelining {
            let group: String = std::iter::once(sender.to_string())
                .chain(recipients.map(|rcpt| rcpt.to_string()))
                .chain([Data.to_string()])
                .collect();
            self.connection.command(group).await?;
            *step = Step::Rcpt;
            for _ in envelope.to() {
                self.connection.read_response().await?;
            }
            *step = Step::Data;
            self.connection.read_response().await?
        } else {
            self.connection.command(sender).await?;
            *step = Step::Rcpt;
            for rcpt in recipients {
                self.connection.command(rcpt).await?;
            }
            *step = Step::Data;
            self.connection.command(Data).await?
        };
        if !go_ahead.has_code(354) {
            return Err(Fault::NoGoAhead(u16::from(go_ahead.code())));
        }
        *step = Step::Content;
        let taken = self.connection.message(&mail.bytes).await?;
        Ok(reference(&taken))
    }

    fn parameters(&self, mail: &Composed) -> Result<Vec<MailParameter>, Fault> {
        let addresses = mail.envelope.from().into_iter().chain(mail.envelope.to());
        if addresses.into_iter().all(|address| AsRef::<str>::as_ref(address).is_ascii()) {
            return Ok(Vec::new());
        }
        if !self.connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            return Err(Fault::NoSmtpUtf8);
        }
        // RFC 6531 demands 8BITMIME of those who offer SMTPUTF8.
        Ok(vec![MailParameter::SmtpUtfEight, MailParameter::Body(MailBodyParameter::EightBitMime)])
    }
}

fn reference(taken: &Response) -> Option<String> {
    let words = super::super::brief(taken.message().collect::<Vec<_>>().join(" "));
    (!words.is_empty()).then_some(words)
}
