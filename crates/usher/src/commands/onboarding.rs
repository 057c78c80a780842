//! `usher onboarding`: the same bodies and rules as the API.

use anyhow::Context as _;
use serde_json::{Value, json};
use usher_ingest::body;
use usher_lifecycle::{Command as Change, Phase, State, wire};
use usher_store::{ListFilter, Page, Ref};

use super::{
    apply,
    records::{given, told},
    workspace,
};
use crate::{cli::Onboarding, config::Config, output};

pub(super) async fn execute(config: &Config, command: Onboarding, json: bool) -> anyhow::Result<()> {
    match command {
        Onboarding::Create { scope, customer, csm, phase, started_at, frequency_days, external_id } => {
            let (store, workspace) = workspace(config, &scope.within).await?;
            let body = given(&[
                ("customer_id", Some(json!(customer))),
                ("csm_id", csm.map(Value::from)),
                ("phase", phase.map(Value::from)),
                ("started_at", started_at.map(Value::from)),
                ("reminder_frequency_days", frequency_days.map(Value::from)),
                ("external_id", external_id.map(Value::from)),
            ]);
            let change = Change::CreateOnboarding(body::create_onboarding(&body).map_err(told)?);
            let made = apply(&store, &workspace, !scope.test, None, change).await?;
            store.close().await;
            output::object(json, &made)
        }
        Onboarding::List { scope, phase, state, limit } => {
            let (store, workspace) = workspace(config, &scope.within).await?;
            let filter = ListFilter {
                phase: phase.map(|text| text.parse::<Phase>()).transpose().context("--phase")?,
                state: state.map(|text| text.parse::<State>()).transpose().context("--state")?,
                ..ListFilter::default()
            };
            let page = Page { limit, cursor: None };
            let listed = store.onboardings(workspace.id, !scope.test, &filter, &page).await?;
            let all: Vec<Value> =
                listed.data.iter().map(|it| wire::value(&wire::OnboardingObject::from(it))).collect();
            output::list(
                json,
                &all,
                &["display_id", "phase", "state", "next_reminder_at", "customer_id", "id"],
            )
        }
        Onboarding::Show { scope, onboarding } => {
            let (store, workspace) = workspace(config, &scope.within).await?;
            let found = store.onboarding(workspace.id, !scope.test, &Ref::parse(&onboarding)).await?;
            let found = found
                .with_context(|| format!("there is no onboarding {onboarding:?} in {}", workspace.slug))?;
            output::object(json, &wire::value(&wire::OnboardingObject::from(&found)))
        }
        Onboarding::Move { scope, onboarding, phase, state, reason } => {
            let (store, workspace) = workspace(config, &scope.within).await?;
            let body = given(&[
                ("phase", phase.map(Value::from)),
                ("state", state.map(Value::from)),
                ("reason", reason.map(Value::from)),
            ]);
            let change = Change::ChangeOnboarding(body::patch_onboarding(&body).map_err(told)?);
            let moved = apply(&store, &workspace, !scope.test, Some(&onboarding), change).await?;
            store.close().await;
            output::object(json, &moved)
        }
    }
}
