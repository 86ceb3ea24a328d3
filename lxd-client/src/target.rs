//! The target of a request: the path with its arguments, and the query. Nothing that a caller gives
//! can lead to another path than the one of the operation.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but what RFC 3986 never wants encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Puts arguments in the places of a path template. An empty argument would be another path.
pub(crate) fn path(template: &str, arguments: &[&str]) -> Result<String, String> {
    let mut path = String::with_capacity(template.len() + 32);
    let mut arguments = arguments.iter();
    for (index, part) in template.split('/').enumerate() {
        if index > 0 {
            path.push('/');
        }
        let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
            path.push_str(part);
            continue;
        };
        match arguments.next() {
            // The server's database would take the name up to there for the whole of it.
            Some(argument) if argument.contains('\0') => {
                return Err(format!("the argument `{name}` holds a NUL"));
            }
            Some(argument) if !argument.is_empty() => push_segment(&mut path, argument),
            _ => return Err(format!("the argument `{name}` is empty")),
        }
    }
    match arguments.next() {
        None => Ok(path),
        Some(_) => Err("there are more arguments than the path has".to_owned()),
    }
}

fn push_segment(path: &mut String, segment: &str) {
    // `.` and `..` would be resolved on the way.
    if segment.bytes().all(|byte| byte == b'.') {
        for _ in segment.bytes() {
            path.push_str("%2E");
        }
    } else {
        path.extend(utf8_percent_encode(segment, ENCODED));
    }
}

/// A text as one value of a query.
pub(crate) fn encoded(text: &str) -> impl Iterator<Item = &str> {
    utf8_percent_encode(text, ENCODED)
}

/// Adds the query to a path: what the operation fixes, where no value was given for it, then what
/// was given.
pub(crate) fn push_query(path: &mut String, fixed: &str, given: &[(Cow<'static, str>, String)]) {
    let mut separator = '?';
    let mut push = |path: &mut String, pair: &mut dyn FnMut(&mut String)| {
        path.push(separator);
        separator = '&';
        pair(path);
    };
    for pair in fixed.split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split('=').next().unwrap_or_default();
        if !given.iter().any(|(known, _)| known == name) {
            push(path, &mut |path| path.push_str(pair));
        }
    }
    for (name, value) in given {
        push(path, &mut |path| {
            path.extend(encoded(name));
            path.push('=');
            path.extend(encoded(value));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{path, push_query};

    #[test]
    fn no_name_reaches_another_path() {
        for (name, expected) in [
            ("t1", "/1.0/instances/t1/state"),
            ("a/b", "/1.0/instances/a%2Fb/state"),
            ("..", "/1.0/instances/%2E%2E/state"),
            (".", "/1.0/instances/%2E/state"),
            ("...", "/1.0/instances/%2E%2E%2E/state"),
            ("a..b", "/1.0/instances/a..b/state"),
            ("x?project=y", "/1.0/instances/x%3Fproject%3Dy/state"),
            ("50%", "/1.0/instances/50%25/state"),
            ("%2e", "/1.0/instances/%252e/state"),
            ("é", "/1.0/instances/%C3%A9/state"),
            ("a b#c", "/1.0/instances/a%20b%23c/state"),
            ("{name}", "/1.0/instances/%7Bname%7D/state"),
            ("a\r\nb", "/1.0/instances/a%0D%0Ab/state"),
        ] {
            assert_eq!(path("/1.0/instances/{name}/state", &[name]).unwrap(), expected);
        }
        assert!(path("/1.0/instances/{name}", &[""]).unwrap_err().contains("`name`"));
        assert!(path("/1.0/instances/{name}", &["a\0b"]).unwrap_err().contains("NUL"));
    }

    #[test]
    fn a_given_value_takes_the_place_of_a_fixed_one() {
        let query = |fixed: &str, given: &[(&'static str, &str)]| {
            let given: Vec<_> =
                given.iter().map(|(name, value)| ((*name).into(), (*value).to_owned())).collect();
            let mut path = "/x".to_owned();
            push_query(&mut path, fixed, &given);
            path
        };
        assert_eq!(query("", &[]), "/x");
        assert_eq!(
            query("public&recursion=1", &[("project", "a b&c")]),
            "/x?public&recursion=1&project=a%20b%26c"
        );
        assert_eq!(query("recursion=2", &[("recursion", "2;fields=")]), "/x?recursion=2%3Bfields%3D");
    }
}
