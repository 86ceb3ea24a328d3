//! What is inside of instances, on a real LXD: commands, files, logs, the console, their metadata.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use lxd_client::types::{
    ExecResult, ImageMetadata, ImageMetadataPatch, ImageMetadataTemplate, InstanceExecPost,
};
use lxd_client::{Body, Client, Error, Message, RawAnswer};
use lxd_tests::real::{Place, map, names, texts, with_project};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn execute(lxd: &Client, command: &[&str], record_output: bool) -> Result<ExecResult, Error> {
    let command = command.iter().copied().map(String::from).collect();
    lxd.execute_in_instance("one", InstanceExecPost { command, record_output, ..Default::default() }).await
}

/// The text in the log of the console, of which there is none (500) before anything is in it.
async fn console_log(lxd: &Client) -> Result<String, Error> {
    match lxd.instance_console("one").await {
        Err(Error::Api { status: 500, .. }) => Ok(String::new()),
        log => log?.text().await,
    }
}

fn header<'a>(answer: &'a RawAnswer, name: &str) -> &'a str {
    answer.header(name).unwrap_or("(none)")
}

#[tokio::test]
async fn a_command_ends_with_its_code() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        place.running_container("one").await?;
        for code in [0, 3, 125, 255] {
            let result = execute(lxd, &["sh", "-c", &format!("exit {code}")], false).await?;
            assert_eq!(result, ExecResult { r#return: code, ..Default::default() });
        }
        let killed = execute(lxd, &["sh", "-c", "kill -9 $$"], false).await?;
        assert_eq!(killed.r#return, 128 + 9);
        let missing = execute(lxd, &["no-such-command"], false).await.unwrap_err();
        let Error::Operation { message, .. } = &missing else { panic!("{missing:?}") };
        assert!(message.contains("not found"), "{message}");

        let post = InstanceExecPost {
            command: ["sh", "-c", "test $A = b && test $PWD = /etc"].map(String::from).to_vec(),
            environment: texts([("A", "b")]),
            cwd: "/etc".to_owned(),
            ..Default::default()
        };
        assert_eq!(lxd.execute_in_instance("one", post).await?.r#return, 0);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_command_cannot_run_in_what_is_stopped() {
    with_project(|place| async move {
        place.lxd.create_instance(Place::empty_instance("one")).await?;
        let refused = execute(&place.lxd, &["true"], false).await.unwrap_err();
        assert_eq!(refused.status(), Some(400), "{refused:?}");
        assert!(refused.to_string().contains("not running"), "{refused}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn recorded_output_is_fetched() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        place.running_container("one").await?;
        let result = execute(lxd, &["sh", "-c", "echo out; echo err >&2; exit 5"], true).await?;
        assert_eq!(result.r#return, 5);
        assert_eq!(result.output.keys().collect::<Vec<_>>(), ["1", "2"]);
        for (stream, text) in [("1", "out\n"), ("2", "err\n")] {
            let url = std::slice::from_ref(&result.output[stream]);
            let [file] = names(url)[..] else { panic!("{url:?}") };
            assert_eq!(lxd.instance_log("one", file).await?.text().await?, text);
            assert!(names(&lxd.instance_logs("one").await?).contains(&file));
            lxd.delete_instance_log("one", file).await?;
            let gone = lxd.instance_log("one", file).await.unwrap_err();
            assert!(gone.to_string().contains("no such file"), "{gone}");
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_list_of_recorded_output_is_taken_for_a_log() {
    with_project(|place| async move {
        place.lxd.create_instance(Place::empty_instance("one")).await?;
        // Newer servers have it; LXD 5.0.2 has it among the logs, and no file of that name there.
        let refused = place.lxd.instance_exec_outputs("one").await.unwrap_err();
        assert!(refused.to_string().contains("exec-output"), "{refused}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_command_is_spoken_to_through_websockets() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        place.running_container("one").await?;
        let command = ["sh", "-c", "read line; echo got $line; exit 6"].map(String::from).to_vec();
        let post = InstanceExecPost { command, wait_for_websocket: true, ..Default::default() };
        let operation = lxd.execute_in_instance("one", post).start().await?;
        let secret = |name: &str| operation.metadata()["fds"][name].as_str().unwrap_or_default().to_owned();
        let mut input = lxd.operation_websocket(operation.id()).secret(&secret("0")).await?;
        let mut output = lxd.operation_websocket(operation.id()).secret(&secret("1")).await?;
        let _errors = lxd.operation_websocket(operation.id()).secret(&secret("2")).await?;
        let _control = lxd.operation_websocket(operation.id()).secret(&secret("control")).await?;
        input.send(Message::Binary("this\n".into())).await?;
        let mut read = Vec::new();
        while let Some(message) = output.next().await {
            match message? {
                Message::Binary(bytes) => read.extend_from_slice(&bytes),
                // An empty text ends the stream.
                Message::Text(_) => break,
                _ => {}
            }
        }
        assert_eq!(String::from_utf8_lossy(&read), "got this\n");
        drop((input, output));
        assert_eq!(operation.wait().await?.r#return, 6);
        assert_eq!(operation.metadata()["return"], 6);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn files_are_written_and_read() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        lxd.create_instance(Place::container("one")).await?;
        let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        lxd.create_instance_file("one", bytes.clone())
            .path("/root/a file?&%2f")
            .r#type("file")
            .mode(0o640)
            .uid(12)
            .gid(34)
            .await?;
        let file = lxd.instance_files("one").path("/root/a file?&%2f").await?;
        let told =
            ["x-lxd-type", "x-lxd-mode", "x-lxd-uid", "x-lxd-gid"].map(|name| header(&file, name).to_owned());
        assert_eq!(told, ["file", "0640", "12", "34"]);
        assert_eq!(file.bytes().await?, bytes);
        let head = lxd.instance_files_head("one").path("/root/a file?&%2f").response().await?;
        assert_eq!(head.headers["x-lxd-mode"], "0640");

        let chunks = futures_util::stream::iter(["one\n", "two\n"].map(|chunk| Ok(chunk.into())));
        lxd.create_instance_file("one", Body::stream(chunks)).path("/root/text").await?;
        lxd.create_instance_file("one", "three\n").path("/root/text").write("append").await?;
        assert_eq!(lxd.instance_files("one").path("/root/text").await?.text().await?, "one\ntwo\nthree\n");
        lxd.create_instance_file("one", "").path("/root/text").write("overwrite").await?;
        assert_eq!(lxd.instance_files("one").path("/root/text").await?.text().await?, "");

        lxd.create_instance_file("one", "").path("/root/folder").r#type("directory").mode(0o700).await?;
        lxd.create_instance_file("one", "text").path("/root/link").r#type("symlink").await?;
        let folder = lxd.instance_files("one").path("/root").await?;
        assert_eq!(header(&folder, "x-lxd-type"), "directory");
        let mut listed: Vec<String> = folder.json().await?;
        listed.sort();
        assert_eq!(listed, ["a file?&%2f", "folder", "link", "text"]);
        assert!(
            lxd.instance_files("one").path("/root/folder").await?.json::<Vec<String>>().await?.is_empty()
        );
        let link = lxd.instance_files("one").path("/root/link").await?;
        assert_eq!(
            (header(&link, "x-lxd-type"), header(&link, "content-type")),
            ("symlink", "application/octet-stream")
        );
        assert!(link.text().await?.ends_with("text"));

        lxd.delete_instance_files("one").path("/root/text").await?;
        let missing = lxd.instance_files("one").path("/root/text").await.unwrap_err();
        assert!(missing.is_not_found(), "{missing}");
        let missing = lxd.instance_files_head("one").path("/root/text").await.unwrap_err();
        assert!(missing.is_not_found(), "{missing}");
        assert!(lxd.delete_instance_files("one").path("/root/text").await.unwrap_err().is_not_found());
        let missing = lxd.create_instance_file("one", "x").path("/no/such/folder/x").await.unwrap_err();
        assert!(missing.is_not_found(), "{missing}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn files_can_be_reached_by_sftp() {
    with_project(|place| async move {
        place.running_container("one").await?;
        let mut connection = place.lxd.instance_sftp("one").await?;
        // The version of the protocol, offered and agreed on.
        connection.write_all(&[0, 0, 0, 5, 1, 0, 0, 0, 3]).await.expect("a connection");
        let mut answer = [0; 9];
        connection.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(answer[4..], [2, 0, 0, 0, 3]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn metadata_and_templates_are_changed() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        lxd.create_instance(Place::container("one")).await?;
        let read = lxd.instance_metadata("one").response().await?;
        let etag = read.etag().expect("an ETag").to_owned();
        assert_eq!(
            (read.value.properties["os"].as_str(), read.value.creation_date),
            ("busybox", 1_700_000_000)
        );
        assert!(read.value.templates.is_empty());
        let template = ImageMetadataTemplate {
            template: "hosts.tpl".to_owned(),
            when: vec!["create".to_owned()],
            create_only: true,
            ..Default::default()
        };
        let put = ImageMetadata { templates: map([("/etc/hosts", template.clone())]), ..read.value };
        lxd.update_instance_metadata("one", put.clone()).if_match(&etag).await?;
        let patch = ImageMetadataPatch { properties: Some(texts([("release", "1")])), ..Default::default() };
        lxd.modify_instance_metadata("one", patch).await?;
        let written = lxd.instance_metadata("one").await?;
        assert_eq!(written.templates, map([("/etc/hosts", template)]));
        assert_eq!(
            (written.properties["os"].as_str(), written.properties["release"].as_str()),
            ("busybox", "1")
        );

        lxd.create_instance_metadata_template("one", "127.0.0.1 localhost\n").path("hosts.tpl").await?;
        let listed: Vec<String> = lxd.instance_metadata_templates("one").await?.json().await?;
        assert_eq!(listed, ["hosts.tpl"]);
        let template = lxd.instance_metadata_templates("one").path("hosts.tpl").await?;
        assert_eq!(template.text().await?, "127.0.0.1 localhost\n");
        lxd.delete_instance_metadata_templates("one").path("hosts.tpl").await?;
        let missing = lxd.instance_metadata_templates("one").path("hosts.tpl").await.unwrap_err();
        assert!(missing.is_not_found(), "{missing}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_console_is_attached() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        place.running_container("one").await?;
        let console = lxd.console("one");
        let mut terminal = console.attach(80, 25).await?;
        // Somebody inside asks on the console.
        let ask = "read name </dev/console; echo hello $name; sleep 60";
        let command = ["sh", "-c", &format!("({ask}) >/dev/console 2>&1 &")];
        execute(lxd, &command, false).await?;
        let mut shown = Vec::new();
        let answered = async {
            while !String::from_utf8_lossy(&shown).contains("hello you") {
                // The server loses what comes before it has got hold of the container's side.
                let read = tokio::time::timeout(Duration::from_millis(200), terminal.read_buf(&mut shown));
                match read.await {
                    Ok(count) => assert_ne!(count.expect("a terminal"), 0),
                    Err(_) => {
                        terminal.resize(100, 50).await.expect("a terminal");
                        terminal.write_all(b"you\r").await.expect("a terminal");
                        terminal.flush().await.expect("a terminal");
                    }
                }
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(30), answered).await;
        assert!(in_time.is_ok(), "{:?}", String::from_utf8_lossy(&shown));
        terminal.detach().await?;
        // What was shown is in the log, and somebody else can attach.
        assert!(console.log().await?.text().await?.contains("hello you"));
        let mut terminal = console.attach(80, 25).await?;
        place.change("one", lxd_client::types::InstanceAction::Stop).await?;
        let mut rest = Vec::new();
        terminal.read_to_end(&mut rest).await.expect("its end");
        drop(terminal);

        let stopped = console.attach(80, 25).await.unwrap_err();
        assert!(stopped.to_string().contains("not running"), "{stopped}");
        let container = console.vga().await.unwrap_err();
        assert!(container.status().is_some(), "{container:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn logs_and_the_console_are_read() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        place.running_container("one").await?;
        let logs = lxd.instance_logs("one").await?;
        assert!(names(&logs).contains(&"lxc.conf"), "{logs:?}");
        let log = lxd.instance_log("one", "lxc.conf").await?;
        assert_eq!(header(&log, "content-type"), "application/octet-stream");
        assert!(log.text().await?.contains("lxc.rootfs.path"));
        assert!(lxd.instance_log("one", "lxc.nothing.log").await.is_err());

        // What is written to the console is in its log a moment later.
        execute(lxd, &["sh", "-c", "echo to the console > /dev/console"], false).await?;
        let written = async {
            while !console_log(lxd).await?.contains("to the console") {}
            Ok::<_, Error>(())
        };
        tokio::time::timeout(Duration::from_secs(30), written).await.expect("the text in time")?;
        lxd.delete_instance_console("one").await?;
        assert_eq!(console_log(lxd).await?, "");

        let console = lxd.connect_instance_console("one", Default::default()).start().await?;
        let secret = console.metadata()["fds"]["control"].as_str().expect("a secret").to_owned();
        let data = console.metadata()["fds"]["0"].as_str().expect("a secret").to_owned();
        let data = lxd.operation_websocket(console.id()).secret(&data).await?;
        let control = lxd.operation_websocket(console.id()).secret(&secret).await?;
        console.refresh().await?;
        assert_eq!((console.status().as_str(), console.is_final()), ("Running", false));
        // To close the control ends the session; were the data closed as well, the server would fail to
        // write its goodbye there now and then.
        drop(control);
        console.wait().await?;
        drop(data);
        Ok(())
    })
    .await;
}
