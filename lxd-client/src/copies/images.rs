//! Copies of images from one server to another, with their aliases.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::servers::Reachable;
use super::{CopyMode, changing, migration, put, put_all, reading, start};
use crate::answer::RawAnswer;
use crate::body::Body;
use crate::call::{Answers, Call, Endpoint, NoParameters, Request, Sent};
use crate::client::Client;
use crate::error::Error;
use crate::images::export::EXPORT;
use crate::images::form::parameter;
use crate::operation::{Operation, Progress};
use crate::transferred::{Report, Transferred};

static IMAGE: Endpoint = reading("image_get", "/1.0/images/{fingerprint}");
static CREATE: Endpoint = changing("images_post", "POST", "/1.0/images");
static PUSH: Endpoint = changing("images_export_post", "POST", "/1.0/images/{fingerprint}/export");
static SECRET: Endpoint = changing("images_secret_post", "POST", "/1.0/images/{fingerprint}/secret");
static ALIASES: Endpoint = aliases("images_aliases_post", "POST", "/1.0/images/aliases");
static ALIAS: Endpoint = aliases("images_aliases_put", "PUT", "/1.0/images/aliases/{name}");

const fn aliases(id: &'static str, method: &'static str, path: &'static str) -> Endpoint {
    let answers = Answers::Nothing;
    Endpoint { id, method, path, query: "", answers, project: true, target: false, background: false }
}

impl Client {
    /// Copies an image to another server. The beginning of a fingerprint is enough, where no other image has
    /// it. Its properties and aliases are kept; aliases that the other server has already lead to the copy
    /// from then on.
    ///
    /// ```no_run
    /// # async fn run(lab: lxd_client::Client, attic: lxd_client::Client) -> Result<(), lxd_client::Error> {
    /// use lxd_client::CopyMode;
    ///
    /// let fingerprint = lab.copy_image("a3b7c2", &attic).mode(CopyMode::Relay).await?;
    /// println!("{}", attic.image(&fingerprint).await?.aliases.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn copy_image(&self, fingerprint: &str, target: &Client) -> CopyImage {
        CopyImage {
            source: self.clone(),
            target: target.clone(),
            fingerprint: fingerprint.to_owned(),
            mode: CopyMode::default(),
            with: Ok(Map::new()),
            report: None,
        }
    }
}

/// A copy of an image on another server; see [`Client::copy_image`]. It is made when this is awaited, which
/// gives its whole fingerprint. Where the other server has the image already, it only gets the aliases.
///
/// # Errors
///
/// Those of any call to both servers; [`Error::Operation`] tells what either of them says of a copy that
/// failed, and [`Error::Configuration`] where the one has no address
/// at which the other could reach it.
#[must_use = "a copy is made when this is awaited"]
pub struct CopyImage {
    source: Client,
    target: Client,
    fingerprint: String,
    mode: CopyMode,
    with: Result<Map<String, Value>, String>,
    report: Option<Report>,
}

impl CopyImage {
    /// How the bytes go from one server to the other; [`CopyMode::Pull`] where this is not called.
    pub fn mode(mut self, mode: CopyMode) -> Self {
        self.mode = mode;
        self
    }

    /// What the copy is to have otherwise than the source, as a body of the call that makes one (such as
    /// `ImagesPost`): whether it is public, its properties and profiles; in a pull, whether it follows the
    /// source (`auto_update`); and in a relay of a single file, its name. A copy is not public where this does
    /// not say so.
    pub fn with(mut self, changes: impl Serialize) -> Self {
        self.with = super::object(changes);
        self
    }

    /// Tells how many bytes have gone over: exactly in a relay, and else as the servers tell, which is not
    /// often.
    pub fn progress(mut self, report: impl FnMut(Transferred) + Send + 'static) -> Self {
        self.report = Some(super::rising(report));
        self
    }

    async fn run(self) -> Result<String, Error> {
        let request = Request::new(Sent::Nothing, &self.source, &IMAGE, &[&self.fingerprint]);
        let call = request.name();
        let changes = self.with.clone().map_err(|message| Error::Argument { call, message })?;
        let image = Call::<Value, NoParameters>::of(request).await?;
        let fingerprint = image["fingerprint"].as_str().unwrap_or_default().to_owned();
        let mut wanted = super::taken(&image, &["filename", "properties"]);
        put_all(&mut wanted, changes);
        let there = Request::new(Sent::Nothing, &self.target, &IMAGE, &[&fingerprint]);
        let there = Call::<Value, NoParameters>::of(there).await;
        match self.mode {
            _ if there.is_ok() => {}
            CopyMode::Pull => self.pull(&image, &fingerprint, wanted).await?,
            CopyMode::Push => self.push(&image, &fingerprint, wanted).await?,
            CopyMode::Relay => self.relay(&fingerprint, &wanted).await?,
        }
        for alias in image["aliases"].as_array().into_iter().flatten() {
            self.keep(alias, &fingerprint).await?;
        }
        Ok(fingerprint)
    }

    /// The target downloads it.
    async fn pull(&self, image: &Value, fingerprint: &str, wanted: Map<String, Value>) -> Result<(), Error> {
        let reachable = Reachable::of(&self.source).await?;
        let mut failures = migration::Failures::default();
        for address in &reachable.addresses {
            let mut from = json!({
                "type": "image",
                "mode": "pull",
                "protocol": "lxd",
                "server": address,
                "certificate": reachable.certificate,
                "fingerprint": fingerprint,
            });
            if let Some(project) = self.source.default_project() {
                from["project"] = json!(project);
            }
            let secret = match image["public"] == true {
                true => None,
                // Each can be used once.
                false => Some(start(&self.source, &SECRET, &[fingerprint], &Map::new()).await?),
            };
            if let Some(secret) = &secret {
                from["secret"] = secret.metadata()["secret"].clone();
            }
            let mut wanted = wanted.clone();
            put(&mut wanted, "source", from);
            let (copied, is_address_good) =
                self.ended(start(&self.target, &CREATE, &[], &wanted).await, image).await;
            if let Some(secret) = &secret {
                let_go(secret).await;
            }
            match copied {
                Ok(()) => return Ok(()),
                Err(error) => failures.add(error),
            }
            if is_address_good {
                break;
            }
        }
        Err(failures.error())
    }

    /// The source uploads it.
    async fn push(&self, image: &Value, fingerprint: &str, wanted: Map<String, Value>) -> Result<(), Error> {
        let reachable = Reachable::of(&self.target).await?;
        let mut failures = migration::Failures::default();
        for address in &reachable.addresses {
            let mut wanted = wanted.clone();
            let from = json!({"type": "image", "mode": "push", "fingerprint": fingerprint});
            put(&mut wanted, "source", from);
            let expected = start(&self.target, &CREATE, &[], &wanted).await?;
            let mut to = Map::from_iter([
                ("target".to_owned(), json!(address)),
                ("certificate".to_owned(), json!(reachable.certificate)),
                ("secret".to_owned(), expected.metadata()["secret"].clone()),
            ]);
            if let Some(project) = self.target.default_project() {
                to.insert("project".to_owned(), json!(project));
            }
            if let Some(profiles) = wanted.get("profiles") {
                to.insert("profiles".to_owned(), profiles.clone());
            }
            let (pushed, is_address_good) =
                self.ended(start(&self.source, &PUSH, &[fingerprint], &to).await, image).await;
            match pushed {
                Ok(()) => return Ok(()),
                Err(error) => failures.add(error),
            }
            let_go(&expected).await;
            if is_address_good {
                break;
            }
        }
        Err(failures.error())
    }

    /// This client downloads and uploads it at the same time.
    async fn relay(&self, fingerprint: &str, wanted: &Map<String, Value>) -> Result<(), Error> {
        let request = Request::new(Sent::Nothing, &self.source, &EXPORT, &[fingerprint]);
        let answer = Call::<RawAnswer, NoParameters>::of(request).await?;
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let content_type = header(CONTENT_TYPE).map(str::to_owned);
        let name = header(CONTENT_DISPOSITION).and_then(|value| parameter(value, "filename"));
        // The form of two files is the same in both directions.
        let mut request = Request::new(Sent::Bytes(Body::answer(answer)), &self.target, &CREATE, &[]);
        if let Some(content_type) = content_type.filter(|kind| kind.starts_with("multipart/form-data")) {
            request.header(CONTENT_TYPE, &content_type);
        }
        request.report = self.report.clone();
        let mut call = Call::<(), NoParameters>::of(request).header_value("x-lxd-fingerprint", &fingerprint);
        let wanted_name = wanted.get("filename").and_then(Value::as_str).filter(|name| !name.is_empty());
        if let Some(name) = wanted_name.map(str::to_owned).or(name) {
            call = call.header_value("x-lxd-filename", &name);
        }
        if wanted.get("public").is_some_and(|public| public == true) {
            call = call.header_value("x-lxd-public", &true);
        }
        let texts = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if let Some(properties) = wanted.get("properties").and_then(Value::as_object) {
            let properties = properties.iter().map(|(key, value)| (key.clone(), texts(value))).collect();
            call = call.header_map("x-lxd-properties", &properties);
        }
        if let Some(profiles) = wanted.get("profiles").and_then(Value::as_array) {
            let profiles: Vec<_> = profiles.iter().map(texts).collect();
            let profiles: Vec<_> = profiles.iter().map(String::as_str).collect();
            call = call.header_list("x-lxd-profiles", "profile", &profiles);
        }
        call.await
    }

    /// What becomes of an operation that was begun or not, and whether bytes have gone over: then it is not the
    /// address that was wrong.
    async fn ended(&self, begun: Result<Operation, Error>, image: &Value) -> (Result<(), Error>, bool) {
        match begun {
            Ok(operation) => {
                let ended = self.told(&operation, image).await;
                (ended, Progress::of(&operation.metadata()).is_some())
            }
            Err(error) => (Err(error), false),
        }
    }

    /// Waits for the end of an operation, and tells how far it is.
    async fn told(&self, operation: &Operation, image: &Value) -> Result<(), Error> {
        if let Some(report) = &self.report {
            let total = image["size"].as_u64();
            let mut progress = operation.progress();
            while let Some(progress) = progress.next().await {
                // There is a percentage for each file, of which that of the metadata is small.
                let percent = progress.percent.filter(|_| !progress.text.starts_with("metadata"));
                let part = percent.zip(total).map(|(percent, total)| total * u64::from(percent) / 100);
                if let Some(bytes) = progress.processed.or(part) {
                    report.tell(Transferred { bytes, total });
                }
            }
        }
        operation.wait().await
    }

    /// Gives the copy an alias of the source.
    async fn keep(&self, alias: &Value, fingerprint: &str) -> Result<(), Error> {
        let name = alias["name"].as_str().unwrap_or_default();
        let entry = json!({
            "name": name,
            "target": fingerprint,
            "description": alias["description"].as_str().unwrap_or_default(),
        });
        match done(&self.target, &ALIASES, &[], &entry).await {
            Err(error) if error.is_conflict() => done(&self.target, &ALIAS, &[name], &entry).await,
            kept => kept,
        }
    }
}

/// Lets go of an operation that waits for somebody who is not to come.
async fn let_go(waiting: &Operation) {
    if let Err(error) = waiting.cancel().await {
        // It has been used, or ends with the server.
        tracing::debug!(target: "lxd_client::copies", %error, "the secret of an image is left");
    }
}

async fn done(
    client: &Client,
    endpoint: &'static Endpoint,
    path: &[&str],
    body: &Value,
) -> Result<(), Error> {
    let sent = Sent::Json(serde_json::to_vec(body));
    Call::<(), NoParameters>::of(Request::new(sent, client, endpoint, path)).await
}

impl IntoFuture for CopyImage {
    type Output = Result<String, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for CopyImage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CopyImage")
            .field("source", &self.source)
            .field("fingerprint", &self.fingerprint)
            .field("target", &self.target)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}
