//! Dispatch: claimed deliveries become messages. Each is checked once more against the records as they are now,
//! rendered with what remains, sent, and its outcome recorded; many are in flight at once, each on its own.
//!
//! Guarantees: a delivery is attempted by one worker at a time, and every claim ends in a recorded outcome or, after a
//! crash, comes back when its lease ends. The message's id is committed before anything is sent, so a repeat bears
//! the same one. Nothing is sent that the records do not want at that moment.

use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::JoinSet;
use usher_lifecycle::{
    OnboardingId, UserId,
    reminder::{Channel, Recipient},
};
use usher_store::{Claim, ClaimLimits, Finish, Situation, StoreError};

use crate::{Scheduler, message_of::send};

/// How long a claim holds. Longer than any send's own deadline with its wait for a free connection.
const LEASE: Duration = Duration::from_mins(5);
/// Deliveries that are looked at for one claim.
const CLAIM: u32 = 500;
/// Messages in flight at which no more are claimed.
const IN_FLIGHT: usize = 256;
/// A claim that waited so long for its turn is given back unsent: its lease must not end under a send.
const STALE: TimeDelta = TimeDelta::seconds(200);

/// What a dispatch pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DispatchReport {
    /// Messages that were claimed.
    pub messages: usize,
    /// Outcomes that were recorded, one per delivery.
    pub recorded: u64,
    /// Outcomes that came after the lease and were refused.
    pub late: u64,
}

/// Messages on their way.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    set: JoinSet<Vec<Finish>>,
}

impl Scheduler {
    /// Sends everything that is due at `now`, and waits until it is recorded.
    pub async fn dispatch(&self, now: DateTime<Utc>) -> Result<DispatchReport, StoreError> {
        let mut flights = Flights::default();
        let mut report = DispatchReport::default();
        loop {
            let claimed = self.launch(&mut flights, now).await?;
            report.messages += claimed;
            while !flights.set.is_empty() {
                self.land(&mut flights, &mut report).await?;
            }
            if claimed == 0 {
                return Ok(report);
            }
        }
    }

    /// Claims what is due and starts sending it, up to the number that may be in flight; how many messages it claimed.
    pub(crate) async fn launch(
        &self,
        flights: &mut Flights,
        now: DateTime<Utc>,
    ) -> Result<usize, StoreError> {
        let channels = self.sendable_channels(now);
        if flights.set.len() >= IN_FLIGHT || channels.is_empty() {
            return Ok(0);
        }
        let claims =
            self.store.claim(now, &ClaimLimits { deliveries: CLAIM, lease: LEASE, channels }).await?;
        if claims.is_empty() {
            return Ok(0);
        }
        let situation = Arc::new(self.look_around(&claims).await?);
        let count = claims.len();
        for claim in claims {
            let (scheduler, situation) = (self.clone(), Arc::clone(&situation));
            flights.set.spawn(async move {
                let Ok(_turn) = scheduler.turns(claim.channel).acquire().await else { return Vec::new() };
                let now = (scheduler.clock)();
                if claim.lease_until - now
                    < TimeDelta::seconds(LEASE.as_secs().try_into().unwrap_or(i64::MAX)) - STALE
                {
                    return give_back(claim);
                }
                send(&scheduler, claim, &situation, now).await
            });
        }
        Ok(count)
    }

    /// Waits for a message to land and records its outcome, together with all others that have landed meanwhile.
    pub(crate) async fn land(
        &self,
        flights: &mut Flights,
        report: &mut DispatchReport,
    ) -> Result<(), StoreError> {
        let mut outcomes = Vec::new();
        let mut landed = flights.set.join_next().await;
        while let Some(result) = landed {
            match result {
                Ok(finished) => outcomes.extend(finished),
                // Its lease ends, and another worker takes it up as ambiguous.
                Err(error) => tracing::error!(%error, "sending a message failed unexpectedly"),
            }
            landed = flights.set.try_join_next();
        }
        if outcomes.is_empty() {
            return Ok(());
        }
        let finished = self.record(outcomes).await?;
        report.recorded += finished.recorded;
        report.late += finished.late;
        if finished.late > 0 {
            tracing::warn!(
                late = finished.late,
                "outcomes came after their lease had ended and were not recorded"
            );
        }
        Ok(())
    }

    /// Records outcomes; what channels accepted must not be lost to a database that is away for a moment.
    async fn record(&self, outcomes: Vec<Finish>) -> Result<usher_store::Finished, StoreError> {
        let mut wait = Duration::from_millis(200);
        let until = (self.clock)() + TimeDelta::seconds(60);
        loop {
            match self.store.finish(outcomes.clone(), (self.clock)()).await {
                Err(error) if error.is_away() && (self.clock)() < until => {
                    tracing::warn!(%error, outcomes = outcomes.len(), "outcomes cannot be recorded; trying again");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(5));
                }
                result => return result,
            }
        }
    }

    /// The records around the claims, as they are now.
    async fn look_around(&self, claims: &[Claim]) -> Result<Situation, StoreError> {
        let onboardings: HashSet<OnboardingId> = claims
            .iter()
            .flat_map(|claim| &claim.deliveries)
            .map(|delivery| delivery.onboarding_id)
            .collect();
        let users: HashSet<UserId> = claims
            .iter()
            .filter_map(|claim| match &claim.recipient {
                Recipient::User(id) => Some(*id),
                Recipient::Contact(_) | Recipient::Email(_) | Recipient::Slack(_) => None,
            })
            .collect();
        self.store
            .situation(&onboardings.into_iter().collect::<Vec<_>>(), &users.into_iter().collect::<Vec<_>>())
            .await
    }
}

impl Flights {
    pub(crate) fn len(&self) -> usize {
        self.set.len()
    }
}

/// The claim as it was, for somebody else to take up.
fn give_back(claim: Claim) -> Vec<Finish> {
    let finish = |mut delivery: usher_store::Delivery| {
        if delivery.ambiguities == 0 {
            delivery.message_id = None;
        }
        Finish { token: claim.token.clone(), delivery, follow_ups: Vec::new() }
    };
    claim.deliveries.into_iter().map(finish).collect()
}

/// Messages of a channel that are in flight at once.
pub(crate) const fn in_flight(channel: Channel) -> usize {
    match channel {
        Channel::Email => 32,
        Channel::Slack => 16,
    }
}
