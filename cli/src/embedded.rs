//! What a release of the command carries: the image it was released with, and the notices of others' work.
//!
//! A command that was built in a checkout carries nothing and builds what it needs there. `cli/build.rs` puts the files
//! in; `scripts/dist` says which.

/// The image, as `outpost image` builds it.
const IMAGE: &str = "outpost.elf";

/// The licence texts of everything in the command and the image.
const NOTICES: &str = "THIRD-PARTY.txt";

/// Names and contents of all files.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// A file by its name.
pub fn file(name: &str) -> Option<&'static [u8]> {
    FILES.iter().find(|(held, _)| *held == name).map(|(_, bytes)| *bytes)
}

/// The image.
pub fn image() -> Option<&'static [u8]> {
    file(IMAGE)
}

/// The licence texts.
pub fn notices() -> Option<&'static str> {
    file(NOTICES).and_then(|bytes| std::str::from_utf8(bytes).ok())
}
