//! Projects, and what they have of their own.

use serde_json::{Value, json};

use super::{Answer, Asked, Object, Reply, World, object, profiles, refused, url};

/// What a new project has of its own where it is not said otherwise.
const FEATURES: [&str; 3] = ["features.images", "features.profiles", "features.storage.volumes"];

pub(super) fn first() -> Object {
    let features = FEATURES.into_iter().chain(["features.networks"]);
    let config: Object = features.map(|feature| (feature.to_owned(), json!("true"))).collect();
    object(json!({"config": config, "description": "Default LXD project", "name": "default"}))
}

impl World {
    pub(super) fn projects(&mut self, asked: &Asked<'_>) -> Option<Answer> {
        Some(match (asked.method, asked.path) {
            ("GET", ["projects"]) => {
                let all = self.projects.keys();
                Ok(Reply::Value(match asked.recursion() {
                    0 => all.map(|name| format!("/1.0/projects/{name}")).collect(),
                    _ => all.map(|name| self.project(name)).collect(),
                }))
            }
            ("POST", ["projects"]) => self.create_project(asked),
            (method, ["projects", name, rest @ ..]) if !self.projects.contains_key(*name) => {
                match (method, rest) {
                    ("DELETE", _) => refused(404, format!("Fetch project \"{name}\": Project not found")),
                    (_, ["state"]) => refused(404, "Fetch project database object: Project not found"),
                    _ => refused(404, "Project not found"),
                }
            }
            ("GET", ["projects", name]) => Ok(Reply::Marked(self.project(name), self.marked_project(name))),
            ("GET", ["projects", name, "state"]) => Ok(Reply::Value(self.project_state(name))),
            ("PUT" | "PATCH", ["projects", name]) => self.change_project(asked, name),
            ("POST", ["projects", name]) => self.rename_project(asked, name),
            ("DELETE", ["projects", name]) => self.delete_project(name),
            _ => return None,
        })
    }

    fn project(&self, name: &str) -> Value {
        let mut project = self.projects.get(name).cloned().unwrap_or_default();
        project.insert("used_by".to_owned(), json!(self.used_by_project(name)));
        Value::Object(project)
    }

    fn marked_project(&self, name: &str) -> Value {
        let project = self.projects.get(name);
        json!([
            project.and_then(|known| known.get("description")),
            project.and_then(|known| known.get("config"))
        ])
    }

    /// What there is in a project.
    fn used_by_project(&self, name: &str) -> Vec<String> {
        let of = |known: &str| known == name;
        let instances = self.instances.keys().filter(|(project, _)| of(project));
        let profiles = self.profiles.keys().filter(|(project, _)| of(project));
        let images = self.images.keys().filter(|(project, _)| of(project));
        let instances = instances.map(|(project, name)| url(&format!("instances/{name}"), project));
        let profiles = profiles.map(|(project, name)| url(&format!("profiles/{name}"), project));
        let images = images.map(|(project, name)| url(&format!("images/{name}"), project));
        instances.chain(profiles).chain(images).collect()
    }

    /// Whether there is nothing in a project but what each has.
    fn is_empty(&self, name: &str) -> bool {
        let default = url("profiles/default", name);
        self.used_by_project(name).iter().all(|used_by| *used_by == default)
    }

    fn create_project(&mut self, asked: &Asked<'_>) -> Answer {
        let name = asked.text("name").to_owned();
        match name.as_str() {
            "" => return refused(400, "No name provided"),
            name if name.contains('/') => return refused(400, "Project names may not contain slashes"),
            name if name.contains(' ') => return refused(400, "Project names may not contain spaces"),
            name if self.projects.contains_key(name) => {
                let words = "Failed adding database record: This \"projects\" entry already exists";
                return refused(409, format!("Failed creating project \"{name}\": {words}"));
            }
            _ => {}
        }
        let mut config = object(asked.body.get("config").cloned().unwrap_or_default());
        for feature in FEATURES {
            config.entry(feature).or_insert_with(|| json!("true"));
        }
        let has_profiles = config["features.profiles"] == "true";
        let project = json!({"config": config, "description": asked.text("description"), "name": name});
        self.projects.insert(name.clone(), object(project));
        if has_profiles {
            self.profiles.insert((name.clone(), "default".to_owned()), profiles::of_project(&name));
        }
        let path = format!("/1.0/projects/{name}");
        self.happened.push((name, "project-created", path.clone()));
        Ok(Reply::Created(path))
    }

    fn change_project(&mut self, asked: &Asked<'_>, name: &str) -> Answer {
        asked.matches(&self.marked_project(name))?;
        let is_patch = asked.method == "PATCH";
        let before = self.projects.get(name).cloned().unwrap_or_default();
        // A configuration is replaced as a whole, also by a PATCH.
        let config = match asked.body.get("config") {
            Some(config) => config.clone(),
            None if is_patch => before["config"].clone(),
            None => json!({}),
        };
        let is_on = |config: &Value, name: &str| config.get(name).is_some_and(|value| value == "true");
        let changes = |name: &&&str| is_on(&before["config"], name) != is_on(&config, name);
        let changed = FEATURES.iter().find(changes);
        if changed.is_some() && name == "default" {
            return refused(403, "You can't change the features of the default project");
        }
        if let Some(feature) = changed.filter(|_| !self.is_empty(name)) {
            let verb = if is_on(&config, feature) { "enabled" } else { "disabled" };
            let words = format!("cannot be {verb} on non-empty projects");
            return refused(400, format!("Project feature \"{feature}\" {words}"));
        }
        let loses_profiles = changed.is_some_and(|_| !is_on(&config, "features.profiles"));
        if let Some(project) = self.projects.get_mut(name) {
            project.insert("config".to_owned(), config);
            if !is_patch || asked.body.contains_key("description") {
                project.insert("description".to_owned(), json!(asked.text("description")));
            }
        }
        if loses_profiles {
            self.profiles.retain(|(project, _), _| project != name);
        }
        self.happened.push((name.to_owned(), "project-updated", format!("/1.0/projects/{name}")));
        Ok(Reply::Value(json!({})))
    }

    fn rename_project(&mut self, asked: &Asked<'_>, name: &str) -> Answer {
        let new = asked.text("name").to_owned();
        if name == "default" {
            return refused(403, "The 'default' project cannot be renamed");
        }
        let error = if self.projects.contains_key(&new) {
            Some(format!("A project named \"{new}\" already exists"))
        } else if !self.is_empty(name) {
            Some("Only empty projects can be renamed".to_owned())
        } else {
            None
        };
        if error.is_none() {
            if let Some(mut project) = self.projects.remove(name) {
                project.insert("name".to_owned(), json!(new));
                self.projects.insert(new.clone(), project);
            }
            if let Some(profile) = self.profiles.remove(&(name.to_owned(), "default".to_owned())) {
                self.profiles.insert((new.clone(), "default".to_owned()), profile);
            }
            self.happened.push((new.clone(), "project-renamed", format!("/1.0/projects/{new}")));
        }
        Ok(Reply::Ended {
            description: "Renaming project",
            resources: Value::Null,
            metadata: Value::Null,
            error,
        })
    }

    fn delete_project(&mut self, name: &str) -> Answer {
        if name == "default" {
            return refused(403, "The 'default' project cannot be deleted");
        }
        if !self.is_empty(name) {
            return refused(500, "Only empty projects can be removed");
        }
        self.projects.remove(name);
        self.profiles.retain(|(project, _), _| project != name);
        self.happened.push((name.to_owned(), "project-deleted", format!("/1.0/projects/{name}")));
        Ok(Reply::Value(json!({})))
    }

    fn project_state(&self, name: &str) -> Value {
        let count = |kind: Option<&str>| {
            let all = self.instances.iter().filter(|((project, _), _)| project == name);
            all.filter(|(_, instance)| kind.is_none_or(|kind| instance.is(kind))).count()
        };
        let used = |usage: usize| json!({"Limit": -1, "Usage": usage});
        json!({"resources": {
            "containers": used(count(Some("container"))), "cpu": used(0), "disk": used(0),
            "instances": used(count(None)), "memory": used(0), "networks": used(0), "processes": used(0),
            "virtual-machines": used(count(Some("virtual-machine"))),
        }})
    }
}
