//! Slack: posts through slack-morphism, with our own deadline and our own spacing.
//!
//! Laws: at most one message per second and Slack channel. A 429 holds the whole token back for as long as Slack
//! says, without asking again in between. Whoever would have to wait long is told so instead of being kept.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use slack_morphism::errors::SlackClientError;
use slack_morphism::hyper_tokio::SlackClientHyperConnector;
use slack_morphism::{SlackApiToken, SlackClient};
use tokio::time::{Instant, sleep_until, timeout};
use usher_lifecycle::reminder::Channel;

use super::pace::{Pace, SPACING, Wait};
use super::{ConfigError, Function, Outcome, slack_verdict, tls};
use crate::message::{Address, Message, SlackBody};

/// Where Slack lives.
pub const API_URL: &str = "https://slack.com/api";
/// For one call, connecting included.
const CALL_LIMIT: Duration = Duration::from_secs(15);
/// For TCP alone: what takes longer has certainly not been delivered.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// However long Slack wants to be left alone, it is asked again after this.
const LONGEST_HOLD: Duration = Duration::from_mins(10);

type Client = SlackClient<SlackClientHyperConnector<HttpsConnector<HttpConnector>>>;

/// Sends with one bot token, that is to one Slack workspace.
#[derive(Debug)]
pub struct SlackSender(Way);

#[derive(Debug)]
enum Way {
    Api(Box<Api>),
    Function(Function),
}

struct Api {
    client: Client,
    token: SlackApiToken,
    call_limit: Duration,
    pace: Mutex<Pace>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

impl SlackSender {
    /// `api_url` is [`API_URL`] but for tests. Nothing is called yet: see [`SlackSender::check`].
    pub fn new(token: &SecretString, api_url: &str) -> Result<Self, ConfigError> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_LIMIT));
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls::client(None)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let api_url = api_url.trim_end_matches('/');
        if !api_url.starts_with("http://") && !api_url.starts_with("https://") {
            return Err(ConfigError::Url("http:// or https:// is wanted"));
        }
        let connector = SlackClientHyperConnector::with_connector(https).with_slack_api_url(api_url);
        Ok(Self(Way::Api(Box::new(Api {
            client: SlackClient::new(connector),
            token: SlackApiToken::new(token.expose_secret().into()),
            call_limit: CALL_LIMIT,
            pace: Mutex::default(),
        }))))
    }

    /// Hands every message to a function instead of posting it.
    pub const fn function(function: Function) -> Self {
        Self(Way::Function(function))
    }

    /// With another deadline than 15 seconds for a call.
    #[must_use]
    pub fn with_call_limit(mut self, limit: Duration) -> Self {
        match &mut self.0 {
            Way::Api(api) => api.call_limit = limit,
            Way::Function(_) => {}
        }
        self
    }

    /// Posts one body of a message. Waits for the channel's turn, at most 10 s; the reference is `channel/ts`.
    pub async fn send(&self, message: &Message, body: &SlackBody) -> Outcome {
        let outcome = match (&message.to.address, &self.0) {
            (Address::SlackUser(channel) | Address::SlackChannel(channel), Way::Api(api)) => {
                api.post(channel, body).await
            }
            (Address::SlackUser(_) | Address::SlackChannel(_), Way::Function(function)) => {
                function.take(Channel::Slack, message, body.items.clone()).await
            }
            (Address::Email(_), _) => {
                Outcome::for_good("not_slack", "the recipient has no Slack address", false)
            }
        };
        tracing::info!(
            channel = "slack",
            kind = message.kind.as_str(),
            message_id = message.message_id,
            onboardings = body.items.len(),
            outcome = outcome.label(),
            code = outcome.code(),
            "message attempted"
        );
        outcome
    }

    /// `auth.test`: whether the token is good; what `usher doctor` reports.
    pub async fn check(&self) -> Outcome {
        let api = match &self.0 {
            Way::Api(api) => api,
            Way::Function(_) => return Outcome::Accepted { reference: None },
        };
        match api.call("auth.test", &json!({})).await {
            Ok(_) => Outcome::Accepted { reference: None },
            // Nothing was to be delivered, so nothing is unknown.
            Err(Outcome::Unknown { detail }) => Outcome::for_now("timeout", detail),
            Err(outcome) => outcome,
        }
    }
}

impl Api {
    async fn post(&self, channel: &str, body: &SlackBody) -> Outcome {
        // Bound first: the lock must not be held while waiting.
        let turn = self.pace().turn(channel, Instant::now());
        match turn {
            Ok(at) => sleep_until(at).await,
            Err(Wait::Held(wait)) => return throttled("ratelimited", wait),
            Err(Wait::Spaced(wait)) => return throttled("spaced", wait),
        }
        let request = json!({
            "channel": channel,
            "text": body.text,
            "blocks": body.blocks,
            "parse": "none",
            "link_names": false,
            "unfurl_links": false,
            "unfurl_media": false,
        });
        match self.call("chat.postMessage", &request).await {
            Ok(answer) => Outcome::Accepted { reference: reference(&answer) },
            Err(Outcome::RefusedForGood { code, detail, .. }) if code == "account_inactive" => {
                self.whose_account(code, detail).await
            }
            Err(outcome) => outcome,
        }
    }

    /// Slack says `account_inactive` of a recipient and of the bot alike; `auth.test` knows which.
    async fn whose_account(&self, code: String, detail: String) -> Outcome {
        match self.call("auth.test", &json!({})).await {
            Err(Outcome::RefusedForGood { .. } | Outcome::ChannelDown { .. }) => Outcome::down(code, detail),
            Ok(_)
            | Err(Outcome::Accepted { .. } | Outcome::RefusedForNow { .. } | Outcome::Unknown { .. }) => {
                Outcome::for_good(code, detail, true)
            }
        }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(&self, method: &str, request: &Value) -> Result<Value, Outcome> {
        let session = self.client.open_session(&self.token);
        let calling = session.http_session_api.http_post::<Value, Value>(method, request, None);
        match timeout(self.call_limit, calling).await {
            Ok(Ok(answer)) if answer["ok"] == true => Ok(answer),
            Ok(Ok(_)) => Err(Outcome::unknown("an answer that is not Slack's")),
            Ok(Err(error)) => {
                if let SlackClientError::RateLimitError(limit) = &error {
                    // A wait beyond reason would silence the channel for good.
                    let wait = limit.retry_after.unwrap_or(SPACING).min(LONGEST_HOLD);
                    self.pace().hold(Instant::now() + wait);
                }
                Err(slack_verdict::of(&error))
            }
            Err(_) => Err(Outcome::unknown("no answer in time after the message was sent")),
        }
    }
}

fn throttled(code: &str, wait: Duration) -> Outcome {
    Outcome::RefusedForNow {
        code: code.to_owned(),
        detail: "Slack takes no message here just now".to_owned(),
        retry_after: Some(wait),
        counts: false,
    }
}

fn reference(answer: &Value) -> Option<String> {
    Some(format!("{}/{}", answer["channel"].as_str()?, answer["ts"].as_str()?))
}
