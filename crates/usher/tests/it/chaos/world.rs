//! The processes and servers, how they are killed, and when they are quiet.

use std::{fmt, path::Path, time::Duration};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::time::Instant;
use usher_bus::{Headers, Outgoing, Settings};
use usher_store::Store;
use usher_testkit::{nats::Nats, postgres::Postgres, process::Child, smtp::Sink};

use super::Dice;
use crate::{
    commands,
    metrics::Scrape,
    service::{Api, PATIENCE, offset_to, start},
};

/// Longer than a message waits that a killed process had (30 s) or that came back while the store was away (60 s).
const QUIET: Duration = Duration::from_mins(5);
/// Longer than any message waits before it comes again, hence than the longest pause between two deliveries while one is
/// not acknowledged.
const SILENCE: Duration = Duration::from_secs(90);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    /// Two `ingest` and two `scheduler` on Postgres.
    Split,
    /// One `run` on SQLite.
    Embedded,
}

/// Where a process runs, again and again.
struct Seat {
    role: &'static str,
    dir: tempfile::TempDir,
    child: Option<Child>,
}

pub(super) struct World {
    pub(super) nats: Nats,
    pub(super) sink: Sink,
    postgres: Option<Postgres>,
    url: String,
    seats: Vec<Seat>,
    /// Seconds by which the clocks of the processes differ from ours.
    clock: i64,
}

/// What exists before the first kill: ids.
pub(super) struct Fixed {
    /// Onboardings that are changed by commands; nobody is reminded of them.
    pub(super) changed: Vec<String>,
    /// Onboardings that become due under fire, each of a customer of its own.
    pub(super) due: Vec<Due>,
}

pub(super) struct Due {
    pub(super) id: String,
    pub(super) customer: String,
}

/// When nothing was under way any more.
pub(super) struct Quiet {
    pub(super) after: Duration,
    /// Commands that the server still counts as unacknowledged and gives to nobody.
    pub(super) miscounted: u64,
}

/// What was killed, and how often.
#[derive(Default)]
pub(super) struct Kills {
    processes: usize,
    postgres: usize,
    nats: usize,
    ended: usize,
}

impl fmt::Display for Kills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processes, postgres, nats, ended } = self;
        write!(
            f,
            "{} killed and restarted: {processes} processes, {postgres} times Postgres, {nats} times nats-server; {ended} \
             processes ended by SIGTERM",
            processes + postgres + nats
        )
    }
}

impl World {
    pub(super) async fn start(engine: Engine) -> anyhow::Result<Self> {
        let (nats, sink) = (Nats::start().await?, Sink::start().await?);
        let dir = || tempfile::tempdir();
        let seat = |role| anyhow::Ok(Seat { role, dir: dir()?, child: None });
        let (postgres, url, seats) = match engine {
            Engine::Split => {
                let postgres = Postgres::start().await?;
                let url = postgres.url("postgres");
                let roles = ["ingest", "ingest", "scheduler", "scheduler"];
                (Some(postgres), url, roles.into_iter().map(seat).collect::<Result<Vec<_>, _>>()?)
            }
            Engine::Embedded => {
                let seat = seat("run")?;
                let url = format!("sqlite://{}/usher.db", seat.dir.path().display());
                (None, url, vec![seat])
            }
        };
        let early: DateTime<Utc> = "2026-03-03T08:00:00Z".parse()?;
        let clock = offset_to(early).num_seconds();
        let mut world = Self { nats, sink, postgres, url, seats, clock };
        for seat in 0..world.seats.len() {
            world.start_seat(seat).await?;
        }
        Ok(world)
    }

    /// What the commands refer to, and what becomes due at nine.
    pub(super) async fn prepare(&self) -> anyhow::Result<Fixed> {
        let api = self.api().await?;
        let id = |made: Value| made["id"].as_str().map(str::to_owned).context("an id");
        let acme =
            api.expect(201, "POST", "/customers", json!({"name": "Acme", "external_id": "acme"})).await?;
        for person in 0..8 {
            let body = json!({"name": format!("P{person}"), "email": format!("p{person}@chaos.example")});
            api.expect(201, "POST", "/users", body).await?;
        }
        let mut fixed = Fixed { changed: Vec::new(), due: Vec::new() };
        for _ in 0..20 {
            let body = json!({"customer_id": acme["id"], "reminder_email": false});
            fixed.changed.push(id(api.expect(201, "POST", "/onboardings", body).await?)?);
        }
        for number in 0..40 {
            let customer = format!("Due-{number:03}");
            let made = api.expect(201, "POST", "/customers", json!({"name": customer})).await?;
            let body = json!({"customer_id": made["id"], "csm_id": format!("p{}@chaos.example", number % 8),
                              "started_at": "2026-03-02T08:00:00Z"});
            fixed.due.push(Due { id: id(api.expect(201, "POST", "/onboardings", body).await?)?, customer });
        }
        Ok(fixed)
    }

    /// Does the work while things are killed; then kills no more.
    pub(super) async fn kill_while(
        &mut self,
        work: impl Future<Output = anyhow::Result<()>>,
        dice: &mut Dice,
    ) -> anyhow::Result<Kills> {
        let mut kills = Kills::default();
        let killing = async {
            loop {
                self.round(dice, &mut kills).await?;
            }
        };
        let done: anyhow::Result<()> = tokio::select! {
            done = work => done,
            killed = killing => killed,
        };
        done.map(|()| kills)
    }

    /// Kills one or two, lets the others go on without, and brings back what is down.
    async fn round(&mut self, dice: &mut Dice, kills: &mut Kills) -> anyhow::Result<()> {
        pause(dice, 200, 1_500).await;
        for _ in 0..=usize::from(dice.percent(40)) {
            match dice.below(10) {
                0 | 1 => {
                    if let Some(postgres) = self.postgres.as_ref().filter(|it| it.pid().is_some()) {
                        postgres.kill().await?;
                        kills.postgres += 1;
                    }
                }
                2 | 3 if self.nats.pid().is_some() => {
                    self.nats.kill().await?;
                    kills.nats += 1;
                }
                _ => {
                    let seat = dice.below(self.seats.len());
                    let gently = dice.percent(15);
                    if let Some(child) = self.seats[seat].child.take() {
                        if gently {
                            // Without database and NATS it still ends by itself, and in time.
                            child.terminate()?;
                            let exit = child.wait_exit(PATIENCE).await?;
                            anyhow::ensure!(
                                exit.0 == 0,
                                "{}: {exit:?}\n{}",
                                self.seats[seat].role,
                                child.output()
                            );
                            kills.ended += 1;
                        } else {
                            child.kill_9().await?;
                            kills.processes += 1;
                        }
                    }
                }
            }
        }
        pause(dice, 0, 700).await;
        self.all_up().await
    }

    pub(super) async fn all_up(&mut self) -> anyhow::Result<()> {
        if let Some(postgres) = self.postgres.as_ref().filter(|it| it.pid().is_none()) {
            postgres.restart().await?;
        }
        if self.nats.pid().is_none() {
            self.nats.restart().await?;
        }
        for seat in 0..self.seats.len() {
            match self.seats[seat].child.as_ref() {
                Some(child) if child.pid().is_none() => {
                    anyhow::bail!("{} ended by itself:\n{}", self.seats[seat].role, child.output())
                }
                Some(_) => {}
                None => self.start_seat(seat).await?,
            }
        }
        Ok(())
    }

    async fn start_seat(&mut self, seat: usize) -> anyhow::Result<()> {
        let (nats, clock) = (self.nats.url(), self.clock.to_string());
        let smtp = format!("smtp://{}:{}", self.sink.host(), self.sink.port());
        let env = [
            ("USHER_STORE__URL", self.url.as_str()),
            ("USHER_NATS__URL", nats.as_str()),
            ("USHER_SMTP__URL", smtp.as_str()),
            ("USHER_SMTP__FROM", "usher <usher@chaos.example>"),
            ("USHER_LOG__FILTER", "info,async_nats=error,sqlx=warn"),
            ("USHER_TEST_CLOCK_OFFSET", clock.as_str()),
        ];
        let seat = &mut self.seats[seat];
        drop(std::fs::remove_file(seat.dir.path().join("http.addr")));
        seat.child = Some(start(&[seat.role], seat.dir.path(), &env).await?);
        Ok(())
    }

    pub(super) async fn api(&self) -> anyhow::Result<Api> {
        Api::of(self.first_dir()).await
    }

    fn first_dir(&self) -> &Path {
        self.seats[0].dir.path()
    }

    /// A connection of ours.
    pub(super) async fn client(&self) -> anyhow::Result<usher_bus::Nats> {
        Ok(usher_bus::Nats::connect(Settings::new(&self.nats.url())).await?)
    }

    /// The store, past the processes.
    pub(super) async fn store(&self) -> anyhow::Result<Store> {
        Ok(Store::connect(&self.url, 2).await?)
    }

    /// What `usher rejected list` shows.
    pub(super) async fn rejected(&self) -> anyhow::Result<Vec<Value>> {
        let set = format!("store.url={}", self.url);
        let arguments = ["--set", &set, "rejected", "list", "--limit", "100000", "--json"];
        let rows = commands::json(self.first_dir(), &arguments).await?;
        rows.as_array().cloned().context("a list")
    }

    /// Waits until nothing is under way any more: no command that is not delivered or not acknowledged, an empty outbox.
    ///
    /// A nats-server that was killed may count wrongly for good: 2.9 brings back messages that were acknowledged, which
    /// nobody gets again, and up to 2.10 it counts messages as unacknowledged that are gone from the stream
    /// (nats-server #6387). Hence it is also quiet once replicas ask and have been given nothing for longer than any
    /// message waits; whether each command had its effect is counted from the tables, not here.
    pub(super) async fn until_quiet(&self) -> anyhow::Result<Quiet> {
        let (started, store, client) = (Instant::now(), self.store().await?, self.client().await?);
        let mut last = String::new();
        let waiting = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(250));
            let (mut given, mut since) = (Value::Null, Instant::now());
            loop {
                ticks.tick().await;
                let consumer = ask(&client, "CONSUMER.INFO.USHER_COMMANDS.usher-intake", &json!({})).await?;
                let (events, _) = store.outbox_backlog().await?;
                last = format!("outbox: {events}; consumer: {consumer}");
                if given != consumer["delivered"] {
                    (given, since) = (consumer["delivered"].clone(), Instant::now());
                }
                let unacknowledged = consumer["num_ack_pending"].as_u64().context("a number")?;
                let nothing_comes = consumer["num_waiting"] != json!(0) && since.elapsed() > SILENCE;
                let settled = consumer["num_pending"] == json!(0) && (unacknowledged == 0 || nothing_comes);
                if !settled || store.outbox_waits().await? {
                    continue;
                }
                // As an operator sees it: the relays have kept up by themselves.
                let metrics = Scrape::of(&self.first_dir().join("http.addr")).await?;
                let backlog =
                    ["usher_outbox_backlog", "usher_rejected_backlog", "usher_outbox_oldest_age_seconds"];
                if backlog.iter().all(|name| metrics.shown(name) == Some(0.0)) {
                    return anyhow::Ok(Quiet { after: started.elapsed(), miscounted: unacknowledged });
                }
            }
        };
        let quiet = tokio::time::timeout(QUIET, waiting).await;
        let quiet = quiet.with_context(|| format!("something is stuck: {last}\n{}", self.output()))??;
        store.close().await;
        Ok(quiet)
    }

    /// Starts every process anew, with a clock that shows `time`.
    pub(super) async fn at(&mut self, time: &str) -> anyhow::Result<()> {
        self.end().await?;
        self.clock = offset_to(time.parse()?).num_seconds();
        self.all_up().await
    }

    /// Ends every process; role and exit code of each.
    pub(super) async fn end(&mut self) -> anyhow::Result<Vec<(&'static str, i32)>> {
        let mut exits = Vec::new();
        for seat in &mut self.seats {
            let Some(child) = seat.child.take() else { continue };
            child.terminate()?;
            exits.push((seat.role, child.wait_exit(PATIENCE).await?.0));
        }
        Ok(exits)
    }

    /// What the processes of now said.
    fn output(&self) -> String {
        let said = self.seats.iter().filter_map(|seat| {
            let output = seat.child.as_ref()?.output();
            let lines: Vec<_> = output.lines().rev().take(15).collect();
            Some(format!("--- {}\n{}", seat.role, lines.into_iter().rev().collect::<Vec<_>>().join("\n")))
        });
        said.collect::<Vec<_>>().join("\n")
    }
}

/// Asks the JetStream API.
pub(super) async fn ask(client: &usher_bus::Nats, what: &str, body: &Value) -> anyhow::Result<Value> {
    let request = Outgoing {
        subject: format!("$JS.API.{what}"),
        headers: Headers::new(),
        payload: body.to_string().into(),
    };
    let (_, answer) =
        client.request(request, Duration::from_secs(10)).await.with_context(|| what.to_owned())?;
    Ok(serde_json::from_slice(&answer)?)
}

/// Not to wait for something: this is how long it lasts.
async fn pause(dice: &mut Dice, from: usize, to: usize) {
    let length = Duration::from_millis((from + dice.below(to - from)) as u64);
    tokio::time::sleep(length).await;
}
