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
    let dir = directory(path);
    std::fs::create_dir_all(dir).map_err(|e| Error::io("create", dir, &e))?;
    let write = || {
        let mut file = temporary(dir)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    let file: NamedTempFile = write().map_err(|e| Error::io("write in", dir, &e))?;
    file.persist(path).map_err(|e| Error::io("write", path, &e.error))?;
    sync(dir)
}

/// Tries to write beside `path`, so that a program fails before its work and not after. Creates nothing that stays.
///
/// # Errors
/// [`Error::Io`] if that is not possible, or if `path` is not a file that can be replaced.
pub fn check_replaceable(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Err(Error::io("write", path, &std::io::ErrorKind::IsADirectory.into()));
    }
    // The directories that are missing are created when there is something to keep.
    let mut dir = directory(path);
    while let (false, Some(parent)) = (dir.exists(), dir.parent()) {
        dir = if parent == Path::new("") { Path::new(".") } else { parent };
    }
    let try_writing = || temporary(dir)?.as_file_mut().write_all(&[0; 4096]);
    try_writing().map_err(|e| Error::io("write in", dir, &e))
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|dir| *dir != Path::new("")).unwrap_or(Path::new("."))
}

/// A file that is deleted unless persisted.
fn temporary(dir: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".minoise-").suffix(".tmp");
    // The umask applies, as to any other file; without this only the owner could read it.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(dir)
}

/// A renamed file stays renamed after a crash once its directory is on disk.
fn sync(dir: &Path) -> Result<()> {
    if cfg!(unix) {
        let synced = std::fs::File::open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(|e| Error::io("write", dir, &e))?;
    }
    Ok(())
}
