//! Templates and workspaces: what they give to what is created after them, and what they refuse.

use chrono::{TimeDelta, Weekday};
use serde_json::json;
use usher_lifecycle::{
    Book, Code, Command, Current, Decision, Onboarding, Phase, Record, UserId, WorkspaceId,
    command::{CreateOnboarding, PolicyPatch, TemplatePatch, WorkspacePatch},
    decide,
    event::EventKind,
    onboarding::Role,
    refusal::Refusal,
    reminder::{RequireReason, Rules, policy::hh_mm, zone},
    template::Template,
    workspace::Workspace,
};

use crate::{kinds, monday, nothing, previous, references, template};

fn take(current: Current, command: &Command) -> Result<Decision, Refusal> {
    let (rules, references) = (Rules::default(), references());
    decide(current, command, Book { rules: &rules, references: &references }, monday())
}

fn full() -> TemplatePatch {
    TemplatePatch {
        name: Some("Enterprise".into()),
        reminder_email: Some(Some(false)),
        reminder_frequency_days: Some(Some(7)),
        roles: [(Role::Csm, Some("ann".into())), (Role::Se, Some("bob".into()))].into(),
        target_days: Some(Some(90)),
        phase_target_days: [(Phase::Review, Some(5))].into(),
        ..TemplatePatch::default()
    }
}

fn made() -> Template {
    let create = Command::CreateTemplate(full().into_new().expect("has a name"));
    let decision = take(nothing(), &create).expect("is legal");
    assert_eq!(kinds(&decision), [EventKind::TemplateCreated]);
    let Record::Template(it) = decision.record else { panic!("{:?}", decision.record) };
    it
}

fn create(template: Template, body: CreateOnboarding) -> Onboarding {
    let (rules, mut references) = (Rules::default(), references());
    // The store finds the users that the template names, unless they are deleted: bob is.
    let ann = references.users["ann"];
    references.users = [(ann.to_text(), ann)].into();
    references.template = Some(template);
    let body = CreateOnboarding { customer: "acme".into(), template: Some("4".into()), ..body };
    let book = Book { rules: &rules, references: &references };
    let made = decide(nothing(), &Command::CreateOnboarding(body), book, monday()).expect("is legal");
    let Record::Onboarding(it) = made.record else { panic!("{:?}", made.record) };
    it
}

#[test]
fn an_onboarding_takes_the_templates_values_where_its_body_is_silent() {
    let started_at = monday() - TimeDelta::days(10);
    let it = create(made(), CreateOnboarding { started_at: Some(started_at), ..Default::default() });
    assert_eq!((it.reminder_email, it.reminder_slack, it.reminder_frequency_days), (false, true, 7));
    assert_eq!(it.target_launch_date, Some(started_at + TimeDelta::days(90)));
    assert_eq!((it.roles.csm, it.roles.se), (Some(references().users["ann"]), None));
    assert_eq!(it.template_id, Some(made().id));

    let target = Some(monday() + TimeDelta::days(1));
    let body = CreateOnboarding {
        reminder_email: Some(true),
        reminder_frequency_days: Some(1),
        target_launch_date: target,
        ..Default::default()
    };
    let it = create(made(), body);
    assert_eq!((it.reminder_email, it.reminder_frequency_days), (true, 1));
    assert_eq!(it.target_launch_date, target);

    let it = create(template(), CreateOnboarding::default());
    assert_eq!((it.reminder_email, it.reminder_slack, it.reminder_frequency_days), (true, true, 1));
    assert_eq!((it.target_launch_date, it.roles.csm), (None, None));
}

#[test]
fn a_template_is_changed_and_deleted_with_one_event_each() {
    let patch = TemplatePatch {
        reminder_email: Some(None),
        roles: [(Role::Csm, None)].into(),
        phase_target_days: [(Phase::Review, None), (Phase::Launch, Some(2))].into(),
        ..TemplatePatch::default()
    };
    let changed = take(Current::Record(Record::Template(made())), &Command::ChangeTemplate(patch.clone()));
    let changed = changed.expect("is legal");
    let ann: UserId = references().users["ann"];
    assert_eq!(
        previous(&changed, EventKind::TemplateUpdated),
        json!({"reminder_email": false, "csm_id": ann, "phase_target_days": {"review": 5}})
    );
    let again = take(Current::Record(changed.record.clone()), &Command::ChangeTemplate(patch));
    assert_eq!(kinds(&again.expect("is legal")), []);
    let unknown = TemplatePatch { roles: [(Role::Se, Some("nobody".into()))].into(), ..Default::default() };
    let refusal = take(Current::Record(changed.record.clone()), &Command::ChangeTemplate(unknown));
    let refusal = refusal.expect_err("nobody");
    assert_eq!((refusal.code, refusal.field.as_deref()), (Code::UnknownUser, Some("se_id")));
    let gone = take(Current::Record(changed.record), &Command::DeleteTemplate).expect("is legal");
    assert_eq!((kinds(&gone), gone.record.version()), (vec![EventKind::TemplateDeleted], 3));
    let change = Command::ChangeTemplate(TemplatePatch::default());
    let refusal = take(Current::Record(gone.record), &change).expect_err("is gone");
    assert_eq!(refusal.code, Code::TemplateNotFound);
}

fn workspace() -> Current {
    Current::Record(Record::Workspace(Workspace {
        id: WorkspaceId::new(monday(), 5),
        slug: "acme".into(),
        name: "Acme".into(),
        rules: Rules::default(),
        version: 1,
        created_at: monday(),
        updated_at: monday(),
    }))
}

fn patch(patch: WorkspacePatch) -> Result<Decision, Refusal> {
    take(workspace(), &Command::ChangeWorkspace(patch))
}

#[test]
fn a_workspace_changes_its_rules_with_one_event() {
    let policy = PolicyPatch {
        time_zone: Some(zone("Europe/Berlin").expect("exists")),
        working_days: Some(vec![Weekday::Sun]),
        spread_minutes: Some(10),
        ..PolicyPatch::default()
    };
    let wanted = WorkspacePatch {
        policy,
        phase_owners: [(Phase::Review, Some(Role::Se))].into(),
        require_reason: Some(RequireReason::Any),
        ops_email: Some(Some("ops@example.com".into())),
        ..WorkspacePatch::default()
    };
    let decision = patch(wanted.clone()).expect("is legal");
    let before = previous(&decision, EventKind::WorkspaceUpdated);
    assert_eq!(before["policy"]["time_zone"], "UTC");
    assert_eq!(before["phase_owners"]["review"], "csm");
    let object = decision.record.object();
    assert_eq!(object["policy"]["working_days"], json!(["sun"]));
    assert_eq!(object["phase_owners"]["review"], "se");
    assert_eq!((&object["require_reason"], decision.record.version()), (&json!("any"), 2));
    let again = take(Current::Record(decision.record.clone()), &Command::ChangeWorkspace(wanted));
    assert_eq!(kinds(&again.expect("is legal")), []);
    let back = WorkspacePatch { phase_owners: [(Phase::Review, None)].into(), ..WorkspacePatch::default() };
    let back = take(Current::Record(decision.record), &Command::ChangeWorkspace(back)).expect("is legal");
    assert_eq!(back.record.object()["phase_owners"]["review"], "csm");
}

#[test]
fn a_policy_that_could_never_send_is_refused() {
    let refused = |policy| {
        let refusal = patch(WorkspacePatch { policy, ..WorkspacePatch::default() }).expect_err("is refused");
        (refusal.code, refusal.field.expect("names its field"))
    };
    let time = |text| hh_mm::parse(text);
    assert_eq!(
        refused(PolicyPatch { working_days: Some(vec![]), ..Default::default() }),
        (Code::TooSmall, "policy.working_days".into())
    );
    for (send_until, time_of_day, field) in [
        (time("09:00"), None, "policy.send_until"),
        (None, time("18:00"), "policy.time_of_day"),
        (time("10:00"), time("11:00"), "policy.send_until"),
    ] {
        let policy = PolicyPatch { send_until, time_of_day, ..Default::default() };
        assert_eq!(refused(policy), (Code::InvalidCombination, field.into()));
    }
    let both = PolicyPatch { time_of_day: time("20:00"), send_until: time("21:00"), ..Default::default() };
    assert!(patch(WorkspacePatch { policy: both, ..WorkspacePatch::default() }).is_ok());
}
