//! The reminder ledger and its queue: what is to be sent to whom, and what became of it.
//!
//! Guarantee: a delivery is claimed by one worker at a time. A claim carries a token; an outcome is recorded only while
//! the token is still the row's, so a late worker is fenced off. A claim takes all dispatchable deliveries of a
//! recipient and channel under one lock, so two workers never split a digest.

mod claim;
mod finish;
mod undelivered;

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use usher_lifecycle::{
    Onboarding, OnboardingId, ReminderId, WorkspaceId,
    event::{Actor, Event},
    reminder::{Channel, Gap, Kind, Reason, Recipient},
};

pub(crate) use self::finish::told;
#[cfg(test)]
pub(crate) use self::{
    claim::{BULKS as CLAIM_BULKS, STATEMENTS as CLAIM},
    finish::{BULKS as FINISH_BULKS, STATEMENTS as FINISH},
    undelivered::{BULKS as UNDELIVERED_BULKS, STATEMENTS as UNDELIVERED},
};
pub use self::{
    claim::{Claim, ClaimLimits},
    finish::{Finish, Finished},
    undelivered::UndeliveredFilter,
};
use crate::{
    db::{Arg, Row, Tx, bulks},
    error::StoreError,
    ids,
    outbox::NewEvent,
};

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is still to be sent.
    Pending,
    /// A channel accepted it.
    Sent,
    /// It could not be delivered.
    Failed,
    /// Nobody knows whether it arrived.
    Ambiguous,
    /// It was not wanted any more, or not possible, for a reason.
    Skipped,
}

impl Status {
    /// The name in the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Ambiguous => "ambiguous",
            Self::Skipped => "skipped",
        }
    }
}

impl std::str::FromStr for Status {
    type Err = usher_lifecycle::state::UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Pending, Self::Sent, Self::Failed, Self::Ambiguous, Self::Skipped]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(usher_lifecycle::state::UnknownName {
                allowed: "pending, sent, failed, ambiguous, skipped",
            })
    }
}

/// One attempt that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptError {
    /// When.
    pub at: DateTime<Utc>,
    /// What the channel said: a code such as `550` or `channel_not_found`.
    pub code: String,
    /// In words; no address, no secret.
    pub detail: String,
}

/// One row of the ledger: one onboarding, slot, channel and recipient.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// `rem_...`
    pub id: ReminderId,
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// False for test records.
    pub livemode: bool,
    /// The onboarding it is about.
    pub onboarding_id: OnboardingId,
    /// What it is.
    pub kind: Kind,
    /// The slot's date; of a manual reminder the id of the request.
    pub slot: String,
    /// The channel; none where nothing could be sent at all.
    pub channel: Option<Channel>,
    /// To whom; none where nobody was there.
    pub recipient: Option<Recipient>,
    /// Why they.
    pub why: String,
    /// What became of it.
    pub status: Status,
    /// Why it was skipped or failed: a [`Reason`], or what the channel said.
    pub reason: Option<String>,
    /// More about it: the first slot, last slot and count of a gap; the lag.
    pub detail: Option<Value>,
    /// When the slot fell due.
    pub due_at: DateTime<Utc>,
    /// When it may be sent, or tried again.
    pub send_after: DateTime<Utc>,
    /// When a channel accepted it.
    pub sent_at: Option<DateTime<Utc>>,
    /// Attempts that counted.
    pub attempts: i64,
    /// Attempts of which nobody knows whether they arrived.
    pub ambiguities: i64,
    /// What went wrong, attempt by attempt.
    pub errors: Vec<AttemptError>,
    /// The id of the message that carries it, committed before it is sent.
    pub message_id: Option<String>,
    /// When it was planned.
    pub planned_at: DateTime<Utc>,
    /// How often it was put back by hand.
    pub retries: i64,
    /// When it was put back last.
    pub retried_at: Option<DateTime<Utc>>,
    /// How many of the ambiguous attempts it had by then; they are no reason to give up any more.
    pub forgiven: i64,
}

/// What the ledger shows of a delivery.
pub type LedgerRow = Delivery;

/// Channel and recipient of a row that nobody gets.
const NOBODY: &str = "none";

macro_rules! delivery_columns {
    () => {
        "id, workspace_id, livemode, onboarding_id, kind, slot, channel, recipient, why, status, reason, detail, due_at, \
         send_after, sent_at, attempts, ambiguities, errors, message_id, planned_at, \
         retries, retried_at, forgiven"
    };
}
pub(crate) use delivery_columns;

bulks! {
    INSERT = "deliveries" (
        id: Text, workspace_id: Text, livemode: Bool, onboarding_id: Text, kind: Text, slot: Text, channel: Text,
        recipient: Text, why: Text, status: Text, reason: Text, detail: Json, due_at: Time, send_after: Time,
        attempts: Int, ambiguities: Int, errors: Json, planned_at: Time, updated_at: Time,
    ) "ON CONFLICT (onboarding_id, kind, slot, channel, recipient) DO NOTHING RETURNING id";
}

impl Delivery {
    /// Notes that an escalation stands for the steps of another one's detail, too: the detail tells its own step, and the
    /// others under `also`.
    pub fn stand_for(&mut self, other: &Value) {
        let Some(Value::Object(detail)) = &mut self.detail else { return };
        let step = |it: &Value| json!({"after_reminders": it["after_reminders"], "to": it["to"], "set_state": it["set_state"]});
        let more = other["also"].as_array().into_iter().flatten();
        if let Value::Array(also) = detail.entry("also").or_insert_with(|| json!([])) {
            also.extend([other].into_iter().chain(more).map(step));
        }
    }

    /// A delivery that is still to be sent.
    pub fn pending(
        onboarding: &Onboarding,
        kind: Kind,
        slot: String,
        due_at: DateTime<Utc>,
        send_after: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            id: ids::mint::reminder(now),
            workspace_id: onboarding.workspace_id,
            livemode: onboarding.livemode,
            onboarding_id: onboarding.id,
            kind,
            slot,
            channel: None,
            recipient: None,
            why: String::new(),
            status: Status::Pending,
            reason: None,
            detail: None,
            due_at,
            send_after,
            sent_at: None,
            attempts: 0,
            ambiguities: 0,
            errors: Vec::new(),
            message_id: None,
            planned_at: now,
            retries: 0,
            retried_at: None,
            forgiven: 0,
        }
    }

    /// The same delivery, to a recipient.
    #[must_use]
    pub fn to(mut self, channel: Channel, recipient: Recipient, why: &str) -> Self {
        self.channel = Some(channel);
        self.recipient = Some(recipient);
        why.clone_into(&mut self.why);
        self
    }

    /// The same delivery, not to be sent.
    #[must_use]
    pub fn skipped(mut self, reason: Reason) -> Self {
        self.status = Status::Skipped;
        self.reason = Some(reason.as_str().to_owned());
        self
    }

    /// The row for a run of slots that are not sent.
    pub fn gap(onboarding: &Onboarding, gap: Gap, now: DateTime<Utc>) -> Self {
        let mut row =
            Self::pending(onboarding, Kind::Cadence, gap.last.to_string(), now, now, now).skipped(gap.reason);
        row.detail = Some(json!({"first_slot": gap.first, "last_slot": gap.last, "slots": gap.count}));
        row
    }

    /// The delivery as the API returns it and events carry it.
    pub fn object(&self) -> Value {
        let lag = self.sent_at.map(|sent| (sent - self.due_at).num_seconds());
        json!({
            "object": "reminder",
            "id": self.id,
            "onboarding_id": self.onboarding_id,
            "kind": self.kind,
            "slot": self.slot,
            "channel": self.channel.map(Channel::as_str),
            "recipient": self.recipient.as_ref().map(ToString::to_string),
            "why": self.why,
            "status": self.status,
            "reason": self.reason,
            "detail": self.detail,
            "due_at": self.due_at,
            "send_after": self.send_after,
            "sent_at": self.sent_at,
            "lag_seconds": lag,
            "attempts": self.attempts,
            "errors": self.errors,
            "message_id": self.message_id,
            "livemode": self.livemode,
            "planned_at": self.planned_at,
            "retries": self.retries,
            "retried_at": self.retried_at,
        })
    }

    /// The event that tells what became of it. The delivery is the subject; the onboarding is named for its timeline.
    pub(crate) fn event(&self, event: &Event, now: DateTime<Utc>) -> NewEvent {
        NewEvent {
            workspace_id: self.workspace_id,
            livemode: self.livemode,
            kind: event.kind,
            subject: self.id.to_text(),
            version: 1 + self.attempts + self.ambiguities + self.retries,
            ordinal: 0,
            onboarding_id: Some(self.onboarding_id),
            at: now,
            data: event.data(&self.object(), &Actor::system()),
            traceparent: None,
        }
    }

    fn row(&self) -> Vec<Arg> {
        vec![
            Arg::id(self.id),
            Arg::id(self.workspace_id),
            Arg::Bool(self.livemode),
            Arg::id(self.onboarding_id),
            Arg::text(self.kind.as_str()),
            Arg::text(&self.slot),
            Arg::text(self.channel.map_or(NOBODY, Channel::as_str)),
            Arg::text(self.recipient.as_ref().map_or_else(|| NOBODY.to_owned(), ToString::to_string)),
            Arg::text(&self.why),
            Arg::text(self.status.as_str()),
            Arg::Text(self.reason.clone()),
            self.detail.clone().map_or(Arg::Text(None), Arg::Json),
            Arg::time(self.due_at),
            Arg::time(self.send_after),
            Arg::int(self.attempts),
            Arg::int(self.ambiguities),
            Arg::Json(usher_lifecycle::wire::value(&self.errors)),
            Arg::time(self.planned_at),
            Arg::time(self.planned_at),
        ]
    }
}

/// Writes planned deliveries; one that was planned before stays as it is. The ids of those that were written.
pub(crate) async fn insert(tx: &mut Tx, deliveries: &[Delivery]) -> Result<HashSet<String>, StoreError> {
    let rows = tx.bulk_returning(&INSERT, deliveries.iter().map(Delivery::row).collect()).await?;
    rows.iter().map(|row| row.text("id")).collect()
}

pub(crate) fn read(row: &Row) -> Result<Delivery, StoreError> {
    let some = |text: String| (text != NOBODY).then_some(text);
    let parse = |column, error: &dyn std::fmt::Display| StoreError::decode(column, error.to_string());
    let channel =
        some(row.text("channel")?).map(|text| text.parse()).transpose().map_err(|e| parse("channel", &e))?;
    let recipient = some(row.text("recipient")?)
        .map(|text| text.parse())
        .transpose()
        .map_err(|e| parse("recipient", &e))?;
    let errors = serde_json::from_value(row.json("errors")?).map_err(|error| parse("errors", &error))?;
    Ok(Delivery {
        id: row.parsed("id")?,
        workspace_id: row.parsed("workspace_id")?,
        livemode: row.bool("livemode")?,
        onboarding_id: row.parsed("onboarding_id")?,
        kind: row.parsed("kind")?,
        slot: row.text("slot")?,
        channel,
        recipient,
        why: row.text("why")?,
        status: row.parsed("status")?,
        reason: row.opt_text("reason")?,
        detail: row.opt_json("detail")?,
        due_at: row.time("due_at")?,
        send_after: row.time("send_after")?,
        sent_at: row.opt_time("sent_at")?,
        attempts: row.int("attempts")?,
        ambiguities: row.int("ambiguities")?,
        errors,
        message_id: row.opt_text("message_id")?,
        planned_at: row.time("planned_at")?,
        retries: row.int("retries")?,
        retried_at: row.opt_time("retried_at")?,
        forgiven: row.int("forgiven")?,
    })
}
