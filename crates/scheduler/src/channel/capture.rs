//! Mail that is not sent but kept: one file per message, for those who try usher out and for tests.
//!
//! Law: a file is whole or not there, and survives a crash once the outcome is `Accepted`; a repeat with the same
//! Message-ID replaces it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::compose::Composed;
use super::{ConfigError, Outcome};

#[derive(Debug)]
pub(super) struct Capture {
    folder: PathBuf,
}

impl Capture {
    pub(super) fn new(folder: PathBuf) -> Result<Self, ConfigError> {
        fs::create_dir_all(&folder).map_err(ConfigError::Folder)?;
        Ok(Self { folder })
    }

    pub(super) async fn write(&self, composed: &Composed) -> Outcome {
        let name = format!("{}.eml", file_name(&composed.message_id));
        let reference = Some(name.clone());
        match self.put(name, composed.bytes.clone()).await {
            Ok(()) => Outcome::Accepted { reference },
            Err(error) => Outcome::for_now("capture", error.to_string()),
        }
    }

    /// A file is written and taken away again.
    pub(super) async fn check(&self) -> Outcome {
        let probe = ".usher-check".to_owned();
        match self
            .put(probe.clone(), Vec::new())
            .await
            .and_then(|()| fs::remove_file(self.folder.join(probe)))
        {
            Ok(()) => Outcome::Accepted { reference: None },
            Err(error) => Outcome::down("capture", error.to_string()),
        }
    }

    async fn put(&self, name: String, bytes: Vec<u8>) -> io::Result<()> {
        let folder = self.folder.clone();
        tokio::task::spawn_blocking(move || put(&folder, &name, &bytes)).await.map_err(io::Error::other)?
    }
}

fn put(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let half = folder.join(format!(".{name}.part"));
    let mut file = File::create(&half)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&half, folder.join(name))?;
    File::open(folder)?.sync_all()
}

/// A Message-ID as a file name: no separators, no leading dot.
fn file_name(message_id: &str) -> String {
    let id = message_id.trim_matches(['<', '>']);
    let plain =
        |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@') { c } else { '_' };
    id.chars().map(plain).take(150).collect::<String>().trim_start_matches('.').to_owned()
}
