//! What background operations result in on a real LXD, read a second time as JSON: nothing of it is lost.
//! (Those of clusters and of what follows a source are tested with these.)

use lxd_client::Operation;
use lxd_client::types::InstanceExecPost;
use lxd_tests::real::with_project;
use lxd_tests::twice::lost;
use serde::Serialize;

/// Checks what an operation has resulted in, once it has ended; a token is one from its beginning.
fn check<T, R: Serialize>(what: &str, operation: &Operation<T>, result: &R) {
    let metadata = operation.metadata();
    assert!(metadata.is_object(), "{what}: {metadata}");
    let lost = lost(&metadata, result);
    assert!(lost.is_empty(), "{what}: {lost:?} of {metadata} is lost");
}

#[tokio::test]
async fn nothing_of_a_result_is_lost() {
    with_project(|place| async move {
        let lxd = &place.project_with_images().await?;
        place.running_container("one").await?;
        for record_output in [false, true] {
            let command = ["sh", "-c", "exit 3"].map(String::from).to_vec();
            let post = InstanceExecPost { command, record_output, ..Default::default() };
            let operation = place.lxd.execute_in_instance("one", post).start().await?;
            let result = operation.wait().await?;
            assert_eq!((result.r#return, result.output.len()), (3, if record_output { 2 } else { 0 }));
            check("a command", &operation, &result);
        }

        let operation = lxd.upload_image(place.image_of_its_own().await?).start().await?;
        let image = operation.wait().await?;
        assert!(image.size > 0 && image.fingerprint.len() == 64);
        check("an upload", &operation, &image);

        let operation = lxd.initiate_image_upload(&image.fingerprint).start().await?;
        let secret = operation.wait().await?;
        assert!(!secret.secret.is_empty());
        check("a secret of an image", &operation, &secret);
        operation.cancel().await?;
        Ok(())
    })
    .await;
}
