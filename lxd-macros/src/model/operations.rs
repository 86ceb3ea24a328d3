//! Operations to methods: arguments, the sets of parameters that calls share, bodies, and what an
//! answer holds. Types are left to the schemas, names to the rule of their own module.

use std::collections::HashMap;

use openapiv3::{OpenAPI, ReferenceOr, Response, StatusCode};

use super::method_name::{Subject, method_name};
use super::names::{Scope, camel, singular, snake};
use super::schemas::{Schemas, View};
use super::{Argument, Body, Method, Operation, Parameter, ParameterSet, ParameterTy, Place, Ty};
use crate::lower::is_binary;
use crate::read::{Answer, OperationOverlay, Overlay};

/// The names of `Client` that are written by hand, or will be: no operation may take them.
const CLIENT_NAMES: &[&str] = &[
    "become_trusted",
    "builder",
    "clone",
    "console",
    "copy_image",
    "copy_instance",
    "copy_storage_volume",
    "default",
    "default_project",
    "default_target",
    "export_image",
    "fetch_server_certificate",
    "files",
    "fmt",
    "from_remote",
    "handle",
    "has_extension",
    "limits",
    "move_instance",
    "move_storage_volume",
    "new",
    "operation_handle",
    "own_headers",
    "require_extension",
    "shows_certificate",
    "tokens",
    "transport",
    "use_project",
    "use_target",
    "watching",
    "with",
];

/// The names of `Call` that are written by hand: no parameter may take them.
const CALL_NAMES: &[&str] = &[
    "change_sent_object",
    "client",
    "clone",
    "connected",
    "flag",
    "fmt",
    "header",
    "header_list",
    "header_map",
    "header_pairs",
    "header_value",
    "if_match",
    "into_future",
    "json",
    "of",
    "output",
    "progress",
    "project_named",
    "query",
    "query_list",
    "record",
    "response",
    "sent_object",
    "set_flags",
    "shown",
    "spawn",
    "start",
    "types",
];

/// The names of arguments that the emitted methods use themselves.
const ARGUMENT_NAMES: &[&str] = &["self", "Self"];

/// The names that a path's parameters have, in their order.
pub(crate) fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// One operation as the description has it.
struct Source<'a> {
    path: &'a str,
    http: &'static str,
    operation: &'a openapiv3::Operation,
}

pub(super) fn operations<'a>(
    api: &'a OpenAPI,
    overlay: &Overlay,
    schemas: &mut Schemas<'a>,
    unmatched: &mut Vec<String>,
) -> (Vec<Operation>, Vec<ParameterSet>) {
    let mut sources = Vec::new();
    for (path, item) in &api.paths.paths {
        let ReferenceOr::Item(item) = item else { continue };
        for (http, operation) in [
            ("GET", &item.get),
            ("HEAD", &item.head),
            ("POST", &item.post),
            ("PUT", &item.put),
            ("PATCH", &item.patch),
            ("DELETE", &item.delete),
            ("OPTIONS", &item.options),
        ] {
            if let Some(operation) = operation {
                sources.push(Source { path, http, operation });
            }
        }
    }
    let nothing = OperationOverlay::default();
    let mut sets = ParameterSets::default();
    let mut operations = Vec::new();
    for source in &sources {
        let id = source.operation.operation_id.as_deref().unwrap_or_default();
        let given = overlay.operations.get(id).unwrap_or(&nothing);
        operations.push(operation(api, source, given, schemas, &mut sets));
    }
    for (id, given) in &overlay.operations {
        let body = given.body.as_ref().and_then(|body| body.json.as_ref());
        for ty in [&given.result, &given.operation_result].into_iter().flatten().chain(body) {
            if schemas.parse(ty).is_none() {
                unmatched.push(format!("operations {id} {ty}"));
            }
        }
    }
    let ids: std::collections::HashSet<&str> = operations.iter().map(|known| known.id.as_str()).collect();
    for id in overlay.operations.keys() {
        if !ids.contains(id.as_str()) {
            unmatched.push(format!("operations {id}"));
        }
    }
    name_methods(api, overlay, schemas, &mut operations);
    (operations, sets.sets)
}

fn operation<'a>(
    api: &'a OpenAPI,
    source: &Source<'a>,
    given: &OperationOverlay,
    schemas: &mut Schemas<'a>,
    sets: &mut ParameterSets,
) -> Operation {
    let Source { path, http, operation } = *source;
    let id = operation.operation_id.clone().unwrap_or_default();
    let (path, fixed_query) = path.split_once('?').unwrap_or((path, ""));
    let mut scope = Scope::with(ARGUMENT_NAMES);
    let mut parameters = Vec::new();
    let mut described = HashMap::new();
    for parameter in &operation.parameters {
        let ReferenceOr::Item(parameter) = parameter else { continue };
        let data = parameter.parameter_data_ref();
        let place = match parameter {
            openapiv3::Parameter::Query { .. } => Place::Query,
            openapiv3::Parameter::Header { .. } => Place::Header,
            openapiv3::Parameter::Path { .. } => {
                described.insert(data.name.as_str(), data.description.clone().unwrap_or_default());
                continue;
            }
            openapiv3::Parameter::Cookie { .. } => continue,
        };
        parameters.push(Parameter {
            name: String::new(),
            wire: data.name.clone(),
            place,
            ty: parameter_ty(data, given, schemas),
            description: data.description.clone().unwrap_or_default(),
        });
    }
    for (wire, extra) in &given.parameters {
        let place = match extra.place.as_deref() {
            Some("header") => Place::Header,
            Some(_) => Place::Query,
            None => continue,
        };
        if !parameters.iter().any(|known| known.wire == *wire) {
            parameters.push(Parameter {
                name: String::new(),
                wire: wire.clone(),
                place,
                ty: given_ty(extra.kind.as_deref()).unwrap_or(ParameterTy::Text),
                description: extra.description.clone(),
            });
        }
    }
    let arguments: Vec<Argument> = path_parameters(path)
        .map(|wire| Argument {
            name: scope.claim(&snake(wire)),
            description: match described.get(wire) {
                Some(text) if !text.is_empty() => text.clone(),
                _ => path_parameter_description(path, wire),
            },
        })
        .collect();
    let bodies = bodies(operation, http, given, schemas, &mut scope, &mut parameters);
    let (parameters, parameter_descriptions) = sets.of(parameters, &id);
    let answer = answer(api, operation, given, schemas, &id);
    Operation {
        http,
        path: path.to_owned(),
        fixed_query: fixed_query.to_owned(),
        summary: operation.summary.clone().unwrap_or_default(),
        description: operation.description.clone().unwrap_or_default(),
        deprecated: operation.deprecated,
        extension: given.extension.clone(),
        arguments,
        parameters,
        parameter_descriptions,
        methods: bodies.into_iter().map(|body| Method { name: String::new(), body }).collect(),
        answer: answer.kind,
        result: answer.ty,
        in_operation: answer.in_operation,
        background: answer.background,
        id,
    }
}

/// What a parameter of the path is, from the part before it: `/instances/{name}` is an instance's.
fn path_parameter_description(path: &str, wire: &str) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    let wanted = format!("{{{wire}}}");
    let before = parts.iter().position(|part| *part == wanted).and_then(|index| parts.get(index - 1));
    let words = snake(wire).replace('_', " ");
    match before {
        Some(before) if !before.is_empty() && !before.starts_with('{') => {
            let thing = singular(&before.replace('-', " "));
            let article = if thing.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
            let words = words.strip_prefix(&format!("{thing} ")).unwrap_or(&words).to_owned();
            if words == thing {
                format!("The name of {article} {thing}.")
            } else {
                format!("The {words} of {article} {thing}.")
            }
        }
        _ => format!("The {words} in the path."),
    }
}

fn parameter_ty<'a>(
    data: &'a openapiv3::ParameterData,
    given: &OperationOverlay,
    schemas: &mut Schemas<'a>,
) -> ParameterTy {
    let given = given.parameters.get(&data.name).and_then(|given| given_ty(given.kind.as_deref()));
    if let Some(given) = given {
        return given;
    }
    let openapiv3::ParameterSchemaOrContent::Schema(schema) = &data.format else {
        return ParameterTy::Text;
    };
    match schemas.ty(View::of(schema), &camel(&data.name)) {
        Ty::Boolean => ParameterTy::Boolean,
        Ty::Integer(name) => ParameterTy::Integer(name),
        Ty::List(_) => ParameterTy::List,
        Ty::Map(_) => ParameterTy::Map,
        _ => ParameterTy::Text,
    }
}

/// A parameter's type as the overlay writes it.
fn given_ty(kind: Option<&str>) -> Option<ParameterTy> {
    Some(match kind? {
        "boolean" => ParameterTy::Boolean,
        "integer" => ParameterTy::Integer("i64"),
        "octal" => ParameterTy::Octal,
        _ => ParameterTy::Text,
    })
}

/// What the methods of an operation send: one entry each.
fn bodies<'a>(
    operation: &'a openapiv3::Operation,
    http: &str,
    given: &OperationOverlay,
    schemas: &mut Schemas<'a>,
    arguments: &mut Scope,
    parameters: &mut Vec<Parameter>,
) -> Vec<Option<Body>> {
    let (mut json, mut raw, mut description) = (None, false, String::new());
    if let Some(ReferenceOr::Item(body)) = &operation.request_body {
        description = body.description.clone().unwrap_or_default();
        for (_, media) in &body.content {
            match &media.schema {
                Some(ReferenceOr::Item(schema)) if is_binary(schema) => raw = true,
                Some(schema) => {
                    let name = camel(operation.operation_id.as_deref().unwrap_or("Body"));
                    json = Some(schemas.ty(View::of(schema), &format!("{name}Body")));
                }
                None => raw = true,
            }
        }
    }
    let mut optional = false;
    if let Some(given) = &given.body {
        if let Some(ty) = given.json.as_deref().and_then(|text| schemas.parse(text)) {
            json = Some(ty);
        }
        raw |= given.raw;
        optional = given.optional;
    }
    if http == "PATCH" {
        json = json.map(|ty| schemas.patch(&ty).unwrap_or(ty));
    }
    if description.is_empty() {
        description = "What is sent.".to_owned();
    }
    if let (true, Some(ty)) = (optional, json.clone()) {
        parameters.push(Parameter {
            name: String::new(),
            wire: "body".to_owned(),
            place: Place::Body,
            ty: ParameterTy::Json(ty),
            description,
        });
        return vec![None];
    }
    let name = arguments.claim("body");
    let body = |json| Some(Body { name: name.clone(), description: description.clone(), json });
    match (json, raw) {
        (None, false) => vec![None],
        (None, true) => vec![body(None)],
        (Some(ty), false) => vec![body(Some(ty))],
        (Some(ty), true) => vec![body(Some(ty)), body(None)],
    }
}

struct AnswerModel {
    kind: Answer,
    ty: Ty,
    in_operation: bool,
    background: bool,
}

fn answer<'a>(
    api: &'a OpenAPI,
    operation: &'a openapiv3::Operation,
    given: &OperationOverlay,
    schemas: &mut Schemas<'a>,
    id: &str,
) -> AnswerModel {
    let mut kind = Answer::Json;
    let mut ty = Ty::Nothing;
    let mut background = false;
    for (status, response) in &operation.responses.responses {
        let StatusCode::Code(status) = status else { continue };
        if *status >= 400 {
            continue;
        }
        background |= *status == 202;
        let Some(response) = resolved(api, response) else { continue };
        let (found_kind, found) = declared_answer(*status, response, schemas, id);
        if found != Ty::Nothing || found_kind != Answer::Json {
            (kind, ty) = (found_kind, found);
        }
    }
    if let Some(given) = given.answer {
        kind = given;
    }
    if let Some(given) = given.result.as_deref().and_then(|text| schemas.parse(text)) {
        ty = given;
    }
    if kind == Answer::Text {
        ty = Ty::Text;
    }
    let metadata = given.operation_result.as_deref().and_then(|text| schemas.parse(text));
    let in_operation = metadata.is_some();
    background |= in_operation;
    AnswerModel { kind, ty: metadata.unwrap_or(ty), in_operation, background }
}

/// The response that is meant; the usual ones are written once and referred to.
fn resolved<'a>(api: &'a OpenAPI, response: &'a ReferenceOr<Response>) -> Option<&'a Response> {
    match response {
        ReferenceOr::Item(response) => Some(response),
        ReferenceOr::Reference { reference } => {
            let name = reference.rsplit('/').next()?;
            api.components.as_ref()?.responses.get(name)?.as_item()
        }
    }
}

/// What a description says that an answer is.
fn declared_answer<'a>(
    status: u16,
    response: &'a Response,
    schemas: &mut Schemas<'a>,
    id: &str,
) -> (Answer, Ty) {
    if status == 101 {
        return (Answer::Upgrade, Ty::Nothing);
    }
    let schema = response.content.values().find_map(|media| media.schema.as_ref());
    let Some(schema) = schema else {
        let is_bytes = |kind: &String| kind.contains("octet-stream") || kind.contains("multipart");
        let kind = if response.content.keys().any(is_bytes) { Answer::Raw } else { Answer::Json };
        return (kind, Ty::Nothing);
    };
    let name = format!("{}Answer", camel(id));
    let view = View::of(schema);
    if let Some(metadata) = schemas.metadata_of_envelope(view) {
        // A background operation is followed; that it is one is no value.
        let Some(metadata) = metadata else { return (Answer::Json, Ty::Nothing) };
        return (Answer::Json, schemas.ty(metadata, &name));
    }
    match schemas.ty(view, &name) {
        Ty::Text => (Answer::Text, Ty::Text),
        ty => (Answer::Json, ty),
    }
}

/// Names all methods: first those that the overlay names, so that the rule cannot take their names.
fn name_methods(api: &OpenAPI, overlay: &Overlay, schemas: &Schemas<'_>, operations: &mut [Operation]) {
    let mut scope = Scope::with(CLIENT_NAMES);
    for by_rule in [false, true] {
        for operation in operations.iter_mut() {
            let given = overlay.operations.get(&operation.id);
            let method = given.and_then(|given| given.method.as_deref());
            if by_rule == method.is_some() {
                continue;
            }
            let wanted = method.map_or_else(|| name_by_rule(api, schemas, operation), snake);
            let raw = given.and_then(|given| given.raw_method.as_deref());
            let raw = raw.map_or_else(|| format!("{wanted}_raw"), snake);
            let mut names = [wanted, raw].into_iter();
            for method in &mut operation.methods {
                method.name = names.next().map(|name| scope.claim(&name)).unwrap_or_default();
            }
        }
    }
}

fn name_by_rule(api: &OpenAPI, schemas: &Schemas<'_>, operation: &Operation) -> String {
    let deeper = format!("{}/{{", operation.path);
    let has_items = api.paths.paths.keys().any(|path| path.starts_with(&deeper));
    let body = operation.methods.first().and_then(|method| method.body.as_ref()?.json.as_ref());
    snake(&method_name(&Subject {
        id: &operation.id,
        http: operation.http,
        path: &operation.path,
        has_items,
        can_migrate: body.is_some_and(|ty| schemas.has_field(ty, "migration")),
    }))
}

/// The sets of parameters that operations have in common.
#[derive(Default)]
struct ParameterSets {
    sets: Vec<ParameterSet>,
    scope: Scope,
}

impl ParameterSets {
    /// The set of these parameters, and what is said of each here, in the order of the set.
    fn of(&mut self, mut parameters: Vec<Parameter>, id: &str) -> (Option<usize>, Vec<String>) {
        parameters.sort_by(|one, other| (one.place, &one.wire).cmp(&(other.place, &other.wire)));
        let descriptions = parameters.iter().map(|known| known.description.clone()).collect();
        if parameters.is_empty() {
            return (None, descriptions);
        }
        let same = |set: &ParameterSet| {
            set.parameters.len() == parameters.len()
                && set.parameters.iter().zip(&parameters).all(|(one, other)| {
                    one.place == other.place && one.wire == other.wire && one.ty == other.ty
                })
        };
        if let Some(index) = self.sets.iter().position(same) {
            return (Some(index), descriptions);
        }
        let mut scope = Scope::with(CALL_NAMES);
        for parameter in &mut parameters {
            parameter.name = scope.claim(&snake(short(parameter)));
        }
        let name = match parameters.len() {
            1..=4 => parameters.iter().map(|known| camel(&known.name)).collect(),
            _ => format!("{}Parameters", camel(id)),
        };
        let name = self.scope.claim(&name);
        self.sets.push(ParameterSet { name, parameters });
        (Some(self.sets.len() - 1), descriptions)
    }
}

/// The name of a parameter without what all headers of the server start with.
fn short(parameter: &Parameter) -> &str {
    let wire = parameter.wire.as_str();
    match parameter.place {
        Place::Header => {
            ["X-LXD-", "X-Incus-"].iter().find_map(|prefix| wire.strip_prefix(prefix)).unwrap_or(wire)
        }
        Place::Query | Place::Body => wire,
    }
}
