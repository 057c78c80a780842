//! A request's body: read into a command or refused with a code, never a panic; and what is read keeps the limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usher_ingest::body;

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = body::parse_json(bytes) else { return };
    if let Ok(create) = body::create_onboarding(&value) {
        assert!(create.reminder_frequency_days.is_none_or(|days| (1..=365).contains(&days)));
        assert!(create.notes.is_none_or(|notes| !notes.contains('\0') && notes.chars().count() <= 10_000));
    }
    drop(body::patch_onboarding(&value));
    drop(body::snooze(&value));
    drop(body::remind(&value));
    drop(body::create_customer(&value));
    drop(body::patch_customer(&value));
    if let Ok(user) = body::create_user(&value) {
        assert!(user.email.len() <= 254 && !user.email.contains(['\r', '\n', '\0']));
    }
    drop(body::patch_user(&value));
    if let Ok(contact) = body::create_contact("1".into(), &value) {
        assert!(contact.email.len() <= 254 && contact.labels.len() <= 20);
    }
    drop(body::patch_contact(&value));
    if let Ok(template) = body::create_template(&value) {
        let days = template.defaults.target_days.flatten();
        assert!(days.is_none_or(|days| (1..=3_650).contains(&days)));
    }
    drop(body::patch_template(&value));
    if let Ok(patch) = body::patch_workspace(&value) {
        assert!(patch.policy.working_days.is_none_or(|days| !days.is_empty()));
    }
});
