//! What concerns a whole server, on a real LXD: its description, events, projects, profiles, operations
//! and warnings.

use std::time::Duration;

use futures_util::StreamExt;
use lxd_client::types::{
    EventType, ProfilePatch, ProfilePost, ProfilePut, ProfilesPost, ProjectPatch, ProjectPost, ProjectPut,
    ProjectsPost, ServerPatch, ServerPut, ServerTrust, WarningPatch, WarningPut, WarningStatus,
};
use lxd_client::{Error, EventContent};
use lxd_tests::daemon::with_daemon;
use lxd_tests::real::{Place, map, names, socket, texts, with_project};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

#[tokio::test]
async fn the_server_describes_itself() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        assert_eq!(lxd.api().await?, ["/1.0"]);
        let server = lxd.server().await?;
        assert_eq!(server.api_version, "1.0");
        assert_eq!(server.api_status, "stable");
        assert_eq!(server.auth, ServerTrust::Trusted);
        assert!(server.api_extensions.iter().any(|extension| extension == "etag"));
        let environment = server.environment.expect("an environment");
        assert_eq!(environment.server, "lxd");
        assert_eq!(environment.project, place.name);
        assert!(environment.server_pid > 0);
        assert!(environment.certificate.starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(environment.storage_supported_drivers.iter().any(|driver| driver.name == "dir"));

        let untrusted = lxd.server_untrusted().await?;
        assert_eq!(untrusted.api_version, "1.0");
        assert_eq!(untrusted.api_extensions, server.api_extensions);

        let resources = lxd.resources().await?;
        let cpu = resources.cpu.expect("processors");
        assert_eq!(cpu.architecture, environment.kernel_architecture);
        assert!(cpu.total > 0 && !cpu.sockets.is_empty());
        assert!(resources.memory.expect("memory").total > 1 << 20);
        Ok(())
    })
    .await;
}

/// LXD takes no further connection to its socket while one that it took is silent: a client that opens
/// connections in reserve shuts out all others, and the server's own helpers with them.
#[tokio::test]
async fn a_client_leaves_the_server_open_to_others() {
    with_project(|place| async move {
        let calls = async {
            for _ in 0..10 {
                place.lxd.server().await?;
                let calls: Vec<_> = (0..8).map(|_| tokio::spawn(place.lxd.api().into_future())).collect();
                for call in calls {
                    call.await.expect("the task")?;
                }
            }
            Ok::<_, Error>(())
        };
        tokio::time::timeout(Duration::from_secs(20), calls).await.expect("answers in time")?;
        let other = async {
            let mut stream = UnixStream::connect(socket()).await?;
            stream.write_all(b"GET /1.0 HTTP/1.0\r\nHost: lxd\r\n\r\n").await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = tokio::time::timeout(Duration::from_secs(20), other).await.expect("an answer in time");
        assert!(answer.expect("a connection").starts_with("HTTP/1.0 200"));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn the_configuration_of_the_server_is_changed() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        let (one, other) = (format!("user.{}.one", place.name), format!("user.{}.other", place.name));
        let set = |key: &str, value: Value| ServerPatch { config: Some([(key.to_owned(), value)].into()) };
        lxd.modify_server(set(&one, json!("1"))).await?;
        lxd.modify_server(set(&other, json!("2"))).await?;
        let before = lxd.server().response().await?;
        assert_eq!((&before.value.config[&one], &before.value.config[&other]), (&json!("1"), &json!("2")));

        let etag = before.etag().expect("an ETag").to_owned();
        let mut put = ServerPut::from(before.value);
        put.config.insert(one.clone(), json!("3"));
        lxd.update_server(put.clone()).if_match(&etag).await?;
        assert_eq!(lxd.server().await?.config[&one], "3");
        let late = lxd.update_server(put).if_match(&etag).await.unwrap_err();
        assert!(late.is_precondition_failed(), "{late}");

        lxd.modify_server(set(&one, Value::Null)).await?;
        lxd.modify_server(set(&other, json!(""))).await?;
        let config = lxd.server().await?.config;
        assert!(!config.contains_key(&one) && !config.contains_key(&other), "{config:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn events_come_through_a_websocket() {
    with_project(|place| async move {
        let mut events = place.lxd.events().types([EventType::Lifecycle, EventType::Operation]).await?;
        place.lxd.create_instance(Place::empty_instance("new")).await?;
        let created = async {
            let mut operations = 0;
            while let Some(event) = events.next().await {
                let event = event?;
                assert_eq!(event.project, place.name);
                assert!(event.timestamp.is_some());
                match event.content {
                    EventContent::Operation(operation) => {
                        assert_eq!(operation.description, "Creating instance");
                        operations += 1;
                    }
                    EventContent::Lifecycle(change) if change.action == "instance-created" => {
                        return Ok::<_, Error>((change, operations));
                    }
                    other => panic!("{other:?}"),
                }
            }
            panic!("the events ended");
        };
        let (created, operations) =
            tokio::time::timeout(Duration::from_secs(30), created).await.expect("an event in time")?;
        assert!(created.source.starts_with("/1.0/instances/new"), "{created:?}");
        assert!(operations > 0);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_kind_of_events_that_does_not_exist_is_refused() {
    with_project(|place| async move {
        let refused = place.lxd.events().r#type("no-such-kind").await.unwrap_err();
        assert!(refused.to_string().contains("no-such-kind"), "{refused}");
        assert!(refused.status().is_some_and(|status| status >= 400), "{refused:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_project_lives() {
    with_project(|place| async move {
        let (lxd, first, second) = (&place.lxd, place.named("first"), place.named("second"));
        let post = ProjectsPost {
            name: first.clone(),
            description: "for a test".to_owned(),
            config: texts([("limits.instances", "5"), ("features.images", "false")]),
            ..Default::default()
        };
        lxd.create_project(post.clone()).await?;
        let again = lxd.create_project(post).await.unwrap_err();
        assert!(again.to_string().contains("already exists"), "{again}");
        assert!(again.status().is_some(), "{again:?}");

        assert!(names(&lxd.projects().await?).contains(&first.as_str()));
        let project = lxd.project(&first).response().await?;
        let etag = project.etag().expect("an ETag").to_owned();
        let project = project.value;
        assert_eq!(project.description, "for a test");
        assert_eq!(project.config["limits.instances"], "5");
        // What is absent from a new project is set by the server.
        assert_eq!(project.config["features.profiles"], "true");
        assert_eq!(names(&project.used_by), ["default"]);

        let state = lxd.project_state(&first).await?;
        let instances = &state.resources["instances"];
        assert_eq!((instances.limit, instances.usage), (5, 0));
        assert_eq!(state.resources["networks"].limit, -1);

        lxd.modify_project(&first, ProjectPatch { description: Some(String::new()), config: None }).await?;
        let changed = lxd.project(&first).await?;
        assert_eq!((changed.description.as_str(), &changed.config), ("", &project.config));
        let mut put = ProjectPut::from(changed);
        put.description = "again".to_owned();
        let late = lxd.update_project(&first, put.clone()).if_match(&etag).await.unwrap_err();
        assert!(late.is_precondition_failed(), "{late}");
        lxd.update_project(&first, put).await?;

        lxd.rename_project(&first, ProjectPost { name: second.clone() }).await?;
        assert!(lxd.project(&first).await.unwrap_err().is_not_found());
        assert_eq!(lxd.project(&second).await?.description, "again");
        lxd.delete_project(&second).await?;
        assert!(lxd.project(&second).await.unwrap_err().is_not_found());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_project_in_use_is_not_deleted() {
    with_project(|place| async move {
        place.lxd.create_instance(Place::empty_instance("inside")).await?;
        let refused = place.lxd.delete_project(&place.name).await.unwrap_err();
        assert!(refused.to_string().contains("Only empty projects"), "{refused}");
        assert_eq!(place.lxd.instance("inside").await?.project, place.name);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_profile_is_read_changed_and_written_back() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        lxd.create_profile(ProfilesPost {
            name: "p".to_owned(),
            description: "first".to_owned(),
            config: texts([("user.a", "1"), ("user.b", "2")]),
            devices: map([("null", texts([("type", "none")]))]),
        })
        .await?;
        assert_eq!(names(&lxd.profiles().await?), ["default", "p"]);

        let read = lxd.profile("p").response().await?;
        let etag = read.etag().expect("an ETag").to_owned();
        assert_eq!(read.value.devices["null"]["type"], "none");
        let mut put = ProfilePut::from(read.value);
        put.config.remove("user.b");
        put.description = String::new();
        lxd.update_profile("p", put.clone()).if_match(&etag).await?;
        let written = lxd.profile("p").await?;
        assert_eq!((written.description.as_str(), written.config.len()), ("", 1));
        assert_eq!(written.devices["null"]["type"], "none");

        let late = lxd.update_profile("p", put).if_match(&etag).await.unwrap_err();
        assert!(late.is_precondition_failed() && !late.is_conflict(), "{late}");

        lxd.rename_profile("p", ProfilePost { name: "q".to_owned() }).await?;
        assert!(lxd.profile("p").await.unwrap_err().is_not_found());
        let listed = lxd.profiles_recursion1().await?;
        assert_eq!(listed.iter().map(|profile| profile.name.as_str()).collect::<Vec<_>>(), ["default", "q"]);
        lxd.delete_profile("q").await?;
        assert!(lxd.profile("q").await.unwrap_err().is_not_found());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_patch_changes_what_it_names() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        lxd.create_profile(ProfilesPost {
            name: "p".to_owned(),
            description: "first".to_owned(),
            config: texts([("user.a", "1"), ("user.b", "2")]),
            devices: map([("one", texts([("type", "none")]))]),
        })
        .await?;
        let config = map([("user.a", None), ("user.c", Some("3".to_owned()))]);
        lxd.modify_profile("p", ProfilePatch { config: Some(config), ..Default::default() }).await?;
        let profile = lxd.profile("p").await?;
        assert_eq!(profile.description, "first");
        assert_eq!(profile.config, texts([("user.b", "2"), ("user.c", "3")]));
        assert!(profile.devices.contains_key("one"));

        let patch = ProfilePatch { description: Some(String::new()), ..Default::default() };
        let etag = lxd.profile("p").response().await?.etag().expect("an ETag").to_owned();
        lxd.modify_profile("p", patch.clone()).if_match(&etag).await?;
        let profile = lxd.profile("p").await?;
        assert_eq!((profile.description.as_str(), profile.config.len()), ("", 2));
        assert!(lxd.modify_profile("p", patch).if_match(&etag).await.unwrap_err().is_precondition_failed());

        lxd.modify_profile(
            "p",
            ProfilePatch { config: Some(map([("user.b", Some(String::new()))])), ..Default::default() },
        )
        .await?;
        assert!(!lxd.profile("p").await?.config.contains_key("user.b"));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn warnings_are_listed_and_acknowledged() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        // A server always warns about one thing or another that its kernel lacks. Where one lacks
        // nothing, the lists are empty alike.
        let (urls, warnings) = (lxd.warnings().await?, lxd.warnings_recursion1().await?);
        assert_eq!(urls.len(), warnings.len());
        if let Some(listed) = warnings.first() {
            assert!(names(&urls).contains(&listed.uuid.as_str()));
            let warning = lxd.warning(&listed.uuid).await?;
            assert_eq!(warning, *listed);
            assert!(warning.first_seen_at.is_some() && !warning.r#type.is_empty());
            lxd.update_warning(&listed.uuid, WarningPut { status: WarningStatus::Acknowledged }).await?;
            assert_eq!(lxd.warning(&listed.uuid).await?.status, WarningStatus::Acknowledged);
            lxd.modify_warning(&listed.uuid, WarningPatch { status: Some(WarningStatus::New) }).await?;
            assert_eq!(lxd.warning(&listed.uuid).await?.status, WarningStatus::New);
        }
        let missing = lxd.warning("0bfe15f9-0000-4000-8000-000000000000").await.unwrap_err();
        assert!(missing.is_not_found(), "{missing}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_warning_is_deleted() {
    with_daemon(|daemon| async move {
        let lxd = daemon.lock().await.builder().build()?;
        let warnings = lxd.warnings_recursion1().project("").await?;
        let Some(warning) = warnings.first() else {
            panic!("a server that has nothing to warn of: its kernel lacks nothing that LXD looks for");
        };
        lxd.delete_warning(&warning.uuid).await?;
        assert!(lxd.warning(&warning.uuid).await.unwrap_err().is_not_found());
        assert_eq!(lxd.warnings().project("").await?.len(), warnings.len() - 1);
        let again = lxd.delete_warning(&warning.uuid).await.unwrap_err();
        assert!(again.is_not_found(), "{again}");
        Ok(())
    })
    .await;
}
