//! docs/asyncapi.json against the real thing: what is published of every type, what is accepted in every form, what is
//! refused. The schemas are read by a validator of the Python world.

use std::{collections::BTreeSet, process::Stdio, sync::Arc};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use serde_json::{Map, Value, json};
use tokio::{io::AsyncWriteExt as _, process::Command as Process, sync::broadcast};
use usher_bus::{Bus, CLOUDEVENTS_JSON, COMMANDS, Local, Names, Outgoing};
use usher_ingest::{
    body,
    intake::{Replay, Replayed, Try},
    relay::Relay,
};
use usher_lifecycle::{
    Command, WorkspaceId,
    event::{Actor, ActorKind, EventKind},
    reminder::{EscalateTo, EscalationStep, Rules},
};
use usher_scheduler::{
    Channels, Scheduler, Settings,
    channel::{Function, Mailer, Outcome},
    message::{Address, Templates},
};
use usher_store::{Dedupe, NewRejected, Ref, RejectedFilter, Request, Store};
use usher_testkit::clock::VirtualClock;

use crate::{
    split::at,
    upstream::{python, root},
};

/// How a command is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Structured,
    Binary,
}

/// A store with a workspace, what its relay publishes, and what is to be held against the document.
struct World {
    store: Store,
    workspace: WorkspaceId,
    clock: VirtualClock,
    relay: Relay,
    published: broadcast::Receiver<Outgoing>,
    samples: Vec<Value>,
    types: BTreeSet<String>,
    commands: usize,
    _dir: tempfile::TempDir,
}

impl World {
    async fn new() -> anyhow::Result<Self> {
        let (dir, clock) = (tempfile::tempdir()?, VirtualClock::new(at("2026-03-03T08:00:00Z")));
        let store = Store::connect(&format!("sqlite://{}/usher.db", dir.path().display()), 2).await?;
        store.migrate().await?;
        let step = EscalationStep { after_reminders: 1, to: EscalateTo::Fallback, set_state: None };
        let rules = Rules { escalation: vec![step], ..Rules::default() };
        let made = store.create_workspace("acme", "Acme", &rules, clock.now()).await?;
        let workspace = made.context("a workspace")?.id;
        let local = Local::new();
        let published = local.listen();
        let relay = Relay::new(store.clone(), Bus::Local(local), clock.as_fn());
        let (samples, types) = (Vec::new(), BTreeSet::new());
        Ok(Self { store, workspace, clock, relay, published, samples, types, commands: 0, _dir: dir })
    }

    fn sample(&mut self, about: &str, message: &str, part: &str, value: &Value, valid: bool) {
        let sample =
            json!({"about": about, "message": message, "part": part, "value": value, "valid": valid});
        self.samples.push(sample);
    }

    /// Gives the bytes of a command to the code that reads those of the stream; says what became of it.
    async fn give(&mut self, name: &str, form: Form, data: &Value) -> anyhow::Result<Replayed> {
        self.commands += 1;
        let id = format!("m-{}", self.commands);
        let event = json!({"specversion": "1.0", "id": id, "source": "/crm", "type": "com.example.deal.changed",
                           "time": "2026-03-03T07:59:59Z", "sequence": self.commands});
        let headers: Vec<(String, String)> = match form {
            Form::Plain => vec![("Nats-Msg-Id".into(), id.clone())],
            Form::Structured => vec![("Content-Type".into(), CLOUDEVENTS_JSON.into())],
            Form::Binary => {
                let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let attributes = event.as_object().into_iter().flatten();
                attributes.map(|(name, value)| (format!("ce-{name}"), text(value))).collect()
            }
        };
        let mut payload = data.clone();
        if form == Form::Structured {
            payload = event;
            payload["data"] = data.clone();
        }
        let refused = NewRejected {
            workspace: "acme".into(),
            command: name.into(),
            subject: format!("usher.commands.acme.{name}"),
            source: "/crm".into(),
            message_id: id.clone(),
            body_hash: "h".into(),
            headers: headers.clone(),
            payload: payload.to_string().into_bytes(),
            code: "invalid_data".into(),
            message: "for the sake of the test".into(),
            field: (self.commands.is_multiple_of(2)).then(|| "data".into()),
            attempts: 1,
        };
        self.store.reject(vec![refused], self.clock.now()).await?;
        let rows = self.store.newest_rejected(&RejectedFilter::default(), 1_000).await?;
        let row = rows.iter().find(|it| it.what.message_id == id).context("the row")?;
        let replay = Replay::new(self.store.clone(), Names::default());
        let replayed = replay.replay(row, Try::InEarnest, self.clock.now()).await?;
        let valid = !matches!(replayed, Replayed::Refused { .. });
        let about = format!("{name} {form:?} {data}: {replayed:?}");
        if form == Form::Structured {
            self.sample(&about, &format!("{name}.structured"), "payload", &payload, valid);
        } else {
            let headers: Map<String, Value> =
                headers.into_iter().map(|(name, value)| (name, value.into())).collect();
            self.sample(&about, name, "payload", &payload, valid);
            self.sample(&about, name, "headers", &Value::Object(headers), true);
        }
        Ok(replayed)
    }

    async fn accepted(&mut self, name: &str, form: Form, data: Value) -> anyhow::Result<()> {
        let replayed = self.give(name, form, &data).await?;
        anyhow::ensure!(
            matches!(replayed, Replayed::Committed | Replayed::Unchanged),
            "{name} {form:?} {data}: {replayed:?}"
        );
        Ok(())
    }

    async fn refused(&mut self, name: &str, data: Value) -> anyhow::Result<()> {
        for form in [Form::Plain, Form::Structured] {
            let replayed = self.give(name, form, &data).await?;
            anyhow::ensure!(matches!(replayed, Replayed::Refused { .. }), "{name} {data}: {replayed:?}");
        }
        Ok(())
    }

    /// As a caller of the API.
    async fn apply(&self, command: Command, target: Option<Ref>) -> anyhow::Result<String> {
        let request = Request {
            workspace_id: self.workspace,
            livemode: true,
            command,
            target,
            actor: Actor { kind: ActorKind::ApiKey, id: Some("key_x".into()), name: Some("CI".into()) },
            dedupe: Dedupe::None,
            expected_version: None,
            traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
        };
        Ok(self.store.apply(request, self.clock.now()).await?.id)
    }

    /// Publishes all there is, and takes it in.
    async fn publish(&mut self) -> anyhow::Result<()> {
        while self.store.outbox_waits().await? {
            self.relay.pass().await?;
            while let Ok(message) = self.published.try_recv() {
                let headers = message.headers.iter().map(|(name, value)| (name.to_owned(), value.into()));
                let headers = Value::Object(headers.collect::<Map<_, _>>());
                if message.subject.starts_with("usher.rejected.") {
                    self.sample(&message.subject, "rejected", "headers", &headers, true);
                    continue;
                }
                let payload: Value = serde_json::from_slice(&message.payload)?;
                let kind = payload["type"].as_str().context("a type")?.to_owned();
                self.sample(&message.subject, &kind, "headers", &headers, true);
                self.sample(&message.subject, &kind, "payload", &payload, true);
                self.types.insert(kind);
            }
        }
        Ok(())
    }
}

/// Every command, once in this form; the names are its own.
async fn commands(world: &mut World, form: Form) -> anyhow::Result<()> {
    let own = |name: &str| format!("{name}-{form:?}");
    let (customer, one, two) = (format!("external:{}", own("crm")), own("one"), own("two"));
    let ada = format!("ada-{form:?}@example.com").to_lowercase();
    for (name, data) in [
        (
            "customer.upsert",
            json!({"external_id": own("crm"), "name": "Acme", "mrr": 10.5, "metadata": {"a": {"b": 1}}}),
        ),
        (
            "customer.upsert",
            json!({"external_id": own("crm"), "plan": "pro", "domain": null, "expected_version": 1}),
        ),
        (
            "user.upsert",
            json!({"external_id": own("u"), "name": "Ada", "email": ada, "days_off": ["sat", "2026-12-24"],
                               "quiet_hours": {"from": "20:00", "to": "08:00"}, "slack_user_id": null}),
        ),
        ("user.upsert", json!({"external_id": own("u"), "active": false})),
        ("user.upsert", json!({"external_id": own("u"), "active": true, "quiet_hours": null})),
        (
            "contact.upsert",
            json!({"customer_id": customer, "external_id": own("p"), "name": "Pam", "email": "pam@acme.example"}),
        ),
        ("contact.upsert", json!({"customer_id": customer, "email": "pam@acme.example", "title": "CEO"})),
        ("contact.upsert", json!({"external_id": own("p"), "labels": ["boss"], "expected_version": 2})),
        (
            "onboarding.create",
            json!({"customer_id": customer, "external_id": one, "csm_id": ada, "state": "waiting",
                                     "target_launch_date": "2026-06-01T00:00:00Z", "reminder_frequency_days": 1}),
        ),
        (
            "onboarding.create",
            json!({"customer": {"domain": "globex.example", "name": "Globex"}, "external_id": two,
                                     "contacts": [{"name": "Hank", "email": "hank@globex.example", "is_primary": true}]}),
        ),
        ("onboarding.update", json!({"external_id": one, "state": "at_risk", "reason": "silence"})),
        (
            "onboarding.update",
            json!({"external_id": one, "state": "active", "notes": "they answer", "se_id": null}),
        ),
        ("onboarding.update", json!({"external_id": one, "phase": "launch"})),
        ("onboarding.snooze", json!({"external_id": one, "days": 3})),
        ("onboarding.snooze", json!({"external_id": one, "until": "2026-03-20T09:00:00Z"})),
        (
            "onboarding.update",
            json!({"external_id": one, "phase": "completed", "wizard_completed_at": "2026-03-01T00:00:00Z"}),
        ),
        ("onboarding.delete", json!({"external_id": two})),
    ] {
        world.accepted(name, form, data).await?;
    }
    for (name, data) in [
        ("customer.upsert", json!({"id": "1", "name": "By its number"})),
        ("user.upsert", json!({"display_id": 1, "name": "By its number"})),
        ("contact.upsert", json!({"display_id": 1, "title": "By its number", "external_id": null})),
        ("onboarding.update", json!({"display_id": 1, "notes": "by its number"})),
    ] {
        world.accepted(name, form, data).await?;
    }
    Ok(())
}

/// What only the API can do, and reminders.
async fn the_rest(world: &World) -> anyhow::Result<()> {
    let template = body::create_template(&json!({"name": "Usual", "reminder_frequency_days": 2}))?;
    let template = Ref::Id(world.apply(Command::CreateTemplate(template), None).await?);
    let renamed = Command::ChangeTemplate(body::patch_template(&json!({"name": "Other"}))?);
    world.apply(renamed, Some(template.clone())).await?;
    world.apply(Command::DeleteTemplate, Some(template)).await?;
    let renamed = Command::ChangeWorkspace(body::patch_workspace(&json!({"name": "Acme Ltd"}))?);
    world.apply(renamed, Some(Ref::Id(world.workspace.to_text()))).await?;
    let external = |key: &str| Some(Ref::ExternalId(key.into()));
    world.apply(Command::DeleteContact, external("p-Binary")).await?;

    let customer =
        world.apply(Command::CreateCustomer(body::create_customer(&json!({"name": "Due"}))?), None).await?;
    for (name, email) in [("Ada", "ada@due.example"), ("Gone", "gone@due.example")] {
        let user = body::create_user(&json!({"name": name, "email": email}))?;
        world.apply(Command::CreateUser(user), None).await?;
    }
    for csm in [json!("ada@due.example"), json!("gone@due.example"), json!(null)] {
        let create = json!({"customer_id": customer, "csm_id": csm, "reminder_frequency_days": 1,
                            "started_at": "2026-03-02T08:00:00Z"});
        world.apply(Command::CreateOnboarding(body::create_onboarding(&create)?), None).await?;
    }
    let channel = Function::new(|handed| {
        let gone = handed.message.to.address == Address::Email("gone@due.example".into());
        let refused = Outcome::RefusedForGood { code: "550".into(), detail: "nobody".into(), broken: false };
        let outcome = if gone { refused } else { Outcome::Accepted { reference: None } };
        async move { outcome }.boxed()
    });
    let channels =
        Channels { mailer: Some(Mailer::function(channel, "usher <usher@due.example>")?), slack: None };
    let settings = Settings { message_domain: "due.example".into(), onboarding_url: None };
    let (bus, clock) = (Bus::Local(Local::new()), world.clock.as_fn());
    let scheduler =
        Scheduler::new(world.store.clone(), bus, clock, channels, Arc::new(Templates::embedded()?), settings);
    for day in 3..6 {
        let nine: DateTime<Utc> = format!("2026-03-0{day}T09:00:00Z").parse()?;
        world.clock.set(nine);
        scheduler.plan(nine).await?;
        scheduler.dispatch(nine).await?;
    }
    world.apply(Command::DeleteCustomer, Some(Ref::Id(customer))).await?;
    let made = body::create_user(&json!({"name": "Brief", "email": "brief@due.example"}))?;
    let user = world.apply(Command::CreateUser(made), None).await?;
    world.apply(Command::DeleteUser, Some(Ref::Id(user))).await?;
    Ok(())
}

/// What the service refuses for its form, the document does not promise.
async fn refusals(world: &mut World) -> anyhow::Result<()> {
    let customer = "external:crm-Plain";
    for (name, data) in [
        ("onboarding.create", json!({"notes": "whose?"})),
        (
            "onboarding.create",
            json!({"customer_id": customer, "customer": {"domain": "x.example", "name": "X"}}),
        ),
        ("onboarding.create", json!({"customer": {"id": "1", "domain": "x.example", "name": "X"}})),
        (
            "onboarding.create",
            json!({"customer": {"domain": "x.example", "name": "X", "expected_version": 1}}),
        ),
        ("onboarding.create", json!({"customer": {"name": "X"}})),
        ("onboarding.create", json!({"customer_id": customer, "id": "1"})),
        ("onboarding.create", json!({"customer_id": customer, "contacts": [{"name": "X"}]})),
        ("onboarding.create", json!({"customer_id": customer, "contacts": {}})),
        ("onboarding.update", json!({"notes": "which?"})),
        ("onboarding.update", json!({"external_id": null, "notes": "which?"})),
        ("onboarding.update", json!({"id": "1", "display_id": 1})),
        ("onboarding.update", json!({"id": "1", "colour": "red"})),
        ("onboarding.snooze", json!({"id": "1"})),
        ("onboarding.snooze", json!({"id": "1", "days": 0})),
        ("onboarding.snooze", json!({"id": "1", "days": 1, "until": "2026-03-20T09:00:00Z"})),
        ("onboarding.delete", json!({"id": "1", "why": "x"})),
        ("customer.upsert", json!({"name": "X"})),
        ("customer.upsert", json!({"external_id": "x", "name": "X", "expected_version": "1"})),
        ("user.upsert", json!({"name": "X", "email": "x@x.example"})),
        ("contact.upsert", json!({"customer_id": customer, "name": "X"})),
        ("contact.upsert", json!({"customer_id": customer, "id": "1", "name": "X"})),
        ("contact.upsert", json!({"email": "x@x.example", "name": "X"})),
        ("contact.upsert", json!({"id": "1", "display_id": 1})),
    ] {
        world.refused(name, data).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_published_and_accepted_is_what_the_document_says() -> anyhow::Result<()> {
    usher_testkit::skip_without_servers!(Ok(()));
    let mut world = World::new().await?;
    for form in [Form::Plain, Form::Structured, Form::Binary] {
        Box::pin(commands(&mut world, form)).await?;
    }
    Box::pin(refusals(&mut world)).await?;
    the_rest(&world).await?;
    world.publish().await?;
    let all: BTreeSet<String> = EventKind::ALL.iter().map(|kind| kind.as_str().to_owned()).collect();
    assert_eq!(world.types, all);
    for command in COMMANDS {
        let said = |name: &str| world.samples.iter().any(|it| it["message"] == name && it["valid"] == true);
        assert!(said(command) && said(&format!("{command}.structured")), "{command}");
    }

    let mut check = Process::new(python().await?)
        .arg(root().join("scripts/asyncapi/validate.py"))
        .arg(root().join("docs/asyncapi.json"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = check.stdin.take().context("its input")?;
    input.write_all(serde_json::to_string(&world.samples)?.as_bytes()).await?;
    drop(input);
    let output = check.wait_with_output().await?;
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    anyhow::ensure!(output.status.success(), "{said}{errors}");
    assert_eq!(said.trim(), format!("{} samples are what the document says", world.samples.len()));
    Ok(())
}
