//! Creating an onboarding: in any phase and any state, one event.

use alloc::{format, vec, vec::Vec};

use chrono::{DateTime, Utc};

use super::{Book, Decision, Record, template};
use crate::{
    command::{CreateOnboarding, Reference},
    event::{Event, EventKind},
    id::WorkspaceId,
    onboarding::{Hidden, Onboarding, Reminded, Roles},
    phase::Phase,
    refusal::{Code, Refusal},
    reminder::{calendar, schedule},
    state::State,
};

pub(super) fn onboarding(
    create: &CreateOnboarding,
    workspace_id: WorkspaceId,
    livemode: bool,
    book: Book<'_>,
    now: DateTime<Utc>,
) -> Result<Decision, Refusal> {
    let found_customer = || {
        book.references.customer.ok_or_else(|| Refusal {
            field: Some("customer_id".into()),
            ..Refusal::not_found(Code::CustomerNotFound, "customer", &create.customer)
        })
    };
    let found_template = || match &create.template {
        None => Ok(None),
        Some(named) => book.references.template.as_ref().map(Some).ok_or_else(|| template::unknown(named)),
    };
    for reference in &create.order {
        match reference {
            Reference::Customer => found_customer().map(drop)?,
            Reference::Template => found_template().map(drop)?,
            Reference::Role(role) => {
                create
                    .roles
                    .get(role)
                    .map(|named| book.references.user(*role, named))
                    .transpose()
                    .map(drop)?;
            }
        }
    }
    let (customer_id, customer) = found_customer()?;
    let template = found_template()?;
    let usual = template.map(|it| &it.defaults);
    let mut roles = Roles::default();
    for (role, user) in usual.iter().flat_map(|it| &it.roles) {
        // Whoever was deleted since is not there any more.
        if book.references.users.values().any(|it| it == user) {
            roles.set(*role, Some(*user));
        }
    }
    for (role, named) in &create.roles {
        roles.set(*role, Some(book.references.user(*role, named)?));
    }
    let started_at = create.started_at.unwrap_or(now);
    not_in_future(started_at, now)?;
    let phase = create.phase.unwrap_or(Phase::BeforeGettingStarted);
    let state = create.state.unwrap_or(State::Active);
    let mut onboarding = Onboarding {
        id: book.references.onboarding_id(now),
        workspace_id,
        livemode,
        display_id: book.references.display_id,
        customer_id,
        template_id: template.map(|it| it.id),
        phase,
        state,
        started_at,
        completed_at: phase.is_terminal().then_some(now),
        target_launch_date: create.target_launch_date.or_else(|| usual?.target(started_at)),
        roles,
        notes: create.notes.clone(),
        waiting_since: (state == State::Waiting).then_some(now),
        wizard_completed_at: None,
        reminder_email: create.reminder_email.or_else(|| usual?.reminder_email).unwrap_or(true),
        reminder_slack: create.reminder_slack.or_else(|| usual?.reminder_slack).unwrap_or(true),
        reminder_frequency_days: create
            .reminder_frequency_days
            .or_else(|| usual?.reminder_frequency_days)
            .unwrap_or(1),
        snoozed_until: None,
        external_id: create.external_id.clone(),
        created_at: now,
        updated_at: now,
        version: 1,
        hidden: Hidden {
            cadence_base: calendar::local_date(&book.rules.policy.time_zone, started_at),
            phase_entered_at: now,
            idle_since: state.is_idle().then_some(now),
            idle_seconds: 0,
            target_shifts: 0,
            deleted_at: None,
        },
        reminders: Reminded::default(),
    };
    let schedule = schedule::reschedule(book.rules, &mut onboarding, Some(customer), now);
    Ok(Decision {
        record: Record::Onboarding(onboarding),
        events: vec![Event::plain(EventKind::OnboardingCreated)],
        schedule,
        remind: None,
        also: Vec::new(),
    })
}

pub(super) fn not_in_future(started_at: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), Refusal> {
    if started_at <= now {
        return Ok(());
    }
    Err(Refusal::field(
        Code::TooBig,
        "started_at",
        format!("started_at is {started_at:?}, which is in the future; now is {now:?}"),
    ))
}
