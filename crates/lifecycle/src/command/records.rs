//! What callers may ask about the other records.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use chrono::{DateTime, NaiveDate, NaiveTime, Utc, Weekday};

use super::CreateOnboarding;
use crate::{
    customer::{CustomerFields, CustomerStatus},
    onboarding::Role,
    person::{DaysOff, QuietHours, Reach},
    phase::Phase,
    refusal::{Code, Refusal},
    reminder::{Ambiguous, CatchUp, Channel, EscalationStep, RequireReason, Rules, Zone, policy::PhaseOwner},
};

/// The body of "create a customer".
#[derive(Debug, Clone, PartialEq)]
pub struct CreateCustomer {
    /// All fields.
    pub fields: CustomerFields,
}

/// A merge patch of a customer: the fields as they are to be, none = not given.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CustomerPatch {
    /// Their name.
    pub name: Option<String>,
    /// Where the relation stands.
    pub status: Option<CustomerStatus>,
    /// Nullable texts by field name: slug, domain, plan, the foreign ids, `external_id`.
    pub texts: BTreeMap<&'static str, Option<String>>,
    /// Monthly recurring revenue.
    pub mrr: Option<Option<f64>>,
    /// Orders a month.
    pub monthly_orders: Option<Option<i64>>,
    /// Merged into what stands there, at every level ([`crate::json::merge`]).
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

impl CustomerPatch {
    /// The fields of a new customer: what is not given has its default.
    ///
    /// # Errors
    /// `missing_field` for `name`.
    pub fn into_new(mut self) -> Result<CustomerFields, Refusal> {
        let mut text = |name| self.texts.remove(name).flatten();
        // As in a patch, a null is a key that is not there.
        let mut metadata = serde_json::Map::new();
        crate::json::merge(&mut metadata, &self.metadata.unwrap_or_default());
        Ok(CustomerFields {
            slug: text("slug"),
            domain: text("domain"),
            plan: text("plan"),
            hubspot_company_id: text("hubspot_company_id"),
            hubspot_deal_id: text("hubspot_deal_id"),
            stripe_customer_id: text("stripe_customer_id"),
            intercom_company_id: text("intercom_company_id"),
            slack_channel_id: text("slack_channel_id"),
            external_id: text("external_id"),
            name: self.name.ok_or_else(|| missing("name"))?,
            status: self.status.unwrap_or(CustomerStatus::Onboarding),
            mrr: self.mrr.flatten(),
            monthly_orders: self.monthly_orders.flatten(),
            metadata,
        })
    }
}

fn missing(name: &str) -> Refusal {
    Refusal::field(Code::MissingField, name, alloc::format!("{name} is missing"))
}

/// The body of "create a contact".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CreateContact {
    /// Whose contact: as [`CreateOnboarding::customer`](super::CreateOnboarding).
    pub customer: String,
    /// Their name.
    pub name: String,
    /// Their address, lower-cased.
    pub email: String,
    /// Their title.
    pub title: Option<String>,
    /// Whether they are the one who is written to; the first contact is, whatever stands here.
    pub is_primary: Option<bool>,
    /// Free labels.
    pub labels: Vec<String>,
    /// The caller's own key.
    pub external_id: Option<String>,
}

/// A merge patch of a contact.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContactPatch {
    /// Their name.
    pub name: Option<String>,
    /// Their address, lower-cased.
    pub email: Option<String>,
    /// Their title.
    pub title: Option<Option<String>>,
    /// True takes the place of the primary contact; false hands it to the oldest other one, if there is one.
    pub is_primary: Option<bool>,
    /// Free labels.
    pub labels: Option<Vec<String>>,
    /// The caller's own key.
    pub external_id: Option<Option<String>>,
    /// What their mail server answered when it refused the address for good; `Some(None)` = it works again.
    pub email_broken: Option<Option<String>>,
}

impl ContactPatch {
    /// A new contact of the customer: what is not given has its default.
    ///
    /// # Errors
    /// `missing_field` for `name` and `email`.
    pub fn into_new(self, customer: String) -> Result<CreateContact, Refusal> {
        Ok(CreateContact {
            customer,
            name: self.name.ok_or_else(|| missing("name"))?,
            email: self.email.ok_or_else(|| missing("email"))?,
            title: self.title.flatten(),
            is_primary: self.is_primary,
            labels: self.labels.unwrap_or_default(),
            external_id: self.external_id.flatten(),
        })
    }
}

/// A customer with contacts and an onboarding, as one message brings them: several decisions in one transaction, all of
/// them or none.
#[derive(Debug, Clone, PartialEq)]
pub struct Composite {
    /// Whose contacts and onboarding.
    pub customer: CustomerPart,
    /// Contacts of that customer, each changed when its `external_id`, else its `email`, is known there, else created.
    pub contacts: Vec<ContactPatch>,
    /// The onboarding to create; its `customer` is not looked at.
    pub onboarding: Option<CreateOnboarding>,
}

impl Composite {
    /// Whether it is one contact of a customer that has to be there, and nothing else.
    pub fn is_one_contact(&self) -> bool {
        matches!(self.customer, CustomerPart::Named(_))
            && self.contacts.len() == 1
            && self.onboarding.is_none()
    }
}

/// The customer of a [`Composite`].
#[derive(Debug, Clone, PartialEq)]
pub enum CustomerPart {
    /// One that has to be there: as [`CreateOnboarding::customer`](super::CreateOnboarding).
    Named(String),
    /// Changed when found by `external_id`, else by `slug`, else by `domain`; else created.
    Upsert(CustomerPatch),
}

/// The body of "create a template".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CreateTemplate {
    /// Its name.
    pub name: String,
    /// What it gives to new onboardings.
    pub defaults: TemplatePatch,
}

impl TemplatePatch {
    /// A new template: what is not given it says nothing about.
    ///
    /// # Errors
    /// `missing_field` for `name`.
    pub fn into_new(self) -> Result<CreateTemplate, Refusal> {
        Ok(CreateTemplate { name: self.name.clone().ok_or_else(|| missing("name"))?, defaults: self })
    }
}

/// A merge patch of a template; `Some(None)` = the template says nothing about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TemplatePatch {
    /// Its name.
    pub name: Option<String>,
    /// Reminders by email.
    pub reminder_email: Option<Option<bool>>,
    /// Reminders by Slack.
    pub reminder_slack: Option<Option<bool>>,
    /// The rhythm in days.
    pub reminder_frequency_days: Option<Option<u16>>,
    /// Who gets which role: a user's id, `display_id` or address.
    pub roles: BTreeMap<Role, Option<String>>,
    /// Days from the start to the target.
    pub target_days: Option<Option<u16>>,
    /// Days that a phase is to take.
    pub phase_target_days: BTreeMap<Phase, Option<u16>>,
    /// The roles as the caller wrote them: the first that names nobody is told.
    pub order: Vec<Role>,
}

/// A merge patch of a workspace.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WorkspacePatch {
    /// Its name.
    pub name: Option<String>,
    /// When reminders are due.
    pub policy: PolicyPatch,
    /// Who owns a phase beside the CSM; none = the default owner.
    pub phase_owners: BTreeMap<Phase, Option<Role>>,
    /// What happens when reminders go unheeded; replaced as a whole.
    pub escalation: Option<Vec<EscalationStep>>,
    /// Whether a change of phase or state needs a reason.
    pub require_reason: Option<RequireReason>,
    /// Whether the customer's primary contact is written to.
    pub nudge_customer: Option<bool>,
    /// Where reminders go that have no other recipient, by email.
    pub ops_email: Option<Option<String>>,
    /// The same by Slack.
    pub ops_slack_channel: Option<Option<String>>,
    /// What to do with a message of which nobody knows whether it arrived.
    pub ambiguous: Option<Ambiguous>,
}

impl WorkspacePatch {
    /// Puts what is given in the place of what stands; the policy aside, whose members must fit together.
    pub fn merge(&self, rules: &mut Rules) {
        for (phase, role) in &self.phase_owners {
            rules.phase_owners.retain(|own| own.phase != *phase);
            rules.phase_owners.extend(role.map(|role| PhaseOwner { phase: *phase, role }));
        }
        if let Some(steps) = &self.escalation {
            rules.escalation.clone_from(steps);
        }
        if let Some(rule) = self.require_reason {
            rules.require_reason = rule;
        }
        if let Some(on) = self.nudge_customer {
            rules.nudge_customer = on;
        }
        if let Some(email) = &self.ops_email {
            rules.ops_email.clone_from(email);
        }
        if let Some(channel) = &self.ops_slack_channel {
            rules.ops_slack_channel.clone_from(channel);
        }
        if let Some(ambiguous) = self.ambiguous {
            rules.ambiguous = ambiguous;
        }
    }
}

/// The fields of [`Policy`](crate::reminder::Policy), none = not given.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "they are described at the policy")]
pub struct PolicyPatch {
    pub time_zone: Option<Zone>,
    pub time_of_day: Option<NaiveTime>,
    pub send_until: Option<NaiveTime>,
    pub working_days: Option<Vec<Weekday>>,
    pub holidays: Option<BTreeSet<NaiveDate>>,
    pub catch_up: Option<CatchUp>,
    pub spread_minutes: Option<u16>,
}

/// The body of "create a user".
#[derive(Debug, Clone, PartialEq)]
pub struct CreateUser {
    /// Their name.
    pub name: String,
    /// Their address, lower-cased.
    pub email: String,
    /// Their Slack member id.
    pub slack_user_id: Option<String>,
    /// When and how they may be reached.
    pub reach: Reach,
    /// Whether they are with us; one who is not stays on record and gets nothing.
    pub active: bool,
    /// The caller's own key.
    pub external_id: Option<String>,
}

/// A merge patch of quiet hours: the end that is not given stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuietHoursPatch {
    /// First quiet minute.
    pub from: Option<NaiveTime>,
    /// First minute that is quiet no more.
    pub to: Option<NaiveTime>,
}

impl From<QuietHours> for QuietHoursPatch {
    fn from(whole: QuietHours) -> Self {
        Self { from: Some(whole.from), to: Some(whole.to) }
    }
}

impl QuietHoursPatch {
    /// The quiet hours as they are to be, with those that stand there.
    ///
    /// # Errors
    /// `missing_field` for an end that is neither given nor there.
    pub fn merged(self, before: Option<QuietHours>) -> Result<QuietHours, Refusal> {
        let from = self.from.or(before.map(|it| it.from)).ok_or_else(|| missing("quiet_hours.from"))?;
        let to = self.to.or(before.map(|it| it.to)).ok_or_else(|| missing("quiet_hours.to"))?;
        Ok(QuietHours { from, to })
    }
}

/// A merge patch of a user.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UserPatch {
    /// Their name.
    pub name: Option<String>,
    /// Their address, lower-cased.
    pub email: Option<String>,
    /// Their Slack member id.
    pub slack_user_id: Option<Option<String>>,
    /// Their zone.
    pub time_zone: Option<Option<String>>,
    /// Quiet hours.
    pub quiet_hours: Option<Option<QuietHoursPatch>>,
    /// Days off.
    pub days_off: Option<DaysOff>,
    /// Muted until.
    pub mute_until: Option<Option<DateTime<Utc>>>,
    /// Whether email may be used.
    pub email_enabled: Option<bool>,
    /// Whether Slack may be used.
    pub slack_enabled: Option<bool>,
    /// Whether they are still with us.
    pub active: Option<bool>,
    /// A channel that refused them for good, and why; `None` = it works again.
    pub broken: Option<(Channel, Option<String>)>,
    /// The caller's own key.
    pub external_id: Option<Option<String>>,
}
