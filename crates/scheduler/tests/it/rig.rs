//! A store on either engine with one workspace, an SMTP sink and a Slack stand-in, and short ways to fill it and to let
//! a scheduler make its passes by a virtual clock.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tempfile::TempDir;
use usher_bus::{Bus, Local};
use usher_lifecycle::command::{
    CreateCustomer, CreateOnboarding, CreateUser, OnboardingPatch, PolicyPatch, UserPatch, WorkspacePatch,
};
use usher_lifecycle::customer::{CustomerFields, CustomerStatus};
use usher_lifecycle::event::{Actor, ActorKind};
use usher_lifecycle::onboarding::Role;
use usher_lifecycle::person::Reach;
use usher_lifecycle::reminder::Rules;
use usher_lifecycle::{Command, OnboardingId, UserId, WorkspaceId};
use usher_scheduler::channel::{Mailer, SlackSender, SmtpConfig};
use usher_scheduler::message::Templates;
use usher_scheduler::{Channels, Clock, DispatchReport, Scheduler, Settings};
use usher_store::{Applied, ApplyError, Dedupe, Delivery, Page, Ref, Request, Status, Store};
use usher_testkit::clock::VirtualClock;
use usher_testkit::slack::StandIn;
use usher_testkit::smtp::{Options, Sink};

use crate::at;

/// The same stories on both engines.
macro_rules! stories {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::rig::Rig::sqlite().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                usher_testkit::skip_without_servers!();
                super::$name($crate::rig::Rig::postgres().await).await;
            })*
        }
    };
}
pub(crate) use stories;

pub(crate) const TOKEN: &str = "xoxb-good";

pub(crate) struct Rig {
    pub(crate) clock: VirtualClock,
    pub(crate) store: Store,
    pub(crate) url: String,
    pub(crate) sink: Sink,
    pub(crate) slack: StandIn,
    pub(crate) workspace: WorkspaceId,
    pub(crate) livemode: bool,
    _folder: Option<TempDir>,
}

impl Rig {
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/usher.db", folder.path().display());
        Store::connect(&url, 1).await.unwrap().migrate().await.unwrap();
        Self::on(url, Some(folder)).await
    }

    pub(crate) async fn postgres() -> Self {
        let init = |url: String| async move {
            let store = Store::connect(&url, 2).await?;
            store.migrate().await?;
            store.close().await;
            Ok(())
        };
        let key = concat!("scheduler ", include_str!("../../../../migrations/postgres/0001_tables.sql"));
        let database = usher_testkit::postgres::database_from_template(key, init).await.unwrap();
        Self::on(database.url, None).await
    }

    /// Tuesday, an hour before the default time of day.
    async fn on(url: String, folder: Option<TempDir>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let now = at("2026-03-03T08:00:00Z");
        let store = Store::connect(&url, 8).await.unwrap();
        let rules = Rules::default();
        let workspace =
            store.create_workspace("northwind", "Northwind", &rules, now).await.unwrap().unwrap().id;
        Self {
            clock: VirtualClock::new(now),
            store,
            url,
            sink: Sink::start().await.unwrap(),
            slack: StandIn::start(TOKEN).await.unwrap(),
            workspace,
            livemode: true,
            _folder: folder,
        }
    }

    /// From here on in a workspace with these rules.
    pub(crate) async fn rules(&mut self, rules: Rules) {
        let made = self.store.create_workspace("other", "Other", &rules, self.now()).await.unwrap();
        self.workspace = made.unwrap().id;
    }

    /// The workspace changes its zone and time of day.
    pub(crate) async fn change_rules(&self, rules: &Rules) {
        let policy = PolicyPatch {
            time_zone: Some(rules.policy.time_zone.clone()),
            time_of_day: Some(rules.policy.time_of_day),
            ..PolicyPatch::default()
        };
        let patch = WorkspacePatch { policy, ..WorkspacePatch::default() };
        self.apply(Command::ChangeWorkspace(patch), Some(self.workspace.to_text())).await;
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub(crate) fn set(&self, text: &str) {
        self.clock.set(at(text));
    }

    pub(crate) fn mailer(&self) -> Mailer {
        self.mailer_with(8)
    }

    pub(crate) fn mailer_with(&self, connections: usize) -> Mailer {
        Self::mailer_to(&format!("smtp://127.0.0.1:{}?tls=off", self.sink.port()), connections)
    }

    pub(crate) fn mailer_to(url: &str, connections: usize) -> Mailer {
        let mut config = SmtpConfig::new(url.to_owned().into(), "usher <usher@usher.example>");
        config.max_connections = connections;
        config.connect_limit = Duration::from_millis(1_500);
        config.message_limit = Duration::from_secs(3);
        Mailer::smtp(&config).unwrap()
    }

    pub(crate) fn slack_sender(&self) -> SlackSender {
        SlackSender::new(&TOKEN.to_owned().into(), &self.slack.base_url()).unwrap()
    }

    /// Over the same store, with both channels.
    pub(crate) fn scheduler(&self) -> Scheduler {
        let channels = Channels { mailer: Some(self.mailer()), slack: Some(self.slack_sender()) };
        self.scheduler_with(self.store.clone(), channels)
    }

    pub(crate) fn scheduler_with(&self, store: Store, channels: Channels) -> Scheduler {
        scheduler(store, Bus::Local(Local::new()), self.clock.as_fn(), channels)
    }

    /// As another process would have it.
    pub(crate) async fn another(&self) -> Scheduler {
        let store = Store::connect(&self.url, 8).await.unwrap();
        let channels = Channels { mailer: Some(self.mailer()), slack: Some(self.slack_sender()) };
        self.scheduler_with(store, channels)
    }

    /// Plans and dispatches at the clock's time.
    pub(crate) async fn pass(&self, scheduler: &Scheduler) -> DispatchReport {
        scheduler.plan(self.now()).await.unwrap();
        scheduler.dispatch(self.now()).await.unwrap()
    }

    pub(crate) async fn pass_at(&self, scheduler: &Scheduler, text: &str) -> DispatchReport {
        self.set(text);
        self.pass(scheduler).await
    }

    pub(crate) async fn try_apply(
        &self,
        command: Command,
        target: Option<String>,
    ) -> Result<Applied, ApplyError> {
        self.store.apply(self.request(command, target), self.now()).await
    }

    pub(crate) fn request(&self, command: Command, target: Option<String>) -> Request {
        Request {
            workspace_id: self.workspace,
            livemode: self.livemode,
            command,
            target: target.map(Ref::Id),
            actor: Actor::system(),
            dedupe: Dedupe::None,
            expected_version: None,
            traceparent: None,
        }
    }

    pub(crate) async fn apply(&self, command: Command, target: Option<String>) -> String {
        self.try_apply(command, target).await.unwrap().id
    }

    pub(crate) async fn customer(&self, name: &str) -> String {
        let fields = CustomerFields {
            name: name.to_owned(),
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
        };
        self.apply(Command::CreateCustomer(CreateCustomer { fields }), None).await
    }

    /// Reached by email only.
    pub(crate) async fn user(&self, name: &str) -> UserId {
        self.person(name, None, Reach::default()).await
    }

    /// Reached by Slack as well.
    pub(crate) async fn slacker(&self, name: &str) -> UserId {
        self.person(name, Some(&format!("U{}", name.to_uppercase())), Reach::default()).await
    }

    pub(crate) async fn person(&self, name: &str, slack: Option<&str>, reach: Reach) -> UserId {
        let create = CreateUser {
            active: true,
            name: name.to_owned(),
            email: format!("{name}@example.com"),
            slack_user_id: slack.map(ToOwned::to_owned),
            reach,
            external_id: None,
        };
        self.apply(Command::CreateUser(create), None).await.parse().unwrap()
    }

    /// Started yesterday, every day, with these people.
    pub(crate) async fn onboarding(&self, name: &str, roles: &[(Role, UserId)]) -> OnboardingId {
        self.create(name, roles, CreateOnboarding::default()).await
    }

    pub(crate) async fn create(
        &self,
        name: &str,
        roles: &[(Role, UserId)],
        rest: CreateOnboarding,
    ) -> OnboardingId {
        let customer = self.customer(name).await;
        let roles: BTreeMap<_, _> = roles.iter().map(|(role, id)| (*role, id.to_text())).collect();
        let started_at = Some(self.now() - TimeDelta::days(1));
        let create = CreateOnboarding { customer, roles, started_at, ..rest };
        self.apply(Command::CreateOnboarding(create), None).await.parse().unwrap()
    }

    pub(crate) async fn patch(&self, onboarding: OnboardingId, patch: OnboardingPatch) {
        self.apply(Command::ChangeOnboarding(patch), Some(onboarding.to_text())).await;
    }

    /// As a caller of the API does it: a sign of life, unlike what usher does by itself.
    pub(crate) async fn apply_as_a_person(&self, command: Command, onboarding: OnboardingId) {
        let actor = Actor { kind: ActorKind::ApiKey, id: None, name: None };
        let request = Request { actor, ..self.request(command, Some(onboarding.to_text())) };
        self.store.apply(request, self.now()).await.unwrap();
    }

    pub(crate) async fn patch_as_a_person(&self, onboarding: OnboardingId, patch: OnboardingPatch) {
        self.apply_as_a_person(Command::ChangeOnboarding(patch), onboarding).await;
    }

    pub(crate) async fn patch_user(&self, user: UserId, patch: UserPatch) {
        self.apply(Command::ChangeUser(patch), Some(user.to_text())).await;
    }

    /// The whole ledger of an onboarding, oldest first.
    pub(crate) async fn ledger(&self, onboarding: OnboardingId) -> Vec<Delivery> {
        let page = Page { limit: 100, cursor: None };
        let mut rows = self.store.ledger(onboarding, &page).await.unwrap().data;
        rows.reverse();
        rows
    }

    /// `email user sent -`, one line per row, sorted: channel, recipient's name or `nobody`, status, reason.
    pub(crate) async fn story(&self, onboarding: OnboardingId) -> Vec<String> {
        let mut lines = Vec::new();
        for row in self.ledger(onboarding).await {
            let channel = row.channel.map_or("-", |channel| channel.as_str());
            let whom = match &row.recipient {
                None => "nobody".to_owned(),
                Some(usher_lifecycle::reminder::Recipient::User(id)) => self.name(*id).await,
                Some(other) => other.to_string(),
            };
            let reason = row.reason.as_deref().unwrap_or("-");
            lines.push(format!("{channel} {whom} {} {reason}", row.status.as_str()));
        }
        lines.sort();
        lines
    }

    pub(crate) async fn name(&self, id: UserId) -> String {
        let user = self.store.user(self.workspace, self.livemode, &Ref::Id(id.to_text())).await;
        user.unwrap().map_or_else(|| "deleted".to_owned(), |user| user.name)
    }

    pub(crate) async fn next(&self, onboarding: OnboardingId) -> Option<DateTime<Utc>> {
        let which = Ref::Id(onboarding.to_text());
        let found = self.store.onboarding(self.workspace, self.livemode, &which).await.unwrap().unwrap();
        found.reminders.next_reminder_at
    }

    /// To whom mail went, in order.
    pub(crate) fn mailed(&self) -> Vec<String> {
        self.sink.messages().into_iter().flat_map(|message| message.recipients).collect()
    }

    /// The Message-IDs of what came, in order.
    pub(crate) fn message_ids(&self) -> Vec<String> {
        let id =
            |message: usher_testkit::smtp::Received| message.mail().header("Message-ID").unwrap().to_owned();
        self.sink.messages().into_iter().map(id).collect()
    }
}

pub(crate) fn scheduler(store: Store, bus: Bus, clock: Clock, channels: Channels) -> Scheduler {
    let settings = Settings {
        message_domain: "usher.example".to_owned(),
        onboarding_url: Some("https://usher.example/o/{display_id}".to_owned()),
    };
    Scheduler::new(store, bus, clock, channels, Templates::embedded().unwrap(), settings)
}

/// A sink that wants a login.
pub(crate) async fn sink_with_login() -> Sink {
    let credentials = Some(("usher".to_owned(), "right".to_owned()));
    Sink::start_with(Options { credentials, ..Options::default() }).await.unwrap()
}

pub(crate) fn count(rows: &[Delivery], status: Status) -> usize {
    rows.iter().filter(|row| row.status == status).count()
}
