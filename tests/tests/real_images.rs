//! Images on a real LXD, each test with images of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use lxd_client::types::{
    ImageAliasesEntryPut, ImageAliasesPost, ImagePatch, ImagePut, ImagesPost, ImagesPostSource,
    InstanceSource, InstanceType, InstancesPost, ProfilesPost, SourceType,
};
use lxd_client::{Body, Error, Transferred};
use lxd_tests::folder::{Folder, sha256};
use lxd_tests::reading::Broken;
use lxd_tests::real::{map, names, texts, with_project};

#[tokio::test]
async fn an_image_is_uploaded_used_and_exported() {
    with_project(|place| async move {
        let lxd = place.project_with_images().await?;
        assert!(lxd.images().await?.is_empty());
        let bytes = place.image_of_its_own().await?;
        let uploaded = lxd
            .upload_image(bytes.clone())
            .filename("own image.tar.gz")
            .properties(&texts([("description", "a & b"), ("k", "=?"), ("n", "seven")]))
            .public(true)
            .await?;
        assert_eq!(uploaded.size, i64::try_from(bytes.len()).unwrap());
        let image = lxd.image(&uploaded.fingerprint).await?;
        assert_eq!((&image.fingerprint, image.size), (&uploaded.fingerprint, uploaded.size));
        assert_eq!((image.filename.as_str(), image.public), ("own image.tar.gz", true));
        assert_eq!(
            (image.properties["description"].as_str(), image.properties["k"].as_str()),
            ("a & b", "=?")
        );
        assert_eq!(
            (image.r#type, image.profiles.as_slice()),
            (InstanceType::Container, ["default".to_owned()].as_slice())
        );
        assert_eq!(image.created_at, Timestamp::from_second(1_700_000_000).ok());
        assert!(image.uploaded_at.is_some());
        // Never, which the server writes as 1970.
        assert_eq!((image.expires_at, image.last_used_at), (None, None));
        assert_eq!(names(&lxd.images().await?), [&uploaded.fingerprint]);
        assert_eq!(lxd.images_recursion1().filter("properties.n eq seven").await?.len(), 1);
        assert!(lxd.images_recursion1().filter("properties.n eq eight").await?.is_empty());
        // A part of the fingerprint that is unique is enough.
        assert_eq!(lxd.image(&uploaded.fingerprint[..12]).await?.fingerprint, uploaded.fingerprint);

        let again = lxd.upload_image(bytes.clone()).await.unwrap_err();
        assert!(
            matches!(&again, Error::Operation { message, .. } if message.contains("already exists")),
            "{again:?}"
        );

        let fingerprint = uploaded.fingerprint.clone();
        let source = InstanceSource { r#type: SourceType::Image, fingerprint, ..Default::default() };
        let post = InstancesPost { name: "one".to_owned(), source: Some(source), ..Default::default() };
        lxd.create_instance(post).await?;
        assert_eq!(lxd.instance("one").await?.config["image.description"], "a & b");
        assert!(lxd.image(&uploaded.fingerprint).await?.last_used_at.is_some());

        let export = lxd.image_export(&uploaded.fingerprint).await?;
        assert!(export.header("content-disposition").is_some_and(|text| text.contains("filename=")));
        assert_eq!(export.bytes().await?, bytes);
        lxd.delete_image(&uploaded.fingerprint).await?;
        assert!(lxd.image(&uploaded.fingerprint).await.unwrap_err().is_not_found());
        let missing = lxd.image_export(&uploaded.fingerprint).await.unwrap_err();
        assert!(missing.is_not_found(), "{missing}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_upload_is_checked() {
    with_project(|place| async move {
        let lxd = place.project_with_images().await?;
        let bytes = place.image_of_its_own().await?;
        let failed = lxd.upload_image(bytes).fingerprint(&"0".repeat(64)).await.unwrap_err();
        assert!(failed.to_string().contains("ingerprint"), "{failed}");
        let failed = lxd.upload_image("no image").await.unwrap_err();
        assert!(matches!(failed, Error::Operation { .. }) || failed.status().is_some(), "{failed:?}");
        assert!(lxd.images().await?.is_empty());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_image_is_changed() {
    with_project(|place| async move {
        let lxd = place.project_with_images().await?;
        lxd.create_profile(ProfilesPost { name: "p".to_owned(), ..Default::default() }).await?;
        let fingerprint = lxd.upload_image(place.image_of_its_own().await?).await?.fingerprint;
        let read = lxd.image(&fingerprint).response().await?;
        let etag = read.etag().expect("an ETag").to_owned();
        assert_eq!(read.value.profiles, ["default"]);
        assert_eq!(read.value.properties["os"], "busybox");

        let expires_at = Timestamp::from_second(Timestamp::now().as_second() + 3600).ok();
        let profiles = Some(vec!["p".to_owned(), "default".to_owned()]);
        let put = ImagePut { expires_at, profiles, public: true, ..ImagePut::from(read.value) };
        lxd.update_image(&fingerprint, put.clone()).if_match(&etag).await?;
        let image = lxd.image(&fingerprint).await?;
        assert_eq!((image.expires_at, image.public), (expires_at, true));
        assert_eq!(image.profiles.len(), 2, "{image:?}");
        assert_eq!(image.properties["os"], "busybox");
        let late = lxd.update_image(&fingerprint, put.clone()).if_match(&etag).await.unwrap_err();
        assert!(late.is_precondition_failed(), "{late}");

        // Absent and empty profiles differ.
        lxd.update_image(&fingerprint, ImagePut { profiles: None, ..put.clone() }).await?;
        assert_eq!(lxd.image(&fingerprint).await?.profiles, ["default"]);
        lxd.update_image(&fingerprint, ImagePut { profiles: Some(Vec::new()), ..put }).await?;
        assert!(lxd.image(&fingerprint).await?.profiles.is_empty());

        let properties = Some(map([("os", None), ("release", Some("1".to_owned()))]));
        let patch = ImagePatch { properties, public: Some(false), ..Default::default() };
        lxd.modify_image(&fingerprint, patch).await?;
        let image = lxd.image(&fingerprint).await?;
        assert!(!image.public && !image.properties.contains_key("os"), "{image:?}");
        assert_eq!(
            (image.properties["release"].as_str(), image.properties["description"].as_str()),
            ("1", "busybox")
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_alias_lives() {
    with_project(|place| async move {
        let lxd = place.project_with_images().await?;
        let target = lxd.upload_image(place.image_of_its_own().await?).await?.fingerprint;
        let post = ImageAliasesPost {
            name: "own/é?".to_owned(),
            description: "first".to_owned(),
            target: target.clone(),
            ..Default::default()
        };
        lxd.add_images_alias(post.clone()).await?;
        let again = lxd.add_images_alias(post).await.unwrap_err();
        assert!(again.is_conflict(), "{again:?}");
        let read = lxd.image_alias("own/é?").response().await?;
        let etag = read.etag().expect("an ETag").to_owned();
        assert_eq!((read.value.name.as_str(), &read.value.target), ("own/é?", &target));
        assert_eq!(lxd.images_aliases_recursion1().await?, std::slice::from_ref(&read.value));
        assert_eq!(lxd.images_aliases().await?.len(), 1);
        assert_eq!(lxd.image(&target).await?.aliases[0].name, "own/é?");

        let put = ImageAliasesEntryPut { description: String::new(), ..read.value.into() };
        lxd.update_image_alias("own/é?", put.clone()).if_match(&etag).await?;
        assert_eq!(lxd.image_alias("own/é?").await?.description, "");
        let late = lxd.update_image_alias("own/é?", put).if_match(&etag).await.unwrap_err();
        assert!(late.is_precondition_failed(), "{late}");
        assert_eq!(lxd.image_alias("own/é?").await?.r#type, InstanceType::Container);
        lxd.delete_image_alias("own/é?").await?;
        assert!(lxd.image_alias("own/é?").await.unwrap_err().is_not_found());
        assert!(lxd.image(&target).await?.aliases.is_empty());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_secret_is_given_out_and_taken_back() {
    with_project(|place| async move {
        let lxd = place.project_with_images().await?;
        let bytes = place.image_of_its_own().await?;
        let fingerprint = lxd.upload_image(bytes.clone()).await?.fingerprint;
        // The operation behind it stays until the secret is used: the call does not wait for that.
        let secret = lxd.initiate_image_upload(&fingerprint).await?.secret;
        assert!(!secret.is_empty());
        let export = lxd.image_export_untrusted(&fingerprint).secret(&secret).await?;
        assert_eq!(export.bytes().await?, bytes);

        let token = lxd.initiate_image_upload(&fingerprint).start().await?;
        assert!(token.may_cancel() && !token.is_final());
        token.cancel().await?;
        token.refresh().await?;
        assert_eq!(token.status(), "Cancelled");
        let cancelled = token.wait().await.unwrap_err();
        assert!(matches!(cancelled, Error::Cancelled { .. }), "{cancelled:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_instance_is_published() {
    with_project(|place| async move {
        let lxd = place.project_with_images().await?;
        let fingerprint = lxd.upload_image(place.image_of_its_own().await?).await?.fingerprint;
        let source = InstanceSource { r#type: SourceType::Image, fingerprint, ..Default::default() };
        let post = InstancesPost { name: "one".to_owned(), source: Some(source), ..Default::default() };
        lxd.create_instance(post).await?;
        lxd.create_instance_file("one", "kept").path("/root/state").await?;
        let publish = |name: &str| ImagesPost {
            source: Some(ImagesPostSource {
                r#type: SourceType::Instance,
                name: name.to_owned(),
                ..Default::default()
            }),
            properties: texts([("description", "published")]),
            compression_algorithm: "none".to_owned(),
            ..Default::default()
        };
        let published = lxd.create_image(publish("one")).await?;
        assert_eq!(published.fingerprint.len(), 64);
        assert!(published.size > 0);
        let image = lxd.image(&published.fingerprint).await?;
        assert_eq!((image.size, image.properties["description"].as_str()), (published.size, "published"));
        let missing = lxd.create_image(publish("two")).await.unwrap_err();
        assert!(missing.is_not_found() || matches!(missing, Error::Operation { .. }), "{missing:?}");

        let source = InstanceSource {
            r#type: SourceType::Image,
            fingerprint: published.fingerprint.clone(),
            ..Default::default()
        };
        let post = InstancesPost { name: "two".to_owned(), source: Some(source), ..Default::default() };
        lxd.create_instance(post).await?;
        assert_eq!(lxd.instance_files("two").path("/root/state").await?.text().await?, "kept");
        lxd.delete_image(&published.fingerprint).await?;
        assert!(lxd.image(&published.fingerprint).await.unwrap_err().is_not_found());
        Ok(())
    })
    .await;
}

/// Makes the two files of an image of one, as others publish them.
fn split(unified: &Path) -> [PathBuf; 2] {
    let script = "cd $(dirname $1) && tar xzf $1 && tar czf meta.tar.gz metadata.yaml && \
                  tar czf rootfs.tar.gz -C rootfs . && rm -r metadata.yaml rootfs";
    let done = Command::new("sh").args(["-ec", script, "sh"]).arg(unified).status();
    assert!(done.expect("a shell").success());
    ["meta.tar.gz", "rootfs.tar.gz"].map(|name| unified.with_file_name(name))
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_one_and_of_two_files_go_up_and_come_back() {
    with_project(|place| async move {
        let lxd = place.project_with_images().await?;
        let folder = Folder::new();
        let unified = folder.0.join("unified.tar.gz");
        std::fs::write(&unified, place.image_of_its_own().await?).expect("a file");
        let [metadata, rootfs] = split(&unified);

        // From a file, and from a reader of which nobody knows the length.
        let told = Arc::new(Mutex::new(Transferred::default()));
        let telling = Arc::clone(&told);
        let sent = Body::file(&unified).await?;
        let sent = lxd.upload_image(sent).progress(move |done| *telling.lock().unwrap() = done);
        let one = sent.await?.fingerprint;
        assert_eq!(one, sha256(std::slice::from_ref(&unified)));
        let length = std::fs::metadata(&unified).expect("a file").len();
        let told = { *told.lock().unwrap() };
        assert_eq!((told.bytes, told.total), (length, Some(length)));
        let reader = tokio::fs::File::open(&rootfs).await.expect("a file");
        let sent = Body::split_image(Body::file(&metadata).await?, Body::reader(reader));
        let two = lxd.upload_image(sent).public(true).await?.fingerprint;
        assert_eq!(two, sha256(&[metadata.clone(), rootfs.clone()]));

        let out = folder.0.join("out");
        std::fs::create_dir(&out).expect("a folder");
        let export = lxd.export_image(&one[..12]).await?;
        assert!(!export.is_split());
        let saved = export.save(&out).await?;
        assert_eq!(saved.len(), 1);
        assert!(std::fs::read(&saved[0]).expect("a file") == std::fs::read(&unified).expect("a file"));
        let export = lxd.export_image(&two).await?;
        assert!(export.is_split());
        let saved = export.save(&out).await?;
        assert_eq!(sha256(&saved), two);
        let same = |one: &Path, other: &Path| std::fs::read(one).unwrap() == std::fs::read(other).unwrap();
        assert!(same(&saved[0], &metadata) && same(&saved[1], &rootfs), "{saved:?}");

        let source = InstanceSource { r#type: SourceType::Image, fingerprint: two, ..Default::default() };
        lxd.create_instance(InstancesPost { name: "t".into(), source: Some(source), ..Default::default() })
            .await?;
        let listed = lxd.instance_files("t").path("/bin/busybox").await?;
        assert_eq!(listed.header("x-lxd-type"), Some("file"));
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_off_leaves_no_image() {
    with_project(|place| async move {
        let lxd = place.project_with_images().await?;
        let bytes = place.image_of_its_own().await?;
        let half = bytes[..bytes.len() / 2].to_vec();
        // At this end: what was to come does not. The server has half of it by then.
        let broken = tokio::io::AsyncReadExt::chain(std::io::Cursor::new(half.clone()), Broken(0));
        let whole = lxd.upload_image(Body::reader(broken)).fingerprint(&"0".repeat(64)).await.unwrap_err();
        assert!(matches!(whole, Error::Transport { .. }), "{whole:?}");
        // At the other: a truncated file is not what its fingerprint says.
        let fingerprint = lxd.upload_image(bytes.clone()).await?.fingerprint;
        lxd.delete_image(&fingerprint).await?;
        let cut = lxd.upload_image(half).fingerprint(&fingerprint).await.unwrap_err();
        assert!(cut.to_string().contains("ingerprint"), "{cut}");
        // Dropped in the middle.
        let endless = Body::reader(tokio::io::repeat(7));
        let upload = tokio::spawn(lxd.upload_image(endless).fingerprint(&fingerprint).into_future());
        tokio::task::yield_now().await;
        upload.abort();
        assert!(upload.await.is_err());
        assert!(lxd.images().await?.is_empty());
        Ok(())
    })
    .await;
}
