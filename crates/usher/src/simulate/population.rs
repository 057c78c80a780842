//! Onboardings that never were, for those who have none yet: a mix like that of a team at work, the same for the same seed.

use chrono::{DateTime, Days, NaiveTime, TimeDelta, Utc};
use usher_lifecycle::{
    ContactId, CustomerId, Onboarding, OnboardingId, Phase, State, UserId, WorkspaceId,
    customer::{Contact, Customer, CustomerFields, CustomerStatus},
    onboarding::{Hidden, Reminded, Role, Roles},
    person::{QuietHours, Reach, User},
    reminder::{Configured, Rules, local_date, stable_hash},
};

use super::forecast::World;

/// Both channels, as in an installation that is set up.
pub(crate) const BOTH: Configured = Configured { email: true, slack: true };
/// Onboardings that one person looks after.
const EACH: usize = 15;
/// Days between reminders; most are reminded of weekly.
const EVERY: [u16; 10] = [1, 2, 3, 7, 7, 7, 7, 14, 14, 30];

/// So many onboardings under these rules.
pub(crate) fn synthetic(rules: Rules, onboardings: usize, seed: u64, now: DateTime<Utc>) -> World {
    let people = (onboardings / EACH).max(4);
    let workspace = WorkspaceId::new(now, 1);
    let draw = |what: &str, place: usize, end: usize| {
        let hash = stable_hash(&[&seed.to_string(), what, &place.to_string()]);
        usize::try_from(hash % u64::try_from(end.max(1)).unwrap_or(1)).unwrap_or(0)
    };
    let user_id = |place: usize| UserId::new(now, 1 + place as u128);
    let mut world = World::default();
    for place in 0..people {
        let id = user_id(place);
        let quiet = draw("quiet", place, 4) == 0;
        let reach = Reach {
            quiet_hours: quiet
                .then(|| (NaiveTime::from_hms_opt(18, 0, 0), NaiveTime::from_hms_opt(9, 30, 0)))
                .and_then(|(from, to)| Some(QuietHours { from: from?, to: to? })),
            slack_enabled: draw("slack", place, 3) > 0,
            ..Reach::default()
        };
        let user = User {
            id,
            workspace_id: workspace,
            livemode: true,
            display_id: number(place),
            name: format!("Person {}", place + 1),
            email: format!("person{}@example.com", place + 1),
            slack_user_id: Some(format!("U{}", place + 1)),
            reach,
            active: true,
            external_id: None,
            created_at: now,
            updated_at: now,
            version: 1,
            deleted_at: None,
        };
        world.users.insert(id, user);
    }
    for place in 0..onboardings {
        let customer = CustomerId::new(now, 1 + place as u128);
        let made = client(customer, workspace, place, now);
        world.contacts.insert(customer, contact(&made));
        world.customers.insert(customer, made);
        let started_at = now - TimeDelta::hours(i64::try_from(draw("started", place, 2_000)).unwrap_or(0));
        let phases = &Phase::ALL[..Phase::ALL.len() - 1];
        let mut holders = Roles::default();
        for role in Role::ALL {
            holders.set(role, Some(user_id(draw(role.as_str(), place, people))));
        }
        let state = match draw("state", place, 10) {
            0 => State::Paused,
            1 => State::AtRisk,
            2 | 3 => State::Waiting,
            _ => State::Active,
        };
        let snoozed = (draw("snoozed", place, 20) == 0).then(|| now + Days::new(7));
        world.onboardings.push(Onboarding {
            id: OnboardingId::new(now, 1 + place as u128),
            workspace_id: workspace,
            livemode: true,
            display_id: number(place),
            customer_id: customer,
            template_id: None,
            phase: phases[draw("phase", place, phases.len())],
            state,
            started_at,
            completed_at: None,
            target_launch_date: None,
            roles: holders,
            notes: None,
            waiting_since: (state == State::Waiting).then_some(now),
            wizard_completed_at: None,
            reminder_email: true,
            reminder_slack: draw("by slack", place, 2) == 0,
            reminder_frequency_days: EVERY[draw("every", place, EVERY.len())],
            snoozed_until: snoozed,
            external_id: None,
            created_at: started_at,
            updated_at: now,
            version: 1,
            hidden: Hidden {
                cadence_base: local_date(&rules.policy.time_zone, started_at),
                phase_entered_at: started_at,
                idle_since: None,
                idle_seconds: 0,
                target_shifts: 0,
                deleted_at: None,
            },
            reminders: Reminded::default(),
        });
    }
    world.rules.insert(workspace, rules);
    world
}

fn number(place: usize) -> i64 {
    i64::try_from(place + 1).unwrap_or(i64::MAX)
}

fn contact(customer: &Customer) -> Contact {
    let at = customer.created_at;
    Contact {
        id: ContactId::new(at, u128::from(customer.display_id.unsigned_abs())),
        workspace_id: customer.workspace_id,
        livemode: true,
        display_id: customer.display_id,
        customer_id: customer.id,
        name: format!("Contact {}", customer.display_id),
        email: format!("contact{}@example.org", customer.display_id),
        title: None,
        is_primary: true,
        labels: Vec::new(),
        external_id: None,
        email_broken: None,
        created_at: at,
        updated_at: at,
        version: 1,
        deleted_at: None,
    }
}

fn client(id: CustomerId, workspace: WorkspaceId, place: usize, now: DateTime<Utc>) -> Customer {
    Customer {
        id,
        workspace_id: workspace,
        livemode: true,
        display_id: number(place),
        fields: CustomerFields {
            name: format!("Customer {}", place + 1),
            slug: None,
            domain: None,
            status: CustomerStatus::Onboarding,
            plan: None,
            mrr: None,
            monthly_orders: None,
            hubspot_company_id: None,
            hubspot_deal_id: None,
            stripe_customer_id: None,
            intercom_company_id: None,
            slack_channel_id: None,
            external_id: None,
            metadata: serde_json::Map::new(),
        },
        created_at: now,
        updated_at: now,
        version: 1,
        deleted_at: None,
    }
}
