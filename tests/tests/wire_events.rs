//! Operations that are followed by events, and the events themselves: which requests that takes, and
//! what becomes of it where events come out of order, are refused, or break off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use lxd_client::types::{ImagesPost, InstancesPost};
use lxd_client::{Client, Error, EventContent, Operation, Watcher};
use lxd_tests::fake_server::{Answer, FakeServer, Request, UUID, operation};
use lxd_tests::websocket::{PING, PONG, TEXT, agree, frame, read_frame};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

const EVENTS: &str = "GET /1.0/events?type=operation&project=default";
const SERVER: &str = "GET /1.0";
const CREATE: &str = "POST /1.0/instances";

/// The answers of a server that starts operations and sends events.
fn script(request: &Request) -> Answer {
    match (request.method.as_str(), request.target.as_str()) {
        ("GET", "/1.0") => process(7),
        ("GET", target) if target.starts_with("/1.0/events?") => agree(request),
        ("POST", _) => Answer::background(&running()),
        _ => Answer::error(599, &format!("unexpected: {}", request.line())),
    }
}

/// A server whose operations have ended when they are asked for.
fn ended_by_now() -> FakeServer {
    FakeServer::with(|request| match request.target.as_str() {
        target if target.starts_with("/1.0/operations/") => Answer::sync(&ended(200)),
        _ => script(request),
    })
}

fn process(number: usize) -> Answer {
    Answer::sync(&format!(r#"{{"environment":{{"server_pid":{number}}}}}"#))
}

fn running() -> String {
    operation("task", "Running", 103, "null", "")
}

fn ended(code: u16) -> String {
    operation("task", "Ended", code, r#"{"fingerprint":"f0","size":"5"}"#, "")
}

fn progress(percent: u8) -> String {
    let metadata = format!(r#"{{"fs_progress":"t1: {percent}% (1.00MB/s)"}}"#);
    let updated_at = format!("2026-01-31T12:01:00.{percent:03}Z");
    operation("task", "Running", 103, &metadata, "").replacen(
        r#""updated_at":"2026-01-31T12:00:00.5Z""#,
        &format!(r#""updated_at":"{updated_at}""#),
        1,
    )
}

/// The frame of an operation's event.
fn event(operation: &str) -> Vec<u8> {
    let json = format!(
        r#"{{"type":"operation","timestamp":"2026-01-31T12:00:00.5Z","metadata":{operation},"location":"none","project":"default"}}"#
    );
    frame(TEXT, json.as_bytes())
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    stream.write_all(bytes).await.expect("a client that listens");
}

/// A client that follows operations by events.
fn client(server: &FakeServer) -> Client {
    server.builder().watcher(Watcher::Events).build().expect("a client")
}

fn create(lxd: &Client) -> impl Future<Output = Result<(), Error>> + Send + 'static {
    lxd.create_instance(InstancesPost::default()).into_future()
}

async fn start(lxd: &Client) -> Operation {
    lxd.create_instance(InstancesPost::default()).start().await.expect("an operation")
}

fn get(uuid: &str) -> String {
    format!("GET /1.0/operations/{uuid}")
}

fn wait(seconds: u32) -> String {
    format!("GET /1.0/operations/{UUID}/wait?timeout={seconds}")
}

#[tokio::test]
async fn an_operation_takes_no_request_but_its_own() {
    let mut server = FakeServer::with(script);
    let lxd = client(&server);
    let creating = tokio::spawn(create(&lxd));
    let mut events = server.stream().await;
    server.until_asked(3).await;
    send(&mut events, &event(&ended(200))).await;
    creating.await.unwrap().unwrap();
    for code in [200, 400, 401] {
        let operation = start(&lxd).await;
        send(&mut events, &event(&ended(code))).await;
        let ended = operation.wait().await;
        assert_eq!(ended.is_ok(), code == 200, "{ended:?}");
        assert_eq!(operation.metadata()["fingerprint"], "f0");
    }
    assert_eq!(server.lines(), [EVENTS, SERVER, CREATE, CREATE, CREATE, CREATE]);
}

#[tokio::test]
async fn the_result_is_in_the_event() {
    let mut server = FakeServer::with(script);
    let lxd = client(&server);
    let creating = tokio::spawn(lxd.create_image(ImagesPost::default()).into_future());
    let mut events = server.stream().await;
    server.until_asked(3).await;
    send(&mut events, &event(&ended(200))).await;
    let image = creating.await.unwrap().unwrap();
    assert_eq!((image.fingerprint.as_str(), image.size), ("f0", 5));
}

#[tokio::test]
async fn events_that_come_before_the_answer_are_kept() {
    let mut server = FakeServer::with(|request| match request.method.as_str() {
        "POST" => Answer::close().hand_over(),
        _ => script(request),
    });
    let lxd = client(&server);
    let creating = tokio::spawn(create(&lxd));
    let mut events = server.stream().await;
    let mut answer = server.stream().await;
    let stranger = "00000000-9b7d-4abd-90b3-aedfec7ec7da";
    // The end comes first of all, and what was before it comes after.
    for operation in [ended(200).replace(UUID, stranger), ended(200), running()] {
        send(&mut events, &event(&operation)).await;
    }
    // That they are taken in can be seen only by what the client writes: it answers this.
    send(&mut events, &frame(PING, b"all read?")).await;
    assert_eq!(read_frame(&mut events).await, (PONG, b"all read?".to_vec()));
    let head = "HTTP/1.1 202 Accepted\r\ncontent-length: ";
    let body = String::from_utf8(Answer::background(&running()).into_body()).unwrap();
    send(&mut answer, format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes()).await;
    creating.await.unwrap().unwrap();
    assert_eq!(server.lines(), [EVENTS, SERVER, CREATE]);
}

#[tokio::test]
async fn many_share_one_socket() {
    let numbers = AtomicUsize::new(0);
    let mut server = FakeServer::with(move |request| match request.method.as_str() {
        "POST" => {
            let number = numbers.fetch_add(1, Ordering::Relaxed);
            Answer::background(&running().replace(UUID, &number.to_string()))
        }
        _ => script(request),
    });
    let lxd = client(&server);
    let creating: Vec<_> = (0..100).map(|_| tokio::spawn(create(&lxd))).collect();
    let mut events = server.stream().await;
    server.until_asked(102).await;
    for number in (0..100).rev() {
        send(&mut events, &event(&ended(200).replace(UUID, &number.to_string()))).await;
    }
    for creating in creating {
        creating.await.unwrap().unwrap();
    }
    let others: Vec<_> = server.lines().into_iter().filter(|line| line != CREATE).collect();
    assert_eq!(others, [EVENTS, SERVER]);
}

#[tokio::test]
async fn each_project_has_its_own_socket() {
    let mut server = FakeServer::with(script);
    let lxd = client(&server);
    for project in ["a", "b&c", "a"] {
        let known = server.lines().len();
        let start = tokio::spawn({
            let lxd = lxd.clone();
            async move { lxd.create_instance(InstancesPost::default()).project(project).start().await }
        });
        server.until_asked(known + 1).await;
        drop(start.await.unwrap().unwrap());
    }
    let sockets: Vec<_> = server.lines().into_iter().filter(|line| line.contains("/events")).collect();
    let expected = ["a", "b%26c"].map(|project| format!("GET /1.0/events?type=operation&project={project}"));
    assert_eq!(sockets, expected);
    drop((server.stream().await, server.stream().await));
}

#[tokio::test(start_paused = true)]
async fn the_socket_is_closed_when_nobody_needs_it() {
    let mut server = FakeServer::with(script);
    let lxd = client(&server);
    let operation = start(&lxd).await;
    let mut events = server.stream().await;
    // As long as somebody waits, it stays; it is looked at once a minute then.
    let waiting = tokio::spawn({
        let operation = operation.clone();
        async move { operation.wait().await }
    });
    let mut bytes = [0; 64];
    assert!(tokio::time::timeout(Duration::from_secs(15), events.read(&mut bytes)).await.is_err());
    send(&mut events, &event(&ended(200))).await;
    waiting.await.unwrap().unwrap();
    let rest = events.read_to_end(&mut Vec::new()).await;
    assert!(rest.is_ok(), "{rest:?}");
    // The next one opens it again.
    let operation = start(&lxd).await;
    let mut events = server.stream().await;
    send(&mut events, &event(&ended(200))).await;
    operation.wait().await.unwrap();
}

#[tokio::test]
async fn dropping_cancels_nothing() {
    let mut server = FakeServer::with(script);
    let lxd = client(&server);
    drop(start(&lxd).await);
    let waiting = tokio::spawn(create(&lxd));
    server.until_asked(4).await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    let operation = start(&lxd).await;
    let mut events = server.stream().await;
    send(&mut events, &event(&ended(200))).await;
    operation.wait().await.unwrap();
    assert_eq!(server.lines(), [EVENTS, SERVER, CREATE, CREATE, CREATE]);
}

#[tokio::test]
async fn progress_comes_in_order() {
    let mut server = FakeServer::with(script);
    let lxd = client(&server);
    let operation = start(&lxd).await;
    let mut told = operation.progress();
    let mut events = server.stream().await;
    for (sent, heard) in [(1, 1), (2, 2), (4, 4), (3, 4), (5, 5)] {
        send(&mut events, &event(&progress(sent))).await;
        if sent == heard {
            let progress = told.next().await.expect("progress");
            assert_eq!((progress.percent, progress.speed), (Some(heard), Some(1_000_000)));
        }
    }
    send(&mut events, &event(&ended(200))).await;
    send(&mut events, &event(&progress(99))).await;
    assert_eq!(told.next().await, None);
    assert_eq!(told.next().await, None);
    operation.wait().await.unwrap();
}

#[tokio::test]
async fn refused_events_leave_the_long_way() {
    let server = FakeServer::with(|request| match request.target.as_str() {
        target if target.starts_with("/1.0/events") => Answer::error(403, "not authorized"),
        target if target.contains("/wait") => Answer::sync(&ended(200)),
        _ => script(request),
    });
    let lxd = client(&server);
    create(&lxd).await.unwrap();
    create(&lxd).await.unwrap();
    let wait = wait(60);
    let mut lines = server.lines();
    lines.retain(|line| line != SERVER);
    assert_eq!(lines, [EVENTS, CREATE, &wait, CREATE, &wait]);
}

#[tokio::test(start_paused = true)]
async fn events_that_never_open_do_not_hold_calls_up() {
    let server = FakeServer::with(|request| match request.target.as_str() {
        target if target.starts_with("/1.0/events") => Answer::never(),
        target if target.contains("/wait") => Answer::sync(&ended(200)),
        _ => script(request),
    });
    let lxd = client(&server);
    let begun = tokio::time::Instant::now();
    create(&lxd).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn what_ends_while_the_socket_is_broken_is_looked_up() {
    let mut server = ended_by_now();
    let lxd = client(&server);
    let operation = start(&lxd).await;
    drop(server.stream().await);
    operation.wait().await.unwrap();
    let get = get(UUID);
    assert_eq!(server.lines(), [EVENTS, SERVER, CREATE, EVENTS, SERVER, &get]);
}

#[tokio::test]
async fn what_runs_on_when_the_socket_is_back_is_followed_by_it() {
    let mut server = FakeServer::with(|request| match request.target.as_str() {
        target if target.starts_with("/1.0/operations/") => Answer::sync(&running()),
        _ => script(request),
    });
    let lxd = client(&server);
    let operation = start(&lxd).await;
    for _ in 0..2 {
        drop(server.stream().await);
    }
    let mut events = server.stream().await;
    server.until_asked(8).await;
    send(&mut events, &event(&ended(400))).await;
    assert!(matches!(operation.wait().await.unwrap_err(), Error::Operation { .. }));
}

#[tokio::test]
async fn while_the_socket_is_broken_operations_take_the_long_way() {
    let broken = Arc::new(AtomicBool::new(false));
    let mut server = FakeServer::with({
        let broken = Arc::clone(&broken);
        move |request| match request.target.as_str() {
            target if target.starts_with("/1.0/events") && broken.load(Ordering::Relaxed) => Answer::close(),
            target if target.contains("/wait") => Answer::sync(&ended(200)),
            _ => script(request),
        }
    });
    let lxd = client(&server);
    let operation = start(&lxd).await;
    broken.store(true, Ordering::Relaxed);
    drop(server.stream().await);
    operation.wait().await.unwrap();
    create(&lxd).await.unwrap();
    broken.store(false, Ordering::Relaxed);
    // It is opened again while somebody waits.
    let mut events = loop {
        let operation = start(&lxd).await;
        operation.wait().await.unwrap();
        if server.lines().iter().rev().take(4).any(|line| line == SERVER) {
            break server.stream().await;
        }
    };
    let operation = start(&lxd).await;
    send(&mut events, &event(&ended(401))).await;
    assert!(matches!(operation.wait().await.unwrap_err(), Error::Cancelled { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_does_not_come_back_is_not_waited_for() {
    let opened = AtomicUsize::new(0);
    let mut server = FakeServer::with(move |request| match request.target.as_str() {
        target if target.starts_with("/1.0/events") && opened.fetch_add(1, Ordering::Relaxed) > 0 => {
            Answer::never()
        }
        target if target.contains("/wait") => Answer::sync(&ended(200)),
        _ => script(request),
    });
    let operation = start(&client(&server)).await;
    let mut events = server.stream().await;
    send(&mut events, &event(&running())).await;
    drop(events);
    let begun = tokio::time::Instant::now();
    operation.wait().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn what_vanished_is_told_apart() {
    for restarted in [true, false] {
        let process_number = AtomicUsize::new(7);
        let mut server = FakeServer::with(move |request| match request.target.as_str() {
            "/1.0" if restarted => process(process_number.fetch_add(1, Ordering::Relaxed)),
            target if target.starts_with("/1.0/operations/") => Answer::error(404, "not found"),
            _ => script(request),
        });
        let operation = start(&client(&server)).await;
        drop(server.stream().await);
        let error = operation.wait().await.unwrap_err();
        if restarted {
            assert!(matches!(error, Error::Restarted { .. }), "{error:?}");
        } else {
            assert!(matches!(error, Error::Unknown { .. }), "{error:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_event_tells_of_is_asked_for() {
    let server = FakeServer::with(|request| match request.target.as_str() {
        target if target.contains("/wait") => Answer::sync(&ended(200)),
        _ => script(request),
    });
    create(&client(&server)).await.unwrap();
    let wait = wait(60);
    assert_eq!(server.lines(), [EVENTS, SERVER, CREATE, &wait]);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_was_never_told_is_found_in_the_end() {
    let mut server = ended_by_now();
    let operation = start(&client(&server)).await;
    let mut events = server.stream().await;
    send(&mut events, &event(&running())).await;
    // The server answers the questions whether it is there.
    tokio::spawn(async move {
        loop {
            let (_, payload) = read_frame(&mut events).await;
            send(&mut events, &frame(PONG, &payload)).await;
        }
    });
    operation.wait().await.unwrap();
    let get = get(UUID);
    assert_eq!(server.lines(), [EVENTS, SERVER, CREATE, &get]);
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_died_unseen_is_found_out() {
    let mut server = ended_by_now();
    let operation = start(&client(&server)).await;
    let mut events = server.stream().await;
    send(&mut events, &event(&running())).await;
    let begun = tokio::time::Instant::now();
    operation.wait().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(50), "{:?}", begun.elapsed());
    assert_eq!(read_frame(&mut events).await.0, PING);
    assert_eq!(server.lines().iter().filter(|line| *line == EVENTS).count(), 2);
}

#[tokio::test]
async fn an_event_that_makes_no_sense_loses_nothing() {
    let mut server = ended_by_now();
    let operation = start(&client(&server)).await;
    let mut events = server.stream().await;
    send(&mut events, &frame(TEXT, br#"{"type":"operation","metadata":{"id":"#)).await;
    operation.wait().await.unwrap();
    let get = get(UUID);
    assert_eq!(server.lines(), [EVENTS, SERVER, CREATE, &get]);
}

#[tokio::test]
async fn an_operation_of_others_can_be_followed() {
    let mut server = FakeServer::with(|request| match request.target.as_str() {
        target if target.contains("/wait") => {
            Answer::raw(200, &[("transfer-encoding", "chunked")], "").hand_over()
        }
        _ => script(request),
    });
    let lxd = client(&server);
    let operation = lxd.operation_handle(UUID);
    let waiting = tokio::spawn({
        let operation = operation.clone();
        async move { operation.wait().await }
    });
    // It may be of a project whose events do not come here: the request that waits is for that.
    let (first, second) = (server.stream().await, server.stream().await);
    server.until_asked(3).await;
    let (mut events, _waits) = if server.lines()[0] == EVENTS { (first, second) } else { (second, first) };
    send(&mut events, &event(&ended(200))).await;
    waiting.await.unwrap().unwrap();
}

#[test]
fn who_waits_outlives_the_runtime_in_which_it_began() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let others = runtime();
    let mut server = others.block_on(async {
        FakeServer::with(|request| match request.target.as_str() {
            target if target.starts_with("/1.0/operations/") => Answer::sync(&running()),
            _ => script(request),
        })
    });
    // The server's runtime has a thread of its own.
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (send_end, end) = tokio::sync::oneshot::channel::<()>();
    let lxd = client(&server);
    let serving = std::thread::spawn(move || {
        others.block_on(async move {
            let mut first = server.stream().await;
            first.read_to_end(&mut Vec::new()).await.expect("the end of the first runtime");
            let mut second = server.stream().await;
            end.await.expect("a test that runs");
            send(&mut second, &event(&ended(200))).await;
            // That the test has ended is all that counts.
            let _ = stopped.await;
        });
    });
    let first = runtime();
    let operation = first.block_on(start(&lxd));
    drop(first);
    let second = runtime();
    second.block_on(async {
        let waiting = operation.wait();
        let mut waiting = std::pin::pin!(waiting);
        let soon = tokio::time::timeout(Duration::from_millis(1), waiting.as_mut()).await;
        assert!(soon.is_err(), "{soon:?}");
        send_end.send(()).unwrap();
        waiting.await.unwrap();
    });
    drop(stop);
    serving.join().unwrap();
}

// The events themselves.

fn lifecycle(action: &str) -> Vec<u8> {
    let json = format!(
        r#"{{"type":"lifecycle","timestamp":"2026-01-31T12:00:00.5Z","metadata":{{"action":"{action}","source":"/1.0/instances/t1"}},"location":"one","project":"p"}}"#
    );
    frame(TEXT, json.as_bytes())
}

async fn action(events: &mut lxd_client::Events) -> String {
    match events.next().await.expect("an event").expect("one that makes sense").content {
        EventContent::Lifecycle(change) => change.action,
        EventContent::Gap => "gap".to_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn events_are_asked_for_as_wanted() {
    let server = FakeServer::with(agree);
    let lxd = server.builder().project("p").build().unwrap();
    drop(lxd.events().await.unwrap());
    drop(lxd.events().types(["operation", "lifecycle"]).await.unwrap());
    drop(lxd.events().types(["logging"]).all_projects(true).await.unwrap());
    let expected = [
        "GET /1.0/events?project=p",
        "GET /1.0/events?type=operation%2Clifecycle&project=p",
        "GET /1.0/events?type=logging&all-projects=true",
    ];
    assert_eq!(server.lines(), expected);
    let keys: std::collections::HashSet<_> = server
        .requests()
        .iter()
        .map(|request| request.header("sec-websocket-key").unwrap().to_owned())
        .collect();
    assert_eq!(keys.len(), 3);
}

#[tokio::test]
async fn events_go_on_after_a_gap() {
    let mut server = FakeServer::with(agree);
    let mut events = server.client().events().types(["lifecycle"]).await.unwrap();
    let mut stream = server.stream().await;
    send(&mut stream, &lifecycle("one")).await;
    assert_eq!(action(&mut events).await, "one");
    send(&mut stream, &lifecycle("two")).await;
    drop(stream);
    assert_eq!(action(&mut events).await, "two");
    assert_eq!(action(&mut events).await, "gap");
    let mut stream = server.stream().await;
    send(&mut stream, &lifecycle("three")).await;
    assert_eq!(action(&mut events).await, "three");
    assert_eq!(server.lines(), ["GET /1.0/events?type=lifecycle"; 2]);
}

#[tokio::test]
async fn an_event_that_makes_no_sense_is_passed_over() {
    let mut server = FakeServer::with(agree);
    let mut events = server.client().events().await.unwrap();
    let mut stream = server.stream().await;
    send(&mut stream, &frame(TEXT, b"{")).await;
    send(&mut stream, &frame(TEXT, br#"{"type":"new","metadata":{"a":1}}"#)).await;
    let error = events.next().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Decode { .. }), "{error:?}");
    assert!(error.to_string().starts_with("GET /1.0/events: "), "{error}");
    let EventContent::Other { r#type, metadata } = events.next().await.unwrap().unwrap().content else {
        panic!("another event")
    };
    assert_eq!((r#type.as_str(), &metadata["a"]), ("new", &serde_json::json!(1)));
}

#[tokio::test]
async fn events_that_are_refused_are_an_error() {
    let refused = AtomicUsize::new(0);
    let mut server = FakeServer::with(move |request| match refused.fetch_add(1, Ordering::Relaxed) {
        1 => agree(request),
        _ => Answer::error(403, "not authorized"),
    });
    let lxd = server.client();
    assert!(lxd.events().await.unwrap_err().is_forbidden());
    let mut events = lxd.events().await.unwrap();
    drop(server.stream().await);
    assert!(events.next().await.unwrap().unwrap_err().is_forbidden());
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn events_come_back_when_the_server_does() {
    let away = AtomicUsize::new(0);
    let mut server = FakeServer::with(move |request| match away.fetch_add(1, Ordering::Relaxed) {
        1 => Answer::close(),
        2 => Answer::error(503, "starting"),
        _ => agree(request),
    });
    let mut events = server.client().events().await.unwrap();
    drop(server.stream().await);
    assert_eq!(action(&mut events).await, "gap");
}

/// However many there are, the server's events come by one socket, and nothing is asked about any of them.
#[tokio::test]
async fn ten_thousand_pending_operations_take_one_socket() {
    const COUNT: usize = 10_000;
    let id = |number: usize| format!("6916c8a6-9b7d-4abd-90b3-{number:012x}");
    let begun = AtomicUsize::new(0);
    let mut server = FakeServer::with(move |request| match request.method.as_str() {
        "POST" => Answer::background(&running().replace(UUID, &id(begun.fetch_add(1, Ordering::Relaxed)))),
        _ => script(request),
    });
    let lxd = client(&server);
    let mut pending = vec![lxd.create_instance(InstancesPost::default()).start().await.unwrap()];
    let mut socket = server.stream().await;
    for number in 1..=COUNT {
        send(&mut socket, &event(&running().replace(UUID, &id(number - 1)))).await;
        if number < COUNT {
            pending.push(lxd.create_instance(InstancesPost::default()).start().await.unwrap());
        }
    }
    for number in 0..COUNT {
        send(&mut socket, &event(&ended(200).replace(UUID, &id(number)))).await;
    }
    for operation in pending {
        operation.wait().await.unwrap();
    }
    assert_eq!(server.connections(), 2, "the socket, and the connection of the calls");
    assert_eq!(server.requests().len(), COUNT + 2);
}
