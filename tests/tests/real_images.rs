//! Images on a real LXD, each test with images of its own.

use jiff::Timestamp;
use lxd_client::Error;
use lxd_client::types::{
    ImageAliasesEntryPut, ImageAliasesPost, ImagePatch, ImagePut, ImagesPost, ImagesPostSource,
    InstanceSource, InstanceType, InstancesPost, ProfilesPost, SourceType,
};
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
