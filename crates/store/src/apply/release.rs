//! The keys of a deleted customer's contacts and onboardings are free.
//!
//! Law: what nobody can find keeps no `external_id` from anybody. The row keeps its key until another record wants it, and
//! loses it in the transaction in which that one gets it; so it does not matter when it lost its customer, nor how.

use super::{facts::Facts, write::Work};
use crate::{
    db::{Arg, Tx, statements},
    error::StoreError,
};

statements! {
    ONBOARDINGS = "UPDATE onboardings SET external_id = NULL WHERE id {in:$1}";
    CONTACTS = "UPDATE contacts SET external_id = NULL WHERE id {in:$1}";
}

/// The ids of records whose keys others get.
#[derive(Default)]
pub(super) struct Released {
    onboardings: Vec<String>,
    contacts: Vec<String>,
}

impl Work {
    /// Notes whose keys went over to others in what was decided.
    pub(super) fn release(&mut self, facts: &Facts) {
        for id in facts.onboardings.displaced() {
            if let Some(it) = id.parse().ok().and_then(|id| self.onboardings.get_mut(&id)) {
                it.external_id = None;
            }
            self.released.onboardings.push(id.to_owned());
        }
        for id in facts.contacts.displaced() {
            if let Some(it) = self.contacts.get_mut(id) {
                it.external_id = None;
            }
            self.released.contacts.push(id.to_owned());
        }
    }
}

impl Released {
    /// Before the others are written: the indexes know one record per key.
    pub(super) async fn write(self, tx: &mut Tx) -> Result<(), StoreError> {
        for (stmt, ids) in [(&ONBOARDINGS, self.onboardings), (&CONTACTS, self.contacts)] {
            if !ids.is_empty() {
                tx.execute(stmt, vec![Arg::Texts(ids)]).await?;
            }
        }
        Ok(())
    }
}
