//! The rules once more, written down from docs/reminders.md and shared with nothing: calendars of four zones by their
//! laws, slots by walking from day to day, who is responsible, and when a person may be reached.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc, Weekday};
use usher_lifecycle::reminder::Channel;
use usher_lifecycle::{Phase, State};

/// How far the hosts' clocks stand from the time of everybody else, at most.
pub(crate) const SKEW: TimeDelta = TimeDelta::seconds(25);
/// Later than this is late.
pub(crate) const GRACE: TimeDelta = TimeDelta::minutes(15);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zone {
    Utc,
    Berlin,
    NewYork,
    Kolkata,
}

impl Zone {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Utc => "UTC",
            Self::Berlin => "Europe/Berlin",
            Self::NewYork => "America/New_York",
            Self::Kolkata => "Asia/Kolkata",
        }
    }

    /// Minutes east of Greenwich.
    fn offset(self, at: DateTime<Utc>) -> i64 {
        let year = at.year();
        match self {
            Self::Utc => 0,
            Self::Kolkata => 330,
            Self::Berlin => {
                let (from, to) = (sunday(year, 3, -1), sunday(year, 10, -1));
                let summer = at >= utc(from, 1) && at < utc(to, 1);
                if summer { 120 } else { 60 }
            }
            Self::NewYork => {
                let (from, to) = (sunday(year, 3, 2), sunday(year, 11, 1));
                let summer = at >= utc(from, 7) && at < utc(to, 6);
                if summer { -240 } else { -300 }
            }
        }
    }

    pub(crate) fn local(self, at: DateTime<Utc>) -> NaiveDateTime {
        at.naive_utc() + TimeDelta::minutes(self.offset(at))
    }

    /// Of a wall time by day, which no change of clocks touches.
    pub(crate) fn instant(self, date: NaiveDate, time: NaiveTime) -> DateTime<Utc> {
        let read = date.and_time(time).and_utc();
        read - TimeDelta::minutes(self.offset(read - TimeDelta::minutes(self.offset(read))))
    }
}

/// The n-th Sunday of a month; -1 = the last, of a month of 31 days.
fn sunday(year: i32, month: u32, nth: i64) -> NaiveDate {
    let day = |day| NaiveDate::from_ymd_opt(year, month, day).unwrap();
    let weekday = |date: NaiveDate| u64::from(date.weekday().num_days_from_sunday());
    if nth < 0 {
        return day(31) - Days::new(weekday(day(31)));
    }
    let first = day(1) + Days::new((7 - weekday(day(1))) % 7);
    first + Days::new(7 * u64::try_from(nth - 1).unwrap())
}

fn utc(date: NaiveDate, hour: u32) -> DateTime<Utc> {
    date.and_hms_opt(hour, 0, 0).unwrap().and_utc()
}

/// What a workspace decides.
#[derive(Debug, Clone)]
pub(crate) struct Office {
    pub(crate) zone: Zone,
    pub(crate) opens: NaiveTime,
    pub(crate) closes: NaiveTime,
    pub(crate) days: Vec<Weekday>,
    pub(crate) holidays: BTreeSet<NaiveDate>,
    pub(crate) catches_up: bool,
    pub(crate) resends: bool,
    pub(crate) spread: TimeDelta,
    pub(crate) ops_email: Option<String>,
    pub(crate) ops_slack: Option<String>,
    /// Mildest first.
    pub(crate) escalation: Vec<Step>,
}

/// After so many reminders that nobody heeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) after: u64,
    /// The role that is told; none = the workspace's own addresses.
    pub(crate) to: Option<usize>,
    pub(crate) at_risk: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    pub(crate) date: NaiveDate,
    pub(crate) due: DateTime<Utc>,
}

impl Office {
    pub(crate) fn works(&self, date: NaiveDate) -> bool {
        self.days.contains(&date.weekday()) && !self.holidays.contains(&date)
    }

    /// All slots, from the base on for ever, by walking from date to date.
    fn walk(&self, base: NaiveDate, every: u16) -> impl Iterator<Item = Slot> {
        self.walk_past(base, every, NaiveDate::MIN)
    }

    /// Those whose nominal date is later than one that was kept.
    fn walk_past(&self, base: NaiveDate, every: u16, past: NaiveDate) -> impl Iterator<Item = Slot> {
        let nominal = std::iter::successors(Some(base), move |it| Some(*it + Days::new(u64::from(every))));
        nominal.skip(1).filter(move |nominal| *nominal > past).map(|nominal| {
            let mut date = nominal;
            while !self.works(date) {
                date = date.succ_opt().unwrap();
            }
            self.slot(date)
        })
    }

    pub(crate) fn slot(&self, date: NaiveDate) -> Slot {
        Slot { date, due: self.zone.instant(date, self.opens) }
    }

    /// Slots that fall due after `from`, up to `until`.
    pub(crate) fn slots(
        &self,
        base: NaiveDate,
        every: u16,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> BTreeSet<Slot> {
        self.walk(base, every).skip_while(|it| it.due <= from).take_while(|it| it.due <= until).collect()
    }

    /// The first one that falls due after `from`.
    pub(crate) fn next_slot(&self, base: NaiveDate, every: u16, from: DateTime<Utc>) -> Slot {
        self.next_slot_past(base, every, from, NaiveDate::MIN)
    }

    /// The same, after a slot of that date was kept.
    pub(crate) fn next_slot_past(
        &self,
        base: NaiveDate,
        every: u16,
        from: DateTime<Utc>,
        past: NaiveDate,
    ) -> Slot {
        self.walk_past(base, every, past).find(|it| it.due > from).unwrap()
    }

    /// Whether what is late may go out.
    pub(crate) fn is_open(&self, at: DateTime<Utc>) -> bool {
        let local = self.zone.local(at);
        self.works(local.date())
            && local.time() >= self.opens
            && at <= self.zone.instant(local.date(), self.closes)
    }
}

/// A member of the team, as they are at some time.
#[expect(clippy::struct_excessive_bools, reason = "they are five facts that do not depend on each other")]
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) active: bool,
    pub(crate) email_on: bool,
    pub(crate) slack_on: bool,
    pub(crate) email_broken: bool,
    pub(crate) slack_broken: bool,
    pub(crate) slack_id: Option<String>,
    pub(crate) zone: Option<Zone>,
    pub(crate) quiet: Option<(NaiveTime, NaiveTime)>,
    pub(crate) days_off: Vec<Weekday>,
    pub(crate) dates_off: Vec<NaiveDate>,
    pub(crate) muted: Option<DateTime<Utc>>,
}

impl Person {
    const fn enabled(&self, channel: Channel) -> bool {
        match channel {
            Channel::Email => self.email_on,
            Channel::Slack => self.slack_on,
        }
    }

    const fn broken(&self, channel: Channel) -> bool {
        match channel {
            Channel::Email => self.email_broken,
            Channel::Slack => self.slack_broken,
        }
    }

    pub(crate) fn is_free(&self, office: &Office, at: DateTime<Utc>) -> bool {
        let local = self.zone.unwrap_or(office.zone).local(at);
        let quiet = self.quiet.is_some_and(|(from, to)| {
            let time = local.time();
            if from <= to { (from..to).contains(&time) } else { time >= from || time < to }
        });
        !quiet && !self.days_off.contains(&local.weekday()) && !self.dates_off.contains(&local.date())
    }

    pub(crate) fn is_muted(&self, at: DateTime<Utc>) -> bool {
        self.muted.is_some_and(|until| until > at)
    }
}

/// An onboarding, as it is at some time.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) phase: Phase,
    pub(crate) state: State,
    /// Places in the list of people: CSM, SE, designer, product ops.
    pub(crate) roles: [Option<usize>; 4],
    pub(crate) email: bool,
    pub(crate) slack: bool,
    pub(crate) every: u16,
    pub(crate) snoozed: Option<DateTime<Utc>>,
    pub(crate) deleted: bool,
}

/// A customer, as they are at some time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) with_us: bool,
    pub(crate) deleted: bool,
}

/// Why an onboarding has no reminders, snoozing aside.
pub(crate) fn silence(job: &Job, client: Client) -> Option<&'static str> {
    if job.deleted {
        Some("deleted")
    } else if job.phase == Phase::Completed {
        Some("completed")
    } else if client.deleted {
        Some("customer_deleted")
    } else if !client.with_us {
        Some("customer_inactive")
    } else if job.state == State::Paused {
        Some("paused")
    } else if !job.email && !job.slack {
        Some("channels_off")
    } else {
        None
    }
}

/// Recipients as the ledger names them.
pub(crate) type Targets = BTreeSet<(Channel, String)>;

/// Who is told, or why nobody. `given` stands for the onboarding's switches.
pub(crate) fn audience(
    office: &Office,
    job: &Job,
    person: impl Fn(usize) -> Person,
    given: Option<&[Channel]>,
) -> Result<Targets, &'static str> {
    let holder = |role: usize| job.roles[role].map(&person).filter(|person| person.active);
    let owner = match job.phase {
        Phase::ProgramDesign => 2,
        Phase::ProgramBuildout => 1,
        Phase::InternalQa => 3,
        Phase::BeforeGettingStarted | Phase::Review | Phase::Launch | Phase::Completed => 0,
    };
    let mut people: Vec<Person> = [0, owner].into_iter().filter_map(holder).collect();
    if people.is_empty() {
        people = (0..4).filter_map(holder).collect();
    }
    ways(office, job, &people, given)
}

/// Whom a step of the escalation tells, or why nobody.
pub(crate) fn escalated_to(
    office: &Office,
    job: &Job,
    person: impl Fn(usize) -> Person,
    step: Step,
) -> Result<Targets, &'static str> {
    let holder = step.to.and_then(|role| job.roles[role]).map(person).filter(|person| person.active);
    ways(office, job, holder.as_slice(), None)
}

/// How these people are reached, or the workspace in their place.
fn ways(
    office: &Office,
    job: &Job,
    people: &[Person],
    given: Option<&[Channel]>,
) -> Result<Targets, &'static str> {
    let open = |channel| match (given, channel) {
        (Some(given), _) => given.contains(&channel),
        (None, Channel::Email) => job.email,
        (None, Channel::Slack) => job.slack,
    };
    if !open(Channel::Email) && !open(Channel::Slack) {
        return Err("channels_off");
    }
    let address = |person: &Person, channel| match channel {
        Channel::Email => Some(format!("user:{}", person.id)),
        Channel::Slack if person.slack_id.is_some() => Some(format!("user:{}", person.id)),
        Channel::Slack => office.ops_slack.as_ref().map(|channel| format!("slack:{channel}")),
    };
    let mut found = Targets::new();
    let mut wanted = false;
    for person in people {
        for channel in Channel::ALL {
            if !open(channel) || !person.enabled(channel) {
                continue;
            }
            wanted = true;
            let other = if channel == Channel::Email { Channel::Slack } else { Channel::Email };
            let by = if !person.broken(channel) {
                Some(channel)
            } else if person.enabled(other) && !person.broken(other) {
                Some(other)
            } else {
                None
            };
            found.extend(by.and_then(|by| Some((by, address(person, by)?))));
        }
    }
    if found.is_empty() {
        if !people.is_empty() && !wanted {
            return Err("channel_off");
        }
        let email = office.ops_email.as_ref().filter(|_| open(Channel::Email));
        let slack = office.ops_slack.as_ref().filter(|_| open(Channel::Slack));
        found.extend(email.map(|it| (Channel::Email, format!("email:{it}"))));
        found.extend(slack.map(|it| (Channel::Slack, format!("slack:{it}"))));
    }
    if found.is_empty() { Err("no_recipient") } else { Ok(found) }
}
