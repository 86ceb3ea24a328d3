//! Instances: made, changed, started and stopped. Nothing runs in them.

use serde_json::{Value, json};

use super::{
    Answer, Asked, EPOCH, Object, Refused, Reply, World, hex, merged, now, object, refused, unknown_key, url,
};

/// Of all instances and images.
pub(super) const ARCHITECTURE: &str = "x86_64";

/// An instance, and its snapshots in the order in which they were made.
#[derive(Clone)]
pub(super) struct Instance {
    pub(super) about: Object,
    pub(super) snapshots: Vec<Object>,
}

impl Instance {
    pub(super) fn kind(&self) -> &Value {
        &self.about["type"]
    }

    pub(super) fn is(&self, kind: &str) -> bool {
        self.kind() == kind
    }

    fn status(&self) -> &str {
        self.about["status"].as_str().unwrap_or_default()
    }

    pub(super) fn is_running(&self) -> bool {
        self.status() != "Stopped"
    }

    fn set_status(&mut self, status: &str) {
        let code = match status {
            "Running" => 103,
            "Frozen" => 110,
            _ => 102,
        };
        self.about.insert("status".to_owned(), json!(status));
        self.about.insert("status_code".to_owned(), json!(code));
    }

    pub(super) fn has_profile(&self, name: &str) -> bool {
        self.about["profiles"].as_array().is_some_and(|profiles| profiles.iter().any(|known| known == name))
    }

    pub(super) fn rename_profile(&mut self, name: &str, new: &str) {
        let profiles = self.about.get_mut("profiles").and_then(Value::as_array_mut);
        for profile in profiles.into_iter().flatten().filter(|known| *known == name) {
            *profile = json!(new);
        }
    }

    /// The part that can be written.
    pub(super) fn marked(&self) -> Value {
        let parts = ["architecture", "config", "devices", "ephemeral", "profiles", "description"];
        json!(parts.map(|name| self.about.get(name)))
    }

    /// How it is now.
    fn state(&self) -> Value {
        let is_running = self.is_running();
        let number = |running: u32| if is_running { running } else { 0 };
        let counters = json!({
            "bytes_received": 0, "bytes_sent": 0, "packets_received": 0, "packets_sent": 0, "errors_received": 0,
            "errors_sent": 0, "packets_dropped_outbound": 0, "packets_dropped_inbound": 0,
        });
        let network = is_running.then(|| {
            json!({"lo": {
                "addresses": [], "counters": counters, "hwaddr": "", "host_name": "", "mtu": 65536,
                "state": "down", "type": "loopback",
            }})
        });
        json!({
            "status": self.about["status"], "status_code": self.about["status_code"], "disk": {},
            "memory": {
                "usage": number(684_032), "usage_peak": number(1_257_472), "swap_usage": 0, "swap_usage_peak": 0,
            },
            "network": network, "pid": number(1000), "processes": number(2), "cpu": {"usage": number(9_000_000)},
        })
    }
}

impl World {
    pub(super) fn instances(&mut self, asked: &Asked<'_>) -> Option<Answer> {
        if !self.projects.contains_key(asked.project) && asked.method != "GET" {
            return Some(refused(404, "Failed loading project: Project not found"));
        }
        Some(match (asked.method, asked.path) {
            ("GET", ["instances"]) => {
                let in_view =
                    |(project, _): &&(String, String)| asked.flag("all-projects") || project == asked.project;
                let all = self.instances.keys().filter(in_view);
                Ok(Reply::Value(match asked.recursion() {
                    0 => {
                        all.map(|(project, name)| json!(url(&format!("instances/{name}"), project))).collect()
                    }
                    level => all.map(|key| self.instance(key, level > 1)).collect(),
                }))
            }
            ("POST", ["instances"]) => self.create_instance(asked),
            ("PUT", ["instances"]) => self.change_all(asked),
            (method, ["instances", name, rest @ ..]) => {
                let key = (asked.project.to_owned(), (*name).to_owned());
                let Some(instance) = self.instances.get(&key) else {
                    return Some(refused(404, "Instance not found"));
                };
                match (method, rest) {
                    ("GET", []) => {
                        let marked = instance.marked();
                        Ok(Reply::Marked(self.instance(&key, asked.recursion() > 0), marked))
                    }
                    ("GET", ["state"]) => Ok(Reply::Value(instance.state())),
                    ("PUT", ["state"]) => self.change_state(asked, &key),
                    ("PUT", []) => self.update_instance(asked, &key),
                    ("PATCH", []) => self.modify_instance(asked, &key),
                    ("POST", []) => self.rename_instance(asked, key),
                    ("DELETE", []) => self.delete_instance(key),
                    (_, ["snapshots", ..]) => return self.snapshots(asked, key, &rest[1..]),
                    _ => return None,
                }
            }
            _ => return None,
        })
    }

    /// A configuration or the devices of something with profiles, and what these add.
    fn expanded(&self, project: &str, about: &Object, part: &str) -> Value {
        let home = self.home(project, "features.profiles");
        let mut expanded = Object::new();
        for name in about["profiles"].as_array().into_iter().flatten() {
            let key = (home.clone(), name.as_str().unwrap_or_default().to_owned());
            let profile = self.profiles.get(&key).and_then(|profile| profile.get(part));
            expanded.extend(object(profile.cloned().unwrap_or_default()));
        }
        expanded.extend(object(about[part].clone()));
        Value::Object(expanded)
    }

    /// Something with profiles as it is read: with what these add.
    pub(super) fn with_expanded(&self, project: &str, about: &Object) -> Object {
        let mut read = about.clone();
        for part in ["config", "devices"] {
            read.insert(format!("expanded_{part}"), self.expanded(project, about, part));
        }
        read
    }

    fn instance(&self, key: &(String, String), in_full: bool) -> Value {
        let Some(instance) = self.instances.get(key) else { return Value::Null };
        let mut read = self.with_expanded(&key.0, &instance.about);
        if in_full {
            let snapshots = instance.snapshots.iter().map(|snapshot| self.with_expanded(&key.0, snapshot));
            let snapshots: Vec<_> = snapshots.collect();
            read.insert("backups".to_owned(), Value::Null);
            read.insert("state".to_owned(), instance.state());
            let snapshots = if snapshots.is_empty() { Value::Null } else { json!(snapshots) };
            read.insert("snapshots".to_owned(), snapshots);
        }
        Value::Object(read)
    }

    fn create_instance(&mut self, asked: &Asked<'_>) -> Answer {
        let source = asked.body.get("source").cloned().unwrap_or_default();
        let text = |name: &str| source[name].as_str().unwrap_or_default();
        let name = match asked.text("name") {
            "" => format!("instance-{}", self.instances.len() + 1),
            name => name.to_owned(),
        };
        let mut new = Object::new();
        let mut others = Vec::new();
        let mut snapshots = Vec::new();
        let mut error = None;
        let (mut config, mut devices) = (Object::new(), Object::new());
        let mut profiles = json!(["default"]);
        match text("type") {
            "none" => {}
            "image" => match self.image_for(asked.project, &source)? {
                Some((fingerprint, properties)) => {
                    config.insert("volatile.base_image".to_owned(), json!(fingerprint));
                    config.extend(properties.into_iter().map(|(key, value)| (format!("image.{key}"), value)));
                }
                None => error = Some("Image not provided for instance creation".to_owned()),
            },
            "copy" => {
                let from = match text("project") {
                    "" => asked.project,
                    project => project,
                };
                let (about, of_source) = self.copied(from, text("source"))?;
                let about_config = object(about["config"].clone());
                let is_own = |key: &String| key.starts_with("volatile.") && key != "volatile.base_image";
                config.extend(about_config.into_iter().filter(|(key, _)| !is_own(key)));
                devices = object(about["devices"].clone());
                new.insert("type".to_owned(), about["type"].clone());
                new.insert("description".to_owned(), about.get("description").cloned().unwrap_or(json!("")));
                profiles = json!([]);
                if source["instance_only"] != true && source["container_only"] != true {
                    snapshots = of_source;
                }
                others.push((from.to_owned(), text("source").to_owned()));
            }
            other => return refused(400, format!("Unknown source type {other}")),
        }
        check_name(&name)?;
        if let Some(wanted) = asked.body.get("profiles").filter(|profiles| profiles.is_array()) {
            profiles = wanted.clone();
        }
        self.check_profiles(asked.project, &profiles)?;
        config.extend(object(asked.body.get("config").cloned().unwrap_or_default()));
        devices.extend(object(asked.body.get("devices").cloned().unwrap_or_default()));
        let kind = match asked.text("type") {
            "" => new.remove("type").unwrap_or(json!("container")),
            kind => json!(kind),
        };
        let key = (asked.project.to_owned(), name.clone());
        config.insert("volatile.uuid".to_owned(), json!(uuid(&key, self.instances.len())));
        let description = match asked.text("description") {
            "" => new.remove("description").unwrap_or(json!("")),
            description => json!(description),
        };
        let about = object(json!({
            "architecture": ARCHITECTURE, "config": config, "devices": devices,
            "ephemeral": asked.body.get("ephemeral").cloned().unwrap_or(json!(false)), "profiles": profiles,
            "stateful": false, "description": description, "created_at": now(), "name": name,
            "status": "Stopped", "status_code": 102, "last_used_at": EPOCH, "location": "none",
            "type": kind, "project": asked.project,
        }));
        others.insert(0, key.clone());
        let resources = resources(&others, kind == "container");
        let error = error.or_else(|| self.unfit(&key, &about));
        if error.is_none() {
            self.tell(&key.0, "instance-created", &format!("instances/{name}"));
            self.instances.insert(key, Instance { about, snapshots });
        }
        Ok(ended("Creating instance", resources, error))
    }

    /// What a copy is made of: an instance with its snapshots, or one of these.
    fn copied(&self, project: &str, source: &str) -> Result<(Object, Vec<Object>), Refused> {
        let (name, snapshot) = source.split_once('/').map_or((source, None), |(one, two)| (one, Some(two)));
        let Some(instance) = self.instances.get(&(project.to_owned(), name.to_owned())) else {
            let words = "Instance not found";
            return refused(
                404,
                format!("Failed to fetch instance \"{name}\" in project \"{project}\": {words}"),
            );
        };
        let Some(wanted) = snapshot else { return Ok((instance.about.clone(), instance.snapshots.clone())) };
        let Some(at) = instance.snapshot(wanted) else {
            return Err(super::snapshots::missing(wanted, name, project));
        };
        let mut about = instance.snapshots[at].clone();
        about.insert("type".to_owned(), instance.kind().clone());
        Ok((about, Vec::new()))
    }

    fn check_profiles(&self, project: &str, profiles: &Value) -> Result<(), Refused> {
        let home = self.home(project, "features.profiles");
        for profile in profiles.as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !self.profiles.contains_key(&(home.clone(), profile.to_owned())) {
                return refused(500, format!("Requested profile \"{profile}\" doesn't exist"));
            }
        }
        Ok(())
    }

    /// Why a new instance cannot be.
    fn unfit(&self, key: &(String, String), about: &Object) -> Option<String> {
        let words = if let Some(unknown) = unknown_key(about.get("config")) {
            unknown
        } else if self.instances.contains_key(key) {
            "Add instance info to the database: This \"instances\" entry already exists".to_owned()
        } else {
            format!("Failed initialising instance: {}", self.rootless(&key.0, about)?)
        };
        Some(format!("Failed creating instance record: {words}"))
    }

    /// The refusal of an instance without a root disk.
    fn rootless(&self, project: &str, about: &Object) -> Option<&'static str> {
        let devices = self.expanded(project, about, "devices");
        let is_root = |device: &Value| device["type"] == "disk" && device["path"] == "/";
        match devices.as_object().filter(|devices| !devices.is_empty()) {
            None => Some("Failed getting root disk: No root device could be found"),
            Some(devices) if devices.values().any(is_root) => None,
            _ => Some("Invalid devices: Failed detecting root disk device: No root device could be found"),
        }
    }

    fn update_instance(&mut self, asked: &Asked<'_>, key: &(String, String)) -> Answer {
        if !asked.text("restore").is_empty() {
            return Ok(self.restore(asked.text("restore"), key));
        }
        self.matches_instance(asked, key)?;
        let given = |name: &str, default: Value| asked.body.get(name).cloned().unwrap_or(default);
        let profiles = given("profiles", json!([]));
        if self.check_profiles(asked.project, &profiles).is_err() {
            return refused(404, "Profile not found");
        }
        let mut about = self.instances[key].about.clone();
        about.insert("config".to_owned(), given("config", json!({})));
        about.insert("devices".to_owned(), given("devices", json!({})));
        about.insert("profiles".to_owned(), profiles);
        about.insert("ephemeral".to_owned(), given("ephemeral", json!(false)));
        about.insert("description".to_owned(), given("description", json!("")));
        let rootless = || self.rootless(&key.0, &about).map(str::to_owned);
        let unknown = unknown_key(about.get("config")).map(|words| format!("Invalid config: {words}"));
        let error = unknown.or_else(rootless);
        if error.is_none() {
            self.put_back(key, about);
        }
        let resources = resources(std::slice::from_ref(key), self.instances[key].is("container"));
        Ok(ended("Updating instance", resources, error))
    }

    fn modify_instance(&mut self, asked: &Asked<'_>, key: &(String, String)) -> Answer {
        self.matches_instance(asked, key)?;
        if let Some(profiles) = asked.body.get("profiles") {
            self.check_profiles(asked.project, profiles)?;
        }
        let mut about = self.instances[key].about.clone();
        for part in ["config", "devices"] {
            let change = asked.body.get(part).cloned().unwrap_or_default();
            about.insert(part.to_owned(), merged(&about[part], &change));
        }
        for part in ["profiles", "ephemeral"] {
            if let Some(value) = asked.body.get(part) {
                about.insert(part.to_owned(), value.clone());
            }
        }
        // By a fault of its own, the server takes a description that is not given for an empty one.
        about.insert("description".to_owned(), json!(asked.text("description")));
        if let Some(words) = unknown_key(about.get("config")) {
            return refused(500, format!("Invalid config: {words}"));
        }
        self.put_back(key, about);
        Ok(Reply::Value(json!({})))
    }

    fn matches_instance(&self, asked: &Asked<'_>, key: &(String, String)) -> Result<(), Refused> {
        asked.matches(&self.instances[key].marked())
    }

    fn put_back(&mut self, key: &(String, String), about: Object) {
        if let Some(instance) = self.instances.get_mut(key) {
            instance.about = about;
        }
        self.tell(&key.0, "instance-updated", &format!("instances/{}", key.1));
    }

    fn rename_instance(&mut self, asked: &Asked<'_>, key: (String, String)) -> Answer {
        // To move it elsewhere is more than a state in memory can do.
        let new = asked.text("name").to_owned();
        if new.contains('/') {
            return refused(400, "The character \"/\" is reserved for snapshots");
        }
        let renamed = (key.0.clone(), new.clone());
        if self.instances.contains_key(&renamed) {
            return refused(409, format!("Name \"{new}\" already in use"));
        }
        check_name(&new)?;
        let instance = &self.instances[&key];
        let resources = resources(std::slice::from_ref(&key), instance.is("container"));
        let error = instance.is_running().then(|| "Renaming of running container not allowed".to_owned());
        if error.is_none()
            && let Some(mut instance) = self.instances.remove(&key)
        {
            instance.about.insert("name".to_owned(), json!(new));
            self.instances.insert(renamed, instance);
            self.tell(&key.0, "instance-renamed", &format!("instances/{new}"));
        }
        Ok(ended("Renaming instance", resources, error))
    }

    fn delete_instance(&mut self, key: (String, String)) -> Answer {
        if self.instances[&key].is_running() {
            return refused(400, "Instance is running");
        }
        let Some(instance) = self.instances.remove(&key) else {
            return refused(404, "Instance not found");
        };
        self.tell(&key.0, "instance-deleted", &format!("instances/{}", key.1));
        Ok(ended("Deleting instance", resources(std::slice::from_ref(&key), instance.is("container")), None))
    }

    fn change_state(&mut self, asked: &Asked<'_>, key: &(String, String)) -> Answer {
        let action = asked.text("action");
        let Some(description) = doing(action) else {
            return refused(400, format!("Unknown action: '{action}'"));
        };
        let error = self.act(key, action);
        let resources = json!({"instances": [url(&format!("instances/{}", key.1), &key.0)]});
        Ok(ended(description, resources, error))
    }

    /// Changes the state of all instances of a project.
    fn change_all(&mut self, asked: &Asked<'_>) -> Answer {
        let action = asked.body.get("state").and_then(|state| state["action"].as_str()).unwrap_or_default();
        let Some(description) = doing(action) else {
            return refused(400, format!("Unknown action: '{action}'"));
        };
        let fits = |instance: &Instance| match action {
            "start" => !instance.is_running(),
            "unfreeze" => instance.status() == "Frozen",
            _ => instance.is_running(),
        };
        let all = self
            .instances
            .iter()
            .filter(|((project, _), instance)| project == asked.project && fits(instance));
        let keys: Vec<_> = all.map(|(key, _)| key.clone()).collect();
        let failed = keys.iter().filter_map(|key| Some((key, self.act(key, action)?)));
        let failed: String =
            failed.map(|(key, error)| format!(" - Instance: {}: {error}\n", key.1)).collect();
        let error = (!failed.is_empty())
            .then(|| format!("The following instances failed to update state:\n{failed}"));
        let urls: Vec<_> = keys.iter().map(|key| url(&format!("instances/{}", key.1), &key.0)).collect();
        Ok(ended(description, json!({"instances": urls}), error))
    }

    /// Changes the state of an instance; or why that cannot be.
    fn act(&mut self, key: &(String, String), action: &str) -> Option<String> {
        let instance = self.instances.get_mut(key)?;
        let status = instance.status().to_owned();
        let refusal = match (action, status.as_str()) {
            ("start", "Running" | "Frozen") => Some("The instance is already running"),
            ("stop" | "restart", "Stopped") => Some("The instance is already stopped"),
            ("freeze" | "unfreeze", "Stopped") => Some("The container isn't running"),
            ("freeze", "Frozen") => Some("The container is already frozen"),
            ("unfreeze", "Running") => Some("The container is already running"),
            _ => None,
        };
        if let Some(refusal) = refusal {
            return Some(refusal.to_owned());
        }
        let (new, happened) = match action {
            "start" => ("Running", "instance-started"),
            "restart" => ("Running", "instance-restarted"),
            "freeze" => ("Frozen", "instance-paused"),
            "unfreeze" => ("Running", "instance-resumed"),
            _ => ("Stopped", "instance-stopped"),
        };
        instance.set_status(new);
        if action == "start" {
            instance.about.insert("last_used_at".to_owned(), now());
        }
        let is_gone = new == "Stopped" && instance.about["ephemeral"] == true;
        let path = format!("instances/{}", key.1);
        self.tell(&key.0, happened, &path);
        if is_gone {
            self.instances.remove(key);
            self.tell(&key.0, "instance-deleted", &path);
        }
        None
    }
}

/// What an operation is called that does this to an instance.
fn doing(action: &str) -> Option<&'static str> {
    Some(match action {
        "start" => "Starting instance",
        "stop" => "Stopping instance",
        "restart" => "Restarting instance",
        "freeze" => "Freezing instance",
        "unfreeze" => "Unfreezing instance",
        _ => return None,
    })
}

fn check_name(name: &str) -> Result<(), Refused> {
    let words = match name {
        name if name.is_empty() || name.len() > 63 => "Name must be 1-63 characters long",
        name if !name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-') => {
            "Name can only contain alphanumeric and hyphen characters"
        }
        name if name.starts_with(|first: char| first.is_ascii_digit()) => "Name must not start with a number",
        name if name.ends_with('-') => "Name must not end with a hyphen",
        _ => return Ok(()),
    };
    refused(400, format!("Invalid instance name: {words}"))
}

/// A UUID that no other instance has.
fn uuid(key: &(String, String), count: usize) -> String {
    let hash = hex(format!("{key:?} {count}").as_bytes());
    format!("{}-{}-4{}-8{}-{}", &hash[..8], &hash[8..12], &hash[13..16], &hash[17..20], &hash[20..32])
}

/// What an operation is about, under the names that old and new clients know.
pub(super) fn resources(of: &[(String, String)], are_containers: bool) -> Value {
    let urls = |kind: &str| -> Vec<_> {
        of.iter().map(|(project, name)| url(&format!("{kind}/{name}"), project)).collect()
    };
    match are_containers {
        true => json!({"containers": urls("containers"), "instances": urls("instances")}),
        false => json!({"instances": urls("instances")}),
    }
}

pub(super) fn ended(description: &'static str, resources: Value, error: Option<String>) -> Reply {
    Reply::Ended { description, resources, metadata: Value::Null, error }
}
