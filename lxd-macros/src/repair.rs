//! The faults of published API descriptions, each mended by one named repair before anything else
//! looks at the file. What a description does not say at all is left to the overlay.
//!
//! Repairs change the tree that was read and never fail: what a repair does not know how to read,
//! it leaves to the lowering, which complains with a place.

use serde_yaml::{Mapping, Value};

/// A fault and what mends it.
#[allow(dead_code, reason = "what only documents a repair is read by its test")]
pub(crate) struct Repair {
    /// Its name, as tests and documentation call it.
    pub(crate) name: &'static str,
    /// What is wrong with the file without it.
    pub(crate) fault: &'static str,
    /// Which published files need it, where the vendored one does not.
    pub(crate) elsewhere: Option<&'static str>,
    apply: fn(&mut Value, &mut Repairs),
}

/// All repairs, in the order in which they are applied.
pub(crate) const REPAIRS: &[Repair] = &[
    Repair {
        name: "operation-id",
        fault: "an operation has no operationId, or one that another has, too: it gets one made from \
                its path",
        elsewhere: None,
        apply: operation_id,
    },
    Repair {
        name: "bool",
        fault: "a parameter's type is spelled `bool`, which is no type: `boolean` is meant",
        elsewhere: None,
        apply: spelled_bool,
    },
    Repair {
        name: "header-schema",
        fault: "a header parameter has its type inside `schema`, where only a body may have it",
        elsewhere: None,
        apply: header_schema,
    },
    Repair { name: "raw-body", fault: "a body has no schema: it is bytes", elsewhere: None, apply: raw_body },
    Repair {
        name: "json-body",
        fault: "a body that is an object is declared as bytes: it is JSON",
        elsewhere: None,
        apply: json_body,
    },
    Repair {
        name: "path-parameter-twice",
        fault: "a parameter is declared more than once",
        elsewhere: Some("some releases of Incus"),
        apply: parameter_twice,
    },
    Repair {
        name: "path-parameter",
        fault: "a parameter of the path is not declared",
        elsewhere: None,
        apply: path_parameter,
    },
    Repair {
        name: "definition-as-response",
        fault: "a response refers to a definition in place of a response: it is the metadata of the \
                usual envelope",
        elsewhere: Some("Incus 7.3"),
        apply: definition_as_response,
    },
    Repair {
        name: "no-success",
        fault: "an operation lists no answer for success: it is taken to have an empty one",
        elsewhere: None,
        apply: no_success,
    },
    Repair {
        name: "dangling-reference",
        fault: "a reference leads nowhere: the value has no type",
        elsewhere: None,
        apply: dangling_reference,
    },
];

/// What the repairs did to a file.
#[derive(Debug, Default)]
pub(crate) struct Repairs {
    /// How often each was applied, by its name.
    pub(crate) applied: indexmap::IndexMap<&'static str, usize>,
    /// The names that references meant and the file lacks.
    pub(crate) dangling: Vec<String>,
    current: &'static str,
}

impl Repairs {
    fn count(&mut self) {
        *self.applied.entry(self.current).or_default() += 1;
    }
}

/// Applies all repairs to a description.
pub(crate) fn repair(root: &mut Value) -> Repairs {
    let mut repairs = Repairs::default();
    for repair in REPAIRS {
        repairs.current = repair.name;
        (repair.apply)(root, &mut repairs);
    }
    repairs.dangling.sort();
    repairs.dangling.dedup();
    repairs
}

const METHODS: [&str; 7] = ["get", "head", "post", "put", "patch", "delete", "options"];

fn is_swagger(root: &Value) -> bool {
    root.get("swagger").is_some()
}

/// Calls `visit` with the path, the method and the value of each operation.
fn operations(root: &mut Value, mut visit: impl FnMut(&str, &str, &mut Mapping)) {
    let Some(paths) = root.get_mut("paths").and_then(Value::as_mapping_mut) else { return };
    for (path, item) in paths {
        let (Some(path), Some(item)) = (path.as_str(), item.as_mapping_mut()) else { continue };
        for (method, operation) in item {
            let (Some(method), Some(operation)) = (method.as_str(), operation.as_mapping_mut()) else {
                continue;
            };
            if METHODS.contains(&method) {
                visit(path, method, operation);
            }
        }
    }
}

/// Calls `visit` with each parameter of each operation.
fn parameters(root: &mut Value, mut visit: impl FnMut(&mut Mapping)) {
    operations(root, |_, _, operation| {
        let parameters = operation.get_mut("parameters").and_then(Value::as_sequence_mut);
        for parameter in parameters.into_iter().flatten() {
            if let Some(parameter) = parameter.as_mapping_mut() {
                visit(parameter);
            }
        }
    });
}

fn text<'a>(mapping: &'a Mapping, key: &str) -> Option<&'a str> {
    mapping.get(key).and_then(Value::as_str)
}

fn is(mapping: &Mapping, key: &str, value: &str) -> bool {
    text(mapping, key) == Some(value)
}

fn operation_id(root: &mut Value, repairs: &mut Repairs) {
    // The longest path keeps an id that several have: the others are shorter ways to the same.
    let mut keepers: std::collections::HashMap<String, String> = std::collections::HashMap::new();
    operations(root, |path, _, operation| {
        if let Some(id) = text(operation, "operationId") {
            let keeper = keepers.entry(id.to_owned()).or_default();
            if path.len() > keeper.len() {
                path.clone_into(keeper);
            }
        }
    });
    let mut seen: std::collections::HashSet<String> = keepers.keys().cloned().collect();
    operations(root, |path, method, operation| {
        let keeps = match operation.get("operationId") {
            Some(Value::String(id)) => keepers.get(id).is_some_and(|keeper| keeper == path),
            Some(_) => true,
            None => false,
        };
        if keeps {
            return;
        }
        let mut id = id_of_path(path, method);
        while !seen.insert(id.clone()) {
            id.push('_');
        }
        operation.insert("operationId".into(), id.into());
        repairs.count();
    });
}

/// The id that an operation would have by the habits of the file: the fixed parts of its path,
/// singular where one of several is meant, then the method and the variant.
fn id_of_path(path: &str, method: &str) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != "1.0").collect();
    let mut words = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        if segment.starts_with('{') {
            continue;
        }
        let one = segments.get(index + 1).is_some_and(|next| next.starts_with('{'));
        let word = segment.replace(['-', '.'], "_");
        words.push(if one { crate::model::singular(&word) } else { word });
    }
    if words.is_empty() {
        words.push("server".to_owned());
    }
    words.push(method.to_owned());
    for variant in query.split('&').filter(|variant| !variant.is_empty()) {
        words.push(match variant {
            "public" => "untrusted".to_owned(),
            other => other.replace('=', ""),
        });
    }
    words.join("_")
}

fn spelled_bool(root: &mut Value, repairs: &mut Repairs) {
    parameters(root, |parameter| {
        if is(parameter, "type", "bool") {
            parameter.insert("type".into(), "boolean".into());
            repairs.count();
        }
    });
}

fn header_schema(root: &mut Value, repairs: &mut Repairs) {
    if !is_swagger(root) {
        return;
    }
    parameters(root, |parameter| {
        if !is(parameter, "in", "header") {
            return;
        }
        if let Some(Value::Mapping(schema)) = parameter.remove("schema") {
            parameter.extend(schema);
            repairs.count();
        }
    });
}

fn raw_body(root: &mut Value, repairs: &mut Repairs) {
    parameters(root, |parameter| {
        if is(parameter, "in", "body") && !parameter.contains_key("schema") {
            let binary =
                Mapping::from_iter([("type".into(), "string".into()), ("format".into(), "binary".into())]);
            parameter.insert("schema".into(), binary.into());
            repairs.count();
        }
    });
}

fn json_body(root: &mut Value, repairs: &mut Repairs) {
    operations(root, |_, _, operation| {
        let is_object = |parameter: &Value| {
            parameter.as_mapping().is_some_and(|parameter| {
                is(parameter, "in", "body")
                    && parameter.get("schema").is_some_and(|schema| schema.get("$ref").is_some())
            })
        };
        let parameters = operation.get("parameters").and_then(Value::as_sequence);
        if !parameters.is_some_and(|parameters| parameters.iter().any(is_object)) {
            return;
        }
        let Some(consumes) = operation.get_mut("consumes").and_then(Value::as_sequence_mut) else {
            return;
        };
        if !consumes.iter().any(|kind| kind.as_str() == Some("application/json")) {
            *consumes = vec!["application/json".into()];
            repairs.count();
        }
    });
}

fn parameter_twice(root: &mut Value, repairs: &mut Repairs) {
    operations(root, |_, _, operation| {
        let Some(parameters) = operation.get_mut("parameters").and_then(Value::as_sequence_mut) else {
            return;
        };
        let mut seen = std::collections::HashSet::new();
        parameters.retain(|parameter| {
            let Some(parameter) = parameter.as_mapping() else { return true };
            let (Some(place), Some(name)) = (text(parameter, "in"), text(parameter, "name")) else {
                return true;
            };
            let first = seen.insert((place.to_owned(), name.to_owned()));
            if !first {
                repairs.count();
            }
            first
        });
    });
}

fn path_parameter(root: &mut Value, repairs: &mut Repairs) {
    let swagger = is_swagger(root);
    operations(root, |path, _, operation| {
        for name in crate::model::path_parameters(path) {
            let declared = operation.get("parameters").and_then(Value::as_sequence).is_some_and(|list| {
                list.iter()
                    .filter_map(Value::as_mapping)
                    .any(|parameter| is(parameter, "in", "path") && is(parameter, "name", name))
            });
            if declared {
                continue;
            }
            let mut parameter = Mapping::from_iter([
                ("in".into(), "path".into()),
                ("name".into(), name.into()),
                ("required".into(), true.into()),
            ]);
            if swagger {
                parameter.insert("type".into(), "string".into());
            } else {
                let schema = Mapping::from_iter([("type".into(), "string".into())]);
                parameter.insert("schema".into(), schema.into());
            }
            let list = operation.entry("parameters".into()).or_insert_with(|| Value::Sequence(Vec::new()));
            if let Some(list) = list.as_sequence_mut() {
                list.push(parameter.into());
                repairs.count();
            }
        }
    });
}

/// Calls `visit` with the status and the value of each response of each operation.
fn responses(root: &mut Value, mut visit: impl FnMut(&mut Mapping)) {
    operations(root, |_, _, operation| {
        let responses = operation.get_mut("responses").and_then(Value::as_mapping_mut);
        for (_, response) in responses.into_iter().flatten() {
            if let Some(response) = response.as_mapping_mut() {
                visit(response);
            }
        }
    });
}

fn definition_as_response(root: &mut Value, repairs: &mut Repairs) {
    responses(root, |response| {
        let Some(reference) = text(response, "$ref") else { return };
        if !reference.starts_with("#/definitions/") {
            return;
        }
        let metadata = Mapping::from_iter([("$ref".into(), reference.into())]);
        let mut properties = Mapping::from_iter([("metadata".into(), metadata.into())]);
        for (name, kind) in [("type", "string"), ("status", "string"), ("status_code", "integer")] {
            let schema = Mapping::from_iter([("type".into(), kind.into())]);
            properties.insert(name.into(), schema.into());
        }
        let schema =
            Mapping::from_iter([("type".into(), "object".into()), ("properties".into(), properties.into())]);
        *response = Mapping::from_iter([("description".into(), "".into()), ("schema".into(), schema.into())]);
        repairs.count();
    });
}

fn no_success(root: &mut Value, repairs: &mut Repairs) {
    operations(root, |_, _, operation| {
        let Some(responses) = operation.get_mut("responses").and_then(Value::as_mapping_mut) else {
            return;
        };
        let is_success = |status: &Value| match status {
            Value::String(text) => text.as_str() < "400" || text == "default",
            Value::Number(number) => number.as_u64().is_some_and(|status| status < 400),
            _ => false,
        };
        if !responses.keys().any(is_success) {
            let empty = Mapping::from_iter([("description".into(), "".into())]);
            responses.insert("200".into(), empty.into());
            repairs.count();
        }
    });
}

fn dangling_reference(root: &mut Value, repairs: &mut Repairs) {
    let section: &[&str] = if is_swagger(root) { &["definitions"] } else { &["components", "schemas"] };
    let mut known = Some(&*root);
    for key in section {
        known = known.and_then(|value| value.get(*key));
    }
    let known: std::collections::HashSet<String> = known
        .and_then(Value::as_mapping)
        .into_iter()
        .flat_map(Mapping::keys)
        .filter_map(|key| key.as_str().map(str::to_owned))
        .collect();
    let prefix = format!("#/{}/", section.join("/"));
    fn visit(
        value: &mut Value,
        prefix: &str,
        known: &std::collections::HashSet<String>,
        repairs: &mut Repairs,
    ) {
        match value {
            Value::Sequence(items) => {
                items.iter_mut().for_each(|item| visit(item, prefix, known, repairs));
            }
            Value::Mapping(mapping) => {
                let name = text(mapping, "$ref").and_then(|reference| reference.strip_prefix(prefix));
                if let Some(name) = name.filter(|name| !known.contains(*name)) {
                    repairs.dangling.push(name.to_owned());
                    mapping.remove("$ref");
                    repairs.count();
                }
                mapping.values_mut().for_each(|value| visit(value, prefix, known, repairs));
            }
            _ => {}
        }
    }
    visit(root, &prefix, &known, repairs);
}

#[cfg(test)]
mod tests {
    use super::{REPAIRS, id_of_path, repair};

    fn repaired(text: &str) -> (serde_yaml::Value, Vec<&'static str>) {
        let mut root = serde_yaml::from_str(text).unwrap();
        let repairs = repair(&mut root);
        (root, repairs.applied.keys().copied().collect())
    }

    #[test]
    fn the_vendored_description_needs_exactly_the_repairs_that_say_so() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../spec/rest-api.yaml");
        let mut root = serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let repairs = repair(&mut root);
        for one in REPAIRS {
            let applied = repairs.applied.get(one.name).copied().unwrap_or_default();
            assert_eq!(
                applied > 0,
                one.elsewhere.is_none(),
                "repair {} ({}) was applied {applied} times: if the description no longer needs it, \
                 set `elsewhere` or remove it",
                one.name,
                one.fault,
            );
        }
        assert_eq!(
            repairs.dangling,
            ["IdentitiesPostTLS", "PlacementGroup", "PlacementGroupPut", "PlacementGroupsPost"]
        );
    }

    #[test]
    fn ids_of_paths_follow_the_habits_of_the_file() {
        assert_eq!(id_of_path("/1.0/instances/{name}/logs", "get"), "instance_logs_get");
        assert_eq!(id_of_path("/1.0/storage-volumes?recursion=1", "get"), "storage_volumes_get_recursion1");
        assert_eq!(id_of_path("/1.0/images?public&recursion=1", "get"), "images_get_untrusted_recursion1");
        assert_eq!(id_of_path("/1.0", "patch"), "server_patch");
    }

    #[test]
    fn a_parameter_that_is_declared_twice_is_kept_once() {
        let (root, applied) = repaired(
            "swagger: '2.0'\npaths: {'/1.0/x/{name}': {get: {operationId: x_get, responses: {'200': {}}, parameters: [
               {in: path, name: name, type: string}, {in: path, name: name, type: string}]}}}",
        );
        assert_eq!(applied, ["path-parameter-twice"]);
        let parameters = &root["paths"]["/1.0/x/{name}"]["get"]["parameters"];
        assert_eq!(parameters.as_sequence().unwrap().len(), 1);
    }

    #[test]
    fn a_response_that_refers_to_a_definition_gets_the_envelope() {
        let (root, applied) = repaired(
            "swagger: '2.0'\ndefinitions: {Key: {type: object}}\npaths: {/1.0/keys: {post: {operationId: keys_post, \
               responses: {'201': {$ref: '#/definitions/Key'}}}}}",
        );
        assert_eq!(applied, ["definition-as-response"]);
        let schema = &root["paths"]["/1.0/keys"]["post"]["responses"]["201"]["schema"];
        assert_eq!(schema["properties"]["metadata"]["$ref"], "#/definitions/Key");
    }
}
