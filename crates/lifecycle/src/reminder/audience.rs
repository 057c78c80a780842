//! Audience: to whom a reminder goes, and by which channels.
//!
//! The CSM and the owner of the phase; else whoever has a role; else the workspace's own addresses; and where those are
//! missing too, a reason, so that silence is never unnoticed. Inactive people do not count, nobody is a target twice by
//! one channel, and nothing goes to a channel of the customer's.

use alloc::vec::Vec;

use super::{
    policy::{EscalateTo, Rules},
    reason::Reason,
    recipient::{Channel, Recipient},
};
use crate::{
    customer::Contact,
    onboarding::{Onboarding, Role},
    person::{Reach, User},
    state::State,
};

/// The channels that this installation can send by. One that it cannot is simply not planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Configured {
    /// There is an SMTP server.
    pub email: bool,
    /// There is a Slack token.
    pub slack: bool,
}

impl Configured {
    /// Whether it can send by that channel.
    pub const fn has(self, channel: Channel) -> bool {
        match channel {
            Channel::Email => self.email,
            Channel::Slack => self.slack,
        }
    }
}

/// One recipient by one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// By which channel.
    pub channel: Channel,
    /// To whom.
    pub recipient: Recipient,
    /// Why to them.
    pub why: Why,
}

/// Why somebody is a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// They are the CSM.
    Csm,
    /// Their role owns the phase.
    PhaseOwner(Role),
    /// They have some role, and neither CSM nor owner is there.
    Assigned(Role),
    /// An escalation names their role.
    Escalated(Role),
    /// Nobody else is there: the workspace's own address.
    Fallback,
    /// Their other channel is broken.
    TakesOver {
        /// The broken one.
        broken: Channel,
    },
    /// The onboarding waits on them.
    Customer,
}

impl Why {
    /// The name in the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csm => "csm",
            Self::PhaseOwner(_) => "phase_owner",
            Self::Assigned(_) => "assigned",
            Self::Escalated(_) => "escalated",
            Self::Fallback => "fallback",
            Self::TakesOver { broken: Channel::Email } => "email_broken",
            Self::TakesOver { broken: Channel::Slack } => "slack_broken",
            Self::Customer => "customer",
        }
    }
}

/// Whether the onboarding's own switches let the channel be used; `channels`, when given, stands in their place.
pub fn switched_on(onboarding: &Onboarding, channels: Option<&[Channel]>, channel: Channel) -> bool {
    match (channels, channel) {
        (Some(given), _) => given.contains(&channel),
        (None, Channel::Email) => onboarding.reminder_email,
        (None, Channel::Slack) => onboarding.reminder_slack,
    }
}

/// To whom a reminder of the onboarding goes. `people` are those who have a role, whether active or not. `channels`
/// stand in the place of the onboarding's switches (never of a person's own). The reason when it goes to nobody:
/// `channels_off`, `not_configured`, `channel_off` (everybody switched it off for themselves) or `no_recipient`.
pub fn audience(
    rules: &Rules,
    onboarding: &Onboarding,
    people: &[User],
    configured: Configured,
    channels: Option<&[Channel]>,
) -> Result<Vec<Target>, Reason> {
    let ways = Ways::of(rules, onboarding, configured, channels)?;
    ways.targets(&responsible(rules, onboarding, people))
}

/// Whom an escalation step tells: the person with that role, else the workspace's own addresses.
pub fn escalation(
    rules: &Rules,
    onboarding: &Onboarding,
    people: &[User],
    configured: Configured,
    to: EscalateTo,
) -> Result<Vec<Target>, Reason> {
    let ways = Ways::of(rules, onboarding, configured, None)?;
    let role = match to {
        EscalateTo::Csm => Some(Role::Csm),
        EscalateTo::Se => Some(Role::Se),
        EscalateTo::Designer => Some(Role::Designer),
        EscalateTo::ProductOps => Some(Role::ProductOps),
        EscalateTo::Fallback => None,
    };
    let person = role.and_then(|role| Some((Why::Escalated(role), holder(onboarding, people, role)?)));
    ways.targets(person.as_slice())
}

/// Whether the customer's side of the onboarding is written to at all, by whomever: only then does anybody have to know
/// their primary contact.
pub fn nudged(rules: &Rules, onboarding: &Onboarding) -> Result<(), Reason> {
    if !rules.nudge_customer {
        Err(Reason::CustomerNotNudged)
    } else if onboarding.state != State::Waiting {
        Err(Reason::NotWaiting)
    } else {
        Ok(())
    }
}

/// The customer's side: their primary contact, by email, while the onboarding waits on them and the workspace wants
/// customers written to. An address that is known to fail is a target all the same: the check before sending says so.
pub fn customer(
    rules: &Rules,
    onboarding: &Onboarding,
    primary: Option<&Contact>,
    configured: Configured,
) -> Result<Target, Reason> {
    nudged(rules, onboarding)?;
    if !onboarding.reminder_email {
        return Err(Reason::ChannelOff);
    }
    if !configured.email {
        return Err(Reason::NotConfigured);
    }
    let contact = primary.filter(|contact| contact.deleted_at.is_none()).ok_or(Reason::NoRecipient)?;
    Ok(Target { channel: Channel::Email, recipient: Recipient::Contact(contact.id), why: Why::Customer })
}

/// The customer's side of a slot that is planned. None: they are not to be written to as things stand, and the ledger has
/// nothing to tell. That they are, and nobody is there, is told once per slot.
pub fn nudge(
    rules: &Rules,
    onboarding: &Onboarding,
    primary: Option<&Contact>,
    configured: Configured,
) -> Option<Result<Target, Reason>> {
    match customer(rules, onboarding, primary, configured) {
        Ok(target) => Some(Ok(target)),
        Err(reason) => (reason == Reason::NoRecipient).then_some(Err(reason)),
    }
}

/// Those who are responsible now, each once: CSM and owner of the phase, else whoever has a role. Inactive and deleted
/// people do not count.
pub fn responsible<'a>(rules: &Rules, onboarding: &Onboarding, people: &'a [User]) -> Vec<(Why, &'a User)> {
    let owner = rules.owner(onboarding.phase);
    let first = [(Why::Csm, Role::Csm), (Why::PhaseOwner(owner), owner)];
    let mut found: Vec<(Why, &User)> = Vec::new();
    let mut add = |why, role| {
        if let Some(user) =
            holder(onboarding, people, role).filter(|user| found.iter().all(|(_, other)| other.id != user.id))
        {
            found.push((why, user));
        }
        found.len()
    };
    if first.into_iter().map(|(why, role)| add(why, role)).max() == Some(0) {
        for role in Role::ALL {
            add(Why::Assigned(role), role);
        }
    }
    found
}

fn holder<'a>(onboarding: &Onboarding, people: &'a [User], role: Role) -> Option<&'a User> {
    let id = onboarding.roles.get(role)?;
    people.iter().find(|user| user.id == id && user.active && user.deleted_at.is_none())
}

/// The ways on which a reminder of one onboarding can go out at all.
struct Ways<'a> {
    rules: &'a Rules,
    configured: Configured,
    email: bool,
    slack: bool,
}

impl<'a> Ways<'a> {
    fn of(
        rules: &'a Rules,
        onboarding: &Onboarding,
        configured: Configured,
        channels: Option<&[Channel]>,
    ) -> Result<Self, Reason> {
        let [email, slack] = Channel::ALL.map(|channel| switched_on(onboarding, channels, channel));
        if !email && !slack {
            return Err(Reason::ChannelsOff);
        }
        let ways =
            Self { rules, configured, email: email && configured.email, slack: slack && configured.slack };
        if ways.email || ways.slack { Ok(ways) } else { Err(Reason::NotConfigured) }
    }

    /// Whether a message may go to that person by that channel, if the channel works.
    const fn wants(&self, user: &User, channel: Channel) -> bool {
        let open = match channel {
            Channel::Email => self.email,
            Channel::Slack => self.slack,
        };
        open && user.reach.enabled(channel)
    }

    fn targets(&self, people: &[(Why, &User)]) -> Result<Vec<Target>, Reason> {
        let mut found = Vec::new();
        let mut opted_out = !people.is_empty();
        for (why, user) in people {
            for channel in Channel::ALL.into_iter().filter(|channel| self.wants(user, *channel)) {
                opted_out = false;
                if user.reach.broken(channel).is_none() {
                    add(&mut found, self.address(user, channel, *why));
                }
            }
        }
        for (_, user) in people {
            for channel in Channel::ALL.into_iter().filter(|channel| self.wants(user, *channel)) {
                let other = channel.other();
                if user.reach.broken(channel).is_some()
                    && self.configured.has(other)
                    && user.reach.usable(other)
                {
                    add(&mut found, self.address(user, other, Why::TakesOver { broken: channel }));
                }
            }
        }
        // Who wants no messages has decided so; only where nobody is there, or can be reached, the workspace is told.
        if found.is_empty() && opted_out {
            return Err(Reason::ChannelOff);
        }
        if found.is_empty() {
            let email = self.rules.ops_email.as_ref().filter(|_| self.email).cloned().map(Recipient::Email);
            let slack =
                self.rules.ops_slack_channel.as_ref().filter(|_| self.slack).cloned().map(Recipient::Slack);
            for (channel, recipient) in Channel::ALL.into_iter().zip([email, slack]) {
                add(&mut found, recipient.map(|recipient| Target { channel, recipient, why: Why::Fallback }));
            }
        }
        if found.is_empty() { Err(Reason::NoRecipient) } else { Ok(found) }
    }

    /// Slack reaches a person directly or through the workspace's channel, never through the customer's.
    fn address(&self, user: &User, channel: Channel, why: Why) -> Option<Target> {
        let recipient = match channel {
            Channel::Email => Recipient::User(user.id),
            Channel::Slack if user.slack_user_id.is_some() => Recipient::User(user.id),
            Channel::Slack => Recipient::Slack(self.rules.ops_slack_channel.clone()?),
        };
        Some(Target { channel, recipient, why })
    }
}

/// Nobody gets the same thing twice by one channel; the first reason stands.
fn add(found: &mut Vec<Target>, target: Option<Target>) {
    let Some(target) = target else { return };
    if found.iter().all(|other| other.channel != target.channel || other.recipient != target.recipient) {
        found.push(target);
    }
}

impl Reach {
    /// Whether the person lets the channel be used.
    pub const fn enabled(&self, channel: Channel) -> bool {
        match channel {
            Channel::Email => self.email_enabled,
            Channel::Slack => self.slack_enabled,
        }
    }

    /// Why the channel is known to fail, if it is.
    pub fn broken(&self, channel: Channel) -> Option<&str> {
        match channel {
            Channel::Email => self.email_broken.as_deref(),
            Channel::Slack => self.slack_broken.as_deref(),
        }
    }

    fn usable(&self, channel: Channel) -> bool {
        self.enabled(channel) && self.broken(channel).is_none()
    }
}
