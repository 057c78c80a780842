//! Ports for servers that must come back on the same port after a crash.
//!
//! They lie below the range from which the kernel serves `bind(0)` and outgoing connections: while such a server is
//! down, no neighbour gets its port by chance, and a client that keeps reconnecting cannot connect to itself.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};

const FIRST: u16 = 18_000;
const COUNT: u64 = 12_000;

/// A port on which nothing listens right now. Somebody may take it before the caller does: start, and try another.
pub(crate) fn candidate() -> u16 {
    loop {
        // A fresh RandomState is the random number of the standard library.
        let random = RandomState::new().build_hasher().finish() % COUNT;
        let port = FIRST + u16::try_from(random).expect("below 12000");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
