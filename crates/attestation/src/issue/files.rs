//! Reading pseudo-files, which tell no size beforehand.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::IssueError;

/// The content of a file, at most `limit` bytes of it.
///
/// # Errors
/// [`IssueError::File`], or [`IssueError::TooLarge`] when there is more.
pub fn read_bounded(path: &Path, limit: usize) -> Result<Vec<u8>, IssueError> {
    let failed = |source| IssueError::File {
        path: path.to_owned(),
        doing: "read",
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mut content = Vec::new();
    file.take(limit as u64 + 1)
        .read_to_end(&mut content)
        .map_err(failed)?;
    if content.len() > limit {
        return Err(IssueError::TooLarge {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_largest_that_is_read() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        std::fs::write(&path, [7; 10]).unwrap();
        assert_eq!(read_bounded(&path, 10).unwrap(), [7; 10]);
        let refused = read_bounded(&path, 9).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("{} is too large: expected at most 9 bytes", path.display())
        );
    }

    #[test]
    fn a_file_that_never_ends_is_refused() {
        let refused = read_bounded(Path::new("/dev/zero"), 100).unwrap_err();
        assert!(matches!(refused, IssueError::TooLarge { .. }), "{refused}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("absent");
        let message = read_bounded(&path, 9).unwrap_err().to_string();
        assert!(
            message.starts_with(&format!("cannot read {}: ", path.display())),
            "{message}"
        );
    }
}
