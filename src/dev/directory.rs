//! The directory that the stand-ins write: for its owner alone.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::dev::DevError;
use crate::secret::Secret;

/// Makes a directory with mode 0700, or gives an existing one that mode.
///
/// # Errors
/// When the system refuses.
pub fn make(path: &Path) -> Result<(), DevError> {
    fs::create_dir_all(path).map_err(DevError::file(path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(DevError::file(path))
}

/// Replaces a file whole, with mode 0600: nobody ever sees half of it, or the old mode with the new content.
///
/// # Errors
/// When the system refuses.
pub fn write(path: &Path, content: &[u8]) -> Result<(), DevError> {
    let part = path.with_extension("part");
    let _ = fs::remove_file(&part);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part).map_err(DevError::file(&part))?;
    file.write_all(content).map_err(DevError::file(&part))?;
    fs::rename(&part, path).map_err(DevError::file(path))
}

/// Replaces the content of a projected volume as the kubelet does: a new directory, then one swap of the link `..data`.
///
/// # Errors
/// When the system refuses.
pub fn project(volume: &Path, generation: u64, name: &str, content: &[u8]) -> Result<(), DevError> {
    make(volume)?;
    let target = format!("..{generation}");
    let directory = volume.join(&target);
    make(&directory)?;
    write(&directory.join(name), content)?;
    let (data, new) = (volume.join("..data"), volume.join("..data_tmp"));
    let old = fs::read_link(&data).ok();
    let _ = fs::remove_file(&new);
    symlink(&target, &new).map_err(DevError::file(&new))?;
    fs::rename(&new, &data).map_err(DevError::file(&data))?;
    let link = volume.join(name);
    if fs::symlink_metadata(&link).is_err() {
        symlink(Path::new("..data").join(name), &link).map_err(DevError::file(&link))?;
    }
    match old.filter(|old| old.as_os_str() != target.as_str()) {
        Some(old) => fs::remove_dir_all(volume.join(old)).map_err(DevError::file(volume)),
        None => Ok(()),
    }
}

/// 32 random bytes as text.
///
/// # Errors
/// When the system gives no randomness.
pub fn random_text() -> Result<Secret<String>, DevError> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| DevError::Randomness)?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes)))
}
