//! The names on the wire, all from one value: subjects, their patterns, the streams.
//!
//! | subject | stream |
//! | --- | --- |
//! | `usher.events.<workspace>.<type>`, `usher.test.events.<workspace>.<type>` | `USHER_EVENTS`, `USHER_TEST_EVENTS` |
//! | `usher.commands.<workspace>.<command>` | `USHER_COMMANDS` |
//! | `usher.rejected.<workspace>.<command>` | `USHER_REJECTED` |
//! | `usher.requests.<workspace>.<command>`, `usher.hints.due` | none |

use thiserror::Error;

/// A text that cannot be part of a subject or a stream name.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{what} {value:?}: 1 to 64 letters, digits, `-` and `_` are possible")]
pub struct SubjectError {
    /// What it was to be: `workspace`, `type`, `prefix`, ...
    pub what: &'static str,
    /// The text.
    pub value: String,
}

/// The prefixes of all subjects and streams. Two installations on one NATS account need different ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    prefix: String,
    stream_prefix: String,
}

impl Default for Names {
    fn default() -> Self {
        Self { prefix: "usher".to_owned(), stream_prefix: "USHER".to_owned() }
    }
}

impl Names {
    /// Names under `prefix` (may have dots, e.g. `corp.usher`) and streams under `stream_prefix` (none).
    pub fn new(prefix: &str, stream_prefix: &str) -> Result<Self, SubjectError> {
        tokens("prefix", prefix)?;
        token("stream prefix", stream_prefix)?;
        Ok(Self { prefix: prefix.to_owned(), stream_prefix: stream_prefix.to_owned() })
    }

    /// The first part of every subject, e.g. `usher`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// `usher.events.acme.onboarding.created`; with `livemode` false `usher.test.events...`.
    pub fn event(&self, workspace: &str, kind: &str, livemode: bool) -> Result<String, SubjectError> {
        let base = if livemode { "events" } else { "test.events" };
        self.subject(base, workspace, "type", kind)
    }

    /// `usher.commands.acme.onboarding.create`.
    pub fn command(&self, workspace: &str, command: &str) -> Result<String, SubjectError> {
        self.subject("commands", workspace, "command", command)
    }

    /// `usher.requests.acme.onboarding.create`.
    pub fn request(&self, workspace: &str, command: &str) -> Result<String, SubjectError> {
        self.subject("requests", workspace, "command", command)
    }

    /// Workspace and command of a subject under `commands` or `requests`; the command may be one that nobody knows.
    pub fn parse_command<'a>(&self, subject: &'a str) -> Option<(&'a str, &'a str)> {
        let (workspace, command) = self.addressed(subject)?.split_once('.')?;
        (token("workspace", workspace).is_ok() && tokens("command", command).is_ok())
            .then_some((workspace, command))
    }

    /// Where a command that arrived on `subject` is reported when it is rejected: the same words under
    /// `usher.rejected`, also when they are no workspace and no command.
    pub fn rejected(&self, subject: &str) -> String {
        format!("{}.rejected.{}", self.prefix, self.addressed(subject).unwrap_or("unknown"))
    }

    /// `usher.hints.due`.
    pub fn hint(&self) -> String {
        format!("{}.hints.due", self.prefix)
    }

    /// `usher.events.>`
    pub fn events_filter(&self) -> String {
        format!("{}.events.>", self.prefix)
    }

    /// `usher.test.events.>`
    pub fn test_events_filter(&self) -> String {
        format!("{}.test.events.>", self.prefix)
    }

    /// `usher.commands.>`: also what lacks a workspace or a command, so that it is rejected where one can see it.
    pub fn commands_filter(&self) -> String {
        format!("{}.commands.>", self.prefix)
    }

    /// `usher.rejected.>`
    pub fn rejected_filter(&self) -> String {
        format!("{}.rejected.>", self.prefix)
    }

    /// `usher.requests.>`
    pub fn requests_filter(&self) -> String {
        format!("{}.requests.>", self.prefix)
    }

    /// `USHER_EVENTS`
    pub fn events_stream(&self) -> String {
        format!("{}_EVENTS", self.stream_prefix)
    }

    /// `USHER_TEST_EVENTS`
    pub fn test_events_stream(&self) -> String {
        format!("{}_TEST_EVENTS", self.stream_prefix)
    }

    /// `USHER_COMMANDS`
    pub fn commands_stream(&self) -> String {
        format!("{}_COMMANDS", self.stream_prefix)
    }

    /// `USHER_REJECTED`
    pub fn rejected_stream(&self) -> String {
        format!("{}_REJECTED", self.stream_prefix)
    }

    fn subject(
        &self,
        base: &str,
        workspace: &str,
        what: &'static str,
        rest: &str,
    ) -> Result<String, SubjectError> {
        token("workspace", workspace)?;
        tokens(what, rest)?;
        Ok(format!("{}.{base}.{workspace}.{rest}", self.prefix))
    }

    /// What stands after `usher.commands.` or `usher.requests.`.
    fn addressed<'a>(&self, subject: &'a str) -> Option<&'a str> {
        let rest = subject.strip_prefix(self.prefix.as_str())?.strip_prefix('.')?;
        rest.strip_prefix("commands.").or_else(|| rest.strip_prefix("requests."))
    }
}

/// One word between dots. NATS allows more; these need no quoting anywhere.
fn token(what: &'static str, value: &str) -> Result<(), SubjectError> {
    let fits = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    if (1..=64).contains(&value.len()) && value.bytes().all(fits) {
        return Ok(());
    }
    Err(SubjectError { what, value: value.chars().take(80).collect() })
}

fn tokens(what: &'static str, value: &str) -> Result<(), SubjectError> {
    value.split('.').try_for_each(|part| token(what, part))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the message of a failed test")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn subjects_and_streams_are_the_documented_ones() {
        let names = Names::default();
        let event = |livemode| names.event("acme", "onboarding.created", livemode).unwrap();
        assert_eq!(event(true), "usher.events.acme.onboarding.created");
        assert_eq!(event(false), "usher.test.events.acme.onboarding.created");
        assert_eq!(names.command("acme", "user.upsert").unwrap(), "usher.commands.acme.user.upsert");
        assert_eq!(names.request("acme", "user.upsert").unwrap(), "usher.requests.acme.user.upsert");
        assert_eq!(names.rejected("usher.commands.acme.user.upsert"), "usher.rejected.acme.user.upsert");
        assert_eq!(names.rejected("usher.commands.acme"), "usher.rejected.acme");
        assert_eq!(names.rejected("crm.deal.won"), "usher.rejected.unknown");
        assert_eq!(names.hint(), "usher.hints.due");
        assert_eq!(names.test_events_stream(), "USHER_TEST_EVENTS");
    }

    #[test]
    fn a_command_is_read_from_its_subject() {
        let names = Names::new("corp.usher", "CORP").unwrap();
        let parse = |subject| names.parse_command(subject);
        assert_eq!(parse("corp.usher.commands.acme.onboarding.create"), Some(("acme", "onboarding.create")));
        assert_eq!(parse("corp.usher.requests.acme.onboarding.create"), Some(("acme", "onboarding.create")));
        for other in [
            "corp.usher.commands.acme",
            "corp.usher.commands..x",
            "corp.usher.commands.acme.",
            "corp.usher.commands.ac me.x",
            "corp.usher.events.acme.onboarding.created",
            "corp.usherx.commands.acme.x",
            "usher.commands.acme.x",
            "",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn words_that_would_change_the_subject_are_refused() {
        let names = Names::default();
        for workspace in ["", "a.b", "*", ">", "a b", "a\r\nPUB x", "ä", &"x".repeat(65)] {
            let error = names.event(workspace, "onboarding.created", true).unwrap_err();
            assert_eq!(error.what, "workspace", "{workspace:?}");
        }
        assert_eq!(names.event("acme", "onboarding..created", true).unwrap_err().what, "type");
        assert_eq!(Names::new("usher.", "USHER").unwrap_err().what, "prefix");
        assert_eq!(Names::new("usher", "A.B").unwrap_err().what, "stream prefix");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(workspace in "[a-z0-9_-]{1,64}", command in "[a-z_]{1,9}(\\.[a-z_]{1,9}){0,3}") {
            let names = Names::default();
            let subject = names.command(&workspace, &command).unwrap();
            prop_assert_eq!(names.parse_command(&subject), Some((workspace.as_str(), command.as_str())));
        }

        #[test]
        fn reading_never_panics(subject in ".{0,80}") {
            let _ = Names::default().parse_command(&subject);
            let _ = Names::default().parse_command(&format!("usher.commands.{subject}"));
        }
    }
}
