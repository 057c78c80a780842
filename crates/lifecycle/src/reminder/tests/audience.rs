//! To whom: roles, stand-ins, switches, broken channels, the customer.

use proptest::prelude::*;

use super::{at, date, onboarding, user, user_id};
use crate::{
    Onboarding, Phase, State,
    customer::{Contact, CustomerStatus},
    id::{ContactId, CustomerId, WorkspaceId},
    onboarding::Roles,
    person::User,
    reminder::{
        Channel::{self, Email, Slack},
        Configured, Context, EscalateTo, Reason, Recipient, Rules, Target, Why, audience,
        audience::{customer, escalation, nudge},
    },
};

pub(super) const BOTH: Configured = Configured { email: true, slack: true };

/// Of a customer who is active, in an installation with both channels.
pub(super) fn context<'a>(rules: &'a Rules, onboarding: &'a Onboarding, people: &'a [User]) -> Context<'a> {
    Context {
        rules,
        onboarding,
        customer_status: CustomerStatus::Active,
        customer_deleted: false,
        people,
        primary_contact: None,
        configured: BOTH,
    }
}

/// In `program_buildout`, which the SE owns: 1 is CSM, 2 SE, 3 designer, 4 product ops.
pub(super) fn staffed() -> (Onboarding, Vec<User>) {
    let [csm, se, designer, product_ops] = [1, 2, 3, 4].map(|number| Some(user_id(number)));
    let it = Onboarding { roles: Roles { csm, se, designer, product_ops }, ..onboarding("2026-11-20") };
    (it, [1, 2, 3, 4].map(user).to_vec())
}

pub(super) fn ops() -> Rules {
    let (ops_email, ops_slack_channel) = (Some("ops@example.com".to_string()), Some("C-OPS".to_string()));
    Rules { ops_email, ops_slack_channel, ..Rules::default() }
}

/// Channel, recipient and why, in short: a user by their number.
fn told(found: Result<Vec<Target>, Reason>) -> Result<Vec<(Channel, String, &'static str)>, Reason> {
    let name = |recipient: &Recipient| {
        let number = (1..10).find(|number| *recipient == Recipient::User(user_id(*number)));
        number.map_or_else(|| recipient.to_string(), |number| number.to_string())
    };
    let short = |target: &Target| (target.channel, name(&target.recipient), target.why.as_str());
    found.map(|targets| targets.iter().map(short).collect())
}

fn to(it: &Onboarding, people: &[User]) -> Result<Vec<(Channel, String, &'static str)>, Reason> {
    told(audience(&ops(), it, people, BOTH, None))
}

fn by_email(number: u8, why: &'static str) -> (Channel, String, &'static str) {
    (Email, number.to_string(), why)
}

fn by_slack(number: u8, why: &'static str) -> (Channel, String, &'static str) {
    (Slack, number.to_string(), why)
}

fn fallback() -> Vec<(Channel, String, &'static str)> {
    vec![
        (Email, "email:ops@example.com".to_string(), "fallback"),
        (Slack, "slack:C-OPS".to_string(), "fallback"),
    ]
}

#[test]
fn the_csm_and_the_owner_of_the_phase_by_both_channels() {
    let (mut it, people) = staffed();
    let wanted =
        vec![by_email(1, "csm"), by_slack(1, "csm"), by_email(2, "phase_owner"), by_slack(2, "phase_owner")];
    assert_eq!(to(&it, &people), Ok(wanted));
    for (phase, owner) in [(Phase::ProgramDesign, 3), (Phase::InternalQa, 4)] {
        it.phase = phase;
        assert_eq!(to(&it, &people).map(|all| all[2].clone()), Ok(by_email(owner, "phase_owner")));
    }
    it.phase = Phase::Review;
    assert_eq!(to(&it, &people), Ok(vec![by_email(1, "csm"), by_slack(1, "csm")]));
}

#[test]
fn the_same_person_in_two_roles_once() {
    let (mut it, people) = staffed();
    it.roles.se = it.roles.csm;
    assert_eq!(to(&it, &people), Ok(vec![by_email(1, "csm"), by_slack(1, "csm")]));
}

#[test]
fn inactive_people_do_not_count() {
    let (it, mut people) = staffed();
    people[0].active = false;
    let owner = vec![by_email(2, "phase_owner"), by_slack(2, "phase_owner")];
    assert_eq!(to(&it, &people), Ok(owner));
    people[1].deleted_at = Some(at("2026-11-01 00:00"));
    let others = vec![
        by_email(3, "assigned"),
        by_slack(3, "assigned"),
        by_email(4, "assigned"),
        by_slack(4, "assigned"),
    ];
    assert_eq!(to(&it, &people), Ok(others));
    people[2].active = false;
    people[3].active = false;
    assert_eq!(to(&it, &people), Ok(fallback()));
    assert_eq!(audience(&Rules::default(), &it, &people, BOTH, None), Err(Reason::NoRecipient));
    assert_eq!(to(&onboarding("2026-11-20"), &[]), Ok(fallback()));
}

#[test]
fn switches_of_the_onboarding_and_of_a_person() {
    let (mut it, mut people) = staffed();
    it.phase = Phase::Review;
    it.reminder_email = false;
    assert_eq!(to(&it, &people), Ok(vec![by_slack(1, "csm")]));
    // Remind now may name channels in the place of the onboarding's switches, not of a person's own.
    let named = |it: &Onboarding, people: &[User]| told(audience(&ops(), it, people, BOTH, Some(&[Email])));
    assert_eq!(named(&it, &people), Ok(vec![by_email(1, "csm")]));
    people[0].reach.email_enabled = false;
    assert_eq!(named(&it, &people), Err(Reason::ChannelOff));
    people[0].reach.slack_enabled = false;
    assert_eq!(to(&it, &people), Err(Reason::ChannelOff));
    it.reminder_slack = false;
    assert_eq!(to(&it, &people), Err(Reason::ChannelsOff));
}

#[test]
fn a_channel_that_is_not_configured_is_not_planned() {
    let (mut it, people) = staffed();
    it.phase = Phase::Review;
    let no_slack = Configured { email: true, slack: false };
    let found = |it: &Onboarding, configured| told(audience(&ops(), it, &people, configured, None));
    assert_eq!(found(&it, no_slack), Ok(vec![by_email(1, "csm")]));
    it.reminder_email = false;
    assert_eq!(found(&it, no_slack), Err(Reason::NotConfigured));
    assert_eq!(found(&it, Configured { email: false, slack: false }), Err(Reason::NotConfigured));
}

#[test]
fn without_a_slack_id_the_workspace_s_channel_once() {
    let (mut it, mut people) = staffed();
    it.reminder_email = false;
    people[0].slack_user_id = None;
    people[1].slack_user_id = None;
    assert_eq!(to(&it, &people), Ok(vec![(Slack, "slack:C-OPS".to_string(), "csm")]));
    assert_eq!(audience(&Rules::default(), &it, &people, BOTH, None), Err(Reason::NoRecipient));
}

#[test]
fn the_other_channel_takes_over_from_a_broken_one() {
    let (mut it, mut people) = staffed();
    it.phase = Phase::Review;
    people[0].reach.slack_broken = Some("account_inactive".to_string());
    assert_eq!(to(&it, &people), Ok(vec![by_email(1, "csm")]));
    it.reminder_email = false;
    assert_eq!(to(&it, &people), Ok(vec![by_email(1, "slack_broken")]));
    // Not against the person's own wish; then the workspace is told.
    people[0].reach.email_enabled = false;
    assert_eq!(to(&it, &people), Ok(vec![fallback()[1].clone()]));
    people[0].reach.email_enabled = true;
    people[0].reach.email_broken = Some("550".to_string());
    assert_eq!(to(&it, &people), Ok(vec![fallback()[1].clone()]));
}

#[test]
fn an_escalation_tells_the_role_or_the_workspace() {
    let (mut it, people) = staffed();
    let found = |it: &Onboarding, step| told(escalation(&ops(), it, &people, BOTH, step));
    let product_ops = vec![by_email(4, "escalated"), by_slack(4, "escalated")];
    assert_eq!(found(&it, EscalateTo::ProductOps), Ok(product_ops));
    assert_eq!(found(&it, EscalateTo::Fallback), Ok(fallback()));
    it.roles.product_ops = None;
    assert_eq!(found(&it, EscalateTo::ProductOps), Ok(fallback()));
}

pub(super) fn contact() -> Contact {
    let made = date("2026-11-01").and_time(super::time("00:00")).and_utc();
    Contact {
        id: ContactId::new(made, 1),
        workspace_id: WorkspaceId::new(made, 1),
        livemode: true,
        display_id: 1,
        customer_id: CustomerId::new(made, 1),
        name: "Ada".to_string(),
        email: "ada@customer.example".to_string(),
        title: None,
        is_primary: true,
        labels: Vec::new(),
        external_id: None,
        email_broken: None,
        created_at: made,
        updated_at: made,
        version: 1,
        deleted_at: None,
    }
}

#[test]
fn the_customer_is_written_to_only_while_waiting_and_wanted() {
    let (mut it, _) = staffed();
    let nudging = Rules { nudge_customer: true, ..ops() };
    let ada = contact();
    assert_eq!(customer(&ops(), &it, Some(&ada), BOTH), Err(Reason::CustomerNotNudged));
    assert_eq!(customer(&nudging, &it, Some(&ada), BOTH), Err(Reason::NotWaiting));
    it.state = State::Waiting;
    let target = Target { channel: Email, recipient: Recipient::Contact(ada.id), why: Why::Customer };
    assert_eq!(customer(&nudging, &it, Some(&ada), BOTH), Ok(target));
    assert_eq!(customer(&nudging, &it, None, BOTH), Err(Reason::NoRecipient));
    let gone = Contact { deleted_at: Some(at("2026-11-02 00:00")), ..ada.clone() };
    assert_eq!(customer(&nudging, &it, Some(&gone), BOTH), Err(Reason::NoRecipient));
    let no_email = Configured { email: false, slack: true };
    assert_eq!(customer(&nudging, &it, Some(&ada), no_email), Err(Reason::NotConfigured));
    it.reminder_email = false;
    assert_eq!(customer(&nudging, &it, Some(&ada), BOTH), Err(Reason::ChannelOff));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Customers are written to by email, when everything says so and else never; and the two sides never mix.
    #[test]
    fn a_customer_is_told_exactly_when_all_of_it_says_so(
        wanted: bool, state in prop::sample::select(State::ALL.to_vec()), phase in prop::sample::select(Phase::ALL.to_vec()),
        switches: [bool; 2], has: [bool; 2], staff: bool, living in prop::option::of(any::<bool>()), broken: bool,
    ) {
        let (mut it, people) = staffed();
        let [email, slack] = has;
        (it.state, it.phase, it.reminder_email, it.reminder_slack) = (state, phase, switches[0], switches[1]);
        let rules = Rules { nudge_customer: wanted, ..if staff { ops() } else { Rules::default() } };
        let configured = Configured { email, slack };
        let primary = living.map(|living| Contact {
            deleted_at: (!living).then(|| at("2026-11-02 00:00")),
            email_broken: broken.then(|| "550".to_string()),
            ..contact()
        });
        let open = wanted && state == State::Waiting && switches[0] && email;
        let found = customer(&rules, &it, primary.as_ref(), configured);
        prop_assert_eq!(found.is_ok(), open && living == Some(true), "{:?}", found);
        if let Ok(target) = &found {
            prop_assert_eq!((target.channel, target.why), (Email, Why::Customer));
            prop_assert_eq!(&target.recipient, &Recipient::Contact(contact().id));
        }
        // Planned is what can be told, or what is missing; all else is as it should be.
        let planned = nudge(&rules, &it, primary.as_ref(), configured);
        let missing = open && living != Some(true);
        prop_assert_eq!(planned.is_some(), found.is_ok() || missing);
        prop_assert_eq!(planned == Some(Err(Reason::NoRecipient)), missing);
        // Nobody of the team is told by what concerns the customer, and the other way round.
        let quiet = Rules { nudge_customer: false, ..rules.clone() };
        let team = audience(&rules, &it, &people, configured, None);
        prop_assert_eq!(&team, &audience(&quiet, &it, &people, configured, None));
        let theirs = |target: &Target| matches!(target.recipient, Recipient::Contact(_)) || target.why == Why::Customer;
        prop_assert!(!team.iter().flatten().any(theirs));
    }
}
