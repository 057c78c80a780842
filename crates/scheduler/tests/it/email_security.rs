use usher_scheduler::channel::{ConfigError, Mailer, SmtpConfig};
use usher_testkit::smtp::{Options, Sink, Tls};

use crate::email::{accepted, config, down, mailer, send, url};

#[tokio::test]
async fn starttls_is_used_when_offered_and_believed_only_with_the_right_authority() {
    let options = Options { tls: Tls::StartTls, ..Options::default() };
    let sink = Sink::start_with(options).await.unwrap();
    assert_eq!(down(&send(&mailer(&sink)).await), "certificate");
    assert_eq!(sink.messages().len(), 0);

    let known = SmtpConfig {
        extra_ca_pem: Some(sink.ca_pem().into()),
        ..config(url(&sink, "smtp", "", "?tls=required"))
    };
    let known = Mailer::smtp(&known).unwrap();
    accepted(&known.check().await);
    accepted(&send(&known).await);
    assert!(sink.messages()[0].tls);

    let off = Mailer::smtp(&config(url(&sink, "smtp", "", "?tls=off"))).unwrap();
    accepted(&send(&off).await);
    assert!(!sink.messages()[1].tls);
}

#[tokio::test]
async fn starttls_required_and_missing_is_a_fault_of_the_channel() {
    let sink = Sink::start().await.unwrap();
    let mailer = Mailer::smtp(&config(url(&sink, "smtp", "", "?tls=required"))).unwrap();
    assert_eq!(down(&send(&mailer).await), "no_starttls");
    assert_eq!(sink.messages().len(), 0);
}

#[tokio::test]
async fn tls_from_the_first_byte() {
    let sink = Sink::start_with(Options { tls: Tls::Implicit, ..Options::default() }).await.unwrap();
    let unknown = Mailer::smtp(&config(url(&sink, "smtps", "", ""))).unwrap();
    assert_eq!(down(&send(&unknown).await), "certificate");
    let known =
        SmtpConfig { extra_ca_pem: Some(sink.ca_pem().into()), ..config(url(&sink, "smtps", "", "")) };
    accepted(&send(&Mailer::smtp(&known).unwrap()).await);
    assert!(sink.messages()[0].tls);
}

#[tokio::test]
async fn a_certificate_for_another_host_is_wrong() {
    let options = Options {
        tls: Tls::StartTls,
        certificate_names: vec!["other.example".to_owned()],
        ..Options::default()
    };
    let sink = Sink::start_with(options).await.unwrap();
    let config =
        SmtpConfig { extra_ca_pem: Some(sink.ca_pem().into()), ..config(url(&sink, "smtp", "", "")) };
    assert_eq!(down(&send(&Mailer::smtp(&config).unwrap()).await), "certificate");
}

#[tokio::test]
async fn a_refused_login_is_a_fault_of_the_channel_and_no_bounce() {
    let options =
        Options { credentials: Some(("usher".to_owned(), "p@ss:w/rd".to_owned())), ..Options::default() };
    let sink = Sink::start_with(options).await.unwrap();
    let right = Mailer::smtp(&config(url(&sink, "smtp", "usher:p%40ss%3Aw%2Frd@", ""))).unwrap();
    accepted(&right.check().await);
    accepted(&send(&right).await);
    assert_eq!(sink.connections(), 1, "the connection of the check is used again");
    let wrong = Mailer::smtp(&config(url(&sink, "smtp", "usher:secret@", ""))).unwrap();
    assert_eq!(down(&wrong.check().await), "535");
    assert_eq!(down(&send(&wrong).await), "535");
    assert_eq!(down(&send(&mailer(&sink)).await), "530");
    assert!(!format!("{wrong:?}").contains("secret"));

    let plain = Sink::start().await.unwrap();
    let nobody_asked = Mailer::smtp(&config(url(&plain, "smtp", "usher:secret@", ""))).unwrap();
    assert_eq!(down(&send(&nobody_asked).await), "no_auth");
}

#[test]
fn faults_of_the_configuration_are_named_without_the_password() {
    for bad in [
        "smtp//x",
        "http://x",
        "smtp://",
        "smtp://u@x",
        "smtp://x?tls=requird",
        "smtp://x?foo=1",
        "smtps://x?tls=off",
        "smtp://u:secret@x:99999",
    ] {
        let error = Mailer::smtp(&config(bad.to_owned())).unwrap_err();
        assert!(matches!(error, ConfigError::Url(_)), "{bad} {error:?}");
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
    for bad in ["", "usher", "Usher <usher>", "Usher <u@x.example> x"] {
        let config = SmtpConfig { from: bad.to_owned(), ..config("smtp://x".to_owned()) };
        assert!(matches!(Mailer::smtp(&config), Err(ConfigError::From(_))), "{bad}");
    }
    for scheme in ["smtp", "smtps"] {
        let config = SmtpConfig { extra_ca_pem: Some(b"no PEM".to_vec()), ..config(format!("{scheme}://x")) };
        assert!(matches!(Mailer::smtp(&config), Err(ConfigError::Authority)), "{scheme}");
    }
}
