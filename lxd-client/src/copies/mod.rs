//! Copies from one server to another: what is sent for an instance or a volume. How two servers are brought
//! together is left to `migration`, images to `images`.

mod images;
mod migration;
mod relay;
mod servers;

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use serde::Serialize;
use serde_json::{Map, Value, json};

pub use self::images::CopyImage;
use self::migration::{Migration, Side};
use crate::call::{Answers, Call, Endpoint, NoParameters, Request, Sent};
use crate::client::Client;
use crate::error::Error;
use crate::operation::Operation;
use crate::transferred::{Report, Transferred};

const INSTANCES: &str = "/1.0/instances";
const INSTANCE: &str = "/1.0/instances/{name}";
const SNAPSHOT: &str = "/1.0/instances/{name}/snapshots/{snapshot}";
const VOLUMES: &str = "/1.0/storage-pools/{pool}/volumes/custom";
const VOLUME: &str = "/1.0/storage-pools/{pool}/volumes/custom/{volume}";

static INSTANCE_GET: Endpoint = reading("instance_get", INSTANCE);
// With a member of the cluster, this would move the instance there.
static INSTANCE_POST: Endpoint = changing("instance_post", "POST", INSTANCE);
static INSTANCE_DELETE: Endpoint = changing("instance_delete", "DELETE", INSTANCE);
static INSTANCES_POST: Endpoint = on_member(changing("instances_post", "POST", INSTANCES));
static SNAPSHOT_GET: Endpoint = reading("instance_snapshot_get", SNAPSHOT);
static SNAPSHOT_POST: Endpoint = changing("instance_snapshot_post", "POST", SNAPSHOT);
static VOLUME_GET: Endpoint = on_member(reading("storage_pool_volume_type_get", VOLUME));
static VOLUME_POST: Endpoint = on_member(changing("storage_pool_volume_type_post", "POST", VOLUME));
static VOLUME_DELETE: Endpoint = on_member(changing("storage_pool_volume_type_delete", "DELETE", VOLUME));
static VOLUMES_POST: Endpoint = on_member(changing("storage_pool_volumes_type_post", "POST", VOLUMES));

/// The core has its own ways there, so that it does not depend on what a description calls them.
const fn reading(id: &'static str, path: &'static str) -> Endpoint {
    let answers = Answers::Value;
    Endpoint { id, method: "GET", path, query: "", answers, project: true, target: false, background: false }
}

const fn changing(id: &'static str, method: &'static str, path: &'static str) -> Endpoint {
    let answers = Answers::Nothing;
    Endpoint { id, method, path, query: "", answers, project: true, target: false, background: true }
}

/// Where it matters which member of a cluster it is.
const fn on_member(mut endpoint: Endpoint) -> Endpoint {
    endpoint.target = true;
    endpoint
}

/// How the bytes go from one server to the other.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum CopyMode {
    /// The target fetches them from the source, which it has to reach over HTTPS.
    #[default]
    Pull,
    /// The source brings them to the target, which it has to reach over HTTPS.
    Push,
    /// They go through this client, which is the only one to reach both.
    Relay,
}

impl Client {
    /// Copies an instance to another server, or, as `INSTANCE/SNAPSHOT`, a snapshot of one, which becomes an
    /// instance there. It keeps its configuration, devices, profiles and snapshots, but no addresses or the
    /// like that the server gave it (`volatile.…`). The profiles have to be there.
    ///
    /// ```no_run
    /// # async fn run(lab: lxd_client::Client, attic: lxd_client::Client) -> Result<(), lxd_client::Error> {
    /// use lxd_client::CopyMode;
    /// use lxd_client::types::InstancesPost;
    ///
    /// let other = InstancesPost { description: "As of today".into(), ..Default::default() };
    /// lab.copy_instance("t1", &attic).name("t1-copy").mode(CopyMode::Relay).with(other).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn copy_instance(&self, name: &str, target: &Client) -> CopyToServer {
        CopyToServer::new(self, target, What::Instance, name, false)
    }

    /// Moves an instance to another server: it is copied with all that it has, and deleted here when that is
    /// done. It must not run, unless it is moved with its state (`live` of the source in
    /// [`with`](CopyToServer::with)). Where it cannot be deleted, such as by `security.protection.delete`, the
    /// error says so, and both are there.
    pub fn move_instance(&self, name: &str, target: &Client) -> CopyToServer {
        CopyToServer::new(self, target, What::Instance, name, true)
    }

    /// Copies a custom volume of a storage pool to another server, with its snapshots.
    ///
    /// ```no_run
    /// # async fn run(lab: lxd_client::Client, attic: lxd_client::Client) -> Result<(), lxd_client::Error> {
    /// lab.copy_storage_volume("default", "data", &attic)
    ///     .pool("large")
    ///     .progress(|done| println!("{} bytes", done.bytes))
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn copy_storage_volume(&self, pool: &str, name: &str, target: &Client) -> CopyToServer {
        CopyToServer::new(self, target, What::Volume { pool: pool.to_owned() }, name, false)
    }

    /// Moves a custom volume of a storage pool to another server: it is copied, and deleted here when that is
    /// done. Nothing must use it.
    pub fn move_storage_volume(&self, pool: &str, name: &str, target: &Client) -> CopyToServer {
        CopyToServer::new(self, target, What::Volume { pool: pool.to_owned() }, name, true)
    }
}

#[derive(Clone, Debug)]
enum What {
    Instance,
    Volume {
        /// That in which it is.
        pool: String,
    },
}

/// A copy of an instance or a volume on another server; see [`Client::copy_instance`] and
/// [`Client::copy_storage_volume`]. It is made when this is awaited, and whole when that returns. Where the
/// future is dropped, the servers go on, unless the bytes go through this client.
///
/// # Errors
///
/// Those of any call to both servers; [`Error::Operation`] tells what either of them says of a copy that
/// failed, and [`Error::Configuration`] where the one has no address at which the other could reach it. Of a
/// copy that failed the servers leave nothing.
#[must_use = "a copy is made when this is awaited"]
pub struct CopyToServer {
    source: Client,
    target: Client,
    what: What,
    name: String,
    moves: bool,
    mode: CopyMode,
    new_name: Option<String>,
    pool: Option<String>,
    without_snapshots: bool,
    with: Result<Map<String, Value>, String>,
    report: Option<Report>,
}

impl CopyToServer {
    fn new(source: &Client, target: &Client, what: What, name: &str, moves: bool) -> Self {
        Self {
            source: source.clone(),
            target: target.clone(),
            what,
            name: name.to_owned(),
            moves,
            mode: CopyMode::default(),
            new_name: None,
            pool: None,
            without_snapshots: false,
            with: Ok(Map::new()),
            report: None,
        }
    }

    /// The name on the other server, where it is to be another.
    pub fn name(mut self, name: &str) -> Self {
        self.new_name = Some(name.to_owned());
        self
    }

    /// How the bytes go from one server to the other; [`CopyMode::Pull`] where this is not called.
    pub fn mode(mut self, mode: CopyMode) -> Self {
        self.mode = mode;
        self
    }

    /// The storage pool on the other server, where it is to have another name.
    pub fn pool(mut self, pool: &str) -> Self {
        self.pool = Some(pool.to_owned());
        self
    }

    /// Leaves out the snapshots.
    pub fn without_snapshots(mut self) -> Self {
        self.without_snapshots = true;
        self
    }

    /// What the copy is to have otherwise than the source, as a body of the call that makes one (such as
    /// `InstancesPost`): each field in it that does not hold its default takes the place of the source's. In
    /// maps such as `config` and `devices`, that is so for each entry.
    pub fn with(mut self, changes: impl Serialize) -> Self {
        self.with = object(changes);
        self
    }

    /// Tells how many bytes have gone over: exactly in a relay, and else as the servers tell, which is not
    /// often, and for each part (such as a snapshot) from the beginning: it is that of the largest so far then.
    /// How many there will be is not known.
    pub fn progress(mut self, report: impl FnMut(Transferred) + Send + 'static) -> Self {
        self.report = Some(rising(report));
        self
    }

    async fn run(self) -> Result<(), Error> {
        let request = self.source_request(Sent::Nothing, true);
        let call = request.name();
        let refused = |message| Error::Argument { call: call.clone(), message };
        let changes = self.with.clone().map_err(refused)?;
        let is_instance = matches!(self.what, What::Instance);
        if is_instance && self.moves && self.is_snapshot() {
            return Err(refused(
                "a snapshot stays with its instance: it can be copied, not moved".to_owned(),
            ));
        }
        let found = Call::<Value, NoParameters>::of(request).await?;
        let mut wanted = match &self.what {
            What::Instance => self.instance(&found).await?,
            What::Volume { .. } => volume(&found),
        };
        wanted.insert("name".to_owned(), json!(self.new_name.as_deref().unwrap_or(self.own_name())));
        // Of the source, more is known later.
        let mut from = json!({"type": "migration"});
        if let (What::Instance, Some(image)) = (&self.what, found["config"].get("volatile.base_image")) {
            from["base-image"] = image.clone();
        }
        wanted.insert("source".to_owned(), from);
        put_all(&mut wanted, changes);
        let is_live = wanted.get("source").is_some_and(|from| from["live"] == true);
        // What is written to it after it was copied would be lost with it.
        let is_used = match is_instance {
            true => !is_live && found["status"] != "Stopped",
            false => found["used_by"].as_array().is_some_and(|users| !users.is_empty()),
        };
        if self.moves && is_used {
            return Err(refused("it is in use: it can be copied, but not moved before that ends".to_owned()));
        }
        let mut begin = Map::new();
        begin.insert("name".to_owned(), json!(self.own_name()));
        begin.insert("migration".to_owned(), json!(true));
        if is_instance {
            // Where this is missing, the server takes it for true.
            begin.insert("live".to_owned(), json!(is_live));
        }
        let only = if is_instance { "instance_only" } else { "volume_only" };
        if self.without_snapshots {
            begin.insert(only.to_owned(), json!(true));
            put(&mut wanted, "source", json!({ only: true }));
        }
        let (target, pool) = match &self.what {
            What::Instance => (&INSTANCES_POST, Vec::new()),
            What::Volume { pool } => (&VOLUMES_POST, vec![self.pool.clone().unwrap_or_else(|| pool.clone())]),
        };
        let migration = Migration {
            source: Side::new(&self.source, self.source_endpoint(), self.path(), begin),
            target: Side::new(&self.target, target, pool, wanted),
            report: self.report.clone(),
        };
        migration.run(self.mode).await?;
        if self.moves { self.delete().await } else { Ok(()) }
    }

    /// The name of what is copied, without that of what it belongs to.
    fn own_name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or_default()
    }

    /// Whether it is a snapshot.
    fn is_snapshot(&self) -> bool {
        self.name.contains('/')
    }

    /// The names in the path of what is copied.
    fn path(&self) -> Vec<String> {
        match &self.what {
            What::Instance => self.name.splitn(2, '/').map(str::to_owned).collect(),
            What::Volume { pool } => vec![pool.clone(), self.name.clone()],
        }
    }

    fn source_endpoint(&self) -> &'static Endpoint {
        match (&self.what, self.is_snapshot()) {
            (What::Instance, false) => &INSTANCE_POST,
            (What::Instance, true) => &SNAPSHOT_POST,
            (What::Volume { .. }, _) => &VOLUME_POST,
        }
    }

    fn source_request(&self, sent: Sent, reads: bool) -> Box<Request> {
        let endpoint = match (&self.what, reads) {
            (What::Instance, true) if self.is_snapshot() => &SNAPSHOT_GET,
            (What::Instance, true) => &INSTANCE_GET,
            (What::Instance, false) => &INSTANCE_DELETE,
            (What::Volume { .. }, true) => &VOLUME_GET,
            (What::Volume { .. }, false) => &VOLUME_DELETE,
        };
        let path = self.path();
        let path: Vec<_> = path.iter().map(String::as_str).collect();
        Request::new(sent, &self.source, endpoint, &path)
    }

    async fn delete(&self) -> Result<(), Error> {
        Call::<(), NoParameters>::of(self.source_request(Sent::Nothing, false)).await
    }

    /// What a copy of an instance is to be.
    async fn instance(&self, found: &Value) -> Result<Map<String, Value>, Error> {
        let fields =
            ["architecture", "config", "description", "devices", "ephemeral", "profiles", "stateful", "type"];
        let mut wanted = taken(found, &fields);
        if self.is_snapshot() {
            // The type is that of the instance.
            let [instance, ..] = &self.path()[..] else { return Ok(wanted) };
            let request = Request::new(Sent::Nothing, &self.source, &INSTANCE_GET, &[instance]);
            wanted.extend(taken(&Call::<Value, NoParameters>::of(request).await?, &["type"]));
        }
        if let Some(config) = wanted.get_mut("config").and_then(Value::as_object_mut).filter(|_| !self.moves)
        {
            config.retain(|key, _| !key.starts_with("volatile.") || key == "volatile.base_image");
        }
        if let Some(pool) = &self.pool {
            let devices = found["expanded_devices"].as_object().into_iter().flatten();
            let is_root = |device: &Value| device["type"] == "disk" && device["path"] == "/";
            if let Some((name, root)) = devices.clone().find(|(_, device)| is_root(device)) {
                let mut root = root.clone();
                root["pool"] = json!(pool);
                put(&mut wanted, "devices", json!({ name: root }));
            }
        }
        Ok(wanted)
    }
}

/// What a copy of a volume is to be.
fn volume(found: &Value) -> Map<String, Value> {
    let mut wanted = taken(found, &["config", "content_type", "description", "type"]);
    if let Some(config) = wanted.get_mut("config").and_then(Value::as_object_mut) {
        // How the owners of its files are shifted has to go with it.
        config.remove("volatile.uuid");
    }
    wanted
}

/// Somebody who wants to know how much is done: the servers start anew with each part, and tell that at
/// different times, but what was told does not become less.
fn rising(mut report: impl FnMut(Transferred) + Send + 'static) -> Report {
    let mut most = 0;
    Report::new(move |done| {
        if done.bytes > most {
            most = done.bytes;
            report(done);
        }
    })
}

/// Begins an operation by a call that sends JSON.
async fn start(
    client: &Client,
    endpoint: &'static Endpoint,
    path: &[&str],
    body: &Map<String, Value>,
) -> Result<Operation, Error> {
    let sent = Sent::Json(serde_json::to_vec(body));
    Call::<(), NoParameters>::of(Request::new(sent, client, endpoint, path)).start().await
}

/// What is to be another, field by field.
fn object(changes: impl Serialize) -> Result<Map<String, Value>, String> {
    match serde_json::to_value(changes) {
        Ok(Value::Object(changes)) => Ok(changes),
        Ok(_) => Err("the changes are no object".to_owned()),
        Err(error) => Err(format!("the changes cannot be sent: {error}")),
    }
}

/// Those of the fields that are there.
fn taken(found: &Value, fields: &[&str]) -> Map<String, Value> {
    let found = |name: &&str| Some(((*name).to_owned(), found.get(name)?.clone()));
    fields.iter().filter_map(found).collect()
}

/// Puts something in the place of what was there; of objects, field by field.
fn put(fields: &mut Map<String, Value>, name: &str, value: Value) {
    match (fields.get_mut(name), value) {
        (Some(Value::Object(inner)), Value::Object(values)) => put_all(inner, values),
        (_, value) => drop(fields.insert(name.to_owned(), value)),
    }
}

fn put_all(fields: &mut Map<String, Value>, values: Map<String, Value>) {
    for (name, value) in values {
        put(fields, &name, value);
    }
}

impl IntoFuture for CopyToServer {
    type Output = Result<(), Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for CopyToServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CopyToServer")
            .field("source", &self.source)
            .field("name", &self.name)
            .field("target", &self.target)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}
