//! Reads any serde format that describes itself into a place: one visitor for all types. What servers answer
//! is left to `json`, what a place does with a value to the place.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::mismatch::{self, Mismatch, PASSED_ON, Step};
use super::{Entries, Incoming, Items, Number, Read, Refused};

/// Reads a value of any type of the wire.
pub fn deserialize<'de, T: Read + Default, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let mut value = T::default();
    read(deserializer, &mut value)?;
    Ok(value)
}

/// Reads a JSON value that is in memory already.
pub fn from_value(value: &serde_json::Value, place: &mut dyn Read) -> Result<(), serde_json::Error> {
    read(value, place)
}

fn read<'de, D: Deserializer<'de>>(deserializer: D, place: &mut dyn Read) -> Result<(), D::Error> {
    let mut mismatch = None;
    let outcome = Place { place, mismatch: &mut mismatch }.deserialize(deserializer);
    match mismatch {
        Some(mismatch) => Err(D::Error::custom(mismatch)),
        None => outcome,
    }
}

/// A place on its way through serde, with where to leave word of a mismatch.
struct Place<'p> {
    place: &'p mut dyn Read,
    mismatch: &'p mut Option<Mismatch>,
}

impl Place<'_> {
    /// Gives the place a value that has no parts.
    fn take<E: Error>(self, value: Incoming<'_>, found: &dyn Fn() -> Cow<'static, str>) -> Result<(), E> {
        let outcome = self.place.read(value);
        self.told(outcome, found)
    }

    /// Leaves word where the place refused a value.
    fn told<E: Error>(
        self,
        outcome: Result<(), Refused>,
        found: &dyn Fn() -> Cow<'static, str>,
    ) -> Result<(), E> {
        outcome.map_err(|Refused { expected }| {
            let found = found();
            let error = E::custom(format_args!("expected {expected}, found {found}"));
            *self.mismatch = Some(Mismatch::new(expected, found));
            error
        })
    }

    fn number<E: Error>(self, number: Number) -> Result<(), E> {
        self.take(Incoming::Number(number), &|| mismatch::number(number))
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value of the API")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.take(Incoming::Null, &|| "nothing".into())
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.take(Incoming::Boolean(value), &|| "a boolean".into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.number(Number::Unsigned(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.number(match u64::try_from(value) {
            Ok(value) => Number::Unsigned(value),
            Err(_) => Number::Negative(value),
        })
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.number(Number::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.take(Incoming::Text(value), &|| "a string".into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<(), A::Error> {
        let mut items = SeqItems { access, index: 0, mismatch: &mut *self.mismatch, error: None };
        let outcome = self.place.read(Incoming::List(&mut items));
        match items.error {
            Some(error) => Err(error),
            None => self.told(outcome, &|| "a list".into()),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<(), A::Error> {
        let mut entries =
            MapEntries { access, key: Cow::Borrowed(""), mismatch: &mut *self.mismatch, error: None };
        let outcome = self.place.read(Incoming::Object(&mut entries));
        match entries.error {
            Some(error) => Err(error),
            None => self.told(outcome, &|| "an object".into()),
        }
    }
}

struct SeqItems<'p, A, E> {
    access: A,
    index: usize,
    mismatch: &'p mut Option<Mismatch>,
    error: Option<E>,
}

impl<'de, A: SeqAccess<'de>> Items for SeqItems<'_, A, A::Error> {
    fn next(&mut self, place: &mut dyn Read) -> Result<bool, Refused> {
        match self.access.next_element_seed(Place { place, mismatch: self.mismatch }) {
            Ok(item) => {
                self.index += 1;
                Ok(item.is_some())
            }
            Err(error) => {
                if let Some(mismatch) = self.mismatch {
                    mismatch.steps.push(Step::Index(self.index));
                }
                self.error = Some(error);
                Err(PASSED_ON)
            }
        }
    }
}

struct MapEntries<'p, 'de, A, E> {
    access: A,
    key: Cow<'de, str>,
    mismatch: &'p mut Option<Mismatch>,
    error: Option<E>,
}

impl<'de, A: MapAccess<'de>> MapEntries<'_, 'de, A, A::Error> {
    fn advance(&mut self) -> Result<bool, Refused> {
        match self.access.next_key_seed(Key) {
            Ok(Some(key)) => {
                self.key = key;
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(error) => self.fail(error),
        }
    }

    fn fail<T>(&mut self, error: A::Error) -> Result<T, Refused> {
        self.error = Some(error);
        Err(PASSED_ON)
    }
}

impl<'de, A: MapAccess<'de>> Entries for MapEntries<'_, 'de, A, A::Error> {
    fn key(&mut self) -> Result<Option<String>, Refused> {
        Ok(self.advance()?.then(|| self.key.clone().into_owned()))
    }

    fn value(&mut self, place: &mut dyn Read) -> Result<(), Refused> {
        match self.access.next_value_seed(Place { place, mismatch: self.mismatch }) {
            Ok(()) => Ok(()),
            Err(error) => {
                if let Some(mismatch) = self.mismatch {
                    mismatch.steps.push(Step::Key(self.key.clone().into_owned()));
                }
                self.fail(error)
            }
        }
    }

    fn fill(&mut self, target: &mut dyn Read) -> Result<(), Refused> {
        while self.advance()? {
            match target.field(&self.key) {
                Some(place) => self.value(place)?,
                None => match self.access.next_value::<IgnoredAny>() {
                    Ok(IgnoredAny) => {}
                    Err(error) => return self.fail(error),
                },
            }
        }
        Ok(())
    }
}

/// Reads a key, without a copy where the format can lend it.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, key: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}
