//! The values that fields are made of: text, numbers, times, lists, maps, and values without a
//! type. Types with names are left to the generator.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::{Body, Code, Entries, Incoming, List, Map, Number, Read, Refused, Shape, Write, refuse};

impl Read for String {
    fn read(&mut self, value: Incoming<'_>) -> Result<(), Refused> {
        *self = match value {
            Incoming::Null => String::new(),
            Incoming::Text(text) => text.to_owned(),
            _ => return refuse("a string"),
        };
        Ok(())
    }

    /// Configurations are what answers have most of, and long: a map of many texts is made of all of them at
    /// once. The server sorts keys, so that there is less to compare, and no room to spare is left.
    fn read_entries(map: &mut BTreeMap<String, Self>, entries: &mut dyn Entries) -> Result<(), Refused> {
        const FEW: usize = 4;
        let mut many = Vec::new();
        while let Some(key) = entries.key()? {
            let mut value = String::new();
            entries.value(&mut value)?;
            if many.is_empty() && map.len() < FEW {
                map.insert(key, value);
                continue;
            }
            if many.is_empty() {
                many.reserve(4 * FEW);
                many.extend(std::mem::take(map));
            }
            many.push((key, value));
        }
        if !many.is_empty() {
            *map = many.into_iter().collect();
        }
        Ok(())
    }
}

impl Write for String {
    fn shape(&self) -> Shape<'_> {
        Shape::Text(Cow::Borrowed(self))
    }

    fn code(&self) -> Code {
        Code::From
    }
}

impl Read for bool {
    fn read(&mut self, value: Incoming<'_>) -> Result<(), Refused> {
        *self = match value {
            Incoming::Null => false,
            Incoming::Boolean(value) => value,
            _ => return refuse("a boolean"),
        };
        Ok(())
    }
}

impl Write for bool {
    fn shape(&self) -> Shape<'_> {
        Shape::Boolean(*self)
    }
}

macro_rules! integers {
    ($($type:ty: $expected:literal),* $(,)?) => {$(
        impl Read for $type {
            fn read(&mut self, value: Incoming<'_>) -> Result<(), Refused> {
                let read = match value {
                    Incoming::Null => Some(0),
                    Incoming::Number(Number::Unsigned(value)) => value.try_into().ok(),
                    Incoming::Number(Number::Negative(value)) => value.try_into().ok(),
                    // The server writes the numbers inside an operation's metadata as text.
                    Incoming::Text(text) => text.parse().ok(),
                    _ => None,
                };
                *self = read.ok_or(Refused { expected: $expected })?;
                Ok(())
            }
        }

        impl Write for $type {
            fn shape(&self) -> Shape<'_> {
                Shape::Number(match u64::try_from(*self) {
                    Ok(value) => Number::Unsigned(value),
                    Err(_) => Number::Negative(*self as i64),
                })
            }
        }
    )*};
}

integers! {
    u8: "an integer from 0 to 255",
    u16: "an integer from 0 to 65535",
    u32: "an integer from 0 to 4294967295",
    u64: "an integer of 0 or more",
    i32: "an integer of 32 bits",
    i64: "an integer of 64 bits",
}

impl Read for f64 {
    fn read(&mut self, value: Incoming<'_>) -> Result<(), Refused> {
        *self = match value {
            Incoming::Null => 0.0,
            Incoming::Number(Number::Unsigned(value)) => value as f64,
            Incoming::Number(Number::Negative(value)) => value as f64,
            Incoming::Number(Number::Float(value)) => value,
            _ => return refuse("a number"),
        };
        Ok(())
    }
}

impl Write for f64 {
    fn shape(&self) -> Shape<'_> {
        Shape::Number(Number::Float(*self))
    }
}

/// What the server writes for a time that is not set, apart from `null`: its own zero, and that of
/// Unix.
const UNSET: [&str; 2] = ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z"];

impl Read for Option<Timestamp> {
    fn read(&mut self, value: Incoming<'_>) -> Result<(), Refused> {
        *self = match value {
            Incoming::Null => None,
            Incoming::Text(text) if text.is_empty() || UNSET.contains(&text) => None,
            Incoming::Text(text) => {
                Some(text.parse().map_err(|_| Refused { expected: "a time as in 2026-01-31T12:00:00Z" })?)
            }
            _ => return refuse("a time as in 2026-01-31T12:00:00Z"),
        };
        Ok(())
    }
}

impl Write for Option<Timestamp> {
    fn shape(&self) -> Shape<'_> {
        match self {
            Some(time) => Shape::Text(Cow::Owned(time.to_string())),
            None => Shape::Null,
        }
    }

    fn code(&self) -> Code {
        Code::Parsed
    }
}

impl<T: Read + Default> Read for Option<T> {
    fn read(&mut self, value: Incoming<'_>) -> Result<(), Refused> {
        match value {
            Incoming::Null => {
                *self = None;
                Ok(())
            }
            value => self.insert(T::default()).read(value),
        }
    }
}

impl<T: Write> Write for Option<T> {
    fn shape(&self) -> Shape<'_> {
        match self {
            Some(value) => Shape::Given(value),
            None => Shape::Null,
        }
    }
}

impl<T: Read> Read for Box<T> {
    fn read(&mut self, value: Incoming<'_>) -> Result<(), Refused> {
        (**self).read(value)
    }
}

impl<T: Write> Write for Box<T> {
    fn shape(&self) -> Shape<'_> {
        (**self).shape()
    }

    fn code(&self) -> Code {
        Code::From
    }
}

impl<T: Read + Default> Read for Vec<T> {
    fn read(&mut self, value: Incoming<'_>) -> Result<(), Refused> {
        self.clear();
        match value {
            Incoming::Null => Ok(()),
            Incoming::List(items) => loop {
                // A list without items takes no memory.
                let mut item = T::default();
                if !items.next(&mut item)? {
                    return Ok(());
                }
                self.push(item);
            },
            _ => refuse("a list"),
        }
    }
}

impl<T: Write> Write for Vec<T> {
    fn shape(&self) -> Shape<'_> {
        Shape::List(self)
    }
}

impl<T: Write> List for Vec<T> {
    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn each<'a>(&'a self, visit: &mut dyn FnMut(&'a dyn Write)) {
        for item in self {
            visit(item);
        }
    }
}

impl<T: Read + Default> Read for BTreeMap<String, T> {
    fn read(&mut self, value: Incoming<'_>) -> Result<(), Refused> {
        self.clear();
        match value {
            Incoming::Null => Ok(()),
            Incoming::Object(entries) => T::read_entries(self, entries),
            _ => refuse("an object"),
        }
    }
}

impl<T: Write> Write for BTreeMap<String, T> {
    fn shape(&self) -> Shape<'_> {
        Shape::Map(self)
    }
}

impl<T: Write> Map for BTreeMap<String, T> {
    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn each<'a>(&'a self, visit: &mut dyn FnMut(&'a str, &'a dyn Write)) {
        for (key, value) in self {
            visit(key, value);
        }
    }
}

impl Read for () {
    fn read(&mut self, value: Incoming<'_>) -> Result<(), Refused> {
        match value {
            Incoming::List(items) => while items.next(self)? {},
            // There are no fields: all are passed over.
            Incoming::Object(entries) => entries.fill(self)?,
            _ => {}
        }
        Ok(())
    }
}

impl Read for Value {
    fn read(&mut self, value: Incoming<'_>) -> Result<(), Refused> {
        *self = match value {
            Incoming::Null => Value::Null,
            Incoming::Boolean(value) => value.into(),
            Incoming::Number(Number::Unsigned(value)) => value.into(),
            Incoming::Number(Number::Negative(value)) => value.into(),
            Incoming::Number(Number::Float(value)) => value.into(),
            Incoming::Text(text) => text.into(),
            Incoming::List(items) => {
                let mut list = Vec::new();
                list.read(Incoming::List(items))?;
                Value::Array(list)
            }
            Incoming::Object(entries) => {
                let mut map = serde_json::Map::new();
                while let Some(key) = entries.key()? {
                    let mut value = Value::Null;
                    entries.value(&mut value)?;
                    map.insert(key, value);
                }
                Value::Object(map)
            }
        };
        Ok(())
    }
}

impl Write for () {
    fn shape(&self) -> Shape<'_> {
        Shape::Null
    }
}

impl Write for Value {
    fn shape(&self) -> Shape<'_> {
        Shape::Any(self)
    }
}

// Bodies that are no records are rare, so that their code is made where they are sent.
impl Body for Value {
    fn into_json(self) -> Result<Vec<u8>, serde_json::Error> {
        super::to_json(&self)
    }
}

impl Body for String {
    fn into_json(self) -> Result<Vec<u8>, serde_json::Error> {
        super::to_json(&self)
    }
}

impl<T: Write> Body for Vec<T> {
    fn into_json(self) -> Result<Vec<u8>, serde_json::Error> {
        super::to_json(&self)
    }
}

impl<T: Write> Body for BTreeMap<String, T> {
    fn into_json(self) -> Result<Vec<u8>, serde_json::Error> {
        super::to_json(&self)
    }
}
