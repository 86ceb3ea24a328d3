//! How background operations are followed to their end, request by request, and what their end means.

use std::error::Error as _;
use std::future::IntoFuture;
use std::time::Duration;

use futures_util::StreamExt;
use lxd_client::types::{ExecResult, ImageResult, InstanceExecPost, InstancesPost};
use lxd_client::{Client, Error, Progress, Watcher};
use lxd_tests::fake_server::{Answer, FakeServer, UUID, envelope, operation};
use tokio::io::AsyncWriteExt;

/// A task as it runs.
fn running() -> String {
    operation("task", "Running", 103, "null", "")
}

/// A task at its end.
fn ended(status_code: u16, metadata: &str, err: &str) -> String {
    operation("task", "Ended", status_code, metadata, err)
}

/// The answer of newer servers to `wait` when the time is up.
fn time_is_up() -> Answer {
    Answer::json(200, envelope("error", "", 0, "", 500, "context deadline exceeded", "null"))
}

/// The rest of an answer of which the head is sent.
fn chunked(metadata: &str) -> String {
    let answer = envelope("sync", "Success", 200, "", 0, "", metadata);
    format!("{:x}\r\n{answer}\r\n0\r\n\r\n", answer.len())
}

/// A server whose operation has ended when it is waited for a second time.
fn ending_at_the_second_wait(first: impl Fn() -> Answer + Send + Sync + 'static) -> FakeServer {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    FakeServer::with(move |request| match request.target.as_str() {
        "/1.0" => Answer::sync("{}"),
        "/1.0/instances" => Answer::background(&running()),
        _ => match asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 => first(),
            _ => Answer::sync(&ended(200, "null", "")),
        },
    })
}

/// Creates an instance.
async fn create(lxd: &Client) -> Result<(), Error> {
    lxd.create_instance(InstancesPost { name: "t1".into(), ..Default::default() }).await
}

/// What was asked, but for which process the server is.
fn lines(server: &FakeServer) -> Vec<String> {
    let mut lines = server.lines();
    lines.retain(|line| line != "GET /1.0");
    lines
}

/// What was asked about the operation, after the call that started it.
fn asked(server: &FakeServer) -> Vec<String> {
    let lines = lines(server);
    assert_eq!(lines[0], "POST /1.0/instances");
    let about = format!("/1.0/operations/{UUID}");
    let shortened = lines[1..].iter().map(|line| {
        let line = line.replace(&about, "");
        match line.split_once("?timeout=") {
            Some((line, seconds)) => {
                assert!(seconds == "-1" || seconds.parse::<u32>().unwrap() > 0, "{seconds}");
                format!("{line}?timeout")
            }
            None => line,
        }
    });
    shortened.collect()
}

const WAIT: &str = "GET /wait?timeout";
const GET: &str = "GET ";

#[tokio::test]
async fn the_end_is_waited_for() {
    let server =
        FakeServer::operating([Answer::background(&running()), Answer::sync(&ended(200, "null", ""))]);
    create(&server.client()).await.unwrap();
    assert_eq!(asked(&server), [WAIT]);
}

#[tokio::test]
async fn an_operation_that_still_runs_is_waited_for_again() {
    let server = FakeServer::operating([
        Answer::background(&operation("task", "Pending", 105, "null", "")),
        Answer::sync(&running()),
        Answer::sync(&operation("task", "Cancelling", 104, "null", "")),
        Answer::sync(&running()),
        Answer::sync(&ended(200, "null", "")),
    ]);
    create(&server.client()).await.unwrap();
    assert_eq!(asked(&server), [WAIT; 4]);
}

#[tokio::test]
async fn an_error_inside_a_success_is_no_end_while_the_operation_runs() {
    let server = FakeServer::operating([
        Answer::background(&running()),
        time_is_up(),
        Answer::sync(&running()),
        time_is_up(),
        Answer::sync(&running()),
        Answer::sync(&ended(200, "null", "")),
    ]);
    create(&server.client()).await.unwrap();
    assert_eq!(asked(&server), [WAIT, GET, WAIT, GET, WAIT]);
}

#[tokio::test]
async fn an_error_inside_a_success_can_hide_the_end() {
    let server = FakeServer::operating([
        Answer::background(&running()),
        time_is_up(),
        Answer::sync(&ended(400, "null", "no space left")),
    ]);
    let error = create(&server.client()).await.unwrap_err();
    assert!(matches!(&error, Error::Operation { message, .. } if message == "no space left"), "{error:?}");
    assert_eq!(asked(&server), [WAIT, GET]);
}

#[tokio::test]
async fn a_refused_wait_is_not_asked_again_for_ever() {
    let server = FakeServer::operating([
        Answer::background(&running()),
        Answer::error(403, "not authorized"),
        Answer::sync(&running()),
        Answer::error(403, "not authorized"),
        Answer::sync(&running()),
    ]);
    let error = create(&server.client()).await.unwrap_err();
    assert_eq!(error.status(), Some(403), "{error}, after {:?}", server.lines());
}

#[tokio::test]
async fn an_operation_that_has_ended_already_is_not_asked_for() {
    let server = FakeServer::operating([
        Answer::background(&ended(200, "null", "")),
        Answer::background(&ended(400, "null", "already exists")),
        Answer::background(&ended(401, "null", "")),
    ]);
    let lxd = server.client();
    create(&lxd).await.unwrap();
    assert!(matches!(create(&lxd).await.unwrap_err(), Error::Operation { .. }));
    assert!(matches!(create(&lxd).await.unwrap_err(), Error::Cancelled { .. }));
    assert_eq!(server.lines(), ["POST /1.0/instances"; 3]);
}

#[tokio::test]
async fn a_failure_has_the_reason_of_the_server() {
    let server = FakeServer::operating([
        Answer::background(&running()),
        Answer::sync(&ended(400, "null", "Instance \\\"t1\\\" already exists")),
    ]);
    let lxd = server.builder().project("p").build().unwrap();
    let error = create(&lxd).await.unwrap_err();
    let Error::Operation { call, operation, message } = &error else { panic!("{error:?}") };
    assert!(call.starts_with("POST /1.0/instances") && call.contains('p'), "{call}");
    assert_eq!(operation, UUID);
    assert_eq!(message, r#"Instance "t1" already exists"#);
    assert!(error.to_string().contains(message) && error.to_string().contains(UUID), "{error}");
    assert!(!error.is_conflict() && error.status().is_none());
}

#[tokio::test]
async fn a_failure_without_a_reason_says_so() {
    let server =
        FakeServer::operating([Answer::background(&running()), Answer::sync(&ended(400, "null", ""))]);
    let error = create(&server.client()).await.unwrap_err();
    assert!(matches!(error, Error::Operation { .. }), "{error:?}");
    assert!(error.to_string().contains("no reason") && error.to_string().contains("400"), "{error}");
}

#[tokio::test]
async fn a_cancelled_operation_is_no_success() {
    let server =
        FakeServer::operating([Answer::background(&running()), Answer::sync(&ended(401, "null", ""))]);
    let error = create(&server.client()).await.unwrap_err();
    let Error::Cancelled { call, operation } = &error else { panic!("{error:?}") };
    assert_eq!((call.as_str(), operation.as_str()), ("POST /1.0/instances", UUID));
}

#[tokio::test]
async fn the_code_decides_and_not_the_text() {
    for (text, code, good) in [
        ("Failure", 200, true),
        ("Running", 200, true),
        ("", 200, true),
        ("Success", 400, false),
        ("Success", 401, false),
        ("Success", 402, false),
        ("Success", 500, false),
    ] {
        let server = FakeServer::operating([
            // None of these codes is an end, whatever the text says.
            Answer::background(&operation("task", "Success", 103, "null", "")),
            Answer::sync(&operation("task", "Failure", 112, "null", "")),
            Answer::sync(&operation("task", text, code, "null", "")),
        ]);
        let ended = create(&server.client()).await;
        assert_eq!(ended.is_ok(), good, "{text} {code}: {ended:?}");
        assert_eq!(asked(&server), [WAIT, WAIT]);
    }
}

#[tokio::test]
async fn a_token_is_not_waited_for() {
    let token = operation("token", "Running", 103, r#"{"secret":"s3cret"}"#, "");
    let server = FakeServer::operating([Answer::background(&token), Answer::background(&token)]);
    let lxd = server.client();
    let secret = lxd.initiate_image_upload("f0").await.unwrap();
    assert_eq!(secret.secret, "s3cret");
    assert!(!format!("{secret:?}").contains("s3cret"), "{secret:?}");
    let operation = lxd.initiate_image_upload("f0").start().await.unwrap();
    assert_eq!(operation.metadata()["secret"], "s3cret");
    assert!(!format!("{operation:?}").contains("s3cret"), "{operation:?}");
    assert_eq!(server.lines(), ["POST /1.0/images/f0/secret"; 2]);
}

#[tokio::test]
async fn the_result_is_in_the_metadata_at_the_end() {
    let server = FakeServer::operating([
        Answer::background(&operation("task", "Running", 103, r#"{"fingerprint":"early"}"#, "")),
        Answer::sync(&ended(200, r#"{"fingerprint":"f0","size":"1036032","other":{}}"#, "")),
        Answer::background(&operation("websocket", "Running", 103, r#"{"fds":{}}"#, "")),
        Answer::sync(&ended(200, r#"{"return":137,"output":{"1":"/1.0/x","2":"/1.0/y"}}"#, "")),
        Answer::background(&ended(200, "null", "")),
    ]);
    let lxd = server.client();
    let image = lxd.create_image(Default::default()).await.unwrap();
    assert_eq!(image, ImageResult { fingerprint: "f0".into(), size: 1_036_032 });
    let result = lxd.execute_in_instance("t1", InstanceExecPost::default()).response().await.unwrap();
    assert_eq!(result.status, 202);
    assert_eq!(result.headers["location"], format!("/1.0/operations/{UUID}"));
    assert_eq!(result.value.r#return, 137);
    assert_eq!(result.value.output["2"], "/1.0/y");
    let nothing = lxd.execute_in_instance("t1", InstanceExecPost::default()).await.unwrap();
    assert_eq!(nothing, ExecResult::default());
}

#[tokio::test]
async fn started_is_not_waited_for() {
    let progress = r#"{"download_progress":"rootfs: 47% (51.65MB/s)"}"#;
    let later = operation("task", "Running", 103, progress, "")
        .replace("\"may_cancel\":false", "\"may_cancel\":true");
    let mut server = FakeServer::with(move |request| match request.method.as_str() {
        "POST" => Answer::background(&operation("task", "Pending", 105, "null", "")),
        "DELETE" => Answer::sync("{}"),
        _ if request.target.contains("/wait") => {
            Answer::raw(200, &[("transfer-encoding", "chunked")], "").hand_over()
        }
        _ => Answer::sync(&later),
    });
    let lxd = server.client();
    let handle = lxd.create_instance(InstancesPost::default()).start().await.unwrap();
    assert_eq!(handle.id(), UUID);
    assert_eq!((handle.description().as_str(), handle.status().as_str()), ("Doing it", "Pending"));
    assert!(handle.metadata().is_null() && !handle.may_cancel() && !handle.is_final());
    let _waiting = server.stream().await;
    handle.refresh().await.unwrap();
    assert_eq!(handle.status(), "Running");
    assert_eq!(handle.metadata()["download_progress"], "rootfs: 47% (51.65MB/s)");
    assert!(handle.may_cancel() && !handle.is_final());
    handle.cancel().await.unwrap();
    assert_eq!(asked(&server), [WAIT, GET, "DELETE "]);
}

#[tokio::test]
async fn the_end_is_known_without_waiting_for_it() {
    let server =
        FakeServer::operating([Answer::background(&running()), Answer::sync(&ended(401, "null", ""))]);
    let handle = server.client().create_instance(InstancesPost::default()).start().await.unwrap();
    let mut progress = handle.progress();
    assert_eq!(progress.next().await, None);
    assert!(handle.is_final());
    for _ in 0..2 {
        let error = handle.clone().wait().await.unwrap_err();
        assert!(matches!(error, Error::Cancelled { .. }), "{error:?}");
    }
    assert_eq!(asked(&server), [WAIT]);
}

#[tokio::test]
async fn a_wait_with_a_limit_leaves_the_operation_alone() {
    let mut server = FakeServer::with(|request| match request.method.as_str() {
        "POST" => Answer::background(&running()),
        _ if request.target == "/1.0" => Answer::sync("{}"),
        _ => Answer::raw(200, &[("transfer-encoding", "chunked")], "").hand_over(),
    });
    let handle = server.client().create_instance(InstancesPost::default()).start().await.unwrap();
    let mut waiting = server.stream().await;
    let limit = Duration::from_millis(1);
    let error = handle.wait_timeout(limit).await.unwrap_err();
    let Error::StillRunning { operation, after, .. } = &error else { panic!("{error:?}") };
    assert_eq!((operation.as_str(), *after), (UUID, limit));
    assert!(error.to_string().contains("goes on"), "{error}");
    waiting.write_all(chunked(&ended(200, "null", "")).as_bytes()).await.unwrap();
    handle.wait_timeout(Duration::from_secs(60)).await.unwrap();
    assert_eq!(asked(&server), [WAIT]);
}

#[tokio::test]
async fn a_handle_gives_the_metadata_at_the_end() {
    let server = FakeServer::operating([
        Answer::background(&running()),
        Answer::sync(&ended(200, r#"{"a":["b"]}"#, "")),
    ]);
    let handle = server.client().create_instance(InstancesPost::default()).start().await.unwrap();
    handle.wait().await.unwrap();
    assert_eq!(handle.metadata(), serde_json::json!({"a": ["b"]}));
    assert!(handle.is_final());
    assert_eq!(asked(&server), [WAIT]);
}

#[tokio::test]
async fn a_failure_to_cancel_is_told() {
    let server = FakeServer::with(|request| match request.method.as_str() {
        "POST" => Answer::background(&running()),
        "DELETE" => Answer::error(400, "cannot be cancelled"),
        _ => Answer::never(),
    });
    let handle = server.client().create_instance(InstancesPost::default()).start().await.unwrap();
    let error = handle.cancel().await.unwrap_err();
    assert_eq!(error.status(), Some(400));
    assert!(error.to_string().starts_with(&format!("DELETE /1.0/operations/{UUID}: cannot")), "{error}");
}

#[tokio::test]
async fn what_is_done_at_once_has_no_operation() {
    let server = FakeServer::operating([Answer::sync("{}"), Answer::error(409, "busy")]);
    let lxd = server.client();
    let error = lxd.delete_instance("t1").start().await.unwrap_err();
    assert!(matches!(error, Error::Decode { .. }), "{error:?}");
    assert!(error.to_string().contains("no operation"), "{error}");
    assert!(lxd.delete_instance("t1").start().await.unwrap_err().is_conflict());
}

#[tokio::test]
async fn an_operation_that_the_server_has_forgotten_is_no_success() {
    let server =
        FakeServer::operating([Answer::background(&running()), Answer::error(404, "Operation not found")]);
    let error = create(&server.client()).await.unwrap_err();
    let Error::Unknown { call, operation } = &error else { panic!("{error:?}") };
    assert_eq!((call.as_str(), operation.as_str()), ("POST /1.0/instances", UUID));
    assert!(error.to_string().contains("not known"), "{error}");
}

#[tokio::test]
async fn an_operation_that_vanished_with_the_server_says_so() {
    let process = std::sync::atomic::AtomicUsize::new(7);
    let server = FakeServer::with(move |request| {
        let target = request.target.as_str();
        match target {
            "/1.0" => {
                let process = process.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Answer::sync(&format!(r#"{{"environment":{{"server_pid":{process}}}}}"#))
            }
            "/1.0/instances" => Answer::background(&running()),
            _ => Answer::error(404, "Operation not found"),
        }
    });
    let lxd = server.client();
    let error = create(&lxd).await.unwrap_err();
    assert!(matches!(error, Error::Restarted { .. }), "{error:?}");
    assert!(error.to_string().contains("started again"), "{error}");
}

#[tokio::test]
async fn a_connection_that_breaks_while_waiting_is_tried_again() {
    let server = FakeServer::operating([
        Answer::background(&running()),
        Answer::close(),
        Answer::half(1000, "{"),
        Answer::error(503, "busy"),
        Answer::sync(&ended(200, "null", "")),
    ]);
    create(&server.client()).await.unwrap();
    assert_eq!(asked(&server)[..4], [WAIT; 4]);
}

#[tokio::test(start_paused = true)]
async fn a_long_wait_is_no_time_out_of_reach() {
    let mut server =
        ending_at_the_second_wait(|| Answer::raw(200, &[("transfer-encoding", "chunked")], "").hand_over());
    let lxd = server.builder().timeout(Duration::from_secs(30)).build().unwrap();
    let creating = tokio::spawn({
        let lxd = lxd.clone();
        async move { create(&lxd).await }
    });
    let waiting = server.stream().await;
    tokio::time::sleep(Duration::from_secs(45)).await;
    drop(waiting);
    creating.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_never_answered_is_asked_again() {
    let server = ending_at_the_second_wait(Answer::never);
    create(&server.client()).await.unwrap();
    assert_eq!(asked_waits(&server), 2);
}

fn asked_waits(server: &FakeServer) -> usize {
    server.lines().iter().filter(|line| line.contains("/wait?")).count()
}

#[tokio::test]
async fn a_stranger_waits_on_when_the_time_is_up() {
    let server = FakeServer::operating([time_is_up(), time_is_up(), Answer::sync(&ended(401, "null", ""))]);
    let error = server.client().operation_handle(UUID).secret("s").wait().await.unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }), "{error:?}");
    assert_eq!(asked_waits(&server), 3);
}

#[test]
fn who_waits_outlives_the_runtime_in_which_it_was_asked() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (send_client, receive_client) = std::sync::mpsc::channel();
    let serving = std::thread::spawn(move || {
        runtime().block_on(async move {
            let server = ending_at_the_second_wait(Answer::never);
            send_client.send(server.client()).unwrap();
            // That the test has ended is all that counts.
            let _ = stopped.await;
        });
    });
    let lxd = receive_client.recv().unwrap();
    let first = runtime();
    let operation = first.block_on(async {
        let operation = lxd.create_instance(InstancesPost::default()).start().await.unwrap();
        let soon = operation.wait_timeout(Duration::from_millis(200)).await;
        assert!(matches!(soon, Err(Error::StillRunning { .. })), "{soon:?}");
        operation
    });
    let waiting = std::thread::spawn(move || runtime().block_on(operation.wait()));
    // Those who wait elsewhere, already or not yet, take over.
    drop(first);
    waiting.join().unwrap().unwrap();
    drop(stop);
    serving.join().unwrap();
}

#[tokio::test]
async fn a_server_that_stays_away_is_given_up() {
    let server = FakeServer::with(|request| match request.target.as_str() {
        "/1.0/instances" => Answer::background(&running()),
        _ => Answer::close(),
    });
    let limit = Duration::from_millis(300);
    let error = create(&server.builder().timeout(limit).build().unwrap()).await.unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("/1.0/operations/{UUID}/wait")), "{error}");
    assert!(error.source().is_some());
}

#[tokio::test]
async fn a_handle_comes_back_from_an_id() {
    let server = FakeServer::operating([
        Answer::sync(&ended(200, r#"{"fingerprint":"f0","size":"5"}"#, "")),
        Answer::sync(&ended(200, r#"{"fingerprint":"f0","size":"5"}"#, "")),
    ]);
    let lxd = server.client();
    let handle = lxd.operation_handle(UUID);
    assert_eq!((handle.id(), handle.status().as_str(), handle.is_final()), (UUID, "", false));
    assert!(server.lines().is_empty());
    handle.wait().await.unwrap();
    assert_eq!((handle.status().as_str(), handle.is_final()), ("Ended", true));
    let image = lxd.operation_handle(UUID).expecting::<ImageResult>().wait().await.unwrap();
    assert_eq!(image, ImageResult { fingerprint: "f0".into(), size: 5 });
    let wait = format!("GET /1.0/operations/{UUID}/wait?timeout=0");
    assert_eq!(lines(&server), [wait.as_str(), &wait]);
}

#[tokio::test]
async fn an_id_that_is_none_is_an_error() {
    let server = FakeServer::operating([]);
    let error = server.client().operation_handle("").wait().await.unwrap_err();
    assert!(matches!(error, Error::Argument { .. }), "{error:?}");
    assert_eq!(lines(&server), [""; 0]);
}

#[tokio::test]
async fn a_secret_lets_a_stranger_wait_and_is_not_shown() {
    let server = FakeServer::operating([Answer::error(403, "not authorized")]);
    let handle = server.client().operation_handle(UUID).secret("hu&sh");
    let error = handle.wait().await.unwrap_err();
    assert!(error.is_forbidden(), "{error:?}");
    assert_eq!(server.lines(), [format!("GET /1.0/operations/{UUID}/wait?timeout=0&secret=hu%26sh")]);
    assert!(!format!("{handle:?} {error:?} {error}").contains("hu"), "{error:?}");
}

#[tokio::test]
async fn polling_looks_at_intervals() {
    let server = FakeServer::operating([
        Answer::background(&running()),
        Answer::sync(&running()),
        Answer::sync(&running()),
        Answer::sync(&ended(200, "null", "")),
    ]);
    let lxd = server.builder().watcher(Watcher::Polling(Duration::from_millis(5))).build().unwrap();
    create(&lxd).await.unwrap();
    assert_eq!(asked(&server), [GET; 3]);
}

#[tokio::test]
async fn progress_is_told_by_each_watcher_that_asks() {
    for watcher in [Watcher::LongPoll, Watcher::Polling(Duration::from_millis(5))] {
        let percent = std::sync::atomic::AtomicUsize::new(0);
        let server = FakeServer::with(move |request| match request.method.as_str() {
            "POST" => Answer::background(&running()),
            _ => match percent.fetch_add(50, std::sync::atomic::Ordering::Relaxed) {
                percent @ 0..=100 => {
                    let metadata = format!(r#"{{"fs_progress":"t1: {percent}% (1.00MB/s)"}}"#);
                    Answer::sync(&operation("task", "Running", 103, &metadata, ""))
                }
                _ => Answer::sync(&ended(200, "null", "")),
            },
        });
        let lxd = server.builder().watcher(watcher).build().unwrap();
        let handle = lxd.create_instance(InstancesPost::default()).start().await.unwrap();
        let told: Vec<Progress> = handle.progress().collect().await;
        let percents: Vec<_> = told.iter().filter_map(|progress| progress.percent).collect();
        assert!(percents.is_sorted() && !percents.is_empty(), "{told:?}");
        assert!(
            told.iter().all(|told| (told.speed, told.stage.as_str()) == (Some(1_000_000), "fs")),
            "{told:?}"
        );
        handle.wait().await.unwrap();
    }
}

#[tokio::test]
async fn the_timeout_does_not_limit_the_wait() {
    let mut server = FakeServer::with(|request| match request.target.as_str() {
        "/1.0/instances" => Answer::background(&running()),
        "/1.0" => Answer::never(),
        _ => Answer::raw(200, &[("transfer-encoding", "chunked")], "").hand_over(),
    });
    let lxd = server.builder().timeout(Duration::from_millis(100)).build().unwrap();
    let creating = tokio::spawn({
        let lxd = lxd.clone();
        async move { create(&lxd).await }
    });
    let mut waiting = server.stream().await;
    // This call starts later and its time is up: so is that of the wait, if it has that limit.
    let error = lxd.server().await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    // Where the client has left, the call says why.
    let _ = waiting.write_all(chunked(&ended(200, "null", "")).as_bytes()).await;
    creating.await.unwrap().unwrap();
}

#[tokio::test]
async fn to_stop_waiting_cancels_nothing() {
    let server = FakeServer::with(|request| match request.target.as_str() {
        "/1.0/instances" => Answer::background(&running()),
        "/1.0" => Answer::sync("{}"),
        _ => Answer::never(),
    });
    let lxd = server.client();
    let waiting = tokio::spawn(lxd.create_instance(InstancesPost::default()).into_future());
    server.until_asked(3).await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    // The one that waited is closed, the other is kept.
    server.until_open(1).await;
    drop(lxd.create_instance(InstancesPost::default()).start().await.unwrap());
    lxd.server().await.unwrap();
    let lines = lines(&server);
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines.iter().all(|line| !line.starts_with("DELETE")), "{lines:?}");
}
