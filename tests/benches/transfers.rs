//! What it costs to move bytes between this machine and a container of a real LXD: time in all, processor
//! time of this process and memory. Run with
//!
//! ```text
//! tests/with-lxd cargo bench -p lxd-tests --bench transfers
//! ```

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use lxd_client::{Body, Error, FileEntry, InstanceFiles};
use lxd_tests::measure::{forget_peak, peak_memory, processor_time_of_all, show};
use lxd_tests::real::{Place, with_project};

const SIZE: u64 = 64 << 20;
const TIMES: usize = 8;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let folder = std::env::temp_dir().join(format!("lxd-transfers-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a folder");
    let local = folder.clone();
    runtime.block_on(with_project(|place| async move {
        place.running_container("c1").await?;
        several(&place, &local).await?;
        large(&place.lxd.files("c1")).await
    }));
    std::fs::remove_dir_all(&folder).expect("the folder");
}

/// A file of 64 MiB there and back some times, by this client, by the least that can do it, and by `lxc`, in
/// turns.
async fn several(place: &Place, folder: &Path) -> Result<(), Error> {
    let files = place.lxd.files("c1");
    let (local, back) = (folder.join("local"), folder.join("back"));
    let bytes: Vec<u8> = (0..SIZE as u32).map(|each| (each ^ (each >> 11)) as u8).collect();
    std::fs::write(&local, &bytes).expect("a file");
    let url = format!("/1.0/instances/c1/files?path=/root/large&project={}", place.name);
    let mut measured: [Measured; 6] = Default::default();
    for _ in 0..TIMES {
        let [push, pull, floor_push, floor_pull, lxc_push, lxc_pull] = &mut measured;
        push.of(files.push(&local, "/root/large").into_future()).await?;
        pull.of(files.pull("/root/large", &back).into_future()).await?;
        assert!(std::fs::read(&back).expect("a file") == bytes);
        floor_push.of(async { floor::push(&local, &url) }).await.expect("the floor");
        floor_pull.of(async { floor::pull(&url, &back) }).await.expect("the floor");
        assert!(std::fs::read(&back).expect("a file") == bytes);
        let inside = Path::new("c1/root/large");
        lxc_push.of(async { lxc(&place.name, "push", &local, inside) }).await;
        lxc_pull.of(async { lxc(&place.name, "pull", inside, &back) }).await;
    }
    for (what, by) in ["client", "floor", "lxc"].iter().enumerate() {
        for (way, name) in ["push", "pull"].iter().enumerate() {
            measured[what * 2 + way].show(&format!("{name} of 64 MiB by {by}"));
        }
    }
    Ok(())
}

/// What something took, each time that it was done.
#[derive(Default)]
struct Measured {
    wall: Vec<f64>,
    cpu: f64,
}

impl Measured {
    async fn of<T>(&mut self, work: impl Future<Output = T>) -> T {
        let (begun, used) = (Instant::now(), processor_time_of_all());
        let done = work.await;
        self.wall.push(begun.elapsed().as_secs_f64() * 1000.0);
        self.cpu += processor_time_of_all().iter().sum::<f64>() - used.iter().sum::<f64>();
        done
    }

    fn show(&self, what: &str) {
        show(&format!("{what}, time in all"), self.wall.clone(), "ms");
        println!("{:<64} mean   {:>9.1} ms", format!("{what}, CPU"), self.cpu / self.wall.len() as f64);
    }
}

/// The same by the command-line client, of which the whole process counts.
fn lxc(project: &str, command: &str, from: &Path, to: &Path) {
    let done =
        Command::new("lxc").args(["--project", project, "file", command, "-q"]).args([from, to]).status();
    assert!(done.expect("the command `lxc`").success());
}

/// The least that does it: a socket, a file and a buffer.
mod floor {
    use std::fs::File;
    use std::io::{self, BufRead, BufReader, Read, Write};
    use std::os::unix::net::UnixStream;
    use std::path::Path;

    use lxd_tests::real::socket;

    pub(super) fn push(local: &Path, url: &str) -> io::Result<()> {
        let mut file = File::open(local)?;
        let length = file.metadata()?.len();
        let mut server = UnixStream::connect(socket())?;
        write!(server, "POST {url} HTTP/1.1\r\nhost: lxd\r\nX-LXD-type: file\r\n")?;
        write!(server, "content-length: {length}\r\n\r\n")?;
        through(&mut file, &mut server)?;
        head(&mut BufReader::new(server)).map(drop)
    }

    pub(super) fn pull(url: &str, local: &Path) -> io::Result<()> {
        let mut server = UnixStream::connect(socket())?;
        write!(server, "GET {url} HTTP/1.1\r\nhost: lxd\r\nconnection: close\r\n\r\n")?;
        let mut server = BufReader::new(server);
        head(&mut server)?;
        through(&mut server, &mut File::create(local)?)
    }

    /// Reads the head of an answer.
    fn head(server: &mut impl BufRead) -> io::Result<()> {
        let mut line = String::new();
        server.read_line(&mut line)?;
        assert!(line.starts_with("HTTP/1.1 200"), "{line}");
        while line != "\r\n" {
            line.clear();
            server.read_line(&mut line)?;
        }
        Ok(())
    }

    fn through(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
        let mut buffer = vec![0; 256 << 10];
        loop {
            match from.read(&mut buffer)? {
                0 => return Ok(()),
                count => to.write_all(&buffer[..count])?,
            }
        }
    }
}

/// A gibibyte there and back, none of which is kept here.
async fn large(files: &InstanceFiles) -> Result<(), Error> {
    let before = forget_peak();
    let endless = tokio::io::repeat(7);
    files.write("/root/large", Body::reader(endless).length(1 << 30)).await?;
    let sent = peak_memory() - before;
    let before = forget_peak();
    let FileEntry::File { content, .. } = files.read("/root/large").await? else { panic!("no file") };
    let path = std::env::temp_dir().join(format!("lxd-large-{}", std::process::id()));
    content.save(&path).await?;
    assert_eq!(std::fs::metadata(&path).expect("a file").len(), 1 << 30);
    std::fs::remove_file(&path).expect("a file");
    println!("{:<64} {:>9} KiB", "write of 1 GiB: memory beside that before", sent);
    println!("{:<64} {:>9} KiB", "read of 1 GiB: memory beside that before", peak_memory() - before);
    Ok(())
}
