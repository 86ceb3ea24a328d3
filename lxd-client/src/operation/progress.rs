//! How far an operation is, as its metadata tell, and the stream of that.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use serde_json::Value;

use super::tracked::Tracked;
use super::{State, asking, watcher};
use crate::client::Client;

/// How far a background operation is, where the server tells.
///
/// It is read from the operation's `metadata`: from the entry that ends in `_progress`, and from the
/// numbers in `progress`.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// The server's words, as in `rootfs: 47% (51.65MB/s)`.
    pub text: String,
    /// What is being done, as in `create_image_from_container_pack`.
    pub stage: String,
    /// How much of this stage is done, from 0 to 100; none where the server does not know the whole.
    pub percent: Option<u8>,
    /// How many bytes are done, where the server tells.
    pub processed: Option<u64>,
    /// Bytes per second, where the server tells.
    pub speed: Option<u64>,
}

const SUFFIX: &str = "_progress";

impl Progress {
    /// The progress that the metadata of an operation tell.
    ///
    /// ```
    /// use lxd_client::Progress;
    ///
    /// let metadata = serde_json::json!({"download_progress": "rootfs: 47% (51.65MB/s)"});
    /// let progress = Progress::of(&metadata).expect("there is some");
    /// assert_eq!((progress.percent, progress.speed), (Some(47), Some(51_650_000)));
    /// assert_eq!(progress.stage, "download");
    /// ```
    pub fn of(metadata: &Value) -> Option<Self> {
        let metadata = metadata.as_object()?;
        let told = metadata.get("progress").and_then(Value::as_object);
        let number = |name| whole(told?.get(name)?);
        let stage = told.and_then(|told| told.get("stage")?.as_str());
        let mut texts = metadata.iter().filter_map(|(key, text)| {
            let stage = key.strip_suffix(SUFFIX)?;
            Some((stage, text.as_str()?))
        });
        let (stage, text) = match stage {
            // Entries of earlier stages may still be there.
            Some(stage) => (stage, texts.find(|(of, _)| *of == stage).map_or("", |(_, text)| text)),
            None => texts.next()?,
        };
        let percent = number("percent").or_else(|| percent_in(text));
        Some(Self {
            text: text.to_owned(),
            stage: stage.to_owned(),
            percent: percent.map(|percent| percent.min(100) as u8),
            processed: number("processed").or_else(|| processed_in(text)),
            speed: number("speed").or_else(|| speed_in(text)),
        })
    }
}

/// A number as the server writes it here, which is as text.
fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// The number before a percent sign.
fn percent_in(text: &str) -> Option<u64> {
    let before = text.split_once('%')?.0;
    let digits = before.rfind(|letter: char| !letter.is_ascii_digit()).map_or(0, |end| end + 1);
    before.get(digits..)?.parse().ok()
}

/// The speed in parentheses, in bytes per second: `(51.65MB/s)`.
fn speed_in(text: &str) -> Option<u64> {
    size(text.rsplit_once('(')?.1.strip_suffix("/s)")?)
}

/// How much is done, which stands before the speed: `rootfs: 12.50MB (3.25MB/s)`.
fn processed_in(text: &str) -> Option<u64> {
    let before = text.rsplit_once(" (")?.0;
    size(before.rsplit(' ').next()?)
}

/// A size in bytes: `51.65MB`.
fn size(text: &str) -> Option<u64> {
    let unit = text.find(|letter: char| letter.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    let factor = match unit {
        "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        _ => return None,
    };
    let number: f64 = number.trim().parse().ok()?;
    Some((number * factor).round() as u64)
}

type Next = Pin<Box<dyn Future<Output = Option<Progress>> + Send>>;

/// The progress of an operation from now on, until it has ended.
///
/// Who is slow gets the latest and misses some in between, but never an earlier one after a later one.
pub struct ProgressStream {
    client: Client,
    view: Arc<View>,
    last: Option<Progress>,
    next: Next,
}

/// Somebody who looks at the progress of an operation.
struct View {
    tracked: Arc<Tracked>,
}

impl View {
    fn new(tracked: Arc<Tracked>) -> Self {
        tracked.view();
        Self { tracked }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.tracked.unview();
    }
}

impl ProgressStream {
    /// The next progress; none at the end.
    pub(crate) async fn next(&mut self) -> Option<Progress> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    pub(super) fn new(client: Client, tracked: Arc<Tracked>) -> Self {
        let view = Arc::new(View::new(tracked));
        asking::show_progress(&client, &view.tracked);
        let next = next(client.clone(), Arc::clone(&view), None);
        Self { client, view, last: None, next }
    }
}

/// The next progress that is another than the last; none at the end.
fn next(client: Client, view: Arc<View>, last: Option<Progress>) -> Next {
    Box::pin(async move {
        let tracked = &view.tracked;
        let look = |tracked: &Tracked| {
            let progress = tracked.with(|state: &State| Progress::of(&state.metadata));
            match progress {
                Some(progress) if Some(&progress) != last.as_ref() => Some(Some(progress)),
                _ => tracked.has_ended().then_some(None),
            }
        };
        tracked.until(|| watcher::attend(&client, tracked), look).await
    })
}

impl Stream for ProgressStream {
    type Item = Progress;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Progress>> {
        let progress = ready!(self.next.as_mut().poll(context));
        if progress.is_some() {
            self.last.clone_from(&progress);
        }
        self.next = next(self.client.clone(), Arc::clone(&self.view), self.last.clone());
        Poll::Ready(progress)
    }
}

impl fmt::Debug for ProgressStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ProgressStream").field("last", &self.last).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Progress;

    #[test]
    fn numbers_come_before_words() {
        let metadata = json!({
            "download_progress": "rootfs: 100% (51.65MB/s)",
            "unpack_progress": "Unpack: 12% (3.00GB/s)",
            "progress": {"percent": "13", "processed": "4096", "speed": "3000000001", "stage": "unpack"},
        });
        let expected = Progress {
            text: "Unpack: 12% (3.00GB/s)".into(),
            stage: "unpack".into(),
            percent: Some(13),
            processed: Some(4096),
            speed: Some(3_000_000_001),
        };
        assert_eq!(Progress::of(&metadata), Some(expected));
    }

    #[test]
    fn words_are_read_where_there_are_no_numbers() {
        for (text, percent, processed, speed) in [
            ("metadata: 100% (1.00kB/s)", Some(100), None, Some(1000)),
            ("t1: 12.5MB (3.25MB/s)", None, Some(12_500_000), Some(3_250_000)),
            ("512B (3.25MB/s)", None, Some(512), Some(3_250_000)),
            ("7%", Some(7), None, None),
            ("%", None, None, None),
            ("soon", None, None, None),
            ("(fast/s)", None, None, None),
            ("1000% (1XB/s)", Some(100), None, None),
            ("é% (", None, None, None),
            ("é (", None, None, None),
        ] {
            let progress = Progress::of(&json!({"fs_progress": text})).unwrap();
            assert_eq!(
                (progress.percent, progress.processed, progress.speed),
                (percent, processed, speed),
                "{text}"
            );
            assert_eq!((progress.text.as_str(), progress.stage.as_str()), (text, "fs"));
        }
    }

    #[test]
    fn metadata_without_progress_have_none() {
        for metadata in [Value::Null, json!({}), json!({"fds": {}}), json!({"x_progress": 5}), json!("no")] {
            assert_eq!(Progress::of(&metadata), None, "{metadata}");
        }
    }
}
