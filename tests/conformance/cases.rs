//! The values that the conformance test gives to parameters, as Rust and as they must be on the wire. What is made
//! of them is left to the build script, which writes the calls, and to the test, which looks at what comes of them.

use crate::description::{Kind, Parameter};

/// What stands for a parameter of the path: it must not be taken for more than one part of it.
pub(crate) fn argument(at: usize) -> String {
    format!("p{at} /?%ü")
}

/// The name of a parameter's setter: that of the wire in snake case, without what all headers of LXD begin with.
pub(crate) fn setter(parameter: &Parameter) -> String {
    let mut setter = String::new();
    for letter in parameter.wire.trim_start_matches("X-LXD-").chars() {
        match letter {
            '-' => setter.push('_'),
            letter if letter.is_uppercase() => setter.extend(['_', letter.to_ascii_lowercase()]),
            letter => setter.push(letter),
        }
    }
    setter
}

/// What a setter is given, as Rust.
pub(crate) fn given(parameter: &Parameter) -> String {
    match parameter.kind {
        Kind::Text => format!("{:?}", text(parameter)),
        Kind::Boolean => "true".to_owned(),
        Kind::Integer => "7".to_owned(),
        Kind::Octal => "0o640".to_owned(),
        Kind::List => r#"&["one", "t&o"]"#.to_owned(),
        Kind::Map => r#"&[("k=".to_owned(), "v &".to_owned())].into()"#.to_owned(),
    }
}

/// The pairs that it must be on the wire.
pub(crate) fn sent(parameter: &Parameter) -> Vec<(String, String)> {
    let one = |value: &str| vec![(parameter.wire.clone(), value.to_owned())];
    // Several values in one header have the form of a query; of a list, each is called by the name in the singular.
    let item = parameter.wire.rsplit('-').next().unwrap_or_default().trim_end_matches('s');
    match parameter.kind {
        Kind::Text => one(&text(parameter)),
        Kind::Boolean => one("true"),
        Kind::Integer => one("7"),
        Kind::Octal => one("0640"),
        Kind::List if parameter.is_header => one(&format!("{item}=one&{item}=t%26o")),
        Kind::List => [one("one"), one("t&o")].concat(),
        Kind::Map => one("k%3D=v%20%26"),
    }
}

fn text(parameter: &Parameter) -> String {
    let letters = if parameter.is_header { "&=+%" } else { "&=+%ü" };
    format!("{} {letters}", parameter.wire)
}
