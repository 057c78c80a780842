//! Secrets: where they may come from, and that nothing shows them.

use secrecy::ExposeSecret;

use super::{
    super::{
        keys::{KEYS, Kind},
        show,
    },
    Given, pointer,
};

#[test]
fn secrets_are_read_from_files() {
    let held: Vec<_> = KEYS.iter().filter_map(|key| Some((key, key.holds()?))).collect();
    let pairs: Vec<(&str, &str)> = held.iter().map(|(file, key)| (file.name, key.name)).collect();
    assert_eq!(pairs.len(), 6, "{pairs:?}");
    for (file, key) in held {
        let text = if matches!(key.kind, Kind::Secret) { "s3cret" } else { &example_url(key.name, "s3cret") };
        let given = Given::nothing()
            .with("secret", &format!("{text}\r\n"))
            .env("USHER_NATS__USER", if key.name == "nats.password" { "u" } else { "" });
        let given = given.env(&file.env(), "secret");
        let config = given.config();
        let values = [
            &config.nats.password,
            &config.nats.token,
            &config.slack.token,
            &config.slack.signing_secret,
            &config.smtp.url,
        ];
        let found = values
            .into_iter()
            .flatten()
            .chain([&config.store.url])
            .any(|value| value.expose_secret() == text);
        assert!(found, "{}", file.name);

        let both = given.env(&key.env(), text).fault();
        assert!(
            both.starts_with(&format!("{} ({}): is given, and {} too", file.name, file.env(), key.name)),
            "{both}"
        );

        let missing = Given::nothing().env(&file.env(), "nowhere");
        let fault = missing.fault();
        assert!(fault.starts_with(&format!("{} ({}): ", file.name, file.env())), "{fault}");
        assert!(fault.contains(&missing.path("nowhere")), "{fault}");
    }
}

#[test]
fn a_secret_and_its_file_in_two_layers_follow_the_layers() {
    let given = Given::nothing()
        .with("token", "from-file\n")
        .file("[slack]\ntoken = \"plain\"\n")
        .env("USHER_SLACK__TOKEN_FILE", "token");
    assert_eq!(given.config().slack.token.expect("a token").expose_secret(), "from-file");
    let given = given.flag("slack.token", "from-flag");
    assert_eq!(given.config().slack.token.expect("a token").expose_secret(), "from-flag");
}

#[test]
fn other_files_must_exist_and_are_resolved() {
    for key in ["nats.nkey_file", "nats.credentials_file", "nats.tls_ca_file", "smtp.ca_file"] {
        let given = Given::nothing().flag(key, "./there.pem");
        assert!(given.fault().contains(&given.path("there.pem")), "{}", given.fault());
        let given = given.with("there.pem", "x");
        let shown = given.config().show_json();
        assert_eq!(
            shown.pointer(&pointer(key)).and_then(|path| path.as_str()),
            Some(given.path("there.pem").as_str())
        );
    }
}

fn example_url(key: &str, password: &str) -> String {
    let scheme = match key {
        "store.url" => "postgres",
        "smtp.url" => "smtp",
        _ => "nats",
    };
    format!("{scheme}://someone:{password}@host.example")
}

#[test]
fn no_secret_is_ever_shown() {
    let secret_keys = KEYS.iter().filter(|key| matches!(key.kind, Kind::Secret | Kind::SecretUrl(_)));
    let mut seen = 0;
    for key in secret_keys {
        seen += 1;
        let is_url = matches!(key.kind, Kind::SecretUrl(_));
        let value = if is_url { example_url(key.name, "hunter2") } else { "hunter2".to_owned() };
        let user = if key.name == "nats.password" { "u" } else { "" };
        let config = Given::nothing().env("USHER_NATS__USER", user).env(&key.env(), &value).config();
        let shown = format!("{config:?} {} {}", config.show(), config.show_json());
        assert!(!shown.contains("hunter2"), "{}: {shown}", key.name);
        assert!(
            shown.contains("***") && (!is_url || shown.contains("someone:***@host.example")),
            "{}: {shown}",
            key.name
        );

        let section_and_name = key.name.split_once('.').expect("secrets are in sections");
        // Every way to be wrong: shape, type, a stray line break, in each layer and in a secret file.
        for bad in [
            "hunter2 hunter2",
            "hunter2\n",
            "x://u:hunter2@h",
            "postgres:u:hunter2@h",
            "smtp://u:hunter2",
            "nats://u:h/unter2@hunter2@h o",
        ] {
            // A bare secret may be any word, also one that looks like a URL.
            let bad = &if is_url { bad.to_owned() } else { format!("{bad} x") };
            let (section, name) = section_and_name;
            let text = format!("[{section}]\n{name} = {}\n", toml::Value::from(bad.as_str()));
            let wrapped = format!("[{section}]\n{name} = [{}]\n", toml::Value::from(bad.as_str()));
            let in_file = Given::nothing()
                .with("secret", &format!("x {bad}"))
                .env(&format!("{}_FILE", key.env()), "secret");
            let from_file = if key.name == "nats.url" { None } else { Some(in_file) };
            let tries = [
                Given::nothing().file(&text),
                Given::nothing().file(&wrapped),
                Given::nothing().env(&key.env(), bad),
                Given::nothing().flag(key.name, bad),
            ];
            for given in tries.into_iter().chain(from_file) {
                let faults = given.load().expect_err("a bad secret");
                let shown = format!("{faults} {faults:?}");
                assert!(
                    shown.contains(key.name) && !shown.contains("hunter2") && !shown.contains("unter2"),
                    "{shown}"
                );
            }
        }
    }
    assert_eq!(seen, 7);
}

#[test]
fn urls_are_shown_without_what_could_be_a_password() {
    for (text, expected) in [
        ("postgres://u:p@h/db", "postgres://u:***@h/db"),
        ("postgres://u:p@ss/w@h:5432/db?sslmode=require", "postgres://u:***@h:5432/db?sslmode=require"),
        ("postgres://h/db?user=u&password=p", "postgres://h/db?user=u&password=***"),
        ("postgres://u:p?q@h/db", "postgres://***"),
        ("sqlite:///data/@here/usher.db", "sqlite:///data/@here/usher.db"),
        ("nats://token@a:4222,nats://b", "nats://***@a:4222,nats://b"),
        ("nats://u:1,2@a,tls://u:p@b", "nats://u:***@a,tls://u:***@b"),
        ("smtp://[::1]:25", "smtp://[::1]:25"),
        ("smtp://u:pass", "smtp://***"),
        ("just-a-password", "***"),
    ] {
        assert_eq!(show::redact(text), expected);
    }
}
