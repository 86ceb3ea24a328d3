//! The state that a mock keeps, against that of a real LXD: the same calls to both, and the same answers, field by
//! field.

use std::collections::BTreeMap;
use std::future::IntoFuture;

use futures_util::StreamExt;
use lxd_client::mock::MockLxd;
use lxd_client::types::{
    ImageAlias, ImageAliasesEntryPost, ImageAliasesEntryPut, ImageAliasesPost, ImagePatch, ImagePut,
    ImagesPost, ImagesPostSource, Instance, InstanceAction, InstancePatch, InstancePost, InstancePut,
    InstanceSnapshotPatch, InstanceSnapshotPost, InstanceSnapshotPut, InstanceSnapshotsPost, InstanceSource,
    InstanceStatePut, InstancesPost, InstancesPut, ProfilePatch, ProfilePost, ProfilePut, ProfilesPost,
    ProjectPatch, ProjectPost, ProjectPut, ProjectsPost,
};
use lxd_client::{Call, Client, Error, EventContent};
use lxd_tests::real::{client, map, root_disk, texts, with_project};
use serde::Serialize;
use serde_json::{Value, json};

/// The answers to calls, in their order.
#[derive(Default)]
struct Noted {
    steps: Vec<(String, Value)>,
    /// What differs from server to server, and what is put in its place.
    names: Vec<(String, &'static str)>,
}

impl Noted {
    /// Makes a call, and notes what it answers.
    async fn call<T: Serialize>(
        &mut self,
        step: &str,
        call: impl IntoFuture<Output = Result<T, Error>>,
    ) -> Option<T> {
        let outcome = call.await;
        self.note(step, &outcome);
        outcome.ok()
    }

    /// The same of one that begins an operation: also what that is called.
    async fn operation<P>(&mut self, step: &str, call: Call<(), P>) {
        match call.start().await {
            Ok(operation) => {
                self.note(&format!("{step}: begun"), &Ok(operation.description()));
                self.note(step, &operation.wait().await);
            }
            Err(error) => self.note::<()>(step, &Err(error)),
        }
    }

    fn note<T: Serialize>(&mut self, step: &str, outcome: &Result<T, Error>) {
        let answer = match outcome {
            Ok(value) => serde_json::to_value(value).expect("a value of the wire"),
            Err(Error::Api { status, message, .. }) => json!({"refused": status, "message": message}),
            Err(Error::Operation { message, .. }) => json!({"failed": message}),
            Err(other) => panic!("{step}: {other}"),
        };
        let mut text = answer.to_string();
        for (name, stand_in) in &self.names {
            text = text.replace(name, stand_in);
        }
        let answer = serde_json::from_str(&text).expect("JSON");
        self.steps.push((step.to_owned(), comparable("", answer)));
    }
}

/// A value without what cannot be the same on both sides:
/// - `volatile` keys are what a server keeps for itself;
/// - what is read out of the file of an image (its description and system), which is none to a mock;
/// - the architecture is that of the machine;
/// - times are compared by whether they are set;
/// - how much of the machine what runs uses, by whether it uses any; the interfaces and disks by nothing;
/// - the size of an image that is published, which only the mock does not pack.
fn comparable(name: &str, value: Value) -> Value {
    match value {
        Value::Object(entries) => {
            let of_image = ["image.description", "image.os", "os", "disk", "network", "location"];
            let kept = entries.into_iter().filter(|(key, value)| {
                let is_tar = name == "properties" && key == "description" && value == "busybox";
                !key.starts_with("volatile.") && !of_image.contains(&key.as_str()) && !is_tar
            });
            kept.map(|(key, value)| (key.clone(), comparable(&key, value))).collect()
        }
        Value::Array(items) => items.into_iter().map(|item| comparable(name, item)).collect(),
        Value::String(_) if name == "architecture" => json!("an architecture"),
        Value::Number(_) if ["usage", "usage_peak", "pid", "processes"].contains(&name) => json!("a number"),
        Value::Number(_) if name == "size" => json!("a size"),
        Value::String(text) => match text.parse::<jiff::Timestamp>() {
            Ok(_) => json!("a time"),
            // The marks of a state are made in another way.
            Err(_) => json!(
                text.split_once("ETag doesn't match")
                    .map_or(text.clone(), |(before, _)| { format!("{before}ETag doesn't match") })
            ),
        },
        value => value,
    }
}

/// The first difference of two lists of answers, for people.
fn difference(step: &str, mock: &Value, real: &Value) -> Option<String> {
    match (mock, real) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
            keys.into_iter().find_map(|key| {
                let null = &Value::Null;
                let (one, other) = (one.get(key).unwrap_or(null), other.get(key).unwrap_or(null));
                difference(&format!("{step} {key}"), one, other)
            })
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let mut both = one.iter().zip(other).enumerate();
            both.find_map(|(at, (one, other))| difference(&format!("{step} [{at}]"), one, other))
        }
        _ if mock == real => None,
        _ => Some(format!("{step}:\n  the mock says {mock}\n  LXD says      {real}")),
    }
}

fn source(kind: &str) -> InstanceSource {
    InstanceSource { r#type: kind.into(), ..Default::default() }
}

fn new(name: &str, source: InstanceSource) -> InstancesPost {
    InstancesPost { name: name.into(), source: Some(source), ..Default::default() }
}

fn state(action: InstanceAction) -> InstanceStatePut {
    InstanceStatePut { action, force: true, timeout: 30, ..Default::default() }
}

async fn projects(lxd: &Client, own: &str, noted: &mut Noted) {
    let name = |what: &str| format!("{own}-{what}");
    let (a, b, c) = (&name("a"), &name("b"), &name("c"));
    let post = |name: &str, config: &[(&str, &str)]| ProjectsPost {
        name: name.into(),
        description: "a project".into(),
        config: config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ..Default::default()
    };
    noted.call("create a project", lxd.create_project(post(a, &[]))).await;
    noted.call("get it", lxd.project(a)).await;
    noted.call("create it again", lxd.create_project(post(a, &[]))).await;
    let shared = [("features.images", "false"), ("features.profiles", "false")];
    noted.call("create one that shares", lxd.create_project(post(b, &shared))).await;
    noted.call("get that", lxd.project(b)).await;
    for wrong in ["", "a b", "a/b"] {
        noted.call(&format!("create a project `{wrong}`"), lxd.create_project(post(wrong, &[]))).await;
    }
    noted.call("get none", lxd.project(c)).await;
    noted.call("state of none", lxd.project_state(c)).await;
    noted.call("delete none", lxd.delete_project(c)).await;
    noted.call("change none", lxd.update_project(c, ProjectPut::default())).await;
    let mut listed = lxd.projects_recursion1().await.expect("a list");
    listed.retain(|project| project.name.starts_with(own) && project.name != own);
    noted.note("list", &Ok(listed));
    let patch = ProjectPatch { description: Some("changed".into()), ..Default::default() };
    noted.call("patch its description", lxd.modify_project(a, patch)).await;
    noted.call("get it changed", lxd.project(a)).await;
    noted.call("get the state", lxd.project_state(a)).await;
    let in_a = lxd.use_project(a);
    noted.call("its profiles", in_a.profiles_recursion1()).await;
    noted.call("profiles of one that shares", lxd.use_project(b).profiles()).await;
    noted.call("a profile in it", in_a.create_profile(named("p"))).await;
    noted.call("get it used", lxd.project(a)).await;
    noted.call("rename it in use", lxd.rename_project(a, ProjectPost { name: c.clone() })).await;
    noted.call("delete it in use", lxd.delete_project(a)).await;
    // One alone: of several, the server names any.
    let config = texts([("features.images", "true"), ("features.storage.volumes", "true")]);
    let features = ProjectPut { config, ..Default::default() };
    noted.call("change features in use", lxd.update_project(a, features)).await;
    noted.call("delete the profile", in_a.delete_profile("p")).await;
    noted.call("rename to a name in use", lxd.rename_project(a, ProjectPost { name: b.clone() })).await;
    noted.operation("rename it", lxd.rename_project(a, ProjectPost { name: c.clone() })).await;
    noted.call("get it by its old name", lxd.project(a)).await;
    noted.call("get it by its new one", lxd.project(c)).await;
    noted.call("rename the first", lxd.rename_project("default", ProjectPost { name: c.clone() })).await;
    noted.call("delete the first", lxd.delete_project("default")).await;
    for one in [b, c] {
        noted.call("delete", lxd.delete_project(one)).await;
    }
    noted.call("get it deleted", lxd.project(c)).await;
    let nowhere = lxd.use_project(a);
    noted.call("instances of no project", nowhere.instances()).await;
    noted.call("profiles of no project", nowhere.profiles()).await;
    noted.call("images of no project", nowhere.images()).await;
    noted.call("an instance in no project", nowhere.create_instance(new("c1", source("none")))).await;
}

fn named(name: &str) -> ProfilesPost {
    ProfilesPost { name: name.into(), ..Default::default() }
}

async fn profiles(lxd: &Client, noted: &mut Noted) {
    let config = texts([("user.a", "1")]);
    let devices = map([("none", texts([("type", "none")]))]);
    let full = ProfilesPost { name: "f1".into(), description: "d".into(), config, devices };
    noted.call("create a profile", lxd.create_profile(full)).await;
    noted.call("create it again", lxd.create_profile(named("f1"))).await;
    for wrong in ["", "a/b"] {
        noted.call(&format!("create a profile `{wrong}`"), lxd.create_profile(named(wrong))).await;
    }
    let unknown = ProfilesPost { config: texts([("nokey", "1")]), ..named("f9") };
    noted.call("create one with an unknown key", lxd.create_profile(unknown)).await;
    noted.call("list names", lxd.profiles()).await;
    noted.call("list", lxd.profiles_recursion1()).await;
    noted.call("get", lxd.profile("f1")).await;
    noted.call("get none", lxd.profile("f9")).await;
    noted.call("put none", lxd.update_profile("f9", ProfilePut::default())).await;
    noted.call("patch none", lxd.modify_profile("f9", ProfilePatch::default())).await;
    noted.call("rename none", lxd.rename_profile("f9", ProfilePost { name: "f8".into() })).await;
    noted.call("delete none", lxd.delete_profile("f9")).await;
    let put = ProfilePut { description: "e".into(), config: texts([("user.b", "1")]), ..Default::default() };
    noted.call("put", lxd.update_profile("f1", put)).await;
    let entry = |key: &str, value: Option<&str>| [(key.to_owned(), value.map(str::to_owned))].into();
    let patch = ProfilePatch { config: Some(entry("user.c", Some("2"))), ..Default::default() };
    noted.call("patch", lxd.modify_profile("f1", patch)).await;
    noted.call("get it patched", lxd.profile("f1")).await;
    let patch = ProfilePatch { config: Some(entry("user.c", None)), ..Default::default() };
    noted.call("patch a key away", lxd.modify_profile("f1", patch)).await;
    noted.call("get it without", lxd.profile("f1")).await;
    let unknown = ProfilePut { config: texts([("nokey", "1")]), ..Default::default() };
    noted.call("put an unknown key", lxd.update_profile("f1", unknown)).await;
    let stale = lxd.update_profile("f1", ProfilePut::default()).if_match("stale");
    noted.call("put what is stale", stale).await;
    let marked = lxd.profile("f1").response().await.expect("a profile");
    let fresh =
        lxd.update_profile("f1", marked.value.clone().into()).if_match(marked.etag().expect("a mark"));
    noted.call("put what is fresh", fresh).await;
    noted
        .call("rename to one in use", lxd.rename_profile("f1", ProfilePost { name: "default".into() }))
        .await;
    noted.call("rename", lxd.rename_profile("f1", ProfilePost { name: "f2".into() })).await;
    noted.call("rename the first", lxd.rename_profile("default", ProfilePost { name: "f3".into() })).await;
    noted.call("delete the first", lxd.delete_profile("default")).await;
    let with =
        InstancesPost { profiles: Some(vec!["default".into(), "f2".into()]), ..new("c9", source("none")) };
    noted.operation("use it", lxd.create_instance(with)).await;
    noted.call("get it used", lxd.profile("f2")).await;
    noted.call("get what uses it", lxd.instance("c9")).await;
    noted.call("delete it used", lxd.delete_profile("f2")).await;
    noted.call("rename it used", lxd.rename_profile("f2", ProfilePost { name: "f4".into() })).await;
    noted.call("get what uses it renamed", lxd.instance("c9")).await;
    noted.operation("use it no more", lxd.delete_instance("c9")).await;
    noted.call("delete it", lxd.delete_profile("f4")).await;
}

async fn images(lxd: &Client, image: &[u8], noted: &mut Noted) {
    let upload = || lxd.upload_image(image.to_vec());
    let properties: BTreeMap<_, _> = texts([("z", "1 & 2"), ("y", "2")]);
    let first = upload().public(true).filename("f.tgz").properties(&properties);
    let fingerprint = &noted.call("upload", first).await.expect("an image").fingerprint;
    noted.call("upload it again", upload()).await;
    noted.call("upload with a wrong fingerprint", upload().fingerprint(&"0".repeat(64))).await;
    noted.call("list names", lxd.images()).await;
    noted.call("list", lxd.images_recursion1()).await;
    noted.call("get", lxd.image(fingerprint)).await;
    noted.call("get by its beginning", lxd.image(&fingerprint[..12])).await;
    noted.call("get none", lxd.image("00000000")).await;
    noted.call("put none", lxd.update_image("00000000", ImagePut::default())).await;
    noted.call("delete none", lxd.delete_image("00000000")).await;
    noted.call("export none", async { lxd.image_export("00000000").await.map(drop) }).await;
    let bytes = lxd.image_export(fingerprint).await.expect("an image").bytes().await.expect("its bytes");
    assert_eq!(bytes, image);
    let put = ImagePut {
        properties: texts([("a", "1")]),
        ..lxd.image(fingerprint).await.expect("an image").into()
    };
    noted.call("put", lxd.update_image(fingerprint, put)).await;
    let entry = [("b".to_owned(), Some("2".to_owned()))].into();
    let patch = ImagePatch { properties: Some(entry), public: Some(false), ..Default::default() };
    noted.call("patch", lxd.modify_image(fingerprint, patch)).await;
    noted.call("get it changed", lxd.image(fingerprint)).await;

    let alias = |name: &str, target: &str| ImageAliasesPost {
        name: name.into(),
        target: target.into(),
        description: "d".into(),
        ..Default::default()
    };
    noted.call("add an alias", lxd.add_images_alias(alias("a1", fingerprint))).await;
    noted.call("add it again", lxd.add_images_alias(alias("a1", fingerprint))).await;
    noted.call("add one to nothing", lxd.add_images_alias(alias("a2", "00000000"))).await;
    noted.call("add one without a name", lxd.add_images_alias(alias("", fingerprint))).await;
    noted.call("add another", lxd.add_images_alias(alias("a2", &fingerprint[..12]))).await;
    noted.call("list aliases", lxd.images_aliases()).await;
    noted.call("list them in full", lxd.images_aliases_recursion1()).await;
    noted.call("get an alias", lxd.image_alias("a1")).await;
    noted.call("get no alias", lxd.image_alias("a9")).await;
    let put = ImageAliasesEntryPut { target: fingerprint.clone(), description: "e".into() };
    noted.call("put an alias", lxd.update_image_alias("a2", put.clone())).await;
    noted.call("put no alias", lxd.update_image_alias("a9", put)).await;
    let put = ImageAliasesEntryPut { description: "e".into(), ..Default::default() };
    noted.call("put an alias without a target", lxd.update_image_alias("a2", put)).await;
    let post = |name: &str| ImageAliasesEntryPost { name: name.into() };
    noted.call("rename an alias to one in use", lxd.rename_images_alias("a2", post("a1"))).await;
    noted.call("rename no alias", lxd.rename_images_alias("a9", post("a8"))).await;
    noted.call("image with aliases", lxd.image(fingerprint)).await;
    noted.call("delete an alias", lxd.delete_image_alias("a2")).await;
    noted.call("delete it again", lxd.delete_image_alias("a2")).await;

    let by = |source: InstanceSource| new("i1", source);
    let with_fingerprint = InstanceSource { fingerprint: fingerprint.clone(), ..source("image") };
    noted.operation("an instance by fingerprint", lxd.create_instance(by(with_fingerprint))).await;
    let with_alias = InstanceSource { alias: "a1".into(), ..source("image") };
    noted.operation("an instance by alias", lxd.create_instance(new("i2", with_alias))).await;
    noted.call("get the instance", lxd.instance("i2")).await;

    let from = |kind: &str, name: &str| ImagesPostSource {
        r#type: kind.into(),
        name: name.into(),
        ..Default::default()
    };
    let publish = |source| ImagesPost { source: Some(source), ..Default::default() };
    let aliases = vec![ImageAlias { name: "pub".into(), description: "d".into() }];
    let properties = texts([("q", "1")]);
    let post = ImagesPost { aliases, properties, ..publish(from("instance", "i2")) };
    let published = lxd.create_image(post).await.expect("an image").fingerprint;
    noted.names.push((published.clone(), "PUBLISHED"));
    let mut about = lxd.image(&published).await.expect("an image");
    // Where it is packed, it gets a name.
    about.filename.clear();
    noted.note("get what was published", &Ok(about));
    noted.call("its alias", lxd.image_alias("pub")).await;
    noted.call("publish what is not there", lxd.create_image(publish(from("instance", "i9")))).await;
    noted.call("publish something else", lxd.create_image(publish(from("bogus", "i1")))).await;
    for instance in ["i1", "i2"] {
        noted.operation("delete the instance", lxd.delete_instance(instance)).await;
    }
    noted.operation("delete what was published", lxd.delete_image(&published)).await;
    noted.operation("delete", lxd.delete_image(fingerprint)).await;
    noted.call("get it deleted", lxd.image(fingerprint)).await;
    noted.call("its alias is gone too", lxd.image_alias("a1")).await;
}

async fn instances(lxd: &Client, noted: &mut Noted) {
    let busybox = || InstanceSource { alias: "busybox".into(), ..source("image") };
    let full = InstancesPost {
        description: "d".into(),
        config: texts([("user.a", "1")]),
        devices: map([("none", texts([("type", "none")]))]),
        ..new("c1", busybox())
    };
    noted.operation("create", lxd.create_instance(full)).await;
    noted.call("get", lxd.instance("c1")).await;
    noted.call("get in full", lxd.instance_recursion1("c1")).await;
    noted.call("list names", lxd.instances()).await;
    noted.call("list", lxd.instances_recursion1()).await;
    noted.call("list in full", lxd.instances_recursion2()).await;
    noted.call("state", lxd.instance_state("c1")).await;
    noted.operation("create it again", lxd.create_instance(new("c1", source("none")))).await;
    let wrong = [
        ("by no alias", new("c2", InstanceSource { alias: "nope".into(), ..source("image") })),
        ("by no fingerprint", new("c2", InstanceSource { fingerprint: "0000".into(), ..source("image") })),
        ("by nothing", new("c2", source("image"))),
        ("from something else", new("c2", source("bogus"))),
        ("with a name", new("c_2", source("none"))),
        ("with a digit", new("2c", source("none"))),
        (
            "with no profile",
            InstancesPost { profiles: Some(vec!["nope".into()]), ..new("c2", source("none")) },
        ),
        ("with no disk", InstancesPost { profiles: Some(Vec::new()), ..new("c2", source("none")) }),
        (
            "with an unknown key",
            InstancesPost { config: texts([("nokey", "1")]), ..new("c2", source("none")) },
        ),
        ("as a copy of nothing", new("c2", InstanceSource { source: "nope".into(), ..source("copy") })),
    ];
    for (what, post) in wrong {
        noted.operation(&format!("create {what}"), lxd.create_instance(post)).await;
    }
    noted.call("get none", lxd.instance("c9")).await;
    noted.call("state of none", lxd.instance_state("c9")).await;
    noted.operation("put none", lxd.update_instance("c9", InstancePut::default())).await;
    noted.call("patch none", lxd.modify_instance("c9", InstancePatch::default())).await;
    noted
        .operation(
            "rename none",
            lxd.migrate_instance("c9", InstancePost { name: "c8".into(), ..Default::default() }),
        )
        .await;
    noted.operation("delete none", lxd.delete_instance("c9")).await;
    noted.operation("start none", lxd.update_instance_state("c9", state(InstanceAction::Start))).await;

    let read = |instance: Instance| {
        let mut put = InstancePut::from(instance);
        put.description = "e".into();
        put.config.remove("user.a");
        put.config.insert("user.b".into(), "1".into());
        put
    };
    let put = read(lxd.instance("c1").await.expect("an instance"));
    noted.operation("put", lxd.update_instance("c1", put.clone())).await;
    noted.call("get it changed", lxd.instance("c1")).await;
    noted.call("put what is stale", lxd.update_instance("c1", put.clone()).if_match("stale")).await;
    let mut unknown = put.clone();
    unknown.config.insert("nokey".into(), "1".into());
    noted.operation("put an unknown key", lxd.update_instance("c1", unknown)).await;
    let unfit = InstancePut { profiles: vec!["nope".into()], ..put.clone() };
    noted.operation("put no profile", lxd.update_instance("c1", unfit)).await;
    let entry = |key: &str, value: Option<&str>| Some([(key.to_owned(), value.map(str::to_owned))].into());
    let patch = InstancePatch { config: entry("user.c", Some("1")), ..Default::default() };
    noted.call("patch", lxd.modify_instance("c1", patch)).await;
    let patch = InstancePatch { config: entry("user.b", None), ..Default::default() };
    noted.call("patch a key away", lxd.modify_instance("c1", patch)).await;
    let patch = InstancePatch { config: entry("nokey", Some("1")), ..Default::default() };
    noted.call("patch an unknown key", lxd.modify_instance("c1", patch)).await;
    noted.call("get it patched", lxd.instance("c1")).await;

    use InstanceAction::{Freeze, Restart, Start, Stop, Unfreeze};
    for (at, action) in [
        Stop, Freeze, Unfreeze, Restart, Start, Start, Unfreeze, Freeze, Freeze, Start, Unfreeze, Restart,
        Freeze, Unfreeze,
    ]
    .into_iter()
    .enumerate()
    {
        let step = format!("{at}: {action}");
        noted.operation(&step, lxd.update_instance_state("c1", state(action))).await;
        noted.note(&format!("{step}, and then"), &lxd.instance("c1").await.map(|instance| instance.status));
    }
    noted.operation("do something else", lxd.update_instance_state("c1", state("bogus".into()))).await;
    noted.call("get it running", lxd.instance("c1")).await;
    noted.call("state of what runs", lxd.instance_state("c1")).await;
    noted.operation("delete it running", lxd.delete_instance("c1")).await;
    let rename = |name: &str| InstancePost { name: name.into(), ..Default::default() };
    noted.operation("rename it running", lxd.migrate_instance("c1", rename("c3"))).await;
    let publish = ImagesPostSource { r#type: "instance".into(), name: "c1".into(), ..Default::default() };
    let publish = ImagesPost { source: Some(publish), ..Default::default() };
    noted.call("publish it running", lxd.create_image(publish)).await;
    noted.operation("stop all", lxd.update_instances(InstancesPut { state: Some(state(Stop)) })).await;
    noted.operation("rename", lxd.migrate_instance("c1", rename("c3"))).await;
    noted.operation("rename to itself", lxd.migrate_instance("c3", rename("c3"))).await;
    noted.operation("rename to a snapshot", lxd.migrate_instance("c3", rename("c/3"))).await;
    noted.operation("rename to no name", lxd.migrate_instance("c3", rename("c_3"))).await;
    noted.call("get it renamed", lxd.instance("c3")).await;
    snapshots(lxd, noted).await;

    let ephemeral = InstancesPost { ephemeral: true, ..new("e1", busybox()) };
    noted.operation("create what does not last", lxd.create_instance(ephemeral)).await;
    noted.operation("start it", lxd.update_instance_state("e1", state(Start))).await;
    noted.operation("stop it", lxd.update_instance_state("e1", state(Stop))).await;
    noted.note("it is gone", &gone(lxd, "e1").await);
    noted.call("list what is left", lxd.instances()).await;
    noted
        .call("of all projects", async {
            let all = lxd.instances().all_projects(true).await?;
            let own = lxd.instances().await?;
            Ok(all.iter().filter(|url| own.contains(url)).count())
        })
        .await;
    for name in ["c3", "c4", "c5"] {
        noted.operation("delete", lxd.delete_instance(name)).await;
    }
    noted.call("list nothing", lxd.instances_recursion2()).await;
}

/// Asks for what is deleted after the operation that stopped it, until it is.
async fn gone(lxd: &Client, name: &str) -> Result<Instance, Error> {
    while lxd.instance(name).await.is_ok() {
        tokio::task::yield_now().await;
    }
    lxd.instance(name).await
}

async fn snapshots(lxd: &Client, noted: &mut Noted) {
    let post = |name: &str| InstanceSnapshotsPost { name: name.into(), ..Default::default() };
    noted.operation("snapshot", lxd.create_instance_snapshot("c3", post(""))).await;
    noted.operation("snapshot s", lxd.create_instance_snapshot("c3", post("s"))).await;
    noted.operation("snapshot s again", lxd.create_instance_snapshot("c3", post("s"))).await;
    noted.operation("snapshot s/x", lxd.create_instance_snapshot("c3", post("s/x"))).await;
    noted.operation("snapshot none", lxd.create_instance_snapshot("c9", post("s"))).await;
    noted
        .operation("snapshot with an end", {
            let expires_at = "2050-01-01T00:00:00Z".parse().ok();
            lxd.create_instance_snapshot("c3", InstanceSnapshotsPost { expires_at, ..post("") })
        })
        .await;
    noted.call("list snapshots", lxd.instance_snapshots("c3")).await;
    noted.call("list them in full", lxd.instance_snapshots_recursion1("c3")).await;
    noted.call("list those of none", lxd.instance_snapshots("c9")).await;
    noted.call("get a snapshot", lxd.instance_snapshot("c3", "s")).await;
    noted.call("get no snapshot", lxd.instance_snapshot("c3", "n")).await;
    noted.call("get the instance in full", lxd.instance_recursion1("c3")).await;
    let put = InstanceSnapshotPut { expires_at: "2050-01-01T00:00:00Z".parse().ok() };
    noted.operation("put a snapshot", lxd.update_instance_snapshot("c3", "s", put.clone())).await;
    noted.operation("put no snapshot", lxd.update_instance_snapshot("c3", "n", put)).await;
    noted.call("get it put", lxd.instance_snapshot("c3", "s")).await;
    let put = InstanceSnapshotPut::default();
    noted.operation("put nothing into a snapshot", lxd.update_instance_snapshot("c3", "s", put)).await;
    noted.call("get it as it was", lxd.instance_snapshot("c3", "s")).await;
    let patch = InstanceSnapshotPatch { expires_at: Some(lxd_client::types::NEVER) };
    noted.operation("patch a snapshot", lxd.modify_instance_snapshot("c3", "s", patch)).await;
    noted.call("get it patched", lxd.instance_snapshot("c3", "s")).await;
    let rename = |name: &str| InstanceSnapshotPost { name: name.into(), ..Default::default() };
    noted.operation("rename a snapshot", lxd.migrate_instance_snapshot("c3", "s", rename("t"))).await;
    noted
        .operation("rename it to one in use", lxd.migrate_instance_snapshot("c3", "t", rename("snap0")))
        .await;
    noted.operation("rename no snapshot", lxd.migrate_instance_snapshot("c3", "n", rename("x"))).await;

    let patch = InstancePatch {
        config: Some([("user.after".to_owned(), Some("1".to_owned()))].into()),
        description: Some("after".into()),
        ..Default::default()
    };
    noted.call("change the instance", lxd.modify_instance("c3", patch)).await;
    let restore = |name: &str| InstancePut { restore: name.into(), ..Default::default() };
    noted.operation("restore nothing", lxd.update_instance("c3", restore("n"))).await;
    noted.operation("restore", lxd.update_instance("c3", restore("t"))).await;
    noted.call("get it restored", lxd.instance("c3")).await;

    let copy = |name: &str, from: &str| InstancesPost {
        profiles: Some(vec!["default".into()]),
        ..new(name, InstanceSource { source: from.into(), ..source("copy") })
    };
    noted.operation("copy a snapshot", lxd.create_instance(copy("c4", "c3/t"))).await;
    noted.operation("copy no snapshot", lxd.create_instance(copy("c6", "c3/n"))).await;
    noted.operation("copy the instance", lxd.create_instance(copy("c5", "c3"))).await;
    noted.call("get the copied snapshot", lxd.instance("c4")).await;
    noted.call("get the copied instance", lxd.instance("c5")).await;
    noted.call("with its snapshots", lxd.instance_snapshots("c5")).await;
    let bare = InstancesPost { profiles: None, ..copy("c7", "c3") };
    noted.operation("copy without profiles", lxd.create_instance(bare)).await;
    noted.operation("delete a snapshot", lxd.delete_instance_snapshot("c3", "t")).await;
    noted.operation("delete it again", lxd.delete_instance_snapshot("c3", "t")).await;
}

/// What is asked of both, in a project where images are shared and the default profile has a disk.
async fn script(lxd: &Client, own: &str, image: &[u8]) -> Noted {
    let mut noted = Noted::default();
    projects(lxd, own, &mut noted).await;
    profiles(lxd, &mut noted).await;
    let with_images = format!("{own}-images");
    lxd.create_project(ProjectsPost { name: with_images.clone(), ..Default::default() })
        .await
        .expect("a project");
    let lxd_with_images = lxd.use_project(&with_images);
    let profile = ProfilePut { devices: root_disk(), ..Default::default() };
    lxd_with_images.update_profile("default", profile).await.expect("a profile");
    images(&lxd_with_images, image, &mut noted).await;
    instances(lxd, &mut noted).await;
    noted
}

#[tokio::test]
async fn the_mock_answers_as_lxd_does() {
    with_project(|place| async move {
        let image = place.image_of_its_own().await?;
        let real = script(&place.lxd, &place.name, &image).await;

        let mock = MockLxd::start().await.stateful();
        let first = mock.client();
        let busybox = client("default").image_alias("busybox").await?.target;
        let bytes = client("default").image_export(&busybox).await?.bytes().await?;
        first.upload_image(bytes).await?;
        let alias = ImageAliasesPost { name: "busybox".into(), target: busybox, ..Default::default() };
        first.add_images_alias(alias).await?;
        let config = texts([("features.images", "false")]);
        first.create_project(ProjectsPost { name: place.name.clone(), config, ..Default::default() }).await?;
        let lxd = first.use_project(&place.name);
        lxd.update_profile("default", ProfilePut { devices: root_disk(), ..Default::default() }).await?;
        let mocked = script(&lxd, &place.name, &image).await;

        let steps = |noted: &Noted| noted.steps.iter().map(|(step, _)| step.clone()).collect::<Vec<_>>();
        let differences: Vec<_> = mocked
            .steps
            .iter()
            .zip(&real.steps)
            .filter_map(|((step, mock), (_, real))| difference(step, mock, real))
            .collect();
        assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
        assert_eq!(steps(&mocked), steps(&real));
        assert!(real.steps.len() > 200, "{} steps", real.steps.len());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn what_a_test_says_comes_before_the_state() {
    let lxd = MockLxd::start().await.stateful();
    lxd.on_create_instance().when(|call| call.body.name == "full").operation().fail("no space left");
    let client = lxd.client();
    let failed = client.create_instance(new("full", source("none"))).await.unwrap_err();
    assert!(failed.to_string().contains("no space left"), "{failed}");
    client.create_instance(new("t1", source("none"))).await.unwrap();
    assert_eq!(client.instances().await.unwrap(), ["/1.0/instances/t1"]);
    lxd.on_create_instance().assert_called(2);
    // What is not there is an answer, and no call that nobody expected.
    assert!(client.instance("full").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn what_there_is_no_state_of_is_not_expected() {
    let lxd = MockLxd::start().await.stateful();
    let client = lxd.client();
    assert_eq!(client.networks().await.unwrap_err().status(), Some(501));
    assert_eq!(client.instances().filter("status eq running").await.unwrap_err().status(), Some(501));
    let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(lxd))).unwrap_err();
    assert!(told.downcast::<String>().unwrap().contains("nobody expected GET /1.0/networks"));
}

#[tokio::test]
async fn what_happens_is_told() {
    let lxd = MockLxd::start().await.stateful();
    let client = lxd.client();
    let mut events = client.events().types(["lifecycle"]).await.unwrap();
    client.create_instance(new("t1", source("none"))).await.unwrap();
    client.update_instance_state("t1", state(InstanceAction::Start)).await.unwrap();
    client.update_instance_state("t1", state(InstanceAction::Stop)).await.unwrap();
    client.delete_instance("t1").await.unwrap();
    for expected in ["instance-created", "instance-started", "instance-stopped", "instance-deleted"] {
        let EventContent::Lifecycle(event) = events.next().await.unwrap().unwrap().content else {
            panic!("another event");
        };
        assert_eq!((event.action.as_str(), event.source.as_str()), (expected, "/1.0/instances/t1"));
    }
}
