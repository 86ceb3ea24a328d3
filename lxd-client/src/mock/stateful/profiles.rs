//! Profiles, in the projects that have their own.

use serde_json::{Value, json};

use super::{Answer, Asked, Object, Reply, World, merged, object, refused, unknown_key, url};

pub(super) fn first() -> Object {
    let root = json!({"root": {"path": "/", "pool": "default", "type": "disk"}});
    profile("default", "Default LXD profile", json!({}), root)
}

/// The one that a project begins with.
pub(super) fn of_project(project: &str) -> Object {
    profile("default", &format!("Default LXD profile for project {project}"), json!({}), json!({}))
}

fn profile(name: &str, description: &str, config: Value, devices: Value) -> Object {
    object(json!({"name": name, "description": description, "config": config, "devices": devices}))
}

impl World {
    pub(super) fn profiles(&mut self, asked: &Asked<'_>) -> Option<Answer> {
        if !self.projects.contains_key(asked.project) {
            let words = format!("Failed loading project \"{}\": Project not found", asked.project);
            return Some(refused(404, words));
        }
        let home = self.home(asked.project, "features.profiles");
        Some(match (asked.method, asked.path) {
            ("GET", ["profiles"]) => {
                let all = self.profiles.keys().filter(|(project, _)| *project == home);
                Ok(Reply::Value(match asked.recursion() {
                    0 => all.map(|(_, name)| json!(url(&format!("profiles/{name}"), &home))).collect(),
                    _ => all.map(|key| self.profile(key)).collect(),
                }))
            }
            ("POST", ["profiles"]) => self.create_profile(asked, home),
            (method, ["profiles", name]) => {
                let key = (home, (*name).to_owned());
                if !self.profiles.contains_key(&key) {
                    return Some(match method {
                        "GET" => refused(404, "Fetch profile: Profile not found"),
                        "PUT" => {
                            refused(404, format!("Failed to retrieve profile \"{name}\": Profile not found"))
                        }
                        "PATCH" => {
                            refused(404, format!("Failed to retrieve profile=\"{name}\": Profile not found"))
                        }
                        "POST" => refused(500, "Query affected 0 rows instead of 1"),
                        _ => refused(404, "Profile not found"),
                    });
                }
                match method {
                    "GET" => Ok(Reply::Marked(self.profile(&key), self.marked_profile(&key))),
                    "PUT" | "PATCH" => self.change_profile(asked, &key),
                    "POST" => self.rename_profile(asked, key),
                    "DELETE" => self.delete_profile(&key),
                    _ => return None,
                }
            }
            _ => return None,
        })
    }

    fn profile(&self, key: &(String, String)) -> Value {
        let mut profile = self.profiles.get(key).cloned().unwrap_or_default();
        profile.insert("used_by".to_owned(), json!(self.used_by_profile(key)));
        Value::Object(profile)
    }

    fn marked_profile(&self, key: &(String, String)) -> Value {
        let profile = self.profiles.get(key);
        json!(["config", "description", "devices"].map(|name| profile.and_then(|known| known.get(name))))
    }

    fn used_by_profile(&self, (home, name): &(String, String)) -> Vec<String> {
        let uses = |(project, _): &&(String, String)| self.home(project, "features.profiles") == *home;
        let instances = self.instances.keys().filter(uses);
        let instances =
            instances.filter(|key| self.instances.get(*key).is_some_and(|known| known.has_profile(name)));
        instances.map(|(project, instance)| url(&format!("instances/{instance}"), project)).collect()
    }

    fn create_profile(&mut self, asked: &Asked<'_>, home: String) -> Answer {
        let name = asked.text("name").to_owned();
        match name.as_str() {
            "" => return refused(400, "No name provided"),
            name if name.contains('/') => return refused(400, "Profile names may not contain slashes"),
            _ => {}
        }
        if let Some(words) = unknown_key(asked.body.get("config")) {
            return refused(400, words);
        }
        let key = (home, name.clone());
        if self.profiles.contains_key(&key) {
            return refused(
                500,
                format!("Error inserting \"{name}\" into database: The profile already exists"),
            );
        }
        let given = |field: &str| json!(object(asked.body.get(field).cloned().unwrap_or_default()));
        let new = profile(&name, asked.text("description"), given("config"), given("devices"));
        self.tell(&key.0, "profile-created", &format!("profiles/{name}"));
        let path = url(&format!("profiles/{name}"), &key.0);
        self.profiles.insert(key, new);
        Ok(Reply::Created(path))
    }

    fn change_profile(&mut self, asked: &Asked<'_>, key: &(String, String)) -> Answer {
        asked.matches(&self.marked_profile(key))?;
        if let Some(words) = unknown_key(asked.body.get("config")) {
            return refused(500, words);
        }
        let is_patch = asked.method == "PATCH";
        if let Some(profile) = self.profiles.get_mut(key) {
            for field in ["config", "devices"] {
                let change = asked.body.get(field).cloned().unwrap_or_default();
                let new = if is_patch { merged(&profile[field], &change) } else { json!(object(change)) };
                profile.insert(field.to_owned(), new);
            }
            if !is_patch || asked.body.contains_key("description") {
                profile.insert("description".to_owned(), json!(asked.text("description")));
            }
        }
        self.tell(&key.0, "profile-updated", &format!("profiles/{}", key.1));
        Ok(Reply::Value(json!({})))
    }

    fn rename_profile(&mut self, asked: &Asked<'_>, (home, name): (String, String)) -> Answer {
        let new = asked.text("name").to_owned();
        if name == "default" {
            return refused(403, "The \"default\" profile cannot be renamed");
        }
        match new.as_str() {
            "" => return refused(400, "No name provided"),
            new if new.contains('/') => return refused(400, "Profile names may not contain slashes"),
            new if self.profiles.contains_key(&(home.clone(), new.to_owned())) => {
                return refused(500, format!("Name \"{new}\" already in use"));
            }
            _ => {}
        }
        for ((project, _), instance) in &mut self.instances {
            let config = self.projects.get(project).and_then(|project| project.get("config"));
            let has_own = config.is_some_and(|config| config["features.profiles"] == "true");
            if home == *project || (home == "default" && !has_own) {
                instance.rename_profile(&name, &new);
            }
        }
        if let Some(mut profile) = self.profiles.remove(&(home.clone(), name)) {
            profile.insert("name".to_owned(), json!(new));
            self.profiles.insert((home.clone(), new.clone()), profile);
        }
        self.tell(&home, "profile-renamed", &format!("profiles/{new}"));
        Ok(Reply::Created(url(&format!("profiles/{new}"), &home)))
    }

    fn delete_profile(&mut self, key: &(String, String)) -> Answer {
        if key.1 == "default" {
            return refused(403, "The \"default\" profile cannot be deleted");
        }
        if !self.used_by_profile(key).is_empty() {
            return refused(500, "Profile is currently in use");
        }
        self.profiles.remove(key);
        self.tell(&key.0, "profile-deleted", &format!("profiles/{}", key.1));
        Ok(Reply::Value(json!({})))
    }
}
