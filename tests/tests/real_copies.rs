//! Snapshots and backups of instances on a real LXD.

use jiff::{SignedDuration, Timestamp};
use lxd_client::Error;
use lxd_client::types::{
    InstanceBackupPost, InstanceBackupsPost, InstancePatch, InstancePut, InstanceSnapshotPatch,
    InstanceSnapshotPost, InstanceSnapshotPut, InstanceSnapshotsPost, InstanceSource, InstancesPost, NEVER,
    SourceType,
};
use lxd_tests::real::{Place, map, names, texts, with_project};

#[tokio::test]
async fn a_snapshot_lives() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        lxd.create_instance(Place::empty_instance("one")).await?;
        assert!(lxd.instance_snapshots("one").await?.is_empty());
        for name in ["first", ""] {
            let post = InstanceSnapshotsPost { name: name.to_owned(), ..Default::default() };
            lxd.create_instance_snapshot("one", post).await?;
        }
        assert_eq!(names(&lxd.instance_snapshots("one").await?), ["first", "snap0"]);
        let listed = lxd.instance_snapshots_recursion1("one").await?;
        assert_eq!(listed.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["first", "snap0"]);
        let snapshot = lxd.instance_snapshot("one", "first").await?;
        assert_eq!((snapshot.name.as_str(), snapshot.expires_at), ("first", None));
        assert!(snapshot.created_at.is_some());
        assert_eq!(snapshot.profiles, ["default"]);

        let post = InstanceSnapshotPost { name: "second".to_owned(), ..Default::default() };
        lxd.migrate_instance_snapshot("one", "first", post).await?;
        assert!(lxd.instance_snapshot("one", "first").await.unwrap_err().is_not_found());
        let post = InstanceSnapshotsPost { name: "second".to_owned(), ..Default::default() };
        let taken = lxd.create_instance_snapshot("one", post).await.unwrap_err();
        assert!(taken.to_string().contains("already"), "{taken}");
        lxd.delete_instance_snapshot("one", "second").await?;
        assert_eq!(names(&lxd.instance_snapshots("one").await?), ["snap0"]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn the_expiry_of_a_snapshot_is_set_and_unset() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        let config = texts([("snapshots.expiry", "1d")]);
        lxd.create_instance(InstancesPost { config, ..Place::empty_instance("one") }).await?;
        let now = Timestamp::now();
        let soon = Timestamp::from_second(now.as_second()).unwrap() + SignedDuration::from_hours(5);
        let of = |name: &str, expires_at| InstanceSnapshotsPost {
            name: name.to_owned(),
            expires_at,
            ..Default::default()
        };
        for (name, expires_at) in [("configured", None), ("soon", Some(soon)), ("never", Some(NEVER))] {
            lxd.create_instance_snapshot("one", of(name, expires_at)).await?;
        }
        let configured = lxd.instance_snapshot("one", "configured").await?.expires_at.expect("the day");
        assert!(configured > now + SignedDuration::from_hours(23));
        assert_eq!(lxd.instance_snapshot("one", "soon").await?.expires_at, Some(soon));
        assert_eq!(lxd.instance_snapshot("one", "never").await?.expires_at, None);

        // Absent leaves it, with PUT too; `NEVER` takes it away.
        lxd.update_instance_snapshot("one", "soon", InstanceSnapshotPut::default()).await?;
        assert_eq!(lxd.instance_snapshot("one", "soon").await?.expires_at, Some(soon));
        let read = lxd.instance_snapshot("one", "soon").response().await?;
        let etag = read.etag().expect("an ETag").to_owned();
        assert_eq!(InstanceSnapshotPut::from(read.value).expires_at, Some(soon));
        let put = InstanceSnapshotPut { expires_at: Some(NEVER) };
        lxd.update_instance_snapshot("one", "soon", put.clone()).if_match(&etag).await?;
        assert_eq!(lxd.instance_snapshot("one", "soon").await?.expires_at, None);
        let late = lxd.update_instance_snapshot("one", "soon", put).if_match(&etag).await.unwrap_err();
        assert!(late.is_precondition_failed(), "{late}");
        let patch = InstanceSnapshotPatch { expires_at: Some(soon) };
        lxd.modify_instance_snapshot("one", "never", patch).await?;
        assert_eq!(lxd.instance_snapshot("one", "never").await?.expires_at, Some(soon));
        lxd.modify_instance_snapshot("one", "never", InstanceSnapshotPatch { expires_at: Some(NEVER) })
            .await?;
        assert_eq!(lxd.instance_snapshot("one", "never").await?.expires_at, None);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_instance_goes_back_to_a_snapshot() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        lxd.create_instance(InstancesPost {
            description: "before".to_owned(),
            config: texts([("user.a", "1")]),
            ..Place::container("one")
        })
        .await?;
        lxd.create_instance_file("one", "before").path("/root/state").await?;
        lxd.create_instance_snapshot(
            "one",
            InstanceSnapshotsPost { name: "s".to_owned(), ..Default::default() },
        )
        .await?;
        lxd.create_instance_file("one", "after").path("/root/state").await?;
        let config = Some(map([("user.a", Some("2".to_owned()))]));
        lxd.modify_instance("one", InstancePatch { config, ..Default::default() }).await?;

        lxd.update_instance("one", InstancePut { restore: "s".to_owned(), ..Default::default() }).await?;
        let state = lxd.instance_files("one").path("/root/state").await?.text().await?;
        let config = lxd.instance("one").await?.config;
        assert_eq!((state.as_str(), config["user.a"].as_str()), ("before", "1"));

        let source =
            InstanceSource { r#type: SourceType::Copy, source: "one/s".to_owned(), ..Default::default() };
        let profiles = Some(vec!["default".to_owned()]);
        let post =
            InstancesPost { name: "two".to_owned(), profiles, source: Some(source), ..Default::default() };
        lxd.create_instance(post).await?;
        assert_eq!(lxd.instance_files("two").path("/root/state").await?.text().await?, "before");

        let put = InstancePut { restore: "missing".to_owned(), ..Default::default() };
        let missing = lxd.update_instance("one", put).await.unwrap_err();
        assert!(missing.is_not_found() || matches!(missing, Error::Operation { .. }), "{missing:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_backup_is_made_exported_and_restored() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        let config = texts([("user.a", "1")]);
        lxd.create_instance(InstancesPost { config, ..Place::container("one") }).await?;
        lxd.create_instance_file("one", "kept").path("/root/state").await?;
        assert!(lxd.instance_backups("one").await?.is_empty());
        let expires_at = Timestamp::from_second(Timestamp::now().as_second() + 3600).ok();
        lxd.create_instance_backup(
            "one",
            InstanceBackupsPost {
                name: "first".to_owned(),
                expires_at,
                instance_only: true,
                ..Default::default()
            },
        )
        .await?;
        assert_eq!(names(&lxd.instance_backups("one").await?), ["first"]);
        let backup = lxd.instance_backup("one", "first").await?;
        assert_eq!((backup.name.as_str(), backup.expires_at), ("first", expires_at));
        assert!(backup.instance_only && backup.created_at.is_some());
        assert_eq!(lxd.instance_backups_recursion1("one").await?, [backup]);

        lxd.rename_instance_backup("one", "first", InstanceBackupPost { name: "b".to_owned() }).await?;
        assert!(lxd.instance_backup("one", "first").await.unwrap_err().is_not_found());
        let bytes = lxd.instance_backup_export("one", "b").await?.bytes().await?;
        assert_eq!(bytes[..2], [0x1f, 0x8b], "it is packed by gzip");

        let exists = lxd.restore_instance_backup(bytes.clone()).await.unwrap_err();
        assert!(exists.to_string().contains("already exists"), "{exists}");
        lxd.restore_instance_backup(bytes).name("two").await?;
        assert_eq!(lxd.instance("two").await?.config["user.a"], "1");
        assert_eq!(lxd.instance_files("two").path("/root/state").await?.text().await?, "kept");

        lxd.delete_instance_backup("one", "b").await?;
        assert!(lxd.instance_backups("one").await?.is_empty());
        let gone = lxd.instance_backup_export("one", "b").await.unwrap_err();
        assert!(gone.is_not_found(), "{gone}");
        let broken = lxd.restore_instance_backup("no backup").name("three").await.unwrap_err();
        assert!(broken.status().is_some() || matches!(broken, Error::Operation { .. }), "{broken:?}");
        Ok(())
    })
    .await;
}
