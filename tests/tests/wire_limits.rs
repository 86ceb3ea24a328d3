//! Servers that are slow, endless, absent or not ready: each call ends in its time, with little memory.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use lxd_client::types::InstancesPost;
use lxd_client::{Body, Client, ClientBuilder, Error, Identity, Watcher};
use lxd_tests::fake_server::{Answer, FakeServer, operation, raw};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// More than anything here takes.
const LONG: Duration = Duration::from_secs(60);

fn client_of(address: std::net::SocketAddr) -> ClientBuilder {
    Client::builder().endpoint(format!("http://{address}")).retry_for(Duration::ZERO)
}

fn assert_late(error: &Error, expected: &'static str) {
    let Error::Timeout { setting, .. } = error else { panic!("{error:?}") };
    assert_eq!(*setting, Some(expected));
    let told = error.to_string();
    assert!(told.contains(&format!("a longer time can be set with ClientBuilder::{expected}")), "{told}");
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_is_given_up() {
    let address = raw(|mut stream| async move {
        let mut nothing = tokio::io::sink();
        tokio::io::copy(&mut stream, &mut nothing).await.map(drop)
    })
    .await;
    let short = Duration::from_millis(50);
    // Over TLS, there is not even a connection.
    let tls = Client::builder().endpoint(format!("https://{address}")).server_fingerprint("0".repeat(64));
    let error = tls.connect_timeout(short).build().unwrap().server().await.unwrap_err();
    assert_late(&error, "connect_timeout");
    assert!(error.to_string().contains("no connection within 0.05 s"), "{error}");
    let error = client_of(address).response_timeout(short).build().unwrap().server().await.unwrap_err();
    assert_late(&error, "response_timeout");
    let error = client_of(address).timeout(short).build().unwrap().server().await.unwrap_err();
    assert_late(&error, "timeout");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = client_of(address).build().unwrap().server().await.unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    assert!(error.to_string().contains("refused (os error 111); is LXD running there?"), "{error}");
    let missing = Client::builder().endpoint("unix:///nowhere/unix.socket").build().unwrap();
    let error = missing.server().await.unwrap_err();
    assert!(error.to_string().ends_with("is LXD running there?"), "{error}");
}

#[tokio::test]
async fn half_an_answer_ends_in_time_in_whichever_way_it_is_taken() {
    let half = |request: &lxd_tests::fake_server::Request| match request.target.as_str() {
        "/1.0/instances/cut" | "/1.0/instances/cut/files" => Answer::half(100, "{\"type\":\"sync\","),
        _ => Answer::half(100, "{\"type\":\"sync\",").hand_over(),
    };
    let mut server = FakeServer::with(half);
    let lxd = server.builder().response_timeout(Duration::from_millis(50)).build().unwrap();
    let error = lxd.instance("t1").await.unwrap_err();
    assert_late(&error, "response_timeout");
    let _open = server.stream().await;
    let error = lxd.instance_files("t1").await.unwrap().bytes().await.unwrap_err();
    assert_late(&error, "response_timeout");
    let mut answer = lxd.instance_files("t1").await.unwrap();
    assert!(answer.next().await.unwrap().is_ok());
    assert_late(&answer.next().await.unwrap().unwrap_err(), "response_timeout");
    assert!(answer.next().await.is_none());

    let cut = [
        lxd.instance("cut").await.map(drop),
        lxd.instance_files("cut").await.unwrap().bytes().await.map(drop),
    ];
    for error in cut.map(Result::unwrap_err) {
        assert!(matches!(error, Error::Transport { .. }), "{error:?}");
        assert!(error.to_string().contains("broke off"), "{error}");
    }
}

/// A stream may last longer than any limit, as long as it goes on.
#[tokio::test(start_paused = true)]
async fn bytes_that_go_on_are_not_cut_off() {
    let mut server = FakeServer::with(|request| match request.method.as_str() {
        "GET" => Answer::raw(200, &[("transfer-encoding", "chunked")], "").hand_over(),
        _ => Answer::background(&operation("task", "Success", 200, "null", "")),
    });
    let limit = Duration::from_secs(10);
    let lxd = server.builder().response_timeout(limit).timeout(2 * limit).build().unwrap();
    let mut answer = lxd.instance_files("t1").await.unwrap();
    let mut stream = server.stream().await;
    for _ in 0..20 {
        tokio::time::sleep(limit - Duration::from_secs(1)).await;
        stream.write_all(b"1\r\nx\r\n").await.unwrap();
        assert_eq!(answer.next().await.unwrap().unwrap(), "x");
    }
    assert_late(&answer.next().await.unwrap().unwrap_err(), "response_timeout");

    // What is sent may take its time too, also where it has to be waited for.
    let slow = stream::iter(0..20).then(move |_| async move {
        tokio::time::sleep(2 * limit).await;
        Ok(Bytes::from_static(b"x"))
    });
    lxd.upload_image(Body::stream(slow)).fingerprint("f0").await.unwrap();
    assert_eq!(server.requests().last().unwrap().text(), "x".repeat(20));
}

/// However large the pieces are that it comes in. (On a Unix socket, as the system keeps little of what
/// is on its way there.)
#[tokio::test]
async fn what_is_sent_slowly_is_not_given_up() {
    let folder = std::env::temp_dir().join(format!("lxd-tests-slow-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("socket");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let taking = tokio::spawn(async move {
        for _ in 0..2 {
            // Four times as long as it may be silent.
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut piece = vec![0; 64 << 10];
            for _ in 0..64 {
                stream.read_exact(&mut piece).await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            stream
                .write_all(b"HTTP/1.1 400 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
                .await
                .unwrap();
            let _left = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    });
    let lxd = Client::builder().endpoint(format!("unix://{}", path.display()));
    let lxd =
        lxd.response_timeout(Duration::from_millis(400)).watcher(Watcher::Polling(LONG)).build().unwrap();
    let body = || Bytes::from(vec![0; 4 << 20]);
    for body in [Body::from(body()), Body::stream(stream::iter([Ok(body())]))] {
        let error = lxd.upload_image(body).fingerprint("f0").start().await.unwrap_err();
        assert_eq!(error.status(), Some(400), "{error:?}");
    }
    drop(lxd);
    taking.await.unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn what_is_sent_is_given_up_where_nobody_takes_it() {
    let address = raw(|mut stream| async move {
        let mut head = [0; 1000];
        stream.read_exact(&mut head).await?;
        // It takes no more, and holds on.
        tokio::time::sleep(LONG).await;
        drop(stream);
        Ok(())
    })
    .await;
    let lxd = client_of(address).response_timeout(Duration::from_millis(100)).build().unwrap();
    let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[0; 65536])));
    let at_hand = Bytes::from(vec![0; 64 << 20]);
    for body in [Body::stream(endless), Body::from(at_hand)] {
        let error = lxd.upload_image(body).fingerprint("f0").start().await.unwrap_err();
        assert_late(&error, "response_timeout");
    }
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    for start in ["HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nx-long: "] {
        let address = raw(move |mut stream| async move {
            let mut head = [0; 4096];
            let _request = stream.read(&mut head).await?;
            stream.write_all(start.as_bytes()).await?;
            let more = if start.ends_with(": ") { "y".repeat(1000) } else { "x-more: y\r\n".repeat(100) };
            loop {
                stream.write_all(more.as_bytes()).await?;
            }
        })
        .await;
        let lxd = client_of(address).timeout(LONG).build().unwrap();
        let error = lxd.server().await.unwrap_err();
        assert!(matches!(error, Error::Transport { .. }), "{error:?}");
        let told = error.to_string();
        assert!(told.contains("too large") && told.contains("is it LXD that answers there?"), "{told}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_told() {
    let address = raw(|mut stream| async move {
        let mut head = [0; 4096];
        let _request = stream.read(&mut head).await?;
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await
    })
    .await;
    let error = client_of(address).build().unwrap().server().await.unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    assert!(error.to_string().contains("is it LXD that answers there?"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_the_server_cannot_take_yet_is_tried_again() {
    let starting = || Answer::error(503, "LXD daemon setup in progress");
    let unavailable = || Answer::error(503, "Storage pool is unavailable on this server");
    let between = || Answer::raw(503, &[("content-type", "text/html")], "<html>no backend</html>");
    let done = || Answer::background(&operation("task", "Success", 200, "null", ""));
    let server = FakeServer::answering([starting(), between(), unavailable(), Answer::sync("{}")]);
    server.client().server().await.unwrap();
    assert_eq!(server.lines(), ["GET /1.0"; 4]);

    // That it is starting is enough; what is in the middle of something, or between, may have done it.
    let server = FakeServer::answering([starting(), starting(), done(), between(), unavailable()]);
    let lxd = server.client();
    lxd.create_instance(InstancesPost { name: "t1".into(), ..Default::default() }).await.unwrap();
    let bodies: Vec<_> = server.requests().iter().map(|request| request.body.clone()).collect();
    assert!(
        bodies.len() == 3 && bodies.iter().all(|body| *body == bodies[0] && !body.is_empty()),
        "{bodies:?}"
    );
    for asked in [4, 5] {
        let error = lxd.create_instance(InstancesPost::default()).await.unwrap_err();
        assert_eq!((error.status(), server.lines().len()), (Some(503), asked));
    }

    // What can be sent once, is.
    let server = FakeServer::answering([starting()]);
    let body = Body::stream(stream::iter([Ok(Bytes::from_static(b"x"))]));
    let error = server.client().upload_image(body).fingerprint("f0").await.unwrap_err();
    assert_eq!((error.status(), server.lines().len()), (Some(503), 1));

    // A websocket can be had once.
    let server = FakeServer::answering([between()]);
    let error = server.client().operation_websocket("u").await.map(drop).unwrap_err();
    assert_eq!((error.status(), server.lines().len()), (Some(503), 1));
}

#[tokio::test(start_paused = true)]
async fn it_is_not_tried_again_for_ever_and_not_at_all_where_that_is_switched_off() {
    let server = FakeServer::with(|_| Answer::error(503, "LXD is starting"));
    let begun = tokio::time::Instant::now();
    let error = server.client().server().await.unwrap_err();
    assert_eq!(error.status(), Some(503));
    let (took, asked) = (begun.elapsed(), server.lines().len());
    assert!(took > Duration::from_secs(1) && took <= Duration::from_secs(5), "{took:?}");
    assert!((4..20).contains(&asked), "{asked} times");

    let lxd = server.builder().retry_for(Duration::ZERO).build().unwrap();
    assert_eq!(lxd.server().await.unwrap_err().status(), Some(503));
    assert_eq!(server.lines().len(), asked + 1);

    // Not longer than the call may take.
    let lxd = server.builder().retry_for(LONG).timeout(Duration::from_secs(2)).build().unwrap();
    assert_late(&lxd.server().await.unwrap_err(), "timeout");
}

#[tokio::test]
async fn a_server_that_starts_meanwhile_is_waited_for() {
    let folder = std::env::temp_dir().join(format!("lxd-tests-late-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("socket");
    // There is a socket, and nobody who listens.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let lxd =
        Client::builder().endpoint(format!("unix://{}", path.display())).retry_for(LONG).build().unwrap();
    let body = Body::stream(stream::iter([Ok(Bytes::from_static(b"x"))]));
    let upload = tokio::spawn(lxd.upload_image(body).fingerprint("f0").start());
    // On this one thread, the call goes as far as it can: the refusal comes at once.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!upload.is_finished());
    let server = FakeServer::with(|_| Answer::background(&operation("task", "Success", 200, "null", "")));
    std::fs::rename(server.endpoint().trim_start_matches("unix://"), &path).unwrap();
    upload.await.unwrap().unwrap();
    assert_eq!(server.requests().last().unwrap().text(), "x");
    drop(server);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_no_connection_behind() {
    let server = FakeServer::with(|request| match request.target.as_str() {
        "/1.0" => Answer::sync("{}"),
        _ => Answer::never(),
    });
    let lxd = server.client();
    lxd.server().await.unwrap();
    server.until_open(1).await;
    let call = tokio::spawn(async move { lxd.instance("t1").await.map(|_| lxd) });
    server.until_asked(2).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    server.until_left().await;

    // The next call has one of its own.
    let lxd = server.client();
    let wait = tokio::time::timeout(Duration::from_millis(10), lxd.instance("t1")).await;
    assert!(wait.is_err());
    lxd.server().await.unwrap();
    server.until_open(1).await;
    // In the middle of TLS, too.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    let lxd = Client::builder().endpoint(endpoint).server_fingerprint("0".repeat(64));
    let lxd = lxd.identity(Identity::generate("me").unwrap()).build().unwrap();
    let call = tokio::spawn(async move { lxd.server().await });
    let (mut stream, _) = listener.accept().await.unwrap();
    call.abort();
    let mut rest = Vec::new();
    // Its end, in whichever way.
    let _ = stream.read_to_end(&mut rest).await;
}

/// Who uses a client from two runtimes drives one of them at a time.
#[test]
fn a_runtime_that_rests_holds_nobody_up() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (serving, one, other) = (runtime(), runtime(), runtime());
    let server = {
        let _entered = serving.enter();
        FakeServer::with(|_| Answer::sync("{}"))
    };
    let lxd = server.client();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || serving.block_on(stopped));
        for runtime in [&one, &other, &one] {
            let call = async { tokio::time::timeout(LONG, lxd.server()).await };
            runtime.block_on(call).expect("an answer").unwrap();
        }
        drop(stop);
    });
    let connections: Vec<_> = server.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 1, 0]);
}
