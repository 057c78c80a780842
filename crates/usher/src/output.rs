//! What commands print: one JSON document with `--json`, a table for people otherwise.

use std::io::Write as _;

use serde_json::Value;

/// Prints a list of objects: the columns as a table, or all of it as a JSON array.
pub(crate) fn list(json: bool, objects: &[Value], columns: &[&str]) -> anyhow::Result<()> {
    if json {
        return document(&Value::Array(objects.to_vec()));
    }
    let mut rows: Vec<Vec<String>> =
        vec![columns.iter().map(|column| column.replace('_', " ").to_uppercase()).collect()];
    rows.extend(objects.iter().map(|object| columns.iter().map(|column| text(&object[*column])).collect()));
    let widths: Vec<usize> = (0..columns.len())
        .map(|place| {
            rows.iter().filter_map(|row| row.get(place)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut out = std::io::stdout().lock();
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// Prints one object: a line per field, or JSON.
pub(crate) fn object(json: bool, object: &Value) -> anyhow::Result<()> {
    if json {
        return document(object);
    }
    let fields = object.as_object().into_iter().flatten();
    let width = fields.clone().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut out = std::io::stdout().lock();
    for (name, value) in fields {
        writeln!(out, "{name:<width$}  {}", text(value))?;
    }
    Ok(())
}

fn document(value: &Value) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)?;
    Ok(())
}

/// Text without control characters: those of foreign text must not reach the terminal.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A value as people read it.
fn text(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    plain(&text)
}

/// Prints a line.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(())
}
