//! The four streams and the consumer of commands: created when missing, else compared with what the settings ask for.
//! What differs is an error and stays as it is; nobody's stream is changed from here.
//!
//! What the server *returns* is compared, since an old server drops fields it does not know without a word. Nothing
//! here needs a server newer than 2.9, but for a limit on the size of the streams.

use std::fmt::Debug;
use std::time::Duration;

use async_nats::jetstream::consumer::{self, AckPolicy, DeliverPolicy, ReplayPolicy};
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, StorageType};
use chrono::{DateTime, Utc};
use serde_json::json;

use super::Nats;
use super::settings::Settings;
use crate::error::{BusError, Difference, Mismatch};

/// The durable consumer that all replicas share.
pub const INTAKE_CONSUMER: &str = "usher-intake";

/// How long a stream of ours knows the ids of its messages. A relay that publishes again later may repeat.
const DUPLICATE_WINDOW: Duration = Duration::from_mins(2);
/// As short as servers allow: the inbox knows repeated commands for weeks and tells a repeat from another message
/// under a used id. The stream would drop both without a word.
const COMMANDS_DUPLICATE_WINDOW: Duration = Duration::from_millis(100);

impl Nats {
    /// Creates or verifies the four streams and the consumer `usher-intake`.
    pub async fn ensure_streams(&self) -> Result<(), BusError> {
        let client = self.shared.link.client();
        if let Some(version) = self.server_version().filter(|version| is_before(version, (2, 9))) {
            return Err(BusError::TooOld { version });
        }
        // 2.9 does not count headers when it decides whether a stream is full: it acknowledges more than fits and then
        // drops the oldest.
        if self.shared.settings.max_bytes.is_some() && !client.is_server_compatible(2, 10, 0) {
            let reason = "needs nats-server 2.10: an older one drops messages of a full stream".to_owned();
            return Err(BusError::Setting { setting: "max_bytes", reason });
        }
        for wanted in wanted_streams(&self.shared.settings) {
            self.ensure_stream(&wanted).await?;
        }
        self.ensure_consumer().await
    }

    async fn ensure_stream(&self, wanted: &stream::Config) -> Result<stream::Info, BusError> {
        let object = format!("stream {}", wanted.name);
        let info = if let Some(info) = self.stream_info(&wanted.name).await? {
            info
        } else {
            let info = self.create_stream(&object, wanted).await?;
            tracing::info!(stream = wanted.name, "made on NATS");
            info
        };
        let differences = Differences::default().stream(wanted, &info.config);
        differences.none_or_error(object).map(|()| info)
    }

    async fn create_stream(&self, object: &str, wanted: &stream::Config) -> Result<stream::Info, BusError> {
        let doing = format!("create {object}");
        match self.api(&doing, format!("STREAM.CREATE.{}", wanted.name), wanted).await {
            Ok(info) => info.ok_or(BusError::NoJetStream),
            // Another replica may have been faster, which looks to a server like subjects that are taken.
            Err(refused @ BusError::Refused { .. }) => self.stream_info(&wanted.name).await?.ok_or(refused),
            Err(other) => Err(other),
        }
    }

    async fn stream_info(&self, name: &str) -> Result<Option<stream::Info>, BusError> {
        self.api(&format!("look at stream {name}"), format!("STREAM.INFO.{name}"), &json!({})).await
    }

    /// When the stream of commands was created; an error when it is missing.
    pub(super) async fn commands_created(&self) -> Result<DateTime<Utc>, BusError> {
        let name = self.names().commands_stream();
        let doing = format!("look at stream {name}");
        let info = self.stream_info(&name).await?.ok_or_else(|| no_stream(doing))?;
        let instant = i64::try_from(info.created.unix_timestamp_nanos()).unwrap_or_default();
        Ok(DateTime::from_timestamp_nanos(instant))
    }

    /// Creates or verifies the consumer; the stream has to be there.
    pub(super) async fn ensure_consumer(&self) -> Result<(), BusError> {
        let stream = self.names().commands_stream();
        let object = format!("consumer {INTAKE_CONSUMER} of stream {stream}");
        let wanted = wanted_consumer(&self.shared.settings);
        let path = format!("{stream}.{INTAKE_CONSUMER}");
        let found: Option<consumer::Info> =
            self.api(&format!("look at {object}"), format!("CONSUMER.INFO.{path}"), &json!({})).await?;
        let info = if let Some(info) = found {
            info
        } else {
            let doing = format!("create {object}");
            let body = json!({ "stream_name": stream, "config": wanted });
            let created = self.api(&doing, format!("CONSUMER.CREATE.{path}"), &body).await?;
            created.ok_or_else(|| no_stream(doing))?
        };
        Differences::default().consumer(&wanted, &info.config).none_or_error(object)
    }
}

/// Whether a version is known to be before `major.minor`.
fn is_before(version: &str, (major, minor): (u64, u64)) -> bool {
    let mut numbers = version.trim_start_matches('v').split(['.', '-']).map(str::parse::<u64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(found)), Some(Ok(below))) => (found, below) < (major, minor),
        _ => false,
    }
}

fn no_stream(doing: String) -> BusError {
    BusError::Refused { doing, code: 10059, description: "stream not found".to_owned() }
}

/// Full streams refuse: a command or an event is never dropped to make room for another.
fn wanted_streams(settings: &Settings) -> [stream::Config; 4] {
    let names = &settings.names;
    let stream = |name: String, filter: String, max_age: Duration| stream::Config {
        name,
        subjects: vec![filter],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        num_replicas: settings.replicas,
        max_age,
        max_bytes: settings.max_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        max_messages: -1,
        max_messages_per_subject: -1,
        max_message_size: -1,
        max_consumers: -1,
        duplicate_window: DUPLICATE_WINDOW,
        ..stream::Config::default()
    };
    [
        stream(names.events_stream(), names.events_filter(), settings.ages.events),
        stream(names.test_events_stream(), names.test_events_filter(), settings.ages.events),
        stream::Config {
            retention: RetentionPolicy::WorkQueue,
            duplicate_window: COMMANDS_DUPLICATE_WINDOW,
            ..stream(names.commands_stream(), names.commands_filter(), settings.ages.commands)
        },
        stream(names.rejected_stream(), names.rejected_filter(), settings.ages.rejected),
    ]
}

fn wanted_consumer(settings: &Settings) -> consumer::Config {
    consumer::Config {
        durable_name: Some(INTAKE_CONSUMER.to_owned()),
        name: Some(INTAKE_CONSUMER.to_owned()),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        replay_policy: ReplayPolicy::Instant,
        ack_wait: settings.intake.ack_wait,
        max_deliver: -1,
        max_ack_pending: settings.intake.max_ack_pending,
        ..consumer::Config::default()
    }
}

#[derive(Default)]
struct Differences(Vec<Difference>);

impl Differences {
    fn stream(self, wanted: &stream::Config, found: &stream::Config) -> Self {
        self.field("subjects", &wanted.subjects, &found.subjects)
            .field("retention", &wanted.retention, &found.retention)
            .field("storage", &wanted.storage, &found.storage)
            .field("discard", &wanted.discard, &found.discard)
            .field("num_replicas", &wanted.num_replicas, &found.num_replicas)
            .field("max_age", &wanted.max_age, &found.max_age)
            .field("max_bytes", &wanted.max_bytes, &found.max_bytes)
            .field("max_msgs", &wanted.max_messages, &found.max_messages)
            .field("max_msgs_per_subject", &wanted.max_messages_per_subject, &found.max_messages_per_subject)
            .field("max_msg_size", &wanted.max_message_size, &found.max_message_size)
            .field("duplicate_window", &wanted.duplicate_window, &found.duplicate_window)
            .field("no_ack", &wanted.no_ack, &found.no_ack)
            .field("sealed", &wanted.sealed, &found.sealed)
            .field("mirror", &wanted.mirror.is_some(), &found.mirror.is_some())
            .field("sources", &wanted.sources.is_some(), &found.sources.is_some())
    }

    fn consumer(self, wanted: &consumer::Config, found: &consumer::Config) -> Self {
        self.field("deliver_subject", &wanted.deliver_subject, &found.deliver_subject)
            .field("deliver_policy", &wanted.deliver_policy, &found.deliver_policy)
            .field("ack_policy", &wanted.ack_policy, &found.ack_policy)
            .field("replay_policy", &wanted.replay_policy, &found.replay_policy)
            .field("ack_wait", &wanted.ack_wait, &found.ack_wait)
            .field("max_deliver", &wanted.max_deliver, &found.max_deliver)
            .field("max_ack_pending", &wanted.max_ack_pending, &found.max_ack_pending)
            .field("filter_subject", &wanted.filter_subject, &found.filter_subject)
            .field("filter_subjects", &wanted.filter_subjects, &found.filter_subjects)
            .field("headers_only", &wanted.headers_only, &found.headers_only)
            .field("backoff", &wanted.backoff, &found.backoff)
    }

    fn field<T: PartialEq + Debug>(mut self, field: &'static str, wanted: &T, found: &T) -> Self {
        if wanted != found {
            let (wanted, found) = (format!("{wanted:?}"), format!("{found:?}"));
            self.0.push(Difference { field, wanted, found });
        }
        self
    }

    fn none_or_error(self, object: String) -> Result<(), BusError> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(BusError::Mismatch(Mismatch { object, differences: self.0 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_version_that_is_known_to_be_older_is_too_old() {
        for old in ["2.8.4", "1.4.1", "v2.8.4", "2.8.0-beta.1"] {
            assert!(is_before(old, (2, 9)), "{old}");
        }
        for fine in ["2.9.0", "2.10.25", "2.14.0-RC.1", "3.0.0", "", "main"] {
            assert!(!is_before(fine, (2, 9)), "{fine}");
        }
    }
}
