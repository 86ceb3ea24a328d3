//! Storage pools and volumes on a real LXD.

use jiff::Timestamp;
use lxd_client::types::{
    InstancePatch, NEVER, StorageContentType, StorageDriver, StoragePoolPatch, StoragePoolPut,
    StoragePoolStatus, StoragePoolVolumeBackupsPost, StoragePoolsPost, StorageVolumePatch, StorageVolumePost,
    StorageVolumePut, StorageVolumeSnapshotPatch, StorageVolumeSnapshotPost, StorageVolumeSnapshotPut,
    StorageVolumeSnapshotsPost, StorageVolumeSource, StorageVolumeType, StorageVolumesPost,
};
use lxd_client::{Client, Error};
use lxd_tests::real::{Place, map, names, texts, with_project};

async fn volume(lxd: &Client, name: &str) -> Result<(), Error> {
    let post = StorageVolumesPost {
        name: name.to_owned(),
        description: "first".to_owned(),
        config: texts([("user.a", "1"), ("user.b", "2")]),
        ..Default::default()
    };
    lxd.create_storage_pool_volumes_type("default", "custom", post).await
}

#[tokio::test]
async fn a_pool_lives() {
    with_project(|place| async move {
        let (lxd, name) = (&place.lxd, &place.named("pool"));
        let post = StoragePoolsPost {
            name: name.clone(),
            description: "first".to_owned(),
            driver: StorageDriver::Dir,
            config: texts([("user.a", "1")]),
        };
        lxd.create_storage_pool(post.clone()).await?;
        let again = lxd.create_storage_pool(post).await.unwrap_err();
        assert!(again.to_string().contains("already exists"), "{again}");
        assert!(names(&lxd.storage_pools().await?).contains(&name.as_str()));
        let pool = lxd.storage_pool(name).await?;
        assert_eq!(
            (&pool.name, pool.driver.clone(), pool.status.clone()),
            (name, StorageDriver::Dir, StoragePoolStatus::Created)
        );
        assert_eq!(pool.config["user.a"], "1");
        assert!(pool.used_by.is_empty());
        let resources = lxd.storage_pool_resources(name).await?;
        assert!(resources.space.is_some_and(|space| space.total > space.used && space.used > 0));
        assert!(resources.inodes.is_some_and(|inodes| inodes.total > 0));

        let mut put = StoragePoolPut::from(pool);
        put.config.insert("user.b".to_owned(), "2".to_owned());
        put.description = String::new();
        lxd.update_storage_pool(name, put.clone()).await?;
        let late = lxd.update_storage_pool(name, put).if_match("stale").await.unwrap_err();
        assert!(late.is_precondition_failed(), "{late}");
        let patch = StoragePoolPatch {
            config: Some(map([("user.a", None)])),
            description: Some("second".to_owned()),
        };
        lxd.modify_storage_pool(name, patch).await?;
        let listed = lxd.storage_pool(name).await?;
        assert_eq!((listed.config.get("user.a"), listed.config["user.b"].as_str()), (None, "2"));
        assert_eq!(listed.description, "second");
        lxd.delete_storage_pools(name).await?;
        assert!(lxd.storage_pool(name).await.unwrap_err().is_not_found());
        let in_use = lxd.delete_storage_pools("default").await.unwrap_err();
        assert!(in_use.status().is_some_and(|status| status >= 400), "{in_use:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_volume_lives() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        volume(lxd, "v").await?;
        let again = volume(lxd, "v").await.unwrap_err();
        assert!(again.to_string().contains("already exists"), "{again}");
        assert_eq!(names(&lxd.storage_pool_volumes_type("default", "custom").await?), ["v"]);
        let read = lxd.storage_pool_volume_type("default", "custom", "v").response().await?;
        let etag = read.etag().expect("an ETag").to_owned();
        let v = read.value;
        assert_eq!(
            (v.name.as_str(), v.description.as_str(), v.config["user.a"].as_str()),
            ("v", "first", "1")
        );
        assert_eq!(
            (v.r#type.clone(), v.content_type.clone()),
            (StorageVolumeType::Custom, StorageContentType::Filesystem)
        );
        let listed = lxd.storage_pool_volumes_type_recursion1("default", "custom").await?;
        assert_eq!(listed, std::slice::from_ref(&v));

        let mut put = StorageVolumePut::from(v);
        put.config.remove("user.a");
        lxd.update_storage_pool_volume_type("default", "custom", "v", put.clone()).if_match(&etag).await?;
        let late = lxd.update_storage_pool_volume_type("default", "custom", "v", put).if_match(&etag).await;
        assert!(late.unwrap_err().is_precondition_failed());
        let patch = StorageVolumePatch {
            config: Some(map([("user.b", None), ("user.c", Some("3".to_owned()))])),
            description: Some(String::new()),
            ..Default::default()
        };
        lxd.modify_storage_pool_volume_type("default", "custom", "v", patch).await?;
        let changed = lxd.storage_pool_volume_type("default", "custom", "v").await?;
        assert_eq!((changed.description.as_str(), changed.config), ("", texts([("user.c", "3")])));

        let post = StorageVolumePost { name: "w".to_owned(), ..Default::default() };
        lxd.migrate_storage_pool_volume_type("default", "custom", "v", post).await?;
        let gone = lxd.storage_pool_volume_type("default", "custom", "v").await.unwrap_err();
        assert!(gone.is_not_found(), "{gone}");
        let source = StorageVolumeSource {
            r#type: "copy".into(),
            pool: "default".to_owned(),
            name: "w".to_owned(),
            ..Default::default()
        };
        let post = StorageVolumesPost {
            name: "copy".to_owned(),
            r#type: "custom".into(),
            source: Some(source),
            ..Default::default()
        };
        lxd.create_storage_pool_volume("default", post).await?;
        let all = lxd.storage_pool_volumes("default").await?;
        assert!(names(&all).contains(&"copy") && names(&all).contains(&"w"), "{all:?}");

        // In use by an instance.
        lxd.create_instance(Place::empty_instance("one")).await?;
        let device = texts([("type", "disk"), ("pool", "default"), ("source", "w"), ("path", "/mnt")]);
        let devices = Some(map([("w", Some(device))]));
        lxd.modify_instance("one", InstancePatch { devices, ..Default::default() }).await?;
        let used_by = lxd.storage_pool_volume_type("default", "custom", "w").await?.used_by;
        assert_eq!(names(&used_by), ["one"]);
        let in_use = lxd.delete_storage_pool_volume_type("default", "custom", "w").await.unwrap_err();
        assert!(in_use.to_string().contains("in use"), "{in_use}");
        lxd.delete_storage_pool_volume_type("default", "custom", "copy").await?;
        let gone = lxd.delete_storage_pool_volume_type("default", "custom", "copy").await.unwrap_err();
        assert!(gone.is_not_found(), "{gone}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_volume_has_snapshots() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        volume(lxd, "v").await?;
        let soon = Timestamp::from_second(Timestamp::now().as_second() + 3600).ok();
        for (name, expires_at) in [("first", soon), ("", None)] {
            let post = StorageVolumeSnapshotsPost { name: name.to_owned(), expires_at, ..Default::default() };
            lxd.create_storage_pool_volumes_snapshot("default", "custom", "v", post).await?;
        }
        let urls = lxd.storage_pool_volumes_type_snapshots("default", "custom", "v").await?;
        assert_eq!(names(&urls), ["first", "snap0"]);
        let read =
            lxd.storage_pool_volumes_type_snapshot("default", "custom", "v", "first").response().await?;
        let etag = read.etag().expect("an ETag").to_owned();
        assert_eq!((read.value.expires_at, read.value.description.as_str()), (soon, "first"));
        let listed = lxd.storage_pool_volumes_type_snapshots_recursion1("default", "custom", "v").await?;
        assert_eq!(listed.len(), 2);

        // PUT without the expiry takes it away, PATCH without it leaves it.
        let patch = StorageVolumeSnapshotPatch { description: Some("second".to_owned()), expires_at: None };
        lxd.modify_storage_pool_volumes_type_snapshot("default", "custom", "v", "first", patch).await?;
        let patched = lxd.storage_pool_volumes_type_snapshot("default", "custom", "v", "first").await?;
        assert_eq!((patched.expires_at, patched.description.as_str()), (soon, "second"));
        let patch = StorageVolumeSnapshotPatch { expires_at: Some(NEVER), ..Default::default() };
        lxd.modify_storage_pool_volumes_type_snapshot("default", "custom", "v", "first", patch).await?;
        let patched = lxd.storage_pool_volumes_type_snapshot("default", "custom", "v", "first").await?;
        assert_eq!(patched.expires_at, None);
        let put = StorageVolumeSnapshotPut { expires_at: soon, ..Default::default() };
        let late = lxd
            .update_storage_pool_volumes_type_snapshot("default", "custom", "v", "first", put.clone())
            .if_match(&etag)
            .await;
        assert!(late.unwrap_err().is_precondition_failed());
        lxd.update_storage_pool_volumes_type_snapshot("default", "custom", "v", "first", put).await?;
        let written = lxd.storage_pool_volumes_type_snapshot("default", "custom", "v", "first").await?;
        assert_eq!((written.expires_at, written.description.as_str()), (soon, ""));
        let put = StorageVolumeSnapshotPut::default();
        lxd.update_storage_pool_volumes_type_snapshot("default", "custom", "v", "first", put).await?;
        let written = lxd.storage_pool_volumes_type_snapshot("default", "custom", "v", "first").await?;
        assert_eq!(written.expires_at, None);

        let post = StorageVolumeSnapshotPost { name: "second".to_owned(), ..Default::default() };
        lxd.rename_storage_pool_volumes_type_snapshot("default", "custom", "v", "first", post).await?;
        let put = StorageVolumePut { restore: "second".to_owned(), ..Default::default() };
        lxd.update_storage_pool_volume_type("default", "custom", "v", put).await?;
        lxd.delete_storage_pool_volumes_type_snapshot("default", "custom", "v", "second").await?;
        let gone =
            lxd.storage_pool_volumes_type_snapshot("default", "custom", "v", "second").await.unwrap_err();
        assert!(gone.is_not_found(), "{gone}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_volume_is_backed_up_and_restored() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        volume(lxd, "v").await?;
        let expires_at = Timestamp::from_second(Timestamp::now().as_second() + 3600).ok();
        let post = StoragePoolVolumeBackupsPost {
            name: "first".to_owned(),
            expires_at,
            volume_only: true,
            ..Default::default()
        };
        lxd.create_storage_pool_volumes_backup("default", "custom", "v", post).await?;
        assert_eq!(names(&lxd.storage_pool_volumes_type_backups("default", "custom", "v").await?), ["first"]);
        let backup = lxd.storage_pool_volumes_type_backup("default", "custom", "v", "first").await?;
        assert_eq!((backup.expires_at, backup.volume_only), (expires_at, true));
        assert!(backup.created_at.is_some());
        let listed = lxd.storage_pool_volumes_type_backups_recursion1("default", "custom", "v").await?;
        assert_eq!(listed, [backup]);
        let post = StorageVolumeSnapshotPost { name: "b".to_owned(), ..Default::default() };
        lxd.rename_storage_pool_volumes_type_backup("default", "custom", "v", "first", post).await?;
        let export = lxd.storage_pool_volumes_type_backup_export("default", "custom", "v", "b").await?;
        let bytes = export.bytes().await?;
        assert_eq!(bytes[..2], [0x1f, 0x8b], "it is packed by gzip");
        lxd.restore_storage_pool_volume_backup("default", "custom", bytes).name("w").await?;
        let restored = lxd.storage_pool_volume_type("default", "custom", "w").await?;
        assert_eq!((restored.description.as_str(), restored.config["user.b"].as_str()), ("first", "2"));
        lxd.delete_storage_pool_volumes_type_backup("default", "custom", "v", "b").await?;
        assert!(lxd.storage_pool_volumes_type_backups("default", "custom", "v").await?.is_empty());
        let gone = lxd.storage_pool_volumes_type_backup("default", "custom", "v", "b").await.unwrap_err();
        assert!(gone.is_not_found(), "{gone}");
        Ok(())
    })
    .await;
}
