//! Background operations of a real LXD, followed to their end while much goes wrong around them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use lxd_client::types::{
    CertificateType, CertificatesPost, ImagesPost, ImagesPostSource, InstancePost, InstanceSource,
    InstancesPost, ProjectsPost, ServerPatch, SourceType,
};
use lxd_client::{Client, Error, EventContent, Identity, Operation, Progress, Watcher};
use lxd_tests::daemon::with_daemon;
use lxd_tests::proxy::{Fate, Proxy};
use lxd_tests::real::{Place, client, map, root_disk, socket, with_project};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

const TWO: (&str, &str) = (include_str!("../data/two.crt"), include_str!("../data/two.key"));

/// Creates and deletes instances, all at once.
async fn create_and_delete(lxd: &Client, count: usize) -> Result<(), Error> {
    let all: Vec<_> = (0..count)
        .map(|number| {
            let (lxd, name) = (lxd.clone(), format!("i{number}"));
            tokio::spawn(async move {
                let mut new = Place::empty_instance(&name);
                new.devices = root_disk();
                lxd.create_instance(new).await?;
                // Done is done: what was created is there, what was deleted is not.
                lxd.instance(&name).await?;
                lxd.delete_instance(&name).await?;
                match lxd.instance(&name).await {
                    Err(error) if error.is_not_found() => Ok(()),
                    Err(error) => Err(error),
                    Ok(instance) => panic!("{} is still there", instance.name),
                }
            })
        })
        .collect();
    for one in all {
        one.await.expect("no panic")?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_at_once_are_done_when_they_say_so() {
    with_project(|place| async move { create_and_delete(&place.lxd, 200).await }).await;
}

#[tokio::test]
async fn each_watcher_comes_to_the_end() {
    with_project(|place| async move {
        for watcher in [Watcher::LongPoll, Watcher::Polling(Duration::from_millis(20))] {
            let endpoint = format!("unix://{}", socket());
            let lxd = Client::builder().endpoint(endpoint).project(&place.name).watcher(watcher).build()?;
            create_and_delete(&lxd, 10).await?;
            let failed = lxd.create_instance(Place::empty_instance("no/name")).await.unwrap_err();
            assert!(matches!(failed, Error::Api { .. } | Error::Operation { .. }), "{failed:?}");
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn without_events_the_end_is_known_too() {
    with_project(|place| async move {
        let proxy = Proxy::before(socket(), |line| match line.starts_with("GET /1.0/events") {
            true => Fate::Cut(0),
            false => Fate::Pass,
        });
        let lxd = Client::builder().endpoint(proxy.endpoint()).project(&place.name).build()?;
        create_and_delete(&lxd, 10).await?;
        let new = lxd.create_instance(Place::container("one")).start().await?;
        // It is too quick to tell more than its end by this way.
        let told: Vec<Progress> = new.progress().collect().await;
        assert!(told.iter().all(|progress| progress.percent.is_some()), "{told:?}");
        new.wait().await
    })
    .await;
}

#[tokio::test]
async fn a_socket_that_is_cut_again_and_again_loses_nothing() {
    with_project(|place| async move {
        let sockets = Arc::new(AtomicUsize::new(0));
        let proxy = Proxy::before(socket(), {
            let sockets = Arc::clone(&sockets);
            move |line| match line.starts_with("GET /1.0/events") {
                // In the middle of the handshake, of a frame, between frames.
                true => Fate::Cut(sockets.fetch_add(1, Ordering::Relaxed) * 397 % 6000),
                false => Fate::Pass,
            }
        });
        let lxd = Client::builder().endpoint(proxy.endpoint()).project(&place.name).build()?;
        while sockets.load(Ordering::Relaxed) < 10 {
            create_and_delete(&lxd, 8).await?;
        }
        lxd.create_instance(Place::empty_instance("one")).await?;
        let failed = lxd.create_instance(Place::empty_instance("one")).await.unwrap_err();
        assert!(matches!(failed, Error::Operation { .. }), "{failed:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_end_before_its_answer_counts() {
    with_project(|place| async move {
        let (release, held) = watch::channel(false);
        let proxy = Proxy::before(socket(), move |line| match line.starts_with("POST") {
            true => Fate::Hold(held.clone()),
            false => Fate::Pass,
        });
        let lxd = Client::builder().endpoint(proxy.endpoint()).project(&place.name).build()?;
        let mut events = place.lxd.events().types(["operation"]).await?;
        let creating = tokio::spawn({
            let lxd = lxd.clone();
            async move { lxd.create_instance(Place::empty_instance("one")).await }
        });
        let id = loop {
            let event = events.next().await.expect("an event")?;
            let EventContent::Operation(operation) = event.content else { continue };
            if operation.status_code.0 >= 200 {
                break operation.id;
            }
        };
        // The server has forgotten it before its answer is read.
        while place.lxd.operation(&id).await.is_ok() {
            tokio::task::yield_now().await;
        }
        release.send(true).expect("a proxy that listens");
        creating.await.expect("no panic")?;
        assert_eq!(place.lxd.instance("one").await?.name, "one");
        Ok(())
    })
    .await;
}

/// Starts an operation that runs until it is cancelled, or ten seconds: nobody takes the instance.
async fn start_migration(lxd: &Client, name: &str) -> Result<Operation, Error> {
    let mut new = Place::empty_instance(name);
    new.devices = root_disk();
    lxd.create_instance(new).await?;
    let migration = InstancePost { name: name.to_owned(), migration: true, ..Default::default() };
    lxd.migrate_instance(name, migration).start().await
}

#[tokio::test]
async fn a_cancelled_operation_is_no_success() {
    with_project(|place| async move {
        let operation = start_migration(&place.lxd, "one").await?;
        assert!(operation.may_cancel() && !operation.is_final());
        let limit = Duration::from_millis(50);
        let early = operation.wait_timeout(limit).await.unwrap_err();
        assert!(matches!(early, Error::StillRunning { after, .. } if after == limit), "{early:?}");
        let waiting = tokio::spawn({
            let operation = operation.clone();
            async move { operation.wait().await }
        });
        // Another client may see it and wait for it too.
        let other = client("default").operation_handle(operation.id());
        other.refresh().await?;
        assert_eq!(other.description(), operation.description());
        operation.cancel().await?;
        for ended in [waiting.await.expect("no panic"), other.wait().await] {
            let error = ended.unwrap_err();
            assert!(
                matches!(&error, Error::Cancelled { operation: id, .. } if id == operation.id()),
                "{error:?}"
            );
        }
        assert_eq!((operation.status().as_str(), operation.is_final()), ("Cancelled", true));
        let again = operation.cancel().await.unwrap_err();
        assert_eq!(again.status(), Some(400));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_operation_of_another_project_can_be_waited_for() {
    with_project(|place| async move {
        place.lxd.create_instance(Place::container("one")).await?;
        let operation = place.lxd.delete_instance("one").start().await?;
        // This client receives the events of its own project alone.
        client("default").operation_handle(operation.id()).wait().await?;
        assert!(place.lxd.instance("one").await.unwrap_err().is_not_found());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn publishing_tells_its_progress() {
    with_project(|place| async move {
        let lxd = place.project_with_images().await?;
        let upload = lxd.upload_image(place.image_of_its_own().await?).start().await?;
        // The server has the bytes already when it starts this: it tells nothing but the end.
        let told: Vec<Progress> = upload.progress().collect().await;
        assert!(told.is_empty(), "{told:?}");
        let image = upload.wait().await?;
        assert_eq!(upload.metadata()["fingerprint"], image.fingerprint);

        let source = InstanceSource {
            r#type: SourceType::Image,
            fingerprint: image.fingerprint,
            ..Default::default()
        };
        let new = InstancesPost { name: "one".into(), source: Some(source), ..Default::default() };
        let creating = lxd.create_instance(new).start().await?;
        check_progress(creating.progress().collect().await, "create_instance_from_image_unpack");
        creating.wait().await?;

        let source =
            ImagesPostSource { r#type: SourceType::Instance, name: "one".into(), ..Default::default() };
        let publish = ImagesPost { source: Some(source), ..Default::default() };
        let publishing = lxd.create_image(publish).start().await?;
        check_progress(publishing.progress().collect().await, "create_image_from_container_pack");
        assert_eq!(publishing.wait().await?.fingerprint.len(), 64);
        Ok(())
    })
    .await;
}

fn check_progress(told: Vec<Progress>, stage: &str) {
    assert!(told.len() > 1, "{told:?}");
    let percents: Vec<_> = told.iter().filter_map(|progress| progress.percent).collect();
    assert!(percents.is_sorted() && percents.len() == told.len(), "{told:?}");
    for progress in told {
        assert_eq!(progress.stage, stage);
        assert!(progress.text.contains('%') && progress.speed.is_some(), "{progress:?}");
    }
}

/// Serves one image slowly, and never to its end; the address.
async fn slow_image_server() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port to listen on");
    let address = listener.local_addr().expect("an address").to_string();
    let url = format!("http://{address}/image");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head =
                format!("HTTP/1.1 200 OK\r\nLXD-Image-Hash: {}\r\nLXD-Image-URL: {url}\r\n", "a".repeat(64));
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let read = stream.read(&mut request).await?;
                if request[..read].starts_with(b"HEAD") {
                    return stream.write_all(format!("{head}Content-Length: 0\r\n\r\n").as_bytes()).await;
                }
                stream.write_all(format!("{head}Content-Length: 100000000\r\n\r\n").as_bytes()).await?;
                stream.write_all(&vec![0; 42_000_000]).await?;
                // Until the server has enough.
                stream.read(&mut request).await.map(drop)
            });
        }
    });
    address
}

#[tokio::test]
async fn a_download_tells_its_progress_and_can_be_cancelled() {
    with_project(|place| async move {
        let lxd = place.project_with_images().await?;
        let url = format!("http://{}/", slow_image_server().await);
        let source = ImagesPostSource { r#type: SourceType::Url, url, ..Default::default() };
        let post = ImagesPost { source: Some(source), ..Default::default() };
        let download = lxd.create_image(post).start().await?;
        let mut told = download.progress();
        let progress = loop {
            let progress = told.next().await.expect("progress");
            if progress.percent >= Some(40) {
                break progress;
            }
        };
        assert_eq!(
            (progress.stage.as_str(), progress.percent <= Some(42)),
            ("download", true),
            "{progress:?}"
        );
        assert!(progress.speed > Some(0), "{progress:?}");
        while !download.may_cancel() {
            download.refresh().await?;
        }
        download.cancel().await?;
        let error = download.wait().await.unwrap_err();
        assert!(matches!(error, Error::Cancelled { .. } | Error::Operation { .. }), "{error:?}");
        assert!(told.collect::<Vec<_>>().await.len() < 5);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_server_was_doing_is_gone_and_says_so() {
    with_daemon(|daemon| async move {
        let mut daemon = daemon.lock().await;
        for watcher in [Watcher::Events, Watcher::LongPoll] {
            let lxd = daemon.builder().watcher(watcher).build()?;
            let mut events = lxd.events().types(["lifecycle"]).await?;
            let operation = start_migration(&lxd, "one").await?;
            let waiting = tokio::spawn({
                let operation = operation.clone();
                async move { operation.wait().await }
            });
            daemon.kill().await;
            daemon.start_again().await;
            let error = waiting.await.expect("no panic").unwrap_err();
            assert!(matches!(&error, Error::Restarted { .. }), "{watcher:?}: {error:?}");
            assert!(error.to_string().contains(operation.id()), "{error}");
            // The client goes on with the new process as with the old one.
            let gap = |event: &lxd_client::Event| event.content == EventContent::Gap;
            while !gap(&events.next().await.expect("an event")?) {}
            lxd.delete_instance("one").await?;
            let deleted = |content| matches!(content, EventContent::Lifecycle(change) if change.action == "instance-deleted");
            while !deleted(events.next().await.expect("an event")?.content) {}
            create_and_delete(&lxd, 5).await?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_for_good_is_given_up() {
    with_daemon(|daemon| async move {
        let mut daemon = daemon.lock().await;
        let lxd = daemon.builder().timeout(Duration::from_secs(2)).build()?;
        let operation = start_migration(&lxd, "one").await?;
        daemon.kill().await;
        let error = operation.wait().await.unwrap_err();
        assert!(matches!(error, Error::Transport { .. }), "{error:?}");
        assert!(error.to_string().contains("is LXD running there?"), "{error}");
        daemon.start_again().await;
        lxd.delete_instance("one").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_with_few_rights_come_to_the_end_too() {
    with_daemon(|daemon| async move {
        let daemon = daemon.lock().await;
        let lxd = daemon.builder().build()?;
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a free port").to_string();
        let config = Some(map([("core.https_address", json!(address))]));
        lxd.modify_server(ServerPatch { config }).await?;
        lxd.create_project(ProjectsPost { name: "theirs".into(), ..Default::default() }).await?;
        let certificate = TWO.0.lines().filter(|line| !line.starts_with('-')).collect();
        lxd.add_certificate(CertificatesPost {
            name: "restricted".into(),
            certificate,
            r#type: CertificateType::Client,
            restricted: true,
            projects: vec!["theirs".into()],
            ..Default::default()
        })
        .await?;
        let server = lxd.server().await?.environment.unwrap_or_default().certificate;
        let remote = Client::builder().endpoint(format!("https://{address}")).server_certificate(server);

        let restricted =
            remote.clone().identity(Identity::from_pem(TWO.0, TWO.1)?).project("theirs").build()?;
        create_and_delete(&restricted, 5).await?;

        // One that the server does not trust at all, with the secret of an operation. The server has such
        // secrets for tokens alone, which are not waited for.
        let token = CertificatesPost { name: "new".into(), token: true, ..CertificatesPost::default() };
        let token = CertificatesPost { r#type: CertificateType::Client, ..token };
        let operation = lxd.add_certificate(token).start().await?;
        let secret = operation.metadata()["secret"].as_str().expect("a secret").to_owned();
        let stranger = remote.build()?;
        assert!(stranger.events().await.unwrap_err().is_forbidden());
        let refused = stranger.operation_handle(operation.id()).secret("wrong").wait().await.unwrap_err();
        assert!(refused.is_forbidden(), "{refused:?}");
        let handle = stranger.operation_handle(operation.id()).secret(&secret);
        handle.wait().await?;
        assert_eq!(handle.status(), "Running");
        operation.cancel().await?;
        let ended = stranger.operation_handle(operation.id()).secret(&secret).wait().await.unwrap_err();
        assert!(matches!(ended, Error::Cancelled { .. }), "{ended:?}");
        Ok(())
    })
    .await;
}
