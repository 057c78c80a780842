//! Deliveries that failed, or of which nobody knows whether they arrived, put back by hand.
//!
//! Laws: nothing is put back that was sent, is still to be sent, or was skipped; nor what the check before sending would
//! not send. It is the same delivery, so nobody gets a slot twice by one channel; one whose message may have arrived
//! keeps that message's id, and what travelled with it goes with it again: another message with that id might be taken for
//! the same one. Before it is sent it is checked once more, like any other.

use chrono::{DateTime, Utc};
use usher_lifecycle::reminder::{Configured, Reason, Verdict};
use usher_store::{Delivery, Status, Store, StoreError};

use crate::{send::verdict, surroundings::around};

/// What becomes of a delivery that somebody wants to put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutBack {
    /// It is pending again, and goes out from that instant on: later than now where the hours of the workspace or of the
    /// person say so.
    Done(DateTime<Utc>),
    /// It stays as it is: its status, where that is neither failed nor ambiguous, or the reason why it is not wanted.
    Refused(String),
}

/// Puts back what can be of these deliveries and of those that travelled in the same ambiguous messages, or with `dry_run` only
/// says what would be; what becomes of each, the given ones first. `configured` are the channels of the process that sends.
///
/// # Errors
/// When the store is away; then none of them is put back.
pub async fn put_back(
    store: &Store,
    configured: Configured,
    chosen: &[Delivery],
    dry_run: bool,
    now: DateTime<Utc>,
) -> Result<Vec<(Delivery, PutBack)>, StoreError> {
    let mut deliveries = chosen.to_vec();
    let companions = store.companions(chosen).await?;
    deliveries.extend(companions.into_iter().filter(|it| chosen.iter().all(|given| given.id != it.id)));
    let situation = around(store, &deliveries).await?;
    let judge = |delivery: &Delivery| {
        match delivery.status {
            Status::Failed | Status::Ambiguous => {}
            Status::Pending | Status::Sent | Status::Skipped => {
                return PutBack::Refused(delivery.status.as_str().to_owned());
            }
        }
        let (Some(channel), Some(recipient)) = (delivery.channel, &delivery.recipient) else {
            return PutBack::Refused(Reason::NoRecipient.as_str().to_owned());
        };
        match verdict(delivery, (channel, recipient), &situation, configured, now) {
            Verdict::Send => PutBack::Done(now),
            Verdict::Later(at) => PutBack::Done(at),
            Verdict::Skip(reason) => PutBack::Refused(reason.as_str().to_owned()),
        }
    };
    let mut found: Vec<PutBack> = deliveries.iter().map(judge).collect();
    if dry_run {
        return Ok(deliveries.into_iter().zip(found).collect());
    }
    let wanted = deliveries.iter().zip(&found).filter_map(|(delivery, it)| match it {
        PutBack::Done(at) => Some((delivery, *at)),
        PutBack::Refused(_) => None,
    });
    let done = store.put_back(&wanted.collect::<Vec<_>>(), now).await?;
    for (delivery, it) in deliveries.iter().zip(&mut found) {
        let was_faster = matches!(it, PutBack::Done(_)) && !done.contains(&delivery.id.to_text());
        if was_faster {
            *it = PutBack::Refused(Status::Pending.as_str().to_owned());
        }
    }
    Ok(deliveries.into_iter().zip(found).collect())
}
