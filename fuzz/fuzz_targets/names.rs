//! Short texts: ids, cursors, instants, addresses, recipients. What is read is written the same way again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usher_lifecycle::{OnboardingId, limits, reminder::Recipient};
use usher_store::{Cursor, Ref};

fuzz_target!(|text: &str| {
    if let Ok(id) = text.parse::<OnboardingId>() {
        assert_eq!(id.to_text(), text);
    }
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
    }
    if let Ok(recipient) = text.parse::<Recipient>() {
        assert_eq!(recipient.to_string().parse::<Recipient>(), Ok(recipient));
    }
    if let Ok(email) = limits::email("email", text) {
        assert_eq!(limits::email("email", &email).as_deref(), Ok(email.as_str()));
    }
    drop(limits::instant("at", text));
    drop(Ref::parse(text));
});
