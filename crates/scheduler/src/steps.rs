//! The steps of escalation that a delivery stands for, as its detail names them.
//!
//! Law: a delivery names every step that it was planned for. Steps that are due together and go to one recipient are one
//! delivery, since the ledger has one of a kind per slot and recipient: the mildest is told in the detail itself, the others
//! under `also`.

use serde::Deserialize as _;
use serde_json::{Value, json};
use usher_lifecycle::reminder::{EscalationStep, Kind, TakenStep};
use usher_store::Delivery;

/// The detail of a delivery that is planned for a step, when so many reminders went unheeded.
pub(crate) fn detail(step: EscalationStep, unheeded: impl Into<Value>) -> Value {
    json!({
        "after_reminders": step.after_reminders,
        "unheeded": unheeded.into(),
        "to": step.to,
        "set_state": step.set_state,
    })
}

/// Adds a delivery of the same slot; where its recipient has one already, that one stands for its step, too.
pub(crate) fn add(all: &mut Vec<Delivery>, row: Delivery) {
    let same = |it: &&mut Delivery| (it.channel, &it.recipient) == (row.channel, &row.recipient);
    let Some(known) = all.iter_mut().find(same) else { return all.push(row) };
    let (told, steps) = (taken(known).unwrap_or_default(), taken(&row).unwrap_or_default());
    if steps.iter().all(|step| told.contains(step)) {
        return;
    }
    if let Some(more) = &row.detail {
        known.stand_for(more);
    }
}

/// The steps that an escalation was planned for; none of one whose detail does not say.
pub(crate) fn taken(delivery: &Delivery) -> Option<Vec<TakenStep>> {
    let detail = delivery.detail.as_ref().filter(|_| delivery.kind == Kind::Escalation)?;
    let first = TakenStep::deserialize(detail).ok()?;
    let mut steps = Vec::<TakenStep>::deserialize(&detail["also"]).unwrap_or_default();
    steps.insert(0, first);
    Some(steps)
}
