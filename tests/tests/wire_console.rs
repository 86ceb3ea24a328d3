//! Consoles: what goes over their sockets, and what ends them.

use std::time::Duration;

use lxd_client::Watcher;
use lxd_tests::fake_server::{Answer, FakeServer, Request, UUID, operation};
use lxd_tests::websocket::{BINARY, TEXT, agree, frame, read_frame};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn server() -> FakeServer {
    FakeServer::with(|request: &Request| {
        let running = operation("websocket", "Running", 103, r#"{"fds":{"0":"s0","control":"sc"}}"#, "");
        match request.method.as_str() {
            "POST" => Answer::background(&running),
            "DELETE" => Answer::sync("{}"),
            _ if request.target.contains("/websocket") => agree(request),
            _ if request.target.contains("/console") => Answer::raw(200, &[], "login: "),
            _ => Answer::sync(&operation("websocket", "Success", 200, "{}", "")),
        }
    })
}

fn client(server: &FakeServer) -> lxd_client::Client {
    server.builder().watcher(Watcher::Polling(Duration::from_millis(5))).project("p").build().unwrap()
}

fn sent(server: &FakeServer) -> Value {
    serde_json::from_slice(&server.requests()[0].body).unwrap()
}

#[tokio::test]
async fn a_terminal_is_typed_to_and_read_and_ends_with_its_control() {
    let mut server = server();
    let lxd = client(&server);
    let attaching = tokio::spawn(async move { lxd.console("t1").attach(80, 25).await });
    let (mut data, mut control) = (None, None);
    for _ in 0..2 {
        let (target, stream) = server.stream_with_target().await;
        match target.strip_prefix(&format!("/1.0/operations/{UUID}/websocket?secret=")) {
            Some("s0") => data = Some(stream),
            Some("sc") => control = Some(stream),
            other => panic!("{other:?}"),
        }
    }
    let (mut data, mut control) = (data.unwrap(), control.unwrap());
    let mut console = attaching.await.unwrap().unwrap();
    assert_eq!(sent(&server), json!({"type": "console", "width": 80, "height": 25}));
    assert_eq!(server.lines()[0], "POST /1.0/instances/t1/console?project=p");

    console.write_all(b"root\r").await.unwrap();
    console.flush().await.unwrap();
    assert_eq!(read_frame(&mut data).await, (BINARY, b"root\r".to_vec()));
    let frames = [frame(BINARY, b"Pass"), frame(BINARY, b""), frame(TEXT, b"word: ")];
    data.write_all(&frames.concat()).await.unwrap();
    let mut shown = [0; 10];
    console.read_exact(&mut shown).await.unwrap();
    assert_eq!(&shown, b"Password: ");
    console.resize(132, 50).await.unwrap();
    let (kind, text) = read_frame(&mut control).await;
    let resize = json!({"command": "window-resize", "args": {"width": "132", "height": "50"}});
    assert_eq!((kind, serde_json::from_slice::<Value>(&text).unwrap()), (TEXT, resize));

    // The control goes first, and the data stays open for the server's farewell.
    let detaching = tokio::spawn(console.detach());
    assert_eq!(control.read(&mut [0; 64]).await.unwrap(), 0);
    assert!(!detaching.is_finished());
    data.write_all(&[frame(BINARY, b"bye"), frame(TEXT, b"")].concat()).await.unwrap();
    assert_eq!(data.read(&mut [0; 64]).await.unwrap(), 0);
    detaching.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_terminal_that_is_dropped_is_left() {
    let mut server = server();
    let lxd = client(&server);
    let attaching = tokio::spawn(async move { lxd.console("t1").attach(80, 25).await });
    let mut streams = Vec::new();
    for _ in 0..2 {
        streams.push(server.stream_with_target().await);
    }
    streams.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut console = attaching.await.unwrap().unwrap();
    let (_, mut control) = streams.pop().unwrap();
    let (_, mut data) = streams.pop().unwrap();
    // The end of the instance is the end of what can be read.
    data.write_all(&frame(TEXT, b"")).await.unwrap();
    assert_eq!(console.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(console.read(&mut [0; 8]).await.unwrap(), 0);
    assert!(console.write_all(b"more").await.is_err());
    console.shutdown().await.unwrap();
    assert_eq!(control.read(&mut [0; 64]).await.unwrap(), 0);
}

#[tokio::test]
async fn who_reads_learns_that_the_stream_was_shut_down() {
    let mut server = server();
    let lxd = client(&server);
    let attaching = tokio::spawn(async move { lxd.console("v1").vga().await });
    let _control = server.stream_with_target().await;
    let screen = attaching.await.unwrap().unwrap();
    let (channel, (_, mut stream)) = tokio::join!(screen.open(), server.stream_with_target());
    let (mut reader, mut writer) = tokio::io::split(channel.unwrap());
    let reading = tokio::spawn(async move { reader.read(&mut [0; 8]).await });
    tokio::task::yield_now().await;
    writer.shutdown().await.unwrap();
    assert_eq!(reading.await.unwrap().unwrap(), 0);
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    // Once more, it is what it was.
    writer.shutdown().await.unwrap();

    // An end without a word is none that the server meant.
    let (channel, (_, stream)) = tokio::join!(screen.open(), server.stream_with_target());
    drop(stream);
    let error = channel.unwrap().read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_screen_has_a_connection_for_each_channel() {
    let mut server = server();
    let lxd = client(&server);
    let attaching = tokio::spawn(async move { lxd.console("v1").vga().await });
    let (target, mut control) = server.stream_with_target().await;
    assert!(target.ends_with("?secret=sc"), "{target}");
    let screen = attaching.await.unwrap().unwrap();
    assert_eq!(sent(&server), json!({"type": "vga"}));
    let mut channels = Vec::new();
    for number in [1, 2] {
        let (channel, connected) = tokio::join!(screen.open(), server.stream_with_target());
        let (mut channel, (target, mut stream)) = (channel.unwrap(), connected);
        assert!(target.ends_with("?secret=s0"), "{target}");
        channel.write_all(&[number]).await.unwrap();
        channel.flush().await.unwrap();
        assert_eq!(read_frame(&mut stream).await, (BINARY, vec![number]));
        stream.write_all(&frame(BINARY, &[0xff, number])).await.unwrap();
        assert_eq!(channel.read_u16().await.unwrap(), 0xff00 + u16::from(number));
        channels.push((channel, stream));
    }
    // One ends, the others go on.
    let (mut first, mut stream) = channels.remove(0);
    first.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    let (second, stream) = &mut channels[0];
    stream.write_all(&frame(BINARY, b"more")).await.unwrap();
    assert_eq!(second.read_u32().await.unwrap(), u32::from_be_bytes(*b"more"));
    drop(screen);
    assert_eq!(control.read(&mut [0; 64]).await.unwrap(), 0);
}

#[tokio::test]
async fn the_log_is_read_and_cleared() {
    let server = server();
    let console = client(&server).console("a b");
    assert_eq!(console.log().await.unwrap().text().await.unwrap(), "login: ");
    console.clear_log().await.unwrap();
    let path = "/1.0/instances/a%20b/console?project=p";
    assert_eq!(server.lines(), [format!("GET {path}"), format!("DELETE {path}")]);
}
