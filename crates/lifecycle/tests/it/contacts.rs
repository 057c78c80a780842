//! Contacts: exactly one primary per customer that has contacts, whatever happens to them.

use proptest::prelude::*;
use serde_json::json;
use usher_lifecycle::{
    Book, Code, Command, Current, Decision, Record,
    command::{ContactPatch, CreateContact},
    customer::Contact,
    decide,
    event::EventKind,
    reminder::Rules,
};

use crate::{kinds, monday, nothing, previous, references};

/// The contacts of one customer, as the store would hold them.
#[derive(Default)]
struct Contacts {
    all: Vec<Contact>,
    made: u128,
}

impl Contacts {
    fn decide(&mut self, on: Option<usize>, command: &Command) -> Decision {
        let (rules, mut references) = (Rules::default(), references());
        self.made += 1;
        references.random = self.made;
        references.display_id = i64::try_from(self.made).expect("few");
        let it = on.map(|place| self.all[place].clone());
        let others = self.all.iter().filter(|other| Some(other.id) != it.as_ref().map(|it| it.id));
        references.contacts = others.cloned().collect();
        let current = it.map_or_else(nothing, |it| Current::Record(Record::Contact(it)));
        let book = Book { rules: &rules, references: &references };
        let decision = decide(current, command, book, monday()).expect("is legal");
        for record in decision.also.iter().map(|it| &it.record).chain([&decision.record]) {
            let Record::Contact(contact) = record else { panic!("{record:?}") };
            match self.all.iter().position(|it| it.id == contact.id) {
                Some(place) if contact.deleted_at.is_some() => drop(self.all.remove(place)),
                Some(place) => self.all[place] = contact.clone(),
                None => self.all.push(contact.clone()),
            }
        }
        decision
    }

    fn create(&mut self, name: &str, is_primary: Option<bool>) -> Decision {
        let email = format!("{name}@x.example");
        let create = CreateContact { name: name.into(), email, is_primary, ..CreateContact::default() };
        self.decide(None, &Command::CreateContact(create))
    }

    fn primary(&self) -> Vec<&str> {
        self.all.iter().filter(|it| it.is_primary).map(|it| it.name.as_str()).collect()
    }
}

fn primary(is_primary: bool) -> Command {
    Command::ChangeContact(ContactPatch { is_primary: Some(is_primary), ..ContactPatch::default() })
}

#[test]
fn the_first_contact_is_primary_and_a_new_primary_replaces_the_old() {
    let mut it = Contacts::default();
    let ada = it.create("ada", Some(false));
    assert_eq!((kinds(&ada), it.primary()), (vec![EventKind::ContactCreated], vec!["ada"]));
    it.create("bob", None);
    assert_eq!(it.primary(), ["ada"]);
    let cyd = it.create("cyd", Some(true));
    assert_eq!(it.primary(), ["cyd"]);
    let [also] = cyd.also.as_slice() else { panic!("{:?}", cyd.also) };
    assert_eq!((also.record.version(), also.event.kind), (2, EventKind::ContactUpdated));
    assert_eq!(also.event.previous.clone().map(serde_json::Value::Object), Some(json!({"is_primary": true})));
    assert_eq!(also.record.object()["is_primary"], false);

    let bob = it.decide(Some(1), &primary(true));
    assert_eq!(previous(&bob, EventKind::ContactUpdated), json!({"is_primary": false}));
    assert_eq!((it.primary(), bob.record.version(), bob.also.len()), (vec!["bob"], 2, 1));
    let again = it.decide(Some(1), &primary(true));
    assert_eq!((kinds(&again), again.also), (vec![], vec![]));
}

#[test]
fn the_oldest_remaining_follows_a_primary_that_goes_or_steps_back() {
    let mut it = Contacts::default();
    for name in ["ada", "bob", "cyd"] {
        it.create(name, None);
    }
    it.decide(Some(0), &primary(false));
    assert_eq!(it.primary(), ["bob"]);
    it.decide(Some(2), &primary(true));
    let gone = it.decide(Some(2), &Command::DeleteContact);
    assert_eq!((it.primary(), kinds(&gone)), (vec!["ada"], vec![EventKind::ContactDeleted]));
    assert_eq!(gone.also[0].record.object()["is_primary"], true);
    it.decide(Some(0), &Command::DeleteContact);
    // The only one stays.
    let only = it.decide(Some(0), &primary(false));
    assert_eq!((it.primary(), kinds(&only)), (vec!["bob"], vec![]));
    it.decide(Some(0), &Command::DeleteContact);
    assert!(it.all.is_empty());
}

#[test]
fn a_contact_of_a_customer_that_is_not_there_is_refused() {
    let (rules, mut references) = (Rules::default(), references());
    references.customer = None;
    let command = Command::CreateContact(CreateContact::default());
    let refusal = decide(nothing(), &command, Book { rules: &rules, references: &references }, monday());
    assert_eq!(refusal.expect_err("no customer").code, Code::CustomerNotFound);
}

proptest! {
    #[test]
    fn exactly_one_is_primary(steps in prop::collection::vec((0_u8..4, any::<prop::sample::Index>(), any::<Option<bool>>()), 1..40)) {
        let mut it = Contacts::default();
        for (kind, place, wish) in steps {
            let before = it.all.clone();
            let decision = match kind {
                0 => it.create("x", wish),
                _ if it.all.is_empty() => continue,
                1 => it.decide(Some(place.index(before.len())), &Command::DeleteContact),
                _ => it.decide(Some(place.index(before.len())), &primary(wish.unwrap_or(true))),
            };
            prop_assert_eq!(it.primary().len(), usize::from(!it.all.is_empty()));
            prop_assert!(decision.also.len() <= 1);
            // What changed has one version more, all else is as it was.
            for (old, new) in before.iter().filter_map(|old| Some((old, it.all.iter().find(|new| new.id == old.id)?))) {
                prop_assert_eq!(new.version, old.version + i64::from(new != old));
            }
        }
    }
}
