//! Records in memory, by their names.

use std::collections::HashMap;

use super::Ref;

/// Records of one kind, found by any of their names. Deleted ones are found by id and number only.
#[derive(Debug)]
pub(super) struct Index<T> {
    all: HashMap<String, T>,
    by_display: HashMap<i64, String>,
    by_external: HashMap<String, String>,
    /// Keys with records that had them before others got them.
    displaced: Vec<(String, String)>,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self {
            all: HashMap::new(),
            by_display: HashMap::new(),
            by_external: HashMap::new(),
            displaced: Vec::new(),
        }
    }
}

impl<T> Index<T> {
    pub(super) fn get(&self, which: &Ref) -> Option<&T> {
        let id = match which {
            Ref::Id(id) => id,
            Ref::DisplayId(number) => self.by_display.get(number)?,
            Ref::ExternalId(key) => self.by_external.get(key)?,
        };
        self.all.get(id)
    }

    pub(super) fn put(&mut self, id: String, display_id: i64, external_id: Option<&str>, record: T) {
        self.by_external.retain(|_, owner| *owner != id);
        if let Some(key) = external_id {
            let before = self.by_external.insert(key.to_owned(), id.clone());
            self.displaced.extend(before.map(|owner| (key.to_owned(), owner)));
        }
        self.by_display.insert(display_id, id.clone());
        self.all.insert(id, record);
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        self.all.values()
    }

    /// The ids of records whose keys others have now.
    pub(super) fn displaced(&self) -> impl Iterator<Item = &str> {
        let others = |key: &str, id: &str| self.by_external.get(key).is_some_and(|owner| owner != id);
        self.displaced.iter().filter(move |(key, id)| others(key, id)).map(|(_, id)| id.as_str())
    }

    /// As if it had never been there.
    pub(super) fn forget(&mut self, id: &str) {
        self.by_external.retain(|_, owner| owner != id);
        self.by_display.retain(|_, owner| owner != id);
        self.all.remove(id);
    }
}
