//! What several rules need to know about Rust syntax, and the rule that every Rust file parses (a file that
//! does not would escape every other rule).

use syn::visit::Visit;

use super::Finding;
use super::tree::{Tree, is_test_module_name};

/// Every Rust file parses.
pub fn check(tree: &Tree) -> Vec<Finding> {
    tree.files
        .iter()
        .filter_map(|file| match &file.syntax {
            Some(Err((line, message))) => Some(Finding {
                path: file.path.clone(),
                line: *line,
                rule: "syntax",
                message: format!("cannot be parsed as Rust: {message}"),
            }),
            _ => None,
        })
        .collect()
}

/// Whether an item exists in test builds only, by its attributes (`#[test]`, `#[tokio::test]`, `#[cfg(test)]`,
/// `#[cfg(all(test, …))]`) or, for a module, by its name.
pub fn is_test_item(item: &syn::Item) -> bool {
    if let syn::Item::Mod(module) = item
        && is_test_module_name(&module.ident.to_string())
    {
        return true;
    }
    is_test_only(item_attributes(item))
}

/// Whether attributes restrict what they stand on to test builds.
pub fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        if path.segments.last().is_some_and(|last| last.ident == "test") {
            return true;
        }
        path.is_ident("cfg")
            && attribute
                .parse_args::<syn::Meta>()
                .is_ok_and(|condition| requires_test(&condition))
    })
}

/// Whether a `cfg` condition can only hold in test builds.
fn requires_test(condition: &syn::Meta) -> bool {
    match condition {
        syn::Meta::Path(path) => path.is_ident("test"),
        syn::Meta::List(list) if list.path.is_ident("all") => list
            .parse_args_with(syn::punctuated::Punctuated::<syn::Meta, syn::Token![,]>::parse_terminated)
            .is_ok_and(|parts| parts.iter().any(requires_test)),
        _ => false,
    }
}

fn item_attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::ExternCrate(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::ForeignMod(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::TraitAlias(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Union(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// A path as written or resolved: its segments.
pub type Segments = Vec<String>;

/// Segments of a path in the syntax tree, generic arguments left out.
pub fn segments(path: &syn::Path) -> Segments {
    path.segments
        .iter()
        .map(|segment| segment.ident.to_string())
        .collect()
}

/// One name brought in by a `use`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The full path; of a glob, the path before `*`.
    pub path: Segments,
    /// The name it has in this file; `None` for a glob and for `as _`.
    pub name: Option<String>,
    /// Whether it is a glob.
    pub glob: bool,
    /// Line of the last segment.
    pub line: usize,
}

/// Every import of a `use` tree.
pub fn imports(tree: &syn::UseTree) -> Vec<Import> {
    let mut found = Vec::new();
    collect_imports(tree, &mut Vec::new(), &mut found);
    found
}

fn collect_imports(tree: &syn::UseTree, above: &mut Segments, found: &mut Vec<Import>) {
    match tree {
        syn::UseTree::Path(path) => {
            above.push(path.ident.to_string());
            collect_imports(&path.tree, above, found);
            above.pop();
        }
        syn::UseTree::Name(name) => found.push(import(above, &name.ident, Some(&name.ident))),
        syn::UseTree::Rename(rename) => {
            let name = (rename.rename != "_").then_some(&rename.rename);
            found.push(import(above, &rename.ident, name));
        }
        syn::UseTree::Glob(glob) => found.push(Import {
            path: above.clone(),
            name: None,
            glob: true,
            line: glob.star_token.spans.first().map_or(0, |span| span.start().line),
        }),
        syn::UseTree::Group(group) => {
            for tree in &group.items {
                collect_imports(tree, above, found);
            }
        }
    }
}

/// `use a::b::{self}` names `b` itself.
fn import(above: &Segments, ident: &syn::Ident, name: Option<&syn::Ident>) -> Import {
    let mut path = above.clone();
    let itself = ident == "self";
    if !itself {
        path.push(ident.to_string());
    }
    let name = match name {
        Some(name) if itself && name == "self" => path.last().cloned(),
        name => name.map(syn::Ident::to_string),
    };
    Import {
        path,
        name,
        glob: false,
        line: ident.span().start().line,
    }
}

/// Which full path a name of this file stands for.
#[derive(Debug, Default)]
pub struct Names(std::collections::HashMap<String, Segments>);

impl Names {
    /// All names imported in a file outside items for tests, whatever block they are in.
    pub fn of(file: &syn::File) -> Self {
        let mut names = Self::default();
        names.visit_file(file);
        names
    }

    /// The path with its first segment replaced by what it was imported as.
    pub fn resolve(&self, path: &[String]) -> Segments {
        let Some((first, rest)) = path.split_first() else {
            return Vec::new();
        };
        match self.0.get(first) {
            Some(full) => full.iter().chain(rest).cloned().collect(),
            None => path.to_vec(),
        }
    }
}

impl<'tree> Visit<'tree> for Names {
    fn visit_item(&mut self, item: &'tree syn::Item) {
        if !is_test_item(item) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'tree syn::ItemUse) {
        for import in imports(&item.tree) {
            if let Some(name) = import.name {
                self.0.insert(name, import.path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(text: &str) -> syn::Item {
        syn::parse_str(text).unwrap()
    }

    #[test]
    fn a_file_that_does_not_parse_is_found() {
        let tree = Tree::of(&[
            ("crates/core/src/lib.rs", "\nfn broken( {\n"),
            ("notes.md", "fn broken( {"),
        ]);
        let found = check(&tree);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].path.as_str(), found[0].rule),
            ("crates/core/src/lib.rs", "syntax")
        );
    }

    #[test]
    fn test_items_are_told_from_others() {
        for text in [
            "#[cfg(test)] mod anything {}",
            "#[cfg(all(test, unix))] fn f() {}",
            "#[test] fn f() {}",
            "#[tokio::test] async fn f() {}",
            "pub mod testing {}",
        ] {
            assert!(is_test_item(&item(text)), "{text}");
        }
        for text in [
            "mod seal {}",
            "#[cfg(not(test))] fn f() {}",
            "#[cfg(any(test, unix))] fn f() {}",
            "fn test() {}",
        ] {
            assert!(!is_test_item(&item(text)), "{text}");
        }
    }

    #[test]
    fn names_resolve_through_groups_renames_and_self() {
        let file = syn::parse_file(
            "use std::{env, fs::{self, File}, time::SystemTime as Clock};\nfn f() { use std::net::TcpStream; }",
        )
        .unwrap();
        let names = Names::of(&file);
        let resolve = |path: &str| {
            let path: Segments = path.split("::").map(str::to_owned).collect();
            names.resolve(&path).join("::")
        };
        assert_eq!(resolve("env::var"), "std::env::var");
        assert_eq!(resolve("fs::read"), "std::fs::read");
        assert_eq!(resolve("File::open"), "std::fs::File::open");
        assert_eq!(resolve("Clock::now"), "std::time::SystemTime::now");
        assert_eq!(resolve("TcpStream::connect"), "std::net::TcpStream::connect");
        assert_eq!(resolve("other::thing"), "other::thing");
    }
}
