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
