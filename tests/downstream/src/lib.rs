//! A program as users of lxd-client write it: it sees to it that an instance is there and runs, and tells what
//! runs. All that it needs of LXD comes from lxd-client.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

use lxd_client::types::{
    InstanceAction, InstancePut, InstanceSource, InstanceStatePut, InstanceStatus, InstancesPost, SourceType,
};
use lxd_client::{Client, Error, read_modify_write};

/// Sees to it that an instance is there and runs; whether something had to be done.
///
/// # Errors
///
/// Those of the calls that it makes.
pub async fn ensure_running(lxd: &Client, name: &str, image: &str) -> Result<bool, Error> {
    match lxd.instance(name).await {
        Ok(instance) if instance.status == InstanceStatus::Running => return Ok(false),
        Ok(_) => {}
        Err(error) if error.is_not_found() => {
            let source =
                InstanceSource { r#type: SourceType::Image, alias: image.into(), ..Default::default() };
            let new = InstancesPost { name: name.into(), source: Some(source), ..Default::default() };
            lxd.create_instance(new).await?;
        }
        Err(error) => return Err(error),
    }
    let start = InstanceStatePut { action: InstanceAction::Start, timeout: 30, ..Default::default() };
    lxd.update_instance_state(name, start).await?;
    Ok(true)
}

/// Describes an instance, and leaves all else of it as it is.
///
/// # Errors
///
/// Those of the calls that it makes.
pub async fn describe(lxd: &Client, name: &str, description: &str) -> Result<(), Error> {
    let change = |instance| InstancePut { description: description.into(), ..InstancePut::from(instance) };
    read_modify_write(|| lxd.instance(name), change, |put| lxd.update_instance(name, put)).await
}

/// The names of what runs, with what else an instance can be.
///
/// # Errors
///
/// Those of the calls that it makes.
pub async fn statuses(lxd: &Client) -> Result<Vec<(String, InstanceStatus)>, Error> {
    let instances = lxd.instances_recursion1().await?;
    Ok(instances.into_iter().map(|instance| (instance.name, instance.status)).collect())
}
