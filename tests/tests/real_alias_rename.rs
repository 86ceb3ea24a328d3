//! The rename and the change of an image's alias on a real LXD. LXD 5.0.2 holds its database for 10 seconds meanwhile,
//! so that calls of other tests would fail: this one has a program of its own, which runs alone.

use lxd_client::types::{ImageAliasesEntryPatch, ImageAliasesEntryPost, ImageAliasesPost};
use lxd_tests::real::with_project;

#[tokio::test]
async fn an_alias_is_renamed() {
    with_project(|place| async move {
        let (lxd, first, second) = (&place.lxd, place.named("first"), place.named("second"));
        let target = lxd.image_alias("busybox").await?.target;
        let post = ImageAliasesPost { name: first.clone(), target: target.clone(), ..Default::default() };
        lxd.add_images_alias(post).await?;
        lxd.rename_images_alias(&first, ImageAliasesEntryPost { name: second.clone() }).await?;
        assert!(lxd.image_alias(&first).await.unwrap_err().is_not_found());
        assert_eq!(lxd.image_alias(&second).await?.target, target);
        // To change a part of one, it holds its database until it gives up: its own fault.
        let patch = ImageAliasesEntryPatch { description: Some("d".into()), ..Default::default() };
        let refused = lxd.modify_images_alias(&second, patch).await.unwrap_err();
        assert!(refused.to_string().contains("context deadline exceeded"), "{refused}");
        lxd.delete_image_alias(&second).await?;
        assert!(lxd.image_alias(&second).await.unwrap_err().is_not_found());
        Ok(())
    })
    .await;
}
