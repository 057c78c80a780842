//! `usher config`: the reference, the faults, what is in force.

use crate::{
    cli::{Cli, Config as Command},
    config::{Config, DEFAULT_FILE},
    output,
};

pub(super) fn execute(
    command: &Command,
    cli: &Cli,
    load: impl Fn() -> anyhow::Result<Config>,
) -> anyhow::Result<()> {
    match command {
        Command::Default if cli.json => output::object(true, &toml::from_str(DEFAULT_FILE)?),
        Command::Default => output::line(DEFAULT_FILE.trim_end()),
        Command::Check => {
            load()?;
            if cli.json {
                output::object(true, &serde_json::json!({"ok": true}))
            } else {
                output::line("the configuration is good")
            }
        }
        Command::Show => {
            let config = load()?;
            if cli.json {
                return output::object(true, &config.show_json());
            }
            output::line(toml::to_string_pretty(&config.show())?.trim_end())
        }
    }
}
