//! `distkv man`: writes the manual pages.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;

/// Write the manual pages
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Write one page for each command into this directory; without it, the page of `distkv` itself is printed
    dir: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let command = super::Cli::command();
    match &args.dir {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            io::stdout().lock().write_all(&page)?;
        }
        Some(dir) => {
            let what = || format!("can't write the pages into {}", dir.display());
            std::fs::create_dir_all(dir).with_context(what)?;
            clap_mangen::generate_to(command, dir).with_context(what)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
