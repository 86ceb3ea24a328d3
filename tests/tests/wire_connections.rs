//! How many connections there are, and calls that take over theirs: websockets and the file protocol of an
//! instance.

use std::error::Error as _;
use std::future::IntoFuture as _;

use futures_util::{SinkExt, StreamExt};
use lxd_client::{Client, Error, Message, WebSocket};
use lxd_tests::fake_server::{Answer, FakeServer, Request, UUID};
use lxd_tests::folder::Folder;
use lxd_tests::websocket::{BINARY, CLOSE, PING, PONG, TEXT, accept, agree, frame, read_frame};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

async fn next(socket: &mut WebSocket) -> Message {
    socket.next().await.expect("a message").unwrap()
}

/// What any handshake must have.
fn check_handshake(request: &Request) {
    assert_eq!(request.header("upgrade"), Some("websocket"));
    assert_eq!(request.header("connection"), Some("Upgrade"));
    assert_eq!(request.header("sec-websocket-version"), Some("13"));
    let key = request.header("sec-websocket-key").unwrap();
    assert!(key.len() == 24 && key.ends_with("=="), "{key}");
    assert_eq!(request.header("origin"), None);
    assert_eq!(request.header("sec-websocket-protocol"), None);
    assert_eq!(request.header("sec-websocket-extensions"), None);
    assert!(request.header("host").is_some() && request.body.is_empty());
}

/// A process has a thousand files by default, and each connection is one.
#[tokio::test]
async fn ten_thousand_requests_at_once_take_few_connections() {
    let server = FakeServer::with(|_| Answer::sync(r#"["/1.0/instances/one"]"#));
    let lxd = server.client();
    let tasks: Vec<_> = (0..1_000)
        .map(|_| {
            let lxd = lxd.clone();
            tokio::spawn(async move {
                let requests = (0..10).map(|_| lxd.instances().into_future());
                futures_util::future::try_join_all(requests).await.map(|answers| answers.concat().len())
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap(), 10);
    }
    assert_eq!(server.requests().len(), 10_000);
    assert!(server.connections() <= 128, "{}", server.connections());
}

/// What waits for something at the server is in nobody's way.
#[tokio::test]
async fn requests_that_wait_leave_room_for_others() {
    let server = FakeServer::with(|request| match request.target.ends_with("/wait") {
        true => Answer::never(),
        false => Answer::sync("[]"),
    });
    let lxd = server.client();
    let waits: Vec<_> = (0..140).map(|_| tokio::spawn(lxd.operation_wait(UUID).into_future())).collect();
    server.until_asked(140).await;
    assert!(lxd.instances().await.unwrap().is_empty());
    for wait in waits {
        assert!(!wait.is_finished());
        wait.abort();
    }
}

/// A Unix socket lets only so many wait to be let in; the next one is told to try again.
#[tokio::test]
async fn a_server_that_is_slow_to_let_in_is_waited_for() {
    let folder = Folder::new();
    let socket = folder.0.join("socket");
    let listener = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&listener, &SocketAddrUnix::new(&socket).unwrap()).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let listener = std::os::unix::net::UnixListener::from(listener);
    listener.set_nonblocking(true).unwrap();
    let listener = UnixListener::from_std(listener).unwrap();
    let mut before = Vec::new();
    let full = loop {
        match UnixStream::connect(&socket).await {
            Ok(stream) => before.push(stream),
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), std::io::ErrorKind::WouldBlock);

    let lxd = Client::builder().endpoint(format!("unix://{}", socket.display())).build().unwrap();
    let mut call = lxd.instances().into_future();
    assert!(futures_util::poll!(&mut call).is_pending());
    drop(before);
    let serving = async {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            // Those before have left.
            if stream.read(&mut [0; 4096]).await.unwrap() > 0 {
                let answer = Answer::sync("[]").into_body();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len());
                stream.write_all(&[head.as_bytes(), &answer].concat()).await.unwrap();
            }
        }
    };
    let answered = tokio::select! { answered = call => answered, () = serving => unreachable!() };
    assert!(answered.unwrap().is_empty());
}

/// Calls that are not polled, as those of a stream between two of its items, do not hold up others.
#[tokio::test]
async fn calls_that_nobody_polls_let_others_go_on() {
    let server = FakeServer::with(|_| Answer::sync("[]"));
    let lxd = server.client();
    let calls = (0..200).map(|_| lxd.instances().into_future());
    let mut answers = futures_util::stream::iter(calls).buffer_unordered(140);
    let mut count = 0;
    while let Some(answer) = answers.next().await {
        assert!(answer.unwrap().is_empty() && lxd.profiles().await.unwrap().is_empty());
        count += 1;
    }
    assert_eq!((count, server.requests().len()), (200, 400));
}

#[tokio::test]
async fn a_websocket_carries_messages_both_ways() {
    let mut server = FakeServer::with(agree);
    let lxd = server.builder().project("p").build().unwrap();
    let mut socket = lxd.operation_websocket(UUID).secret("s&1").await.unwrap();
    let request = server.request();
    assert_eq!(request.line(), format!("GET /1.0/operations/{UUID}/websocket?secret=s%261"));
    check_handshake(&request);

    let mut stream = server.stream().await;
    socket.send(Message::text("to the server")).await.unwrap();
    assert_eq!(read_frame(&mut stream).await, (TEXT, b"to the server".to_vec()));
    socket.send(Message::binary(&b"\0\xff"[..])).await.unwrap();
    assert_eq!(read_frame(&mut stream).await, (BINARY, b"\0\xff".to_vec()));

    stream
        .write_all(&[frame(TEXT, b"to the client"), frame(BINARY, b"\xff"), frame(TEXT, b"")].concat())
        .await
        .unwrap();
    assert_eq!(next(&mut socket).await, Message::text("to the client"));
    assert_eq!(next(&mut socket).await, Message::binary(&b"\xff"[..]));
    assert_eq!(next(&mut socket).await, Message::text(""));

    stream.write_all(&[frame(PING, b"are you there"), frame(TEXT, b"on")].concat()).await.unwrap();
    assert_eq!(next(&mut socket).await, Message::Ping(b"are you there"[..].into()));
    assert_eq!(next(&mut socket).await, Message::text("on"));
    assert_eq!(read_frame(&mut stream).await, (PONG, b"are you there".to_vec()));

    socket.close().await.unwrap();
    assert_eq!(read_frame(&mut stream).await.0, CLOSE);
}

#[tokio::test]
async fn what_comes_right_behind_the_handshake_is_not_lost() {
    let server = FakeServer::with(|request| {
        let accept = accept(request.header("sec-websocket-key").expect("a key"));
        let headers =
            [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-accept", accept.as_str())];
        Answer::raw(101, &headers, frame(TEXT, b"at once")).hand_over()
    });
    let mut socket = server.client().operation_websocket(UUID).await.unwrap();
    assert_eq!(next(&mut socket).await, Message::text("at once"));
}

#[tokio::test]
async fn a_websocket_that_breaks_off_is_an_error() {
    let mut server = FakeServer::with(agree);
    let mut socket = server.client().operation_websocket(UUID).await.unwrap();
    let mut stream = server.stream().await;
    stream.write_all(&frame(TEXT, b"half")[..3]).await.unwrap();
    drop(stream);
    let error = socket.next().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    let broken = format!("GET /1.0/operations/{UUID}/websocket: the websocket broke off");
    assert!(error.to_string().starts_with(&broken), "{error}");
    assert!(error.source().is_some());
}

#[tokio::test]
async fn a_websocket_that_is_dropped_ends_its_connection() {
    let mut server = FakeServer::with(agree);
    let socket = server.client().operation_websocket(UUID).await.unwrap();
    let mut stream = server.stream().await;
    drop(socket);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn a_refused_websocket_has_the_words_of_the_server() {
    let refusal = |code, error: &str| {
        format!(
            r#"{{"type":"error","status":"","status_code":0,"operation":"","error_code":{code},"error":"{error}","metadata":null}}"#
        )
    };
    let plain = [("content-type", "text/plain; charset=utf-8")];
    let server = FakeServer::answering([
        Answer::error(404, "Operation not found"),
        Answer::error(500, "\"x\" isn't a supported event type"),
        Answer::raw(400, &plain, "Bad Request\n"),
        Answer::raw(400, &plain, format!("Bad Request\n{}\n", refusal(400, "no websocket"))),
        Answer::raw(502, &[("content-type", "text/html")], "<html>\n<body>Bad Gateway</body>\n</html>\n"),
    ]);
    let lxd = server.client();
    for (status, words) in [
        (404, "Operation not found"),
        (500, "\"x\" isn't a supported event type"),
        (400, "Bad Request"),
        (400, "no websocket"),
        (502, "Bad Gateway"),
    ] {
        let error = lxd.operation_websocket(UUID).secret("hush").await.unwrap_err();
        assert!(matches!(error, Error::Api { .. }), "{error:?}");
        assert_eq!(error.status(), Some(status));
        let text = error.to_string();
        assert!(text.starts_with(&format!("GET /1.0/operations/{UUID}/websocket: ")), "{text}");
        assert!(text.contains(words) && !text.contains('\n'), "{text:?}");
        assert!(!text.contains("hush"), "{text}");
    }
}

#[tokio::test]
async fn a_handshake_that_is_none_is_refused() {
    let right = |request: &Request| accept(request.header("sec-websocket-key").expect("a key"));
    for headers in [
        vec![("upgrade", "websocket"), ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")],
        vec![("upgrade", "websocket"), ("sec-websocket-accept", "")],
        vec![("upgrade", "websocket")],
    ] {
        let server = FakeServer::with(move |_| {
            Answer::raw(101, &headers, "").header("connection", "upgrade").hand_over()
        });
        let error = server.client().operation_websocket(UUID).await.unwrap_err();
        assert!(matches!(error, Error::Decode { .. }), "{error:?}");
        assert!(error.to_string().starts_with("GET /1.0/operations"), "{error}");
        assert!(error.to_string().contains("handshake"), "{error}");
    }
    // A server that goes on in HTTP.
    let server = FakeServer::with(move |request| {
        Answer::raw(200, &[("sec-websocket-accept", right(request).as_str())], "{}")
    });
    let error = server.client().operation_websocket(UUID).await.unwrap_err();
    assert!(matches!(error, Error::Decode { .. }), "{error:?}");
    assert!(error.to_string().contains("does not speak websocket"), "{error}");
}

#[tokio::test]
async fn a_connection_carries_bytes_both_ways() {
    let mut server = FakeServer::with(|_| {
        Answer::raw(101, &[("Upgrade", "sftp"), ("Connection", "Upgrade")], &b"\0at once"[..]).hand_over()
    });
    let mut connection = server.client().instance_sftp("t1").await.unwrap();
    let request = server.request();
    assert_eq!(request.line(), "GET /1.0/instances/t1/sftp");
    assert_eq!(request.header("upgrade"), Some("sftp"));
    assert_eq!(request.header("connection"), Some("Upgrade"));
    assert_eq!(request.header("sec-websocket-key"), None);

    let mut stream = server.stream().await;
    let mut bytes = [0; 8];
    connection.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"\0at once");
    let many: Vec<u8> = (0..1_000_000_u32).map(|each| each.to_be_bytes()[3]).collect();
    let (mut sent, mut received) = (many.clone(), vec![0; many.len()]);
    let (wrote, read) = tokio::join!(connection.write_all(&many), stream.read_exact(&mut received));
    assert!(wrote.is_ok() && read.is_ok(), "{wrote:?} {read:?}");
    assert!(received == many);
    sent.reverse();
    let (wrote, read) = tokio::join!(stream.write_all(&sent), connection.read_exact(&mut received));
    assert!(wrote.is_ok() && read.is_ok(), "{wrote:?} {read:?}");
    assert!(received == sent);

    connection.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut bytes).await.unwrap(), 0);
    stream.write_all(b"end").await.unwrap();
    drop(stream);
    let mut rest = Vec::new();
    connection.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"end");
}

#[tokio::test]
async fn a_refused_connection_has_the_words_of_the_server() {
    let server = FakeServer::answering([Answer::error(404, "Instance not found"), Answer::sync("{}")]);
    let lxd = server.client();
    let error = lxd.instance_sftp("t1").await.unwrap_err();
    assert!(error.is_not_found() && error.to_string().contains("Instance not found"), "{error}");
    let error = lxd.instance_sftp("t1").await.unwrap_err();
    assert!(matches!(error, Error::Decode { .. }), "{error:?}");
    assert!(error.to_string().contains("does not speak sftp"), "{error}");
}
