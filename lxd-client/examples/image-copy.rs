//! Copies an image to another server, and shows how far that is.
//!
//! ```text
//! cargo run -p lxd-client --example image-copy -- lab attic busybox
//! ```
//!
//! The first two arguments are remotes as `lxc remote list` shows them, the third is the alias or the fingerprint
//! of an image on the first of them. The image goes through this program, which alone has to reach both; with
//! `--pull` or `--push` behind them, the servers reach each other.

use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use lxd_client::{Client, CopyMode, Error};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let (remotes, mode) = match arguments[..] {
        [source, target, image] => ([source, target, image], CopyMode::Relay),
        [source, target, image, "--pull"] => ([source, target, image], CopyMode::Pull),
        [source, target, image, "--push"] => ([source, target, image], CopyMode::Push),
        _ => {
            eprintln!("image-copy SOURCE TARGET IMAGE [--pull | --push]");
            return ExitCode::from(2);
        }
    };
    match copy(remotes, mode).await {
        Ok(fingerprint) => {
            println!("{fingerprint}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("image-copy: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn copy([source, target, image]: [&str; 3], mode: CopyMode) -> Result<String, Error> {
    let (source, target) = (Client::from_remote(source)?, Client::from_remote(target)?);
    let fingerprint = match source.image_alias(image).await {
        Ok(alias) => alias.target,
        Err(error) if error.is_not_found() => image.to_owned(),
        Err(error) => return Err(error),
    };
    let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}");
    let bar = ProgressBar::no_length();
    if let Ok(style) = style {
        bar.set_style(style);
    }
    let shown = bar.clone();
    let copied = source.copy_image(&fingerprint, &target).mode(mode).progress(move |done| {
        if let Some(total) = done.total {
            shown.set_length(total);
        }
        shown.set_position(done.bytes);
    });
    let copied = copied.await;
    match &copied {
        Ok(_) => bar.finish(),
        Err(_) => bar.abandon(),
    }
    copied
}
