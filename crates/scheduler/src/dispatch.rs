//! Dispatch: claimed deliveries become messages. Each is checked once more against the records as they are now,
//! rendered with what remains, sent, and its outcome recorded; many are in flight at once, each on its own.
//!
//! Guarantees: a delivery is attempted by one worker at a time, and every claim ends in a recorded outcome or, after a
//! crash, comes back when its lease ends. The message's id is committed before anything is sent, so a repeat bears
//! the same one. Nothing is sent that the records do not want at that moment.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::{sync::Semaphore, time::Instant};
use usher_lifecycle::reminder::Channel;
use usher_store::{Claim, ClaimLimits, Finish, Finished, Situation, StoreError};

use crate::{
    Scheduler,
    flights::{Flights, Stop},
    send::send,
    surroundings::give_back,
};

/// How long a claim holds: so long after its worker died is a message taken up again.
const LEASE: Duration = Duration::from_mins(3);
/// What must be left of it when sending begins: a send's own deadline, after the wait for a free connection.
const LEAST_LEFT: TimeDelta = TimeDelta::seconds(100);
/// Deliveries that are looked at for one claim.
const CLAIM: u32 = 256;
/// Records older than this are looked at again before something is sent.
const FRESH: TimeDelta = TimeDelta::seconds(1);
/// Outcomes that are recorded in one transaction.
const RECORD: usize = 1_000;
/// How long a dispatch pass tries to record outcomes while the database is away.
const PATIENCE: Duration = Duration::from_mins(1);

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

impl Scheduler {
    /// Sends everything that is due at `now`, and waits until it is recorded.
    pub async fn dispatch(&self, now: DateTime<Utc>) -> Result<DispatchReport, StoreError> {
        let mut flights = Flights::default();
        let mut report = DispatchReport::default();
        loop {
            let claimed = self.launch(&mut flights, now).await;
            loop {
                self.settle_patiently(&mut flights, &mut report).await?;
                if flights.len() == 0 {
                    break;
                }
                flights.next().await;
            }
            let claimed = claimed?;
            report.messages += claimed;
            if claimed == 0 {
                return Ok(report);
            }
        }
    }

    /// The channels for which more may be claimed at `now`.
    pub(crate) fn open_channels(&self, flights: &Flights, now: DateTime<Utc>) -> Vec<Channel> {
        // One that is not configured is dispatched too: what was planned for it earlier ends with the reason.
        let open = |channel: &Channel| flights.has_room(*channel) && !self.is_resting(*channel, now);
        Channel::ALL.into_iter().filter(open).collect()
    }

    /// Claims what is due and starts sending it, as far as there is room; how many messages it claimed.
    pub(crate) async fn launch(
        &self,
        flights: &mut Flights,
        now: DateTime<Utc>,
    ) -> Result<usize, StoreError> {
        // A long pass must not claim for a time that is half over.
        let now = now.max((self.clock)());
        let channels = self.open_channels(flights, now);
        if channels.is_empty() {
            return Ok(0);
        }
        let limits = ClaimLimits { deliveries: CLAIM, lease: LEASE, channels };
        let begun = Instant::now();
        let claims = self.store.claim(now, &limits).await?;
        if claims.is_empty() {
            return Ok(0);
        }
        let count = claims.len();
        let claims = self.surroundings(claims, &mut flights.landed, now).await?;
        self.metrics.claimed(begun.elapsed());
        for (claim, situation) in claims {
            let (scheduler, stop) = (self.clone(), flights.stop.clone());
            let channel = claim.channel;
            flights.launch(channel, async move { scheduler.fly(claim, situation, stop, now).await });
        }
        Ok(count)
    }

    /// Waits for its turn, makes sure that all is still as it was, and sends.
    async fn fly(
        &self,
        claim: Claim,
        mut situation: Arc<Situation>,
        stop: Stop,
        looked_at: DateTime<Utc>,
    ) -> Vec<Finish> {
        let turn = tokio::select! {
            biased;
            () = stop.waiting.cancelled() => return give_back(claim),
            turn = self.turns(claim.channel).acquire() => turn,
        };
        let now = (self.clock)();
        if turn.is_err() || claim.lease_until - now < LEAST_LEFT || self.is_resting(claim.channel, now) {
            return give_back(claim);
        }
        if now - looked_at > FRESH {
            match self.look_around(&claim.deliveries).await {
                Ok(fresh) => situation = Arc::new(fresh),
                Err(error) => {
                    tracing::warn!(%error, "a message cannot be checked once more; it is given back");
                    return give_back(claim);
                }
            }
        }
        send(self, claim, &situation, &stop, now).await
    }

    fn turns(&self, channel: Channel) -> &Semaphore {
        match channel {
            Channel::Email => &self.email_turns,
            Channel::Slack => &self.slack_turns,
        }
    }

    /// Records what has landed. What is not recorded, on an error or when the future is dropped, stays where it is; tried
    /// again although it was, it counts as late.
    pub(crate) async fn settle(
        &self,
        flights: &mut Flights,
        report: &mut DispatchReport,
    ) -> Result<(), StoreError> {
        let landed = &mut flights.landed;
        while !landed.is_empty() {
            let start = landed.len().saturating_sub(RECORD);
            match self.store.finish(landed[start..].to_vec(), (self.clock)()).await {
                Ok(finished) => {
                    landed.truncate(start);
                    self.add(report, finished);
                    self.wrote_events();
                }
                Err(error) if error.is_away() => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "outcomes cannot be recorded together; they are recorded one by one");
                    while landed.len() > start {
                        self.settle_last(landed, report).await?;
                    }
                }
            }
        }
        Ok(())
    }

    fn add(&self, report: &mut DispatchReport, finished: Finished) {
        report.recorded += finished.recorded;
        report.late += finished.late;
        self.metrics.came_late(finished.late);
        if finished.late > 0 {
            tracing::warn!(late = finished.late, "outcomes came after their lease and were not recorded");
        }
    }

    async fn settle_last(
        &self,
        landed: &mut Vec<Finish>,
        report: &mut DispatchReport,
    ) -> Result<(), StoreError> {
        let Some(last) = landed.last().cloned() else { return Ok(()) };
        let delivery = last.delivery.id;
        match self.store.finish(vec![last], (self.clock)()).await {
            Ok(finished) => {
                self.add(report, finished);
                self.wrote_events();
            }
            Err(error) if error.is_away() => return Err(error),
            // Its lease ends, and it comes back as ambiguous.
            Err(error) => tracing::error!(%delivery, %error, "an outcome cannot be recorded"),
        }
        landed.pop();
        Ok(())
    }

    /// The same; what channels accepted must not be lost to a database that is away for a moment.
    pub(crate) async fn settle_patiently(
        &self,
        flights: &mut Flights,
        report: &mut DispatchReport,
    ) -> Result<(), StoreError> {
        let mut wait = Duration::from_millis(200);
        let until = Instant::now() + PATIENCE;
        loop {
            match self.settle(flights, report).await {
                Err(error) if error.is_away() && Instant::now() < until => {
                    tracing::warn!(%error, outcomes = flights.landed.len(), "outcomes cannot be recorded yet");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(5));
                }
                result => return result,
            }
        }
    }
}
