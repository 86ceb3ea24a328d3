//! Folders for files of tests, which go when the test has ended, in one way or another, and the hashes of files.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder of a test, which is removed when this is dropped.
#[derive(Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    /// Makes a folder that nobody else has.
    ///
    /// # Panics
    ///
    /// Where that fails.
    #[allow(clippy::new_without_default, reason = "it is made on the disk")]
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("lxd-tests-files-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).expect("a folder");
        Self(path)
    }

    /// The names and contents of the files in it.
    ///
    /// # Panics
    ///
    /// Where they cannot be read.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let entries = std::fs::read_dir(&self.0).expect("the folder").map(|entry| entry.expect("an entry"));
        let mut files: Vec<_> = entries
            .map(|entry| {
                let name = entry.file_name().into_string().expect("a name");
                (name, std::fs::read(entry.path()).expect("a file"))
            })
            .collect();
        files.sort();
        files
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let removed = std::fs::remove_dir_all(&self.0);
        // To panic while a test does would hide why.
        assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
    }
}

/// What `sha256sum` says of these files, one after the other.
///
/// # Panics
///
/// Where there is no shell.
pub fn sha256(paths: &[PathBuf]) -> String {
    let script = ["-c", "cat \"$@\" | sha256sum", "sh"];
    let output = Command::new("sh").args(script).args(paths).output().expect("a shell");
    String::from_utf8_lossy(&output.stdout).chars().take(64).collect()
}
