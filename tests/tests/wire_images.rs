//! Images as files: what an upload says of itself, and what a download has to be.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use lxd_client::{Body, Error, ImageFileKind, Transferred};
use lxd_tests::fake_server::{Answer, FakeServer, operation};
use lxd_tests::folder::Folder;
use lxd_tests::reading::Broken;
use tokio::io::AsyncReadExt;

/// The SHA-256 of `abc`, by FIPS 180-4.
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn uploads(count: usize) -> FakeServer {
    let finished = operation("task", "Success", 200, r#"{"fingerprint":"f0","size":"3"}"#, "");
    FakeServer::answering((0..count).map(|_| Answer::background(&finished)))
}

#[tokio::test]
async fn every_upload_has_its_fingerprint() {
    let folder = Folder::new();
    let path = folder.0.join("image");
    std::fs::write(&path, "abc").unwrap();
    let server = uploads(6);
    let lxd = server.client();
    lxd.upload_image("abc").await.unwrap();
    lxd.upload_image(Body::file(&path).await.unwrap()).await.unwrap();
    lxd.upload_image(Body::reader(&b"abc"[..])).await.unwrap();
    lxd.upload_image(Body::reader(&b"abcd"[..]).length(3)).await.unwrap();
    lxd.upload_image_untrusted("abc").secret("hush").await.unwrap();
    // Who knows it need not have it computed.
    lxd.upload_image(Body::reader(&b"abc"[..])).fingerprint("f0").await.unwrap();
    let requests = server.requests();
    for (at, request) in requests.iter().enumerate() {
        assert_eq!(request.text(), "abc", "upload {at}");
        assert_eq!(request.header("content-type"), Some("application/octet-stream"));
        let expected = if at == 5 { "f0" } else { ABC };
        assert_eq!(request.header("x-lxd-fingerprint"), Some(expected), "upload {at}");
        // What was hashed is known in length too.
        let length = request.header("content-length").or(request.header("transfer-encoding"));
        assert_eq!(length, Some(if at == 5 { "chunked" } else { "3" }), "upload {at}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_not_uploaded() {
    let server = uploads(0);
    let lxd = server.client();
    for body in [Body::reader(Broken(3)), Body::reader(&b"ab"[..]).length(3)] {
        let error = lxd.upload_image(body).await.unwrap_err();
        assert!(matches!(error, Error::Local { .. }), "{error:?}");
        assert!(error.to_string().starts_with("what is to be uploaded cannot be read: "), "{error}");
    }
    let error = Body::file("/no such image").await.unwrap_err();
    assert!(error.to_string().contains("/no such image cannot be read: No such file"), "{error}");
    let error = Body::file("/dev/null").await.unwrap_err();
    assert!(error.to_string().contains("no file"), "{error}");
    // A pipe to which nobody writes.
    let folder = Folder::new();
    let pipe = folder.0.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let error = Body::file(&pipe).await.unwrap_err();
    assert!(error.to_string().contains("no file"), "{error}");
    assert!(server.lines().is_empty());
}

#[tokio::test]
async fn files_that_hide_their_length_are_sent_whole() {
    let server = uploads(2);
    let path = "/proc/version";
    let expected = std::fs::read_to_string(path).unwrap();
    for fingerprint in [None, Some("f0")] {
        let upload = server.client().upload_image(Body::file(path).await.unwrap());
        match fingerprint {
            Some(fingerprint) => upload.fingerprint(fingerprint).await.unwrap(),
            None => upload.await.unwrap(),
        };
        assert_eq!(server.requests().last().unwrap().text(), expected);
    }
}

#[tokio::test]
async fn a_form_of_somebody_else_is_sent_as_it_is() {
    let server = uploads(1);
    let form = Body::reader(FORM.as_bytes());
    let upload = server.client().upload_image(form);
    upload.header("content-type", "multipart/form-data; boundary=b").await.unwrap();
    let request = server.request();
    assert_eq!((request.text(), request.header("x-lxd-fingerprint")), (FORM, None));
}

/// The parts of a form, taken apart by hand: their names, file names and contents.
fn parts(content_type: &str, body: &str) -> Vec<(String, String, String)> {
    let boundary = content_type.strip_prefix("multipart/form-data; boundary=").expect("a form");
    let body = format!("\r\n{body}");
    let mut parts: Vec<_> = body.split(&format!("\r\n--{boundary}")).collect();
    assert_eq!((parts.remove(0), parts.pop()), ("", Some("--\r\n")));
    let quoted = |head: &str, name: &str| {
        let value = head.split_once(&format!("{name}=\"")).expect("a name").1;
        value.split_once('"').expect("its end").0.to_owned()
    };
    parts
        .into_iter()
        .map(|part| {
            let (head, content) = part.split_once("\r\n\r\n").expect("headers");
            assert!(head.to_lowercase().contains("content-disposition: form-data;"), "{head}");
            (quoted(head, " name"), quoted(head, "filename"), content.to_owned())
        })
        .collect()
}

#[tokio::test]
async fn two_files_go_as_a_form() {
    let server = uploads(3);
    let lxd = server.client();
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    lxd.upload_image(Body::split_image("a", "bc"))
        .properties(&BTreeMap::from([("os".to_owned(), "a b".to_owned())]))
        .progress(move |done| telling.lock().unwrap().push(done))
        .await
        .unwrap();
    let rootfs = Body::reader(&b"bc"[..]);
    lxd.upload_image(Body::split_image("a", rootfs)).await.unwrap();
    let disk = Body::reader(&b"bc"[..]);
    lxd.upload_image(Body::split_virtual_machine_image("a", disk)).fingerprint("f0").await.unwrap();
    let requests = server.requests();
    for (at, request) in requests.iter().enumerate() {
        let rootfs = if at == 2 { "rootfs.img" } else { "rootfs" };
        let part = |name: &str, content: &str| (name.to_owned(), name.to_owned(), content.to_owned());
        let content_type = request.header("content-type").unwrap();
        let expected = [part("metadata", "a"), part(rootfs, "bc")];
        assert_eq!(parts(content_type, request.text()), expected, "upload {at}");
        assert_eq!(request.header("x-lxd-fingerprint"), Some(if at == 2 { "f0" } else { ABC }));
        let length = request.header("content-length").map(|length| length.parse().unwrap());
        assert_eq!(length, (at != 2).then_some(request.body.len()), "upload {at}");
    }
    assert_eq!(requests[0].header("x-lxd-properties"), Some("os=a%20b"));
    let types: Vec<_> = requests.iter().map(|request| request.header("content-type").unwrap()).collect();
    assert!(types[0] != types[1] && types[1] != types[2]);
    let told = told.lock().unwrap();
    let length = requests[0].body.len() as u64;
    assert_eq!(told.last().map(|done| (done.bytes, done.total)), Some((length, Some(length))));
    assert!(told.is_sorted_by_key(|done| done.bytes) && told.len() > 1);
}

#[tokio::test]
async fn a_volume_is_made_of_an_iso_file() {
    let server = uploads(1);
    let call =
        server.client().restore_storage_pool_volume_backup("default", "custom", Body::reader(&b"iso"[..]));
    call.name("cd").r#type("iso").await.unwrap();
    let request = server.request();
    assert_eq!(request.line(), "POST /1.0/storage-pools/default/volumes/custom");
    let headers = ["x-lxd-name", "x-lxd-type", "content-type"].map(|name| request.header(name).unwrap());
    assert_eq!(headers, ["cd", "iso", "application/octet-stream"]);
    assert_eq!((request.text(), request.header("x-lxd-fingerprint")), ("iso", None));
}

const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"metadata\"; filename=\"meta-f0.tar.xz\"\r\n\
    Content-Type: application/octet-stream\r\n\r\na\r\n--b\r\nContent-Disposition: form-data; \
    name=\"rootfs\"; filename=\"f0.squashfs\"\r\n\r\nbc\r\n--b--\r\n";

fn unified(name: &str, content: &str) -> Answer {
    let disposition = format!("attachment; filename={name}");
    let headers =
        [("content-type", "application/octet-stream"), ("content-disposition", disposition.as_str())];
    Answer::raw(200, &headers, content)
}

fn split(form: &str) -> Answer {
    Answer::raw(200, &[("content-type", "multipart/form-data; boundary=b")], form)
}

#[tokio::test]
async fn a_download_is_checked_while_it_comes() {
    let server = FakeServer::answering([unified("f0.tar.gz", "abc"), split(FORM)]);
    let lxd = server.builder().project("p").build().unwrap();
    let mut image = lxd.export_image(ABC).secret("hush").await.unwrap();
    assert!(!image.is_split());
    let mut file = image.next_file().await.unwrap().expect("a file");
    assert_eq!((file.kind(), file.name()), (ImageFileKind::Unified, "f0.tar.gz"));
    let mut content = String::new();
    file.read_to_string(&mut content).await.unwrap();
    assert_eq!(content, "abc");
    assert!(image.next_file().await.unwrap().is_none());

    // The beginning of a fingerprint is completed.
    let mut image = lxd.export_image("BA78").await.unwrap();
    assert!(image.is_split());
    let mut found = Vec::new();
    while let Some(mut file) = image.next_file().await.unwrap() {
        let mut content = Vec::new();
        file.read_to_end(&mut content).await.unwrap();
        found.push((file.kind(), file.name().to_owned(), content));
    }
    let metadata = (ImageFileKind::Metadata, "meta-f0.tar.xz".to_owned(), b"a".to_vec());
    let rootfs = (ImageFileKind::RootFileSystem, "f0.squashfs".to_owned(), b"bc".to_vec());
    assert_eq!(found, [metadata, rootfs]);
    assert_eq!(image.fingerprint(), ABC);
    let path = format!("GET /1.0/images/{ABC}/export?secret=hush&project=p");
    assert_eq!(server.lines(), [path.as_str(), "GET /1.0/images/BA78/export?project=p"]);
}

#[tokio::test]
async fn a_download_has_its_name_when_it_is_whole() {
    let folder = Folder::new();
    let told = Arc::new(Mutex::new(Transferred::default()));
    let server = FakeServer::answering([unified("f0.tar.gz", "abc"), split(FORM)]);
    let telling = Arc::clone(&told);
    // What a process left that was killed is in nobody's way.
    for count in 0..200 {
        let left = format!(".lxd-client-{}-{count}.part", std::process::id());
        std::fs::write(folder.0.join(left), "").unwrap();
    }
    let image = server.client().export_image(ABC).await.unwrap();
    let image = image.progress(move |done| *telling.lock().unwrap() = done);
    assert_eq!(image.save(&folder.0).await.unwrap(), [folder.0.join("f0.tar.gz")]);
    assert_eq!({ *told.lock().unwrap() }.bytes, 3);
    assert_eq!({ *told.lock().unwrap() }.total, Some(3));
    let image = server.client().export_image(ABC).await.unwrap();
    let saved = image.save(&folder.0).await.unwrap();
    assert_eq!(saved, [folder.0.join("meta-f0.tar.xz"), folder.0.join("f0.squashfs")]);
    for count in 0..200 {
        let left = format!(".lxd-client-{}-{count}.part", std::process::id());
        std::fs::remove_file(folder.0.join(left)).unwrap();
    }
    let expected = [("f0.squashfs", "bc"), ("f0.tar.gz", "abc"), ("meta-f0.tar.xz", "a")];
    assert_eq!(folder.files(), expected.map(|(name, text)| (name.to_owned(), text.into())));
}

#[tokio::test]
async fn what_is_not_whole_leaves_nothing() {
    let half = [("content-type", "multipart/form-data; boundary=b"), ("content-length", "1000")];
    let chunked = [("transfer-encoding", "chunked")];
    let other = FORM.replace("bc", "bd");
    let cut = FORM.split_once("bc").unwrap().0;
    let unknown = FORM.replace("rootfs", "root");
    let twice = FORM.replace("f0.squashfs", "meta-f0.tar.xz");
    let three = FORM.replace("--b--", "--b\r\nContent-Disposition: form-data; name=rootfs\r\n\r\n\r\n--b--");
    let answers = [
        (unified("f0", "abd"), "another image, or damaged"),
        (unified("f0", ""), "another image, or damaged"),
        (split(&other), "another image, or damaged"),
        (split(cut), "in the middle of a file"),
        (split(""), "in the middle of its form"),
        (split(&unknown), "a part `root`"),
        (split(&twice), "the same name"),
        (split(&three), "more than two files"),
        (Answer::raw(200, &half, FORM), "broke off"),
        (Answer::raw(200, &half, cut), "broke off"),
        (Answer::raw(200, &chunked, "3\r\nabc\r\n"), "broke off"),
        (Answer::half(1000, "abc"), "broke off"),
    ];
    for (answer, told) in answers {
        let folder = Folder::new();
        let server = FakeServer::answering([answer]);
        let image = server.client().export_image(ABC).await.unwrap();
        let error = image.save(&folder.0).await.unwrap_err();
        assert!(error.to_string().contains(told), "{told}: {error}");
        assert!(folder.files().is_empty(), "{told}");
    }
    let boundless = Answer::raw(200, &[("content-type", "multipart/form-data")], FORM);
    let server = FakeServer::answering([boundless]);
    let error = server.client().export_image(ABC).await.unwrap_err();
    assert!(matches!(error, Error::Decode { .. }), "{error:?}");
}

#[tokio::test]
async fn an_error_is_not_forgotten() {
    let server = FakeServer::answering([unified("f0", "abd")]);
    let mut image = server.client().export_image(ABC).await.unwrap();
    let mut file = image.next_file().await.unwrap().expect("a file");
    let mut content = Vec::new();
    let error = file.read_to_end(&mut content).await.unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
    assert!(file.read_to_end(&mut content).await.is_err());
    assert!(image.next_file().await.is_err());
}

#[tokio::test]
async fn names_do_not_lead_out_of_the_folder() {
    for name in ["../x", "/etc/x", "..", ".", "\"\"", "a/b"] {
        let folder = Folder::new();
        let server = FakeServer::answering([unified(name, "abc")]);
        let image = server.client().export_image(&ABC[..7]).await.unwrap();
        let saved = image.save(&folder.0).await.unwrap();
        assert_eq!(saved, [folder.0.join(Path::new(&ABC[..7]))], "{name}");
    }
}
