//! How a value goes to and from the wire: the traits that the generated types implement, and one
//! reader and one writer that serve them all. What the types are is left to the generator; sending
//! them anywhere is left to the client.
//!
//! A generated type says two things: which place a field name stands for ([`ReadFields`]) and which
//! fields it holds ([`WriteFields`]). Everything else is here once, over trait objects, so that a
//! type costs a few lines of machine code and not a copy of a JSON parser. The types still are
//! plain serde types: `Serialize` and `Deserialize` go through the same two traits.

mod debug;
mod read;
mod values;
mod write;

use std::borrow::Cow;

pub use debug::debug;
pub use read::{deserialize, from_json, from_value};
pub use write::{serialize, to_json};

/// A value of the wire could not be taken. The reader that called knows where it was and says so.
#[derive(Debug)]
pub struct Refused;

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

/// A place that a value of the wire is read into.
pub trait Read {
    /// What the place takes, as an error names it: `a string`.
    fn expected(&self) -> &'static str;

    /// Takes `null`, which is the default value.
    fn null(&mut self);

    /// Takes a boolean.
    fn boolean(&mut self, _value: bool) -> Result<(), Refused> {
        Err(Refused)
    }

    /// Takes a number.
    fn number(&mut self, _value: Number) -> Result<(), Refused> {
        Err(Refused)
    }

    /// Takes a string.
    fn text(&mut self, _value: &str) -> Result<(), Refused> {
        Err(Refused)
    }

    /// Takes a list, to its end.
    fn list(&mut self, _items: &mut dyn Items) -> Result<(), Refused> {
        Err(Refused)
    }

    /// Takes an object, to its end.
    fn object(&mut self, _entries: &mut dyn Entries) -> Result<(), Refused> {
        Err(Refused)
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
    fn fill(&mut self, target: &mut dyn ReadFields) -> Result<(), Refused>;
}

/// A type with named fields, as the reader sees it.
pub trait ReadFields {
    /// The place of the field with this name on the wire.
    fn field(&mut self, name: &str) -> Option<&mut dyn Read>;
}

/// A type with named fields, as the writer sees it.
pub trait WriteFields {
    /// The name of the type.
    fn name(&self) -> &'static str;

    /// Shows each field to `visit`, in the order of the type.
    fn fields(&self, visit: &mut dyn FnMut(Field<'_>));
}

/// One field of a type that is being written.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    /// Its name on the wire.
    pub name: &'static str,
    /// Its value.
    pub value: &'a dyn Write,
    /// Whether its value must not be shown to people: a password, a token, a key.
    pub secret: bool,
}

impl<'a> Field<'a> {
    /// A field that anyone may see.
    pub fn open(name: &'static str, value: &'a dyn Write) -> Self {
        Self { name, value, secret: false }
    }

    /// A field that `Debug` must not show.
    pub fn secret(name: &'static str, value: &'a dyn Write) -> Self {
        Self { name, value, secret: true }
    }
}

/// A value that can be written to the wire.
pub trait Write {
    /// What the value is, one level deep.
    fn shape(&self) -> Shape<'_>;

    /// Whether the value is the default, which a field leaves out when it is sent.
    fn is_default(&self) -> bool;
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
    Fields(&'a dyn WriteFields),
}

/// A list that is being written.
pub trait List {
    /// Shows each item to `visit`, in order.
    fn each(&self, visit: &mut dyn FnMut(&dyn Write));
}

/// A map that is being written.
pub trait Map {
    /// Shows each entry to `visit`, in order.
    fn each(&self, visit: &mut dyn FnMut(&str, &dyn Write));
}

/// A set of texts with names, open to texts that are not known yet.
pub trait Enumeration: Sized {
    /// The text on the wire.
    fn text(&self) -> &str;

    /// The value of a text on the wire.
    fn of(text: &str) -> Self;
}

/// Implements the traits of a value for types that have [`ReadFields`] and [`WriteFields`].
#[macro_export]
#[doc(hidden)]
macro_rules! records {
    ($($name:ident)*) => {$(
        impl $crate::wire::Read for $name {
            fn expected(&self) -> &'static str {
                "an object"
            }

            fn null(&mut self) {
                *self = Self::default();
            }

            fn object(
                &mut self,
                entries: &mut dyn $crate::wire::Entries,
            ) -> ::core::result::Result<(), $crate::wire::Refused> {
                entries.fill(self)
            }
        }

        impl $crate::wire::Write for $name {
            fn shape(&self) -> $crate::wire::Shape<'_> {
                $crate::wire::Shape::Fields(self)
            }

            fn is_default(&self) -> bool {
                let mut all = true;
                $crate::wire::WriteFields::fields(self, &mut |field| all &= field.value.is_default());
                all
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
            fn expected(&self) -> &'static str {
                "a string"
            }

            fn null(&mut self) {
                *self = Self::default();
            }

            fn text(&mut self, value: &str) -> ::core::result::Result<(), $crate::wire::Refused> {
                *self = $crate::wire::Enumeration::of(value);
                ::core::result::Result::Ok(())
            }
        }

        impl $crate::wire::Write for $name {
            fn shape(&self) -> $crate::wire::Shape<'_> {
                $crate::wire::Shape::Text(::std::borrow::Cow::Borrowed(self.as_str()))
            }

            fn is_default(&self) -> bool {
                self.as_str().is_empty()
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
            fn expected(&self) -> &'static str {
                self.0.expected()
            }

            fn null(&mut self) {
                self.0 = 0;
            }

            fn number(
                &mut self,
                value: $crate::wire::Number,
            ) -> ::core::result::Result<(), $crate::wire::Refused> {
                self.0.number(value)
            }

            fn text(&mut self, value: &str) -> ::core::result::Result<(), $crate::wire::Refused> {
                self.0.text(value)
            }
        }

        impl $crate::wire::Write for $name {
            fn shape(&self) -> $crate::wire::Shape<'_> {
                self.0.shape()
            }

            fn is_default(&self) -> bool {
                self.0 == 0
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
