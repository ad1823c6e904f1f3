//! JSON as a value, but a name given twice in one object is a mistake: `serde_json` would keep the last and say nothing,
//! and a rule would be lost.

use super::reader::step;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::RefCell;
use std::fmt;

/// Why a text can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JsonError {
    /// A JSON pointer to the name that is given twice; `None` for what is no JSON.
    pub(crate) path: Option<String>,
    /// What is wrong, with line and column.
    pub(crate) message: String,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Reads JSON text.
///
/// # Errors
/// For what is no JSON, and for a name that is given twice.
pub(crate) fn read_json(text: &str) -> Result<Value, JsonError> {
    let given_twice = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = Strict { path: "", given_twice: &given_twice }.deserialize(&mut deserializer);
    let read = read.and_then(|value| deserializer.end().map(|()| value));
    read.map_err(|error| JsonError { path: given_twice.into_inner(), message: error.to_string() })
}

/// A value at a place.
#[derive(Clone, Copy)]
struct Strict<'a> {
    path: &'a str,
    /// Where the first name stands that is given twice.
    given_twice: &'a RefCell<Option<String>>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
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

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is too large"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let path = step(self.path, list.len());
            match seq.next_element_seed(Strict { path: &path, ..self })? {
                Some(value) => list.push(value),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let path = step(self.path, &name);
            if fields.contains_key(&name) {
                *self.given_twice.borrow_mut() = Some(path);
                return Err(de::Error::custom("is given twice in one object"));
            }
            let value = map.next_value_seed(Strict { path: &path, ..self })?;
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_read_as_serde_json_reads_it() {
        let text = r#"{"a":[null,true,1,-2,18446744073709551615,1.5,1e3,"x\n"],"b":{"c":{}}}"#;
        assert_eq!(read_json(text).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn a_name_given_twice_is_told_with_its_place() {
        let error = read_json("{\"a\": 1,\n \"b/d\": [0, {\"c\": 1, \"c\": 2}]}").unwrap_err();
        assert_eq!(error.path.as_deref(), Some("/b~1d/1/c"));
        assert!(error.message.starts_with("is given twice in one object at line 2"), "{error}");
        assert_eq!(read_json("{\"a\": }").unwrap_err().path, None);
        assert!(read_json("{} {}").is_err());
    }
}
