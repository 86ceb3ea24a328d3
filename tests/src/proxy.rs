//! A proxy between a client and the socket of a real LXD, which does to connections what a test wants.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What becomes of a connection, by the first line of its first request.
#[derive(Debug)]
pub enum Fate {
    /// It is passed on.
    Pass,
    /// It is cut after so many bytes from the server.
    Cut(usize),
    /// What the server answers is held back until this is true.
    Hold(watch::Receiver<bool>),
}

type Policy = dyn Fn(&str) -> Fate + Send + Sync;

/// A proxy. Dropping it ends its connections.
#[derive(Debug)]
pub struct Proxy {
    path: PathBuf,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Starts a proxy in front of the socket at a path.
    ///
    /// # Panics
    ///
    /// Where it cannot listen.
    pub fn before(socket: String, policy: impl Fn(&str) -> Fate + Send + Sync + 'static) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("lxd-proxy-{}-{number}", std::process::id()));
        let listener = UnixListener::bind(&path).expect("a socket to listen on");
        let policy: Arc<Policy> = Arc::new(policy);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (socket, policy) = (socket.clone(), Arc::clone(&policy));
                connections.spawn(async move {
                    // A connection that breaks is what the test is about, or tells the client itself.
                    let _ = pass(client, &socket, &*policy).await;
                });
            }
        });
        Self { path, _tasks: tasks }
    }

    /// The proxy's endpoint.
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.path.display())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Nothing can be done about a socket that stays.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn pass(mut client: UnixStream, socket: &str, policy: &Policy) -> std::io::Result<()> {
    let mut server = UnixStream::connect(socket).await?;
    let mut first = vec![0; 64 * 1024];
    let read = client.read(&mut first).await?;
    server.write_all(&first[..read]).await?;
    let line = String::from_utf8_lossy(&first[..read]);
    match policy(line.lines().next().unwrap_or_default()) {
        Fate::Pass => {}
        Fate::Cut(after) => {
            let (mut from_client, mut to_client) = client.split();
            let (from_server, mut to_server) = server.split();
            let mut limited = from_server.take(after.try_into().unwrap_or(u64::MAX));
            let there = tokio::io::copy(&mut from_client, &mut to_server);
            let back = tokio::io::copy(&mut limited, &mut to_client);
            tokio::select! {
                passed = there => passed?,
                passed = back => passed?,
            };
            return Ok(());
        }
        Fate::Hold(mut released) => {
            // A test that has ended releases nothing.
            if released.wait_for(|released| *released).await.is_err() {
                return Ok(());
            }
        }
    }
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
