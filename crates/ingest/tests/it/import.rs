//! Imports, on both engines.

use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use usher_ingest::import::{Import, ImportError, Kind, Report};

use crate::app::{TestApp, on_both_engines, start};

on_both_engines!(
    a_repeated_import_makes_nothing_twice,
    a_line_at_fault_leaves_the_others_alone,
    a_dry_run_says_what_the_import_says_and_writes_nothing,
    old_onboardings_come_in_without_a_burst_of_reminders,
    an_onboarding_names_its_customer_in_four_ways,
    contacts_come_in_under_their_customers,
    test_records_are_their_own,
    an_import_may_be_repeated_after_its_customers_were_deleted,
);

fn import(app: &TestApp, kind: Kind, dry_run: bool) -> Import {
    Import { store: app.store.clone(), workspace_id: app.workspace.id, livemode: true, kind, dry_run }
}

async fn run(import: &Import, text: &str) -> Report {
    import.run(text.as_bytes(), &start, |_| ()).await.unwrap()
}

async fn take(app: &TestApp, kind: Kind, text: &str) -> Report {
    run(&import(app, kind, false), text).await
}

/// Line, field and code of each refusal.
fn refusals(report: &Report) -> Vec<(u64, Option<&str>, &str)> {
    report.refused.iter().map(|it| (it.line, it.field.as_deref(), it.code)).collect()
}

fn counts(report: &Report) -> (u64, u64, u64, usize) {
    (report.created, report.changed, report.unchanged, report.refused.len())
}

async fn all(app: &TestApp, what: &str) -> Vec<Value> {
    app.get(&format!("{what}?limit=100")).await.ok()["data"].as_array().unwrap().clone()
}

async fn a_repeated_import_makes_nothing_twice(app: &TestApp) {
    let file = "external_id,name,plan,mrr,metadata\na,Acme,,12.5,\"{\"\"tier\"\": 1}\"\nb,Initech,pro,,\n";
    assert_eq!(counts(&take(app, Kind::Customers, file).await), (2, 0, 0, 0));
    let made = all(app, "customers").await;
    assert_eq!(counts(&take(app, Kind::Customers, file).await), (0, 0, 2, 0));
    assert_eq!(all(app, "customers").await, made, "nothing changed, not even updated_at");
    // An empty cell is not given, so it clears nothing.
    let file = "name;external_id;plan\nAcme;a;\nInitech AG;b;pro\nUmbrella;c;\n";
    assert_eq!(counts(&take(app, Kind::Customers, file).await), (1, 1, 1, 0));
    let names: Vec<_> = all(app, "customers").await.iter().map(|it| it["name"].clone()).collect();
    assert_eq!(names, [json!("Umbrella"), json!("Initech AG"), json!("Acme")]);
    let acme = &all(app, "customers").await[2];
    assert_eq!((&acme["mrr"], &acme["metadata"]), (&json!(12.5), &json!({"tier": 1})));
}

async fn a_line_at_fault_leaves_the_others_alone(app: &TestApp) {
    let file = "external_id,name,slug,mrr,status\n\
                a,Acme,acme,,\n\
                b,,b,,\n\
                ,Nameless,n,,\n\
                a,Again,again,,\n\
                c,Cyberdyne,acme,,\n\
                d,Dunder,UPPER,,\n\
                e,Evil,e,much,\n\
                f,Fine,f,,asleep\n\
                g,Good,g,1,churned\n";
    let report = take(app, Kind::Customers, file).await;
    let wanted = [
        (3, Some("name"), "missing_field"),
        (4, Some("external_id"), "missing_field"),
        (5, Some("external_id"), "invalid_value"),
        (6, Some("slug"), "slug_taken"),
        (7, Some("slug"), "invalid_string"),
        (8, Some("mrr"), "invalid_type"),
        (9, Some("status"), "invalid_value"),
    ];
    assert_eq!(refusals(&report), wanted);
    assert_eq!(counts(&report), (2, 0, 0, 7));
    assert!(report.refused[2].message.contains("line 2"), "{:?}", report.refused[2]);
    assert_eq!(all(app, "customers").await.len(), 2);
    let nothing = import(app, Kind::Customers, false).run(&b"name\nAcme\n"[..], &start, |_| ()).await;
    assert!(matches!(nothing, Err(ImportError::Header(_))), "{nothing:?}");
}

async fn a_dry_run_says_what_the_import_says_and_writes_nothing(app: &TestApp) {
    take(app, Kind::Customers, "external_id,name,slug\nold,Old,old\nsame,Same,same\n").await;
    let before = (all(app, "customers").await, app.store.readings(start()).await.unwrap().outbox);
    // More than a batch; a slug that an earlier line gives up, one that an earlier line takes, changes and faults.
    let mut file = "external_id,name,slug\nold,Old,older\nsame,Same,same\n".to_owned();
    for n in 0..700 {
        writeln!(file, "n{n},Number {n},n{}", n % 650).unwrap();
    }
    file.push_str("heir,Heir,old\n,Nobody,x\n");
    let dry = run(&import(app, Kind::Customers, true), &file).await;
    let after = (all(app, "customers").await, app.store.readings(start()).await.unwrap().outbox);
    assert_eq!(after, before, "a dry run writes nothing");
    let wet = take(app, Kind::Customers, &file).await;
    // In words they differ by the id of a record that the dry run did not keep.
    assert_eq!((counts(&dry), refusals(&dry)), (counts(&wet), refusals(&wet)));
    assert_eq!(counts(&wet), (651, 1, 1, 51));
    assert_eq!(wet.refused[0].code, "slug_taken");
    let newest = &all(app, "customers").await[0];
    assert!(newest["display_id"].as_i64().is_some_and(|number| number > 0), "{newest}");
}

async fn old_onboardings_come_in_without_a_burst_of_reminders(app: &TestApp) {
    take(app, Kind::Customers, "external_id,name\na,Acme\n").await;
    let mut file = "external_id,customer_external_id,started_at,phase,reminder_frequency_days\n".to_owned();
    for n in 0..100 {
        writeln!(file, "o{n},a,2021-0{}-01T09:00:00Z,review,{}", n % 9 + 1, n % 30 + 1).unwrap();
    }
    assert_eq!(counts(&take(app, Kind::Onboardings, &file).await), (100, 0, 0, 0));
    let it = app.store.readings(start()).await.unwrap();
    assert_eq!((it.schedules_due, it.deliveries_due, it.oldest_due), (0, 0, None), "the past is past");
    for onboarding in all(app, "onboardings").await {
        assert_eq!((&onboarding["phase"], &onboarding["last_reminded_at"]), (&json!("review"), &json!(null)));
        let next: DateTime<Utc> = onboarding["next_reminder_at"].as_str().unwrap().parse().unwrap();
        assert!(start() < next && next < start() + TimeDelta::days(34), "{next}");
    }
    // The same again, with another rhythm: nothing is due now either.
    let file = file.replace(",review,", ",launch,");
    assert_eq!(counts(&take(app, Kind::Onboardings, &file).await), (0, 100, 0, 0));
    assert_eq!(app.store.readings(start()).await.unwrap().schedules_due, 0);
}

async fn an_onboarding_names_its_customer_in_four_ways(app: &TestApp) {
    take(app, Kind::Customers, "external_id,name,slug\na,Acme,acme\nb,Initech,initech\n").await;
    let acme = all(app, "customers").await[1].clone();
    let id = acme["id"].as_str().unwrap();
    let number = acme["display_id"].to_string();
    let file = format!(
        "external_id,customer_id,customer_external_id,customer_slug,notes\n\
         1,{id},,,\n2,{number},,,\n3,,a,,\n4,,,acme,\n5,,,nobody,\n6,,nobody,,\n7,{id},a,,\n8,,,,\n"
    );
    let report = take(app, Kind::Onboardings, &file).await;
    assert_eq!(report.created, 4);
    let wanted = [
        (6, Some("customer_slug"), "customer_not_found"),
        (7, Some("customer_external_id"), "customer_not_found"),
        (8, Some("customer_external_id"), "invalid_combination"),
        (9, Some("customer_id"), "missing_field"),
    ];
    assert_eq!(refusals(&report), wanted);
    assert!(all(app, "onboardings").await.iter().all(|it| it["customer_id"] == id));
    // Again under another of its names, and under that of another customer.
    let again =
        "external_id,customer_slug,customer_external_id,notes\n1,acme,,x\n2,,a,\n3,initech,,\n4,,b,\n";
    let report = take(app, Kind::Onboardings, again).await;
    assert_eq!(counts(&report), (0, 1, 1, 2));
    let wanted =
        [(4, Some("customer_slug"), "immutable_field"), (5, Some("customer_external_id"), "immutable_field")];
    assert_eq!(refusals(&report), wanted);
}

async fn test_records_are_their_own(app: &TestApp) {
    let file = "external_id,name\na,Acme\n";
    take(app, Kind::Customers, file).await;
    let test = Import { livemode: false, ..import(app, Kind::Customers, false) };
    assert_eq!(counts(&run(&test, file).await), (1, 0, 0, 0));
    assert_eq!(all(app, "customers").await.len(), 1);
}

async fn contacts_come_in_under_their_customers(app: &TestApp) {
    take(app, Kind::Customers, "external_id,name,slug\na,Acme,acme\nb,Initech,initech\n").await;
    let file = "external_id,customer_external_id,customer_slug,name,email,is_primary,labels\n\
                1,a,,Ada,ADA@example.com,,\n\
                2,,acme,Bob,bob@example.com,true,\"[\"\"it\"\"]\"\n\
                3,a,,Twin,ada@example.com,,\n\
                4,,,Nobody,nobody@example.com,,\n\
                5,b,,Ada,ada@example.com,,\n";
    let dry = run(&import(app, Kind::Contacts, true), file).await;
    let report = take(app, Kind::Contacts, file).await;
    assert_eq!((counts(&dry), refusals(&dry)), (counts(&report), refusals(&report)));
    let wanted = [(4, Some("email"), "email_taken"), (5, Some("customer_id"), "missing_field")];
    assert_eq!(refusals(&report), wanted);
    assert_eq!(report.created, 3);
    let customers = all(app, "customers").await;
    let of = |name: &str| {
        let found = customers.iter().find(|it| it["name"] == name).unwrap();
        format!("customers/{}/contacts", found["id"].as_str().unwrap())
    };
    let acme = all(app, &of("Acme")).await;
    let seen: Vec<_> = acme.iter().map(|it| (&it["email"], &it["is_primary"], &it["labels"])).collect();
    let (ada, bob) = (json!("ada@example.com"), json!("bob@example.com"));
    let (yes, no, it, none) = (json!(true), json!(false), json!(["it"]), json!([]));
    assert_eq!(seen, [(&bob, &yes, &it), (&ada, &no, &none)]);
    assert_eq!(all(app, &of("Initech")).await.len(), 1);
    // Again, with one change, and one contact under another customer.
    let again = "external_id,customer_external_id,name,email\n\
                 1,a,Ada L.,ada@example.com\n2,a,Bob,bob@example.com\n5,a,Ada,ada@example.com\n";
    let report = take(app, Kind::Contacts, again).await;
    assert_eq!(counts(&report), (0, 1, 1, 1));
    assert_eq!(refusals(&report), [(4, Some("customer_external_id"), "immutable_field")]);
    let nowhere = "external_id,customer_id,customer_external_id,name,email\n8,,z,A,a@x.example\n9,cust_z,,B,b@x.example\n";
    let report = take(app, Kind::Contacts, nowhere).await;
    let wanted = [
        (2, Some("customer_external_id"), "customer_not_found"),
        (3, Some("customer_id"), "customer_not_found"),
    ];
    assert_eq!(refusals(&report), wanted);
}

async fn an_import_may_be_repeated_after_its_customers_were_deleted(app: &TestApp) {
    let files = [
        (Kind::Customers, "external_id,name\na,Acme\n"),
        (Kind::Contacts, "external_id,customer_external_id,name,email\nk,a,Ada,ada@example.com\n"),
        (Kind::Onboardings, "external_id,customer_external_id,notes\no,a,x\n"),
    ];
    for _ in 0..2 {
        for (kind, file) in files {
            let report = take(app, kind, file).await;
            assert_eq!(counts(&report), (1, 0, 0, 0), "{kind:?}: {report:?}");
        }
        for (kind, file) in files {
            assert_eq!(counts(&take(app, kind, file).await), (0, 0, 1, 0), "{kind:?}");
        }
        let customer = all(app, "customers").await[0]["id"].as_str().unwrap().to_owned();
        app.delete(&format!("customers/{customer}")).await.ok();
    }
    take(app, files[0].0, files[0].1).await;
    for (kind, file) in &files[1..] {
        let dry = run(&import(app, *kind, true), file).await;
        assert_eq!(counts(&dry), (1, 0, 0, 0), "{kind:?}: {dry:?}");
    }
}
