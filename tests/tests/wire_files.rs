//! The files of an instance: what is asked for, and what an answer has to say.

use lxd_client::{Error, FileEntry};
use lxd_tests::fake_server::{Answer, FakeServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn what_is_written_says_what_it_is_and_whose() {
    let server = FakeServer::with(|_| Answer::sync("{}"));
    let lxd = server.builder().project("p").build().unwrap();
    let files = lxd.files("t1");
    files.write("/a b", &b"\0\xff"[..]).mode(0o600).uid(7).mode(0o640).gid(0).await.unwrap();
    files.write("/log", "more").append().await.unwrap();
    files.create_directory("/d").mode(0o7).await.unwrap();
    files.create_symlink("/l", "../a b").await.unwrap();
    files.remove("/d").await.unwrap();
    let names = ["x-lxd-type", "x-lxd-uid", "x-lxd-gid", "x-lxd-mode", "x-lxd-write", "x-lxd-modify-perm"];
    let asked: Vec<_> = server
        .requests()
        .iter()
        .map(|request| {
            let headers = names.map(|name| request.header(name).unwrap_or("-").to_owned()).join(" ");
            (request.line(), headers, request.body.clone())
        })
        .collect();
    let expected = [
        ("POST", "%2Fa%20b", "file 7 0 0640 - mode,uid,gid", &b"\0\xff"[..]),
        ("POST", "%2Flog", "file - - - append -", b"more"),
        ("POST", "%2Fd", "directory - - 07 - mode", b""),
        ("POST", "%2Fl", "symlink - - - - -", b"../a b"),
        ("DELETE", "%2Fd", "- - - - - -", b""),
    ];
    let expected = expected.map(|(method, path, headers, body)| {
        let line = format!("{method} /1.0/instances/t1/files?path={path}&project=p");
        (line, headers.to_owned(), body.to_vec())
    });
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn what_is_read_is_told_apart_by_its_headers() {
    let headers = |kind: &'static str, mode: &'static str| {
        [
            ("X-LXD-type", kind),
            ("X-LXD-mode", mode),
            ("X-LXD-uid", "7"),
            ("X-LXD-gid", "8"),
            ("Last-Modified", "Tue, 24 Nov 2026 23:11:46 GMT"),
        ]
    };
    let server = FakeServer::answering([
        Answer::raw(200, &headers("file", "0600"), "text"),
        Answer::raw(200, &headers("directory", "0755"), Answer::sync(r#"["b","a"]"#).into_body()),
        Answer::raw(200, &headers("symlink", "0777"), "/target\n"),
        Answer::raw(200, &headers("socket", "0600"), ""),
        Answer::raw(200, &headers("file", "rw-"), ""),
        Answer::raw(200, &[], "text"),
    ]);
    let files = server.client().files("t1");
    let entry = files.read("/f").await.unwrap();
    let attributes = entry.attributes().clone();
    assert_eq!((attributes.uid, attributes.gid, attributes.mode), (7, 8, 0o600));
    assert_eq!(attributes.modified, "2026-11-24T23:11:46Z".parse().ok());
    let FileEntry::File { content, .. } = entry else { panic!("{entry:?}") };
    assert_eq!(content.text().await.unwrap(), "text");
    let FileEntry::Directory { names, .. } = files.read("/d").await.unwrap() else { panic!() };
    assert_eq!(names, ["b", "a"]);
    let FileEntry::Symlink { target, .. } = files.read("/l").await.unwrap() else { panic!() };
    assert_eq!(target, "/target");
    for told in ["the type `socket`", "x-lxd-mode is no number: rw-", "no header x-lxd-uid"] {
        let error = files.read("/x").await.unwrap_err();
        assert!(matches!(error, Error::Decode { .. }) && error.to_string().contains(told), "{error}");
    }
}

#[tokio::test]
async fn half_a_file_does_not_look_like_a_whole_one() {
    let folder = std::env::temp_dir().join(format!("lxd-tests-half-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let headers = [("X-LXD-type", "file"), ("X-LXD-mode", "0644"), ("X-LXD-uid", "0"), ("X-LXD-gid", "0")];
    let half = headers.into_iter().chain([("content-length", "1000")]).collect::<Vec<_>>();
    let server = FakeServer::with(move |request| match request.method.as_str() {
        "GET" => Answer::raw(200, &half, "half"),
        "POST" => Answer::error(500, "no space left"),
        _ => Answer::sync("{}"),
    });
    let files = server.client().files("t1");
    let error = files.pull("/f", folder.join("f")).await.unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    std::fs::write(folder.join("g"), "text").unwrap();
    let error = files.push(folder.join("g"), "/g").await.unwrap_err();
    assert_eq!(error.status(), Some(500));
    assert_eq!(server.lines().last().unwrap(), "DELETE /1.0/instances/t1/files?path=%2Fg");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn what_the_server_has_of_a_file_is_removed_where_it_breaks_off() {
    let server = FakeServer::with(|request| match (request.method.as_str(), request.target.as_str()) {
        ("POST", target) if target.contains("refused") => Answer::error(403, "no"),
        ("POST", _) => Answer::close(),
        _ => Answer::sync("{}"),
    });
    let files = server.client().files("t1");
    for (path, expected) in [("/new", true), ("/refused", false)] {
        files.write(path, "text").await.unwrap_err();
        assert_eq!(server.lines().last().unwrap().starts_with("DELETE"), expected, "{path}");
    }
    // What was there before stays, and so does what was made whole or not at all.
    files.write("/log", "more").append().await.unwrap_err();
    files.create_directory("/d").await.unwrap_err();
    assert!(!server.lines().last().unwrap().starts_with("DELETE"));
}

#[tokio::test]
async fn a_name_that_leads_out_of_its_folder_is_refused() {
    let folder = std::env::temp_dir().join(format!("lxd-tests-out-{}", std::process::id()));
    for name in ["..", "../x", "/etc", ".", "", "a/../../x"] {
        let headers =
            [("X-LXD-type", "directory"), ("X-LXD-mode", "0755"), ("X-LXD-uid", "0"), ("X-LXD-gid", "0")];
        let list = serde_json::json!([name]).to_string();
        let server = FakeServer::answering([Answer::raw(200, &headers, Answer::sync(&list).into_body())]);
        let error = server.client().files("t1").pull("/d", &folder).await.unwrap_err();
        assert!(matches!(error, Error::Decode { .. }) && error.to_string().contains("leads out"), "{error}");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// What a server of SFTP answers: the kind and the content.
fn packet(kind: u8, content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let length = u32::try_from(content.len() + 1).unwrap();
    [&length.to_be_bytes()[..], &[kind], &content].concat()
}

fn status(code: u32, message: &str) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    packet(
        101,
        &[&[0; 4], &code.to_be_bytes(), &length.to_be_bytes(), message.as_bytes(), &[0, 0, 0, 2], b"en"],
    )
}

/// Changes a file where the server answers so; what comes of it, and what it was asked.
async fn changed(answers: Vec<Vec<u8>>, uid_alone: bool) -> (Result<(), Error>, Vec<Vec<u8>>) {
    let mut server = FakeServer::with(|_| {
        Answer::raw(101, &[("connection", "upgrade"), ("upgrade", "sftp")], "").hand_over()
    });
    let files = server.builder().project("p").build().unwrap().files("t1");
    let changing = tokio::spawn(async move {
        let change = files.change("/a");
        if uid_alone { change.uid(7).await } else { change.uid(7).gid(8).mode(0o640).await }
    });
    let (target, mut stream) = server.stream_with_target().await;
    assert_eq!(target, "/1.0/instances/t1/sftp?project=p");
    let mut asked = Vec::new();
    for answer in answers {
        let length = stream.read_u32().await.unwrap();
        let mut request = vec![0; length as usize];
        stream.read_exact(&mut request).await.unwrap();
        asked.push(request);
        stream.write_all(&answer).await.unwrap();
    }
    drop(stream);
    (changing.await.unwrap(), asked)
}

#[tokio::test]
async fn a_change_is_asked_for_in_the_words_of_sftp() {
    let version = packet(2, &[&[0, 0, 0, 3]]);
    let (ended, asked) =
        changed(vec![version.clone(), status(0, "Success"), status(0, "Success")], false).await;
    ended.unwrap();
    // INIT, and two SETSTAT: number, path, flags, and the owner or the permissions.
    assert_eq!(asked[0], [1, 0, 0, 0, 3]);
    assert_eq!(asked[1], *b"\x09\0\0\0\0\0\0\0\x02/a\0\0\0\x02\0\0\0\x07\0\0\0\x08");
    assert_eq!(asked[2], *b"\x09\0\0\0\0\0\0\0\x02/a\0\0\0\x04\0\0\x01\xa0");

    // The group stays as it is: size, user and group are told, and the group is sent back.
    let known =
        packet(105, &[&[0; 4], &[0, 0, 0, 3], &[0, 0, 0, 0, 0, 0, 0, 9], &[0, 0, 0, 1], &[0, 0, 0, 5]]);
    let (ended, asked) = changed(vec![version.clone(), known, status(0, "")], true).await;
    ended.unwrap();
    assert_eq!(asked[1], *b"\x11\0\0\0\0\0\0\0\x02/a");
    assert_eq!(asked[2], *b"\x09\0\0\0\0\0\0\0\x02/a\0\0\0\x02\0\0\0\x07\0\0\0\x05");
}

#[tokio::test]
async fn what_sftp_refuses_is_told() {
    let version = || packet(2, &[&[0, 0, 0, 3]]);
    for (code, expected) in [(2, 404), (3, 403), (4, 500), (8, 500)] {
        let (ended, _) = changed(vec![version(), status(code, "no \n such")], true).await;
        let error = ended.unwrap_err();
        assert_eq!(error.status(), Some(expected));
        assert!(error.to_string().contains("no "), "{error}");
    }
    for (answers, told) in [
        (vec![vec![0, 0, 0, 0]], "an impossible length"),
        (vec![vec![0xff; 8]], "an impossible length"),
        (vec![packet(7, &[])], "of the kind 7"),
        (vec![version(), packet(7, &[])], "of the kind 7"),
        (vec![version(), packet(101, &[&[0; 5]])], "answer"),
        (vec![version(), packet(105, &[&[0; 4], &[0, 0, 0, 4], &[0; 8]])], "whose the file is"),
        (vec![version(), packet(105, &[&[0; 3]])], "whose the file is"),
        (vec![version()], "broke off"),
        (vec![vec![0, 0, 0, 9, 2]], "broke off"),
    ] {
        let (ended, _) = changed(answers, true).await;
        let error = ended.unwrap_err();
        assert!(error.to_string().contains(told), "{told}: {error}");
    }
}
