//! The commands, in every accepted form, and their publisher: it waits for each acknowledgement, and says the same
//! again, under the same id, until it has one.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};
use usher_bus::{Headers, Nats, Outgoing, Settings};

use super::{Dice, world::Fixed};

/// Messages that are published and awaited together.
const WINDOW: usize = 40;

/// What a command asks for; the number of the command tells one from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An onboarding with `external_id` `c-<number>`.
    Create,
    /// One of the fixed onboardings gets the notes `n-<number>`.
    Change,
    /// A customer with `external_id` `k-<number>`.
    Customer,
    /// It can never succeed.
    Bad(Fault),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    BrokenJson,
    UnknownCustomer,
    InvalidValue,
}

impl Fault {
    /// The code that is to be found with it.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::BrokenJson => "invalid_json",
            Self::UnknownCustomer => "customer_not_found",
            Self::InvalidValue => "too_small",
        }
    }
}

/// How it is said. One that is said twice keeps its source and id; a `CloudEvent` may change its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    CloudEvent,
}

pub(super) struct Command {
    pub(super) id: String,
    pub(super) kind: Kind,
    form: Form,
    name: &'static str,
    data: String,
}

/// All commands, and the order in which they are published: some of them more than once.
pub(super) struct Load {
    pub(super) commands: Vec<Command>,
    pub(super) order: Vec<usize>,
    dice: Dice,
}

impl Load {
    pub(super) fn new(count: usize, fixed: &Fixed, dice: &mut Dice) -> Self {
        let commands: Vec<_> = (0..count).map(|number| Command::new(number, fixed, dice)).collect();
        let mut order = Vec::new();
        for number in 0..count {
            order.push(number);
            // A repeat, of this one at once or of another much later.
            if dice.percent(25) {
                order.push(if dice.percent(50) { number } else { dice.below(number + 1) });
            }
        }
        Self { commands, order, dice: dice.clone() }
    }

    /// Publishes everything, evenly over `time` or as fast as it goes.
    pub(super) async fn publish(&self, url: &str, time: Duration) -> anyhow::Result<()> {
        let mut dice = self.dice.clone();
        let settings = Settings {
            publish_timeout: Duration::from_secs(2),
            retry_on_initial_connect: true,
            ..Settings::new(url)
        };
        let (nats, started) = (Nats::connect(settings).await?, Instant::now());
        let mut connections = nats.connections();
        let windows = self.order.chunks(WINDOW);
        let pace = time / u32::try_from(windows.len())?;
        for (turn, window) in (0_u32..).zip(windows) {
            sleep_until(started + pace * turn).await;
            let mut open: Vec<_> =
                window.iter().map(|number| self.commands[*number].message(&mut dice)).collect();
            while !open.is_empty() {
                let results = nats.publish_window(open.clone()).await;
                let mut results = results.into_iter();
                open.retain(|_| results.next().is_some_and(|result| result.is_err()));
                // While the server is away each attempt would end at once.
                if !open.is_empty() && !nats.is_connected() {
                    drop(tokio::time::timeout(Duration::from_secs(2), connections.changed()).await);
                }
            }
        }
        Ok(())
    }
}

impl Command {
    fn new(number: usize, fixed: &Fixed, dice: &mut Dice) -> Self {
        let kind = match dice.below(100) {
            0 => Kind::Bad(Fault::BrokenJson),
            1 => Kind::Bad(Fault::UnknownCustomer),
            2 => Kind::Bad(Fault::InvalidValue),
            3..=22 => Kind::Change,
            23..=32 => Kind::Customer,
            _ => Kind::Create,
        };
        let quiet = |customer: &str, more: (&str, Value)| {
            let mut data = json!({"customer_id": customer, "reminder_email": false, "reminder_slack": false});
            data[more.0] = more.1;
            data.to_string()
        };
        let (name, data) = match kind {
            Kind::Create => {
                ("onboarding.create", quiet("external:acme", ("external_id", json!(format!("c-{number}")))))
            }
            Kind::Change => {
                let id = &fixed.changed[dice.below(fixed.changed.len())];
                ("onboarding.update", json!({"id": id, "notes": format!("n-{number}")}).to_string())
            }
            Kind::Customer => {
                let key = format!("k-{number}");
                ("customer.upsert", json!({"external_id": key, "name": key}).to_string())
            }
            Kind::Bad(Fault::BrokenJson) => {
                ("onboarding.create", r#"{"customer_id": "external:acme""#.to_owned())
            }
            Kind::Bad(Fault::UnknownCustomer) => {
                ("onboarding.create", quiet("external:nobody", ("notes", json!("x"))))
            }
            Kind::Bad(Fault::InvalidValue) => {
                ("onboarding.create", quiet("external:acme", ("reminder_frequency_days", json!(0))))
            }
        };
        let form = if dice.percent(40) { Form::Plain } else { Form::CloudEvent };
        Self { id: format!("chaos-{number}"), kind, form, name, data }
    }

    fn message(&self, dice: &mut Dice) -> Outgoing {
        let subject = format!("usher.commands.main.{}", self.name);
        let (headers, payload) = match self.form {
            Form::Plain => (Headers::new().with("Nats-Msg-Id", &self.id), self.data.clone()),
            // Of broken JSON only the headers can be read.
            Form::CloudEvent if self.kind == Kind::Bad(Fault::BrokenJson) || dice.percent(50) => {
                let prefix = ["ce-", "Ce-", "CE-"][dice.below(3)];
                let attribute = |name: &str| format!("{prefix}{name}");
                let headers = Headers::new()
                    .with(attribute("specversion"), "1.0")
                    .with(attribute("id"), &self.id)
                    .with(attribute("source"), "/chaos")
                    .with(attribute("type"), "com.example.deal.won")
                    .with("Content-Type", "application/json");
                (headers, self.data.clone())
            }
            Form::CloudEvent => {
                let event = json!({"specversion": "1.0", "id": self.id, "source": "/chaos", "type": "com.example.deal.won"});
                let text = event.to_string();
                let text = format!("{},\"data\":{}}}", text.trim_end_matches('}'), self.data);
                (Headers::new().with("Content-Type", "application/cloudevents+json"), text)
            }
        };
        Outgoing { subject, headers, payload: payload.into() }
    }
}
