//! How often a caller may ask.
//!
//! Law: of the requests of one key that this process admits, never more than its limit lie within any 60 seconds. Each
//! admitted one is remembered by its instant until it is older than that, so the law is exact; a token bucket would let
//! twice as many through around a pause. Processes count apart: docs/adr/0011 has the price.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use usher_lifecycle::KeyId;
use usher_store::ApiKey;

use super::{ApiError, error::HttpCode};

/// Requests of a live key in 60 seconds, unless it has a limit of its own.
pub(super) const LIVE: u32 = 600;
/// The same of a test key.
pub(super) const TEST: u32 = 300;
/// Most that a key may be given: each request of the last minute takes eight bytes.
pub(crate) const MOST: i64 = 100_000;
/// Requests without a valid key from one address in 60 seconds.
pub(super) const FAILURES: u32 = 60;

/// In microseconds.
const WINDOW: i64 = 60_000_000;
/// A clock that goes back by more than this was set; what it had counted is forgotten.
const SET_BACK: i64 = 1_000_000;

/// What a caller has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Budget {
    /// Whether this request is within the limit.
    pub(super) admitted: bool,
    /// Requests in 60 seconds.
    pub(super) limit: u32,
    remaining: u32,
    /// When one more is free than now, in unix seconds.
    reset: i64,
    /// In how many seconds that is; at least one.
    wait: u64,
}

impl Budget {
    /// Says it in headers.
    pub(super) fn tell(self, headers: &mut HeaderMap) {
        for (name, value) in [
            ("x-ratelimit-limit", i64::from(self.limit)),
            ("x-ratelimit-remaining", i64::from(self.remaining)),
            ("x-ratelimit-reset", self.reset),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
        }
    }

    /// 429.
    pub(super) fn refusal(self, what: &str) -> ApiError {
        let message = format!("{what}; the next is taken in {} s", self.wait);
        ApiError::new(HttpCode::RateLimited, message).retry_after(self.wait)
    }
}

/// The instants of the requests that were admitted in the last 60 seconds.
#[derive(Debug, Default)]
struct Window(VecDeque<i64>);

impl Window {
    /// Forgets what is out of the window; the instant that counts as now.
    fn advance(&mut self, now: i64) -> i64 {
        let last = self.0.back().copied().unwrap_or(now);
        if last - now > SET_BACK {
            self.0.clear();
        }
        // Requests that come together may be told their instants in another order than they are counted in.
        let now = self.0.back().map_or(now, |last| now.max(*last));
        while self.0.front().is_some_and(|first| now - first > WINDOW) {
            self.0.pop_front();
        }
        now
    }

    fn take(&mut self, limit: u32, now: i64) -> Budget {
        let now = self.advance(now);
        let admitted = self.0.len() < limit as usize;
        if admitted {
            self.0.push_back(now);
        }
        self.budget(limit, now, admitted)
    }

    fn budget(&self, limit: u32, now: i64, admitted: bool) -> Budget {
        let used = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        let free = self.0.front().map_or(now, |first| first + WINDOW + 1);
        let reset = free.div_euclid(1_000_000) + i64::from(free.rem_euclid(1_000_000) > 0);
        let wait = u64::try_from((free - now + 999_999).div_euclid(1_000_000)).unwrap_or(1).max(1);
        Budget { admitted, limit, remaining: limit.saturating_sub(used), reset, wait }
    }
}

/// Windows of many callers; those that are empty go when there are many.
#[derive(Debug)]
struct Windows<K> {
    all: HashMap<K, Window>,
    sweep_at: usize,
}

impl<K> Default for Windows<K> {
    fn default() -> Self {
        Self { all: HashMap::new(), sweep_at: 1_024 }
    }
}

impl<K: Eq + Hash> Windows<K> {
    fn of(&mut self, caller: K, now: i64) -> &mut Window {
        if self.all.len() >= self.sweep_at {
            self.all.retain(|_, window| window.0.back().is_some_and(|last| now - last <= WINDOW));
            self.sweep_at = 1_024.max(self.all.len() * 2);
        }
        self.all.entry(caller).or_default()
    }
}

/// The windows of the keys.
#[derive(Debug, Default)]
pub(super) struct Limits(Mutex<Windows<KeyId>>);

impl Limits {
    /// Counts a request of that key; none when it has no limit.
    pub(super) fn take(&self, key: &ApiKey, now: DateTime<Utc>) -> Option<Budget> {
        let usual = if key.livemode { LIVE } else { TEST };
        let limit = key.rate_limit.map_or(usual, |limit| u32::try_from(limit).unwrap_or(usual));
        if limit == 0 {
            return None;
        }
        let now = now.timestamp_micros();
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(windows.of(key.id, now).take(limit, now))
    }
}

/// Failed authentication, per address. Who guesses is refused without a look into the store; a key that worked in this
/// process goes on working, so that a neighbour behind the same proxy cannot shut it out.
#[derive(Debug, Default)]
pub(super) struct Guests {
    failures: Mutex<Windows<IpAddr>>,
    good: Mutex<HashSet<[u8; 32]>>,
}

impl Guests {
    /// Counts a failure.
    pub(super) fn failed(&self, from: Option<IpAddr>, now: DateTime<Utc>) {
        let Some(from) = from.map(network) else { return };
        let now = now.timestamp_micros();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.of(from, now).take(FAILURES, now);
    }

    /// What is left when that address failed too often and the secret is none that worked.
    pub(super) fn refuses(&self, secret: &str, from: Option<IpAddr>, now: DateTime<Utc>) -> Option<Budget> {
        let now = now.timestamp_micros();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let window = failures.all.get_mut(&network(from?))?;
        let now = window.advance(now);
        let spent = window.0.len() >= FAILURES as usize;
        let good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        (spent && !good.contains(&digest(secret))).then(|| window.budget(FAILURES, now, false))
    }

    /// The secret is that of a valid key.
    pub(super) fn remember(&self, secret: &str) {
        self.good.lock().unwrap_or_else(PoisonError::into_inner).insert(digest(secret));
    }

    /// It is so no longer.
    pub(super) fn forget(&self, secret: &str) {
        self.good.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest(secret));
    }
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// An IPv6 caller has a whole /64 to itself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However requests come, also with the clock's small steps back, no 60 seconds hold more admitted ones than the limit;
        /// and none is refused while fewer than that lie behind it.
        #[test]
        fn never_more_than_the_limit_in_any_60_seconds(
            limit in 1_u32..20,
            gaps in proptest::collection::vec(prop_oneof![-900_000_i64..2_000_000, 0_i64..20_000_000, 59_000_000_i64..61_000_000], 1..200),
        ) {
            let (mut window, mut clock) = (Window::default(), 1_000_000_000_000_i64);
            let mut admitted: Vec<i64> = Vec::new();
            for gap in gaps {
                let last = admitted.last().copied().unwrap_or(clock);
                clock = (clock + gap).max(last - SET_BACK);
                let now = admitted.last().map_or(clock, |last| clock.max(*last));
                let before = admitted.iter().filter(|at| now - **at <= WINDOW).count();
                let budget = window.take(limit, clock);
                prop_assert_eq!(budget.admitted, before < limit as usize);
                prop_assert!(budget.wait >= 1 && budget.wait <= 61);
                prop_assert_eq!(budget.remaining as usize, (limit as usize - before).saturating_sub(1));
                if budget.admitted {
                    admitted.push(now);
                }
            }
            for first in &admitted {
                let within = admitted.iter().filter(|at| (*first..=first + WINDOW).contains(at)).count();
                prop_assert!(within <= limit as usize, "{within} of {limit}");
            }
        }

        /// Whoever waits as long as it is told is admitted.
        #[test]
        fn after_the_wait_it_goes_on(limit in 1_u32..10, gap in 0_i64..10_000_000) {
            let (mut window, mut now) = (Window::default(), 5_000_000_i64);
            for _ in 0..40 {
                let budget = window.take(limit, now);
                if !budget.admitted {
                    now += i64::try_from(budget.wait).unwrap_or(0) * 1_000_000;
                    prop_assert!(window.take(limit, now).admitted);
                }
                now += gap;
            }
        }
    }

    #[test]
    fn a_clock_that_was_set_back_shuts_nobody_out() {
        let mut window = Window::default();
        assert!(window.take(1, 7_200_000_000).admitted);
        assert!(!window.take(1, 7_200_000_000).admitted);
        assert!(window.take(1, 3_600_000_000).admitted);
    }

    #[test]
    fn an_ipv6_network_is_one_caller_and_a_mapped_ipv4_address_is_itself() {
        let of = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn callers_that_are_gone_take_no_room() {
        let mut windows = Windows::default();
        for caller in 0..5_000_i64 {
            windows.of(caller, caller * 1_000_000).take(1, caller * 1_000_000);
        }
        assert!(windows.all.len() <= 1_200, "{}", windows.all.len());
    }
}
