//! Channels and recipients, as the ledger names them.

use alloc::string::{String, ToString};
use core::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    id::{ContactId, UserId},
    state::UnknownName,
};

/// A way to reach people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum Channel {
    /// Email.
    Email,
    /// Slack.
    Slack,
}

impl Channel {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Email, Self::Slack];

    /// The name in the ledger and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Slack => "slack",
        }
    }

    /// The one that takes over when this one is broken.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Email => Self::Slack,
            Self::Slack => Self::Email,
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Channel {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let found = Self::ALL.into_iter().find(|channel| channel.as_str() == text);
        found.ok_or(UnknownName { allowed: "email, slack" })
    }
}

/// Who gets a delivery, as the ledger names them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Recipient {
    /// A member of the team, by either channel: `user:<id>`.
    User(UserId),
    /// A person at the customer: `contact:<id>`.
    Contact(ContactId),
    /// A bare address, the workspace's: `email:<address>`.
    Email(String),
    /// A Slack channel, the workspace's: `slack:<channel>`.
    Slack(String),
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::Contact(id) => write!(f, "contact:{id}"),
            Self::Email(address) => write!(f, "email:{address}"),
            Self::Slack(channel) => write!(f, "slack:{channel}"),
        }
    }
}

impl FromStr for Recipient {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let unknown = UnknownName { allowed: "user:<id>, contact:<id>, email:<address>, slack:<channel>" };
        let (kind, name) =
            text.split_once(':').filter(|(_, name)| !name.is_empty()).ok_or_else(|| unknown.clone())?;
        match kind {
            "user" => name.parse().map(Self::User).map_err(|_| unknown),
            "contact" => name.parse().map(Self::Contact).map_err(|_| unknown),
            "email" => Ok(Self::Email(name.to_string())),
            "slack" => Ok(Self::Slack(name.to_string())),
            _ => Err(unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reminder::{Kind, Reason};

    #[test]
    fn names_are_read_as_they_are_written() {
        let user = UserId::new(chrono::DateTime::UNIX_EPOCH, 7);
        let contact = ContactId::new(chrono::DateTime::UNIX_EPOCH, 7);
        for recipient in [
            Recipient::User(user),
            Recipient::Contact(contact),
            Recipient::Email(r#""a:b"@example.com"#.to_string()),
            Recipient::Slack("C0123".to_string()),
        ] {
            assert_eq!(recipient.to_string().parse(), Ok(recipient));
        }
        assert_eq!(Channel::ALL.map(|channel| channel.as_str().parse()), Channel::ALL.map(Ok));
        assert_eq!(Kind::ALL.map(|kind| kind.as_str().parse()), Kind::ALL.map(Ok));
        assert_eq!(Reason::ALL.map(|reason| reason.as_str().parse()), Reason::ALL.map(Ok));
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).expect("plain"), reason.as_str());
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "user", "user:", "user:1", "email:", "slack:", "team:x", ":x", "contact:user_1"] {
            assert!(text.parse::<Recipient>().is_err(), "{text}");
        }
    }
}
