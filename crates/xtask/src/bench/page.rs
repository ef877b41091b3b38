//! `docs/performance.md`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Measure;
use super::curves::Curve;
use super::svg;

/// A measure in one line, for the terminal.
pub fn line(measure: &Measure) -> String {
    let verdict = if measure.met { "met" } else { "MISSED" };
    let Measure {
        number,
        what,
        target,
        reached,
        ..
    } = measure;
    format!("{number:>4} {verdict:>6}  {reached:>12} ({target})  {what}")
}

/// Writes page, pictures and raw numbers.
pub fn write(root: &Path, machine: &str, measures: &[Measure], curves: &[Curve]) -> anyhow::Result<()> {
    let folder = root.join("docs/performance");
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let date = OffsetDateTime::now_utc().format(&Rfc3339)?;
    let date = date.split('T').next().unwrap_or_default();
    let mut page = String::from(include_str!("page.md.in"));
    page = page.replace("{machine}", machine).replace("{date}", date);
    let mut table = String::new();
    for measure in measures {
        let verdict = if measure.met { "yes" } else { "**no**" };
        writeln!(
            table,
            "| {} | {} | {} | {} | {verdict} |",
            measure.number, measure.what, measure.target, measure.reached
        )?;
    }
    let mut pictures = String::new();
    for curve in curves {
        std::fs::write(folder.join(format!("{}.svg", curve.name)), svg::draw(curve))?;
        writeln!(
            pictures,
            "![CPU of an activation by number of {}](performance/{}.svg)\n",
            curve.sizes, curve.name
        )?;
    }
    page = page
        .replace("{measures}\n", &table)
        .replace("{curves}\n", &pictures);
    // What was found about targets that are missed is written by hand, and stays.
    let path = root.join("docs/performance.md");
    if let Ok(before) = std::fs::read_to_string(&path)
        && let (Some(kept), Some((head, _))) = (between(&before), page.split_once(BEGIN))
    {
        page = format!("{head}{BEGIN}{kept}{END}\n");
    }
    std::fs::write(&path, page)?;
    let raw: Vec<Value> = measures.iter().map(document).collect();
    let points: Vec<Value> = curves
        .iter()
        .map(|curve| json!({"name": curve.name, "points": curve.points}))
        .collect();
    let document = json!({"date": date, "machine": machine, "measures": raw, "curves": points});
    std::fs::write(
        folder.join("runs.json"),
        serde_json::to_string_pretty(&document)? + "\n",
    )?;
    println!("\nwritten: docs/performance.md and docs/performance/");
    Ok(())
}

/// A measure for programs.
pub fn document(measure: &Measure) -> Value {
    json!({
        "number": measure.number, "what": measure.what, "target": measure.target,
        "reached": measure.reached, "met": measure.met, "raw": measure.raw,
    })
}

const BEGIN: &str = "<!-- by hand -->";
const END: &str = "<!-- end -->";

fn between(page: &str) -> Option<&str> {
    page.split_once(BEGIN)?.1.split_once(END).map(|(kept, _)| kept)
}
