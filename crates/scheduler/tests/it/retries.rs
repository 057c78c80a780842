//! Deliveries that are put back by hand: sent once more and never twice, and only while they are wanted.

use chrono::TimeDelta;
use usher_lifecycle::command::{CreateOnboarding, OnboardingPatch, UserPatch};
use usher_lifecycle::onboarding::Role;
use usher_lifecycle::reminder::{Ambiguous, Channel, Kind, Rules};
use usher_lifecycle::{Command, OnboardingId, State, UserId};
use usher_scheduler::{PutBack, Scheduler, put_back};
use usher_store::{Delivery, Page, Status, UndeliveredFilter};
use usher_testkit::smtp::Behaviour;

use crate::at;
use crate::rig::{Rig, stories};

stories!(
    a_failed_one_is_put_back_once_and_sent_once,
    of_two_who_put_it_back_at_once_one_does,
    a_dry_run_says_the_same_and_changes_nothing,
    what_is_superseded_or_not_wanted_any_more_is_refused,
    what_nobody_was_to_get_is_refused,
    an_ambiguous_one_is_repeated_with_the_same_message_id,
    what_travelled_with_an_ambiguous_one_is_put_back_with_it,
    a_late_one_waits_for_the_hours_of_the_workspace,
    what_is_put_back_and_not_wanted_when_it_is_sent_ends_with_an_event_of_its_own,
    those_of_one_person_travel_together_again,
    they_are_found_by_every_filter_page_by_page,
);

const NINE: &str = "2026-03-03T09:00:00Z";
const TEN: &str = "2026-03-03T10:00:00Z";

/// Refused for good, for a reason that is not the address.
fn refusal() -> Behaviour {
    let text = "5.7.1 blocked for policy reasons".to_owned();
    Behaviour::RejectRcpt { address_contains: "@".to_owned(), code: 550, text }
}

/// An onboarding of ada's, every seven days, whose first reminder has failed.
async fn failed(rig: &Rig) -> (OnboardingId, UserId, Scheduler) {
    let ada = rig.user("ada").await;
    let weekly = CreateOnboarding { reminder_frequency_days: Some(7), ..CreateOnboarding::default() };
    let onboarding = rig.create("Acme", &[(Role::Csm, ada)], weekly).await;
    // Started on Monday the 2nd.
    let scheduler = rig.scheduler();
    rig.sink.set(refusal());
    rig.pass_at(&scheduler, "2026-03-09T09:00:00Z").await;
    rig.sink.set(Behaviour::Accept);
    assert_eq!(rig.story(onboarding).await, ["email ada failed 550"]);
    (onboarding, ada, scheduler)
}

impl Rig {
    async fn put_back(&self, deliveries: &[Delivery]) -> Vec<PutBack> {
        let done = put_back(&self.store, self.scheduler().configured(), deliveries, false, self.now()).await;
        done.unwrap().into_iter().map(|(_, it)| it).collect()
    }

    /// Puts the rows of an onboarding back, all of them.
    async fn retry(&self, onboarding: OnboardingId) -> Vec<PutBack> {
        self.put_back(&self.ledger(onboarding).await).await
    }
}

fn refused(reason: &str) -> PutBack {
    PutBack::Refused(reason.to_owned())
}

async fn a_failed_one_is_put_back_once_and_sent_once(rig: Rig) {
    let (onboarding, _, scheduler) = failed(&rig).await;
    rig.clock.advance(TimeDelta::hours(1));
    assert_eq!(rig.retry(onboarding).await, [PutBack::Done(rig.now())]);
    assert_eq!(rig.story(onboarding).await, ["email ada pending -"]);
    assert_eq!(rig.retry(onboarding).await, [refused("pending")]);
    rig.pass(&scheduler).await;
    rig.pass(&scheduler).await;
    assert_eq!(rig.mailed(), ["ada@example.com"]);
    let [row] = rig.ledger(onboarding).await.try_into().unwrap();
    assert_eq!((row.status, row.attempts, row.retries, row.errors.len()), (Status::Sent, 2, 1, 1));
    assert_eq!(row.retried_at, Some(rig.now()));
    assert_eq!(rig.retry(onboarding).await, [refused("sent")]);
    rig.pass(&scheduler).await;
    assert_eq!(rig.mailed().len(), 1);
}

async fn of_two_who_put_it_back_at_once_one_does(rig: Rig) {
    let (onboarding, _, scheduler) = failed(&rig).await;
    let rows = rig.ledger(onboarding).await;
    // Both have read it before either has written.
    assert_eq!(rig.put_back(&rows).await, [PutBack::Done(rig.now())]);
    assert_eq!(rig.put_back(&rows).await, [refused("pending")]);
    // Nor does one who read it long ago, when it has failed again since.
    rig.sink.next(1, refusal());
    rig.pass(&scheduler).await;
    assert_eq!(rig.story(onboarding).await, ["email ada failed 550"]);
    assert_eq!(rig.put_back(&rows).await, [refused("pending")]);
    assert_eq!(rig.retry(onboarding).await, [PutBack::Done(rig.now())]);
}

async fn a_dry_run_says_the_same_and_changes_nothing(rig: Rig) {
    let (onboarding, ..) = failed(&rig).await;
    let before = rig.ledger(onboarding).await;
    let configured = rig.scheduler().configured();
    let said = put_back(&rig.store, configured, &before, true, rig.now()).await.unwrap();
    assert_eq!(rig.ledger(onboarding).await, before);
    assert_eq!(rig.put_back(&before).await, said.into_iter().map(|(_, it)| it).collect::<Vec<_>>());
    assert_ne!(rig.ledger(onboarding).await, before);
}

async fn what_is_superseded_or_not_wanted_any_more_is_refused(rig: Rig) {
    let (onboarding, ada, scheduler) = failed(&rig).await;
    let patch = |state| OnboardingPatch { state: Some(state), ..OnboardingPatch::default() };
    rig.patch(onboarding, patch(State::Paused)).await;
    assert_eq!(rig.retry(onboarding).await, [refused("paused")]);
    rig.patch(onboarding, patch(State::Active)).await;
    let mute_until = |until| UserPatch { mute_until: Some(until), ..UserPatch::default() };
    rig.patch_user(ada, mute_until(Some(rig.now() + TimeDelta::days(1)))).await;
    assert_eq!(rig.retry(onboarding).await, [refused("muted")]);
    rig.patch_user(ada, mute_until(None)).await;
    // An address that is known to fail, until there is another one.
    let broken = Some((Channel::Email, Some("550".to_owned())));
    rig.patch_user(ada, UserPatch { broken, ..UserPatch::default() }).await;
    assert_eq!(rig.retry(onboarding).await, [refused("channel_broken")]);
    let email = Some("ada.new@example.com".to_owned());
    rig.patch_user(ada, UserPatch { email, ..UserPatch::default() }).await;
    // By the next slot it is too late for this one.
    rig.pass_at(&scheduler, "2026-03-16T09:00:00Z").await;
    let rows = rig.ledger(onboarding).await;
    let said = rig.put_back(&rows).await;
    assert_eq!(said, [refused("superseded"), refused("sent")]);
    rig.patch(onboarding, OnboardingPatch { reminder_email: Some(false), ..OnboardingPatch::default() })
        .await;
    assert_eq!(rig.put_back(&rows[..1]).await, [refused("superseded")]);
    assert_eq!(rig.mailed(), ["ada.new@example.com"]);
}

async fn what_nobody_was_to_get_is_refused(rig: Rig) {
    let onboarding = rig.onboarding("Acme", &[]).await;
    rig.pass_at(&rig.scheduler(), NINE).await;
    assert_eq!(rig.retry(onboarding).await, [refused("skipped")]);
    let mut rows = rig.ledger(onboarding).await;
    rows[0].status = Status::Failed;
    assert_eq!(rig.put_back(&rows).await, [refused("no_recipient")]);
}

async fn an_ambiguous_one_is_repeated_with_the_same_message_id(mut rig: Rig) {
    rig.rules(Rules { ambiguous: Ambiguous::Hold, ..Rules::default() }).await;
    let ada = rig.user("ada").await;
    let onboarding = rig.onboarding("Acme", &[(Role::Csm, ada)]).await;
    let scheduler = rig.scheduler();
    rig.sink.next(1, Behaviour::DropAfterData);
    rig.pass_at(&scheduler, NINE).await;
    assert_eq!(rig.story(onboarding).await, ["email ada ambiguous ambiguous"]);
    rig.set(TEN);
    assert_eq!(rig.retry(onboarding).await, [PutBack::Done(at(TEN))]);
    rig.pass(&scheduler).await;
    let ids = rig.message_ids();
    assert_eq!((ids.len(), &ids[0]), (2, &ids[1]));
    let [row] = rig.ledger(onboarding).await.try_into().unwrap();
    assert_eq!((row.status, row.ambiguities, row.forgiven), (Status::Sent, 1, 1));
    // Held again where its fate is unknown again, by the same policy.
    rig.sink.next(1, Behaviour::DropAfterData);
    rig.pass_at(&scheduler, "2026-03-04T09:00:00Z").await;
    let rows = rig.ledger(onboarding).await;
    assert_eq!(rig.put_back(&rows).await, [refused("sent"), PutBack::Done(rig.now())]);
    rig.sink.next(1, Behaviour::DropAfterData);
    rig.pass(&scheduler).await;
    let story = rig.story(onboarding).await;
    assert_eq!(story, ["email ada ambiguous ambiguous", "email ada sent -"]);
}

async fn what_travelled_with_an_ambiguous_one_is_put_back_with_it(mut rig: Rig) {
    rig.rules(Rules { ambiguous: Ambiguous::Hold, ..Rules::default() }).await;
    let ada = rig.user("ada").await;
    let mut all = Vec::new();
    for name in ["Acme", "Bolt", "Crux"] {
        all.push(rig.onboarding(name, &[(Role::Csm, ada)]).await);
    }
    let scheduler = rig.scheduler();
    rig.sink.next(1, Behaviour::DropAfterData);
    rig.pass_at(&scheduler, NINE).await;
    // Crux is on hold by now; somebody else's failure is none of it.
    rig.patch(all[2], OnboardingPatch { state: Some(State::Paused), ..OnboardingPatch::default() }).await;
    rig.sink.next(1, refusal());
    let eve = rig.user("eve").await;
    rig.set("2026-03-03T08:59:00Z");
    let other = rig.onboarding("Dune", &[(Role::Csm, eve)]).await;
    rig.pass_at(&scheduler, NINE).await;
    assert_eq!(rig.story(other).await, ["email eve failed 550"]);
    rig.set(TEN);
    let chosen = rig.ledger(all[0]).await;
    let done = put_back(&rig.store, scheduler.configured(), &chosen, false, rig.now()).await.unwrap();
    let mut done: Vec<_> = done
        .into_iter()
        .map(|(row, it)| (all.iter().position(|one| *one == row.onboarding_id), it))
        .collect();
    done.sort_by_key(|(place, _)| *place);
    let again = PutBack::Done(at(TEN));
    assert_eq!(done, [(Some(0), again.clone()), (Some(1), again), (Some(2), refused("paused"))]);
    rig.pass(&scheduler).await;
    let (ids, messages) = (rig.message_ids(), rig.sink.messages());
    assert_eq!((ids.len(), &ids[0]), (2, &ids[1]));
    let text = messages[1].mail().body("text/plain").unwrap().to_owned();
    assert!(text.contains("Acme") && text.contains("Bolt") && !text.contains("Crux"), "{text}");
    assert_eq!(rig.story(all[2]).await, ["email ada ambiguous ambiguous"]);
    assert_eq!(rig.story(other).await, ["email eve failed 550"]);
}

async fn a_late_one_waits_for_the_hours_of_the_workspace(rig: Rig) {
    let (onboarding, _, scheduler) = failed(&rig).await;
    rig.set("2026-03-09T20:00:00Z");
    assert_eq!(rig.retry(onboarding).await, [PutBack::Done(at("2026-03-10T09:00:00Z"))]);
    rig.pass(&scheduler).await;
    assert_eq!(rig.mailed().len(), 0);
    // A day after its slot: it may be tried for a day from the time at which it was put back.
    rig.sink.next(
        1,
        Behaviour::RejectRcpt {
            address_contains: "ada".to_owned(),
            code: 450,
            text: "4.2.1 try again later".to_owned(),
        },
    );
    rig.pass_at(&scheduler, "2026-03-10T09:00:00Z").await;
    rig.pass_at(&scheduler, "2026-03-10T09:05:00Z").await;
    assert_eq!(rig.mailed(), ["ada@example.com"]);
    assert_eq!(rig.story(onboarding).await, ["email ada sent -"]);
}

async fn what_is_put_back_and_not_wanted_when_it_is_sent_ends_with_an_event_of_its_own(rig: Rig) {
    let (onboarding, _, scheduler) = failed(&rig).await;
    rig.retry(onboarding).await;
    let paused = OnboardingPatch { state: Some(State::Paused), ..OnboardingPatch::default() };
    rig.patch(onboarding, paused).await;
    rig.pass(&scheduler).await;
    assert_eq!(rig.story(onboarding).await, ["email ada skipped paused"]);
    let timeline = rig.store.timeline(onboarding, &Page { limit: 100, cursor: None }).await.unwrap().data;
    let mut told: Vec<_> = timeline.iter().filter(|row| row.kind.starts_with("reminder.")).collect();
    told.sort_by_key(|row| row.version);
    let told: Vec<_> = told.iter().map(|row| (row.kind.as_str(), row.version)).collect();
    assert_eq!(told, [("reminder.failed", 2), ("reminder.skipped", 3)]);
}

async fn those_of_one_person_travel_together_again(rig: Rig) {
    let ada = rig.user("ada").await;
    let (acme, bolt) = (
        rig.onboarding("Acme", &[(Role::Csm, ada)]).await,
        rig.onboarding("Bolt", &[(Role::Csm, ada)]).await,
    );
    rig.sink.set(refusal());
    let scheduler = rig.scheduler();
    rig.pass_at(&scheduler, NINE).await;
    rig.sink.set(Behaviour::Accept);
    rig.set(TEN);
    let rows = [rig.ledger(acme).await, rig.ledger(bolt).await].concat();
    assert_eq!(rig.put_back(&rows).await, [PutBack::Done(at(TEN)), PutBack::Done(at(TEN))]);
    rig.pass(&scheduler).await;
    assert_eq!(rig.mailed().len(), 1);
    let text = rig.sink.messages()[0].mail().body("text/plain").unwrap().to_owned();
    assert!(text.contains("Acme") && text.contains("Bolt"), "{text}");
}

async fn they_are_found_by_every_filter_page_by_page(rig: Rig) {
    let (ada, eve) = (rig.user("ada").await, rig.slacker("eve").await);
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(rig.onboarding("Acme", &[(Role::Csm, ada)]).await);
    }
    let scheduler = rig.scheduler();
    rig.sink.set(refusal());
    rig.pass_at(&scheduler, NINE).await;
    rig.set(TEN);
    rig.apply(Command::RemindOnboarding(None), Some(all[0].to_text())).await;
    rig.pass(&scheduler).await;
    let sent = rig.onboarding("Bolt", &[(Role::Csm, eve)]).await;
    rig.sink.set(Behaviour::Accept);
    rig.pass_at(&scheduler, "2026-03-04T09:00:00Z").await;
    assert!(rig.ledger(sent).await.iter().all(|row| row.status == Status::Sent));

    let found = async |filter: &UndeliveredFilter<'_>| {
        let (mut rows, mut pages): (Vec<Delivery>, _) = (Vec::new(), 0);
        loop {
            let page = rig.store.undelivered(rig.workspace, filter, rows.last(), 4).await.unwrap();
            pages += 1;
            if page.is_empty() {
                return (rows.len(), pages);
            }
            rows.extend(page);
        }
    };
    let everything = UndeliveredFilter::default();
    assert_eq!(found(&everything).await, (6, 3));
    let of = |kind| UndeliveredFilter { kind: Some(kind), ..everything };
    assert_eq!((found(&of(Kind::Cadence)).await.0, found(&of(Kind::Manual)).await.0), (5, 1));
    assert_eq!(found(&of(Kind::Customer)).await.0, 0);
    let by = |status| UndeliveredFilter { status: Some(status), ..everything };
    assert_eq!((found(&by(Status::Failed)).await.0, found(&by(Status::Ambiguous)).await.0), (6, 0));
    let slack = UndeliveredFilter { channel: Some(Channel::Slack), ..everything };
    assert_eq!(found(&slack).await.0, 0);
    let reason = |reason| UndeliveredFilter { reason: Some(reason), ..everything };
    assert_eq!((found(&reason("550")).await.0, found(&reason("450")).await.0), (6, 0));
    let onboarding = UndeliveredFilter { onboarding: Some(all[0]), ..everything };
    assert_eq!(found(&onboarding).await.0, 2);
    let since = UndeliveredFilter { since: Some(at(TEN)), ..everything };
    let until = UndeliveredFilter { until: Some(at(TEN)), ..everything };
    assert_eq!((found(&since).await.0, found(&until).await.0), (1, 5));
    let ids = [rig.ledger(all[1]).await[0].id.to_text(), "rem_nobody".to_owned()];
    assert_eq!(rig.store.deliveries(rig.workspace, &ids).await.unwrap().len(), 1);
    let other = usher_lifecycle::WorkspaceId::new(rig.now(), 99);
    assert_eq!(rig.store.deliveries(other, &ids).await.unwrap(), []);
    assert_eq!(rig.store.undelivered(other, &everything, None, 9).await.unwrap(), []);
}
