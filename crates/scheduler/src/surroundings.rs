//! The records around claims, as they are now.
//!
//! Law: a claim whose records cannot be had is given back at once, unsent; one whose records cannot be read has failed,
//! with the error, and holds nobody else up.

use std::{collections::HashSet, sync::Arc};

use chrono::{DateTime, Utc};
use usher_lifecycle::{
    OnboardingId, UserId,
    reminder::{Kind, Recipient},
};
use usher_store::{AttemptError, Claim, Delivery, Finish, Situation, Status, Store, StoreError};

use crate::Scheduler;

/// The code in the ledger.
pub(crate) const FAULT: &str = "internal_error";

/// A claim and the records around it.
pub(crate) type Ready = (Claim, Arc<Situation>);

impl Scheduler {
    /// Each claim with the records around it. What becomes of the others is added to `landed`; on an error of all.
    pub(crate) async fn surroundings(
        &self,
        claims: Vec<Claim>,
        landed: &mut Vec<Finish>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Ready>, StoreError> {
        match self.look_around(claims.iter().flat_map(|it| &it.deliveries)).await {
            Ok(situation) => {
                let situation = Arc::new(situation);
                return Ok(claims.into_iter().map(|claim| (claim, Arc::clone(&situation))).collect());
            }
            Err(error) if error.is_away() => {
                landed.extend(claims.into_iter().flat_map(give_back));
                return Err(error);
            }
            Err(error) => tracing::error!(%error, "the records around some deliveries cannot be read"),
        }
        let mut ready = Vec::new();
        let mut claims = claims.into_iter();
        while let Some(claim) = claims.next() {
            match self.readable(claim, landed, now).await {
                Ok(found) => ready.extend(found),
                Err((claim, error)) => {
                    let rest = [claim].into_iter().chain(ready.into_iter().map(|(claim, _)| claim));
                    landed.extend(rest.chain(claims).flat_map(give_back));
                    return Err(error);
                }
            }
        }
        Ok(ready)
    }

    /// The claim with those of its deliveries whose records can be read; the others have failed.
    async fn readable(
        &self,
        mut claim: Claim,
        landed: &mut Vec<Finish>,
        now: DateTime<Utc>,
    ) -> Result<Option<Ready>, (Claim, StoreError)> {
        let mut readable = Vec::new();
        let mut failed = Vec::new();
        for delivery in &claim.deliveries {
            match self.look_around([delivery]).await {
                Ok(_) => readable.push(delivery.clone()),
                Err(error) if error.is_away() => return Err((claim, error)),
                Err(error) => {
                    let delivery = fault(delivery.clone(), error.to_string(), now);
                    failed.push(Finish { token: claim.token.clone(), delivery, follow_ups: Vec::new() });
                }
            }
        }
        let situation = match self.look_around(&readable).await {
            Ok(situation) => situation,
            Err(error) => return Err((claim, error)),
        };
        landed.extend(failed);
        claim.deliveries = readable;
        Ok((!claim.deliveries.is_empty()).then(|| (claim, Arc::new(situation))))
    }

    /// The records around the deliveries.
    pub(crate) async fn look_around(
        &self,
        deliveries: impl IntoIterator<Item = &Delivery>,
    ) -> Result<Situation, StoreError> {
        around(&self.store, deliveries).await
    }
}

/// The records around the deliveries.
pub(crate) async fn around(
    store: &Store,
    deliveries: impl IntoIterator<Item = &Delivery>,
) -> Result<Situation, StoreError> {
    let (mut onboardings, mut users) = (HashSet::<OnboardingId>::new(), HashSet::<UserId>::new());
    let mut escalated = HashSet::<OnboardingId>::new();
    for delivery in deliveries {
        onboardings.insert(delivery.onboarding_id);
        escalated.extend((delivery.kind == Kind::Escalation).then_some(delivery.onboarding_id));
        if let Some(Recipient::User(id)) = delivery.recipient {
            users.insert(id);
        }
    }
    let onboardings: Vec<_> = onboardings.into_iter().collect();
    let users: Vec<_> = users.into_iter().collect();
    let mut situation = store.situation(&onboardings, &users).await?;
    if !escalated.is_empty() {
        situation.last_escalations = store.last_escalations(&escalated).await?;
    }
    Ok(situation)
}

/// The delivery, failed through a fault that is not the channel's.
pub(crate) fn fault(mut delivery: Delivery, detail: String, now: DateTime<Utc>) -> Delivery {
    delivery.errors.push(AttemptError { at: now, code: FAULT.into(), detail });
    delivery.status = Status::Failed;
    delivery.reason = Some(FAULT.into());
    delivery
}

/// The claim as it was, for somebody else to take up.
pub(crate) fn give_back(claim: Claim) -> Vec<Finish> {
    let Claim { token, deliveries, .. } = claim;
    let finish =
        |delivery| Finish { token: token.clone(), delivery: unsent(delivery), follow_ups: Vec::new() };
    deliveries.into_iter().map(finish).collect()
}

/// Nothing of it arrived, so that the next attempt may carry what else is due then. A repeat keeps its id.
pub(crate) fn unsent(mut delivery: Delivery) -> Delivery {
    if delivery.ambiguities == 0 {
        delivery.message_id = None;
    }
    delivery
}
