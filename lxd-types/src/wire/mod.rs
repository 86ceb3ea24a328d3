//! How a value goes to and from the wire: the traits that the generated types implement, and the
//! readers and the writer that serve all of them. What the types are is left to the generator; sending
//! them anywhere is left to the client.
//!
//! A type of the API says two things: which place a field name stands for ([`Read::field`]) and which
//! fields it holds ([`Write::fields`]). Everything else is here once, over trait objects, so that a type
//! costs a few lines of machine code and not a copy of a JSON parser. Answers of servers are read by the
//! parser in `json`. The types still are plain serde types: `Serialize` and `Deserialize` go through the same
//! two traits.

mod debug;
mod equal;
mod json;
mod mismatch;
mod read;
mod values;
mod write;

use std::borrow::Cow;
use std::collections::BTreeMap;

pub use debug::debug;
pub use equal::equal;
pub use json::from_json;
pub use read::{deserialize, from_value};
pub use write::{serialize, to_json};

/// A value of the wire could not be taken. The reader that called knows where it was and says so.
#[derive(Debug)]
pub struct Refused {
    /// What the place takes, as an error names it: `a string`.
    pub expected: &'static str,
}

/// Refuses a value, as the place takes others.
pub(crate) fn refuse(expected: &'static str) -> Result<(), Refused> {
    Err(Refused { expected })
}

/// A number as it stood on the wire.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    /// A whole number of 0 or more.
    Unsigned(u64),
    /// A whole number below 0.
    Negative(i64),
    /// A number with a fraction or an exponent.
    Float(f64),
}

/// A value of the wire on its way to a place.
pub enum Incoming<'a> {
    /// `null`, which stands for the default.
    Null,
    /// A boolean.
    Boolean(bool),
    /// A number.
    Number(Number),
    /// A string.
    Text(&'a str),
    /// A list, to be taken to its end.
    List(&'a mut dyn Items),
    /// An object, to be taken to its end.
    Object(&'a mut dyn Entries),
}

/// A place that a value of the wire is read into. It holds its default before.
pub trait Read {
    /// Takes a value.
    fn read(&mut self, value: Incoming<'_>) -> Result<(), Refused>;

    /// The place of the field with this name on the wire, for types that have fields.
    fn field(&mut self, _name: &str) -> Option<&mut dyn Read> {
        None
    }

    /// Reads an object into a map of such places, which is empty.
    fn read_entries(map: &mut BTreeMap<String, Self>, entries: &mut dyn Entries) -> Result<(), Refused>
    where
        Self: Sized + Default,
    {
        while let Some(key) = entries.key()? {
            let mut value = Self::default();
            entries.value(&mut value)?;
            map.insert(key, value);
        }
        Ok(())
    }
}

/// Reads an object into the fields of a type.
pub fn read_fields(target: &mut dyn Read, value: Incoming<'_>) -> Result<(), Refused> {
    match value {
        // The fields hold their defaults already.
        Incoming::Null => Ok(()),
        Incoming::Object(entries) => entries.fill(target),
        _ => refuse("an object"),
    }
}

/// The items of a list that is being read.
pub trait Items {
    /// Reads the next item into `place`; false at the end of the list.
    fn next(&mut self, place: &mut dyn Read) -> Result<bool, Refused>;
}

/// The entries of an object that is being read.
pub trait Entries {
    /// The next key, of which the value must be read before the next call.
    fn key(&mut self) -> Result<Option<String>, Refused>;

    /// Reads the value of the key that came last.
    fn value(&mut self, place: &mut dyn Read) -> Result<(), Refused>;

    /// Reads all entries into the fields of `target`; those it does not have are passed over.
    fn fill(&mut self, target: &mut dyn Read) -> Result<(), Refused>;
}

/// The fields of a value that is being written.
pub struct Fields<'a> {
    /// The name of the type.
    pub of: &'static str,
    /// Their names on the wire.
    pub names: &'static [&'static str],
    /// The names of those that must not be shown to people: passwords, tokens, keys.
    pub secrets: &'static [&'static str],
    /// Their values, in the order of the names.
    pub values: &'a [&'a dyn Write],
}

impl<'a> Fields<'a> {
    /// The fields that do not hold their default: those that are sent.
    fn set(&self) -> impl Iterator<Item = (&'static str, Shape<'a>)> {
        let values = self.values.iter().map(|value| value.shape());
        self.names.iter().copied().zip(values).filter(|(_, shape)| !shape.is_default())
    }
}

/// A value that can be written to the wire.
pub trait Write {
    /// What the value is, one level deep.
    fn shape(&self) -> Shape<'_>;

    /// Shows all fields to `visit`, once, for types that have fields.
    fn fields(&self, _visit: &mut dyn FnMut(&Fields<'_>)) {}

    /// What Rust code that gives this value makes of its shape.
    fn code(&self) -> Code {
        Code::Literal
    }
}

/// What Rust code makes of the literal of a shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Code {
    /// Nothing: it is the value.
    Literal,
    /// The value, by `From`.
    From,
    /// An `Option` of the value, by `FromStr`.
    Parsed,
}

/// What a value is, one level deep.
pub enum Shape<'a> {
    /// Nothing.
    Null,
    /// A boolean.
    Boolean(bool),
    /// A number.
    Number(Number),
    /// A string.
    Text(Cow<'a, str>),
    /// A list.
    List(&'a dyn List),
    /// An object whose keys are data.
    Map(&'a dyn Map),
    /// An object whose keys are the fields of a type.
    Fields(&'a dyn Write),
    /// A value that could have been absent, and is sent also where it is its type's default.
    Given(&'a dyn Write),
    /// A value without a type.
    Any(&'a serde_json::Value),
}

impl Shape<'_> {
    /// Whether this is the default of its type, which a field leaves out when it is sent.
    pub fn is_default(&self) -> bool {
        match self {
            Shape::Null => true,
            Shape::Boolean(value) => !value,
            Shape::Number(Number::Unsigned(value)) => *value == 0,
            Shape::Number(Number::Float(value)) => *value == 0.0,
            Shape::Text(text) => text.is_empty(),
            Shape::List(list) => list.is_empty(),
            Shape::Map(map) => map.is_empty(),
            Shape::Any(value) => value.is_null(),
            Shape::Number(Number::Negative(_)) | Shape::Fields(_) | Shape::Given(_) => false,
        }
    }
}

/// A value that a request can send.
pub trait Body {
    /// The value as JSON. It is used up here, where its type is at home: the code that drops it need
    /// not be made again by those who send it.
    fn into_json(self) -> Result<Vec<u8>, serde_json::Error>;
}

/// A list that is being written.
pub trait List {
    /// Whether there are no items.
    fn is_empty(&self) -> bool;

    /// Shows each item to `visit`, in order.
    fn each<'a>(&'a self, visit: &mut dyn FnMut(&'a dyn Write));
}

/// A map that is being written.
pub trait Map {
    /// Whether there are no entries.
    fn is_empty(&self) -> bool;

    /// Shows each entry to `visit`, in order.
    fn each<'a>(&'a self, visit: &mut dyn FnMut(&'a str, &'a dyn Write));
}

/// A set of texts with names, open to texts that are not known yet.
pub trait Enumeration: Sized {
    /// The text on the wire.
    fn text(&self) -> &str;

    /// The value of a text on the wire.
    fn of(text: &str) -> Self;
}

/// Implements the traits of Rust and serde for types that have fields.
#[macro_export]
#[doc(hidden)]
macro_rules! records {
    ($($name:ident)*) => {$(
        impl ::core::cmp::PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                $crate::wire::equal(self, other)
            }
        }

        impl ::core::fmt::Debug for $name {
            fn fmt(&self, formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                $crate::wire::debug(self, formatter)
            }
        }

        $crate::serde_through_wire!($name);
    )*};
}

/// Implements [`Body`](wire::Body) for types that a request can send.
#[macro_export]
#[doc(hidden)]
macro_rules! bodies {
    ($($name:ident)*) => {$(
        impl $crate::wire::Body for $name {
            fn into_json(self) -> ::core::result::Result<::std::vec::Vec<u8>, ::serde_json::Error> {
                $crate::wire::to_json(&self)
            }
        }
    )*};
}

/// Implements the traits of a value for types that have [`Enumeration`].
#[macro_export]
#[doc(hidden)]
macro_rules! enumerations {
    ($($name:ident)*) => {$(
        impl $name {
            /// The text on the wire.
            pub fn as_str(&self) -> &str {
                $crate::wire::Enumeration::text(self)
            }
        }

        impl ::core::default::Default for $name {
            fn default() -> Self {
                Self::Other(::std::string::String::new())
            }
        }

        impl ::core::convert::From<&str> for $name {
            fn from(text: &str) -> Self {
                $crate::wire::Enumeration::of(text)
            }
        }

        impl ::core::convert::From<::std::string::String> for $name {
            fn from(text: ::std::string::String) -> Self {
                $crate::wire::Enumeration::of(&text)
            }
        }

        impl ::core::fmt::Display for $name {
            fn fmt(&self, formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl ::core::cmp::PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.as_str() == other
            }
        }

        impl ::core::cmp::PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.as_str() == *other
            }
        }

        impl $crate::wire::Read for $name {
            fn read(&mut self, value: $crate::wire::Incoming<'_>) -> ::core::result::Result<(), $crate::wire::Refused> {
                *self = match value {
                    $crate::wire::Incoming::Null => Self::default(),
                    $crate::wire::Incoming::Text(text) => $crate::wire::Enumeration::of(text),
                    _ => return ::core::result::Result::Err($crate::wire::Refused { expected: "a string" }),
                };
                ::core::result::Result::Ok(())
            }
        }

        impl $crate::wire::Write for $name {
            fn shape(&self) -> $crate::wire::Shape<'_> {
                $crate::wire::Shape::Text(::std::borrow::Cow::Borrowed(self.as_str()))
            }

            fn code(&self) -> $crate::wire::Code {
                $crate::wire::Code::From
            }
        }

        $crate::serde_through_wire!($name);
    )*};
}

/// Implements the traits of a value for types that are a number with named values.
#[macro_export]
#[doc(hidden)]
macro_rules! codes {
    ($($name:ident)*) => {$(
        impl ::core::convert::From<i64> for $name {
            fn from(code: i64) -> Self {
                Self(code)
            }
        }

        impl ::core::fmt::Display for $name {
            fn fmt(&self, formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                ::core::fmt::Display::fmt(&self.0, formatter)
            }
        }

        impl ::core::cmp::PartialEq<i64> for $name {
            fn eq(&self, other: &i64) -> bool {
                self.0 == *other
            }
        }

        impl $crate::wire::Read for $name {
            fn read(&mut self, value: $crate::wire::Incoming<'_>) -> ::core::result::Result<(), $crate::wire::Refused> {
                self.0.read(value)
            }
        }

        impl $crate::wire::Write for $name {
            fn shape(&self) -> $crate::wire::Shape<'_> {
                self.0.shape()
            }

            fn code(&self) -> $crate::wire::Code {
                $crate::wire::Code::From
            }
        }

        $crate::serde_through_wire!($name);
    )*};
}

/// Implements serde's traits for types that have [`Read`] and [`Write`].
#[macro_export]
#[doc(hidden)]
macro_rules! serde_through_wire {
    ($name:ident) => {
        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                $crate::wire::serialize(self, serializer)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::core::result::Result<Self, D::Error> {
                $crate::wire::deserialize(deserializer)
            }
        }
    };
}
