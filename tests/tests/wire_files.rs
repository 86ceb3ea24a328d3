//! The files of an instance: what is asked for, and what an answer has to say.

use lxd_client::{Error, FileEntry};
use lxd_tests::fake_server::{Answer, FakeServer};

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
