//! Which server, how secured, with which login: read from the URL once; and the way to an open session.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{io, net::SocketAddr};

use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, AsyncTokioStream, Certificate, TlsParameters, TlsParametersBuilder,
};
use lettre::transport::smtp::extension::ClientId;
use percent_encoding::percent_decode_str;
use rustls::pki_types::ServerName;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use url::{Host, Url};

use super::super::{ConfigError, tls};
use super::dialogue::{Fault, Session, Step};

pub(super) struct Server {
    host: String,
    port: u16,
    security: Security,
    credentials: Option<Credentials>,
    hello: ClientId,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

enum Security {
    Off,
    StartTls { parameters: TlsParameters, required: bool },
    Implicit { connector: TlsConnector, name: ServerName<'static> },
}

impl Server {
    pub(super) fn from_url(url: &SecretString, extra_ca_pem: Option<&[u8]>) -> Result<Self, ConfigError> {
        let url = Url::parse(url.expose_secret()).map_err(|_| ConfigError::Url("it cannot be parsed"))?;
        let host = match url.host() {
            Some(Host::Domain(host)) if !host.is_empty() => host.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(Host::Domain(_)) | None => return Err(ConfigError::Url("it has no host")),
        };
        let credentials = credentials(&url)?;
        let wish = wish(&url)?;
        let (security, usual_port) = match (url.scheme(), wish) {
            ("smtps", None | Some("required")) => (implicit(&host, extra_ca_pem)?, 465),
            ("smtps", Some(_)) => return Err(ConfigError::Url("smtps:// is always encrypted")),
            ("smtp", Some("off")) => (Security::Off, 25),
            ("smtp", wish) => {
                // Whoever can drop the STARTTLS from the server's answer must not get the password for it.
                let required = wish == Some("required") || (credentials.is_some() && !is_loopback(&host));
                (Security::StartTls { parameters: parameters(&host, extra_ca_pem)?, required }, 587)
            }
            _ => return Err(ConfigError::Url("smtp:// or smtps:// is wanted")),
        };
        let port = url.port().unwrap_or(usual_port);
        Ok(Self { host, port, security, credentials, hello: ClientId::default() })
    }

    /// A session that is encrypted and logged in as configured.
    pub(super) async fn open(&self, step: &mut Step) -> Result<Session, Fault> {
        *step = Step::Connect;
        let socket = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(Fault::Io)?;
        socket.set_nodelay(true).map_err(Fault::Io)?;
        let stream: Box<dyn AsyncTokioStream> = match &self.security {
            Security::Implicit { connector, name } => {
                *step = Step::Tls;
                let stream = connector.connect(name.clone(), socket).await.map_err(Fault::Io)?;
                Box::new(Encrypted(stream))
            }
            Security::Off | Security::StartTls { .. } => Box::new(socket),
        };
        *step = Step::Hello;
        let mut connection = AsyncSmtpConnection::connect_with_transport(stream, &self.hello).await?;
        if let Security::StartTls { parameters, required } = &self.security {
            *step = Step::Tls;
            if connection.can_starttls() {
                connection.starttls(parameters.clone(), &self.hello).await?;
            } else if *required {
                return Err(Fault::NoStartTls);
            }
        }
        if let Some(credentials) = &self.credentials {
            *step = Step::Auth;
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            if connection.server_info().get_auth_mechanism(&mechanisms).is_none() {
                return Err(Fault::NoMechanism);
            }
            connection.auth(&mechanisms, credentials).await?;
        }
        *step = Step::Hello;
        Session::new(connection, &self.hello).await
    }
}

fn credentials(url: &Url) -> Result<Option<Credentials>, ConfigError> {
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8();
        text.map(String::from).map_err(|_| ConfigError::Url("user or password is not UTF-8"))
    };
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        (_, None) => Err(ConfigError::Url("it has a user and no password")),
        (user, Some(password)) => Ok(Some(Credentials::new(decoded(user)?, decoded(password)?))),
    }
}

/// The value of `?tls=`; anything else in the query is an error, so that a misspelt `tls` does not go unnoticed.
fn wish(url: &Url) -> Result<Option<&'static str>, ConfigError> {
    let mut wish = None;
    for (key, value) in url.query_pairs() {
        wish = match (key.as_ref(), value.as_ref()) {
            ("tls", "off") => Some("off"),
            ("tls", "opportunistic") => None,
            ("tls", "required") => Some("required"),
            _ => {
                return Err(ConfigError::Url(
                    "after ? only tls=off, tls=opportunistic or tls=required is known",
                ));
            }
        };
    }
    Ok(wish)
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn implicit(host: &str, extra_ca_pem: Option<&[u8]>) -> Result<Security, ConfigError> {
    let name =
        ServerName::try_from(host.to_owned()).map_err(|_| ConfigError::Url("the host is no host name"))?;
    Ok(Security::Implicit { connector: TlsConnector::from(Arc::new(tls::client(extra_ca_pem)?)), name })
}

fn parameters(host: &str, extra_ca_pem: Option<&[u8]>) -> Result<TlsParameters, ConfigError> {
    tls::provided()?;
    let mut builder = TlsParametersBuilder::new(host.to_owned());
    for certificate in extra_ca_pem.map(tls::authorities).transpose()?.into_iter().flatten() {
        let authority = Certificate::from_der(certificate.to_vec()).map_err(|_| ConfigError::Authority)?;
        builder = builder.add_root_certificate(authority);
    }
    builder.build_rustls().map_err(|error| ConfigError::Tls(Box::new(error)))
}

/// TLS from the first byte, as lettre wants to have a stream.
#[derive(Debug)]
struct Encrypted(TlsStream<TcpStream>);

impl AsyncTokioStream for Encrypted {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().0.peer_addr()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
