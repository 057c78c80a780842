//! Templates: written by these functions, read when an onboarding is created.

use alloc::{format, vec, vec::Vec};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Map;

use super::{Book, Decision, Record, changed_fields, moment};
use crate::{
    command::{CreateTemplate, TemplatePatch},
    event::{Event, EventKind},
    id::{TemplateId, WorkspaceId},
    refusal::{Code, Refusal},
    template::{Defaults, Template},
    wire,
};

pub(super) fn create(
    create: &CreateTemplate,
    workspace_id: WorkspaceId,
    livemode: bool,
    book: Book<'_>,
    now: DateTime<Utc>,
) -> Result<Decision, Refusal> {
    let mut template = Template {
        id: TemplateId::new(now, book.references.random),
        workspace_id,
        livemode,
        display_id: book.references.display_id,
        name: create.name.clone(),
        defaults: Defaults::default(),
        created_at: now,
        updated_at: now,
        version: 1,
        deleted_at: None,
    };
    apply(&mut template, &create.defaults, book)?;
    Ok(Decision::plain(Record::Template(template), vec![Event::plain(EventKind::TemplateCreated)]))
}

pub(super) fn change(
    before: Template,
    patch: &TemplatePatch,
    book: Book<'_>,
    now: DateTime<Utc>,
) -> Result<Decision, Refusal> {
    let mut after = before.clone();
    apply(&mut after, patch, book)?;
    let object = |it: &Template| wire::value(&wire::TemplateObject::from(it));
    let changed = changed_fields(&object(&before), &object(&after));
    if changed.is_empty() {
        return Ok(Decision::plain(Record::Template(before), Vec::new()));
    }
    after.version += 1;
    after.updated_at = moment(before.updated_at, now);
    let event = Event { kind: EventKind::TemplateUpdated, previous: Some(changed), extra: Map::new() };
    Ok(Decision::plain(Record::Template(after), vec![event]))
}

pub(super) fn remove(mut it: Template, now: DateTime<Utc>) -> Decision {
    let mut events = Vec::new();
    if it.deleted_at.is_none() {
        it.updated_at = moment(it.updated_at, now);
        it.deleted_at = Some(it.updated_at);
        it.version += 1;
        events.push(Event::plain(EventKind::TemplateDeleted));
    }
    Decision::plain(Record::Template(it), events)
}

fn apply(template: &mut Template, patch: &TemplatePatch, book: Book<'_>) -> Result<(), Refusal> {
    if let Some(name) = &patch.name {
        template.name.clone_from(name);
    }
    let defaults = &mut template.defaults;
    if let Some(on) = patch.reminder_email {
        defaults.reminder_email = on;
    }
    if let Some(on) = patch.reminder_slack {
        defaults.reminder_slack = on;
    }
    if let Some(days) = patch.reminder_frequency_days {
        defaults.reminder_frequency_days = days;
    }
    if let Some(days) = patch.target_days {
        defaults.target_days = days;
    }
    for role in &patch.order {
        let named = patch.roles.get(role).and_then(Option::as_ref);
        named.map(|named| book.references.user(*role, named)).transpose().map(drop)?;
    }
    for (role, named) in &patch.roles {
        match named {
            Some(named) => drop(defaults.roles.insert(*role, book.references.user(*role, named)?)),
            None => drop(defaults.roles.remove(role)),
        }
    }
    for (phase, days) in &patch.phase_target_days {
        match days {
            Some(days) => drop(defaults.phase_target_days.insert(*phase, *days)),
            None => drop(defaults.phase_target_days.remove(phase)),
        }
    }
    Ok(())
}

impl Defaults {
    /// The target of an onboarding that began then.
    pub(super) fn target(&self, started_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        started_at.checked_add_signed(TimeDelta::days(self.target_days?.into()))
    }
}

pub(super) fn unknown(named: &str) -> Refusal {
    Refusal::field(
        Code::UnknownTemplate,
        "template_id",
        format!("template_id names no template: {}", crate::limits::excerpt(named)),
    )
}
