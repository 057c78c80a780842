//! Trying out what would be applied: the same loading, deciding and writing as [`Store::apply_all`], in a transaction that
//! is never committed.
//!
//! Law: nothing that is done here is seen by anybody else or stays; later requests see what earlier ones did.

use chrono::{DateTime, Utc};
use usher_lifecycle::Refusal;

use super::{
    Applied, ApplyError, Request,
    batch::{self, ATTEMPTS, Failure, Timed},
};
use crate::{Store, StoreError, db::Tx, db::statements};

statements! {
    BEGIN = "SAVEPOINT rehearsal";
    UNDO = "ROLLBACK TO SAVEPOINT rehearsal";
    GO_ON = "RELEASE SAVEPOINT rehearsal";
}

/// A transaction that is rolled back in the end. On SQLite nobody else writes while it is open.
#[derive(Debug)]
pub struct Rehearsal {
    store: Store,
    tx: Tx,
    /// Numbers of records that will not stay are below zero: the counters are not touched.
    number: i64,
}

impl Store {
    /// Begins to try something out.
    pub async fn rehearsal(&self) -> Result<Rehearsal, StoreError> {
        Ok(Rehearsal { store: self.clone(), tx: self.db().begin().await?, number: 0 })
    }
}

impl Rehearsal {
    /// Does what [`Store::apply_all`] would do, and says what it would say.
    pub async fn apply_all(
        &mut self,
        requests: Vec<Request>,
        now: DateTime<Utc>,
    ) -> Vec<Result<Applied, ApplyError>> {
        let requests: Vec<Timed> =
            requests.into_iter().map(|request| (request, self.store.own_instant(now))).collect();
        match self.together(&requests).await {
            Ok(answers) => answers.into_iter().map(|it| it.map_err(ApplyError::Refused)).collect(),
            Err(error) if requests.len() > 1 && !error.is_away() => {
                let mut answers = Vec::with_capacity(requests.len());
                for request in &requests {
                    answers.extend(match self.together(std::slice::from_ref(request)).await {
                        Ok(answers) => {
                            answers.into_iter().map(|it| it.map_err(ApplyError::Refused)).collect()
                        }
                        Err(error) => vec![Err(batch::refused_by_database(error))],
                    });
                }
                answers
            }
            Err(error) => {
                let error = batch::refused_by_database(error);
                requests.iter().map(|_| Err(error.clone())).collect()
            }
        }
    }

    /// Forgets all of it.
    pub async fn end(self) -> Result<(), StoreError> {
        self.tx.rollback().await
    }

    async fn together(&mut self, requests: &[Timed]) -> Result<Vec<Result<Applied, Refusal>>, StoreError> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let mut numbers = batch::numbers_below_zero(requests, &mut self.number);
            self.tx.execute(&BEGIN, Vec::new()).await?;
            let failure = match batch::decide_all(&mut self.tx, requests, &mut numbers).await {
                Ok(Some(answers)) => {
                    self.tx.execute(&GO_ON, Vec::new()).await?;
                    return Ok(answers);
                }
                Ok(None) => Failure::Again(StoreError::Bug("a batch lost every race".into())),
                Err(error) => Failure::from(error),
            };
            self.tx.execute(&UNDO, Vec::new()).await?;
            match failure {
                Failure::Again(error) => last = Some(error),
                Failure::Store(error) => return Err(error),
            }
        }
        Err(last.unwrap_or(StoreError::Closed))
    }
}
