//! What clients can do that a real LXD does not know: with a secret that a trusted client gave them, as servers among
//! each other do, and without.

use std::process::Command;

use futures_util::StreamExt;
use lxd_client::types::{
    CertificatesPost, ImageExportPost, ImagesPost, ImagesPostSource, InstanceAction, InstanceExecPost,
    InstanceStatePut,
};
use lxd_client::{Client, Error, Message, Operation};
use lxd_tests::daemon::{with_daemon, with_two_daemons};
use lxd_tests::folder::{Folder, sha256};
use lxd_tests::real::Place;
use lxd_tests::twice::lost;
use lxd_tests::{base64, example};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_downloads_by_a_secret() {
    with_daemon(|daemon| async move {
        let daemon = daemon.lock().await;
        let (lxd, fingerprint) = daemon.with_image().await?;
        let stranger = daemon.stranger().await?;
        let refused = stranger.export_image(&fingerprint).await.unwrap_err();
        assert!(refused.is_not_found() || refused.is_forbidden(), "{refused:?}");
        let wrong = stranger.export_image(&fingerprint).secret("wrong").await.unwrap_err();
        assert!(wrong.is_not_found() || wrong.is_forbidden(), "{wrong:?}");

        let folder = Folder::new();
        let secret = lxd.initiate_image_upload(&fingerprint).await?.secret;
        let image = stranger.export_image(&fingerprint).secret(&secret).await?;
        let saved = image.save(&folder.0).await?;
        assert_eq!(sha256(&saved), fingerprint);
        Ok(())
    })
    .await;
}

/// Announces an image that somebody is to bring: the operation that stands for it.
async fn expect(lxd: &Client, fingerprint: &str) -> Result<Operation<impl Sized + use<>>, Error> {
    let source = ImagesPostSource {
        r#type: "image".into(),
        mode: "push".into(),
        fingerprint: fingerprint.into(),
        ..Default::default()
    };
    lxd.create_image(ImagesPost { source: Some(source), ..Default::default() }).start().await
}

fn secret(metadata: &Value) -> &str {
    metadata["secret"].as_str().expect("a secret")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_uploads_by_a_secret() {
    with_daemon(|daemon| async move {
        let daemon = daemon.lock().await;
        let (lxd, fingerprint) = daemon.with_image().await?;
        let image = lxd.image_export(&fingerprint).await?.bytes().await?;
        lxd.delete_image(&fingerprint).await?;
        let stranger = daemon.stranger().await?;
        let refused = stranger.upload_image_untrusted(image.clone()).await.unwrap_err();
        assert!(refused.is_forbidden(), "{refused:?}");
        // What it should download or publish, a stranger cannot tell it at all.
        let refused = stranger.push_image_untrusted(ImagesPost::default()).await.unwrap_err();
        assert!(refused.is_forbidden(), "{refused:?}");

        let expected = expect(&lxd, &fingerprint).await?;
        let metadata = expected.metadata();
        let upload =
            stranger.upload_image_untrusted(image).secret(secret(&metadata)).fingerprint(&fingerprint);
        upload.start().await?;
        // The stranger cannot follow its operation; who expects the image can.
        while lxd.image(&fingerprint).await.is_err_and(|error| error.is_not_found()) {
            tokio::task::yield_now().await;
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_sees_a_command_by_its_secrets() {
    with_daemon(|daemon| async move {
        let daemon = daemon.lock().await;
        let (lxd, _) = daemon.with_image().await?;
        let stranger = daemon.stranger().await?;
        lxd.create_instance(Place::container("one")).await?;
        let change = |action| InstanceStatePut { action, force: true, timeout: 30, ..Default::default() };
        lxd.update_instance_state("one", change(InstanceAction::Start)).await?;
        let command = InstanceExecPost {
            command: ["echo", "seen"].map(String::from).to_vec(),
            wait_for_websocket: true,
            interactive: true,
            ..Default::default()
        };
        let operation = lxd.execute_in_instance("one", command).start().await?;
        let secrets = operation.metadata()["fds"].clone();
        let socket = |name: &str| {
            let secret = secrets[name].as_str().expect("a secret");
            stranger.operation_websocket_untrusted(operation.id()).secret(secret)
        };
        let wrong = stranger.operation_websocket_untrusted(operation.id()).secret("wrong").await.unwrap_err();
        assert!(wrong.to_string().contains("permission denied"), "{wrong}");
        let mut terminal = socket("0").await?;
        let _control = socket("control").await?;
        let mut shown = Vec::new();
        // A text is the end of the stream.
        while let Some(Ok(message)) = terminal.next().await {
            match message {
                Message::Binary(bytes) => shown.extend_from_slice(&bytes),
                Message::Text(_) => break,
                _ => {}
            }
        }
        drop(terminal);
        assert_eq!(shown, b"seen\r\n");
        operation.wait().await?;
        lxd.update_instance_state("one", change(InstanceAction::Stop)).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_follows_its_source_and_is_brought_elsewhere() {
    with_two_daemons(|one, other, _| async move {
        let alias = one.image_alias("busybox").await?.target;
        let mut image = one.image(&alias).await?;
        image.public = true;
        one.update_image(&alias, image.into()).await?;
        let server = one.server().await?;
        let address = format!("https://{}", server.config["core.https_address"].as_str().unwrap_or_default());
        let certificate = server.environment.unwrap_or_default().certificate;
        let source = ImagesPostSource {
            r#type: "image".into(),
            mode: "pull".into(),
            protocol: "lxd".into(),
            server: address,
            certificate,
            alias: "busybox".into(),
            ..Default::default()
        };
        let follow = ImagesPost { auto_update: true, source: Some(source), ..Default::default() };
        let followed = other.create_image(follow).await?.fingerprint;
        assert_eq!(followed, alias);
        assert!(!other.update_images_refresh(&followed).await?.refreshed);

        // Another image takes the name, and the follower takes it over.
        let mut newer: Vec<u8> = one.image_export(&alias).await?.bytes().await?.into();
        newer.extend([0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let newer = one.upload_image(newer).public(true).await?.fingerprint;
        let entry = one.image_alias("busybox").await?;
        let entry = lxd_client::types::ImageAliasesEntryPut { target: newer.clone(), ..entry.into() };
        one.update_image_alias("busybox", entry).await?;
        let operation = other.update_images_refresh(&followed).start().await?;
        let result = operation.wait().await?;
        assert!(result.refreshed);
        let lost = lost(&operation.metadata(), &result);
        assert!(lost.iter().all(|key| key.ends_with("progress")), "{}", operation.metadata());
        assert!(other.image(&newer).await?.auto_update);
        let mine = one.update_images_refresh(&newer).await.unwrap_err();
        assert!(mine.to_string().contains("Image source not found"), "{mine}");

        // The source brings an image to a server that expects it.
        other.delete_image(&newer).await?;
        let expected = expect(&other, &newer).await?;
        let server = other.server().await?;
        let address = format!("https://{}", server.config["core.https_address"].as_str().unwrap_or_default());
        let export = ImageExportPost {
            target: address,
            certificate: server.environment.unwrap_or_default().certificate,
            secret: secret(&expected.metadata()).to_owned(),
            ..Default::default()
        };
        one.push_images_export(&newer, export).await?;
        assert_eq!(other.image(&newer).await?.fingerprint, newer);
        let unusable = one.push_images_export(&newer, ImageExportPost::default()).await.unwrap_err();
        assert!(unusable.to_string().contains("unsupported protocol"), "{unusable}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_becomes_trusted() {
    with_daemon(|daemon| async move {
        let daemon = daemon.lock().await;
        let address = daemon.listen().await;
        let (lxd, _) = daemon.with_image().await?;
        lxd.create_instance(Place::empty_instance("one")).await?;
        let token = CertificatesPost {
            name: "example".into(),
            r#type: "client".into(),
            token: true,
            ..Default::default()
        };
        let operation = lxd.add_certificate(token).start().await?;
        let token = operation.wait().await?.expect("a token");
        assert!(lost(&operation.metadata(), &token).is_empty(), "{}", operation.metadata());
        // As `lxc config trust add` shows it.
        let shown = json!({
            "client_name": "example", "fingerprint": token.fingerprint, "addresses": [address],
            "secret": token.secret, "expires_at": "0001-01-01T00:00:00Z",
        });
        let (folder, program) = (Folder::new(), example("remote"));
        let run = |arguments: &[&str]| {
            let output = Command::new(&program).args(arguments).current_dir(&folder.0).output();
            let output = output.expect("the example");
            let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
            assert!(output.status.success(), "{err}");
            out
        };
        assert_eq!(run(&["me", &base64(shown.to_string().as_bytes())]), "one Stopped\n");
        assert_eq!(run(&["me"]), "one Stopped\n");
        Ok(())
    })
    .await;
}
