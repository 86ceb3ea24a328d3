//! The generated types on the wire: what is read, what is sent, and what is kept.

use std::collections::BTreeMap;

use lxd_types::{
    ImagePut, Instance, InstanceAction, InstanceFull, InstancePatch, InstancePost, InstancePut,
    InstanceStatePut, InstanceStatus, InstanceType, InstancesPost, NEVER, Network, NetworkPut, Operation,
    ProjectState, StatusCode, StorageBucketKey, StorageVolumePatch,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, from_value, json, to_value};

fn read<T: DeserializeOwned>(json: Value) -> T {
    from_value(json).unwrap()
}

fn refusal<T: DeserializeOwned + std::fmt::Debug>(json: Value) -> String {
    serde_json::from_str::<T>(&json.to_string()).unwrap_err().to_string()
}

#[test]
fn absent_null_and_unknown_fields_are_read() {
    let nulls = json!({
        "name": null, "config": null, "devices": null, "profiles": null, "ephemeral": null, "status_code": null,
        "created_at": null, "type": null, "no_such_field": {"a": [1, null]}
    });
    assert_eq!(read::<Instance>(nulls), Instance::default());
    assert_eq!(read::<Instance>(json!({})), Instance::default());
    let full: InstanceFull =
        read(json!({"state": null, "backups": null, "snapshots": [{"name": "s"}, null]}));
    assert_eq!(full.state, None);
    assert_eq!(full.snapshots.len(), 2);
}

#[test]
fn times_that_are_not_set_are_none() {
    for unset in ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", ""] {
        assert_eq!(read::<Instance>(json!({"last_used_at": unset})).last_used_at, None, "{unset}");
    }
    let set: Instance = read(json!({"last_used_at": "2026-03-23T17:38:37.753398689-04:00"}));
    assert_eq!(set.last_used_at.unwrap().to_string(), "2026-03-23T21:38:37.753398689Z");
    assert_eq!(to_value(&set).unwrap(), json!({"last_used_at": "2026-03-23T21:38:37.753398689Z"}));
}

#[test]
fn defaults_are_left_out_where_the_server_reads_the_same() {
    assert_eq!(to_value(InstancesPost::default()).unwrap(), json!({}));
    let request = InstanceStatePut { action: InstanceAction::Start, timeout: 30, ..Default::default() };
    assert_eq!(serde_json::to_string(&request).unwrap(), r#"{"action":"start","timeout":30}"#);
    // What a list or a map holds is sent as it is.
    let request = InstancePut {
        profiles: vec![String::new()],
        config: BTreeMap::from([("user.empty".to_owned(), String::new())]),
        ..Default::default()
    };
    assert_eq!(to_value(&request).unwrap(), json!({"profiles": [""], "config": {"user.empty": ""}}));
}

#[test]
fn absent_and_empty_are_told_apart_where_the_server_does() {
    let profiles = |profiles| to_value(InstancesPost { profiles, ..Default::default() }).unwrap();
    assert_eq!(profiles(None), json!({}));
    assert_eq!(profiles(Some(Vec::new())), json!({"profiles": []}));
    let live = InstancePost { live: Some(false), ..Default::default() };
    assert_eq!(to_value(live).unwrap(), json!({"live": false}));
    assert_eq!(read::<ImagePut>(json!({"profiles": []})).profiles, Some(Vec::new()));
    assert_eq!(read::<ImagePut>(json!({"profiles": null})).profiles, None);
}

#[test]
fn a_patch_sends_what_is_some() {
    assert_eq!(to_value(InstancePatch::default()).unwrap(), json!({}));
    let patch = InstancePatch {
        ephemeral: Some(false),
        description: Some(String::new()),
        profiles: Some(Vec::new()),
        config: Some(BTreeMap::from([
            ("user.a".to_owned(), None),
            ("user.b".to_owned(), Some("1".to_owned())),
        ])),
        devices: Some(BTreeMap::from([("eth0".to_owned(), None)])),
        ..Default::default()
    };
    let sent = json!({
        "ephemeral": false, "description": "", "profiles": [],
        "config": {"user.a": null, "user.b": "1"}, "devices": {"eth0": null}
    });
    assert_eq!(to_value(&patch).unwrap(), sent);
    assert_eq!(read::<InstancePatch>(sent), patch);
    let nothing = StorageVolumePatch { config: Some(BTreeMap::new()), ..Default::default() };
    assert_eq!(to_value(nothing).unwrap(), json!({"config": {}}));
}

#[test]
fn a_time_is_unset_with_never() {
    let patch = lxd_types::StorageVolumeSnapshotPatch { expires_at: Some(NEVER), ..Default::default() };
    assert_eq!(to_value(patch).unwrap(), json!({"expires_at": "0001-01-01T00:00:00Z"}));
}

#[test]
fn enumerations_are_open() {
    let instance: Instance = read(json!({"type": "microvm", "status": "Running"}));
    assert_eq!(instance.r#type, InstanceType::Other("microvm".into()));
    assert_eq!(instance.status, InstanceStatus::Running);
    assert_eq!(to_value(&instance).unwrap(), json!({"status": "Running", "type": "microvm"}));
    assert_eq!(InstanceType::from("virtual-machine"), InstanceType::VirtualMachine);
    assert_eq!(InstanceType::VirtualMachine.to_string(), "virtual-machine");
    assert_eq!(InstanceStatus::Running, "Running");
    assert_eq!(InstanceType::default().as_str(), "");
    assert_eq!(instance.status_code, 0);
    assert_eq!(read::<StatusCode>(json!(200)), StatusCode::SUCCESS);
    assert_eq!(read::<StatusCode>(json!(999)).to_string(), "999");
}

#[test]
fn what_is_read_is_written_back() {
    let instance = Instance {
        name: "t1".into(),
        description: "a".into(),
        config: BTreeMap::from([("user.a".to_owned(), "1".to_owned())]),
        profiles: vec!["default".into()],
        ..Default::default()
    };
    let expected = InstancePut {
        description: "a".into(),
        config: instance.config.clone(),
        profiles: instance.profiles.clone(),
        ..Default::default()
    };
    assert_eq!(InstancePut::from(instance), expected);
    let image = lxd_types::Image { profiles: Vec::new(), public: true, ..Default::default() };
    assert_eq!(ImagePut::from(image).profiles, Some(Vec::new()));
    let network = Network { name: "br0".into(), description: "b".into(), ..Default::default() };
    assert_eq!(NetworkPut::from(network).description, "b");
}

#[test]
fn odd_names_keep_their_spelling() {
    let state: ProjectState = read(json!({"resources": {"instances": {"Limit": 5, "Usage": 1}}}));
    assert_eq!((state.resources["instances"].limit, state.resources["instances"].usage), (5, 1));
    let key: StorageBucketKey = read(json!({"access-key": "a", "secret-key": "s"}));
    assert_eq!(to_value(&key).unwrap(), json!({"access-key": "a", "secret-key": "s"}));
}

#[test]
fn a_wrong_type_names_the_path_and_the_kind() {
    for (json, expected) in [
        (
            json!({"devices": {"root": {"size": 5}}}),
            "devices.root.size: expected a string, found the number 5",
        ),
        (json!({"profiles": ["a", {}]}), "profiles[1]: expected a string, found an object"),
        (json!({"ephemeral": "yes"}), "ephemeral: expected a boolean, found a string"),
        (
            json!({"created_at": "yesterday"}),
            "created_at: expected a time as in 2026-01-31T12:00:00Z, found a string",
        ),
        (json!({"config": [1]}), "config: expected an object, found a list"),
        (json!({"status_code": 1.5}), "status_code: expected an integer of 64 bits, found the number 1.5"),
        (json!([]), "expected an object, found a list"),
    ] {
        let message = refusal::<Instance>(json.clone());
        assert!(message.starts_with(expected), "{json}: {message}");
    }
    let message = refusal::<InstanceFull>(json!({"state": {"memory": {"usage": true}}}));
    assert!(message.starts_with("state.memory.usage: expected an integer"), "{message}");
    let message = refusal::<lxd_types::InstanceExecPost>(json!({"user": -1}));
    assert!(
        message.starts_with("user: expected an integer from 0 to 4294967295, found the number -1"),
        "{message}"
    );
}

#[test]
fn numbers_may_come_as_text() {
    let result: lxd_types::ImageResult = read(json!({"fingerprint": "f", "size": "1036032"}));
    assert_eq!(result.size, 1_036_032);
    assert!(
        refusal::<lxd_types::ImageResult>(json!({"size": "large"})).starts_with("size: expected an integer")
    );
}

#[test]
fn debug_is_short_and_hides_secrets() {
    let instance = Instance { name: "t1".into(), ..Default::default() };
    assert_eq!(format!("{instance:?}"), r#"Instance { name: "t1", .. }"#);
    let request = lxd_types::CertificatesPost {
        name: "me".into(),
        password: "hush".into(),
        trust_token: "hush".into(),
        ..Default::default()
    };
    let operation: Operation = read(json!({"id": "u", "metadata": {"secret": "hush", "fds": {"0": "hush"}}}));
    let server =
        lxd_types::ServerPut { config: BTreeMap::from([("core.trust_password".to_owned(), json!("hush"))]) };
    let source = lxd_types::InstanceSource {
        secret: "hush".into(),
        secrets: BTreeMap::from([("control".to_owned(), "hush".to_owned())]),
        ..Default::default()
    };
    for shown in [
        format!("{request:?}"),
        format!("{operation:?}"),
        format!("{server:?}"),
        format!("{:#?}", InstancesPost { source: Some(source), ..Default::default() }),
    ] {
        assert!(!shown.contains("hush") && shown.contains("(secret)"), "{shown}");
    }
}

#[test]
fn equality_looks_at_all_parts() {
    let one: InstanceFull = read(json!({
        "name": "a", "config": {"k": "v"}, "devices": {"root": {"path": "/"}},
        "state": {"memory": {"usage": 1}}, "snapshots": [{"name": "s"}]
    }));
    assert_eq!(one, one.clone());
    for change in [
        (|other| other.name = "b".into()) as fn(&mut InstanceFull),
        |other| drop(other.config.insert("k".into(), "w".into())),
        |other| drop(other.config.insert("l".into(), "v".into())),
        |other| drop(other.devices.get_mut("root").unwrap().insert("path".into(), "/x".into())),
        |other| other.state = None,
        |other| other.state.as_mut().unwrap().memory.as_mut().unwrap().usage = 2,
        |other| other.snapshots[0].name = "t".into(),
        |other| other.snapshots.clear(),
        |other| other.created_at = Some(NEVER),
    ] {
        let mut other = one.clone();
        change(&mut other);
        assert_ne!(one, other);
    }
    // None and an empty value are not the same to a PATCH.
    assert_ne!(
        InstancePatch { description: Some(String::new()), ..Default::default() },
        InstancePatch::default()
    );
}
