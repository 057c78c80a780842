//! Real servers for the tests of usher, each small, private and on loopback only: Postgres, nats-server with
//! `JetStream`, an SMTP sink, a Slack stand-in; a virtual clock, a mail reader, a child process that can be killed.
//!
//! Laws: whatever is started here is gone when the test is, however the test ends (a panic, a SIGKILL); nothing
//! waits by sleeping; a server that cannot be started fails the test. Only `scripts/test --embedded` leaves the
//! tests that need a server out, and each of them says so through [`skip_without_servers!`].

pub mod clock;
mod daemon;
mod env;
pub mod http;
pub mod mail;
pub mod nats;
mod ports;
pub mod postgres;
pub mod process;
mod recording;
pub mod slack;
pub mod smtp;
pub mod statements;
mod tls;

pub use daemon::Exit;
pub use env::{note_skipped, servers_available};

/// Ends the test early, visibly, when the run was asked to do without Postgres and nats-server (`--embedded`).
///
/// `skip_without_servers!()` in a test that returns nothing, `skip_without_servers!(Ok(()))` in one that returns a
/// result. Without `--embedded` it does nothing: a server that is missing then fails the test.
#[macro_export]
macro_rules! skip_without_servers {
    () => {
        $crate::skip_without_servers!(())
    };
    ($result:expr) => {
        if !$crate::servers_available() {
            $crate::note_skipped(module_path!(), line!());
            return $result;
        }
    };
}
