//! Creating and changing a customer.

use alloc::{string::String, vec, vec::Vec};

use chrono::{DateTime, Utc};
use serde_json::Map;

use super::{Book, Decision, Record, changed_fields, moment};
use crate::{
    command::{CreateCustomer, CustomerPatch},
    customer::{Customer, CustomerFields},
    event::{Event, EventKind},
    id::{CustomerId, WorkspaceId},
    json, limits,
    refusal::Refusal,
    wire,
};

pub(super) fn create(
    create: &CreateCustomer,
    workspace_id: WorkspaceId,
    livemode: bool,
    book: Book<'_>,
    now: DateTime<Utc>,
) -> Decision {
    let customer = Customer {
        id: CustomerId::new(now, book.references.random),
        workspace_id,
        livemode,
        display_id: book.references.display_id,
        fields: create.fields.clone(),
        created_at: now,
        updated_at: now,
        version: 1,
        deleted_at: None,
    };
    Decision::plain(Record::Customer(customer), vec![Event::plain(EventKind::CustomerCreated)])
}

pub(super) fn change(
    before: Customer,
    patch: &CustomerPatch,
    now: DateTime<Utc>,
) -> Result<Decision, Refusal> {
    let mut after = before.clone();
    apply(&mut after.fields, patch);
    let object = |it: &Customer| wire::value(&wire::CustomerObject::from(it));
    let changed = changed_fields(&object(&before), &object(&after));
    if changed.is_empty() {
        return Ok(Decision::plain(Record::Customer(before), Vec::new()));
    }
    if after.fields.metadata != before.fields.metadata {
        limits::metadata(&after.fields.metadata)?;
    }
    after.version += 1;
    after.updated_at = moment(before.updated_at, now);
    Ok(Decision::plain(
        Record::Customer(after),
        vec![Event { kind: EventKind::CustomerUpdated, previous: Some(changed), extra: Map::new() }],
    ))
}

/// The nullable text field of that name.
pub(crate) fn text_field<'a>(fields: &'a mut CustomerFields, name: &str) -> Option<&'a mut Option<String>> {
    match name {
        "slug" => Some(&mut fields.slug),
        "domain" => Some(&mut fields.domain),
        "plan" => Some(&mut fields.plan),
        "hubspot_company_id" => Some(&mut fields.hubspot_company_id),
        "hubspot_deal_id" => Some(&mut fields.hubspot_deal_id),
        "stripe_customer_id" => Some(&mut fields.stripe_customer_id),
        "intercom_company_id" => Some(&mut fields.intercom_company_id),
        "slack_channel_id" => Some(&mut fields.slack_channel_id),
        "external_id" => Some(&mut fields.external_id),
        _ => None,
    }
}

fn apply(fields: &mut CustomerFields, patch: &CustomerPatch) {
    if let Some(name) = &patch.name {
        fields.name.clone_from(name);
    }
    if let Some(status) = patch.status {
        fields.status = status;
    }
    for (name, value) in &patch.texts {
        if let Some(field) = text_field(fields, name) {
            field.clone_from(value);
        }
    }
    if let Some(mrr) = patch.mrr {
        fields.mrr = mrr;
    }
    if let Some(orders) = patch.monthly_orders {
        fields.monthly_orders = orders;
    }
    if let Some(metadata) = &patch.metadata {
        json::merge(&mut fields.metadata, metadata);
    }
}
