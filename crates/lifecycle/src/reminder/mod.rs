//! Reminders: when they are due, on which days, to whom they go, and whether a planned one is still wanted.

pub mod audience;
pub mod cadence;
pub mod calendar;
pub mod escalation;
pub mod foresight;
pub mod outlook;
pub mod plan;
pub mod policy;
pub mod quiet;
pub mod reason;
pub mod recheck;
pub mod recipient;
pub mod schedule;
#[cfg(test)]
mod tests;

pub use audience::{Configured, Target, Why, audience, responsible};
pub use cadence::{
    Silence, Slot, last_slot, next_reminder, next_slot, rebase, redate, slots, snooze_until, wanted,
};
pub use calendar::{
    exists, instant, is_working_day, local, local_date, roll_back, roll_forward, sendable_at, start_of_day,
    whole_days_between,
};
pub use escalation::{Escalation, Taken, TakenStep, Told, escalate, is_sign_of_life, steps_due, steps_now};
pub use foresight::{Foreseen, Foresight, Row, foresee};
pub use outlook::{Escalates, Outlook, Prospect, outlook};
pub use plan::{DueNow, GRACE, Gap, Step, gap, spread, stable_hash, step};
pub use policy::{
    Ambiguous, CatchUp, EscalateTo, EscalationStep, Policy, RequireReason, Rules, UnknownZone, Zone, zone,
};
pub use quiet::free_from;
pub use reason::{Kind, Reason};
pub use recheck::{Context, Planned, Verdict, recheck};
pub use recipient::{Channel, Recipient};
pub use schedule::{Schedule, redated, reschedule};
