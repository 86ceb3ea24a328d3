//! A state that the mock keeps by itself: projects, profiles, images, instances and their snapshots, changed by calls
//! and refused as LXD 5.0 does it. It is JSON throughout, so that it is none of its business which fields a
//! description has. How answers are sent is left to `serving`.

mod images;
mod instances;
mod profiles;
mod projects;
mod snapshots;

use std::collections::BTreeMap;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{ETAG, IF_MATCH, LOCATION};
use http::{Response, StatusCode};
use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value, json};

use self::images::Image;
use self::instances::Instance;
use super::expectation::told;
use super::serving::{begun, ended, refusal, response, sync};
use super::{Came, State};
use crate::body::Body;

type Object = Map<String, Value>;

/// Objects by their project and their name.
type Objects<T> = BTreeMap<(String, String), T>;

/// All that there is.
pub(super) struct World {
    projects: BTreeMap<String, Object>,
    profiles: Objects<Object>,
    images: Objects<Image>,
    aliases: Objects<Object>,
    instances: Objects<Instance>,
    /// What happened and is still to be told: project, action, and what it happened to.
    happened: Vec<(String, &'static str, String)>,
}

/// What is answered.
enum Reply {
    /// A value.
    Value(Value),
    /// An object, of which this part is what the mark of its state is made of.
    Marked(Value, Value),
    /// That something is there now, at this path.
    Created(String),
    Bytes(Bytes),
    /// An operation that has ended: its description, what it is about, what it tells, and why it failed.
    Ended {
        description: &'static str,
        resources: Value,
        metadata: Value,
        error: Option<String>,
    },
}

/// A refusal: the status and the words of the server.
struct Refused(u16, String);

type Answer = Result<Reply, Refused>;

fn refused<T>(status: u16, words: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(status, words.into()))
}

/// What is asked.
struct Asked<'a> {
    method: &'a str,
    /// Behind the version.
    path: &'a [&'a str],
    project: &'a str,
    came: &'a Came,
    body: Object,
}

impl Asked<'_> {
    /// How much of the objects in a list is wanted.
    fn recursion(&self) -> u8 {
        self.came.query.get("recursion").and_then(|level| level.parse().ok()).unwrap_or_default()
    }

    fn flag(&self, name: &str) -> bool {
        self.came.query.get(name).is_some_and(|value| value == "true" || value == "1")
    }

    fn text(&self, name: &str) -> &str {
        self.body.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// Makes sure that an object is still as the client knows it.
    fn matches(&self, marked: &Value) -> Result<(), Refused> {
        let (wanted, mark) = (self.came.headers.get(IF_MATCH), mark(marked));
        match wanted.and_then(|wanted| wanted.to_str().ok()) {
            Some(wanted) if wanted.trim_matches('"') != mark => {
                refused(412, format!("ETag doesn't match: {mark} vs {}", wanted.trim_matches('"')))
            }
            _ => Ok(()),
        }
    }
}

/// The mark of a state.
fn mark(of: &Value) -> String {
    hex(of.to_string().as_bytes())
}

/// The SHA-256 of bytes, as LXD writes it.
fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(digest(&SHA256, bytes).as_ref())
}

fn now() -> Value {
    json!(Timestamp::now().to_string())
}

/// A time that is not set.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The same in the fields where the server has it from its database.
const EPOCH: &str = "1970-01-01T00:00:00Z";

fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        _ => Object::new(),
    }
}

/// A URL of an object: with its project where that is not the default.
fn url(path: &str, project: &str) -> String {
    match project {
        "default" => format!("/1.0/{path}"),
        project => format!("/1.0/{path}?project={project}"),
    }
}

/// A map of texts as it is after a change by PATCH: null removes an entry.
fn merged(known: &Value, change: &Value) -> Value {
    let mut merged = known.as_object().cloned().unwrap_or_default();
    for (key, value) in change.as_object().into_iter().flatten() {
        match value {
            Value::Null => drop(merged.remove(key)),
            value => drop(merged.insert(key.clone(), value.clone())),
        }
    }
    Value::Object(merged)
}

/// What the keys of a configuration begin with.
const KEYS: [&str; 15] = [
    "agent.",
    "boot.",
    "cloud-init.",
    "cluster.",
    "environment.",
    "image.",
    "limits.",
    "linux.",
    "migration.",
    "nvidia.",
    "raw.",
    "security.",
    "snapshots.",
    "user.",
    "volatile.",
];

/// The first key of a configuration of instances that there is not.
fn unknown_key(config: Option<&Value>) -> Option<String> {
    let keys = config.and_then(Value::as_object).into_iter().flat_map(Map::keys);
    let unknown = keys.into_iter().find(|key| !KEYS.iter().any(|known| key.starts_with(known)))?;
    Some(format!("Unknown configuration key: {unknown}"))
}

impl World {
    /// A server as it is after its installation, with a disk of the pool `default` in the default profile.
    pub(super) fn new() -> Self {
        let mut world = Self {
            projects: BTreeMap::new(),
            profiles: BTreeMap::new(),
            images: BTreeMap::new(),
            aliases: BTreeMap::new(),
            instances: BTreeMap::new(),
            happened: Vec::new(),
        };
        world.projects.insert("default".to_owned(), projects::first());
        world.profiles.insert(("default".to_owned(), "default".to_owned()), profiles::first());
        world
    }

    /// Where a project has things of a kind: in itself or in the default one.
    fn home(&self, project: &str, feature: &str) -> String {
        let config = self.projects.get(project).and_then(|project| project.get("config"));
        let has_own = config.and_then(|config| config.get(feature)).is_some_and(|value| value == "true");
        if has_own { project.to_owned() } else { "default".to_owned() }
    }

    fn tell(&mut self, project: &str, action: &'static str, path: &str) {
        self.happened.push((project.to_owned(), action, url(path, project)));
    }

    /// What is answered to a request; nothing where it asks for something of which there is no state.
    fn ask(&mut self, came: &Came) -> Option<Answer> {
        // What a filter means is known to a real server alone.
        if came.query.contains_key("filter") {
            return None;
        }
        let path: Vec<_> = came.path.iter().map(String::as_str).collect();
        let (version, path) = path.split_first()?;
        if *version != "1.0" {
            return None;
        }
        let project = came.query.get("project").map_or("default", String::as_str);
        let body = object(serde_json::from_slice(&came.body).unwrap_or_default());
        let asked = Asked { method: &came.method, path, project, came, body };
        match *path.first()? {
            "projects" => self.projects(&asked),
            "profiles" => self.profiles(&asked),
            "images" => self.images(&asked),
            "instances" => self.instances(&asked),
            _ => None,
        }
    }
}

/// Answers a request by the state, where there is one and it knows.
pub(super) fn answer(state: &mut State, came: &Came) -> Option<Response<Body>> {
    let mut world = state.world.take()?;
    let answer = world.ask(came);
    let happened = std::mem::take(&mut world.happened);
    state.world = Some(world);
    let response = match answer? {
        Ok(reply) => replied(state, came, reply),
        Err(Refused(status, words)) => refusal(status, &words),
    };
    for (project, action, source) in happened {
        let event = json!({"action": action, "source": source, "project": project});
        state.announce("lifecycle", Some(&project), &event);
    }
    Some(response)
}

fn replied(state: &mut State, came: &Came, reply: Reply) -> Response<Body> {
    match reply {
        Reply::Value(value) => sync(&value),
        Reply::Marked(value, marked) => {
            let mut response = sync(&value);
            let mark = HeaderValue::from_str(&format!("\"{}\"", mark(&marked)));
            response.headers_mut().extend(mark.ok().map(|mark| (ETAG, mark)));
            response
        }
        Reply::Created(path) => {
            let mut response = sync(&Value::Null);
            *response.status_mut() = StatusCode::CREATED;
            response.headers_mut().extend(HeaderValue::from_str(&path).ok().map(|path| (LOCATION, path)));
            response
        }
        Reply::Bytes(bytes) => response(200, "application/octet-stream", Body::from(bytes)),
        Reply::Ended { description, resources, metadata, error } => {
            let id = state.next_operation();
            let mut running = told(&id, 103, "", Value::Null);
            running["description"] = json!(description);
            running["resources"] = resources;
            let response = begun(state, came, &id, running);
            let status = if error.is_some() { 400 } else { 200 };
            ended(state, came, &id, status, &error.unwrap_or_default(), metadata);
            response
        }
    }
}
