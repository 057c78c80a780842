//! What each key takes and what it refuses.

use super::Given;

#[test]
fn each_key_refuses_what_it_cannot_use() {
    let bad = [
        ("data_dir", " "),
        ("http.listen", "8080"),
        ("http.scheduler_listen", "localhost:8081"),
        ("http.public_url", "https://a.example/"),
        ("http.public_url", "ftp://a.example"),
        ("http.onboarding_url", "https://crm.example/onboardings"),
        ("http.onboarding_url", "javascript:alert({id})"),
        ("http.onboarding_url", "https://crm.example/{name}/{id}"),
        ("http.public_url", "https://"),
        ("http.body_limit_bytes", "1023"),
        ("store.url", "mysql://localhost/x"),
        ("store.url", "sqlite://"),
        ("store.url", "postgres://"),
        ("store.max_connections", "0"),
        ("nats.url", "localhost:4222"),
        ("nats.url", "nats://a,b"),
        ("nats.url", "http://a"),
        ("nats.url", "nats://a:0"),
        ("nats.prefix", "a.b"),
        ("nats.prefix", ""),
        ("nats.stream_prefix", "a>"),
        ("nats.replicas", "6"),
        ("nats.tls_required", "yes"),
        ("nats.events_max_age_days", "0"),
        ("nats.events_max_age_days", "1.5"),
        ("smtp.url", "smtp://"),
        ("smtp.url", "smtp://user@host"),
        ("smtp.url", "smtp://host?tls=maybe"),
        ("smtp.url", "mail.example.com"),
        ("smtp.from", "usher"),
        ("smtp.from", "usher <a@b"),
        ("smtp.from", "a@b\r\nBcc: c@d"),
        ("smtp.from", "a@b@c"),
        ("slack.token", "two words"),
        ("slack.signing_secret", "line\nbreak"),
        ("slack.api_url", "slack.com"),
        ("reminders.time_zone", "Mars/Olympus"),
        ("reminders.time_of_day", "9:00"),
        ("reminders.send_until", "24:00"),
        ("reminders.working_days", ""),
        ("reminders.working_days", "mon,mon"),
        ("reminders.working_days", "Monday"),
        ("reminders.holidays", "2026-02-30"),
        ("reminders.catch_up", "all"),
        ("reminders.spread_minutes", "-1"),
        ("reminders.ops_email", "ops"),
        ("reminders.ops_slack_channel", ""),
        ("log.filter", "usher=loud"),
        ("log.format", "JSON"),
        ("workspace.slug", "-a"),
        ("workspace.name", " "),
    ];
    for (key, value) in bad {
        let fault = Given::nothing().flag(key, value).fault();
        assert!(
            fault.starts_with(&format!("{key} (command line): ")) && fault.contains("must be "),
            "{fault}"
        );
    }
}

#[test]
fn each_key_takes_what_it_should() {
    let good = [
        ("http.listen", "[::1]:0"),
        ("http.public_url", "http://localhost:8080/usher"),
        ("http.onboarding_url", "https://crm.example/o?key={external_id}&n={display_id}"),
        ("store.url", "postgresql://u:p%40@db:5432/usher?sslmode=require"),
        ("store.url", "postgres:///usher?host=/run/postgresql"),
        ("nats.url", "nats://a:4222,tls://u:p@b"),
        ("smtp.url", "smtps://me%40example.com:pw@mail"),
        ("smtp.url", "smtp://[::1]:1025"),
        ("smtp.url", "smtp://u:p@mail:25/?tls=off"),
        ("smtp.from", "a@b"),
        ("log.filter", "warn,usher_store=debug"),
        ("reminders.holidays", "2028-02-29"),
        ("workspace.slug", "a-1"),
    ];
    for (key, value) in good {
        Given::nothing().flag(key, value).config();
    }
}
