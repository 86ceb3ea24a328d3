//! Transfers between this machine and a real LXD: backups and volumes as files, downloads of strangers, and what
//! is left where one breaks off in the middle.

use std::future::IntoFuture;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use lxd_client::types::{
    InstanceBackupsPost, InstancesPost, StoragePoolVolumeBackupsPost, StorageVolumesPost,
};
use lxd_client::{Body, Error, FileEntry, Transferred};
use lxd_tests::daemon::with_daemon;
use lxd_tests::folder::{Folder, sha256};
use lxd_tests::reading::Broken;
use lxd_tests::real::{Place, map, names, texts, with_project};
use tokio::io::AsyncReadExt;

/// Some bytes that cannot be packed well.
fn bytes() -> Vec<u8> {
    let mut state = 1_u64;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..8_000_000).map(step).collect()
}

/// The hash of a file in an archive.
fn hash_in(archive: &Path, name: &str) -> String {
    let script = ["-c", "tar xOf \"$1\" \"$2\" | sha256sum", "sh"];
    let output = Command::new("sh").args(script).arg(archive).arg(name).output().expect("a shell");
    String::from_utf8_lossy(&output.stdout).chars().take(64).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_goes_to_a_file_and_comes_back() {
    with_project(|place| async move {
        let (lxd, folder) = (&place.lxd, Folder::new());
        lxd.create_instance(Place::container("one")).await?;
        let content = bytes();
        std::fs::write(folder.0.join("content"), &content).expect("a file");
        lxd.files("one").write("/root/content", content.clone()).await?;
        lxd.create_instance_backup("one", InstanceBackupsPost { name: "b".into(), ..Default::default() })
            .await?;

        let told = Arc::new(Mutex::new(Transferred::default()));
        let (down, up) = (Arc::clone(&told), Arc::clone(&told));
        let path = folder.0.join("one.tar.gz");
        let backup = lxd.instance_backup_export("one", "b").await?;
        backup.progress(move |done| *down.lock().unwrap() = done).save(&path).await?;
        let length = std::fs::metadata(&path).expect("a file").len();
        let last = { *told.lock().unwrap() };
        assert_eq!((last.bytes, last.total), (length, Some(length)));
        let inside = "backup/container/rootfs/root/content";
        assert_eq!(hash_in(&path, inside), sha256(&[folder.0.join("content")]));

        // From a file, and from what does not say how long it is.
        let sent = lxd.restore_instance_backup(Body::file(&path).await?).name("two");
        sent.progress(move |done| *up.lock().unwrap() = done).await?;
        let last = { *told.lock().unwrap() };
        assert_eq!((last.bytes, last.total), (length, Some(length)));
        let reader = tokio::fs::File::open(&path).await.expect("a file");
        lxd.restore_instance_backup(Body::reader(reader)).name("three").await?;
        for name in ["two", "three"] {
            let FileEntry::File { content: restored, .. } = lxd.files(name).read("/root/content").await?
            else {
                panic!("no file");
            };
            assert!(restored.bytes().await? == content, "{name}");
        }

        // Half of it, however it comes, makes no instance.
        let half = std::fs::read(&path).expect("a file")[..length as usize / 2].to_vec();
        let broken = std::io::Cursor::new(half.clone()).chain(Broken(0));
        let error = lxd.restore_instance_backup(Body::reader(broken)).name("four").await.unwrap_err();
        assert!(matches!(error, Error::Transport { .. }), "{error:?}");
        let error = lxd.restore_instance_backup(half).name("four").await.unwrap_err();
        assert!(error.status().is_some() || matches!(error, Error::Operation { .. }), "{error:?}");
        let listed = lxd.instances().await?;
        let mut listed = names(&listed);
        listed.sort_unstable();
        assert_eq!(listed, ["one", "three", "two"]);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_goes_to_a_file_and_comes_back() {
    with_project(|place| async move {
        let (lxd, folder) = (&place.lxd, Folder::new());
        let volume = StorageVolumesPost { name: "v".into(), ..Default::default() };
        lxd.create_storage_pool_volumes_type("default", "custom", volume).await?;
        let disk = texts([("type", "disk"), ("pool", "default"), ("source", "v"), ("path", "/data")]);
        let devices = map([("data", disk)]);
        lxd.create_instance(InstancesPost { devices, ..Place::container("one") }).await?;
        place.change("one", lxd_client::types::InstanceAction::Start).await?;
        let content = bytes();
        std::fs::write(folder.0.join("content"), &content).expect("a file");
        lxd.files("one").write("/data/content", content).await?;
        place.change("one", lxd_client::types::InstanceAction::Stop).await?;

        let export = async |name: &str| {
            let post = StoragePoolVolumeBackupsPost { name: "b".into(), ..Default::default() };
            lxd.create_storage_pool_volumes_backup("default", "custom", name, post).await?;
            let path = folder.0.join(name);
            let backup = lxd.storage_pool_volumes_type_backup_export("default", "custom", name, "b").await?;
            backup.save(&path).await?;
            Ok::<_, Error>(path)
        };
        let path = export("v").await?;
        let expected = sha256(&[folder.0.join("content")]);
        assert_eq!(hash_in(&path, "backup/volume/content"), expected);
        let sent = Body::file(&path).await?;
        lxd.restore_storage_pool_volume_backup("default", "custom", sent).name("w").await?;
        assert_eq!(hash_in(&export("w").await?, "backup/volume/content"), expected);

        // 5.0.2 has no volumes of ISO files.
        let iso = lxd.restore_storage_pool_volume_backup("default", "custom", "iso").name("x").r#type("iso");
        let refused = iso.await.unwrap_err();
        let extension = lxd.has_extension("custom_volume_iso").await?;
        assert!(!extension && (refused.status().is_some() || matches!(refused, Error::Operation { .. })));
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_that_dies_was_to_send_or_to_take_is_an_error() {
    with_daemon(|daemon| async move {
        let mut daemon = daemon.lock().await;
        let (lxd, _) = daemon.with_image().await?;
        lxd.create_instance(Place::container("one")).await?;
        let folder = Folder::new();
        // Large enough that neither end has all of it at once.
        let large = Body::reader(tokio::io::repeat(7)).length(64 << 20);
        lxd.files("one").write("/root/large", large).await?;

        let FileEntry::File { mut content, .. } = lxd.files("one").read("/root/large").await? else {
            panic!("no file");
        };
        let begun = Arc::new(tokio::sync::Notify::new());
        let telling = Arc::clone(&begun);
        content = content.progress(move |_| telling.notify_one());
        let saving = tokio::spawn(content.save(folder.0.join("large")));
        begun.notified().await;
        saving.abort();
        assert!(saving.await.is_err_and(|error| error.is_cancelled()));
        assert!(folder.files().is_empty());

        let FileEntry::File { content, .. } = lxd.files("one").read("/root/large").await? else {
            panic!("no file");
        };
        let endless = Body::reader(tokio::io::repeat(7));
        let telling = Arc::clone(&begun);
        let writing =
            lxd.files("one").write("/root/endless", endless).progress(move |_| telling.notify_one());
        let writing = tokio::spawn(writing.into_future());
        begun.notified().await;
        daemon.kill().await;
        let error = content.save(folder.0.join("large")).await.unwrap_err();
        assert!(matches!(error, Error::Transport { .. }), "{error:?}");
        assert!(folder.files().is_empty());
        let error = writing.await.expect("no panic").unwrap_err();
        assert!(matches!(error, Error::Transport { .. }), "{error:?}");
        daemon.start_again().await;
        assert_eq!(lxd.instance("one").await?.status, "Stopped");
        Ok(())
    })
    .await;
}
