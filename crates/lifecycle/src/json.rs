//! Bytes to JSON, stricter than `serde_json` alone: a key that stands twice is a fault (which of the two was meant?),
//! and a number beyond every range is told with its path. Order of keys is kept where `serde_json` keeps it; depth is
//! bounded by it. The same for bodies over HTTP, for messages over NATS and for files.

use alloc::{
    format,
    string::{String, ToString as _},
    vec::Vec,
};
use core::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::{
    limits::excerpt,
    refusal::{Code, Refusal},
};

/// Longest path in a refusal, in characters.
const PATH: usize = 128;

/// Reads one JSON document: UTF-8, nothing after it, no key twice, at most 127 levels deep.
///
/// # Errors
/// `invalid_json`, and `too_big` for a number like `1e999`.
pub fn parse_json(bytes: &[u8]) -> Result<Value, Refusal> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Refusal::new(Code::InvalidJson, "the body is empty; a JSON object is wanted"));
    }
    let mut trail = Trail::default();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict(&mut trail).deserialize(&mut deserializer);
    value.and_then(|value| deserializer.end().map(|()| value)).map_err(|error| trail.refusal(&error))
}

/// Merges a JSON merge patch (RFC 7396) into an object: null removes a key, an object is merged into what stands there,
/// anything else takes its place.
pub fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, value) in patch {
        match value {
            Value::Null => drop(target.remove(key)),
            Value::Object(patch) => {
                let mut inner = match target.get_mut(key).map(Value::take) {
                    Some(Value::Object(inner)) => inner,
                    Some(_) | None => Map::new(),
                };
                merge(&mut inner, patch);
                target.insert(key.clone(), Value::Object(inner));
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                target.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Where the reader stands; where it stood when it failed.
#[derive(Default)]
struct Trail {
    path: Vec<Segment>,
    twice: bool,
}

enum Segment {
    Key(String),
    Index(usize),
}

impl Trail {
    fn refusal(self, error: &serde_json::Error) -> Refusal {
        let path = self.path.iter().map(|segment| match segment {
            Segment::Key(key) => key.clone(),
            Segment::Index(index) => index.to_string(),
        });
        let path = path.collect::<Vec<_>>().join(".");
        if self.twice {
            let message = format!("the key {} stands twice in one object", excerpt(&path));
            return Refusal::field(Code::InvalidJson, short(&path), message);
        }
        // serde_json knows no kind for this; its words are pinned by a test.
        if error.to_string().starts_with("number out of range") {
            let message = format!("{} is a number beyond every range", excerpt(&path));
            return Refusal {
                field: (!path.is_empty()).then(|| short(&path)),
                ..Refusal::new(Code::TooBig, message)
            };
        }
        Refusal::new(Code::InvalidJson, format!("the body is not JSON: {error}"))
    }
}

fn short(path: &str) -> String {
    path.chars().take(PATH).collect()
}

struct Strict<'t>(&'t mut Trail);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            self.0.path.push(Segment::Index(items.len()));
            let Some(item) = seq.next_element_seed(Strict(&mut *self.0))? else { break };
            self.0.path.pop();
            items.push(item);
        }
        self.0.path.pop();
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            self.0.twice = object.contains_key(&key);
            self.0.path.push(Segment::Key(key));
            if self.0.twice {
                return Err(A::Error::custom("a key stands twice"));
            }
            let value = map.next_value_seed(Strict(&mut *self.0))?;
            if let Some(Segment::Key(key)) = self.0.path.pop() {
                object.insert(key, value);
            }
        }
        Ok(Value::Object(object))
    }
}
