//! Typed ids in TypeID form: a prefix, `_`, and a UUIDv7 as 26 characters of lower-case Crockford base32.
//!
//! Ids are made outside (this crate has neither clock nor randomness) and come inside the command. Text order of two
//! ids of one kind is the order of their creation, to the millisecond.

use alloc::string::{String, ToString};
use core::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const LENGTH: usize = 26;

/// The text is no id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form {prefix}_ + 26 characters of base32")]
pub struct BadId {
    /// The prefix that was wanted, without the underscore.
    pub prefix: &'static str,
}

/// The 128 bits of a UUIDv7: milliseconds of `now`, then version, variant and 74 bits of `random`.
pub fn uuid_v7(now: DateTime<Utc>, random: u128) -> u128 {
    let millis = u128::try_from(now.timestamp_millis().max(0)).unwrap_or(0) & 0xffff_ffff_ffff;
    let rand_a = (random >> 64) & 0xfff;
    let rand_b = random & 0x3fff_ffff_ffff_ffff;
    (millis << 80) | (0x7 << 76) | (rand_a << 64) | (0b10 << 62) | rand_b
}

fn encode(value: u128, out: &mut [u8; LENGTH]) {
    let mut rest = value;
    for slot in out.iter_mut().rev() {
        *slot = ALPHABET[usize::try_from(rest & 31).unwrap_or(0)];
        rest >>= 5;
    }
}

fn decode(text: &str) -> Option<u128> {
    let bytes = text.as_bytes();
    // 26 characters carry 130 bits: the first may use three of its five.
    if bytes.len() != LENGTH || bytes[0] > b'7' {
        return None;
    }
    bytes.iter().try_fold(0_u128, |value, byte| {
        let digit = ALPHABET.iter().position(|letter| letter == byte)?;
        Some((value << 5) | u128::try_from(digit).ok()?)
    })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// What the id starts with, without the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// An id minted at `now` (UUIDv7) from 74 of the given random bits.
            pub fn new(now: DateTime<Utc>, random: u128) -> Self {
                Self(uuid_v7(now, random))
            }

            /// The id as text.
            pub fn to_text(self) -> String {
                self.to_string()
            }

            /// The 128 bits behind the text.
            pub const fn as_u128(self) -> u128 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0_u8; LENGTH];
                encode(self.0, &mut text);
                f.write_str($prefix)?;
                f.write_str("_")?;
                f.write_str(core::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(decode)
                    .map(Self)
                    .ok_or(BadId { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    };
}

id!(
    /// An onboarding, `onb_...`.
    OnboardingId, "onb"
);
id!(
    /// A customer, `cust_...`.
    CustomerId, "cust"
);
id!(
    /// A contact of a customer, `contact_...`.
    ContactId, "contact"
);
id!(
    /// A member of the team, `user_...`.
    UserId, "user"
);
id!(
    /// A template of defaults for new onboardings, `tmpl_...`.
    TemplateId, "tmpl"
);
id!(
    /// An event, `evt_...`; also the CloudEvents id.
    EventId, "evt"
);
id!(
    /// An API key, `key_...`.
    KeyId, "key"
);
id!(
    /// A workspace (the API calls it organization), `org_...`.
    WorkspaceId, "org"
);
id!(
    /// A delivery in the reminder ledger, `rem_...`.
    ReminderId, "rem"
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_and_bits_agree(bits in any::<u128>()) {
            let id = OnboardingId(bits);
            prop_assert_eq!(id.to_string().parse::<OnboardingId>(), Ok(id));
        }

        #[test]
        fn text_order_is_bit_order(a in any::<u128>(), b in any::<u128>()) {
            let (a, b) = (CustomerId(a), CustomerId(b));
            prop_assert_eq!(a.to_string().cmp(&b.to_string()), a.cmp(&b));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = text.parse::<UserId>();
        }
    }

    #[test]
    fn known_vector() {
        // The TypeID specification's own example.
        let id = UserId(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057);
        assert_eq!(id.to_string(), "user_01h455vb4pex5vsknk084sn02q");
    }

    #[test]
    fn refuses_wrong_prefix_length_and_letters() {
        for text in [
            "",
            "onb",
            "onb_",
            "cust_01h2e8kqvbfwea724h75qc655w",
            "onb_81h2e8kqvbfwea724h75qc655w",
            "onb_01h2e8kqvbfwea724h75qc655u",
        ] {
            assert!(text.parse::<OnboardingId>().is_err(), "{text}");
        }
    }

    #[test]
    fn version_and_variant_are_uuid_v7() {
        let now = DateTime::from_timestamp_millis(1_700_000_000_123).expect("in range");
        let bits = uuid_v7(now, u128::MAX);
        assert_eq!((bits >> 76) & 0xf, 7);
        assert_eq!((bits >> 62) & 0b11, 0b10);
        assert_eq!(bits >> 80, 1_700_000_000_123);
    }
}
