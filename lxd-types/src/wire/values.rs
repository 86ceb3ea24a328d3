//! The values that fields are made of: text, numbers, times, lists, maps, and values without a
//! type. Types with names are left to the generator.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::{Entries, Items, List, Map, Number, Read, Refused, Shape, Write};

impl Read for String {
    fn expected(&self) -> &'static str {
        "a string"
    }

    fn null(&mut self) {
        self.clear();
    }

    fn text(&mut self, value: &str) -> Result<(), Refused> {
        self.clear();
        self.push_str(value);
        Ok(())
    }
}

impl Write for String {
    fn shape(&self) -> Shape<'_> {
        Shape::Text(Cow::Borrowed(self))
    }

    fn is_default(&self) -> bool {
        self.is_empty()
    }
}

impl Read for bool {
    fn expected(&self) -> &'static str {
        "a boolean"
    }

    fn null(&mut self) {
        *self = false;
    }

    fn boolean(&mut self, value: bool) -> Result<(), Refused> {
        *self = value;
        Ok(())
    }
}

impl Write for bool {
    fn shape(&self) -> Shape<'_> {
        Shape::Boolean(*self)
    }

    fn is_default(&self) -> bool {
        !*self
    }
}

macro_rules! integers {
    ($($type:ty: $expected:literal),* $(,)?) => {$(
        impl Read for $type {
            fn expected(&self) -> &'static str {
                $expected
            }

            fn null(&mut self) {
                *self = 0;
            }

            fn number(&mut self, value: Number) -> Result<(), Refused> {
                *self = match value {
                    Number::Unsigned(value) => value.try_into().map_err(|_| Refused)?,
                    Number::Negative(value) => value.try_into().map_err(|_| Refused)?,
                    Number::Float(_) => return Err(Refused),
                };
                Ok(())
            }

            // The server writes the numbers inside an operation's metadata as text.
            fn text(&mut self, value: &str) -> Result<(), Refused> {
                *self = value.parse().map_err(|_| Refused)?;
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

            fn is_default(&self) -> bool {
                *self == 0
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
    fn expected(&self) -> &'static str {
        "a number"
    }

    fn null(&mut self) {
        *self = 0.0;
    }

    fn number(&mut self, value: Number) -> Result<(), Refused> {
        *self = match value {
            Number::Unsigned(value) => value as f64,
            Number::Negative(value) => value as f64,
            Number::Float(value) => value,
        };
        Ok(())
    }
}

impl Write for f64 {
    fn shape(&self) -> Shape<'_> {
        Shape::Number(Number::Float(*self))
    }

    fn is_default(&self) -> bool {
        *self == 0.0
    }
}

/// What the server writes for a time that is not set, apart from `null`: its own zero, and that of
/// Unix.
const UNSET: [&str; 2] = ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z"];

impl Read for Option<Timestamp> {
    fn expected(&self) -> &'static str {
        "a time as in 2026-01-31T12:00:00Z"
    }

    fn null(&mut self) {
        *self = None;
    }

    fn text(&mut self, value: &str) -> Result<(), Refused> {
        *self = if value.is_empty() || UNSET.contains(&value) {
            None
        } else {
            Some(value.parse().map_err(|_| Refused)?)
        };
        Ok(())
    }
}

impl Write for Option<Timestamp> {
    fn shape(&self) -> Shape<'_> {
        Shape::Text(match self {
            Some(time) => Cow::Owned(time.to_string()),
            None => Cow::Borrowed(UNSET[0]),
        })
    }

    fn is_default(&self) -> bool {
        self.is_none()
    }
}

impl<T: Read + Default> Read for Option<T> {
    fn expected(&self) -> &'static str {
        T::default().expected()
    }

    fn null(&mut self) {
        *self = None;
    }

    fn boolean(&mut self, value: bool) -> Result<(), Refused> {
        self.insert(T::default()).boolean(value)
    }

    fn number(&mut self, value: Number) -> Result<(), Refused> {
        self.insert(T::default()).number(value)
    }

    fn text(&mut self, value: &str) -> Result<(), Refused> {
        self.insert(T::default()).text(value)
    }

    fn list(&mut self, items: &mut dyn Items) -> Result<(), Refused> {
        self.insert(T::default()).list(items)
    }

    fn object(&mut self, entries: &mut dyn Entries) -> Result<(), Refused> {
        self.insert(T::default()).object(entries)
    }
}

impl<T: Write> Write for Option<T> {
    fn shape(&self) -> Shape<'_> {
        match self {
            Some(value) => value.shape(),
            None => Shape::Null,
        }
    }

    fn is_default(&self) -> bool {
        self.is_none()
    }
}

impl<T: Read> Read for Box<T> {
    fn expected(&self) -> &'static str {
        (**self).expected()
    }

    fn null(&mut self) {
        (**self).null();
    }

    fn boolean(&mut self, value: bool) -> Result<(), Refused> {
        (**self).boolean(value)
    }

    fn number(&mut self, value: Number) -> Result<(), Refused> {
        (**self).number(value)
    }

    fn text(&mut self, value: &str) -> Result<(), Refused> {
        (**self).text(value)
    }

    fn list(&mut self, items: &mut dyn Items) -> Result<(), Refused> {
        (**self).list(items)
    }

    fn object(&mut self, entries: &mut dyn Entries) -> Result<(), Refused> {
        (**self).object(entries)
    }
}

impl<T: Write> Write for Box<T> {
    fn shape(&self) -> Shape<'_> {
        (**self).shape()
    }

    fn is_default(&self) -> bool {
        (**self).is_default()
    }
}

impl<T: Read + Default> Read for Vec<T> {
    fn expected(&self) -> &'static str {
        "a list"
    }

    fn null(&mut self) {
        self.clear();
    }

    fn list(&mut self, items: &mut dyn Items) -> Result<(), Refused> {
        self.clear();
        // Each item is read where it stays: large ones are not moved.
        loop {
            let last = self.len();
            self.push(T::default());
            if !items.next(&mut self[last])? {
                self.pop();
                return Ok(());
            }
        }
    }
}

impl<T: Write> Write for Vec<T> {
    fn shape(&self) -> Shape<'_> {
        Shape::List(self)
    }

    fn is_default(&self) -> bool {
        self.is_empty()
    }
}

impl<T: Write> List for Vec<T> {
    fn each(&self, visit: &mut dyn FnMut(&dyn Write)) {
        for item in self {
            visit(item);
        }
    }
}

impl<T: Read + Default> Read for BTreeMap<String, T> {
    fn expected(&self) -> &'static str {
        "an object"
    }

    fn null(&mut self) {
        self.clear();
    }

    fn object(&mut self, entries: &mut dyn Entries) -> Result<(), Refused> {
        self.clear();
        while let Some(key) = entries.key()? {
            entries.value(self.entry(key).or_default())?;
        }
        Ok(())
    }
}

impl<T: Write> Write for BTreeMap<String, T> {
    fn shape(&self) -> Shape<'_> {
        Shape::Map(self)
    }

    fn is_default(&self) -> bool {
        self.is_empty()
    }
}

impl<T: Write> Map for BTreeMap<String, T> {
    fn each(&self, visit: &mut dyn FnMut(&str, &dyn Write)) {
        for (key, value) in self {
            visit(key, value);
        }
    }
}

impl Read for () {
    fn expected(&self) -> &'static str {
        "anything"
    }

    fn null(&mut self) {}

    fn boolean(&mut self, _value: bool) -> Result<(), Refused> {
        Ok(())
    }

    fn number(&mut self, _value: Number) -> Result<(), Refused> {
        Ok(())
    }

    fn text(&mut self, _value: &str) -> Result<(), Refused> {
        Ok(())
    }

    fn list(&mut self, items: &mut dyn Items) -> Result<(), Refused> {
        while items.next(self)? {}
        Ok(())
    }

    fn object(&mut self, entries: &mut dyn Entries) -> Result<(), Refused> {
        while entries.key()?.is_some() {
            entries.value(self)?;
        }
        Ok(())
    }
}

impl Read for Value {
    fn expected(&self) -> &'static str {
        "anything"
    }

    fn null(&mut self) {
        *self = Value::Null;
    }

    fn boolean(&mut self, value: bool) -> Result<(), Refused> {
        *self = Value::Bool(value);
        Ok(())
    }

    fn number(&mut self, value: Number) -> Result<(), Refused> {
        *self = match value {
            Number::Unsigned(value) => value.into(),
            Number::Negative(value) => value.into(),
            Number::Float(value) => value.into(),
        };
        Ok(())
    }

    fn text(&mut self, value: &str) -> Result<(), Refused> {
        *self = Value::String(value.to_owned());
        Ok(())
    }

    fn list(&mut self, items: &mut dyn Items) -> Result<(), Refused> {
        let mut list = Vec::new();
        list.list(items)?;
        *self = Value::Array(list);
        Ok(())
    }

    fn object(&mut self, entries: &mut dyn Entries) -> Result<(), Refused> {
        let mut map = serde_json::Map::new();
        while let Some(key) = entries.key()? {
            let mut value = Value::Null;
            entries.value(&mut value)?;
            map.insert(key, value);
        }
        *self = Value::Object(map);
        Ok(())
    }
}

impl Write for Value {
    fn shape(&self) -> Shape<'_> {
        match self {
            Value::Null => Shape::Null,
            Value::Bool(value) => Shape::Boolean(*value),
            Value::Number(value) => Shape::Number(match (value.as_u64(), value.as_i64()) {
                (Some(value), _) => Number::Unsigned(value),
                (None, Some(value)) => Number::Negative(value),
                (None, None) => Number::Float(value.as_f64().unwrap_or_default()),
            }),
            Value::String(value) => Shape::Text(Cow::Borrowed(value)),
            Value::Array(list) => Shape::List(list),
            Value::Object(map) => Shape::Map(map),
        }
    }

    fn is_default(&self) -> bool {
        self.is_null()
    }
}

impl Map for serde_json::Map<String, Value> {
    fn each(&self, visit: &mut dyn FnMut(&str, &dyn Write)) {
        for (key, value) in self {
            visit(key, value);
        }
    }
}
