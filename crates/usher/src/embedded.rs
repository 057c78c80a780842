//! The lock that keeps a second process with roles off the same SQLite file. Commands write beside it; two schedulers on
//! one file would be one too many.

use std::{fs::File, path::Path};

use anyhow::Context as _;

/// Held as long as the process lives; the system lets go of it, however the process ends.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "it is the open file that holds the lock")] File);

/// Takes the lock of a SQLite store; none for other stores.
pub(crate) fn lock(store_url: &str) -> anyhow::Result<Option<Lock>> {
    let Some(path) = store_url.strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest))
    else {
        return Ok(None);
    };
    let path = format!("{path}.lock");
    if let Some(folder) = Path::new(&path).parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    }
    let file = File::options().create(true).write(true).truncate(false).open(&path);
    let file = file.with_context(|| format!("the lock file {path} cannot be opened"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock(file))),
        Err(std::fs::TryLockError::WouldBlock) => anyhow::bail!(
            "another usher process works on this SQLite file ({path} is locked); stop it first, or use Postgres for \
             several processes"
        ),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{path} cannot be locked"))
        }
    }
}
