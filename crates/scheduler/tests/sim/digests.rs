//! Whole digests: what is due together for a person travels in one message, whoever planned it and whenever.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use usher_lifecycle::reminder::{Channel, Kind};
use usher_store::{Delivery, Status};

use crate::check::One;
use crate::rules::{GRACE, SKEW};

/// Workspace, channel, recipient, due time.
type Key = (usize, Channel, String, DateTime<Utc>);

/// The message that carried the first of them, by the slot's onboarding.
pub(crate) type Digests = HashMap<Key, (String, String)>;

impl One<'_> {
    pub(crate) fn digests(&self, digests: &mut Digests, faults: &mut Vec<String>) {
        let it = &self.world.onboardings[self.place];
        for row in self.rows.iter().filter(|row| self.went_its_way(row)) {
            let (Some(channel), Some(recipient), Some(message)) =
                (row.channel, &row.recipient, &row.message_id)
            else {
                continue;
            };
            let key = (it.tenant, channel, recipient.to_string(), row.due_at);
            let ours = (message.clone(), it.id.clone());
            let known = digests.entry(key).or_insert_with(|| ours.clone());
            if known.0 != ours.0 {
                faults.push(format!(
                    "slot {} to {recipient} by {channel} travelled in {}, and that of {} in {}",
                    row.slot, ours.0, known.1, known.0
                ));
            }
        }
    }

    /// Due, planned and sent, and nothing happened that could part it from the others.
    fn went_its_way(&self, row: &Delivery) -> bool {
        let plain = row.kind == Kind::Cadence
            && row.status == Status::Sent
            && (row.attempts, row.ambiguities) == (1, 0)
            && row.errors.is_empty()
            && !row.why.ends_with("_broken");
        // Others of the slot that were skipped, refused or repeated may have had successors.
        let moved = || self.rows.iter().any(|it| it.slot == row.slot && it.status != Status::Sent);
        let planned_at = self.world.true_time(row.planned_at);
        let changed = || self.world.changes(self.place, row.due_at - SKEW * 2, planned_at).next().is_some();
        // Where messages are spread, what is late is spread from when it was planned.
        let spread = self.world.office(self.place).at(planned_at).spread > TimeDelta::zero();
        let late = spread && row.planned_at - row.due_at > GRACE;
        plain && !late && !moved() && !self.world.is_murky(row.due_at) && !changed()
    }
}
