//! The wording: templates embedded in the binary, any of which a folder of the operator replaces.
//!
//! Law: a template that cannot be rendered is found at start, not at nine in the morning. Every template is rendered
//! with samples that take every branch of the embedded ones, undefined variables are errors, and a file in the
//! folder that replaces nothing is an error too.

use std::fs;
use std::path::{Path, PathBuf};

use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Output, UndefinedBehavior, escape_formatter};

use super::{clean, sample, view};

/// Steps of the template engine that one rendering may take; the embedded ones need some 60,000 for 200 onboardings.
const FUEL: u64 = 20_000_000;
/// No template is longer, in bytes.
const LONGEST: u64 = 256 * 1024;

macro_rules! embedded {
    ($($name:literal),+ $(,)?) => {
        /// The names of all templates, as paths inside the folder of overrides.
        pub const NAMES: &[&str] = &[$($name),+];
        const EMBEDDED: &[(&str, &str)] = &[$(($name, include_str!(concat!("../templates/", $name)))),+];
    };
}

embedded!(
    "email/subject.txt",
    "email/body.txt",
    "email/body.html",
    "email/customer_subject.txt",
    "email/customer.txt",
    "email/customer.html",
    "slack/text.txt",
    "slack/header.txt",
    "slack/item.txt",
);

/// Why the templates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The folder or a file in it cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that replaces nothing, most likely misspelt.
    #[error("{} replaces no template; there are: {}", path.display(), NAMES.join(", "))]
    Unknown {
        /// Which.
        path: PathBuf,
    },
    /// A file beyond all measure.
    #[error("{} is longer than {LONGEST} bytes", path.display())]
    TooLong {
        /// Which.
        path: PathBuf,
    },
    /// A fault of syntax.
    #[error("template {name} cannot be parsed")]
    Syntax {
        /// Which template.
        name: &'static str,
        /// What and where.
        source: minijinja::Error,
    },
    /// A name at the top that no message has.
    #[error("template {name} uses {variable}, which does not exist")]
    Variable {
        /// Which template.
        name: String,
        /// What it asks for.
        variable: String,
    },
    /// It parses, and fails on a sample message: a variable that does not exist, say.
    #[error("a sample message cannot be rendered")]
    Sample(#[from] super::RenderError),
}

/// All templates, parsed and tried. Cheap to share, not to make.
#[derive(Debug)]
pub struct Templates {
    pub(super) engine: Environment<'static>,
}

impl Templates {
    /// The templates that come with the binary.
    pub fn embedded() -> Result<Self, TemplateError> {
        Self::build(None)
    }

    /// The same, each replaced by the file of its name in the folder, if there is one. Hidden files are left alone.
    pub fn with_overrides(folder: &Path) -> Result<Self, TemplateError> {
        Self::build(Some(folder))
    }

    fn build(folder: Option<&Path>) -> Result<Self, TemplateError> {
        let mut engine = engine();
        for &(name, source) in EMBEDDED {
            engine.add_template(name, source).map_err(|source| TemplateError::Syntax { name, source })?;
        }
        if let Some(folder) = folder {
            for (name, source) in overrides(folder)? {
                engine
                    .add_template_owned(name, source)
                    .map_err(|source| TemplateError::Syntax { name, source })?;
            }
        }
        known_variables(&engine)?;
        let templates = Self { engine };
        for message in sample::messages() {
            templates.email(&message)?;
            if message.kind != usher_lifecycle::reminder::Kind::Customer {
                templates.slack(&message)?;
            }
        }
        Ok(templates)
    }
}

/// Finds what the samples cannot: a misspelt name in a branch that none of them takes.
fn known_variables(engine: &Environment<'static>) -> Result<(), TemplateError> {
    for (name, template) in engine.templates() {
        let known = match name {
            "slack/item.txt" => view::ONE,
            "email/customer_subject.txt" | "email/customer.txt" | "email/customer.html" => view::CUSTOMER,
            _ => view::ALL,
        };
        let mut unknown: Vec<String> = template.undeclared_variables(false).into_iter().collect();
        unknown.retain(|variable| {
            !known.contains(&variable.as_str()) && !engine.globals().any(|(global, _)| global == variable)
        });
        unknown.sort();
        if let Some(variable) = unknown.into_iter().next() {
            return Err(TemplateError::Variable { name: name.to_owned(), variable });
        }
    }
    Ok(())
}

fn engine() -> Environment<'static> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_fuel(Some(FUEL));
    engine.set_auto_escape_callback(|name| match name.split_once('.') {
        _ if name.starts_with("slack/") => AutoEscape::Custom("slack".into()),
        Some((_, "html")) => AutoEscape::Html,
        Some(_) | None => AutoEscape::None,
    });
    engine.set_formatter(|out, state, value| {
        let special: &[char] = match state.auto_escape() {
            AutoEscape::Custom(_) => &['&', '<', '>'],
            AutoEscape::Html => &['&', '<', '>', '"', '\''],
            // The enum may grow: what is unknown is left to the engine.
            _ => return escape_formatter(out, state, value),
        };
        escape(out, value, special)
    });
    engine.add_filter("cut", |text: &str, max: usize| clean::cut(text, max));
    engine.add_filter("days", |count: i64| format!("{count} day{}", if count == 1 { "" } else { "s" }));
    engine
}

/// Slack knows three special characters: without them there is no mention and no link. HTML knows two more.
fn escape(out: &mut Output, value: &Value, special: &[char]) -> Result<(), minijinja::Error> {
    let text = value.to_string();
    if value.is_safe() {
        return Ok(out.write_str(&text)?);
    }
    let mut rest = text.as_str();
    while let Some(at) = rest.find(special) {
        out.write_str(&rest[..at])?;
        out.write_str(match rest.as_bytes()[at] {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            _ => "&#39;",
        })?;
        rest = &rest[at + 1..];
    }
    out.write_str(rest)?;
    Ok(())
}

/// Every file below the folder, two levels deep, with the name of the template it replaces.
fn overrides(folder: &Path) -> Result<Vec<(&'static str, String)>, TemplateError> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        let failed = |source| TemplateError::Read { path: path.clone(), source };
        for entry in fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let failed = |source| TemplateError::Read { path: path.clone(), source };
            // Follows links: mounted configuration consists of them.
            let meta = fs::metadata(&path).map_err(failed)?;
            let relative = path.strip_prefix(folder).unwrap_or(&path);
            if meta.is_dir() {
                if !NAMES.iter().any(|name| Path::new(name).starts_with(relative)) {
                    return Err(TemplateError::Unknown { path });
                }
                open.push(path);
                continue;
            }
            let Some(name) = NAMES.iter().find(|name| Path::new(name) == relative) else {
                return Err(TemplateError::Unknown { path });
            };
            if meta.len() > LONGEST {
                return Err(TemplateError::TooLong { path });
            }
            found.push((*name, fs::read_to_string(&path).map_err(failed)?));
        }
    }
    Ok(found)
}
