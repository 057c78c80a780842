//! Messages to customers: their primary contact, by email, while an onboarding waits on them and the workspace wants it.

use chrono::TimeDelta;
use usher_lifecycle::command::{
    ContactPatch, CreateContact, CreateOnboarding, OnboardingPatch, UserPatch, WorkspacePatch,
};
use usher_lifecycle::customer::Contact;
use usher_lifecycle::onboarding::Role;
use usher_lifecycle::reminder::{Channel, Kind, Recipient};
use usher_lifecycle::{Command, OnboardingId, Phase, State, UserId};
use usher_store::{Delivery, Page, Ref, Status};
use usher_testkit::smtp::Behaviour;

use crate::rig::{Rig, stories};

stories!(
    a_waiting_onboarding_nudges_the_primary_contact_by_email_only,
    nobody_is_nudged_who_is_not_waited_for,
    a_nudge_keeps_the_rhythm_of_the_reminders,
    several_onboardings_of_one_contact_due_together_one_message,
    a_nudge_waits_until_all_of_it_is_planned,
    a_contact_with_the_address_of_a_member_of_the_team_has_a_message_of_their_own,
    no_primary_contact_is_told_once_per_slot,
    a_nudge_that_waits_gives_way_to_the_next_slot,
    down_across_the_slot_one_nudge_in_the_hours_of_the_workspace,
    of_test_records_nobody_is_told,
    a_nudge_is_no_reminder_of_ours,
    what_a_customer_answers_reaches_the_csm_or_the_workspace,
);

const NINE: &str = "2026-03-03T09:00:00Z";
const NEXT: &str = "2026-03-04T09:00:00Z";

impl Rig {
    pub(crate) async fn nudge(&self, wanted: bool) {
        let patch = WorkspacePatch { nudge_customer: Some(wanted), ..WorkspacePatch::default() };
        let request = self.request(Command::ChangeWorkspace(patch), Some(self.workspace.to_text()));
        let live = usher_store::Request { livemode: true, ..request };
        self.store.apply(live, self.now()).await.unwrap();
    }

    pub(crate) async fn customer_of(&self, onboarding: OnboardingId) -> String {
        let which = Ref::Id(onboarding.to_text());
        let found = self.store.onboarding(self.workspace, self.livemode, &which).await.unwrap().unwrap();
        found.customer_id.to_text()
    }

    /// A new primary contact of the onboarding's customer.
    pub(crate) async fn contact(&self, onboarding: OnboardingId, name: &str) -> String {
        let create = CreateContact {
            customer: self.customer_of(onboarding).await,
            name: name.to_owned(),
            email: format!("{name}@customer.example"),
            is_primary: Some(true),
            ..CreateContact::default()
        };
        self.apply(Command::CreateContact(create), None).await
    }

    pub(crate) async fn patch_contact(&self, contact: &str, patch: ContactPatch) {
        self.apply(Command::ChangeContact(patch), Some(contact.to_owned())).await;
    }

    pub(crate) async fn found_contact(&self, contact: &str) -> Contact {
        let which = Ref::Id(contact.to_owned());
        self.store.contact(self.workspace, self.livemode, &which).await.unwrap().unwrap()
    }

    /// The customer's side of the ledger, oldest first.
    pub(crate) async fn nudges(&self, onboarding: OnboardingId) -> Vec<Delivery> {
        let mut rows = self.ledger(onboarding).await;
        rows.retain(|row| row.kind == Kind::Customer);
        rows
    }

    /// `slot: recipient status reason`, a line per nudge, sorted; contacts by what stands in `names`.
    pub(crate) async fn told(&self, onboarding: OnboardingId, names: &[(&str, &str)]) -> Vec<String> {
        let line = |row: &Delivery| {
            let to = row.recipient.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string);
            let to =
                names.iter().find(|(_, id)| to == format!("contact:{id}")).map_or(to.as_str(), |it| it.0);
            let reason = row.reason.as_deref().unwrap_or("-");
            format!("{}: {to} {} {reason}", row.slot, row.status.as_str())
        };
        let mut lines: Vec<String> = self.nudges(onboarding).await.iter().map(line).collect();
        lines.sort();
        lines
    }
}

pub(crate) fn to_state(state: State) -> OnboardingPatch {
    OnboardingPatch { state: Some(state), ..OnboardingPatch::default() }
}

pub(crate) fn waiting() -> CreateOnboarding {
    CreateOnboarding { state: Some(State::Waiting), ..CreateOnboarding::default() }
}

/// A waiting onboarding of the CSM ada, with the contact bea, in a workspace that nudges.
pub(crate) async fn scene(rig: &Rig) -> (OnboardingId, UserId, String) {
    rig.nudge(true).await;
    let ada = rig.user("ada").await;
    let onboarding = rig.create("Acme", &[(Role::Csm, ada)], waiting()).await;
    let bea = rig.contact(onboarding, "bea").await;
    (onboarding, ada, bea)
}

async fn a_waiting_onboarding_nudges_the_primary_contact_by_email_only(rig: Rig) {
    rig.nudge(true).await;
    let ada = rig.slacker("ada").await;
    let notes = Some("they pay late".to_owned());
    let onboarding = rig.create("Acme", &[(Role::Csm, ada)], CreateOnboarding { notes, ..waiting() }).await;
    let bea = rig.contact(onboarding, "bea").await;
    rig.pass_at(&rig.scheduler(), NINE).await;

    let [row] = rig.nudges(onboarding).await.try_into().unwrap();
    assert_eq!(
        (row.status, row.channel, row.slot.as_str()),
        (Status::Sent, Some(Channel::Email), "2026-03-03")
    );
    assert_eq!(row.recipient, Some(Recipient::Contact(bea.parse().unwrap())));
    assert_eq!((row.why.as_str(), row.due_at), ("customer", rig.now()));
    assert_eq!(rig.slack.posted().len(), 1, "the CSM's");
    assert_eq!(rig.slack.posted()[0]["channel"], "UADA");
    let messages = rig.sink.messages();
    assert_eq!(messages.len(), 2);
    let hers = messages.iter().find(|it| it.recipients == ["bea@customer.example"]).unwrap().mail();
    assert_eq!(hers.header("Subject"), Some("Your onboarding with Northwind: we need your input"));
    for body in ["text/plain", "text/html"] {
        let text = hers.body(body).unwrap();
        assert!(text.contains("bea") && text.contains("getting started"), "{text}");
        for internal in
            ["they pay late", "waiting on customer", "before getting", "usher.example", "ada", "late"]
        {
            assert!(!text.contains(internal), "{internal}: {text}");
        }
    }
    let page = Page { limit: 100, cursor: None };
    let timeline = rig.store.timeline(onboarding, &page).await.unwrap().data;
    let event = timeline.iter().find(|it| it.data["object"]["kind"] == "customer").unwrap();
    assert_eq!((event.kind.as_str(), &event.data["object"]["status"]), ("reminder.sent", &"sent".into()));
    assert_eq!(event.data["object"]["recipient"], format!("contact:{bea}"));
}

async fn nobody_is_nudged_who_is_not_waited_for(rig: Rig) {
    let (onboarding, ..) = scene(&rig).await;
    let scheduler = rig.scheduler();
    rig.nudge(false).await;
    rig.pass_at(&scheduler, NINE).await;
    rig.nudge(true).await;
    for (day, state) in [("04", State::Active), ("05", State::AtRisk)] {
        rig.patch(onboarding, to_state(state)).await;
        rig.pass_at(&scheduler, &format!("2026-03-{day}T09:00:00Z")).await;
    }
    // Slack alone reaches no customer, and is no reason to complain of it every day.
    rig.patch(onboarding, to_state(State::Waiting)).await;
    let slack_only = OnboardingPatch { reminder_email: Some(false), ..OnboardingPatch::default() };
    rig.patch(onboarding, slack_only).await;
    rig.pass_at(&scheduler, "2026-03-06T09:00:00Z").await;
    assert_eq!(rig.nudges(onboarding).await, []);
    assert_eq!(rig.mailed(), ["ada@example.com"; 3]);
}

async fn a_nudge_keeps_the_rhythm_of_the_reminders(rig: Rig) {
    rig.nudge(true).await;
    let ada = rig.user("ada").await;
    let third = CreateOnboarding { reminder_frequency_days: Some(3), ..waiting() };
    let onboarding = rig.create("Acme", &[(Role::Csm, ada)], third).await;
    rig.contact(onboarding, "bea").await;
    let scheduler = rig.scheduler();
    for day in 3..=20 {
        rig.pass_at(&scheduler, &format!("2026-03-{day:02}T09:00:00Z")).await;
    }
    let slots = |kind| {
        let rig = &rig;
        async move {
            let rows = rig.ledger(onboarding).await;
            let rows = rows.into_iter().filter(move |row| row.kind == kind && row.status == Status::Sent);
            rows.map(|row| (row.slot, row.sent_at)).collect::<Vec<_>>()
        }
    };
    let nudges = slots(Kind::Customer).await;
    // From Monday the 2nd: the 8th and the 14th are days off, and their slots move to the Mondays after them.
    let days: Vec<&str> = nudges.iter().map(|(slot, _)| &slot[8..]).collect();
    assert_eq!(days, ["05", "09", "11", "16", "17", "20"]);
    assert_eq!(slots(Kind::Cadence).await, nudges);
}

async fn several_onboardings_of_one_contact_due_together_one_message(rig: Rig) {
    let (first, ada, bea) = scene(&rig).await;
    let customer = rig.customer_of(first).await;
    let roles: std::collections::BTreeMap<_, _> = [(Role::Csm, ada.to_text())].into();
    let started_at = Some(rig.now() - TimeDelta::days(1));
    let create =
        CreateOnboarding { customer, roles, started_at, phase: Some(Phase::InternalQa), ..waiting() };
    let second = rig.apply(Command::CreateOnboarding(create), None).await.parse().unwrap();
    let other = rig.create("Bolt", &[(Role::Csm, ada)], waiting()).await;
    rig.contact(other, "carl").await;
    let report = rig.pass_at(&rig.scheduler(), NINE).await;
    assert_eq!((report.messages, report.recorded), (3, 6));
    let messages = rig.sink.messages();
    let hers: Vec<_> = messages.iter().filter(|it| it.recipients == ["bea@customer.example"]).collect();
    assert_eq!(hers.len(), 1);
    let mail = hers[0].mail();
    let text = mail.body("text/plain").unwrap();
    assert!(text.contains("getting started") && text.contains("final checks"), "{text}");
    assert!(!text.contains("Bolt"), "{text}");
    let ids = [rig.nudges(first).await, rig.nudges(second).await].concat();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0].message_id, ids[1].message_id);
    assert_eq!(ids[0].recipient, Some(Recipient::Contact(bea.parse().unwrap())));
}

async fn a_nudge_waits_until_all_of_it_is_planned(rig: Rig) {
    let (onboarding, ada, _) = scene(&rig).await;
    rig.set(NINE);
    let scheduler = rig.scheduler();
    scheduler.plan(rig.now()).await.unwrap();
    // Another one falls due at the same time, and is not planned yet.
    rig.set("2026-03-03T08:59:00Z");
    rig.onboarding("Bolt", &[(Role::Csm, ada)]).await;
    rig.set(NINE);
    assert_eq!(scheduler.dispatch(rig.now()).await.unwrap().messages, 0);
    assert_eq!(rig.pass(&scheduler).await.messages, 2);
    assert_eq!(rig.nudges(onboarding).await[0].status, Status::Sent);
}

async fn a_contact_with_the_address_of_a_member_of_the_team_has_a_message_of_their_own(rig: Rig) {
    let (_, _, bea) = scene(&rig).await;
    let email = Some("ada@example.com".to_owned());
    rig.patch_contact(&bea, ContactPatch { email, ..ContactPatch::default() }).await;
    rig.pass_at(&rig.scheduler(), NINE).await;
    assert_eq!(rig.mailed(), ["ada@example.com"; 2]);
    let ids: std::collections::HashSet<String> = rig.message_ids().into_iter().collect();
    assert_eq!(ids.len(), 2);
}

async fn no_primary_contact_is_told_once_per_slot(rig: Rig) {
    rig.nudge(true).await;
    let ada = rig.user("ada").await;
    let onboarding = rig.create("Acme", &[(Role::Csm, ada)], waiting()).await;
    let scheduler = rig.scheduler();
    for day in [NINE, NEXT] {
        rig.pass_at(&scheduler, day).await;
        rig.clock.advance(TimeDelta::minutes(10));
        rig.pass(&scheduler).await;
    }
    assert_eq!(
        rig.told(onboarding, &[]).await,
        ["2026-03-03: nobody skipped no_recipient", "2026-03-04: nobody skipped no_recipient"]
    );
    assert_eq!(rig.mailed(), ["ada@example.com"; 2], "the team is reminded all the same");
    let timeline = rig.store.timeline(onboarding, &Page { limit: 100, cursor: None }).await.unwrap().data;
    let events = timeline.iter().filter(|row| row.kind == "reminder.skipped").count();
    assert_eq!(events, 2);
}

async fn a_nudge_that_waits_gives_way_to_the_next_slot(rig: Rig) {
    let (onboarding, _, bea) = scene(&rig).await;
    rig.sink.set(Behaviour::RejectRcpt {
        address_contains: "bea".to_owned(),
        code: 450,
        text: "4.2.1 try again later".to_owned(),
    });
    let scheduler = rig.scheduler();
    rig.pass_at(&scheduler, NINE).await;
    rig.pass_at(&scheduler, "2026-03-03T10:00:00Z").await;
    rig.sink.set(Behaviour::Accept);
    rig.pass_at(&scheduler, NEXT).await;
    assert_eq!(
        rig.told(onboarding, &[("bea", &bea)]).await,
        ["2026-03-03: bea failed superseded", "2026-03-04: bea sent -"]
    );
    let hers = rig.mailed().into_iter().filter(|it| it.starts_with("bea")).count();
    assert_eq!(hers, 1);
}

async fn down_across_the_slot_one_nudge_in_the_hours_of_the_workspace(rig: Rig) {
    let (onboarding, _, bea) = scene(&rig).await;
    let scheduler = rig.scheduler();
    // Back on Saturday: nobody at the customer's is written to before Monday, and then once.
    rig.pass_at(&scheduler, "2026-03-07T11:00:00Z").await;
    assert_eq!(rig.mailed().len(), 0);
    rig.pass_at(&scheduler, "2026-03-09T09:00:00Z").await;
    assert_eq!(
        rig.told(onboarding, &[("bea", &bea)]).await,
        ["2026-03-06: bea skipped superseded", "2026-03-09: bea sent -"]
    );
    assert_eq!(rig.mailed().iter().filter(|it| it.starts_with("bea")).count(), 1);
}

async fn of_test_records_nobody_is_told(mut rig: Rig) {
    rig.livemode = false;
    let (onboarding, _, bea) = scene(&rig).await;
    rig.pass_at(&rig.scheduler(), NINE).await;
    assert_eq!(rig.told(onboarding, &[("bea", &bea)]).await, ["2026-03-03: bea skipped test_mode"]);
    assert_eq!(rig.mailed().len(), 0);
}

async fn a_nudge_is_no_reminder_of_ours(rig: Rig) {
    let (onboarding, ada, bea) = scene(&rig).await;
    let mute_until = Some(Some(rig.now() + TimeDelta::days(30)));
    rig.patch_user(ada, UserPatch { mute_until, ..UserPatch::default() }).await;
    rig.pass_at(&rig.scheduler(), NINE).await;
    assert_eq!(rig.told(onboarding, &[("bea", &bea)]).await, ["2026-03-03: bea sent -"]);
    let which = Ref::Id(onboarding.to_text());
    let found = rig.store.onboarding(rig.workspace, true, &which).await.unwrap().unwrap();
    assert_eq!((found.reminders.last_reminded_at, found.reminders.unheeded), (None, 0));
}

async fn what_a_customer_answers_reaches_the_csm_or_the_workspace(rig: Rig) {
    let (onboarding, ada, _) = scene(&rig).await;
    let scheduler = rig.scheduler();
    rig.pass_at(&scheduler, NINE).await;
    rig.patch_user(ada, UserPatch { active: Some(false), ..UserPatch::default() }).await;
    rig.pass_at(&scheduler, NEXT).await;
    let ops_email = Some(Some("ops@example.com".to_owned()));
    let patch = WorkspacePatch { ops_email, ..WorkspacePatch::default() };
    rig.apply(Command::ChangeWorkspace(patch), Some(rig.workspace.to_text())).await;
    rig.pass_at(&scheduler, "2026-03-05T09:00:00Z").await;
    assert_eq!(rig.nudges(onboarding).await.len(), 3);
    let messages = rig.sink.messages();
    let hers = messages.iter().filter(|it| it.recipients == ["bea@customer.example"]);
    let reply_to: Vec<_> = hers.map(|it| it.mail().header("Reply-To").map(ToOwned::to_owned)).collect();
    assert_eq!(reply_to, [Some("ada@example.com".to_owned()), None, Some("ops@example.com".to_owned())]);
}
