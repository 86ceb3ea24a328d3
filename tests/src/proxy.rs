//! A proxy between a client and the socket of a real LXD, which does to connections what a test wants.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What becomes of the answer to a request, by the request's first line.
#[derive(Debug)]
pub enum Fate {
    /// It is passed on.
    Pass,
    /// The connection is cut after so many bytes of it.
    Cut(usize),
    /// It is held back until this is true.
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
    let mut fate = Fate::Pass;
    let (mut asked, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let asked = &asked[..read?];
                if asked.is_empty() {
                    return Ok(());
                }
                // The connection is used for one request after the other, each of which comes in one.
                let line = asked.split(|byte| *byte == b'\r').next().unwrap_or_default();
                if line.ends_with(b" HTTP/1.1") {
                    fate = policy(&String::from_utf8_lossy(line));
                }
                server.write_all(asked).await?;
            }
            read = server.read(&mut answered) => {
                let mut answered = &answered[..read?];
                match &mut fate {
                    Fate::Pass => {}
                    Fate::Cut(after) => {
                        answered = &answered[..answered.len().min(*after)];
                        *after -= answered.len();
                    }
                    // A test that has ended releases nothing.
                    Fate::Hold(released) => match released.wait_for(|released| *released).await {
                        Ok(_) => {}
                        Err(_) => return Ok(()),
                    },
                }
                client.write_all(answered).await?;
                if answered.is_empty() || matches!(fate, Fate::Cut(0)) {
                    return Ok(());
                }
            }
        }
    }
}
