//! The key that documents are signed with (Ed25519, RFC 8032), in a file of its owner alone.

use crate::key;
use ed25519_dalek::SigningKey;
use rustix::fs::FlockOperation;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

const MARK: &str = "outpost-incidents-secret-1 ";

/// Writes a fresh secret key; gives its public key.
pub fn generate(path: &Path) -> Result<String, String> {
    let secret = key::random()?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| {
        writeln!(file, "{MARK}{}", key::hex(&secret))?;
        file.sync_all()
    });
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => format!(
            "{0} is there and is not overwritten: agents trust only the key they have. Give another --key, or move {0} away",
            path.display()
        ),
        _ => format!("{} cannot be written: {error}. Give another --key", path.display()),
    })?;
    Ok(public_of(&secret))
}

/// The public key of a secret one, as it stands in configurations.
pub fn public_of(secret: &[u8; 32]) -> String {
    key::hex(SigningKey::from_bytes(secret).verifying_key().as_bytes())
}

/// Reads a secret key; one that others can read is refused. As long as the file is open nobody else writes a document that
/// is signed with it: of two at the same time, one would be lost.
pub fn read_and_lock(path: &Path) -> Result<([u8; 32], File), String> {
    let name = path.display();
    let cannot = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            format!("there is no key {name}: make one with outpost incident keygen --key {name}")
        }
        _ => format!("the key {name} cannot be read: {error}"),
    };
    let mut file = File::open(path).map_err(cannot)?;
    let mode = file.metadata().map_err(cannot)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(format!(
            "the key {name} can be read by others (mode {:03o}): chmod 600 {name}, and make a new key if others were there",
            mode & 0o777
        ));
    }
    let mut text = String::new();
    Read::by_ref(&mut file).take(1024).read_to_string(&mut text).map_err(cannot)?;
    let digits = text.trim_end().strip_prefix(MARK).unwrap_or_default();
    let secret = outpost::incidents::verify::unhex(digits.as_bytes())
        .ok_or_else(|| format!("{name} is no key of outpost incident keygen"))?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| format!("another outpost incident with the key {name} is at work: try again"))?;
    Ok((secret, file))
}
