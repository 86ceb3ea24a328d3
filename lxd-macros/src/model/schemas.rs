//! Schemas to types: what each field holds, which types have names, and how what is read becomes
//! what is written back. Operations are left to their own module.

use std::collections::{HashMap, HashSet};

use openapiv3::{
    AdditionalProperties, ObjectType, OpenAPI, ReferenceOr, Schema, SchemaKind, StringFormat, Type,
    VariantOrUnknownOrEmpty,
};

use super::names::{Scope, camel, snake, upper_snake};
use super::{Conversion, Field, Map, TYPE_NAMES, TextVariant, Ty, TypeDef, TypeKind};
use crate::read::{FieldOverlay, Overlay};

/// The types of a description while they are made.
pub(crate) struct Schemas<'a> {
    api: &'a OpenAPI,
    overlay: &'a Overlay,
    scope: Scope,
    /// The Rust name of each schema, overlay type and set.
    names: Map<String>,
    /// The Rust names that stand for records, which a field holds as an option.
    records: HashSet<String>,
    types: Vec<TypeDef>,
    /// The overlay's types and sets that something uses, by wire name.
    used: HashSet<String>,
    /// The overlay's fields that found their target, as `schema.field`.
    matched: HashSet<String>,
    /// The PATCH type of each schema that has one.
    patches: HashMap<String, String>,
}

impl<'a> Schemas<'a> {
    pub(super) fn of(api: &'a OpenAPI, overlay: &'a Overlay) -> Self {
        let mut scope = Scope::with(TYPE_NAMES);
        let mut names = Map::new();
        let schemas = api.components.iter().flat_map(|components| components.schemas.keys());
        let sets = overlay.enumerations.keys().chain(overlay.codes.keys());
        for wire in schemas.chain(overlay.types.keys()).chain(sets) {
            if !names.contains_key(wire) {
                names.insert(wire.clone(), scope.claim(&camel(wire)));
            }
        }
        let mut schemas = Self {
            api,
            overlay,
            scope,
            names,
            records: HashSet::new(),
            types: Vec::new(),
            used: HashSet::new(),
            matched: HashSet::new(),
            patches: HashMap::new(),
        };
        let records = schemas.names.iter().filter(|(wire, _)| schemas.is_record(wire));
        schemas.records = records.map(|(_, name)| name.clone()).collect();
        if let Some(components) = &api.components {
            for (wire, schema) in &components.schemas {
                schemas.define(wire, View::of(schema));
            }
        }
        schemas.box_cycles();
        schemas
    }

    fn schema(&self, wire: &str) -> Option<View<'a>> {
        self.api.components.as_ref()?.schemas.get(wire).map(View::of)
    }

    fn define(&mut self, wire: &str, schema: View<'a>) {
        let name = self.names[wire].clone();
        let description = match schema {
            View::Item(schema) => {
                let data = &schema.schema_data;
                data.description.clone().or_else(|| data.title.clone()).unwrap_or_default()
            }
            View::Reference(_) => String::new(),
        };
        let kind = match self.properties(schema) {
            Some(properties) => TypeKind::Record(self.fields(wire, &name, properties)),
            None => match self.ty(schema, &name) {
                Ty::Text if self.overlay.enumerations.contains_key(wire) => {
                    self.used.insert(wire.to_owned());
                    self.texts(wire)
                }
                Ty::Integer(_) if self.overlay.codes.contains_key(wire) => {
                    self.used.insert(wire.to_owned());
                    self.codes(wire)
                }
                ty => TypeKind::Alias(ty),
            },
        };
        self.types.push(TypeDef { name, description, is_markdown: false, kind });
    }

    /// The properties of a schema that is a record: an object with properties, or several in one.
    fn properties(&self, schema: View<'a>) -> Option<Map<View<'a>>> {
        let View::Item(schema) = schema else { return None };
        match &schema.schema_kind {
            SchemaKind::Type(Type::Object(ObjectType { properties, additional_properties, .. })) => {
                let is_record = !properties.is_empty() || additional_properties.is_none();
                is_record.then(|| views(properties))
            }
            SchemaKind::AllOf { all_of } if all_of.len() > 1 => {
                let mut all = Map::new();
                for part in all_of {
                    let part = match View::of(part) {
                        View::Reference(wire) => self.schema(wire)?,
                        item => item,
                    };
                    all.extend(self.properties(part)?);
                }
                Some(all)
            }
            _ => None,
        }
    }

    /// Whether a schema or a type of the overlay is a record.
    fn is_record(&self, wire: &str) -> bool {
        match self.schema(wire) {
            Some(schema) => self.properties(schema).is_some(),
            None => self.overlay.types.contains_key(wire),
        }
    }

    fn fields(&mut self, wire: &str, type_name: &str, properties: Map<View<'a>>) -> Vec<Field> {
        let overlay: &'a Overlay = self.overlay;
        let entries = overlay.fields.get(wire);
        let mut scope = Scope::default();
        let mut fields = Vec::new();
        for (property, schema) in properties {
            let entry = entries.and_then(|entries| entries.get(&property));
            if entry.is_some() {
                self.matched.insert(format!("{wire}.{property}"));
            }
            let described = match schema {
                View::Item(schema) => schema.schema_data.description.clone(),
                View::Reference(_) => None,
            };
            let ty = self.ty(schema, &format!("{type_name}{}", camel(&snake(&property))));
            fields.push(self.field(&property, described, ty, entry, &mut scope));
        }
        for (property, entry) in entries.into_iter().flatten() {
            let matched = self.matched.contains(&format!("{wire}.{property}"));
            let (Some(kind), Some(_), false) = (&entry.kind, &entry.description, matched) else { continue };
            if let Some(ty) = self.parse(kind) {
                self.matched.insert(format!("{wire}.{property}"));
                fields.push(self.field(property, None, ty, Some(entry), &mut scope));
            }
        }
        fields
    }

    fn field(
        &mut self,
        property: &str,
        described: Option<String>,
        ty: Ty,
        entry: Option<&FieldOverlay>,
        scope: &mut Scope,
    ) -> Field {
        let mut ty = ty;
        if let Some(entry) = entry {
            if let Some(given) = entry.kind.as_deref().and_then(|kind| self.parse(kind)) {
                ty = given;
            }
            if let Some(set) = &entry.set {
                ty = self.with_set(ty, set);
            }
        }
        if matches!(&ty, Ty::Named(name) if self.records.contains(name)) {
            ty = Ty::Option(ty.boxed());
        }
        let absent_differs = entry.is_some_and(|entry| entry.absent_differs);
        if absent_differs {
            ty = Ty::Option(ty.boxed());
        }
        let given = entry.and_then(|entry| entry.description.clone());
        Field {
            name: scope.claim(&snake(property)),
            wire: property.to_owned(),
            description: given.or(described).unwrap_or_default(),
            secret: entry.is_some_and(|entry| entry.secret) || is_secret(property, &ty),
            null_removes: entry.is_some_and(|entry| entry.null_removes),
            request_only: entry.is_some_and(|entry| entry.request_only),
            absent_differs,
            ty,
        }
    }

    /// A text or number, or a list of them, as a set of the overlay.
    fn with_set(&mut self, ty: Ty, set: &str) -> Ty {
        let fits = match &ty {
            Ty::Text => self.overlay.enumerations.contains_key(set),
            Ty::Integer(_) => self.overlay.codes.contains_key(set),
            Ty::List(item) => return Ty::List(self.with_set((**item).clone(), set).boxed()),
            _ => false,
        };
        if !fits {
            return ty;
        }
        self.used.insert(set.to_owned());
        Ty::Named(self.names[set].clone())
    }

    /// The type of a schema; `name` is for a type that has none of its own.
    pub(super) fn ty(&mut self, schema: View<'a>, name: &str) -> Ty {
        let schema = match schema {
            View::Item(schema) => schema,
            View::Reference(wire) => {
                let known = self.schema(wire).is_some();
                return if known { Ty::Named(self.names[wire].clone()) } else { Ty::Any };
            }
        };
        match &schema.schema_kind {
            SchemaKind::Type(Type::String(string)) => {
                // The empty text is the default of every enumeration.
                let texts = string.enumeration.iter().flatten().filter(|text| !text.is_empty());
                let texts: Vec<&String> = texts.collect();
                if string.format == VariantOrUnknownOrEmpty::Item(StringFormat::DateTime) {
                    Ty::Time
                } else if texts.is_empty() {
                    Ty::Text
                } else {
                    self.inline_texts(schema, &texts, name)
                }
            }
            SchemaKind::Type(Type::Integer(integer)) => Ty::Integer(integer_name(&integer.format)),
            SchemaKind::Type(Type::Number(_)) => Ty::Float,
            SchemaKind::Type(Type::Boolean(_)) => Ty::Boolean,
            SchemaKind::Type(Type::Array(array)) => {
                let item =
                    array.items.as_ref().map(|items| self.ty(View::of_boxed(items), &format!("{name}Item")));
                Ty::List(item.unwrap_or(Ty::Any).boxed())
            }
            SchemaKind::Type(Type::Object(object)) if !object.properties.is_empty() => {
                self.inline_record(schema, views(&object.properties), name)
            }
            SchemaKind::Type(Type::Object(object)) => match &object.additional_properties {
                Some(AdditionalProperties::Schema(value)) => {
                    Ty::Map(self.ty(View::of(value), &format!("{name}Value")).boxed())
                }
                Some(AdditionalProperties::Any(true)) => Ty::Map(Ty::Any.boxed()),
                Some(AdditionalProperties::Any(false)) | None => Ty::Any,
            },
            SchemaKind::AllOf { all_of } if all_of.len() == 1 => self.ty(View::of(&all_of[0]), name),
            _ => Ty::Any,
        }
    }

    fn inline_texts(&mut self, schema: &Schema, texts: &[&String], name: &str) -> Ty {
        let name = self.scope.claim(name);
        let mut scope = variants();
        let variants = texts
            .iter()
            .map(|text| TextVariant {
                name: scope.claim(&camel(text)),
                wire: (*text).clone(),
                description: String::new(),
            })
            .collect();
        self.types.push(TypeDef {
            name: name.clone(),
            description: schema.schema_data.description.clone().unwrap_or_default(),
            is_markdown: false,
            kind: TypeKind::Texts(variants),
        });
        Ty::Named(name)
    }

    fn inline_record(&mut self, schema: &'a Schema, properties: Map<View<'a>>, name: &str) -> Ty {
        let name = self.scope.claim(name);
        self.records.insert(name.clone());
        let fields = self.fields("", &name, properties);
        self.types.push(TypeDef {
            name: name.clone(),
            description: schema.schema_data.description.clone().unwrap_or_default(),
            is_markdown: false,
            kind: TypeKind::Record(fields),
        });
        Ty::Named(name)
    }

    /// A type as the facts and the overlay write it: `map<array<string>>`, `option<…>`,
    /// `integer:int64`, a name.
    /// None where it names a type that this description lacks.
    pub(super) fn parse(&mut self, text: &str) -> Option<Ty> {
        let inner = |start: &str| text.strip_prefix(start)?.strip_suffix('>');
        if let Some(item) = inner("array<") {
            return Some(Ty::List(self.parse(item)?.boxed()));
        }
        if let Some(value) = inner("option<") {
            return Some(Ty::Option(self.parse(value)?.boxed()));
        }
        if let Some(value) = inner("map<") {
            return Some(Ty::Map(self.parse(value)?.boxed()));
        }
        Some(match text {
            "string" => Ty::Text,
            "string:date-time" => Ty::Time,
            "boolean" => Ty::Boolean,
            "integer" => Ty::Integer("i64"),
            "number" | "number:double" => Ty::Float,
            "any" | "object" => Ty::Any,
            "nothing" => Ty::Nothing,
            name => {
                if let Some(format) = name.strip_prefix("integer:") {
                    return Some(Ty::Integer(integer_of_format(format)));
                }
                let in_overlay = self.overlay.types.contains_key(name)
                    || self.overlay.enumerations.contains_key(name)
                    || self.overlay.codes.contains_key(name);
                if self.schema(name).is_none() {
                    if !in_overlay {
                        return None;
                    }
                    self.used.insert(name.to_owned());
                }
                Ty::Named(self.names[name].clone())
            }
        })
    }

    fn texts(&self, set: &str) -> TypeKind {
        let mut scope = variants();
        let values = self.overlay.enumerations[set].values.iter();
        TypeKind::Texts(
            values
                .map(|(text, meaning)| TextVariant {
                    name: scope.claim(&camel(text)),
                    wire: text.clone(),
                    description: meaning.clone(),
                })
                .collect(),
        )
    }

    fn codes(&self, set: &str) -> TypeKind {
        let mut scope = Scope::default();
        let values = self.overlay.codes[set].values.iter();
        TypeKind::Codes(values.map(|(name, code)| (scope.claim(&upper_snake(name)), *code)).collect())
    }

    /// The PATCH form of a record: every field optional. Other types have none.
    pub(super) fn patch(&mut self, ty: &Ty) -> Option<Ty> {
        let Ty::Named(of) = ty else { return None };
        if let Some(patch) = self.patches.get(of) {
            return Some(Ty::Named(patch.clone()));
        }
        let of_type = self.types.iter().find(|known| known.name == *of)?;
        let TypeKind::Record(fields) = &of_type.kind else { return None };
        let fields = fields.iter().map(patch_field).collect();
        let stem = of.strip_suffix("Put").unwrap_or(of).to_owned();
        let name = self.scope.claim(&format!("{stem}Patch"));
        let description = format!(
            "The changes that a PATCH makes, in the terms of [`{of}`]: a field that is `None` is left \
             as it is, and any other value is sent, also an empty one."
        );
        self.patches.insert(of.clone(), name.clone());
        let kind = TypeKind::Record(fields);
        self.types.push(TypeDef { name: name.clone(), description, is_markdown: true, kind });
        Some(Ty::Named(name))
    }

    /// Whether a JSON body of this type has a field.
    pub(super) fn has_field(&self, ty: &Ty, wire: &str) -> bool {
        let Ty::Named(name) = ty else { return false };
        self.types.iter().any(|known| {
            known.name == *name
                && matches!(&known.kind, TypeKind::Record(fields) if fields.iter().any(|field| field.wire == wire))
        })
    }

    /// The metadata of a schema that is the server's envelope: `Some(None)` where it has none, or is
    /// a background operation.
    pub(super) fn metadata_of_envelope(&self, schema: View<'a>) -> Option<Option<View<'a>>> {
        let properties = self.properties(schema)?;
        let has = |name: &str| properties.contains_key(name);
        if !has("type") || !has("status_code") {
            return None;
        }
        Some(properties.get("metadata").copied().filter(|_| !has("operation")))
    }

    /// Puts a box where a record holds itself without a list or map between.
    fn box_cycles(&mut self) {
        let mut holds: HashMap<String, Vec<String>> = HashMap::new();
        for known in &self.types {
            if let TypeKind::Record(fields) = &known.kind {
                let direct = fields.iter().filter_map(|field| directly_held(&field.ty));
                holds.insert(known.name.clone(), direct.map(str::to_owned).collect());
            }
        }
        let reaches = |from: &str, to: &str| {
            let (mut seen, mut next) = (HashSet::new(), vec![from]);
            while let Some(name) = next.pop() {
                if name == to {
                    return true;
                }
                if seen.insert(name) {
                    next.extend(holds.get(name).into_iter().flatten().map(String::as_str));
                }
            }
            false
        };
        for known in &mut self.types {
            let TypeKind::Record(fields) = &mut known.kind else { continue };
            for field in fields {
                let Some(held) = directly_held(&field.ty) else { continue };
                if reaches(held, &known.name) {
                    field.ty = Ty::Option(Ty::Boxed(Ty::Named(held.to_owned()).boxed()).boxed());
                }
            }
        }
    }

    /// The conversions of `X` and `XFull` to `XPut`, where `X` has all that `XPut` has.
    pub(super) fn conversions(&self) -> Vec<Conversion> {
        let record = |name: &str| {
            self.types.iter().find_map(|known| match &known.kind {
                TypeKind::Record(fields) if known.name == name => Some(fields),
                _ => None,
            })
        };
        let mut conversions = Vec::new();
        for known in &self.types {
            let (Some(stem), TypeKind::Record(target)) = (known.name.strip_suffix("Put"), &known.kind) else {
                continue;
            };
            for from in [stem.to_owned(), format!("{stem}Full")] {
                let Some(source) = record(&from) else { continue };
                let fields: Option<Vec<(String, bool)>> = target
                    .iter()
                    .filter(|field| !field.request_only)
                    .map(|field| holds(source, field).then(|| (field.name.clone(), field.absent_differs)))
                    .collect();
                if let Some(fields) = fields.filter(|fields| !fields.is_empty()) {
                    let more = fields.len() < target.len();
                    conversions.push(Conversion { from, to: known.name.clone(), fields, more });
                }
            }
        }
        conversions
    }

    /// The types, with those of the overlay that something uses.
    pub(super) fn into_types(mut self) -> Vec<TypeDef> {
        let overlay: &'a Overlay = self.overlay;
        let mut extra = Vec::new();
        for (wire, given) in &overlay.types {
            if self.schema(wire).is_none() && self.used.contains(wire) {
                let mut scope = Scope::default();
                let mut fields = Vec::new();
                for (property, entry) in &given.fields {
                    fields.push(self.field(property, None, Ty::Text, Some(entry), &mut scope));
                }
                extra.push((wire, given.description.clone(), TypeKind::Record(fields)));
            }
        }
        for (wire, given) in &overlay.enumerations {
            if self.schema(wire).is_none() && self.used.contains(wire) {
                extra.push((wire, given.description.clone(), self.texts(wire)));
            }
        }
        for (wire, given) in &overlay.codes {
            if self.schema(wire).is_none() && self.used.contains(wire) {
                extra.push((wire, given.description.clone(), self.codes(wire)));
            }
        }
        for (wire, description, kind) in extra {
            let name = self.names[wire].clone();
            self.types.push(TypeDef { name, description, is_markdown: false, kind });
        }
        self.types.sort_by(|one, other| one.name.cmp(&other.name));
        self.types
    }

    /// Adds the overlay's entries that found no target.
    pub(super) fn unmatched(&self, unmatched: &mut Vec<String>) {
        for (schema, fields) in &self.overlay.fields {
            for field in fields.keys() {
                if !self.matched.contains(&format!("{schema}.{field}")) {
                    unmatched.push(format!("schemas {schema}.{field}"));
                }
            }
        }
        let types = self.overlay.types.keys().map(|name| ("types", name));
        let sets = self.overlay.enumerations.keys().map(|name| ("enumerations", name));
        let codes = self.overlay.codes.keys().map(|name| ("codes", name));
        for (section, name) in types.chain(sets).chain(codes) {
            if !self.used.contains(name) {
                unmatched.push(format!("{section} {name}"));
            }
        }
    }
}

/// The names of an enumeration's variants, of which one takes the unknown texts.
fn variants() -> Scope {
    Scope::with(&["Other", "Self"])
}

/// A schema, or the name of the one that is meant: a view of `openapiv3`'s references, boxed or not.
#[derive(Clone, Copy)]
pub(super) enum View<'a> {
    Reference(&'a str),
    Item(&'a Schema),
}

impl<'a> View<'a> {
    pub(super) fn of(schema: &'a ReferenceOr<Schema>) -> Self {
        match schema {
            ReferenceOr::Item(schema) => View::Item(schema),
            ReferenceOr::Reference { reference } => Self::target(reference),
        }
    }

    fn of_boxed(schema: &'a ReferenceOr<Box<Schema>>) -> Self {
        match schema {
            ReferenceOr::Item(schema) => View::Item(schema),
            ReferenceOr::Reference { reference } => Self::target(reference),
        }
    }

    fn target(reference: &'a str) -> Self {
        View::Reference(reference.rsplit('/').next().unwrap_or(reference))
    }
}

fn views(properties: &indexmap::IndexMap<String, ReferenceOr<Box<Schema>>>) -> Map<View<'_>> {
    properties.iter().map(|(name, schema)| (name.clone(), View::of_boxed(schema))).collect()
}

fn integer_name(format: &VariantOrUnknownOrEmpty<openapiv3::IntegerFormat>) -> &'static str {
    match format {
        VariantOrUnknownOrEmpty::Item(openapiv3::IntegerFormat::Int32) => "i32",
        VariantOrUnknownOrEmpty::Unknown(format) => integer_of_format(format),
        VariantOrUnknownOrEmpty::Item(openapiv3::IntegerFormat::Int64) | VariantOrUnknownOrEmpty::Empty => {
            "i64"
        }
    }
}

fn integer_of_format(format: &str) -> &'static str {
    match format {
        "int32" => "i32",
        "uint8" => "u8",
        "uint16" => "u16",
        "uint32" => "u32",
        "uint64" => "u64",
        _ => "i64",
    }
}

/// A field of a PATCH: optional, so that absent and empty are told apart.
fn patch_field(field: &Field) -> Field {
    let inner = match &field.ty {
        // A value without a type can be null as it is.
        Ty::Map(value) if field.null_removes && **value != Ty::Any => {
            Ty::Map(Ty::Option(value.clone()).boxed())
        }
        ty => ty.clone(),
    };
    let ty = match inner {
        // A time is an option already: the server's zero time unsets it.
        Ty::Option(_) | Ty::Time => inner,
        inner => Ty::Option(inner.boxed()),
    };
    let mut description = field.description.clone();
    if field.null_removes {
        description.push_str(" An entry that is None is removed.");
    }
    Field { ty, description, ..field.clone() }
}

/// The record that a field holds within itself.
fn directly_held(ty: &Ty) -> Option<&str> {
    match ty {
        Ty::Option(inner) => match &**inner {
            Ty::Named(name) => Some(name),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a record has the same field.
fn holds(source: &[Field], field: &Field) -> bool {
    let wanted = match &field.ty {
        Ty::Option(inner) if field.absent_differs => inner,
        ty => ty,
    };
    source.iter().any(|known| known.wire == field.wire && known.ty == *wanted)
}

/// Whether a field's name says that its value is a secret.
fn is_secret(property: &str, ty: &Ty) -> bool {
    let is_value = matches!(ty, Ty::Text | Ty::Map(_) | Ty::List(_) | Ty::Any);
    let name = snake(property);
    is_value && name.split('_').any(|word| ["password", "secret", "secrets", "token"].contains(&word))
}
