//! Containers that run on the real LXD: how their state changes, and what is seen of them meanwhile.

use std::collections::BTreeMap;

use lxd_client::types::{
    InstanceAction, InstanceExecPost, InstancePatch, InstanceStatePut, InstanceStatus, InstancesPut,
    StatusCode,
};
use lxd_client::{Error, Metrics};
use lxd_tests::real::{Place, texts, with_project};

#[tokio::test]
async fn the_state_changes() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        lxd.create_instance(Place::container("one")).await?;
        let stopped = lxd.instance_state("one").await?;
        assert_eq!((stopped.status, stopped.pid), (InstanceStatus::Stopped, 0));
        assert!(stopped.network.is_empty());

        let steps = [
            (InstanceAction::Start, InstanceStatus::Running, 103),
            (InstanceAction::Freeze, InstanceStatus::Frozen, 110),
            (InstanceAction::Unfreeze, InstanceStatus::Running, 103),
            (InstanceAction::Restart, InstanceStatus::Running, 103),
        ];
        for (action, status, code) in steps {
            place.change("one", action).await?;
            let state = lxd.instance_state("one").await?;
            assert!(state.pid > 0 && state.processes >= 1, "{state:?}");
            assert_eq!((state.status, state.status_code), (status, StatusCode::from(code)));
        }
        assert!(lxd.instance("one").await?.last_used_at.is_some());
        let again = place.change("one", InstanceAction::Start).await.unwrap_err();
        assert!(
            matches!(&again, Error::Operation { message, .. } if message.contains("already running")),
            "{again:?}"
        );
        let running = lxd.delete_instance("one").await.unwrap_err();
        assert!(running.to_string().contains("running"), "{running}");

        // Nothing in the container listens to the wish that it stop, so the time runs out.
        let stop = InstanceStatePut { action: InstanceAction::Stop, timeout: 1, ..Default::default() };
        let late = lxd.update_instance_state("one", stop).await.unwrap_err();
        assert!(matches!(late, Error::Operation { .. }), "{late:?}");
        place.change("one", InstanceAction::Stop).await?;
        assert_eq!(lxd.instance_state("one").await?.status, InstanceStatus::Stopped);

        let state = InstanceStatePut { action: "no-such-action".into(), ..Default::default() };
        let refused = lxd.update_instance_state("one", state).await.unwrap_err();
        assert_eq!(refused.status(), Some(400), "{refused:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn all_instances_change_their_state_at_once() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        for name in ["one", "two"] {
            lxd.create_instance(Place::container(name)).await?;
        }
        for (action, status) in [
            (InstanceAction::Start, InstanceStatus::Running),
            (InstanceAction::Stop, InstanceStatus::Stopped),
        ] {
            let state = InstanceStatePut { action, force: true, timeout: 30, ..Default::default() };
            lxd.update_instances(InstancesPut { state: Some(state) }).await?;
            let all = lxd.instances_recursion1().await?;
            assert!(all.len() == 2 && all.iter().all(|instance| instance.status == status), "{all:?}");
        }
        let refused = lxd.update_instances(InstancesPut::default()).await.unwrap_err();
        assert_eq!(refused.status(), Some(400), "{refused:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn metrics_are_text() {
    with_project(|place| async move {
        place.running_container("measured").await?;
        let metrics = place.lxd.metrics().await?;
        let own = format!("project=\"{}\"", place.name);
        assert!(metrics.lines().any(|line| line.starts_with("lxd_") && line.contains(&own)), "{metrics}");
        let parsed: Metrics = metrics.parse()?;
        let total = &parsed.families["lxd_memory_MemTotal_bytes"];
        assert!(total.kind == "gauge" && !total.help.is_empty(), "{total:?}");
        let of_own = total.samples.iter().filter(|sample| sample.labels["project"] == place.name);
        let of_own: Vec<_> =
            of_own.map(|sample| (sample.labels["name"].as_str(), sample.value > 1e6)).collect();
        assert_eq!(of_own, [("measured", true)]);
        let lines = metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count();
        assert_eq!(parsed.families.values().map(|family| family.samples.len()).sum::<usize>(), lines);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn operations_are_listed_by_status() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        place.running_container("busy").await?;
        let command = ["sleep", "60"].map(String::from).to_vec();
        let running = lxd
            .execute_in_instance("busy", InstanceExecPost { command, ..Default::default() })
            .start()
            .await?;
        let id = running.id();
        let urls = lxd.operations().await?;
        assert!(urls["running"].iter().any(|url| url.contains(id)), "{urls:?}");
        let whole = lxd.operations_recursion1().await?;
        let listed = whole["running"].iter().find(|operation| operation.id == id).expect("it runs");
        assert_eq!((listed.status.as_str(), listed.status_code), ("Running", StatusCode::RUNNING));
        // The time is up at once: the operation as it stands.
        assert_eq!(lxd.operation_wait(id).timeout(0).await?.status_code, StatusCode::RUNNING);
        place.change("busy", InstanceAction::Stop).await?;
        let ended = lxd.operation_wait(id).timeout(-1).await?;
        assert!(ended.status_code.0 >= 200, "{ended:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_instance_is_patched() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        let mut new = Place::empty_instance("one");
        new.config = texts([("user.a", "1"), ("user.b", "2")]);
        new.description = "before".into();
        lxd.create_instance(new).await?;
        let config =
            BTreeMap::from([("user.a".to_owned(), None), ("user.c".to_owned(), Some("3".to_owned()))]);
        // LXD 5.0.2 empties a description that is left out.
        let patch = InstancePatch {
            config: Some(config),
            description: Some("after".into()),
            ephemeral: Some(true),
            ..Default::default()
        };
        lxd.modify_instance("one", patch).await?;
        let read = lxd.instance("one").await?;
        assert_eq!((read.description.as_str(), read.ephemeral), ("after", true));
        assert_eq!(read.config.get("user.a"), None);
        assert_eq!((read.config["user.b"].as_str(), read.config["user.c"].as_str()), ("2", "3"));
        let back = InstancePatch {
            description: Some(String::new()),
            ephemeral: Some(false),
            profiles: Some(Vec::new()),
            ..Default::default()
        };
        lxd.modify_instance("one", back).await?;
        let read = lxd.instance("one").await?;
        assert!(read.description.is_empty() && !read.ephemeral && read.profiles.is_empty(), "{read:?}");
        assert_eq!(read.config["user.b"], "2");
        Ok(())
    })
    .await;
}
