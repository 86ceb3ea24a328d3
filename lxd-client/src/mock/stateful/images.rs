//! Images, of which any bytes are one, and their aliases.

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{
    Answer, Asked, EPOCH, NEVER, Object, Refused, Reply, World, hex, merged, now, object, refused, url,
};

/// An image, and its bytes.
pub(super) struct Image {
    about: Object,
    bytes: Bytes,
}

impl World {
    pub(super) fn images(&mut self, asked: &Asked<'_>) -> Option<Answer> {
        if !self.projects.contains_key(asked.project) {
            return Some(refused(404, "Check if project has images: fetch project: Project not found"));
        }
        let home = self.home(asked.project, "features.images");
        Some(match (asked.method, asked.path) {
            ("GET", ["images"]) => {
                let all = self.images.keys().filter(|(project, _)| *project == home);
                Ok(Reply::Value(match asked.recursion() {
                    0 => all.map(|(_, name)| json!(format!("/1.0/images/{name}"))).collect(),
                    _ => all.map(|key| self.image(key)).collect(),
                }))
            }
            ("POST", ["images"]) => self.create_image(asked, home),
            (_, ["images", "aliases", ..]) => return self.aliases(asked, home),
            (method, ["images", wanted, rest @ ..]) => {
                let key = match self.found(&home, wanted) {
                    Ok(key) => key,
                    Err(refused) => return Some(Err(refused)),
                };
                match (method, rest) {
                    ("GET", []) => Ok(Reply::Marked(self.image(&key), self.marked_image(&key))),
                    ("GET", ["export"]) => Ok(Reply::Bytes(self.images[&key].bytes.clone())),
                    ("PUT" | "PATCH", []) => self.change_image(asked, &key),
                    ("DELETE", []) => Ok(self.delete_image(&key)),
                    _ => return None,
                }
            }
            _ => return None,
        })
    }

    /// The image whose fingerprint begins so.
    fn found(&self, home: &str, wanted: &str) -> Result<(String, String), Refused> {
        let mut fitting =
            self.images.keys().filter(|(project, name)| project == home && name.starts_with(wanted));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key.clone()),
            (Some(_), Some(_)) => refused(500, "More than one image matches"),
            (None, _) => refused(404, "Image not found"),
        }
    }

    fn image(&self, key: &(String, String)) -> Value {
        let mut image = self.images.get(key).map(|image| image.about.clone()).unwrap_or_default();
        let named =
            self.aliases.iter().filter(|((home, _), alias)| *home == key.0 && alias["target"] == key.1);
        let aliases =
            named.map(|((_, name), alias)| json!({"name": name, "description": alias["description"]}));
        image.insert("aliases".to_owned(), aliases.collect());
        Value::Object(image)
    }

    fn marked_image(&self, key: &(String, String)) -> Value {
        let image = self.images.get(key);
        json!(
            ["public", "auto_update", "properties"].map(|name| image.and_then(|known| known.about.get(name)))
        )
    }

    fn create_image(&mut self, asked: &Asked<'_>, home: String) -> Answer {
        let kind = asked.came.headers.get(http::header::CONTENT_TYPE);
        if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json")) {
            return self.publish(asked, home);
        }
        let header = |name: &str| {
            let value = asked.came.headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let mut properties = Object::new();
        for pair in header("x-lxd-properties").split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded =
                |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
            properties.insert(decoded(name), json!(decoded(value)));
        }
        let bytes = asked.came.body.clone();
        let is_public = matches!(header("x-lxd-public").as_str(), "1" | "true");
        let about = object(json!({
            "auto_update": false, "properties": properties, "filename": header("x-lxd-filename"),
            "public": is_public, "type": "container",
        }));
        let wanted = header("x-lxd-fingerprint");
        let fingerprint = hex(&bytes);
        if !wanted.is_empty() && wanted != fingerprint {
            let error = format!("fingerprints don't match, got {fingerprint} expected {wanted}");
            return Ok(downloaded(Value::Null, Some(error)));
        }
        Ok(self.add_image(home, about, bytes))
    }

    fn add_image(&mut self, home: String, about: Object, bytes: Bytes) -> Reply {
        let (fingerprint, size) = (hex(&bytes), bytes.len());
        let metadata = json!({"fingerprint": fingerprint, "size": size.to_string()});
        let key = (home, fingerprint.clone());
        if self.images.contains_key(&key) {
            return downloaded(metadata, Some("Image with same fingerprint already exists".to_owned()));
        }
        let mut image = object(json!({
            "expires_at": EPOCH, "profiles": ["default"], "architecture": super::instances::ARCHITECTURE,
            "cached": false, "fingerprint": fingerprint, "size": size, "created_at": now(),
            "last_used_at": NEVER, "uploaded_at": now(),
        }));
        image.extend(about);
        self.tell(&key.0, "image-created", &format!("images/{fingerprint}"));
        self.images.insert(key, Image { about: image, bytes });
        downloaded(metadata, None)
    }

    /// Makes an image of an instance or a snapshot.
    fn publish(&mut self, asked: &Asked<'_>, home: String) -> Answer {
        let source = asked.body.get("source").cloned().unwrap_or_default();
        let text = |name: &str| source[name].as_str().unwrap_or_default();
        let name = text("name");
        let (instance, snapshot) =
            name.split_once('/').map_or((name, None), |(one, snapshot)| (one, Some(snapshot)));
        let of = (asked.project.to_owned(), instance.to_owned());
        let instance = match text("type") {
            "instance" | "container" | "virtual-machine" | "snapshot" => self.instances.get(&of),
            _ => return refused(500, "Invalid images JSON"),
        };
        let Some(instance) = instance else { return refused(404, "Instance not found") };
        if snapshot.is_some_and(|snapshot| !instance.has_snapshot(snapshot)) {
            return refused(404, "Instance snapshot not found");
        }
        if snapshot.is_none() && instance.is_running() {
            return Ok(downloaded(
                Value::Null,
                Some("Cannot export a running instance as an image".to_owned()),
            ));
        }
        let properties = object(asked.body.get("properties").cloned().unwrap_or_default());
        let public = asked.body.get("public").cloned().unwrap_or(json!(false));
        let about = json!({
            "auto_update": false, "public": public, "properties": properties, "filename": asked.text("filename"),
            "type": instance.kind(),
        });
        let aliases = asked.body.get("aliases").and_then(Value::as_array).cloned().unwrap_or_default();
        let named = |alias: &Value| alias["name"].as_str().unwrap_or_default().to_owned();
        if let Some(taken) =
            aliases.iter().map(named).find(|alias| self.aliases.contains_key(&(home.clone(), alias.clone())))
        {
            return refused(409, format!("Alias already exists: {taken}"));
        }
        // No two are alike.
        let bytes = Bytes::from(format!("{name} of {}, the image {}", asked.project, self.images.len()));
        let fingerprint = hex(&bytes);
        let reply = self.add_image(home.clone(), object(about), bytes);
        for alias in &aliases {
            self.add_alias(
                &home,
                &named(alias),
                &fingerprint,
                alias["description"].as_str().unwrap_or_default(),
            );
        }
        Ok(reply)
    }

    fn change_image(&mut self, asked: &Asked<'_>, key: &(String, String)) -> Answer {
        asked.matches(&self.marked_image(key))?;
        let is_patch = asked.method == "PATCH";
        if let Some(Image { about, .. }) = self.images.get_mut(key) {
            for (name, default) in [("auto_update", json!(false)), ("public", json!(false))] {
                match asked.body.get(name) {
                    Some(value) => drop(about.insert(name.to_owned(), value.clone())),
                    None if is_patch => {}
                    None => drop(about.insert(name.to_owned(), default)),
                }
            }
            let change = asked.body.get("properties").cloned().unwrap_or_default();
            let new = if is_patch { merged(&about["properties"], &change) } else { json!(object(change)) };
            about.insert("properties".to_owned(), new);
            for name in ["profiles", "expires_at"] {
                if let Some(value) = asked.body.get(name) {
                    about.insert(name.to_owned(), value.clone());
                }
            }
        }
        self.tell(&key.0, "image-updated", &format!("images/{}", key.1));
        Ok(Reply::Value(json!({})))
    }

    fn delete_image(&mut self, key: &(String, String)) -> Reply {
        self.images.remove(key);
        self.aliases.retain(|(home, _), alias| *home != key.0 || alias["target"] != key.1);
        let path = format!("images/{}", key.1);
        self.tell(&key.0, "image-deleted", &path);
        let resources = json!({"images": [url(&path, &key.0)]});
        Reply::Ended { description: "Deleting image", resources, metadata: Value::Null, error: None }
    }

    fn aliases(&mut self, asked: &Asked<'_>, home: String) -> Option<Answer> {
        Some(match (asked.method, asked.path) {
            ("GET", ["images", "aliases"]) => {
                let all = self.aliases.iter().filter(|((project, _), _)| *project == home);
                Ok(Reply::Value(match asked.recursion() {
                    0 => all.map(|((_, name), _)| json!(format!("/1.0/images/aliases/{name}"))).collect(),
                    _ => all.map(|(_, alias)| json!(alias)).collect(),
                }))
            }
            ("POST", ["images", "aliases"]) => self.create_alias(asked, &home),
            (method, ["images", "aliases", name]) => {
                let key = (home, (*name).to_owned());
                let Some(alias) = self.aliases.get(&key).cloned() else {
                    return Some(refused(404, "Image alias not found"));
                };
                match method {
                    "GET" => {
                        let marked = json!(["name", "target"].map(|name| alias.get(name)));
                        Ok(Reply::Marked(json!(alias), marked))
                    }
                    "PUT" | "PATCH" => self.change_alias(asked, &key),
                    "POST" => self.rename_alias(asked, key, alias),
                    "DELETE" => {
                        self.aliases.remove(&key);
                        self.tell(&key.0, "image-alias-deleted", &format!("images/aliases/{name}"));
                        Ok(Reply::Value(json!({})))
                    }
                    _ => return None,
                }
            }
            _ => return None,
        })
    }

    fn add_alias(&mut self, home: &str, name: &str, target: &str, description: &str) {
        let key = (home.to_owned(), target.to_owned());
        let kind = self.images.get(&key).map(|image| image.about["type"].clone());
        let alias = json!({"description": description, "target": target, "name": name, "type": kind});
        self.aliases.insert((home.to_owned(), name.to_owned()), object(alias));
        self.tell(home, "image-alias-created", &format!("images/aliases/{name}"));
    }

    fn create_alias(&mut self, asked: &Asked<'_>, home: &str) -> Answer {
        let (name, target) = (asked.text("name"), asked.text("target"));
        if name.is_empty() || target.is_empty() {
            return refused(400, "name and target are required");
        }
        if self.aliases.contains_key(&(home.to_owned(), name.to_owned())) {
            return refused(409, format!("Alias \"{name}\" already exists"));
        }
        let (_, target) = self.found(home, target)?;
        self.add_alias(home, name, &target, asked.text("description"));
        Ok(Reply::Created(url(&format!("images/aliases/{name}"), home)))
    }

    fn change_alias(&mut self, asked: &Asked<'_>, key: &(String, String)) -> Answer {
        let is_patch = asked.method == "PATCH";
        let target = match asked.text("target") {
            "" if is_patch => None,
            "" => return refused(400, "The target field is required"),
            target => Some(self.found(&key.0, target)?.1),
        };
        if let Some(alias) = self.aliases.get_mut(key) {
            alias.extend(target.map(|target| ("target".to_owned(), json!(target))));
            if !is_patch || asked.body.contains_key("description") {
                alias.insert("description".to_owned(), json!(asked.text("description")));
            }
        }
        self.tell(&key.0, "image-alias-updated", &format!("images/aliases/{}", key.1));
        Ok(Reply::Value(json!({})))
    }

    fn rename_alias(
        &mut self,
        asked: &Asked<'_>,
        (home, name): (String, String),
        mut alias: Object,
    ) -> Answer {
        let new = asked.text("name").to_owned();
        if self.aliases.contains_key(&(home.clone(), new.clone())) {
            return refused(409, format!("Alias \"{new}\" already exists"));
        }
        self.aliases.remove(&(home.clone(), name));
        alias.insert("name".to_owned(), json!(new));
        self.aliases.insert((home.clone(), new.clone()), alias);
        let path = format!("images/aliases/{new}");
        self.tell(&home, "image-alias-renamed", &path);
        Ok(Reply::Created(url(&path, &home)))
    }

    /// The image of a new instance: its fingerprint, if it is there, and its properties.
    pub(super) fn image_for(
        &self,
        project: &str,
        source: &Value,
    ) -> Result<Option<(String, Object)>, Refused> {
        let home = self.home(project, "features.images");
        let text = |name: &str| source[name].as_str().unwrap_or_default();
        let properties = source["properties"].as_object().filter(|properties| !properties.is_empty());
        let fingerprint = if !text("fingerprint").is_empty() {
            text("fingerprint").to_owned()
        } else if !text("alias").is_empty() {
            let Some(alias) = self.aliases.get(&(home.clone(), text("alias").to_owned())) else {
                return refused(404, "Image alias not found");
            };
            alias["target"].as_str().unwrap_or_default().to_owned()
        } else if let Some(wanted) = properties {
            let fits = |image: &Image| {
                let known = &image.about["properties"];
                wanted.iter().all(|(key, value)| known.get(key.as_str()) == Some(value))
            };
            let fitting = self.images.iter().find(|((project, _), image)| *project == home && fits(image));
            match fitting {
                Some(((_, fingerprint), _)) => fingerprint.clone(),
                None => return refused(404, "No matching image could be found"),
            }
        } else {
            return refused(500, "Must specify one of alias, fingerprint or properties for init from image");
        };
        Ok(self.found(&home, &fingerprint).ok().map(|key| {
            let properties = object(self.images[&key].about["properties"].clone());
            (key.1, properties)
        }))
    }
}

/// The operation by which an image comes, whatever it comes from.
fn downloaded(metadata: Value, error: Option<String>) -> Reply {
    Reply::Ended { description: "Downloading image", resources: Value::Null, metadata, error }
}
