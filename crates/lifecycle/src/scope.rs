//! What a caller may do: the scopes of an API key. Reading and writing are apart; neither implies the other.

use alloc::{
    format,
    string::{String, ToString},
};
use core::{fmt, str::FromStr};

use crate::state::UnknownName;

/// The kinds of record that scopes tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Onboardings, with their timeline, reminders and snooze.
    Onboardings,
    /// Customers.
    Customers,
    /// Contacts at customers.
    Contacts,
    /// The team.
    Users,
    /// Templates of onboardings.
    Templates,
}

impl Resource {
    /// All kinds.
    pub const ALL: [Self; 5] =
        [Self::Onboardings, Self::Customers, Self::Contacts, Self::Users, Self::Templates];

    /// The name within a scope.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Onboardings => "onboardings",
            Self::Customers => "customers",
            Self::Contacts => "contacts",
            Self::Users => "users",
            Self::Templates => "templates",
        }
    }
}

/// One scope. In `Read` and `Write`, none is every kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `*`: everything.
    All,
    /// `admin`: keys and the workspace's settings, and nothing else.
    Admin,
    /// `read:<kind>`, `read:*`.
    Read(Option<Resource>),
    /// `write:<kind>`, `write:*`.
    Write(Option<Resource>),
}

impl Scope {
    /// All scopes, in the order of the documentation.
    pub fn all() -> impl Iterator<Item = Self> {
        let kinds = || core::iter::once(None).chain(Resource::ALL.map(Some));
        let plain = [Self::All, Self::Admin].into_iter();
        plain.chain(kinds().map(Self::Read)).chain(kinds().map(Self::Write))
    }

    /// Whether who has this scope has `wanted` too.
    pub fn covers(self, wanted: Self) -> bool {
        match (self, wanted) {
            (Self::All, _) | (Self::Read(None), Self::Read(_)) | (Self::Write(None), Self::Write(_)) => true,
            (Self::Admin | Self::Read(_) | Self::Write(_), _) => self == wanted,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = |kind: &Option<Resource>| kind.map_or("*", Resource::as_str);
        match self {
            Self::All => f.write_str("*"),
            Self::Admin => f.write_str("admin"),
            Self::Read(of) => write!(f, "read:{}", kind(of)),
            Self::Write(of) => write!(f, "write:{}", kind(of)),
        }
    }
}

impl FromStr for Scope {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::all().find(|scope| scope.to_string() == text).ok_or(UnknownName {
            allowed: "*, admin, read:* and write:*, or read: and write: with onboardings, customers, contacts, users or templates",
        })
    }
}

/// The first of the wanted scopes that `held` does not cover.
pub fn lacking(held: &[Scope], wanted: &[Scope]) -> Option<Scope> {
    wanted.iter().find(|wanted| !held.iter().any(|scope| scope.covers(**wanted))).copied()
}

/// The refusal's words for a scope that is missing.
pub fn lacks(wanted: Scope) -> String {
    format!("this API key lacks the scope {wanted}")
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn names_are_read_back() {
        let all: Vec<Scope> = Scope::all().collect();
        assert_eq!(all.len(), 2 + 2 * (Resource::ALL.len() + 1));
        for scope in all {
            assert_eq!(scope.to_string().parse(), Ok(scope));
        }
        for bad in ["", "read", "read:", "read:onboarding", "Admin", "write:**", "read:customers "] {
            assert!(bad.parse::<Scope>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_scope_covers_itself_and_what_stands_under_it_and_nothing_else() {
        for held in Scope::all() {
            for wanted in Scope::all() {
                let wide = match held {
                    Scope::All => true,
                    Scope::Read(None) => matches!(wanted, Scope::Read(_)),
                    Scope::Write(None) => matches!(wanted, Scope::Write(_)),
                    Scope::Admin | Scope::Read(Some(_)) | Scope::Write(Some(_)) => held == wanted,
                };
                assert_eq!(held.covers(wanted), wide, "{held} covers {wanted}");
            }
        }
    }

    #[test]
    fn what_is_lacking_is_named() {
        let held = [Scope::Read(None), Scope::Admin];
        assert_eq!(lacking(&held, &[Scope::Read(Some(Resource::Users)), Scope::Admin]), None);
        let write = Scope::Write(Some(Resource::Users));
        assert_eq!(lacking(&held, &[Scope::Admin, write, Scope::All]), Some(write));
        assert_eq!(lacking(&held, &[Scope::All]), Some(Scope::All));
        assert_eq!(lacking(&[], &[Scope::Admin]), Some(Scope::Admin));
    }
}
