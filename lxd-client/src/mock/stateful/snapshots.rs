//! The snapshots of instances: made, renamed, restored.

use serde_json::{Value, json};

use super::instances::{Instance, ended, resources};
use super::{Answer, Asked, NEVER, Refused, Reply, World, now, object, refused, url};

impl Instance {
    /// The place of a snapshot.
    pub(super) fn snapshot(&self, name: &str) -> Option<usize> {
        self.snapshots.iter().position(|snapshot| snapshot["name"] == name)
    }

    pub(super) fn has_snapshot(&self, name: &str) -> bool {
        self.snapshot(name).is_some()
    }
}

/// The refusal of a snapshot that there is not.
pub(super) fn missing(snapshot: &str, instance: &str, project: &str) -> Refused {
    let words = "InstanceSnapshot not found";
    let what = format!("snapshot \"{snapshot}\" of instance \"{instance}\" in project \"{project}\"");
    Refused(404, format!("Failed to fetch {what}: {words}"))
}

impl World {
    /// Answers what is asked of the snapshots of an instance, which is there.
    pub(super) fn snapshots(
        &mut self,
        asked: &Asked<'_>,
        key: (String, String),
        path: &[&str],
    ) -> Option<Answer> {
        let instance = &self.instances[&key];
        Some(match (asked.method, path) {
            ("GET", []) => {
                let all = instance.snapshots.iter();
                let path = |name: &Value| {
                    url(
                        &format!("instances/{}/snapshots/{}", key.1, name.as_str().unwrap_or_default()),
                        &key.0,
                    )
                };
                Ok(Reply::Value(match asked.recursion() {
                    0 => all.map(|snapshot| json!(path(&snapshot["name"]))).collect(),
                    _ => all.map(|snapshot| json!(self.with_expanded(&key.0, snapshot))).collect(),
                }))
            }
            ("POST", []) => self.create_snapshot(asked, &key),
            (method, [name]) => {
                let Some(at) = instance.snapshot(name) else {
                    return Some(Err(missing(name, &key.1, &key.0)));
                };
                match method {
                    "GET" => {
                        let snapshot = &instance.snapshots[at];
                        let marked = json!([snapshot["expires_at"]]);
                        Ok(Reply::Marked(json!(self.with_expanded(&key.0, snapshot)), marked))
                    }
                    "PUT" | "PATCH" => Ok(self.change_snapshot(asked, &key, at)),
                    "POST" => self.rename_snapshot(asked, &key, at),
                    "DELETE" => Ok(self.delete_snapshot(&key, at)),
                    _ => return None,
                }
            }
            _ => return None,
        })
    }

    fn create_snapshot(&mut self, asked: &Asked<'_>, key: &(String, String)) -> Answer {
        let instance = &self.instances[key];
        let name = match asked.text("name") {
            "" => {
                let numbers = instance.snapshots.iter().filter_map(|snapshot| {
                    snapshot["name"].as_str()?.strip_prefix("snap")?.parse::<u32>().ok()
                });
                format!("snap{}", numbers.max().map_or(0, |last| last + 1))
            }
            name if name.contains('/') => return refused(400, "Invalid snapshot name: Cannot contain \"/\""),
            name => name.to_owned(),
        };
        let error = instance.has_snapshot(&name).then(|| {
            let words =
                "Add snapshot info to the database: This \"instances_snapshots\" entry already exists";
            format!("Failed creating instance snapshot record \"{name}\": {words}")
        });
        let about = &instance.about;
        let expires_at = asked.body.get("expires_at").filter(|time| !time.is_null()).cloned();
        let snapshot = object(json!({
            "expires_at": expires_at.unwrap_or(json!(NEVER)), "architecture": about["architecture"],
            "config": about["config"], "created_at": now(), "devices": about["devices"],
            "ephemeral": about["ephemeral"], "last_used_at": NEVER, "name": name,
            "profiles": about["profiles"], "stateful": false, "size": -1,
        }));
        let resources = resources(std::slice::from_ref(key), instance.is("container"));
        if error.is_none() {
            if let Some(instance) = self.instances.get_mut(key) {
                instance.snapshots.push(snapshot);
            }
            self.tell(&key.0, "instance-snapshot-created", &format!("instances/{}/snapshots/{name}", key.1));
        }
        Ok(ended("Snapshotting instance", resources, error))
    }

    fn change_snapshot(&mut self, asked: &Asked<'_>, key: &(String, String), at: usize) -> Reply {
        let expires_at = asked.body.get("expires_at").filter(|time| !time.is_null()).cloned();
        let Some(instance) = self.instances.get_mut(key) else { return Reply::Value(Value::Null) };
        let snapshot = &mut instance.snapshots[at];
        // What is not given stays, also by a PUT.
        snapshot.extend(expires_at.map(|time| ("expires_at".to_owned(), time)));
        let name = snapshot["name"].as_str().unwrap_or_default().to_owned();
        let is_container = instance.is("container");
        self.tell(&key.0, "instance-snapshot-updated", &format!("instances/{}/snapshots/{name}", key.1));
        // By a fault of its own, the server names the snapshot as if it were an instance.
        ended("Updating snapshot", resources(&[(key.0.clone(), name)], is_container), None)
    }

    fn rename_snapshot(&mut self, asked: &Asked<'_>, key: &(String, String), at: usize) -> Answer {
        let new = asked.text("name").to_owned();
        if new.is_empty() || new.contains('/') {
            return refused(400, "Invalid snapshot name: Cannot contain \"/\"");
        }
        let Some(instance) = self.instances.get_mut(key) else { return refused(404, "Instance not found") };
        if instance.has_snapshot(&new) {
            return refused(409, format!("Name '{}/{new}' already in use", key.1));
        }
        instance.snapshots[at].insert("name".to_owned(), json!(new));
        let is_container = instance.is("container");
        self.tell(&key.0, "instance-snapshot-renamed", &format!("instances/{}/snapshots/{new}", key.1));
        Ok(ended("Renaming snapshot", resources(std::slice::from_ref(key), is_container), None))
    }

    fn delete_snapshot(&mut self, key: &(String, String), at: usize) -> Reply {
        let Some(instance) = self.instances.get_mut(key) else { return Reply::Value(Value::Null) };
        let snapshot = instance.snapshots.remove(at);
        let is_container = instance.is("container");
        let name = snapshot["name"].as_str().unwrap_or_default();
        self.tell(&key.0, "instance-snapshot-deleted", &format!("instances/{}/snapshots/{name}", key.1));
        let of = (key.0.clone(), format!("{}/{name}", key.1));
        ended("Deleting snapshot", resources(&[of], is_container), None)
    }

    /// Makes an instance as one of its snapshots was.
    pub(super) fn restore(&mut self, name: &str, key: &(String, String)) -> Reply {
        let Some(instance) = self.instances.get_mut(key) else { return Reply::Value(Value::Null) };
        let error = match instance.snapshot(name) {
            Some(at) => {
                for part in ["architecture", "config", "devices", "ephemeral", "profiles"] {
                    let before = instance.snapshots[at][part].clone();
                    instance.about.insert(part.to_owned(), before);
                }
                // By a fault of its own, the server empties the description.
                instance.about.insert("description".to_owned(), json!(""));
                None
            }
            None => Some(format!("Snapshot {}/{name} does not exist", key.1)),
        };
        let resources = resources(std::slice::from_ref(key), instance.is("container"));
        if error.is_none() {
            self.tell(&key.0, "instance-restored", &format!("instances/{}", key.1));
        }
        ended("Restoring snapshot", resources, error)
    }
}
