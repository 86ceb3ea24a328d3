//! How much memory an answer can make a client take. It is the only test of its process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lxd_client::{Client, Error};
use lxd_tests::fake_server::raw;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// More than it takes.
const LIMIT: Duration = Duration::from_secs(60);

/// How much memory the process has taken at most, in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn an_answer_without_end_is_not_kept() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let address = raw(move |mut stream| {
        let sent = Arc::clone(&counted);
        async move {
            let mut head = [0; 4096];
            let length = stream.read(&mut head).await?;
            let declares = String::from_utf8_lossy(&head[..length]).contains("/instances/declared");
            let how = if declares { "content-length: 4294967296" } else { "transfer-encoding: chunked" };
            let start = format!("HTTP/1.1 200 OK\r\n{how}\r\n\r\n");
            stream.write_all(start.as_bytes()).await?;
            let mut chunk = Vec::from("10000\r\n");
            chunk.resize(chunk.len() + 0x10000, b' ');
            chunk.extend(b"\r\n");
            for _ in 0..65536 {
                stream.write_all(&chunk).await?;
                sent.fetch_add(chunk.len(), Ordering::Relaxed);
            }
            stream.write_all(b"0\r\n\r\n").await
        }
    })
    .await;
    let before = peak_memory();
    let limit = 8 << 20;
    let lxd = Client::builder()
        .endpoint(format!("http://{address}"))
        .answer_limit(limit)
        .timeout(LIMIT)
        .build()
        .unwrap();
    let begun = Instant::now();
    for error in [
        lxd.instance("chunked").await.map(drop).unwrap_err(),
        lxd.instance("declared").await.map(drop).unwrap_err(),
        lxd.instance_files("chunked").await.unwrap().bytes().await.map(drop).unwrap_err(),
        lxd.instance_files("chunked").await.unwrap().text().await.map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Decode { .. }), "{error:?}");
        let told = error.to_string();
        assert!(told.contains("more than 8388608 bytes") && told.contains("answer_limit"), "{told}");
    }
    assert!(begun.elapsed() < LIMIT);
    // Twice the limit while it grows, and the fake server in the same process.
    let taken = peak_memory() - before;
    assert!(taken < 16 * limit as u64, "{taken} bytes");
    // Of 16 GiB, no more than what fits into the limit and the buffers between.
    let sent = sent.load(Ordering::Relaxed);
    assert!(sent < 16 * limit, "{sent} bytes");
}
