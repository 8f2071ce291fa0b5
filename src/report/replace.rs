//! Files that appear whole or not at all.

use std::io::Write;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::{Error, Result};

/// Writes `path`, creating its directory. Until the new file is complete and on disk, an earlier one stays.
///
/// # Errors
/// [`Error::Io`] if the directory or the file cannot be written.
pub fn replace(path: &Path, content: &[u8]) -> Result<()> {
    temporary(path, content)?.persist(path).map_err(|e| Error::io("write", path, &e.error))?;
    Ok(())
}

/// Tries to write beside `path`, so that a program fails before its work and not after.
///
/// # Errors
/// [`Error::Io`] if that is not possible, or if `path` is not a file that can be replaced.
pub fn check_replaceable(path: &Path) -> Result<()> {
    temporary(path, &[0; 4096])?;
    if path.is_dir() {
        return Err(Error::io("write", path, &std::io::ErrorKind::IsADirectory.into()));
    }
    Ok(())
}

/// A file with `content` beside `path` that is deleted unless persisted.
fn temporary(path: &Path, content: &[u8]) -> Result<NamedTempFile> {
    let dir = path.parent().filter(|dir| *dir != Path::new("")).unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir).map_err(|e| Error::io("create", dir, &e))?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".minoise-").suffix(".tmp");
    // The umask applies, as to any other file; without this only the owner could read it.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let write = || {
        let mut file = builder.tempfile_in(dir)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    write().map_err(|e| Error::io("write in", dir, &e))
}
