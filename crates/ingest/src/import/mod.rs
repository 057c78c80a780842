//! Import: many records from one file, through the one write path.
//!
//! Laws: a record is known by its `external_id`, so an import may be repeated, and a line that says nothing new changes
//! nothing; a line that is refused is told with its number, field, code and reason, and leaves the others alone. A dry
//! run does all of it in a transaction that is rolled back, and says what the import would say. Memory is bounded by the
//! batch, the keys of the file and what was refused.

mod known;
mod table;

use std::{collections::HashMap, io::Read, sync::Arc};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use usher_lifecycle::{
    Code, Command, Refusal, WorkspaceId,
    event::{Actor, ActorKind},
    limits::{self, excerpt},
};
use usher_store::{Applied, ApplyError, Dedupe, Outcome, Ref, Rehearsal, Request, Store, StoreError};

use self::{
    known::{Known, is},
    table::{Line, Table},
};
use crate::body;

/// Lines that are applied in one transaction.
const BATCH: usize = 500;

/// The columns that name the customer of a contact or an onboarding, one of them per line.
const CUSTOMER: [&str; 3] = ["customer_id", "customer_external_id", "customer_slug"];

/// What the lines of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Customers.
    Customers,
    /// Contacts at customers that are there.
    Contacts,
    /// Onboardings of customers that are there.
    Onboardings,
}

impl Kind {
    /// The name of such a file, without its ending.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customers => "customers",
            Self::Contacts => "contacts",
            Self::Onboardings => "onboardings",
        }
    }

    /// What a file of that name holds: `customers.csv`, `2026-onboardings.csv`.
    pub fn of_file(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        let all = [Self::Customers, Self::Contacts, Self::Onboardings];
        let mut named = all.into_iter().filter(|kind| name.contains(kind.as_str()));
        named.next().filter(|_| named.next().is_none())
    }

    /// The columns it may have: the fields of the API's create call, and the names of the customer.
    pub fn columns(self) -> Vec<&'static str> {
        let fields = match self {
            Self::Customers => return body::CUSTOMER.to_vec(),
            Self::Contacts => body::CONTACT.as_slice(),
            Self::Onboardings => body::ONBOARDING.as_slice(),
        };
        let names = CUSTOMER.iter().filter(|name| !fields.contains(name));
        fields.iter().chain(names).copied().collect()
    }

    /// Columns without which no line can be taken, one of each.
    const fn wanted(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Customers => &[&["external_id"], &["name"]],
            Self::Contacts => &[&["external_id"], &CUSTOMER, &["name"], &["email"]],
            Self::Onboardings => &[&["external_id"], &CUSTOMER],
        }
    }
}

/// An import.
#[derive(Debug, Clone)]
pub struct Import {
    /// Where to.
    pub store: Store,
    /// Into which workspace.
    pub workspace_id: WorkspaceId,
    /// False for test records.
    pub livemode: bool,
    /// What the lines are.
    pub kind: Kind,
    /// Write nothing, and say what would be done.
    pub dry_run: bool,
}

/// What an import did, or a dry run would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Lines that made a record.
    pub created: u64,
    /// Lines that changed one.
    pub changed: u64,
    /// Lines that said nothing new.
    pub unchanged: u64,
    /// Lines that were not taken, in the order of the file.
    pub refused: Vec<Refused>,
}

/// A line that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its number; the header is 1. A line with quoted line breaks counts where it begins.
    pub line: u64,
    /// The column at fault.
    pub field: Option<String>,
    /// The code, as in the API.
    pub code: &'static str,
    /// What is wrong with which value, and what is allowed.
    pub message: String,
}

/// Why an import did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The first line cannot be used; nothing was done.
    #[error("{0}")]
    Header(String),
    /// The file cannot be read.
    #[error("the file cannot be read")]
    Io(#[from] std::io::Error),
    /// The file cannot be read as CSV.
    #[error("the file cannot be read as CSV")]
    Csv(#[from] csv::Error),
    /// The store failed. What was taken before stays; the import may be repeated.
    #[error("the store failed after {0} lines; what they did stays, and the import may be repeated")]
    Store(u64, #[source] Arc<StoreError>),
}

/// Who carries it out.
enum Hand {
    Store(Store),
    Rehearsal(Rehearsal),
}

impl Hand {
    async fn apply_all(
        &mut self,
        requests: Vec<Request>,
        now: DateTime<Utc>,
    ) -> Vec<Result<Applied, ApplyError>> {
        match self {
            Self::Store(store) => store.apply_all(requests, now).await,
            Self::Rehearsal(rehearsal) => rehearsal.apply_all(requests, now).await,
        }
    }
}

/// A line with its key and the name of its customer taken out.
struct Row {
    line: u64,
    key: String,
    customer: Option<(&'static str, String)>,
    fields: Map<String, Value>,
}

impl Import {
    /// Takes the file line by line. `progress` hears after each batch how many bytes are done.
    pub async fn run(
        &self,
        input: impl Read,
        clock: &(dyn Fn() -> DateTime<Utc> + Send + Sync),
        mut progress: impl FnMut(u64),
    ) -> Result<Report, ImportError> {
        let mut table = Table::open(input, self.kind)?;
        let failed = |error| ImportError::Store(0, Arc::new(error));
        let mut hand = if self.dry_run {
            Hand::Rehearsal(self.store.rehearsal().await.map_err(failed)?)
        } else {
            Hand::Store(self.store.clone())
        };
        let (mut report, mut seen) = (Report::default(), HashMap::new());
        loop {
            let lines = table.lines(BATCH)?;
            if lines.is_empty() {
                break;
            }
            let done = report.lines();
            self.batch(&mut hand, lines, &mut seen, &mut report, clock())
                .await
                .map_err(|error| ImportError::Store(done, error))?;
            progress(table.bytes());
        }
        match hand {
            Hand::Store(_) => {}
            Hand::Rehearsal(rehearsal) => rehearsal.end().await.map_err(failed)?,
        }
        Ok(report)
    }

    async fn batch(
        &self,
        hand: &mut Hand,
        lines: Vec<Line>,
        seen: &mut HashMap<String, u64>,
        report: &mut Report,
        now: DateTime<Utc>,
    ) -> Result<(), Arc<StoreError>> {
        let mut refused = Vec::new();
        let mut rows = Vec::with_capacity(lines.len());
        for Line { number, row } in lines {
            match row.and_then(|fields| self.row(number, fields, seen)) {
                Ok(row) => rows.push(row),
                Err(refusal) => refused.push(Refused::new(number, refusal)),
            }
        }
        let known = Known::of(self, &rows).await.map_err(Arc::new)?;
        let (mut places, mut requests) = (Vec::new(), Vec::new());
        for row in rows {
            let (line, there) = (row.line, known.there(&row));
            let column = row.customer.as_ref().map(|(column, _)| *column);
            match self.request(row, &known) {
                Ok(request) => {
                    places.push((line, there, column));
                    requests.push(request);
                }
                Err(refusal) => refused.push(Refused::new(line, refusal)),
            }
        }
        for ((line, there, column), answer) in places.into_iter().zip(hand.apply_all(requests, now).await) {
            match answer {
                Ok(applied) => match applied.outcome {
                    Outcome::Committed if there => report.changed += 1,
                    Outcome::Committed => report.created += 1,
                    Outcome::Unchanged | Outcome::Duplicate | Outcome::Superseded => report.unchanged += 1,
                },
                Err(ApplyError::Refused(mut refusal)) => {
                    // The command has the customer's name, the file the column that it stood in.
                    if refusal.code == Code::CustomerNotFound {
                        refusal.field = column.map(str::to_owned);
                    }
                    refused.push(Refused::new(line, refusal));
                }
                Err(ApplyError::Store(error)) => return Err(error),
            }
        }
        refused.sort_by_key(|it| it.line);
        report.refused.extend(refused);
        Ok(())
    }

    /// Takes the names out of a line. A key may stand in one line only: which of two is meant?
    fn row(
        &self,
        line: u64,
        mut fields: Map<String, Value>,
        seen: &mut HashMap<String, u64>,
    ) -> Result<Row, Refusal> {
        let key = fields.shift_remove("external_id").and_then(|it| it.as_str().map(str::to_owned));
        let key = key.ok_or_else(|| {
            let message = "external_id is empty; it is what an import knows a record by";
            Refusal::field(Code::MissingField, "external_id", message)
        })?;
        let key = limits::filled("external_id", &key, limits::EXTERNAL_ID)?;
        if let Some(earlier) = seen.get(&key) {
            let message = format!("external_id {} stands in line {earlier} already", excerpt(&key));
            return Err(Refusal::field(Code::InvalidValue, "external_id", message));
        }
        seen.insert(key.clone(), line);
        let mut customer = None;
        if self.kind != Kind::Customers {
            for column in CUSTOMER {
                let Some(Value::String(name)) = fields.shift_remove(column) else { continue };
                if let Some((other, _)) = customer.replace((column, name)) {
                    let message = format!("{other} and {column} may contradict each other; give one of them");
                    return Err(Refusal::field(Code::InvalidCombination, column, message));
                }
            }
        }
        Ok(Row { line, key, customer, fields })
    }

    /// A change of the record with the key if there is one, else its creation.
    fn request(&self, row: Row, known: &Known) -> Result<Request, Refusal> {
        let Row { key, mut fields, customer, .. } = row;
        let column = customer.as_ref().map_or("customer_id", |(column, _)| *column);
        let customer = customer.map(|(column, name)| known.customer(column, &name)).transpose()?;
        let there = known.records.get(&key);
        if let (Some(Some(names)), Some(customer)) = (there, &customer)
            && !is(names, customer)
        {
            let message = "the record is another customer's, and that cannot change";
            return Err(Refusal::field(Code::ImmutableField, column, message));
        }
        let target = there.map(|_| Ref::ExternalId(key.clone()));
        let mut of = String::new();
        if target.is_none() {
            fields.insert("external_id".into(), key.into());
            match (self.kind, customer) {
                // As in the path of the API's call.
                (Kind::Contacts, Some(customer)) => of = customer,
                (Kind::Contacts, None) => {
                    let message = "one of the columns that name the customer is wanted";
                    return Err(Refusal::field(Code::MissingField, "customer_id", message));
                }
                (Kind::Customers | Kind::Onboardings, customer) => {
                    fields.extend(customer.map(|customer| ("customer_id".to_owned(), Value::from(customer))));
                }
            }
        }
        let body = Value::Object(fields);
        let command = match (self.kind, target.is_some()) {
            (Kind::Customers, true) => Command::ChangeCustomer(body::patch_customer(&body)?),
            (Kind::Customers, false) => Command::CreateCustomer(body::create_customer(&body)?),
            (Kind::Contacts, true) => Command::ChangeContact(body::patch_contact(&body)?),
            (Kind::Contacts, false) => Command::CreateContact(body::create_contact(of, &body)?),
            (Kind::Onboardings, true) => Command::ChangeOnboarding(body::patch_onboarding(&body)?),
            (Kind::Onboardings, false) => Command::CreateOnboarding(body::create_onboarding(&body)?),
        };
        Ok(Request {
            workspace_id: self.workspace_id,
            livemode: self.livemode,
            command,
            target,
            actor: Actor { kind: ActorKind::User, id: None, name: Some("import".into()) },
            dedupe: Dedupe::None,
            expected_version: None,
            traceparent: None,
        })
    }
}

impl Report {
    /// All lines but the header.
    pub fn lines(&self) -> u64 {
        self.created + self.changed + self.unchanged + self.refused.len() as u64
    }
}

impl Refused {
    fn new(line: u64, refusal: Refusal) -> Self {
        Self { line, field: refusal.field, code: refusal.code.as_str(), message: refusal.message }
    }
}
