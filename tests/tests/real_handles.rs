//! Handles of instances on a real LXD: each change of state, with force, state and time-out.

use std::time::Duration;

use lxd_client::Error;
use lxd_tests::real::{Place, with_project};

#[tokio::test]
async fn an_instance_is_led_through_its_states() {
    with_project(|place| async move {
        place.lxd.create_instance(Place::container("one")).await?;
        let one = place.lxd.handle("one");
        assert_eq!((one.name(), one.state().await?.status.as_str()), ("one", "Stopped"));
        let failed = one.stop().await.unwrap_err();
        assert!(
            matches!(&failed, Error::Operation { message, .. } if message.contains("already stopped")),
            "{failed:?}"
        );
        one.start().await?;
        let state = one.state().await?;
        assert!(state.status == "Running" && state.pid > 0, "{state:?}");
        assert!(one.start().await.unwrap_err().to_string().contains("already running"));
        one.freeze().await?;
        assert_eq!(one.state().await?.status, "Frozen");
        one.unfreeze().await?;
        assert_eq!(one.state().await?.status, "Running");
        // Nothing in it listens when it is asked to end.
        let late = one.stop().timeout(Duration::from_millis(500)).await.unwrap_err();
        assert!(matches!(late, Error::Operation { .. }), "{late:?}");
        let pid = one.state().await?.pid;
        one.restart().force(true).await?;
        assert!(one.state().await?.pid != pid);
        // To keep what runs takes CRIU, which is not set up for it.
        let refused = one.stop().stateful(true).await.unwrap_err();
        assert!(refused.to_string().contains("CRIU"), "{refused}");
        let operation = one.stop().force(true).start().await?;
        operation.wait().await?;
        assert_eq!(one.state().await?.status, "Stopped");
        assert!(place.lxd.handle("two").state().await.unwrap_err().is_not_found());
        assert!(place.lxd.handle("two").start().await.unwrap_err().is_not_found());
        Ok(())
    })
    .await;
}
