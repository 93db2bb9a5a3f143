//! The image under test.

use std::path::{Path, PathBuf};

/// Its path: OUTPOST_IMAGE, else `dist/outpost.elf`.
pub fn image() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/outpost.elf");
    let path = std::env::var_os("OUTPOST_IMAGE").map_or(built, PathBuf::from);
    assert!(path.exists(), "{} is not there. Build it: make image", path.display());
    path
}
