//! `usher completions`: what a shell needs to complete the command line.

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

use crate::{cli::Cli, output};

pub(super) fn execute(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "usher", &mut script);
    output::line(String::from_utf8(script)?.trim_end())
}
