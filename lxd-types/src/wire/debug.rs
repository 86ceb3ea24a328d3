//! `Debug` of all types with fields: fields that hold their default are left out, as they are on
//! the wire, and secrets are never shown.

use std::fmt;

use super::{Number, Shape, Write};

/// Formats a type with fields.
pub fn debug(value: &dyn Write, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut outcome = Ok(());
    value.fields(&mut |fields| {
        let mut out = formatter.debug_struct(fields.of);
        let mut shown = 0;
        for (name, shape) in fields.set() {
            shown += 1;
            if fields.secrets.contains(&name) {
                out.field(name, &format_args!("(secret)"));
            } else {
                out.field(name, &Shown(shape));
            }
        }
        outcome = if shown < fields.names.len() { out.finish_non_exhaustive() } else { out.finish() };
    });
    outcome
}

struct Shown<'a>(Shape<'a>);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Shape::Null => formatter.write_str("null"),
            Shape::Boolean(value) => value.fmt(formatter),
            Shape::Number(Number::Unsigned(value)) => value.fmt(formatter),
            Shape::Number(Number::Negative(value)) => value.fmt(formatter),
            Shape::Number(Number::Float(value)) => value.fmt(formatter),
            Shape::Text(value) => value.fmt(formatter),
            Shape::List(list) => {
                let mut out = formatter.debug_list();
                list.each(&mut |item| {
                    out.entry(&Shown(item.shape()));
                });
                out.finish()
            }
            Shape::Map(map) => {
                let mut out = formatter.debug_map();
                map.each(&mut |key, value| {
                    out.entry(&key, &Shown(value.shape()));
                });
                out.finish()
            }
            Shape::Fields(fields) => debug(*fields, formatter),
            Shape::Given(value) => Shown(value.shape()).fmt(formatter),
            Shape::Any(value) => value.fmt(formatter),
        }
    }
}
