//! A message from NATS: subject, headers and body of anybody's making are decoded or refused, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usher_bus::{Headers, Names, StreamFacts, decode_command, identify};

fuzz_target!(|input: (&str, Vec<(String, String)>, &[u8])| {
    let (subject, pairs, payload) = input;
    let mut headers = Headers::new();
    for (name, value) in pairs {
        headers.push(name, value);
    }
    let facts = StreamFacts { name: "USHER_COMMANDS".into(), created: chrono::DateTime::UNIX_EPOCH, sequence: 1 };
    let subjects = [subject.to_owned(), "usher.commands.main.onboarding.create".to_owned()];
    for subject in subjects {
        let known = identify(&Names::default(), &subject, &headers, payload, Some(&facts));
        if let Ok(incoming) = decode_command(&Names::default(), &subject, &headers, payload, Some(&facts)) {
            assert!(!incoming.source.is_empty());
            assert_eq!(incoming.fingerprint(), known.fingerprint);
            assert_eq!((incoming.source, incoming.id), (known.source, known.id));
        }
    }
});
