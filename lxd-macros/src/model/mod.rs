//! What Rust makes of a description: types, methods, and all their names, decided once. How that is
//! written as code is left to the emitters, which only read the model.

mod method_name;
mod names;
mod operations;
mod schemas;

use std::fmt;

use indexmap::IndexMap;
use openapiv3::OpenAPI;

pub(crate) use names::{identifier, singular};
pub(crate) use operations::path_parameters;

use crate::read::{Answer, Overlay};

/// All that is made of one description and its overlay.
#[derive(Debug)]
pub(crate) struct Model {
    /// The types, in the order of the description.
    pub(crate) types: Vec<TypeDef>,
    /// The conversions of what is read to what is written back.
    pub(crate) conversions: Vec<Conversion>,
    /// The operations, in the order of the description.
    pub(crate) operations: Vec<Operation>,
    /// The sets of parameters that operations have in common.
    pub(crate) parameter_sets: Vec<ParameterSet>,
    /// The entries of the overlay that found no target, each as `section key`.
    #[allow(dead_code, reason = "for the test that the vendored description needs all of the overlay")]
    pub(crate) unmatched: Vec<String>,
}

/// A type with a name.
#[derive(Debug)]
pub(crate) struct TypeDef {
    /// Its name in Rust.
    pub(crate) name: String,
    /// What it is.
    pub(crate) description: String,
    /// Whether the description is our own and has links, as that of a PATCH; others are foreign text.
    pub(crate) is_markdown: bool,
    /// What it is made of.
    pub(crate) kind: TypeKind,
}

/// What a type is made of.
#[derive(Debug)]
pub(crate) enum TypeKind {
    /// Named fields.
    Record(Vec<Field>),
    /// Named texts.
    Texts(Vec<TextVariant>),
    /// Named numbers.
    Codes(Vec<(String, i64)>),
    /// Another name for a type.
    Alias(Ty),
}

/// A field of a record.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    /// Its name in Rust.
    pub(crate) name: String,
    /// Its name on the wire.
    pub(crate) wire: String,
    /// What it means.
    pub(crate) description: String,
    /// Its type.
    pub(crate) ty: Ty,
    /// Whether it must not be shown to people.
    pub(crate) secret: bool,
    /// Whether null removes an entry of this map in a PATCH.
    pub(crate) null_removes: bool,
    /// Whether it asks for an action and is no part of the object.
    pub(crate) request_only: bool,
    /// Whether it is optional only because absent and empty differ.
    pub(crate) absent_differs: bool,
}

/// A text of an enumeration.
#[derive(Debug)]
pub(crate) struct TextVariant {
    /// Its name in Rust.
    pub(crate) name: String,
    /// Its text on the wire.
    pub(crate) wire: String,
    /// What it means; empty where the text says it all.
    pub(crate) description: String,
}

/// A type as a field, an argument or an answer has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ty {
    /// `String`
    Text,
    /// `bool`
    Boolean,
    /// An integer, by its name in Rust.
    Integer(&'static str),
    /// `f64`
    Float,
    /// `Option<Timestamp>`
    Time,
    /// `Value`
    Any,
    /// `()`
    Nothing,
    /// A type with a name.
    Named(String),
    /// `Vec<…>`
    List(Box<Ty>),
    /// `BTreeMap<String, …>`
    Map(Box<Ty>),
    /// `Option<…>`
    Option(Box<Ty>),
    /// `Box<…>`
    Boxed(Box<Ty>),
}

impl Ty {
    /// The type as a part of another.
    pub(crate) fn boxed(self) -> Box<Ty> {
        Box::new(self)
    }
}

impl fmt::Display for Ty {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ty::Text => formatter.write_str("String"),
            Ty::Boolean => formatter.write_str("bool"),
            Ty::Integer(name) => formatter.write_str(name),
            Ty::Float => formatter.write_str("f64"),
            Ty::Time => formatter.write_str("Option<Timestamp>"),
            Ty::Any => formatter.write_str("Value"),
            Ty::Nothing => formatter.write_str("()"),
            Ty::Named(name) => formatter.write_str(name),
            Ty::List(item) => write!(formatter, "Vec<{item}>"),
            Ty::Map(value) => write!(formatter, "BTreeMap<String, {value}>"),
            Ty::Option(inner) => write!(formatter, "Option<{inner}>"),
            Ty::Boxed(inner) => write!(formatter, "Box<{inner}>"),
        }
    }
}

/// `impl From<from> for to`, field by field.
#[derive(Debug)]
pub(crate) struct Conversion {
    /// The type that is read.
    pub(crate) from: String,
    /// The type that is written back.
    pub(crate) to: String,
    /// The fields that are taken over, and whether each becomes optional on the way.
    pub(crate) fields: Vec<(String, bool)>,
    /// Whether the target has fields beside them.
    pub(crate) more: bool,
}

/// An operation and its methods.
#[derive(Debug)]
pub(crate) struct Operation {
    /// Its operationId.
    pub(crate) id: String,
    /// The method of HTTP, in capitals.
    pub(crate) http: &'static str,
    /// The path, with its parameters in braces.
    pub(crate) path: String,
    /// The query that the path fixes; empty where it fixes none.
    pub(crate) fixed_query: String,
    /// What it does, in a line.
    pub(crate) summary: String,
    /// What it does, at length.
    pub(crate) description: String,
    /// Whether the description advises against it.
    pub(crate) deprecated: bool,
    /// The API extension that a server must have for it.
    pub(crate) extension: Option<String>,
    /// The parameters of the path, as argument names, in their order.
    pub(crate) arguments: Vec<Argument>,
    /// The set of its other parameters; an index into the model's.
    pub(crate) parameters: Option<usize>,
    /// What this operation says of each parameter, in the order of the set.
    pub(crate) parameter_descriptions: Vec<String>,
    /// Its methods: one, or two where its body can be JSON or bytes.
    pub(crate) methods: Vec<Method>,
    /// How its answer comes.
    pub(crate) answer: Answer,
    /// The type of its value.
    pub(crate) result: Ty,
    /// Whether the value is the metadata of its background operation.
    pub(crate) in_operation: bool,
    /// Whether it can answer with a background operation.
    pub(crate) background: bool,
}

/// An argument that becomes a part of the path.
#[derive(Debug)]
pub(crate) struct Argument {
    /// Its name in Rust.
    pub(crate) name: String,
    /// What it means.
    pub(crate) description: String,
}

/// A method of the client.
#[derive(Debug)]
pub(crate) struct Method {
    /// Its name.
    pub(crate) name: String,
    /// What it sends.
    pub(crate) body: Option<Body>,
}

/// What a method sends.
#[derive(Debug)]
pub(crate) struct Body {
    /// Its argument.
    pub(crate) name: String,
    /// What it means.
    pub(crate) description: String,
    /// Its type; bytes where there is none.
    pub(crate) json: Option<Ty>,
}

/// The parameters that some operations have in common.
#[derive(Debug)]
pub(crate) struct ParameterSet {
    /// Its name.
    pub(crate) name: String,
    /// The parameters.
    pub(crate) parameters: Vec<Parameter>,
}

/// A parameter that is a setter of the call.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    /// Its name in Rust.
    pub(crate) name: String,
    /// Its name on the wire.
    pub(crate) wire: String,
    /// Where it goes.
    pub(crate) place: Place,
    /// Its type.
    pub(crate) ty: ParameterTy,
    /// What the first operation that has it says of it.
    pub(crate) description: String,
}

/// Where a parameter goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Into the query.
    Query,
    /// Into the headers.
    Header,
    /// It is the body.
    Body,
}

/// The type of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ParameterTy {
    /// `&str`
    Text,
    /// `bool`
    Boolean,
    /// An integer, by its name in Rust.
    Integer(&'static str),
    /// `u32`, written in octal with a leading zero.
    Octal,
    /// `&[&str]`, written as `name=a&name=b`.
    List,
    /// `&BTreeMap<String, String>`, written as `a=b&c=d`.
    Map,
    /// A body that may be left out.
    Json(Ty),
}

impl Model {
    /// The set of an operation's parameters, where it has any.
    pub(crate) fn parameters_of(&self, operation: &Operation) -> Option<&ParameterSet> {
        operation.parameters.map(|index| &self.parameter_sets[index])
    }

    /// Makes the model of a description.
    pub(crate) fn of(api: &OpenAPI, overlay: &Overlay) -> Self {
        let mut unmatched = Vec::new();
        let mut schemas = schemas::Schemas::of(api, overlay);
        let (operations, parameter_sets) = operations::operations(api, overlay, &mut schemas, &mut unmatched);
        for name in CORE_TYPES {
            // That there is none is told where the core is compiled.
            let _known = schemas.parse(name);
        }
        schemas.unmatched(&mut unmatched);
        let conversions = schemas.conversions();
        Self { types: schemas.into_types(), conversions, operations, parameter_sets, unmatched }
    }
}

/// The types that the client's core takes: what events and handles tell. They are made also where no operation names
/// them.
const CORE_TYPES: &[&str] = &[
    "EventLifecycle",
    "EventLifecycleRequestor",
    "EventLogging",
    "ExecResult",
    "InstanceState",
    "Operation",
];

/// The names that the module of types uses itself, and those of Rust's prelude.
pub(crate) const TYPE_NAMES: &[&str] = &[
    "AsRef",
    "BTreeMap",
    "Box",
    "Clone",
    "Copy",
    "Debug",
    "Default",
    "Drop",
    "Enumeration",
    "Eq",
    "Err",
    "Fields",
    "Fn",
    "FnMut",
    "FnOnce",
    "From",
    "Hash",
    "Incoming",
    "Into",
    "Iterator",
    "None",
    "Ok",
    "Option",
    "Ord",
    "PartialEq",
    "PartialOrd",
    "Read",
    "Refused",
    "Result",
    "Self",
    "Send",
    "Shape",
    "Sized",
    "Some",
    "String",
    "Sync",
    "Timestamp",
    "ToOwned",
    "ToString",
    "Unpin",
    "Value",
    "Vec",
    "Write",
];

type Map<T> = IndexMap<String, T>;

#[cfg(test)]
mod tests;
