//! How to reach NATS and what is wanted there. A user or password inside a url is taken out of it at once, so that no
//! log line of ours or of the client can show it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};
use secrecy::{ExposeSecret as _, SecretString};

use crate::envelope::percent;
use crate::error::BusError;
use crate::subject::Names;

const DAY: Duration = Duration::from_hours(24);

/// Everything that is configurable about NATS.
#[derive(Clone)]
pub struct Settings {
    /// `nats://host:4222` or `tls://host:4222`, one or several of one cluster.
    pub servers: Vec<String>,
    /// Prefixes of subjects and streams.
    pub names: Names,
    /// Who we are. [`Credentials::None`] takes what the first url with a user carries.
    pub credentials: Credentials,
    /// Encryption.
    pub tls: Tls,
    /// Copies of each stream in the cluster: 1 or 3.
    pub replicas: usize,
    /// How long the streams keep messages.
    pub ages: Ages,
    /// The most bytes each stream may hold; None: no limit of its own. A full stream refuses, it never drops. Needs
    /// nats-server 2.10.
    pub max_bytes: Option<u64>,
    /// The consumer of commands.
    pub intake: Intake,
    /// Limit for connecting to one server, with the handshake.
    pub connect_timeout: Duration,
    /// Limit for every question that is not a publish.
    pub request_timeout: Duration,
    /// Limit for a whole window of publishes with its acknowledgements.
    pub publish_timeout: Duration,
    /// Whether connecting succeeds without a server and goes on in the background.
    pub retry_on_initial_connect: bool,
}

/// How to log in. Its `Debug` shows no secret.
#[derive(Clone, Debug, Default)]
pub enum Credentials {
    /// Not at all, or with what the url carries.
    #[default]
    None,
    /// User and password.
    User {
        /// The user.
        user: String,
        /// The password.
        password: SecretString,
    },
    /// A token.
    Token(SecretString),
    /// The seed of an nkey (`SU...`).
    Nkey(SecretString),
    /// The contents of a `.creds` file.
    Creds(SecretString),
}

/// Encryption of the connection. With a CA file or a `tls://` url it is required too.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Whether a server without TLS is refused.
    pub required: bool,
    /// Certificates (PEM) to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Certificate and key (PEM) to show to the server.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
}

/// The ages after which the streams drop messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ages {
    /// Events, live and test: 30 days.
    pub events: Duration,
    /// Commands that nobody took: 14 days. The inbox has to be kept for longer.
    pub commands: Duration,
    /// Rejected commands: 90 days.
    pub rejected: Duration,
}

/// The durable consumer `usher-intake`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intake {
    /// After this time without an acknowledgement a command is delivered again: 30 s.
    pub ack_wait: Duration,
    /// How many commands may be under way at all replicas together: 4,096.
    pub max_ack_pending: i64,
}

impl Settings {
    /// The defaults for these servers (one url, or several with commas between them).
    pub fn new(servers: &str) -> Self {
        Self {
            servers: servers.split(',').map(|server| server.trim().to_owned()).collect(),
            names: Names::default(),
            credentials: Credentials::None,
            tls: Tls::default(),
            replicas: 1,
            ages: Ages { events: DAY * 30, commands: DAY * 14, rejected: DAY * 90 },
            max_bytes: None,
            intake: Intake { ack_wait: Duration::from_secs(30), max_ack_pending: 4096 },
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
            publish_timeout: Duration::from_secs(10),
            retry_on_initial_connect: false,
        }
    }

    /// The servers as they may be shown: without user and password.
    pub(crate) fn shown(&self) -> String {
        let shown = |server: &String| match address(server) {
            Some((address, _)) => address.as_url_str().to_owned(),
            // What cannot be read may hold a password in any place.
            None => "(unreadable url)".to_owned(),
        };
        self.servers.iter().map(shown).collect::<Vec<_>>().join(", ")
    }

    /// Where to connect, and how.
    pub(crate) fn connect_options(&self) -> Result<(Vec<ServerAddr>, ConnectOptions), BusError> {
        let mut addresses = Vec::with_capacity(self.servers.len());
        let mut credentials = self.credentials.clone();
        for (index, server) in self.servers.iter().enumerate() {
            let (address, found) = address(server).ok_or_else(|| BusError::Setting {
                setting: "servers",
                reason: format!("entry {} is not a url like nats://host:4222", index + 1),
            })?;
            addresses.push(address);
            if matches!(credentials, Credentials::None) {
                credentials = found;
            }
        }
        let mut options = credentials
            .login(ConnectOptions::new())?
            .name("usher")
            .connection_timeout(self.connect_timeout)
            .request_timeout(Some(self.request_timeout))
            // A server that vanished without a word is noticed after two of these.
            .ping_interval(Duration::from_secs(15));
        if let Some(ca_file) = &self.tls.ca_file {
            options = options.add_root_certificates(ca_file.clone());
        }
        if let Some((certificate, key)) = &self.tls.client_certificate {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        if self.tls.required || self.tls.ca_file.is_some() {
            options = options.require_tls(true);
        }
        if self.retry_on_initial_connect {
            options = options.retry_on_initial_connect();
        }
        Ok((addresses, options))
    }
}

impl Credentials {
    fn login(self, options: ConnectOptions) -> Result<ConnectOptions, BusError> {
        Ok(match self {
            Self::None => options,
            Self::User { user, password } => {
                options.user_and_password(user, password.expose_secret().to_owned())
            }
            Self::Token(token) => options.token(token.expose_secret().to_owned()),
            Self::Nkey(seed) => options.nkey(seed.expose_secret().trim().to_owned()),
            Self::Creds(creds) => {
                // The client's error may quote the file.
                options.credentials(creds.expose_secret()).map_err(|_| BusError::Setting {
                    setting: "credentials",
                    reason: "not the contents of a .creds file (a JWT and an nkey seed)".to_owned(),
                })?
            }
        })
    }
}

/// The url without user and password, and these. A user alone is a token, as everywhere with NATS.
fn address(server: &str) -> Option<(ServerAddr, Credentials)> {
    let address: ServerAddr = server.parse().ok()?;
    let credentials = match (address.username(), address.password()) {
        (None, _) => Credentials::None,
        (Some(token), None) => Credentials::Token(percent::decode(token).into()),
        (Some(user), Some(password)) => {
            Credentials::User { user: percent::decode(user), password: percent::decode(password).into() }
        }
    };
    let mut url = address.into_inner();
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    Some((ServerAddr::from_url(url).ok()?, credentials))
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("servers", &self.shown())
            .field("names", &self.names)
            .field("credentials", &self.credentials)
            .field("tls", &self.tls)
            .field("replicas", &self.replicas)
            .field("ages", &self.ages)
            .field("max_bytes", &self.max_bytes)
            .field("intake", &self.intake)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the message of a failed test")]

    use super::*;

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        let settings = Settings::new("nats://ada:hunter%2F2@one:4222, tls://t0ken@two:4223");
        let shown = format!("{settings:?}");
        assert!(shown.contains("nats://one:4222, tls://two:4223"), "{shown}");
        assert!(!shown.contains("hunter") && !shown.contains("t0ken"), "{shown}");
        let (addresses, options) = settings.connect_options().unwrap();
        assert!(addresses.iter().all(|address| !address.has_user_pass()));
        assert!(!format!("{options:?}").contains("hunter"));
    }

    #[test]
    fn user_and_password_of_a_url_are_decoded() {
        let Some((_, Credentials::User { user, password })) = address("nats://a%40b:hunter%2F2@one") else {
            panic!("a user was given")
        };
        assert_eq!((user.as_str(), password.expose_secret()), ("a@b", "hunter/2"));
        assert!(matches!(address("nats://t0ken@one"), Some((_, Credentials::Token(_)))));
        assert!(matches!(address("one:4222"), Some((_, Credentials::None))));
    }

    #[test]
    fn what_cannot_be_right_is_refused_without_showing_it() {
        let error = Settings::new("nats://one,http://u:hunter2@two").connect_options().unwrap_err();
        assert_eq!(error.to_string(), "servers: entry 2 is not a url like nats://host:4222");
        let mut settings = Settings::new("nats://one");
        settings.credentials = Credentials::Creds("hunter2".to_owned().into());
        let error = settings.connect_options().unwrap_err();
        assert!(error.to_string().starts_with("credentials: not the contents"), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
