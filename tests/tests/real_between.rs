//! Copies and moves from one real LXD to another: by pull, by push and through this client.

use std::future::IntoFuture;
use std::sync::{Arc, Mutex};

use lxd_client::types::{
    ImagesPost, InstanceAction, InstanceSnapshotsPost, InstanceStatePut, InstancesPost, Operation,
    StorageVolumeSnapshotsPost, StorageVolumesPost,
};
use lxd_client::{Client, CopyMode, Error, FileEntry, Transferred};
use lxd_tests::daemon::{kill, with_two_daemons};
use lxd_tests::example;
use lxd_tests::real::{Place, map, names, texts};

const MODES: [CopyMode; 3] = [CopyMode::Pull, CopyMode::Push, CopyMode::Relay];

/// Some bytes that are not like each other.
fn bytes() -> Vec<u8> {
    (0..3_000_000_u32).map(|each| (each.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect()
}

async fn read(lxd: &Client, instance: &str, path: &str) -> Result<Vec<u8>, Error> {
    match lxd.files(instance).read(path).await? {
        FileEntry::File { content, .. } => Ok(content.bytes().await?.to_vec()),
        other => panic!("{other:?}"),
    }
}

/// What was told of a transfer.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Transferred>>>);

impl Told {
    fn teller(&self) -> impl FnMut(Transferred) + Send + 'static {
        let told = self.clone();
        move |done| told.0.lock().unwrap().push(done)
    }

    fn most(&self) -> u64 {
        let told = self.0.lock().unwrap();
        assert!(told.is_sorted_by_key(|done| done.bytes), "{told:?}");
        told.last().map_or(0, |done| done.bytes)
    }
}

/// Makes a container with a file and a snapshot of an earlier one.
async fn container(lxd: &Client) -> Result<(), Error> {
    let config = texts([("user.a", "1"), ("boot.autostart", "false")]);
    lxd.create_instance(InstancesPost { config, ..Place::container("c1") }).await?;
    lxd.files("c1").write("/root/state", "before").await?;
    lxd.create_instance_snapshot("c1", InstanceSnapshotsPost { name: "s".into(), ..Default::default() })
        .await?;
    lxd.files("c1").remove("/root/state").await?;
    lxd.files("c1").write("/root/state", bytes()).uid(7).mode(0o640).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_copied_in_each_way() {
    with_two_daemons(|one, other, _| async move {
        container(&one).await?;
        for mode in MODES {
            let told = Told::default();
            let description = format!("{mode:?}");
            let with = InstancesPost { description: description.clone(), ..Default::default() };
            let copy = one.copy_instance("c1", &other).name("c2").mode(mode).with(with);
            copy.progress(told.teller()).await?;
            let copied = other.instance("c2").await?;
            assert_eq!(copied.description, description);
            assert_eq!((copied.config["user.a"].as_str(), copied.status.as_str()), ("1", "Stopped"));
            assert!(read(&other, "c2", "/root/state").await? == bytes(), "{mode:?}");
            // (The server would not delete it while an answer with a file of it is open.)
            let attributes = other.files("c2").read("/root/state").await?.attributes().clone();
            assert_eq!((attributes.uid, attributes.mode), (7, 0o640), "{mode:?}");
            assert_eq!(names(&other.instance_snapshots("c2").await?), ["s"], "{mode:?}");
            if mode == CopyMode::Relay {
                // It is compressed on the way.
                assert!(told.most() > 500_000, "{}", told.most());
            }
            // The source is as it was, and nothing goes on.
            assert_eq!(one.instance("c1").await?.config["user.a"], "1");

            // There already: the servers say so.
            let again = one.copy_instance("c1", &other).name("c2").mode(mode).await.unwrap_err();
            assert!(again.to_string().contains("already exists"), "{mode:?}: {again}");
            other.delete_instance("c2").await?;

            let copy = one.copy_instance("c1", &other).mode(mode).without_snapshots();
            copy.await?;
            assert!(other.instance_snapshots("c1").await?.is_empty());
            other.delete_instance("c1").await?;

            one.copy_instance("c1/s", &other).name("of-snapshot").mode(mode).await?;
            assert_eq!(read(&other, "of-snapshot", "/root/state").await?, b"before", "{mode:?}");
            other.delete_instance("of-snapshot").await?;
        }
        let missing = one.copy_instance("none", &other).await.unwrap_err();
        assert!(missing.is_not_found(), "{missing:?}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_moved_in_each_way() {
    with_two_daemons(|one, other, _| async move {
        container(&one).await?;
        let (mut here, mut there) = (one, other);
        for mode in MODES {
            here.move_instance("c1", &there).mode(mode).await?;
            assert!(here.instance("c1").await.unwrap_err().is_not_found(), "{mode:?}");
            assert!(read(&there, "c1", "/root/state").await? == bytes(), "{mode:?}");
            assert_eq!(names(&there.instance_snapshots("c1").await?), ["s"], "{mode:?}");
            std::mem::swap(&mut here, &mut there);
        }
        // What fails is still there.
        let with = InstancesPost { profiles: Some(vec!["none".into()]), ..Default::default() };
        let refused = here.move_instance("c1", &there).with(with).await.unwrap_err();
        assert!(refused.to_string().contains("rofile"), "{refused}");
        assert!(read(&here, "c1", "/root/state").await? == bytes());
        assert!(there.instances().await?.is_empty());
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_or_is_used_is_copied_but_not_moved() {
    with_two_daemons(|one, other, _| async move {
        let volume = StorageVolumesPost { name: "v".into(), ..Default::default() };
        one.create_storage_pool_volumes_type("default", "custom", volume).await?;
        let disk = texts([("type", "disk"), ("pool", "default"), ("source", "v"), ("path", "/data")]);
        let post = InstancesPost { devices: map([("data", disk)]), ..Place::container("c1") };
        one.create_instance(post).await?;
        one.create_instance_snapshot("c1", InstanceSnapshotsPost { name: "s".into(), ..Default::default() })
            .await?;
        let start = InstanceStatePut { action: InstanceAction::Start, timeout: 30, ..Default::default() };
        one.update_instance_state("c1", start).await?;

        for refused in [
            one.move_instance("c1", &other).await,
            one.move_instance("c1/s", &other).await,
            one.move_storage_volume("default", "v", &other).await,
        ] {
            let refused = refused.unwrap_err();
            assert!(matches!(refused, Error::Argument { .. }), "{refused:?}");
        }
        assert!(other.instances().await?.is_empty());
        assert_eq!(names(&one.instance_snapshots("c1").await?), ["s"]);

        for mode in MODES {
            one.copy_storage_volume("default", "v", &other).mode(mode).await?;
            one.copy_instance("c1", &other).mode(mode).await?;
            let copied = other.instance("c1").await?;
            assert_eq!((copied.status.as_str(), copied.devices["data"]["source"].as_str()), ("Stopped", "v"));
            other.delete_instance("c1").await?;
            other.delete_storage_pool_volume_type("default", "custom", "v").await?;
        }
        assert_eq!(one.instance("c1").await?.status, "Running");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_copied_in_each_way_with_its_aliases() {
    with_two_daemons(|one, other, _| async move {
        let fingerprint = one.image_alias("busybox").await?.target;
        for (at, mode) in MODES.into_iter().enumerate() {
            for public in [false, true] {
                let told = Told::default();
                let with = ImagesPost { public, ..Default::default() };
                let copy = one.copy_image(&fingerprint[..20], &other).mode(mode).with(with);
                assert_eq!(copy.progress(told.teller()).await?, fingerprint, "{mode:?}");
                let image = other.image(&fingerprint).await?;
                assert_eq!(image.public, public, "{mode:?}");
                assert_eq!(image.aliases[0].name, "busybox", "{mode:?}");
                assert_eq!(image.properties["os"], "busybox", "{mode:?}");
                if mode == CopyMode::Relay {
                    assert_eq!(told.most(), u64::try_from(image.size).unwrap());
                }
                other.export_image(&fingerprint).await?.save(std::env::temp_dir()).await.map(|paths| {
                    for path in paths {
                        std::fs::remove_file(path).unwrap();
                    }
                })?;
                // What is there already only gets its alias back.
                other.delete_image_alias("busybox").await?;
                assert_eq!(one.copy_image(&fingerprint, &other).mode(mode).await?, fingerprint);
                assert_eq!(other.image_alias("busybox").await?.target, fingerprint);
                other.delete_image(&fingerprint).await?;
            }
            // No secret is left to wait for.
            let left = one.operations_recursion1().await?;
            let left: Vec<_> = left.values().flatten().filter(|each| each.status == "Running").collect();
            assert!(left.is_empty(), "{at} {mode:?}: {left:?}");
        }
        let missing = one.copy_image("beef", &other).await.unwrap_err();
        assert!(missing.is_not_found(), "{missing:?}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_copied_and_moved_in_each_way() {
    with_two_daemons(|one, other, _| async move {
        let volume = StorageVolumesPost {
            name: "data".into(),
            description: "Data".into(),
            config: texts([("user.a", "1")]),
            ..Default::default()
        };
        one.create_storage_pool_volumes_type("default", "custom", volume).await?;
        let snapshot = StorageVolumeSnapshotsPost { name: "s".into(), ..Default::default() };
        one.create_storage_pool_volumes_snapshot("default", "custom", "data", snapshot).await?;
        let snapshots =
            |lxd: &Client, name: &str| lxd.storage_pool_volumes_type_snapshots("default", "custom", name);
        for mode in MODES {
            one.copy_storage_volume("default", "data", &other).name("copy").mode(mode).await?;
            let copied = other.storage_pool_volume_type("default", "custom", "copy").await?;
            assert_eq!((copied.description.as_str(), copied.config["user.a"].as_str()), ("Data", "1"));
            assert_eq!(names(&snapshots(&other, "copy").await?), ["s"], "{mode:?}");
            let again = one.copy_storage_volume("default", "data", &other).name("copy").mode(mode).await;
            let again = again.unwrap_err();
            assert!(again.to_string().contains("already exists"), "{mode:?}: {again}");
            other.delete_storage_pool_volume_type("default", "custom", "copy").await?;
            let copy = one.copy_storage_volume("default", "data", &other).mode(mode).without_snapshots();
            copy.pool("default").await?;
            assert!(snapshots(&other, "data").await?.is_empty(), "{mode:?}");
            other.delete_storage_pool_volume_type("default", "custom", "data").await?;
        }
        let (mut here, mut there) = (one, other);
        for mode in MODES {
            here.move_storage_volume("default", "data", &there).mode(mode).await?;
            let gone = here.storage_pool_volume_type("default", "custom", "data").await.unwrap_err();
            assert!(gone.is_not_found(), "{gone:?}");
            assert_eq!(names(&snapshots(&there, "data").await?), ["s"], "{mode:?}");
            std::mem::swap(&mut here, &mut there);
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_cannot_reach_each_other_are_told_so() {
    with_two_daemons(|one, other, _| async move {
        // The shared one has no address.
        let hidden = lxd_tests::real::client("default");
        let fingerprint = hidden.image_alias("busybox").await?.target;
        one.create_instance(Place::empty_instance("empty")).await?;
        for error in [
            hidden.copy_image(&fingerprint, &other).await.map(drop),
            one.copy_instance("empty", &hidden).mode(CopyMode::Push).await,
        ] {
            let error = error.unwrap_err();
            assert!(matches!(error, Error::Configuration { .. }), "{error:?}");
            assert!(error.to_string().contains("core.https_address"), "{error}");
        }
        // This client reaches both.
        hidden.copy_image(&fingerprint, &other).mode(CopyMode::Relay).await?;
        assert_eq!(other.image(&fingerprint).await?.fingerprint, fingerprint);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_copies_an_image() {
    with_two_daemons(|one, other, sockets| async move {
        let fingerprint = one.image_alias("busybox").await?.target;
        let folder = std::env::temp_dir().join(format!("lxd-tests-remotes-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("a folder");
        let [lab, attic] = sockets;
        let remotes =
            format!("remotes: {{lab: {{addr: 'unix://{lab}'}}, attic: {{addr: 'unix://{attic}'}}}}");
        std::fs::write(folder.join("config.yml"), remotes).expect("a file");
        let program = example("image-copy");
        let run = |arguments: &[&str]| {
            let mut command = std::process::Command::new(&program);
            let output = command.args(arguments).env("LXD_CONF", &folder).output().expect("the example");
            let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
            (output.status.code(), out, err)
        };
        for way in [&[][..], &["--pull"], &["--push"]] {
            let arguments = [&["lab", "attic", "busybox"], way].concat();
            let (code, out, err) = run(&arguments);
            assert_eq!((code, out.trim(), err.as_str()), (Some(0), fingerprint.as_str(), ""));
            assert_eq!(other.image_alias("busybox").await?.target, fingerprint);
            other.delete_image(&fingerprint).await?;
        }
        let (code, _, err) = run(&["lab", "attic", "none"]);
        assert_eq!(code, Some(1));
        assert!(err.contains("image-copy: GET /1.0/images/none"), "{err}");
        assert_eq!(run(&["lab"]).0, Some(2));
        std::fs::remove_dir_all(&folder).expect("the folder");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_breaks_off_leaves_nothing() {
    with_two_daemons(|one, other, _| async move {
        one.create_instance(Place::container("c1")).await?;
        // What goes over does not get smaller by packing it.
        let mut random = std::fs::File::open("/dev/urandom").expect("random bytes");
        let mut large = vec![0; 64 << 20];
        std::io::Read::read_exact(&mut random, &mut large).expect("random bytes");
        one.files("c1").write("/root/large", large).await?;
        let gone = async || {
            let goes_on = |each: &Operation| each.status == "Running";
            while other.operations_recursion1().await?.values().flatten().any(goes_on) {
                tokio::task::yield_now().await;
            }
            // The server cleans up after that.
            while !other.storage_pool_volumes("default").await?.is_empty() {
                tokio::task::yield_now().await;
            }
            assert!(other.instances().await?.is_empty());
            Ok::<_, Error>(())
        };
        let begin = || {
            let begun = Arc::new(tokio::sync::Notify::new());
            let telling = Arc::clone(&begun);
            let copy = one.copy_instance("c1", &other).mode(CopyMode::Relay);
            let copy = copy.progress(move |done| {
                if done.bytes > 1 << 20 {
                    telling.notify_one();
                }
            });
            (begun, tokio::spawn(copy.into_future()))
        };
        let (begun, copying) = begin();
        begun.notified().await;
        copying.abort();
        assert!(copying.await.is_err());
        let in_time = std::time::Duration::from_secs(60);
        tokio::time::timeout(in_time, gone()).await.expect("an end in time")?;
        assert_eq!(one.instance("c1").await?.status, "Stopped");

        let (begun, mut copying) = begin();
        tokio::select! {
            () = begun.notified() => {}
            early = &mut copying => panic!("{early:?}"),
        }
        kill(&one).await;
        let error = copying.await.expect("no panic").unwrap_err();
        assert!(!error.to_string().is_empty());
        tokio::time::timeout(in_time, gone()).await.expect("an end in time")?;
        Ok(())
    })
    .await;
}
