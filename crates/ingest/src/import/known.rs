//! What is there already of what the lines of a batch name.

use std::collections::{BTreeMap, HashMap};

use usher_lifecycle::{Code, Refusal, limits::excerpt};
use usher_store::{CustomerNames, StoreError};

use super::{Import, Kind, Row};

/// The records and customers that are there.
#[derive(Default)]
pub(super) struct Known {
    /// The records by key; of a contact or an onboarding the customer.
    pub(super) records: BTreeMap<String, Option<CustomerNames>>,
    /// The ids of customers by slug.
    slugs: HashMap<String, String>,
}

impl Known {
    /// Asks the store, once for all lines.
    pub(super) async fn of(import: &Import, rows: &[Row]) -> Result<Self, StoreError> {
        let Import { store, workspace_id, livemode, kind, .. } = import;
        let keys: Vec<String> = rows.iter().map(|row| row.key.clone()).collect();
        let theirs = match kind {
            Kind::Customers => {
                let there = store.customers_with(*workspace_id, *livemode, &keys).await?;
                let records = there.into_iter().map(|key| (key, None)).collect();
                return Ok(Self { records, ..Self::default() });
            }
            Kind::Contacts => store.contacts_with(*workspace_id, *livemode, &keys).await?,
            Kind::Onboardings => store.onboardings_with(*workspace_id, *livemode, &keys).await?,
        };
        let slugs = rows.iter().filter_map(|row| match &row.customer {
            Some(("customer_slug", slug)) => Some(slug.clone()),
            Some(_) | None => None,
        });
        let slugs: Vec<String> = slugs.collect();
        let slugs = store.customers_by_slug(*workspace_id, *livemode, &slugs).await?;
        Ok(Self { records: theirs.into_iter().map(|(key, customer)| (key, Some(customer))).collect(), slugs })
    }

    pub(super) fn there(&self, row: &Row) -> bool {
        self.records.contains_key(&row.key)
    }

    /// The customer as the create call takes it: an id, a number or `external:<key>`.
    pub(super) fn customer(&self, column: &str, name: &str) -> Result<String, Refusal> {
        match column {
            "customer_external_id" => Ok(format!("external:{name}")),
            "customer_slug" => self.slugs.get(name).cloned().ok_or_else(|| {
                let message = format!("there is no customer with the slug {}", excerpt(name));
                Refusal::field(Code::CustomerNotFound, "customer_slug", message)
            }),
            _ => Ok(name.to_owned()),
        }
    }
}

/// Whether the customer is called so.
pub(super) fn is(names: &CustomerNames, called: &str) -> bool {
    match called.strip_prefix("external:") {
        Some(key) => names.external_id.as_deref() == Some(key),
        None => names.id == called || names.display_id.to_string() == called,
    }
}
