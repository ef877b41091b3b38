//! Every relative link in a Markdown file leads to a file, and to a heading where it names one.

use super::Finding;
use super::tree::Tree;

/// Relative links that lead nowhere.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with(".md")) {
        for (line, target) in links(&file.text) {
            if let Some(message) = fault(tree, &file.path, &target) {
                findings.push(Finding {
                    path: file.path.clone(),
                    line,
                    rule: "links",
                    message,
                });
            }
        }
    }
    findings
}

/// What is wrong with a link of the file `from`.
fn fault(tree: &Tree, from: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target
        .split_once('#')
        .map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let Some(path) = resolve(from, path) else {
        return Some(format!("link `{target}` leads out of the repository"));
    };
    if !path.is_empty() && !tree.paths.contains(&path) {
        return Some(format!("link `{target}` leads to `{path}`, which does not exist"));
    }
    let anchor = anchor?;
    let linked = tree.files.iter().find(|file| file.path == path)?;
    let known = !path.ends_with(".md") || headings(&linked.text).iter().any(|heading| heading == anchor);
    (!known).then(|| format!("link `{target}` names a heading that `{path}` does not have"))
}

/// The path a link means, below the repository; `None` when it climbs out.
fn resolve(from: &str, link: &str) -> Option<String> {
    if link.is_empty() {
        return Some(from.to_owned());
    }
    let mut parts: Vec<&str> = Vec::new();
    let relative = link.strip_prefix('/');
    if relative.is_none() {
        parts.extend(from.split('/'));
        parts.pop();
    }
    for part in relative.unwrap_or(link).split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Line and target of every inline link and reference definition outside code.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in prose(text) {
        let trimmed = line.trim_start();
        if let Some((label, target)) = trimmed.strip_prefix('[').and_then(|rest| rest.split_once("]:"))
            && !label.contains(']')
            && let Some(target) = target.split_whitespace().next()
        {
            found.push((index, target.to_owned()));
            continue;
        }
        let mut rest = line.as_str();
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, after)) = after.split_once(')') else {
                break;
            };
            if let Some(target) = target.split_whitespace().next() {
                found.push((index, target.trim_matches(['<', '>']).to_owned()));
            }
            rest = after;
        }
    }
    found
}

/// The lines outside fenced code, numbered from 1, with the content of inline code blanked.
fn prose(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let trimmed = line.trim_start();
        if trimmed.starts_with("```") || trimmed.starts_with("~~~") {
            fenced = !fenced;
            return None;
        }
        (!fenced).then(|| {
            let outside = line.split('`').enumerate();
            let kept: Vec<&str> = outside
                .map(|(at, part)| if at % 2 == 0 { part } else { "" })
                .collect();
            (index + 1, kept.join("`"))
        })
    })
}

/// Anchors of the headings, as the usual renderers make them: lower case, blanks to dashes, other signs dropped.
fn headings(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced || !line.starts_with('#') {
            continue;
        }
        let title = line.trim_start_matches('#').trim().to_lowercase();
        found.push(
            title
                .chars()
                .filter(|one| one.is_alphanumeric() || matches!(one, ' ' | '-' | '_'))
                .map(|one| if one == ' ' { '-' } else { one })
                .collect(),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(readme: &str) -> Vec<String> {
        let tree = Tree::of(&[
            ("docs/guide.md", readme),
            ("docs/glossary.md", "# Glossary\n\n## Key generation\n"),
            ("README.md", ""),
        ]);
        check(&tree).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn planted_dead_links_are_found() {
        for text in [
            "[a](missing.md)",
            "two [a](glossary.md) and [b](../MISSING.md) on a line",
            "[a](glossary.md#no-such-heading)",
            "[a](#nowhere)",
            "[a]: missing.md",
            "[a](../../outside.md)",
            "![picture](picture.png \"title\")",
        ] {
            assert_eq!(messages(text).len(), 1, "{text}");
        }
        assert!(messages("\n\n[a](missing.md)")[0].starts_with("docs/guide.md:3:"));
    }

    #[test]
    fn live_links_and_code_pass() {
        for text in [
            "[a](glossary.md) [b](../README.md) [c](/docs/glossary.md) [folder](../docs/)",
            "[a](glossary.md#key-generation)",
            "# Here it is\n[a](#here-it-is)",
            "[a](https://example.com/missing.md)",
            "`[a](missing.md)`",
            "```\n[a](missing.md)\n```",
            "[a]: glossary.md \"Glossary\"",
        ] {
            assert_eq!(messages(text), Vec::<String>::new(), "{text}");
        }
    }
}
