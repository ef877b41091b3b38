//! `top`: what a Coordinator is busy with, as its monitoring address tells.

mod scrape;
mod view;

use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::output::Output;
use scrape::Scrape;
use view::View;

/// Arguments of `top`.
#[derive(Args)]
pub struct Arguments {
    /// Monitoring address of the Coordinator (its --prometheus-addr), host:port
    #[arg(value_name = "ADDR")]
    address: String,
    /// Print once instead of again and again; so it is when standard output is no terminal
    #[arg(long)]
    once: bool,
    /// Seconds between two looks, which rates are computed from
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = seconds)]
    interval: f64,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text
        .parse()
        .ok()
        .filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.ok_or_else(|| "expected 0.1 to 3600".to_owned())
}

/// Prints what goes on.
pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let interval = Duration::from_secs_f64(arguments.interval);
    let once = arguments.once || !stdout().is_terminal();
    let mut before = Scrape::of(&arguments.address)?;
    loop {
        std::thread::sleep(interval);
        let now = Scrape::of(&arguments.address)?;
        let view = View::between(&before, &now);
        if !once {
            // To the upper left corner, and what was there is gone.
            let cleared = stdout().write_all(b"\x1b[H\x1b[2J");
            cleared.context("cannot write to standard output")?;
        }
        output.result(&view.text(), &view.json())?;
        if once {
            return Ok(());
        }
        before = now;
    }
}
