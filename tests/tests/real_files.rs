//! The files of containers of a real LXD, running and stopped.

use jiff::{SignedDuration, Timestamp};
use lxd_client::types::InstanceAction;
use lxd_client::{Body, Error, FileEntry, InstanceFiles};
use lxd_tests::reading::Broken;
use lxd_tests::real::with_project;

async fn bytes(files: &InstanceFiles, path: &str) -> Result<Vec<u8>, Error> {
    match files.read(path).await? {
        FileEntry::File { content, .. } => Ok(content.bytes().await?.to_vec()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_can_be_read_in_running_and_stopped_containers() {
    with_project(|place| async move {
        place.running_container("c1").await?;
        let files = place.lxd.files("c1");
        for folder in ["/root/running", "/root/stopped"] {
            let path = |name: &str| format!("{folder}/{name}");
            let missing = files.write(&path("file"), "no folder").await.unwrap_err();
            assert!(missing.is_not_found(), "{missing:?}");
            files.create_directory(folder).uid(1000).gid(1001).mode(0o750).await?;
            files.create_directory(folder).await?;
            let all: Vec<u8> = (0..=255).collect();
            files.write(&path("a file"), all.clone()).uid(7).gid(8).mode(0o640).await?;
            files.write(&path("empty"), "").await?;
            files.write(&path("log"), "one\n").await?;
            files.write(&path("log"), "two\n").append().await?;
            files.create_symlink(&path("link"), "a file").await?;

            let entry = files.read(&path("a file")).await?;
            let attributes = entry.attributes().clone();
            assert_eq!((attributes.uid, attributes.gid, attributes.mode), (7, 8, 0o640));
            let age = Timestamp::now() - attributes.modified.expect("a time");
            assert!(age.abs() < SignedDuration::from_mins(5), "{age:?}");
            let FileEntry::File { content, .. } = entry else { panic!("{entry:?}") };
            assert_eq!(content.bytes().await?, all);
            assert_eq!(bytes(&files, &path("log")).await?, b"one\ntwo\n");
            assert_eq!(bytes(&files, &path("empty")).await?, b"");
            let FileEntry::Symlink { target, .. } = files.read(&path("link")).await? else { panic!() };
            assert_eq!(target, path("a file"));
            let entry = files.read(folder).await?;
            let attributes = entry.attributes();
            assert_eq!((attributes.uid, attributes.gid, attributes.mode), (1000, 1001, 0o750));
            let FileEntry::Directory { mut names, .. } = entry else { panic!("{entry:?}") };
            names.sort();
            assert_eq!(names, ["a file", "empty", "link", "log"]);

            // A directory goes when it is empty.
            assert!(files.remove(folder).await.is_err());
            for name in names {
                files.remove(&path(&name)).await?;
            }
            files.remove(folder).await?;
            assert!(files.read(folder).await.unwrap_err().is_not_found());
            assert!(files.remove(folder).await.unwrap_err().is_not_found());
            if folder.ends_with("running") {
                place.change("c1", InstanceAction::Stop).await?;
            }
        }
        let nobody = place.lxd.files("none").read("/").await.unwrap_err();
        assert!(nobody.is_not_found(), "{nobody:?}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_from_readers_and_a_broken_one_is_told() {
    with_project(|place| async move {
        place.running_container("c1").await?;
        let files = place.lxd.files("c1");
        let large: Vec<u8> = (0..5_000_000_u32).map(|each| (each ^ (each >> 9)).to_le_bytes()[0]).collect();
        files.write("/root/large", Body::reader(std::io::Cursor::new(large.clone()))).mode(0o600).await?;
        assert!(bytes(&files, "/root/large").await? == large);
        let error = files.write("/root/broken", Body::reader(Broken(40))).await.unwrap_err();
        assert!(matches!(error, Error::Transport { .. }), "{error:?}");
        assert!(error.to_string().contains("end of file"), "{error}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_go_there_and_come_back() {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    let folder = std::env::temp_dir().join(format!("lxd-tests-tree-{}", std::process::id()));
    let (local, back) = (folder.join("local"), folder.join("back"));
    fs::create_dir_all(local.join("deep/er")).unwrap();
    fs::create_dir(local.join("closed")).unwrap();
    fs::write(local.join("deep/er/large"), vec![7; 3_000_000]).unwrap();
    fs::write(local.join("a file"), "text").unwrap();
    fs::write(local.join("closed/empty"), "").unwrap();
    for (path, mode) in
        [("a file", 0o640), ("deep/er/large", 0o755), ("closed/empty", 0o400), ("closed", 0o500)]
    {
        fs::set_permissions(local.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    symlink("/etc/passwd", local.join("link")).unwrap();
    symlink("/nowhere", local.join("deep/broken")).unwrap();
    let paths = (folder.clone(), local.clone(), back.clone());
    with_project(|place| async move {
        let (folder, local, back) = paths;
        place.running_container("c1").await?;
        let files = place.lxd.files("c1");
        files.push(&local, "/root/tree").await?;
        files.pull("/root/tree/", &back).await?;
        let shown = |root: &std::path::Path| {
            let find = std::process::Command::new("find")
                .args([".", "-printf", "%P %y %m %l\n"])
                .current_dir(root)
                .output();
            let mut lines: Vec<_> =
                String::from_utf8(find.expect("find").stdout).unwrap().lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(shown(&back), shown(&local));
        assert!(fs::read(back.join("deep/er/large")).unwrap() == vec![7; 3_000_000]);
        // Once more, over what is there. A link in the place of a file is replaced, and not followed.
        fs::remove_file(back.join("a file")).unwrap();
        fs::write(folder.join("outside"), "untouched").unwrap();
        symlink(folder.join("outside"), back.join("a file")).unwrap();
        files.pull("/root/tree", &back).await?;
        assert_eq!(shown(&back), shown(&local));
        assert_eq!(fs::read_to_string(folder.join("outside")).unwrap(), "untouched");
        // A link in the place of a folder is refused.
        fs::remove_dir_all(back.join("deep")).unwrap();
        symlink(&folder, back.join("deep")).unwrap();
        let error = files.pull("/root/tree", &back).await.unwrap_err();
        assert!(matches!(error, Error::Local { .. }), "{error:?}");
        let error = files.push(local.join("none"), "/root/none").await.unwrap_err();
        assert!(error.to_string().contains("none cannot be read: No such file"), "{error}");
        Ok(())
    })
    .await;
    fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_and_permissions_are_changed() {
    with_project(|place| async move {
        place.running_container("c1").await?;
        let files = place.lxd.files("c1");
        files.write("/root/file", "text").uid(1).gid(2).mode(0o600).await?;
        files.create_directory("/root/folder").await?;
        files.create_symlink("/root/link", "file").await?;
        // The content, and what is not given, stay as they are.
        for (at, change, expected) in [
            ("/root/file", files.change("/root/file").mode(0o640), (1, 2, 0o640)),
            ("/root/file", files.change("/root/file").uid(7), (7, 2, 0o640)),
            ("/root/file", files.change("/root/file").gid(8), (7, 8, 0o640)),
            ("/root/file", files.change("/root/link").uid(9).gid(10).mode(0o400), (9, 10, 0o400)),
            ("/root/file", files.change("/root/file"), (9, 10, 0o400)),
            ("/root/folder", files.change("/root/folder").uid(1000).mode(0o700), (1000, 0, 0o700)),
        ] {
            change.await?;
            let entry = files.read(at).await?;
            let attributes = entry.attributes();
            assert_eq!((attributes.uid, attributes.gid, attributes.mode), expected, "{at}");
        }
        assert_eq!(bytes(&files, "/root/file").await?, b"text");
        for change in [files.change("/root/none").mode(0o600), files.change("/root/none").uid(1)] {
            let missing = change.await.unwrap_err();
            assert!(missing.is_not_found(), "{missing:?}");
        }
        place.change("c1", InstanceAction::Stop).await?;
        files.change("/root/file").mode(0o666).await?;
        assert_eq!(files.read("/root/file").await?.attributes().mode, 0o666);
        let nobody = place.lxd.files("none").change("/").uid(1).await.unwrap_err();
        assert!(nobody.is_not_found(), "{nobody:?}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_speaks_sftp_over_the_connection() {
    use russh_sftp::client::SftpSession;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    with_project(|place| async move {
        place.running_container("c1").await?;
        let connection = place.lxd.instance_sftp("c1").await?;
        let sftp = SftpSession::new(connection).await.expect("a session");
        sftp.create_dir("/root/d").await.expect("a folder");
        let mut file = sftp.create("/root/d/large").await.expect("a file");
        let large: Vec<u8> = (0..3_000_000_u32).map(|each| (each ^ (each >> 9)).to_le_bytes()[0]).collect();
        file.write_all(&large).await.expect("a file");
        file.shutdown().await.expect("a file");
        let mut back = Vec::new();
        sftp.open("/root/d/large").await.expect("a file").read_to_end(&mut back).await.expect("a file");
        assert!(back == large);
        sftp.symlink("large", "/root/d/link").await.expect("a link");
        let mut names: Vec<_> =
            sftp.read_dir("/root/d").await.expect("a folder").map(|e| e.file_name()).collect();
        names.sort();
        assert_eq!(names, ["large", "link"]);
        assert!(sftp.open("/root/none").await.is_err());
        sftp.close().await.expect("an end");
        assert!(bytes(&place.lxd.files("c1"), "/root/d/large").await? == large);
        Ok(())
    })
    .await;
}
