//! Nothing is lost between a real LXD and the types: what each GET answers is the same in JSON, read
//! as it came, and in the typed value, written back.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lxd_client::types::{
    CertificatesPost, ImageAlias, ImagesPost, ImagesPostSource, InstanceAction, InstanceBackupsPost,
    InstanceExecPost, InstanceSnapshotsPost, InstanceSource, InstancesPost, NetworkACLRule, NetworkACLsPost,
    NetworkForwardPort, NetworkForwardsPost, NetworkType, NetworkZoneRecordEntry, NetworkZoneRecordsPost,
    NetworkZonesPost, NetworksPost, ProfilePut, ProjectsPost, SourceType, StoragePoolVolumeBackupsPost,
    StorageVolumeSnapshotsPost, StorageVolumesPost,
};
use lxd_client::{Answer, Call, Client, Error};
use lxd_tests::real::{Place, client, map, names, root_disk, socket, texts, with_project};
use lxd_tests::twice;
use serde::Serialize;

/// Checks that a call gives what the shared server answers.
async fn same<T: Answer + Serialize, P>(path: &str, call: impl Fn() -> Call<T, P>) -> Result<T, Error> {
    twice::same(&socket(), path, call).await
}

/// The same, of an answer that has something in it.
async fn some<T: Answer + Serialize, P>(path: &str, call: impl Fn() -> Call<T, P>) -> Result<T, Error> {
    twice::some(&socket(), path, call).await
}

#[tokio::test]
async fn the_server_in_full() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        let project = &place.name;
        some("/", || lxd.api()).await?;
        some(&format!("/1.0?project={project}"), || lxd.server()).await?;
        some("/1.0/resources", || lxd.resources()).await?;
        some("/1.0/cluster", || lxd.cluster()).await?;

        let certificate = include_str!("../data/three.crt").lines().filter(|line| !line.starts_with('-'));
        lxd.add_certificate(CertificatesPost {
            name: place.named("three"),
            certificate: certificate.collect(),
            r#type: "client".into(),
            ..Default::default()
        })
        .await?;
        let fingerprints = some("/1.0/certificates", || lxd.certificates()).await?;
        some("/1.0/certificates?recursion=1", || lxd.certificates_recursion1()).await?;
        for fingerprint in names(&fingerprints) {
            some(&format!("/1.0/certificates/{fingerprint}"), || lxd.certificate(fingerprint)).await?;
        }

        some("/1.0/projects", || lxd.projects()).await?;
        some("/1.0/projects?recursion=1", || lxd.projects_recursion1()).await?;
        some(&format!("/1.0/projects/{project}"), || lxd.project(project)).await?;
        some(&format!("/1.0/projects/{project}/state"), || lxd.project_state(project)).await?;
        some(&format!("/1.0/profiles?project={project}"), || lxd.profiles()).await?;
        some(&format!("/1.0/profiles?project={project}&recursion=1"), || lxd.profiles_recursion1()).await?;
        some(&format!("/1.0/profiles/default?project={project}"), || lxd.profile("default")).await?;

        // A kernel that lacks nothing gives no reason to warn.
        let warnings = same("/1.0/warnings", || lxd.warnings().project("")).await?;
        same("/1.0/warnings?recursion=1", || lxd.warnings_recursion1().project("")).await?;
        for warning in names(&warnings) {
            some(&format!("/1.0/warnings/{warning}"), || lxd.warning(warning)).await?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_instance_in_full() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        let at = |path: &str| {
            let mark = if path.contains('?') { '&' } else { '?' };
            format!("/1.0{path}{mark}project={}", place.name)
        };
        let bridge = bridge(&place).await?;
        let nic = texts([("type", "nic"), ("network", &bridge), ("name", "eth0")]);
        lxd.create_instance(InstancesPost {
            description: "in full".to_owned(),
            config: texts([("user.a", "1"), ("limits.memory", "64MiB")]),
            devices: map([("eth0", nic)]),
            ..Place::container("one")
        })
        .await?;
        place.change("one", InstanceAction::Start).await?;
        let expires_at = Timestamp::from_second(Timestamp::now().as_second() + 3600).ok();
        let snapshot = InstanceSnapshotsPost { name: "s".to_owned(), expires_at, ..Default::default() };
        lxd.create_instance_snapshot("one", snapshot).await?;
        lxd.create_instance_snapshot("one", InstanceSnapshotsPost::default()).await?;
        let backup = InstanceBackupsPost {
            name: "b".to_owned(),
            expires_at,
            instance_only: true,
            ..Default::default()
        };
        lxd.create_instance_backup("one", backup).await?;
        let command = ["sh", "-c", "until [ -e /end ]; do usleep 10000; done"].map(String::from).to_vec();
        let running = lxd
            .execute_in_instance("one", InstanceExecPost { command, ..Default::default() })
            .start()
            .await?;

        some(&at("/instances"), || lxd.instances()).await?;
        some(&at("/instances?recursion=1"), || lxd.instances_recursion1()).await?;
        some(&at("/instances?recursion=2"), || lxd.instances_recursion2()).await?;
        some("/1.0/instances?all-projects=true", || lxd.instances().all_projects(true)).await?;
        some("/1.0/instances?all-projects=true&recursion=2", || {
            lxd.instances_recursion2().all_projects(true)
        })
        .await?;
        some(&at("/instances/one"), || lxd.instance("one")).await?;
        let full = some(&at("/instances/one?recursion=1"), || lxd.instance_recursion1("one")).await?;
        assert_eq!((full.snapshots.len(), full.backups.len()), (2, 1));
        let state = some(&at("/instances/one/state"), || lxd.instance_state("one")).await?;
        assert!(state.memory.is_some_and(|memory| memory.usage > 0) && state.network.contains_key("eth0"));
        some(&at("/instances/one/snapshots"), || lxd.instance_snapshots("one")).await?;
        some(&at("/instances/one/snapshots?recursion=1"), || lxd.instance_snapshots_recursion1("one"))
            .await?;
        some(&at("/instances/one/snapshots/s"), || lxd.instance_snapshot("one", "s")).await?;
        some(&at("/instances/one/snapshots/snap0"), || lxd.instance_snapshot("one", "snap0")).await?;
        some(&at("/instances/one/backups"), || lxd.instance_backups("one")).await?;
        some(&at("/instances/one/backups?recursion=1"), || lxd.instance_backups_recursion1("one")).await?;
        some(&at("/instances/one/backups/b"), || lxd.instance_backup("one", "b")).await?;
        some(&at("/instances/one/metadata"), || lxd.instance_metadata("one")).await?;
        some(&at("/instances/one/logs"), || lxd.instance_logs("one")).await?;

        let id = running.id();
        some(&at("/operations"), || lxd.operations()).await?;
        some(&at("/operations?recursion=1"), || lxd.operations_recursion1()).await?;
        some(&format!("/1.0/operations/{id}"), || lxd.operation(id)).await?;
        some(&format!("/1.0/operations/{id}/wait?timeout=0"), || lxd.operation_wait(id).timeout(0)).await?;
        let path = format!("/1.0/operations/{id}/wait?public&timeout=0");
        some(&path, || lxd.operation_wait_untrusted(id).timeout(0)).await?;

        some("/1.0/networks", || lxd.networks().project("default")).await?;
        some("/1.0/networks?recursion=1", || lxd.networks_recursion1().project("default")).await?;
        let path = format!("/1.0/networks/{bridge}");
        some(&path, || lxd.network(&bridge).project("default")).await?;
        some(&format!("{path}/state"), || lxd.networks_state(&bridge).project("default")).await?;
        some(&format!("{path}/leases"), || lxd.networks_leases(&bridge).project("default")).await?;
        Ok(())
    })
    .await;
}

async fn bridge(place: &Place) -> Result<String, Error> {
    let (name, address) = (place.named("br"), format!("{}/24", place.address(1)));
    place
        .lxd
        .create_network(NetworksPost {
            name: name.clone(),
            description: "in full".to_owned(),
            r#type: NetworkType::Bridge,
            config: texts([("ipv4.address", &address), ("ipv4.nat", "false"), ("ipv6.address", "none")]),
        })
        .await?;
    Ok(name)
}

#[tokio::test]
async fn networks_in_full() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        let bridge = bridge(&place).await?;
        let (listen, target) = (place.address(200).to_string(), place.address(20).to_string());
        let port = NetworkForwardPort {
            description: "a port".to_owned(),
            protocol: "tcp".into(),
            listen_port: "80-90".to_owned(),
            target_address: target,
            ..Default::default()
        };
        let forward =
            NetworkForwardsPost { listen_address: listen.clone(), ports: vec![port], ..Default::default() };
        lxd.create_network_forward(&bridge, forward).await?;
        let path = format!("/1.0/networks/{bridge}/forwards");
        some(&path, || lxd.network_forwards(&bridge).project("")).await?;
        some(&format!("{path}?recursion=1"), || lxd.network_forward_recursion1(&bridge)).await?;
        some(&format!("{path}/{listen}"), || lxd.network_forward(&bridge, &listen)).await?;
        same(&format!("/1.0/networks/{bridge}/state"), || lxd.networks_state(&bridge)).await?;

        let list = place.named("list");
        let rule = NetworkACLRule {
            action: "reject".into(),
            description: "a rule".to_owned(),
            protocol: "icmp4".into(),
            icmp_type: "8".to_owned(),
            source: "10.0.0.0/8".to_owned(),
            state: "logged".into(),
            ..Default::default()
        };
        lxd.create_network_acl(NetworkACLsPost {
            name: list.clone(),
            egress: vec![rule],
            ..Default::default()
        })
        .await?;
        some("/1.0/network-acls", || lxd.network_acls().project("default")).await?;
        some("/1.0/network-acls?recursion=1", || lxd.network_acls_recursion1()).await?;
        some(&format!("/1.0/network-acls/{list}"), || lxd.network_acl(&list)).await?;

        let zone = place.named("zone.example.net");
        lxd.create_network_zone(NetworkZonesPost { name: zone.clone(), ..Default::default() }).await?;
        let entries =
            vec![NetworkZoneRecordEntry { r#type: "TXT".to_owned(), ttl: 60, value: "t".to_owned() }];
        let record = NetworkZoneRecordsPost { name: "r".to_owned(), entries, ..Default::default() };
        lxd.create_network_zone_record(&zone, record).await?;
        some("/1.0/network-zones", || lxd.network_zones().project("default")).await?;
        some("/1.0/network-zones?recursion=1", || lxd.network_zones_recursion1()).await?;
        let path = format!("/1.0/network-zones/{zone}");
        some(&path, || lxd.network_zone(&zone)).await?;
        some(&format!("{path}/records"), || lxd.network_zone_records(&zone)).await?;
        some(&format!("{path}/records?recursion=1"), || lxd.network_zone_records_recursion1(&zone)).await?;
        some(&format!("{path}/records/r"), || lxd.network_zone_record(&zone, "r")).await?;

        // Also what the server has not made: a loopback at least.
        for network in names(&lxd.networks().await?) {
            same(&format!("/1.0/networks/{network}"), || lxd.network(network)).await?;
        }
        some("/1.0/networks/lo/state", || lxd.networks_state("lo")).await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn storage_in_full() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        let at = |path: &str| {
            let mark = if path.contains('?') { '&' } else { '?' };
            format!("/1.0/storage-pools{path}{mark}project={}", place.name)
        };
        let (pool, kind, v) = ("default", "custom", "v");
        let config = texts([("user.a", "1")]);
        let volume = StorageVolumesPost {
            name: v.to_owned(),
            description: "in full".to_owned(),
            config,
            ..Default::default()
        };
        lxd.create_storage_pool_volumes_type(pool, kind, volume).await?;
        let expires_at = Timestamp::from_second(Timestamp::now().as_second() + 3600).ok();
        let snapshot = StorageVolumeSnapshotsPost { name: "s".to_owned(), expires_at, ..Default::default() };
        lxd.create_storage_pool_volumes_snapshot(pool, kind, v, snapshot).await?;
        let backup = StoragePoolVolumeBackupsPost {
            name: "b".to_owned(),
            expires_at,
            volume_only: true,
            ..Default::default()
        };
        lxd.create_storage_pool_volumes_backup(pool, kind, v, backup).await?;

        some("/1.0/storage-pools", || lxd.storage_pools().project("default")).await?;
        some("/1.0/storage-pools?recursion=1", || lxd.storage_pools_recursion1().project("default")).await?;
        some("/1.0/storage-pools/default", || lxd.storage_pool(pool).project("default")).await?;
        some("/1.0/storage-pools/default/resources", || lxd.storage_pool_resources(pool)).await?;
        some(&at("/default/volumes"), || lxd.storage_pool_volumes(pool)).await?;
        some(&at("/default/volumes?recursion=1"), || lxd.storage_pool_volumes_recursion1(pool)).await?;
        some(&at("/default/volumes/custom"), || lxd.storage_pool_volumes_type(pool, kind)).await?;
        some(&at("/default/volumes/custom?recursion=1"), || {
            lxd.storage_pool_volumes_type_recursion1(pool, kind)
        })
        .await?;
        some(&at("/default/volumes/custom/v"), || lxd.storage_pool_volume_type(pool, kind, v)).await?;
        // A pool of folders does not know how full they are.
        let unknown = lxd.storage_pool_volume_type_state(pool, kind, v).await.unwrap_err();
        assert!(unknown.to_string().contains("Not supported"), "{unknown}");
        let path = "/default/volumes/custom/v/snapshots";
        some(&at(path), || lxd.storage_pool_volumes_type_snapshots(pool, kind, v)).await?;
        some(&at(&format!("{path}?recursion=1")), || {
            lxd.storage_pool_volumes_type_snapshots_recursion1(pool, kind, v)
        })
        .await?;
        some(&at(&format!("{path}/s")), || lxd.storage_pool_volumes_type_snapshot(pool, kind, v, "s"))
            .await?;
        let path = "/default/volumes/custom/v/backups";
        some(&at(path), || lxd.storage_pool_volumes_type_backups(pool, kind, v)).await?;
        some(&at(&format!("{path}?recursion=1")), || {
            lxd.storage_pool_volumes_type_backups_recursion1(pool, kind, v)
        })
        .await?;
        some(&at(&format!("{path}/b")), || lxd.storage_pool_volumes_type_backup(pool, kind, v, "b")).await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn images_in_full() {
    with_project(|place| async move {
        let project = place.named("images");
        place.lxd.create_project(ProjectsPost { name: project.clone(), ..Default::default() }).await?;
        let lxd: &Client = &client(&project);
        lxd.update_profile("default", ProfilePut { devices: root_disk(), ..Default::default() }).await?;
        place.lxd.create_instance(Place::container("one")).await?;
        lxd.create_instance(InstancesPost {
            source: Some(InstanceSource {
                r#type: SourceType::Copy,
                source: "one".to_owned(),
                project: place.name.clone(),
                ..Default::default()
            }),
            profiles: Some(vec!["default".to_owned()]),
            ..Place::empty_instance("one")
        })
        .await?;
        let source =
            ImagesPostSource { r#type: SourceType::Instance, name: "one".to_owned(), ..Default::default() };
        let fingerprint = &lxd
            .create_image(ImagesPost {
                aliases: vec![ImageAlias { name: "a".to_owned(), description: "in full".to_owned() }],
                expires_at: Timestamp::from_second(Timestamp::now().as_second() + 3600).ok(),
                properties: BTreeMap::from([("release".to_owned(), "1".to_owned())]),
                public: true,
                source: Some(source),
                ..Default::default()
            })
            .await?
            .fingerprint;
        some(&format!("/1.0/images?project={project}"), || lxd.images()).await?;
        some(&format!("/1.0/images?project={project}&recursion=1"), || lxd.images_recursion1()).await?;
        some(&format!("/1.0/images/{fingerprint}?project={project}"), || lxd.image(fingerprint)).await?;
        some(&format!("/1.0/images?public&project={project}"), || lxd.images_untrusted()).await?;
        some(&format!("/1.0/images?public&project={project}&recursion=1"), || {
            lxd.images_recursion1_untrusted()
        })
        .await?;
        some(&format!("/1.0/images/{fingerprint}?public&project={project}"), || {
            lxd.image_untrusted(fingerprint)
        })
        .await?;
        let path = "/1.0/images/aliases";
        some(&format!("{path}?project={project}"), || lxd.images_aliases()).await?;
        some(&format!("{path}?project={project}&recursion=1"), || lxd.images_aliases_recursion1()).await?;
        some(&format!("{path}/a?project={project}"), || lxd.image_alias("a")).await?;
        some(&format!("{path}/a?public&project={project}"), || lxd.image_alias_untrusted("a")).await?;
        Ok(())
    })
    .await;
}
