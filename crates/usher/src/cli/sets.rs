//! Every `--set` counts, in its order, whether it stands before or behind the command.

use std::ffi::OsString;

use clap::Parser as _;

use super::Cli;

impl Cli {
    /// The command line of this process.
    pub(crate) fn of_process() -> Self {
        Self::parse_from(gathered(std::env::args_os()))
    }
}

/// Puts each `--set` in front of the command: of an option that is known everywhere clap lets those behind the command
/// take the place of those before it.
fn gathered(mut args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let (mut sets, mut others) = (Vec::new(), Vec::new());
    let name = args.next();
    while let Some(arg) = args.next() {
        if arg == "--" {
            others.push(arg);
            break;
        }
        if arg == "--set" {
            // Without a value it stays where it is, and clap says so.
            match args.next() {
                Some(value) => sets.extend([arg, value]),
                None => others.push(arg),
            }
        } else if arg.to_str().is_some_and(|arg| arg.starts_with("--set=")) {
            sets.push(arg);
        } else {
            others.push(arg);
        }
    }
    others.extend(args);
    name.into_iter().chain(sets).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_counts_before_and_behind_the_command() {
        let sets = |line: &str| {
            let args = line.split(' ').map(OsString::from);
            let cli = Cli::try_parse_from(gathered(args)).map_err(|error| error.kind())?;
            Ok(cli.set.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>())
        };
        for (line, wanted) in [
            ("usher --set a=1 ingest --set b=2", vec!["a=1", "b=2"]),
            ("usher ingest --set=a=1 --set b=2", vec!["a=1", "b=2"]),
            (
                "usher --set a=1 --set a=2 config --set b=--set show --set=a=3",
                vec!["a=1", "a=2", "b=--set", "a=3"],
            ),
            ("usher run", vec![]),
            ("usher --set a=1", vec!["a=1"]),
        ] {
            assert_eq!(sets(line), Ok(wanted.into_iter().map(str::to_owned).collect()), "{line}");
        }
        assert_eq!(sets("usher run --set"), Err(clap::error::ErrorKind::InvalidValue));
        assert_eq!(sets("usher run --set a"), Err(clap::error::ErrorKind::ValueValidation));
        // What stands behind -- is no option.
        let line = ["usher", "run", "--", "--set", "a=1"].map(OsString::from);
        assert_eq!(gathered(line.clone().into_iter()), line);
    }
}
