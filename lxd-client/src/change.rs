//! Changing an object as it is, and not as it was: read, change, write back, and again where somebody
//! else was faster.

use crate::backoff::Backoff;
use crate::call::{Answer, Call};
use crate::error::Error;

/// How often it is tried. Whoever loses that often competes with something that never rests.
const ATTEMPTS: u32 = 20;

/// Reads an object, has it changed, and writes it back with the ETag that it had (header `If-Match`).
/// Where it has changed meanwhile, all of it is done again with what is there now.
///
/// ```no_run
/// # async fn run(lxd: lxd_client::Client) -> Result<(), lxd_client::Error> {
/// use lxd_client::types::InstancePut;
///
/// lxd_client::read_modify_write(
///     || lxd.instance("t1"),
///     |instance| {
///         let mut instance = InstancePut::from(instance);
///         instance.config.insert("user.visits".into(), "1".into());
///         instance
///     },
///     |instance| lxd.update_instance("t1", instance),
/// )
/// .await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Those of both calls. [`Error::is_precondition_failed`] where others changed the object each of 20
/// times; [`Error::Decode`] where the server gives no ETag, as for lists.
pub async fn read_modify_write<T: Answer, P, B, R: Answer, Q>(
    read: impl Fn() -> Call<T, P>,
    mut change: impl FnMut(T) -> B,
    write: impl Fn(B) -> Call<R, Q>,
) -> Result<R, Error> {
    let mut backoff = Backoff::default();
    let mut attempts = 0;
    loop {
        let call = read();
        let name = call.shown();
        let answer = call.response().await?;
        let Some(etag) = answer.etag().map(str::to_owned) else {
            return Err(Error::decode(name, "it has no ETag, so that others could change it unseen"));
        };
        let written = write(change(answer.value)).if_match(&etag).await;
        attempts += 1;
        match written {
            Err(error) if error.is_precondition_failed() && attempts < ATTEMPTS => {
                tokio::time::sleep(backoff.rest()).await;
            }
            written => return written,
        }
    }
}
