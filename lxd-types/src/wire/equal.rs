//! Equality of all types with fields, part by part. It is here once: derived for each type, it took a
//! fifth of the time to check them all.

use super::{List, Map, Number, Shape, Write};

/// Whether two values of the same type are equal.
pub fn equal(one: &dyn Write, other: &dyn Write) -> bool {
    match (one.shape(), other.shape()) {
        (Shape::Null, Shape::Null) => true,
        (Shape::Boolean(one), Shape::Boolean(other)) => one == other,
        (Shape::Number(one), Shape::Number(other)) => match (one, other) {
            (Number::Unsigned(one), Number::Unsigned(other)) => one == other,
            (Number::Negative(one), Number::Negative(other)) => one == other,
            (Number::Float(one), Number::Float(other)) => one == other,
            _ => false,
        },
        (Shape::Text(one), Shape::Text(other)) => one == other,
        (Shape::List(one), Shape::List(other)) => all_equal(&items(one), &items(other)),
        (Shape::Map(one), Shape::Map(other)) => {
            let ((keys, values), (other_keys, other_values)) = (entries(one), entries(other));
            keys == other_keys && all_equal(&values, &other_values)
        }
        (Shape::Given(one), Shape::Given(other)) => equal(one, other),
        (Shape::Any(one), Shape::Any(other)) => one == other,
        (Shape::Fields(one), Shape::Fields(other)) => {
            let mut equal = false;
            one.fields(&mut |one| other.fields(&mut |other| equal = all_equal(one.values, other.values)));
            equal
        }
        _ => false,
    }
}

fn all_equal(one: &[&dyn Write], other: &[&dyn Write]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(*one, *other))
}

fn items(list: &dyn List) -> Vec<&dyn Write> {
    let mut items = Vec::new();
    list.each(&mut |item| items.push(item));
    items
}

fn entries(map: &dyn Map) -> (Vec<&str>, Vec<&dyn Write>) {
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    map.each(&mut |key, value| {
        keys.push(key);
        values.push(value);
    });
    (keys, values)
}
