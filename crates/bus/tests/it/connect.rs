//! Getting in, and being told clearly why not.

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use usher_bus::{BusError, Credentials, Nats, Settings};
use usher_testkit::skip_without_servers;

use crate::{PATIENCE, chain, eventually, message, quick};

const USERS: &str = r#"authorization { users: [{ user: "ada", password: "hunter2/x" }] }"#;
const TOKEN: &str = r#"authorization { token: "t0psecret" }"#;

fn user(password: &str) -> Credentials {
    Credentials::User { user: "ada".into(), password: password.to_owned().into() }
}

async fn attempt(url: &str, credentials: Credentials) -> Result<Nats, BusError> {
    Nats::connect(Settings { credentials, ..quick(url) }).await
}

#[tokio::test]
async fn user_and_password_from_settings_or_url_open_the_door() {
    skip_without_servers!();
    let server = usher_testkit::nats::Nats::start_with(USERS).await.unwrap();
    attempt(&server.url(), user("hunter2/x")).await.unwrap().ensure_streams().await.unwrap();
    let with_user = server.url().replace("nats://", "nats://ada:hunter2%2Fx@");
    let nats = attempt(&with_user, Credentials::None).await.unwrap();
    assert!(nats.is_connected());
    assert!(!format!("{nats:?}").contains("hunter2"), "{nats:?}");
}

#[tokio::test]
async fn a_token_opens_the_door() {
    skip_without_servers!();
    let server = usher_testkit::nats::Nats::start_with(TOKEN).await.unwrap();
    attempt(&server.url(), Credentials::Token("t0psecret".to_owned().into())).await.unwrap();
    let with_token = server.url().replace("nats://", "nats://t0psecret@");
    attempt(&with_token, Credentials::None).await.unwrap();
}

#[tokio::test]
async fn an_nkey_opens_the_door() {
    skip_without_servers!();
    // The example pair of the NATS documentation.
    let user = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
    let seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    let config = format!("authorization {{ users: [{{ nkey: {user} }}] }}");
    let server = usher_testkit::nats::Nats::start_with(&config).await.unwrap();
    attempt(&server.url(), Credentials::Nkey(format!("{seed}\n").into())).await.unwrap();
    let error = attempt(&server.url(), Credentials::Nkey("SUnonsense".to_owned().into())).await.unwrap_err();
    assert!(matches!(error, BusError::Unauthorized { .. }), "{error:?}");
}

/// An operator, an account with `JetStream`, and a user of it; made for this test, in force for ever, of use nowhere else.
const OPERATOR: &str = include_str!("fixtures/operator.conf");
const CREDS: &str = include_str!("fixtures/user.creds");

#[tokio::test]
async fn a_creds_file_opens_the_door() {
    skip_without_servers!();
    let server = usher_testkit::nats::Nats::start_with(OPERATOR).await.unwrap();
    let nats = attempt(&server.url(), Credentials::Creds(CREDS.to_owned().into())).await.unwrap();
    nats.ensure_streams().await.unwrap();
    let error = attempt(&server.url(), Credentials::None).await.unwrap_err();
    assert!(matches!(error, BusError::Unauthorized { .. }), "{error:?}");
}

#[tokio::test]
async fn a_client_certificate_opens_the_door() {
    skip_without_servers!();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap();
    std::fs::write(path("ca.pem"), authority.pem()).unwrap();
    for name in ["server", "client"] {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        std::fs::write(path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }
    let config = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}",
        path("server.pem"),
        path("server.key"),
        path("ca.pem")
    );
    let server = usher_testkit::nats::Nats::start_with(&config).await.unwrap();
    let mut settings = quick(&server.url());
    settings.tls.ca_file = Some(path("ca.pem"));
    let error = Nats::connect(settings.clone()).await.unwrap_err();
    assert!(matches!(error, BusError::Connect { .. } | BusError::Unauthorized { .. }), "{error:?}");
    settings.tls.client_certificate = Some((path("client.pem"), path("client.key")));
    Nats::connect(settings).await.unwrap().ensure_streams().await.unwrap();
}

/// A service connects in the background and goes on trying; what keeps it out can be asked for, and is in the log once.
#[tokio::test]
async fn a_login_that_is_refused_in_the_background_is_told_in_words() {
    skip_without_servers!();
    let server = usher_testkit::nats::Nats::start_with(USERS).await.unwrap();
    let settings = |password: &str| Settings {
        credentials: user(password),
        retry_on_initial_connect: true,
        ..quick(&server.url())
    };
    let nats = Nats::connect(settings("wr0ng")).await.unwrap();
    eventually("it is told", || async { nats.trouble().is_some() }).await;
    let told = nats.trouble().unwrap();
    assert!(told.starts_with("the server refuses the credentials"), "{told}");
    assert!(!told.contains("wr0ng") && !nats.is_connected());
    let nats = Nats::connect(settings("hunter2/x")).await.unwrap();
    eventually("connected", || async { nats.is_connected() }).await;
    assert_eq!(nats.trouble(), None);
    server.kill().await.unwrap();
    eventually("it is told", || async { nats.trouble().is_some_and(|it| it == "no server can be reached") })
        .await;
    server.restart().await.unwrap();
    eventually("all is well again", || async { nats.is_connected() && nats.trouble().is_none() }).await;
}

#[tokio::test]
async fn without_jetstream_it_is_said_that_there_is_none() {
    skip_without_servers!();
    // A second account, without JetStream.
    let config = r#"accounts { PLAIN { users: [{ user: "ada", password: "hunter2/x" }] } }"#;
    let server = usher_testkit::nats::Nats::start_with(config).await.unwrap();
    let nats = attempt(&server.url(), user("hunter2/x")).await.unwrap();
    let error = nats.ensure_streams().await.unwrap_err();
    assert!(matches!(error, BusError::NoJetStream), "{error:?}");
}

/// Enough of a server for a client to connect to.
#[tokio::test]
async fn a_server_that_is_too_old_is_named_with_its_version() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (read, mut write) = stream.into_split();
        let info = r#"{"server_id":"x","version":"2.8.4","proto":1,"headers":true,"max_payload":1048576,"jetstream":true}"#;
        write.write_all(format!("INFO {info}\r\n").as_bytes()).await.unwrap();
        let mut lines = BufReader::new(read).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if line.starts_with("PING") {
                write.write_all(b"PONG\r\n").await.unwrap();
            }
        }
    });
    let nats = Nats::connect(quick(&url)).await.unwrap();
    let error = nats.ensure_streams().await.unwrap_err();
    assert_eq!(error.to_string(), "nats-server 2.8.4 is too old: 2.9 or newer is needed");
}

#[tokio::test]
async fn a_certificate_is_trusted_only_with_its_ca_file() {
    skip_without_servers!();
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let config = format!("tls {{ cert_file: {certificate:?}, key_file: {key:?} }}");
    let server = usher_testkit::nats::Nats::start_with(&config).await.unwrap();
    let mut settings = quick(&server.url());
    let error = Nats::connect(settings.clone()).await.unwrap_err();
    assert!(chain(&error).contains("certificate"), "{}", chain(&error));
    settings.tls.ca_file = Some(certificate);
    Nats::connect(settings).await.unwrap().ensure_streams().await.unwrap();
}

#[tokio::test]
async fn wrong_credentials_are_named_without_being_shown() {
    skip_without_servers!();
    for (config, credentials, in_url) in [
        (USERS, user("wr0ng"), "nats://ada:wr0ng@"),
        (TOKEN, Credentials::Token("wr0ng".to_owned().into()), "nats://wr0ng@"),
    ] {
        let server = usher_testkit::nats::Nats::start_with(config).await.unwrap();
        let url = server.url();
        for (url, credentials) in
            [(url.clone(), credentials), (url.replace("nats://", in_url), Credentials::None)]
        {
            let error = attempt(&url, credentials).await.unwrap_err();
            assert!(matches!(error, BusError::Unauthorized { .. }), "{error:?}");
            assert_eq!(chain(&error), format!("{} refused the credentials", server.url()));
            assert!(!format!("{error:?}").contains("wr0ng"), "{error:?}");
        }
    }
}

#[tokio::test]
async fn no_server_is_an_error_with_url_and_cause_or_goes_on_in_the_background() {
    skip_without_servers!();
    let server = usher_testkit::nats::Nats::start().await.unwrap();
    server.kill().await.unwrap();
    let with_user = server.url().replace("nats://", "nats://ada:hunter2@");
    let error = Nats::connect(quick(&with_user)).await.unwrap_err();
    let text = chain(&error);
    assert!(text.starts_with(&format!("cannot connect to {}: ", server.url())), "{text}");
    assert!(text.contains("refused"), "{text}");
    assert!(!format!("{text}{error:?}").contains("hunter2"), "{error:?}");

    let settings = Settings { retry_on_initial_connect: true, ..quick(&server.url()) };
    let nats = tokio::time::timeout(PATIENCE, Nats::connect(settings)).await.unwrap().unwrap();
    assert!(!nats.is_connected());
    assert!(matches!(nats.ensure_streams().await, Err(BusError::NotConnected)));
    server.restart().await.unwrap();
    eventually("connected", || async { nats.is_connected() }).await;
    nats.ensure_streams().await.unwrap();
    assert!(nats.publish_window(vec![message("usher.events.acme.x", "1", "{}")]).await[0].is_ok());
    assert_eq!(nats.server_version().as_deref(), Some(server.version()));
}

#[tokio::test]
async fn a_server_without_tls_is_refused_when_tls_is_required() {
    skip_without_servers!();
    let server = usher_testkit::nats::Nats::start().await.unwrap();
    let mut settings = quick(&server.url());
    settings.tls.required = true;
    let error = Nats::connect(settings).await.unwrap_err();
    assert!(matches!(error, BusError::Connect { .. }), "{error:?}");
}
