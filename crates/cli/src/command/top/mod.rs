//! `top`: what a Coordinator is busy with, as its monitoring address tells.

mod scrape;
mod view;

use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use rustix::termios::tcgetwinsize;
use serde_json::json;

use crate::output::Output;
use scrape::Scrape;
use view::{Room, View};

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

/// Prints what goes on. On a terminal, a Coordinator that cannot be asked for a while, as while it is restarted, is
/// asked again.
pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let interval = Duration::from_secs_f64(arguments.interval);
    let before = Scrape::of(&arguments.address)?;
    if arguments.once || !stdout().is_terminal() {
        std::thread::sleep(interval);
        let view = View::between(&before, &Scrape::of(&arguments.address)?);
        return print(&view, None, output);
    }
    let mut before = Some(before);
    loop {
        std::thread::sleep(interval);
        let now = Scrape::of(&arguments.address);
        // To the upper left corner, and what was there is gone.
        let cleared = stdout().write_all(b"\x1b[H\x1b[2J");
        cleared.context("cannot write to standard output")?;
        match (&before, &now) {
            (Some(before), Ok(now)) => print(&View::between(before, now), room(), output)?,
            (None, Ok(_)) => {}
            (_, Err(error)) => {
                let text = format!("{error:#}; asking again");
                output.result(&text, &json!({"error": text}))?;
            }
        }
        before = now.ok();
    }
}

/// In a table of its own, whether `--format` asks for one or not.
fn print(view: &View, room: Option<Room>, output: &Output) -> Result<()> {
    if output.is_json() {
        output.result("", &view.json())
    } else {
        output.bytes(view.text(room).as_bytes())
    }
}

/// The size of the terminal, without the line that the cursor is left in.
fn room() -> Option<Room> {
    let size = tcgetwinsize(stdout()).ok()?;
    let rows = usize::from(size.ws_row).checked_sub(1)?;
    let columns = usize::from(size.ws_col);
    (rows > 0 && columns > 0).then_some(Room { rows, columns })
}
