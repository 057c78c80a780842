//! Rules and templates as the store keeps them: what is decided goes by what stands there now, in every process.

use usher_lifecycle::{
    Command, Phase,
    command::{CreateOnboarding, OnboardingPatch, PolicyPatch, TemplatePatch, WorkspacePatch},
    onboarding::Role,
    reminder::{RequireReason, policy::hh_mm},
};
use usher_store::{Page, Ref, Request};

use crate::{
    bed::{Bed, code, now},
    contracts,
};

contracts!(
    a_changed_rule_holds_for_the_next_command_in_every_process,
    test_requests_cannot_change_the_workspace,
    parallel_changes_of_a_workspace_all_hold,
    an_onboarding_takes_the_values_of_its_template,
    templates_of_another_workspace_or_mode_are_not_found,
);

fn require(rule: RequireReason) -> Command {
    Command::ChangeWorkspace(WorkspacePatch { require_reason: Some(rule), ..WorkspacePatch::default() })
}

fn advance() -> Command {
    Command::ChangeOnboarding(OnboardingPatch { phase: Some(Phase::Review), ..OnboardingPatch::default() })
}

async fn a_changed_rule_holds_for_the_next_command_in_every_process(bed: Bed) -> anyhow::Result<()> {
    let other = bed.another().await?;
    let customer = bed.customer("Acme").await?;
    let onboarding = bed.onboarding(&customer).await?.to_text();
    let workspace = bed.workspace.to_text();
    let changed = bed.apply(require(RequireReason::Any), Some(&workspace)).await?;
    assert_eq!(changed.version, 2);
    for store in [&bed.store, &other] {
        let refused = store.apply(bed.request(advance(), Some(&onboarding)), now()).await;
        assert_eq!(code(refused)?, "missing_field");
    }
    // Within one batch, too.
    let batch = vec![
        bed.request(require(RequireReason::None), Some(&workspace)),
        bed.request(advance(), Some(&onboarding)),
    ];
    for answer in other.apply_all(batch, now()).await {
        answer?;
    }
    assert_eq!(bed.store.workspace(bed.workspace).await?.unwrap().version, 3);
    let kinds = "SELECT kind FROM events WHERE subject_id LIKE 'org_%' ORDER BY position";
    assert_eq!(bed.texts(kinds).await?, ["workspace.updated", "workspace.updated"]);
    let stale =
        Request { expected_version: Some(1), ..bed.request(require(RequireReason::Any), Some(&workspace)) };
    assert_eq!(code(bed.store.apply(stale, now()).await)?, "version_mismatch");
    Ok(())
}

async fn test_requests_cannot_change_the_workspace(bed: Bed) -> anyhow::Result<()> {
    let workspace = bed.workspace.to_text();
    let request = Request { livemode: false, ..bed.request(require(RequireReason::Any), Some(&workspace)) };
    assert_eq!(code(bed.store.apply(request, now()).await)?, "unknown_workspace");
    Ok(())
}

async fn parallel_changes_of_a_workspace_all_hold(bed: Bed) -> anyhow::Result<()> {
    let other = bed.another().await?;
    let workspace = bed.workspace.to_text();
    let mut running = tokio::task::JoinSet::new();
    for minutes in 1..=20 {
        let policy = PolicyPatch { spread_minutes: Some(minutes), ..PolicyPatch::default() };
        let patch = WorkspacePatch { policy, ..WorkspacePatch::default() };
        let request = bed.request(Command::ChangeWorkspace(patch), Some(&workspace));
        let store = if minutes % 2 == 0 { bed.store.clone() } else { other.clone() };
        running.spawn(async move { store.apply(request, now()).await });
    }
    while let Some(changed) = running.join_next().await {
        changed??;
    }
    let policy = PolicyPatch { time_of_day: hh_mm::parse("10:30"), ..PolicyPatch::default() };
    let patch = WorkspacePatch { policy, ..WorkspacePatch::default() };
    bed.apply(Command::ChangeWorkspace(patch), Some(&workspace)).await?;
    let found = bed.store.workspace(bed.workspace).await?.unwrap();
    assert_eq!(found.version, 22);
    assert_eq!(Some(found.rules.policy.time_of_day), hh_mm::parse("10:30"));
    assert_eq!(bed.number("SELECT COUNT(*) FROM events WHERE kind = 'workspace.updated'").await?, 21);
    Ok(())
}

async fn an_onboarding_takes_the_values_of_its_template(bed: Bed) -> anyhow::Result<()> {
    let (csm, se) = (bed.user("csm@example.com").await?, bed.user("se@example.com").await?);
    let patch = TemplatePatch {
        name: Some("Standard".into()),
        reminder_frequency_days: Some(Some(14)),
        roles: [(Role::Csm, Some("csm@example.com".into())), (Role::Se, Some(se.to_text()))].into(),
        target_days: Some(Some(30)),
        ..TemplatePatch::default()
    };
    let template = bed.apply(Command::CreateTemplate(patch.into_new()?), None).await?.id;
    bed.apply(Command::DeleteUser, Some(&se.to_text())).await?;
    let customer = bed.customer("Acme").await?;
    let create =
        CreateOnboarding { customer, template: Some(template.clone()), ..CreateOnboarding::default() };
    let create = Command::CreateOnboarding(create);
    let made = bed.apply(create.clone(), None).await?.id;
    let made = bed.store.onboarding(bed.workspace, true, &Ref::parse(&made)).await?.unwrap();
    assert_eq!((made.reminder_frequency_days, made.roles.csm, made.roles.se), (14, Some(csm), None));
    assert_eq!(made.target_launch_date, Some(made.started_at + chrono::TimeDelta::days(30)));
    bed.apply(Command::DeleteTemplate, Some(&template)).await?;
    assert_eq!(code(bed.apply(create, None).await)?, "unknown_template");
    assert_eq!(bed.apply(Command::DeleteTemplate, Some(&template)).await?.version, 2);
    Ok(())
}

async fn templates_of_another_workspace_or_mode_are_not_found(bed: Bed) -> anyhow::Result<()> {
    let patch = TemplatePatch { name: Some("Standard".into()), ..TemplatePatch::default() };
    let template = bed.apply(Command::CreateTemplate(patch.clone().into_new()?), None).await?.id;
    let rules = usher_lifecycle::reminder::Rules::default();
    let other = bed.store.create_workspace("other", "Other", &rules, now()).await?.unwrap().id;
    let page = Page { limit: 10, cursor: None };
    for (workspace, livemode) in [(other, true), (bed.workspace, false)] {
        assert_eq!(bed.store.template(workspace, livemode, &Ref::parse(&template)).await?, None);
        assert_eq!(bed.store.templates(workspace, livemode, &page).await?.data, []);
        for command in [Command::ChangeTemplate(patch.clone()), Command::DeleteTemplate] {
            let request =
                Request { workspace_id: workspace, livemode, ..bed.request(command, Some(&template)) };
            assert_eq!(code(bed.store.apply(request, now()).await)?, "template_not_found");
        }
    }
    assert_eq!(bed.store.templates(bed.workspace, true, &page).await?.data.len(), 1);
    Ok(())
}
