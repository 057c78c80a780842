//! Claiming: the pending deliveries of some recipients, under a lease, each group with the id of its message.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use usher_lifecycle::{
    WorkspaceId,
    reminder::{Channel, Recipient},
};

use super::{AttemptError, Delivery, delivery_columns, read};
use crate::{
    Store,
    db::{Arg, bulks, statements},
    error::StoreError,
    ids,
};

statements! {
    // What a slot brings, reminders, escalations and nudges, waits until no schedule due before or with it is unplanned, so that
    // digests are whole. Only what was asked for by hand does not.
    UNPLANNED = "SELECT MIN(due_at) AS due_at FROM schedules WHERE due_at IS NOT NULL";
    // In one order whoever asks: what is due together goes out by recipient, also after a restart in the middle of it.
    CANDIDATES = "SELECT DISTINCT workspace_id, channel, recipient FROM (
                      SELECT workspace_id, channel, recipient FROM deliveries
                      WHERE status = 'pending' AND send_after <= $1
                        AND (lease_until IS NULL OR lease_until < $1 OR lease_until > $5)
                        AND (kind = 'manual' OR due_at < $2) AND channel {in:$3}
                      ORDER BY send_after, recipient, channel LIMIT $4) AS due";
    TAKE_TURN = "SELECT value FROM {each:$1} WHERE {try lock:value}";
    DUE = concat!("SELECT ", delivery_columns!(), ", lease_until FROM deliveries
                   WHERE status = 'pending' AND recipient {in:$3} AND send_after <= $1
                     AND (lease_until IS NULL OR lease_until < $1 OR lease_until > $4)
                     AND (kind = 'manual' OR due_at < $2)
                   ORDER BY id {skip locked}");
    UNREADABLE = "UPDATE deliveries SET status = 'failed', reason = 'internal_error', updated_at = $2, lease_until = NULL,
                    lease_token = NULL WHERE id {in:$1}";
}

bulks! {
    LEASE = "deliveries" (
        id: Text, message_id: Text, lease_until: Time, lease_token: Text, ambiguities: Int, errors: Json, now: Time,
        far: Time,
    ) "UPDATE deliveries SET message_id = v.message_id, lease_until = v.lease_until, lease_token = v.lease_token,
         ambiguities = v.ambiguities, errors = v.errors, updated_at = v.now
       FROM {rows} v
       WHERE deliveries.id = v.id AND deliveries.status = 'pending'
         AND (deliveries.lease_until IS NULL OR deliveries.lease_until < v.now OR deliveries.lease_until > v.far)
       RETURNING deliveries.id";
}

/// How much to claim.
#[derive(Debug, Clone)]
pub struct ClaimLimits {
    /// Most deliveries that are looked at for recipients.
    pub deliveries: u32,
    /// How long the claim holds.
    pub lease: Duration,
    /// The channels that can send now.
    pub channels: Vec<Channel>,
}

/// One message to be sent: the deliveries of one recipient and channel that travel together.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The channel.
    pub channel: Channel,
    /// To whom.
    pub recipient: Recipient,
    /// What proves the claim.
    pub token: String,
    /// When it ends.
    pub lease_until: DateTime<Utc>,
    /// The local part of the message's id; a repeat has the same one.
    pub message_id: String,
    /// Whether an earlier copy may have arrived.
    pub is_repeat: bool,
    /// What it carries.
    pub deliveries: Vec<Delivery>,
}

type Group = (WorkspaceId, Channel, String, Option<String>);

impl Store {
    /// Claims the dispatchable deliveries of some recipients: who has waited longest comes first, and of those who wait equally
    /// long the recipient's name decides. What a dead worker held comes back here when its lease
    /// has ended, marked as ambiguous if a message id was minted.
    pub async fn claim(&self, now: DateTime<Utc>, limits: &ClaimLimits) -> Result<Vec<Claim>, StoreError> {
        // Looked up before anything is locked: a schedule that is planned meanwhile only makes more dispatchable.
        let unplanned =
            self.db().first(&UNPLANNED, Vec::new()).await?.map(|row| row.opt_time("due_at")).transpose()?;
        let horizon =
            unplanned.flatten().unwrap_or(DateTime::<Utc>::MAX_UTC).min(now + chrono::TimeDelta::days(1));
        // A lease beyond that was taken by a clock that stood wrong, and holds nobody up.
        let far = now + limits.lease * 2;
        let candidates = vec![
            Arg::time(now),
            Arg::time(horizon),
            Arg::texts(limits.channels.iter().map(|channel| channel.as_str())),
            Arg::int(limits.deliveries.into()),
            Arg::time(far),
        ];
        // These too: whose deliveries another worker takes meanwhile has none left to be read under the lock.
        let mut lanes = BTreeMap::new();
        for row in self.db().all(&CANDIDATES, candidates).await? {
            let (workspace, channel, recipient) =
                (row.text("workspace_id")?, row.text("channel")?, row.text("recipient")?);
            lanes.insert(format!("{workspace} {channel} {recipient}"), recipient);
        }
        if lanes.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.db().begin().await?;
        if tx.is_postgres() {
            let turns = tx.all(&TAKE_TURN, vec![Arg::texts(lanes.keys())]).await?;
            let ours: BTreeSet<String> =
                turns.iter().map(|row| row.text("value")).collect::<Result<_, _>>()?;
            lanes.retain(|lane, _| ours.contains(lane));
        }
        let recipients: BTreeSet<&String> = lanes.values().collect();
        let rows = tx
            .all(&DUE, vec![Arg::time(now), Arg::time(horizon), Arg::texts(recipients), Arg::time(far)])
            .await?;
        let token = ids::token();
        let lease_until = now + limits.lease;
        let mut found: BTreeMap<Group, Vec<Delivery>> = BTreeMap::new();
        let mut repeats = BTreeSet::new();
        let mut unreadable = Vec::new();
        for row in &rows {
            let mut delivery = match read(row) {
                Ok(delivery) => delivery,
                Err(error) => {
                    let id = row.text("id")?;
                    tracing::error!(delivery = id, %error, "a delivery cannot be read; it has failed");
                    unreadable.push(id);
                    continue;
                }
            };
            let (Some(channel), Some(recipient)) = (delivery.channel, delivery.recipient.clone()) else {
                continue;
            };
            let lane = format!("{} {channel} {recipient}", delivery.workspace_id);
            if !lanes.contains_key(&lane) {
                continue;
            }
            if row.opt_time("lease_until")?.is_some() && delivery.message_id.is_some() {
                let detail =
                    "the worker that sent it did not come back; nobody knows whether the message arrived";
                delivery.ambiguities += 1;
                delivery.errors.push(AttemptError {
                    at: now,
                    code: "lease_expired".into(),
                    detail: detail.into(),
                });
            }
            if delivery.message_id.is_some() {
                repeats.insert(delivery.id);
            }
            let group = (delivery.workspace_id, channel, recipient.to_string(), delivery.message_id.clone());
            found.entry(group).or_default().push(delivery);
        }

        let mut claims = Vec::new();
        let mut leases = Vec::new();
        for ((workspace_id, channel, _, message_id), deliveries) in found {
            let Some(first) = deliveries.first() else { continue };
            let (Some(recipient), is_repeat) = (first.recipient.clone(), repeats.contains(&first.id)) else {
                continue;
            };
            // Never one that an earlier message had: a mail server may drop what has an id that it has seen.
            let message_id = message_id.unwrap_or_else(|| ids::mint::reminder(now).to_text());
            for delivery in &deliveries {
                leases.push(vec![
                    Arg::id(delivery.id),
                    Arg::text(&message_id),
                    Arg::time(lease_until),
                    Arg::text(&token),
                    Arg::int(delivery.ambiguities),
                    Arg::Json(usher_lifecycle::wire::value(&delivery.errors)),
                    Arg::time(now),
                    Arg::time(far),
                ]);
            }
            let token = token.clone();
            claims.push(Claim {
                workspace_id,
                channel,
                recipient,
                token,
                lease_until,
                message_id,
                is_repeat,
                deliveries,
            });
        }
        if !unreadable.is_empty() {
            tx.execute(&UNREADABLE, vec![Arg::Texts(unreadable), Arg::time(now)]).await?;
        }
        let held = tx.bulk_returning(&LEASE, leases).await?;
        let held: HashSet<String> = held.iter().map(|row| row.text("id")).collect::<Result<_, _>>()?;
        tx.commit().await?;
        // A row that a late worker finished in between is not ours.
        for claim in &mut claims {
            claim.deliveries.retain(|delivery| held.contains(&delivery.id.to_text()));
            for delivery in &mut claim.deliveries {
                delivery.message_id = Some(claim.message_id.clone());
            }
        }
        claims.retain(|claim| !claim.deliveries.is_empty());
        claims.sort_by_cached_key(|claim| {
            let since = claim.deliveries.iter().map(|delivery| delivery.send_after).min();
            (since, claim.recipient.to_string(), claim.channel)
        });
        Ok(claims)
    }
}
