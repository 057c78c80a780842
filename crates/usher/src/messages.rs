//! The channels of this installation, as configured.

use anyhow::Context as _;
use usher_lifecycle::reminder::Configured;
use usher_scheduler::{
    Channels, Settings,
    channel::{Mailer, SlackSender, SmtpConfig},
    message::Templates,
};

use crate::config::Config;

/// Where captured mail goes, within the data folder.
const OUTBOX: &str = "outbox";

/// Email by SMTP or into files, Slack when there is a token.
pub(crate) fn channels(config: &Config) -> anyhow::Result<Channels> {
    let mailer = match &config.smtp.url {
        Some(url) => {
            let mut smtp = SmtpConfig::new(url.clone(), &config.smtp.from);
            smtp.max_connections = config.smtp.max_connections;
            if let Some(path) = &config.smtp.ca_file {
                let pem = std::fs::read(path).with_context(|| format!("smtp.ca_file {}", path.display()))?;
                smtp.extra_ca_pem = Some(pem);
            }
            Mailer::smtp(&smtp).context("smtp.url or smtp.from")?
        }
        None => Mailer::capture(config.data_dir.join(OUTBOX), &config.smtp.from).context("captured mail")?,
    };
    let slack = match &config.slack.token {
        Some(token) => {
            Some(SlackSender::new(token, &config.slack.api_url).context("slack.token or slack.api_url")?)
        }
        None => None,
    };
    Ok(Channels { mailer: Some(mailer), slack })
}

/// The texts of messages, those of the operator among them; a fault in one is found here, not when it is to be sent.
pub(crate) fn templates(config: &Config) -> anyhow::Result<Templates> {
    match &config.templates_dir {
        Some(folder) => Templates::with_overrides(folder)
            .with_context(|| format!("the message templates in {} (templates_dir)", folder.display())),
        None => Templates::embedded().context("the message templates"),
    }
}

/// Which channels [`channels`] makes. A process that does not send says by it what the others will send.
pub(crate) const fn configured(config: &Config) -> Configured {
    Configured { email: true, slack: config.slack.token.is_some() }
}

/// What messages say of the installation.
pub(crate) fn settings(config: &Config) -> Settings {
    let domain =
        config.smtp.from.rsplit_once('@').map_or("localhost", |(_, rest)| rest.trim_end_matches('>').trim());
    Settings { message_domain: domain.to_owned(), onboarding_url: config.http.onboarding_url.clone() }
}

/// Where reminders go, in words.
pub(crate) fn in_words(config: &Config) -> String {
    let email = match &config.smtp.url {
        Some(_) => "by email to the server of smtp.url".to_owned(),
        None => format!("as .eml files into {}", config.data_dir.join(OUTBOX).display()),
    };
    match &config.slack.token {
        Some(_) => format!("{email}, and to Slack"),
        None => email,
    }
}
