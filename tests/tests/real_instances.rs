//! Instances on a real LXD, from their creation to their end.

use lxd_client::Error;
use lxd_client::types::{
    InstancePatch, InstancePost, InstancePut, InstanceSource, InstanceStatus, InstanceType, InstancesPost,
    ProfilesPost, ProjectsPost, SourceType, StatusCode,
};
use lxd_tests::real::{Place, client, map, names, root_disk, texts, with_project};

#[tokio::test]
async fn an_instance_lives() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        assert!(lxd.instances().await?.is_empty());
        lxd.create_instance(InstancesPost {
            description: "for a test".to_owned(),
            config: texts([("user.a", "1")]),
            devices: map([("none", texts([("type", "none")]))]),
            ephemeral: true,
            ..Place::empty_instance("one")
        })
        .await?;
        assert_eq!(names(&lxd.instances().await?), ["one"]);
        let instance = lxd.instance("one").await?;
        assert_eq!(instance.name, "one");
        assert_eq!(instance.description, "for a test");
        assert_eq!(instance.config["user.a"], "1");
        assert_eq!(instance.devices.keys().collect::<Vec<_>>(), ["none"]);
        assert!(instance.expanded_devices.contains_key("root"));
        assert_eq!(instance.project, place.name);
        assert_eq!((instance.r#type, instance.status), (InstanceType::Container, InstanceStatus::Stopped));
        assert_eq!(instance.status_code, StatusCode::from(102));
        assert!(instance.ephemeral && !instance.stateful);
        assert!(instance.created_at.is_some());
        // Never, which the server writes as 1970.
        assert_eq!(instance.last_used_at, None);
        lxd.delete_instance("one").await?;
        let missing = lxd.instance("one").await.unwrap_err();
        assert!(missing.is_not_found(), "{missing}");
        assert!(missing.to_string().contains("GET /1.0/instances/one"), "{missing}");
        assert!(lxd.delete_instance("one").await.unwrap_err().is_not_found());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn absent_and_empty_profiles_differ() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        let post = |name: &str, profiles| InstancesPost {
            profiles,
            devices: root_disk(),
            ..Place::empty_instance(name)
        };
        lxd.create_instance(post("absent", None)).await?;
        lxd.create_instance(post("empty", Some(Vec::new()))).await?;
        assert_eq!(lxd.instance("absent").await?.profiles, ["default"]);
        assert!(lxd.instance("empty").await?.profiles.is_empty());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_failed_creation_tells_the_reason() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        lxd.create_instance(Place::empty_instance("one")).await?;
        let exists = lxd.create_instance(Place::empty_instance("one")).await.unwrap_err();
        let Error::Operation { message, call, .. } = &exists else { panic!("{exists:?}") };
        assert!(message.contains("already exists"), "{message}");
        assert_eq!(*call, format!("POST /1.0/instances?project={}", place.name));

        let elsewhere = texts([("type", "disk"), ("path", "/"), ("pool", "no-such-pool")]);
        let post = InstancesPost { devices: map([("root", elsewhere)]), ..Place::empty_instance("two") };
        let failed = lxd.create_instance(post).await.unwrap_err();
        assert!(
            failed.to_string().contains("no-such-pool") || failed.to_string().contains("pool"),
            "{failed}"
        );

        let source = InstanceSource {
            r#type: SourceType::Image,
            alias: "no-such-image".to_owned(),
            ..Default::default()
        };
        let post = InstancesPost { source: Some(source), ..Place::empty_instance("two") };
        let failed = lxd.create_instance(post).await.unwrap_err();
        assert!(failed.status().is_some() || matches!(failed, Error::Operation { .. }), "{failed:?}");
        assert!(lxd.instance("two").await.unwrap_err().is_not_found());

        let refused = lxd.create_instance(Place::empty_instance("no_name")).await.unwrap_err();
        assert_eq!(refused.status(), Some(400), "{refused}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn instances_are_listed() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        let other = place.named("other");
        lxd.create_project(ProjectsPost { name: other.clone(), ..Default::default() }).await?;
        let elsewhere = client(&other);
        elsewhere.create_profile(ProfilesPost { name: "p".to_owned(), ..Default::default() }).await?;
        let post = InstancesPost { devices: root_disk(), ..Place::empty_instance("three") };
        elsewhere.create_instance(post).await?;
        for name in ["one", "two"] {
            lxd.create_instance(Place::empty_instance(name)).await?;
        }
        place.running_container("four").await?;
        lxd.create_instance_snapshot("four", Default::default()).await?;

        let urls = lxd.instances().await?;
        assert_eq!(sorted(names(&urls)), ["four", "one", "two"]);
        assert!(urls.iter().all(|url| url.ends_with(&format!("?project={}", place.name))), "{urls:?}");
        assert_eq!(names(&lxd.instances().project(&other).await?), ["three"]);

        let plain = lxd.instances_recursion1().await?;
        assert_eq!(sorted(plain.iter().map(|i| i.name.as_str()).collect()), ["four", "one", "two"]);
        let running = lxd.instances_recursion1().filter("status eq running").await?;
        assert_eq!(running.iter().map(|i| i.name.as_str()).collect::<Vec<_>>(), ["four"]);

        let full = lxd.instances_recursion2().filter("name eq four").await?;
        let [full] = full.as_slice() else { panic!("{full:?}") };
        assert_eq!(full.snapshots.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["snap0"]);
        assert!(full.backups.is_empty());
        let state = full.state.as_ref().expect("a state");
        assert_eq!((state.status.as_str(), state.status_code), ("Running", StatusCode::from(103)));
        assert!(state.pid > 0 && state.processes > 0);
        assert!(state.network.contains_key("lo"), "{state:?}");

        let everywhere = lxd.instances().all_projects(true).await?;
        for (name, project) in [("one", &place.name), ("three", &other)] {
            assert!(
                everywhere.contains(&format!("/1.0/instances/{name}?project={project}")),
                "{everywhere:?}"
            );
        }
        assert!(lxd.instances().project("no-such-project").await?.is_empty());
        let refused = lxd.instances_recursion1().filter("not a filter").await.unwrap_err();
        assert!(refused.status().is_some_and(|status| status >= 400), "{refused:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_instance_is_read_changed_and_written_back() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        lxd.create_instance(InstancesPost {
            description: "first".to_owned(),
            config: texts([("user.a", "1"), ("user.b", "2")]),
            ..Place::empty_instance("one")
        })
        .await?;
        let read = lxd.instance("one").response().await?;
        let etag = read.etag().expect("an ETag").to_owned();
        let mut put = InstancePut::from(read.value.clone());
        assert_eq!(put.profiles, ["default"]);
        put.config.remove("user.a");
        put.description = String::new();
        lxd.update_instance("one", put.clone()).if_match(&etag).await?;
        let written = lxd.instance("one").await?;
        assert_eq!(written.description, "");
        assert!(!written.config.contains_key("user.a"));
        assert_eq!(written.config["user.b"], "2");
        assert_eq!((&written.profiles, &written.devices), (&read.value.profiles, &read.value.devices));
        assert_eq!(written.architecture, read.value.architecture);
        let late = lxd.update_instance("one", put.clone()).if_match(&etag).await.unwrap_err();
        assert!(late.is_precondition_failed(), "{late}");

        let full = lxd.instance_recursion1("one").await?;
        assert_eq!(full.state.as_ref().map(|state| state.status.as_str()), Some("Stopped"));
        assert_eq!(InstancePut::from(full), InstancePut::from(written));
        // What PUT leaves out is taken away.
        let volatile = put.config.into_iter().filter(|(key, _)| key.starts_with("volatile.")).collect();
        let bare = InstancePut { devices: root_disk(), config: volatile, ..Default::default() };
        lxd.update_instance("one", bare).await?;
        let bare = lxd.instance("one").await?;
        assert!(bare.profiles.is_empty() && !bare.config.contains_key("user.b"), "{bare:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_name_never_reaches_another_object() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        for name in ["a", "x", "b"] {
            lxd.create_instance(Place::empty_instance(name)).await?;
        }
        lxd.create_instance_snapshot("a", Default::default()).await?;
        let hostile = [
            "..",
            ".",
            "...",
            "a/b",
            "a/snapshots",
            "a/snapshots/snap0",
            "a/../x",
            "../instances/a",
            "/",
            "//",
            "x?project=default",
            "x?recursion=1",
            "?",
            "x#",
            "x%",
            "x%00",
            "%2e%2e",
            "%2E",
            "a%2Fsnapshots",
            "a%2fsnapshots%2fsnap0",
            "é",
            "日本",
            "a b",
            " ",
            "x\r\nx-a: b",
            "a;b",
            "a&b=c",
            "a+b",
            "*",
            "%",
            "a:b",
            "@",
            "~",
            "\\..\\",
            "%61",
        ];
        for name in hostile {
            let answers = [
                lxd.instance(name).await.map(drop),
                lxd.instance_state(name).await.map(drop),
                lxd.instance_snapshot("a", name).await.map(drop),
                lxd.instance_files(name).path("/").await.map(drop),
                lxd.modify_instance(name, InstancePatch::default()).await,
                lxd.delete_instance_snapshot("a", name).await,
                lxd.migrate_instance(name, InstancePost { name: "y".to_owned(), ..Default::default() }).await,
                lxd.delete_instance(name).await,
            ];
            for (number, answer) in answers.into_iter().enumerate() {
                let error = answer.expect_err(name);
                // The server decodes names of snapshots once more, and answers 500 where it cannot.
                let undecodable = error.to_string().contains("invalid URL escape");
                let refused = matches!(error.status(), Some(400 | 404)) || undecodable;
                assert!(refused, "{name:?}, call {number}: {error:?}");
            }
        }
        let empty = lxd.instance("").await.unwrap_err();
        assert!(matches!(empty, Error::Argument { .. }), "{empty:?}");
        assert_eq!(sorted(names(&lxd.instances().await?)), ["a", "b", "x"]);
        assert_eq!(names(&lxd.instance_snapshots("a").await?), ["snap0"]);
        // A name that the server does take is one segment of the path too.
        lxd.create_profile(ProfilesPost { name: "é ?%2e".to_owned(), ..Default::default() }).await?;
        assert_eq!(lxd.profile("é ?%2e").await?.name, "é ?%2e");
        lxd.delete_profile("é ?%2e").await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_name_with_a_nul_reaches_nothing() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        lxd.create_instance(Place::empty_instance("a")).await?;
        // The database of the server would read such a name up to there.
        for name in ["a\0", "a\0b"] {
            lxd.instance(name).await.map(drop).expect_err(name);
            lxd.delete_instance(name).await.expect_err(name);
        }
        assert_eq!(names(&lxd.instances().await?), ["a"]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_instance_is_renamed_and_copied() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        let post = InstancesPost { config: texts([("user.a", "1")]), ..Place::empty_instance("one") };
        lxd.create_instance(post).await?;
        lxd.migrate_instance("one", InstancePost { name: "two".to_owned(), ..Default::default() }).await?;
        assert!(lxd.instance("one").await.unwrap_err().is_not_found());
        let source =
            InstanceSource { r#type: SourceType::Copy, source: "two".to_owned(), ..Default::default() };
        lxd.create_instance(InstancesPost {
            name: "three".to_owned(),
            profiles: Some(vec!["default".to_owned()]),
            source: Some(source),
            ..Default::default()
        })
        .await?;
        let copy = lxd.instance("three").await?;
        assert_eq!(
            (copy.config["user.a"].as_str(), copy.profiles.as_slice()),
            ("1", ["default".to_owned()].as_slice())
        );
        let taken = lxd
            .migrate_instance("two", InstancePost { name: "three".to_owned(), ..Default::default() })
            .await;
        let taken = taken.unwrap_err();
        assert!(taken.is_conflict(), "{taken:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn many_instances_come_and_go_at_once() {
    with_project(|place| async move {
        let tasks: Vec<_> = (0..50)
            .map(|number| {
                let lxd = place.lxd.clone();
                tokio::spawn(async move {
                    let name = format!("many-{number}");
                    lxd.create_instance(Place::empty_instance(&name)).await?;
                    assert_eq!(lxd.instance(&name).await?.name, name);
                    lxd.delete_instance(&name).await
                })
            })
            .collect();
        let mut ended = Vec::new();
        for task in tasks {
            ended.push(task.await);
        }
        for end in ended {
            end.expect("the task")?;
        }
        assert!(place.lxd.instances().await?.is_empty());
        Ok(())
    })
    .await;
}

fn sorted(mut names: Vec<&str>) -> Vec<&str> {
    names.sort_unstable();
    names
}
