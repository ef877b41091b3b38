//! What the Coordinator gave this marble, by name. Values stay where they are: some are secret.

/// Prints names and sizes of predefined variables and of the files in `HELLO_FILES`.
pub fn print_names() {
    let mut names: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("MARBLE_PREDEFINED_") || name.starts_with("HELLO_"))
        .collect();
    names.sort();
    for name in names {
        println!("received variable {name}");
    }
    let files = std::env::var("HELLO_FILES").unwrap_or_default();
    for path in files.split(',').filter(|path| !path.is_empty()) {
        match std::fs::metadata(path) {
            Ok(metadata) => println!("received file {path} ({} bytes)", metadata.len()),
            Err(error) => println!("missing file {path}: {error}"),
        }
    }
}
