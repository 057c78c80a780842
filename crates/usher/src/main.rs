//! usher: self-hosted, event-driven customer onboardings. This crate is the only `main()`: it reads the configuration,
//! owns the clock, composes the parts and ends them in order.

mod cli;
mod commands;
mod compose;
mod config;
mod cron;
mod embedded;
mod housekeeping;
mod messages;
mod metrics;
mod nats;
mod output;
mod simulate;
mod store;
mod telemetry;

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::Cli::of_process();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("usher: no runtime: {error}");
            return ExitCode::from(1);
        }
    };
    match runtime.block_on(commands::execute(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads the output has seen enough: `usher onboarding list | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // `{:#}` writes the causes behind the error, on one line.
            eprintln!("usher: {error:#}");
            ExitCode::from(1)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
