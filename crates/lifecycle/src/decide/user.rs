//! Creating and changing a member of the team.

use alloc::{vec, vec::Vec};

use chrono::{DateTime, Utc};
use serde_json::Map;

use super::{Book, Decision, Record, changed_fields, moment};
use crate::{
    command::{CreateUser, UserPatch},
    event::{Event, EventKind},
    id::{UserId, WorkspaceId},
    person::User,
    refusal::Refusal,
    reminder::Channel,
    wire,
};

pub(super) fn create(
    create: &CreateUser,
    workspace_id: WorkspaceId,
    livemode: bool,
    book: Book<'_>,
    now: DateTime<Utc>,
) -> Decision {
    let user = User {
        id: UserId::new(now, book.references.random),
        workspace_id,
        livemode,
        display_id: book.references.display_id,
        name: create.name.clone(),
        email: create.email.clone(),
        slack_user_id: create.slack_user_id.clone(),
        reach: create.reach.clone(),
        active: create.active,
        external_id: create.external_id.clone(),
        created_at: now,
        updated_at: now,
        version: 1,
        deleted_at: None,
    };
    Decision::plain(Record::User(user), vec![Event::plain(EventKind::UserCreated)])
}

pub(super) fn change(before: User, patch: &UserPatch, now: DateTime<Utc>) -> Result<Decision, Refusal> {
    let mut after = before.clone();
    apply(&mut after, patch)?;
    let object = |it: &User| wire::value(&wire::UserObject::from(it));
    let changed = changed_fields(&object(&before), &object(&after));
    if changed.is_empty() {
        return Ok(Decision::plain(Record::User(before), Vec::new()));
    }
    after.version += 1;
    after.updated_at = moment(before.updated_at, now);
    Ok(Decision::plain(
        Record::User(after),
        vec![Event { kind: EventKind::UserUpdated, previous: Some(changed), extra: Map::new() }],
    ))
}

fn apply(user: &mut User, patch: &UserPatch) -> Result<(), Refusal> {
    if let Some(name) = &patch.name {
        user.name.clone_from(name);
    }
    // A new address or Slack id may work where the old one was refused for good.
    if let Some(email) = &patch.email
        && *email != user.email
    {
        user.email.clone_from(email);
        user.reach.email_broken = None;
    }
    if let Some(slack) = &patch.slack_user_id
        && *slack != user.slack_user_id
    {
        user.slack_user_id.clone_from(slack);
        user.reach.slack_broken = None;
    }
    if let Some(zone) = &patch.time_zone {
        user.reach.time_zone.clone_from(zone);
    }
    if let Some(quiet) = patch.quiet_hours {
        user.reach.quiet_hours = quiet.map(|quiet| quiet.merged(user.reach.quiet_hours)).transpose()?;
    }
    if let Some(days) = &patch.days_off {
        user.reach.days_off.clone_from(days);
    }
    if let Some(mute) = patch.mute_until {
        user.reach.mute_until = mute;
    }
    if let Some(on) = patch.email_enabled {
        user.reach.email_enabled = on;
    }
    if let Some(on) = patch.slack_enabled {
        user.reach.slack_enabled = on;
    }
    if let Some(active) = patch.active {
        user.active = active;
    }
    match &patch.broken {
        Some((Channel::Email, why)) => user.reach.email_broken.clone_from(why),
        Some((Channel::Slack, why)) => user.reach.slack_broken.clone_from(why),
        None => {}
    }
    if let Some(external_id) = &patch.external_id {
        user.external_id.clone_from(external_id);
    }
    Ok(())
}
