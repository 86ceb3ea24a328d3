//! Calls that take over their connection: websockets and the file protocol of an instance. The server's
//! side of the handshake and of the frames is written here once more, by RFC 6455.

use std::error::Error as _;

use futures_util::{SinkExt, StreamExt};
use lxd_client::{Error, Message, WebSocket};
use lxd_tests::fake_server::{Answer, FakeServer, Request, UUID};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

/// SHA-1, by RFC 3174.
fn sha1(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0x80);
    while bytes.len() % 64 != 56 {
        bytes.push(0);
    }
    bytes.extend_from_slice(&(text.len() as u64 * 8).to_be_bytes());
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in bytes.chunks(64) {
        let mut words: Vec<_> =
            block.chunks(4).map(|word| u32::from_be_bytes(word.try_into().unwrap())).collect();
        for at in 16..80 {
            let word = words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16];
            words.push(word.rotate_left(1));
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (at, word) in words.into_iter().enumerate() {
            let (mixed, constant) = match at / 20 {
                0 => (b & c | !b & d, 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => (b & c | b & d | c & d, 0x8f1b_bcdc_u32),
                _ => (b ^ c ^ d, 0xca62_c1d6),
            };
            let next = [mixed, e, constant, word].into_iter().fold(a.rotate_left(5), u32::wrapping_add);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (kept, new) in state.iter_mut().zip([a, b, c, d, e]) {
            *kept = kept.wrapping_add(new);
        }
    }
    state.into_iter().flat_map(u32::to_be_bytes).collect()
}

fn base64(bytes: &[u8]) -> String {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(*chunk.get(at).unwrap_or(&0)));
        for at in 0..4 {
            let letter = letters[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

fn accept(key: &str) -> String {
    base64(&sha1(&format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")))
}

#[test]
fn the_handshake_is_that_of_the_standard() {
    assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

/// Agrees to speak websocket.
fn agree(request: &Request) -> Answer {
    let accept = accept(request.header("sec-websocket-key").expect("a key"));
    let headers =
        [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept.as_str())];
    Answer::raw(101, &headers, "").hand_over()
}

/// A short frame of a server.
fn frame(operation: u8, payload: &[u8]) -> Vec<u8> {
    [&[0x80 | operation, u8::try_from(payload.len()).expect("a short frame")], payload].concat()
}

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Reads a short frame of a client, which is whole and masked.
async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> (u8, Vec<u8>) {
    let mut head = [0; 6];
    stream.read_exact(&mut head).await.unwrap();
    let [first, length, mask @ ..] = head;
    assert_eq!((first & 0xf0, length & 0x80), (0x80, 0x80), "a whole frame, and masked");
    let mut payload = vec![0; usize::from(length & 0x7f)];
    stream.read_exact(&mut payload).await.unwrap();
    for (at, byte) in payload.iter_mut().enumerate() {
        *byte ^= mask[at % 4];
    }
    (first & 0x0f, payload)
}

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
