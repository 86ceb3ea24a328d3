//! Writes a value to any serde format: one serializer for all types. What a value is made of is
//! left to its [`Shape`].

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::{Number, Shape, Write};

/// Writes a value of any type of the wire. Fields that hold their default are left out.
pub fn serialize<S: Serializer>(value: &dyn Write, serializer: S) -> Result<S::Ok, S::Error> {
    shape(&value.shape(), serializer)
}

fn shape<S: Serializer>(shape: &Shape<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    match shape {
        Shape::Null => serializer.serialize_unit(),
        Shape::Boolean(value) => serializer.serialize_bool(*value),
        Shape::Number(Number::Unsigned(value)) => serializer.serialize_u64(*value),
        Shape::Number(Number::Negative(value)) => serializer.serialize_i64(*value),
        Shape::Number(Number::Float(value)) => serializer.serialize_f64(*value),
        Shape::Text(value) => serializer.serialize_str(value),
        Shape::List(list) => {
            let mut out = serializer.serialize_seq(None)?;
            let mut outcome = Ok(());
            list.each(&mut |item| {
                if outcome.is_ok() {
                    outcome = out.serialize_element(&Written(&item.shape()));
                }
            });
            outcome?;
            out.end()
        }
        Shape::Map(map) => {
            let mut out = serializer.serialize_map(None)?;
            let mut outcome = Ok(());
            map.each(&mut |key, value| {
                if outcome.is_ok() {
                    outcome = out.serialize_entry(key, &Written(&value.shape()));
                }
            });
            outcome?;
            out.end()
        }
        Shape::Given(value) => serialize(*value, serializer),
        Shape::Any(value) => value.serialize(serializer),
        Shape::Fields(fields) => {
            let mut out = serializer.serialize_map(None)?;
            let mut outcome = Ok(());
            fields.fields(&mut |fields| {
                for (name, shape) in fields.set() {
                    if outcome.is_ok() {
                        outcome = out.serialize_entry(name, &Written(&shape));
                    }
                }
            });
            outcome?;
            out.end()
        }
    }
}

/// Writes a value as JSON.
pub fn to_json(value: &dyn Write) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Written(&value.shape()))
}

struct Written<'a>(&'a Shape<'a>);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        shape(self.0, serializer)
    }
}
