//! Loading: the layers are read in order into one table of settings, each value checked where it enters; then secret
//! files are read, what belongs together is compared, and the table becomes a `Config`.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use chrono::NaiveTime;
use serde::{Deserialize, de::IntoDeserializer};
use toml::{Spanned, Value, de::DeTable, de::DeValue};

use super::{
    Config, DEFAULT_FILE, Fault, Faults, Source,
    fault::nearest,
    keys::{self, KEYS, Key, Kind},
    show,
};

/// What configuration is made from. Not `Debug`: the environment holds secrets.
pub(crate) struct Sources {
    /// `--config FILE`, which must exist; None: `usher.toml` in `cwd`, if there is one.
    pub(crate) file: Option<PathBuf>,
    /// Dotted keys of the file that the caller reads by itself.
    pub(crate) elsewhere: Vec<String>,
    /// The whole environment; what is not ours is skipped.
    pub(crate) env: Vec<(String, String)>,
    /// Dotted key and value, e.g. `("http.listen", "127.0.0.1:0")`.
    pub(crate) flags: Vec<(String, String)>,
    /// The working directory, where relative paths start.
    pub(crate) cwd: PathBuf,
}

/// The configuration in force, or everything that is wrong with it. `zone_ok` knows the names of time zones.
pub(crate) fn load(sources: &Sources, zone_ok: fn(&str) -> bool) -> Result<Config, Faults> {
    let (settings, faults) = (BTreeMap::new(), Vec::new());
    let mut loader = Loader { cwd: &sources.cwd, elsewhere: &sources.elsewhere, zone_ok, settings, faults };
    loader.document(DEFAULT_FILE, |_| Source::Default);
    loader.file(sources.file.as_deref());
    loader.env(&sources.env);
    loader.flags(&sources.flags);
    loader.secret_files();
    loader.derive();
    loader.compare();
    loader.finish()
}

struct Setting {
    value: Value,
    source: Source,
}

struct Loader<'a> {
    cwd: &'a Path,
    elsewhere: &'a [String],
    zone_ok: fn(&str) -> bool,
    /// Only valid values, by key.
    settings: BTreeMap<&'static str, Setting>,
    faults: Vec<Fault>,
}

impl Loader<'_> {
    fn fault(&mut self, key: &str, source: Source, message: impl Into<String>) {
        self.faults.push(Fault { key: key.to_owned(), source, message: message.into() });
    }

    fn file(&mut self, explicit: Option<&Path>) {
        let path = explicit.unwrap_or(Path::new("usher.toml"));
        let source = |line| Source::File { path: path.to_owned(), line };
        match std::fs::read_to_string(self.cwd.join(path)) {
            Ok(text) => self.document(&text, source),
            Err(error) if explicit.is_none() && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.fault("config", source(0), format!("cannot be read: {error}")),
        }
    }

    /// `source` takes the line, from 1.
    fn document(&mut self, text: &str, source: impl Fn(usize) -> Source) {
        let at = |span: std::ops::Range<usize>| {
            let before = &text.as_bytes()[..span.start.min(text.len())];
            source(1 + before.split(|byte| *byte == b'\n').skip(1).count())
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            // Not the error's Display: it quotes the line, which may hold a secret.
            let message = format!("is not TOML: {}", error.message());
            self.fault("config", at(error.span().unwrap_or_default()), message);
        }
        if !errors.is_empty() {
            return;
        }
        let first = self.faults.len();
        let is_section = |name: &str| keys::sections().any(|section| section == name);
        let mut entries = Vec::new();
        for (name, value) in table.get_ref() {
            match value.get_ref() {
                DeValue::Table(section) if is_section(name.get_ref()) => {
                    entries.extend(
                        section.iter().map(|(key, value)| {
                            (format!("{}.{}", name.get_ref(), key.get_ref()), key, value)
                        }),
                    );
                }
                _ if is_section(name.get_ref()) => {
                    let message = format!("is a section: write [{}] and its keys below", name.get_ref());
                    self.fault(name.get_ref(), at(name.span()), message);
                }
                DeValue::Table(_) if keys::find(name.get_ref()).is_none() => {
                    let known = nearest(name.get_ref(), keys::sections().map(ToOwned::to_owned));
                    let message = format!("there is no such section; the nearest is {known}");
                    self.fault(name.get_ref(), at(name.span()), message);
                }
                _ => entries.push((name.get_ref().to_string(), name, value)),
            }
        }
        entries.retain(|(name, ..)| !self.elsewhere.contains(name));
        for (name, key, value) in entries {
            self.entry(&name, value, at(key.span()));
        }
        self.faults[first..].sort_by_key(|fault| fault.source.line());
    }

    fn entry(&mut self, name: &str, value: &Spanned<DeValue<'_>>, source: Source) {
        let Some(key) = keys::find(name) else {
            return self.fault(name, source, unknown_key(name));
        };
        match Value::deserialize(value.clone().into_deserializer()) {
            Ok(value) => self.set(key, value, source),
            Err(_) => self.fault(name, source, format!("must be {}", key.must)),
        }
    }

    fn env(&mut self, env: &[(String, String)]) {
        let mut ours: Vec<_> = env.iter().filter(|(name, _)| name.starts_with("USHER_")).collect();
        ours.sort();
        for (name, text) in ours {
            if let Some(key) = KEYS.iter().find(|key| key.env() == *name) {
                // Compose's `${X:-}` sets an empty variable where nothing is meant.
                if !text.is_empty() {
                    self.set_text(key, text, Source::Env(name.clone()));
                }
            } else if !keys::is_other_variable(name, text) {
                let known = nearest(name, KEYS.iter().map(Key::env));
                let message = format!("there is no such variable; the nearest is {known}");
                self.fault(name, Source::Env(name.clone()), message);
            }
        }
    }

    fn flags(&mut self, flags: &[(String, String)]) {
        for (name, text) in flags {
            if let Some(key) = keys::find(name) {
                self.set_text(key, text, Source::Flag);
            } else {
                self.fault(name, Source::Flag, unknown_key(name));
            }
        }
    }

    /// A value given as text, read as the key's kind wants it.
    fn set_text(&mut self, key: &'static Key, text: &str, source: Source) {
        let value = match key.kind {
            Kind::Integer(..) => text.trim().parse().ok().map(Value::Integer),
            Kind::Flag => text.trim().parse().ok().map(Value::Boolean),
            Kind::List(_) => Some(Value::Array(text.split(',').map(|item| item.trim().into()).collect())),
            Kind::Text(_)
            | Kind::Zone
            | Kind::Path
            | Kind::File
            | Kind::Choice(_)
            | Kind::Secret
            | Kind::SecretUrl(_) => None,
        };
        self.set(key, value.unwrap_or_else(|| Value::from(text)), source);
    }

    fn set(&mut self, key: &'static Key, value: Value, source: Source) {
        if self.allowed(key, &value) {
            self.settings.insert(key.name, Setting { value, source });
        } else {
            let message = format!("{} is not allowed; must be {}", show::for_fault(key, &value), key.must);
            self.fault(key.name, source, message);
        }
    }

    fn allowed(&self, key: &Key, value: &Value) -> bool {
        match (&key.kind, value) {
            (Kind::Text(ok) | Kind::SecretUrl(ok), Value::String(text)) => ok(text),
            (Kind::Zone, Value::String(text)) => (self.zone_ok)(text),
            (Kind::Path | Kind::File, Value::String(text)) => !text.trim().is_empty() && !text.contains('\0'),
            (Kind::Choice(of), Value::String(text)) => of.contains(&text.as_str()),
            (Kind::Secret, Value::String(text)) => super::check::word(text),
            (Kind::Integer(from, to), Value::Integer(number)) => (from..=to).contains(&number),
            (Kind::Flag, Value::Boolean(_)) => true,
            (Kind::List(ok), Value::Array(items)) => {
                let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
                texts.is_some_and(|texts| ok(&texts))
            }
            _ => false,
        }
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.settings.get(key)?.value.as_str()
    }

    fn layer(&self, key: &str) -> Option<u8> {
        self.settings.get(key).map(|setting| setting.source.layer())
    }

    /// Puts what a `*_file` key names in the place of the key it holds, and looks whether other files are there.
    fn secret_files(&mut self) {
        for key in KEYS.iter().filter(|key| matches!(key.kind, Kind::File)) {
            let Some(layer) = self.layer(key.name) else { continue };
            let Some(held) = key.holds() else {
                self.must_exist(key);
                continue;
            };
            let Some(Setting { value, source }) = self.settings.remove(key.name) else { continue };
            match self.layer(held.name) {
                Some(other) if other > layer => continue,
                Some(other) if other == layer => {
                    let message = format!("is given, and {} too: keep one of them", held.name);
                    self.fault(key.name, source, message);
                    continue;
                }
                Some(_) | None => {}
            }
            let path = self.resolve(value.as_str().unwrap_or_default());
            match std::fs::read_to_string(&path) {
                Ok(text) => {
                    let value = Value::from(text.trim_end_matches(['\r', '\n']));
                    if self.allowed(held, &value) {
                        self.settings.insert(held.name, Setting { value, source });
                    } else {
                        let message = format!("what is in {path} is not allowed; must be {}", held.must);
                        self.fault(key.name, source, message);
                    }
                }
                Err(error) => self.fault(key.name, source, format!("{path} cannot be read: {error}")),
            }
        }
    }

    fn must_exist(&mut self, key: &Key) {
        let Some(setting) = self.settings.get(key.name) else { return };
        let path = self.resolve(setting.value.as_str().unwrap_or_default());
        let source = setting.source.clone();
        if let Err(error) = std::fs::File::open(&path) {
            self.fault(key.name, source, format!("{path} cannot be read: {error}"));
        }
    }

    /// Paths against the working directory, and the database that follows from `data_dir`.
    fn derive(&mut self) {
        for key in KEYS.iter().filter(|key| matches!(key.kind, Kind::Path | Kind::File)) {
            if let Some(path) = self.text(key.name).map(|path| self.resolve(path))
                && let Some(setting) = self.settings.get_mut(key.name)
            {
                setting.value = Value::from(path);
            }
        }
        let sqlite = match (self.text("store.url"), self.text("data_dir")) {
            (Some(url), _) => url.strip_prefix("sqlite://").map(|path| self.resolve(path)),
            (None, data_dir) => data_dir.map(|dir| format!("{}/usher.db", dir.trim_end_matches('/'))),
        };
        if let Some(path) = sqlite {
            let source = self.settings.remove("store.url").map_or(Source::Default, |setting| setting.source);
            self.settings
                .insert("store.url", Setting { value: Value::from(format!("sqlite://{path}")), source });
        }
    }

    fn resolve(&self, path: &str) -> String {
        let plain = path.strip_prefix("./").filter(|rest| !rest.is_empty()).unwrap_or(path);
        // A working directory that is not UTF-8 is left to the system: it starts relative paths there anyway.
        self.cwd.join(plain).into_os_string().into_string().unwrap_or_else(|_| path.to_owned())
    }

    /// What must fit together; a key that already has a fault is not compared.
    fn compare(&mut self) {
        self.ordered("nats.inbox_days", "nats.commands_max_age_days", "greater", Value::as_integer);
        self.ordered(
            "housekeeping.rejected_days",
            "nats.commands_max_age_days",
            "greater",
            Value::as_integer,
        );
        self.ordered("reminders.send_until", "reminders.time_of_day", "later", |value| {
            NaiveTime::parse_from_str(value.as_str()?, "%H:%M").ok()
        });
        for (given, missing) in [
            ("nats.user", "nats.password"),
            ("nats.password", "nats.user"),
            ("nats.tls_certificate_file", "nats.tls_key_file"),
            ("nats.tls_key_file", "nats.tls_certificate_file"),
        ] {
            if !self.settings.contains_key(missing)
                && !self.has_fault(missing)
                && let Some(setting) = self.settings.get(given)
            {
                let source = setting.source.clone();
                self.fault(given, source, format!("is given without {missing}: give both or neither"));
            }
        }
        let ways = ["nats.user", "nats.token", "nats.nkey_file", "nats.credentials_file"];
        let given: Vec<&str> = ways.into_iter().filter(|key| self.settings.contains_key(key)).collect();
        if let [_, .., last] = given[..] {
            let message = format!("only one way of authentication may be set, not {}", given.join(", "));
            self.fault(last, self.settings[last].source.clone(), message);
        }
    }

    fn ordered<T: PartialOrd>(
        &mut self,
        high: &str,
        low: &str,
        relation: &str,
        read: fn(&Value) -> Option<T>,
    ) {
        if self.has_fault(high) || self.has_fault(low) {
            return;
        }
        let (Some(above), Some(below)) = (self.settings.get(high), self.settings.get(low)) else { return };
        if read(&above.value) > read(&below.value) {
            return;
        }
        // Whoever changed one of the two is to be told, whichever it was.
        let by = if above.source.layer() >= below.source.layer() { above } else { below };
        let message = format!("{} must be {relation} than {low}, which is {}", above.value, below.value);
        self.fault(high, by.source.clone(), message);
    }

    fn has_fault(&self, key: &str) -> bool {
        let file = format!("{key}_file");
        self.faults.iter().any(|fault| fault.key == key || fault.key == file)
    }

    fn finish(mut self) -> Result<Config, Faults> {
        let mut table = toml::Table::new();
        for (name, setting) in std::mem::take(&mut self.settings) {
            match name.split_once('.') {
                None => {
                    table.insert(name.to_owned(), setting.value);
                }
                Some((section, key)) => {
                    let section = table.entry(section).or_insert_with(|| toml::Table::new().into());
                    if let Value::Table(section) = section {
                        section.insert(key.to_owned(), setting.value);
                    }
                }
            }
        }
        // The same rules once more, as types; the checks above are there to name every fault, not only the first.
        match Config::deserialize(table) {
            Ok(config) if self.faults.is_empty() => Ok(config),
            Err(error) if self.faults.is_empty() => {
                self.fault("config", Source::Default, error.message().to_owned());
                Err(Faults(self.faults))
            }
            Ok(_) | Err(_) => Err(Faults(self.faults)),
        }
    }
}

fn unknown_key(name: &str) -> String {
    format!(
        "there is no such key; the nearest is {}",
        nearest(name, KEYS.iter().map(|key| key.name.to_owned()))
    )
}
