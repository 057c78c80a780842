//! A file of records: its header, and its lines as JSON objects with the API's field names.
//!
//! Taken: UTF-8 with or without a byte order mark; fields between commas, semicolons or tabs, whichever the header has
//! most of; quoted fields, also with line breaks. An empty cell is a field that is not given.

use std::io::{self, BufRead as _, BufReader, Read};

use serde_json::{Map, Number, Value};
use usher_lifecycle::{Code, Refusal, limits::excerpt};

use super::{ImportError, Kind};
use crate::body;

/// Bytes that are looked at to find the delimiter.
const HEAD: usize = 64 * 1024;

/// A line of the file: the number of its first line of text, and its fields or what is wrong with it.
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) row: Result<Map<String, Value>, Refusal>,
}

/// A file that is being read.
pub(super) struct Table<R> {
    reader: csv::Reader<Newlines<R>>,
    columns: Vec<String>,
    record: csv::ByteRecord,
}

impl<R: Read> Table<R> {
    /// Reads the header.
    pub(super) fn open(input: R, kind: Kind) -> Result<Self, ImportError> {
        let mut input = BufReader::with_capacity(HEAD, input);
        let mut head = input.fill_buf()?;
        if let Some(rest) = head.strip_prefix(b"\xef\xbb\xbf") {
            head = rest;
            let delimiter = delimiter(head);
            input.consume(3);
            return Self::with(input, delimiter, kind);
        }
        let delimiter = delimiter(head);
        Self::with(input, delimiter, kind)
    }

    fn with(input: BufReader<R>, delimiter: u8, kind: Kind) -> Result<Self, ImportError> {
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .flexible(true)
            .has_headers(true)
            .from_reader(Newlines { input, held: false, last: b'\n' });
        let header = reader.byte_headers()?.clone();
        let mut columns: Vec<String> = Vec::with_capacity(header.len());
        for cell in &header {
            let not_text = || ImportError::Header("the file is not UTF-8; save it as CSV with UTF-8".into());
            let name = std::str::from_utf8(cell).map_err(|_| not_text())?.trim().to_lowercase();
            if !kind.columns().contains(&name.as_str()) {
                let known = kind.columns().join(", ");
                let message = format!("the column {} is not known; known are {known}", excerpt(&name));
                return Err(ImportError::Header(message));
            }
            if columns.contains(&name) {
                return Err(ImportError::Header(format!("the column {name} stands twice")));
            }
            columns.push(name);
        }
        for group in kind.wanted() {
            if !group.iter().any(|name| columns.iter().any(|column| column == name)) {
                let message = format!("there is no column {} in the first line", group.join(" or "));
                return Err(ImportError::Header(message));
            }
        }
        Ok(Self { reader, columns, record: csv::ByteRecord::new() })
    }

    /// How far it has read, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.reader.position().byte()
    }

    /// The next lines, at most `most`; none at the end of the file.
    pub(super) fn lines(&mut self, most: usize) -> Result<Vec<Line>, ImportError> {
        let mut lines = Vec::new();
        while lines.len() < most && self.reader.read_byte_record(&mut self.record)? {
            lines.push(Line { number: self.number(), row: self.row() });
        }
        Ok(lines)
    }

    /// Where the record began: its end, less its own line breaks. What the reader calls its position is where the
    /// one before ended, and blank lines may lie between.
    fn number(&self) -> u64 {
        let within = self.record.iter().flatten().filter(|byte| **byte == b'\n').count() as u64;
        let begun = self.reader.position().line().saturating_sub(within + 1);
        self.record.position().map_or(0, csv::Position::line).max(begun)
    }

    fn row(&self) -> Result<Map<String, Value>, Refusal> {
        if self.record.len() != self.columns.len() {
            let message = format!(
                "the line has {} cells and the header {}; is a quote or a delimiter too many or missing?",
                self.record.len(),
                self.columns.len()
            );
            return Err(Refusal::new(Code::InvalidValue, message));
        }
        let mut row = Map::new();
        for (column, cell) in self.columns.iter().zip(&self.record) {
            let text = std::str::from_utf8(cell).map_err(|_| {
                Refusal::field(Code::InvalidString, column.as_str(), format!("{column} is not UTF-8"))
            })?;
            let text = text.trim();
            if !text.is_empty() {
                row.insert(column.clone(), value(column, text));
            }
        }
        Ok(row)
    }
}

/// A text whose lines all end with a bare line feed, the last one too: so they can be counted.
struct Newlines<R> {
    input: BufReader<R>,
    /// A carriage return that waits to see what follows.
    held: bool,
    last: u8,
}

impl<R: Read> Read for Newlines<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(room) = out.get_mut(filled) {
            let byte = match self.input.fill_buf()?.first() {
                Some(b'\r') if !self.held => {
                    self.held = true;
                    self.input.consume(1);
                    continue;
                }
                Some(b'\n') => {
                    self.held = false;
                    self.input.consume(1);
                    b'\n'
                }
                Some(_) | None if self.held => {
                    self.held = false;
                    b'\r'
                }
                Some(&byte) => {
                    self.input.consume(1);
                    byte
                }
                None if self.last == b'\n' => break,
                None => b'\n',
            };
            self.last = byte;
            *room = byte;
            filled += 1;
        }
        Ok(filled)
    }
}

/// The one of which the first line has most; within quotes they do not count.
fn delimiter(head: &[u8]) -> u8 {
    let mut quoted = false;
    let line = head.iter().take_while(|byte| {
        quoted ^= **byte == b'"';
        quoted || **byte != b'\n'
    });
    let mut counts = [(b'\t', 0), (b';', 0), (b',', 0)];
    let mut quoted = false;
    for byte in line {
        quoted ^= *byte == b'"';
        for (delimiter, count) in &mut counts {
            *count += usize::from(!quoted && byte == delimiter);
        }
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map_or(b',', |(delimiter, _)| delimiter)
}

/// The cell as the API would have it. What is not of that kind stays text, and is refused as in the API.
fn value(column: &str, text: &str) -> Value {
    let value = match column {
        "mrr" | "monthly_orders" | "reminder_frequency_days" => {
            serde_json::from_str::<Number>(text).ok().map(Value::Number)
        }
        "reminder_email" | "reminder_slack" | "is_primary" => {
            text.to_lowercase().parse().ok().map(Value::Bool)
        }
        "metadata" | "labels" => body::parse_json(text.as_bytes()).ok(),
        _ => None,
    };
    value.unwrap_or_else(|| Value::from(text))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the message of a failed test")]

    use serde_json::json;

    use super::*;

    type Lines = Vec<(u64, Result<Value, Code>)>;

    fn table(text: &[u8]) -> Result<Lines, String> {
        let mut table = Table::open(text, Kind::Customers).map_err(|error| error.to_string())?;
        let lines = table.lines(100).map_err(|error| error.to_string())?;
        Ok(lines.into_iter().map(|it| (it.number, it.row.map(Value::Object).map_err(|it| it.code))).collect())
    }

    #[test]
    fn what_spreadsheets_write_is_read() {
        let wanted = vec![
            (2, Ok(json!({"external_id": "a", "name": "Acme, Inc.", "mrr": 12.5}))),
            (3, Ok(json!({"external_id": "b", "name": "two\nlines", "plan": "say \"hi\""}))),
            (6, Ok(json!({"external_id": "c"}))),
        ];
        for (bom, d, newline) in
            [("", ',', "\r\n"), ("\u{feff}", ';', "\n"), ("", '\t', "\n"), ("\u{feff}", ',', "\r\n")]
        {
            let text = format!(
                "{bom}External_ID{d} name {d}mrr{d}plan\r\na{d}\"Acme, Inc.\"{d} 12.5{d}\r\n\
                 b{d}\"two\nlines\"{d}{d}\"say \"\"hi\"\"\"\r\n\r\nc{d}  {d}{d}\r\n"
            );
            let text = text.replace("\r\n", newline);
            let read = table(text.as_bytes()).unwrap();
            assert_eq!(table(text.trim_end().as_bytes()).unwrap().len(), 3, "without a last line break");
            assert_eq!(read, wanted, "{bom:?} {d:?}");
        }
    }

    #[test]
    fn a_header_that_cannot_be_used_names_the_column() {
        for (text, part) in [
            ("", "external_id"),
            ("name\n", "external_id"),
            ("external_id\n", "name"),
            ("external_id,name,colour\n", "colour"),
            ("external_id,name,Name\n", "name stands twice"),
            ("external_id|name\n", "external_id|name"),
        ] {
            let told = table(text.as_bytes()).unwrap_err();
            assert!(told.contains(part), "{text:?}: {told}");
        }
        assert!(table(b"\xff\xfen\0a\0m\0e\0").unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn a_line_at_fault_leaves_the_others_alone() {
        let read = table(b"external_id,name\na\nb,B,too much\nc,\xff\nd,D\n").unwrap();
        let codes: Vec<_> = read.iter().map(|(number, row)| (*number, row.as_ref().err().copied())).collect();
        let wanted = [
            (2, Some(Code::InvalidValue)),
            (3, Some(Code::InvalidValue)),
            (4, Some(Code::InvalidString)),
            (5, None),
        ];
        assert_eq!(codes, wanted);
    }
}
