//! A real LXD that belongs to one test, which may kill it and start it again. LXD has to be installed:
//! `tests/with-lxd` sees to that.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lxd_client::types::{
    ImageAliasesPost, InstanceAction, InstanceStatePut, ProfilePut, ServerPatch, StoragePoolsPost,
};
use lxd_client::{Client, ClientBuilder, Error, Identity};
use tokio::sync::Mutex;

use crate::real::{client, finally, root_disk};

/// A daemon in a folder of its own, with a storage pool `default`.
///
/// It must be ended by [`remove`](Self::remove).
#[derive(Debug)]
pub struct Daemon {
    folder: PathBuf,
    process: Child,
}

impl Daemon {
    /// Starts a daemon.
    ///
    /// # Panics
    ///
    /// Where LXD is not installed, or does not start.
    pub async fn start() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // Short: the path of a socket has 107 bytes at most.
        let folder = PathBuf::from(format!("/tmp/lxd-own-{}-{number}", std::process::id()));
        std::fs::create_dir(&folder).expect("a folder for the daemon");
        let process = start(&folder);
        let mut daemon = Self { folder, process };
        daemon.until_it_answers().await;
        let pool = StoragePoolsPost { name: "default".into(), driver: "dir".into(), ..Default::default() };
        daemon.builder().build().expect("a client").create_storage_pool(pool).await.expect("a pool");
        daemon
    }

    /// The path of its socket.
    pub fn socket(&self) -> String {
        self.folder.join("unix.socket").display().to_string()
    }

    /// Its folder, which belongs to root.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A folder for what `lxc` keeps of it, which belongs to who runs the test and goes with the daemon.
    pub fn configuration(&self) -> PathBuf {
        self.folder.with_extension("lxc")
    }

    /// Puts a file into its folder, for the next start.
    ///
    /// # Panics
    ///
    /// Where that fails.
    pub fn put(&self, name: &str, text: &str) {
        let mut file = as_root("tee")
            .arg(self.folder.join(name))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the command `tee`");
        let mut input = file.stdin.take().expect("its input");
        input.write_all(text.as_bytes()).expect("its input");
        drop(input);
        assert!(file.wait().expect("its end").success());
    }

    /// Opens it for HTTPS on this machine; returns the address.
    ///
    /// # Panics
    ///
    /// Where that fails.
    pub async fn listen(&self) -> String {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a free port").to_string();
        self.configure("core.https_address", &address).await;
        address
    }

    /// Sets a key of its configuration.
    ///
    /// # Panics
    ///
    /// Where that fails.
    pub async fn configure(&self, key: &str, value: &str) {
        let config = [(key.to_owned(), serde_json::Value::from(value))].into();
        let lxd = self.builder().build().expect("a client");
        lxd.modify_server(ServerPatch { config: Some(config) }).await.expect("a setting");
    }

    /// A builder of clients of it.
    pub fn builder(&self) -> ClientBuilder {
        Client::builder().endpoint(format!("unix://{}", self.socket()))
    }

    /// Gives it what a container needs, a disk in the default profile and the image of the shared server with the
    /// alias `busybox`: a client, and the fingerprint.
    ///
    /// # Errors
    ///
    /// Those of the calls.
    pub async fn with_image(&self) -> Result<(Client, String), Error> {
        let lxd = self.builder().build()?;
        lxd.update_profile("default", ProfilePut { devices: root_disk(), ..Default::default() }).await?;
        let shared = client("default");
        let alias = shared.image_alias("busybox").await?;
        let image = shared.image_export(&alias.target).await?.bytes().await?;
        let fingerprint = lxd.upload_image(image).await?.fingerprint;
        let target = fingerprint.clone();
        let alias = ImageAliasesPost { name: "busybox".into(), target, ..Default::default() };
        lxd.add_images_alias(alias).await?;
        Ok((lxd, fingerprint))
    }

    /// A client that it does not know, over HTTPS.
    ///
    /// # Errors
    ///
    /// Those of the calls.
    pub async fn stranger(&self) -> Result<Client, Error> {
        let address = self.listen().await;
        let certificate = self.builder().build()?.server().await?.environment.unwrap_or_default().certificate;
        Client::builder()
            .endpoint(format!("https://{address}"))
            .server_certificate(certificate)
            .identity(Identity::generate("stranger")?)
            .build()
    }

    /// Kills it, as a crash would.
    ///
    /// # Panics
    ///
    /// Where it cannot be killed.
    pub async fn kill(&mut self) {
        kill(&self.builder().build().expect("a client")).await;
        self.process.wait().expect("the end of the daemon");
    }

    /// Starts it again, after [`kill`](Self::kill).
    ///
    /// # Panics
    ///
    /// Where it does not start.
    pub async fn start_again(&mut self) {
        self.process = start(&self.folder);
        self.until_it_answers().await;
    }

    async fn until_it_answers(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let lxd = self.builder().timeout(Duration::from_secs(10)).build().expect("a client");
        while let Err(error) = lxd.server().await {
            let ended = self.process.try_wait().expect("the state of the daemon");
            assert!(ended.is_none() && Instant::now() < deadline, "{error}; the daemon ended: {ended:?}");
            tokio::task::yield_now().await;
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops it and removes all that it made.
    ///
    /// # Panics
    ///
    /// Where that fails.
    pub fn remove(mut self) {
        let pid = self.process.id().to_string();
        let stopped = as_root("kill").args(["-TERM", &pid]).status().expect("the command `kill`");
        assert!(stopped.success(), "{stopped}");
        self.process.wait().expect("the end of the daemon");
        for mount in ["shmounts", "devlxd"] {
            // Where it is not mounted, that is what is wanted.
            let _ =
                as_root("umount").args(["-l"]).arg(self.folder.join(mount)).stderr(Stdio::null()).status();
        }
        let removed = as_root("rm").args(["-rf", "--one-file-system"]).arg(&self.folder).status();
        assert!(removed.expect("the command `rm`").success());
        match std::fs::remove_dir_all(self.configuration()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed.expect("the folder of `lxc`"),
        }
    }
}

/// Runs a test with a daemon of its own, which is removed however the test ends.
///
/// # Panics
///
/// With what the test failed with; and where LXD is not installed, or does not start or end.
pub async fn with_daemon<F>(body: impl FnOnce(Arc<Mutex<Daemon>>) -> F)
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let daemon = Arc::new(Mutex::new(Daemon::start().await));
    finally(body(Arc::clone(&daemon)), async move {
        let daemon = Arc::into_inner(daemon).expect("a test that has ended").into_inner();
        daemon.remove();
        Ok(())
    })
    .await;
}

/// Runs a test with two daemons that reach each other over HTTPS and have profiles with a disk, and the first one
/// an image with the alias `busybox`: with a client of each, and the paths of their sockets. They are removed
/// however the test ends.
///
/// # Panics
///
/// With what the test failed with; and where LXD is not installed, or does not start or end.
pub async fn with_two_daemons<F>(body: impl FnOnce(Client, Client, [String; 2]) -> F)
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let (one, other) = (Daemon::start().await, Daemon::start().await);
    for daemon in [&one, &other] {
        daemon.listen().await;
    }
    let (first, _) = one.with_image().await.expect("an image");
    let second = other.builder().build().expect("a client");
    let profile = ProfilePut { devices: root_disk(), ..Default::default() };
    second.update_profile("default", profile).await.expect("a profile");
    let to_stop = [first.clone(), second.clone()];
    let sockets = [one.socket(), other.socket()];
    finally(body(first, second, sockets), async move {
        let stopped = async {
            for lxd in to_stop {
                let running = match lxd.instances_recursion1().filter("status eq running").await {
                    // The test has killed it.
                    Err(Error::Transport { .. }) => continue,
                    running => running?,
                };
                for instance in running {
                    let (action, force) = (InstanceAction::Stop, true);
                    let stop = InstanceStatePut { action, force, timeout: 30, ..Default::default() };
                    lxd.update_instance_state(&instance.name, stop).await?;
                }
            }
            Ok(())
        };
        let stopped = stopped.await;
        one.remove();
        other.remove();
        stopped
    })
    .await;
}

/// Kills a daemon of a test's own, as a crash would.
///
/// # Panics
///
/// Where it cannot be killed.
pub async fn kill(lxd: &Client) {
    let server = lxd.server().await.expect("a living server");
    let pid = server.environment.unwrap_or_default().server_pid.to_string();
    let killed = as_root("kill").args(["-KILL", &pid]).status().expect("the command `kill`");
    assert!(killed.success(), "{killed}");
}

fn start(folder: &Path) -> Child {
    let log = std::fs::File::create(folder.join("daemon.log")).expect("a log");
    let group = Command::new("id").arg("-gn").output().expect("the command `id`").stdout;
    as_root("env")
        .arg(format!("LXD_DIR={}", folder.display()))
        .arg(format!("LXD_SOCKET={}", folder.join("unix.socket").display()))
        .args(["lxd", "--group", String::from_utf8_lossy(&group).trim()])
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("the log"))
        .stderr(log)
        .spawn()
        .expect("LXD; run the tests with `tests/with-lxd`")
}

fn as_root(program: &str) -> Command {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if is_root {
        return Command::new(program);
    }
    let mut sudo = Command::new("sudo");
    sudo.args(["-n", program]);
    sudo
}
