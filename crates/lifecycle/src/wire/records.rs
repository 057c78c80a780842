//! Contacts, templates and the workspace as callers see them.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    customer::Contact,
    onboarding::Role,
    phase::Phase,
    reminder::{Ambiguous, EscalationStep, Policy, RequireReason},
    template::Template,
    workspace::Workspace,
};

/// A contact as callers see them.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(as = Contact))]
#[expect(missing_docs, reason = "the fields are described at the aggregate and in docs/api.md")]
pub struct ContactObject {
    pub object: &'static str,
    pub id: String,
    pub display_id: i64,
    pub customer_id: String,
    pub name: String,
    pub email: String,
    #[cfg_attr(feature = "schema", schema(required))]
    pub title: Option<String>,
    pub is_primary: bool,
    pub labels: Vec<String>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub email_broken: Option<String>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub external_id: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub livemode: bool,
    pub version: i64,
}

impl From<&Contact> for ContactObject {
    fn from(it: &Contact) -> Self {
        Self {
            object: "contact",
            id: it.id.into(),
            display_id: it.display_id,
            customer_id: it.customer_id.into(),
            name: it.name.clone(),
            email: it.email.clone(),
            title: it.title.clone(),
            is_primary: it.is_primary,
            labels: it.labels.clone(),
            email_broken: it.email_broken.clone(),
            external_id: it.external_id.clone(),
            created_at: it.created_at,
            updated_at: it.updated_at,
            livemode: it.livemode,
            version: it.version,
        }
    }
}

/// A template as callers see it; null = it says nothing about the field.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(as = Template))]
#[expect(missing_docs, reason = "the fields are described at the aggregate and in docs/api.md")]
pub struct TemplateObject {
    pub object: &'static str,
    pub id: String,
    pub display_id: i64,
    pub name: String,
    #[cfg_attr(feature = "schema", schema(required))]
    pub reminder_email: Option<bool>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub reminder_slack: Option<bool>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub reminder_frequency_days: Option<u16>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub csm_id: Option<String>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub se_id: Option<String>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub designer_id: Option<String>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub product_ops_id: Option<String>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub target_days: Option<u16>,
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub phase_target_days: BTreeMap<Phase, u16>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub livemode: bool,
    pub version: i64,
}

impl From<&Template> for TemplateObject {
    fn from(it: &Template) -> Self {
        let given = &it.defaults;
        let role = |role| given.roles.get(&role).map(|user| (*user).into());
        Self {
            object: "template",
            id: it.id.into(),
            display_id: it.display_id,
            name: it.name.clone(),
            reminder_email: given.reminder_email,
            reminder_slack: given.reminder_slack,
            reminder_frequency_days: given.reminder_frequency_days,
            csm_id: role(Role::Csm),
            se_id: role(Role::Se),
            designer_id: role(Role::Designer),
            product_ops_id: role(Role::ProductOps),
            target_days: given.target_days,
            phase_target_days: given.phase_target_days.clone(),
            created_at: it.created_at,
            updated_at: it.updated_at,
            livemode: it.livemode,
            version: it.version,
        }
    }
}

/// The workspace as callers see it; `phase_owners` names the owner of every phase.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(as = Workspace))]
#[expect(missing_docs, reason = "the fields are described at the rules and in docs/api.md")]
pub struct WorkspaceObject {
    pub object: &'static str,
    pub id: String,
    pub slug: String,
    pub name: String,
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub policy: Policy,
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub phase_owners: BTreeMap<Phase, Role>,
    #[cfg_attr(feature = "schema", schema(value_type = Vec<Object>))]
    pub escalation: Vec<Value>,
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub require_reason: RequireReason,
    pub nudge_customer: bool,
    #[cfg_attr(feature = "schema", schema(required))]
    pub ops_email: Option<String>,
    #[cfg_attr(feature = "schema", schema(required))]
    pub ops_slack_channel: Option<String>,
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub ambiguous: Ambiguous,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub version: i64,
}

impl From<&Workspace> for WorkspaceObject {
    fn from(it: &Workspace) -> Self {
        let rules = &it.rules;
        Self {
            object: "workspace",
            id: it.id.into(),
            slug: it.slug.clone(),
            name: it.name.clone(),
            policy: rules.policy.clone(),
            phase_owners: Phase::ALL.into_iter().map(|phase| (phase, rules.owner(phase))).collect(),
            escalation: rules.escalation.iter().copied().map(step).collect(),
            require_reason: rules.require_reason,
            nudge_customer: rules.nudge_customer,
            ops_email: rules.ops_email.clone(),
            ops_slack_channel: rules.ops_slack_channel.clone(),
            ambiguous: rules.ambiguous,
            created_at: it.created_at,
            updated_at: it.updated_at,
            version: it.version,
        }
    }
}

fn step(it: EscalationStep) -> Value {
    json!({"after_reminders": it.after_reminders, "to": it.to, "set_state": it.set_state})
}
