//! Signatures in the form of minisign: made by the program, checked here.
//!
//! Secret keys are read by nobody but minisign itself.

use minisign_verify::{PublicKey, Signature};
use std::path::Path;
use std::process::{Command, Stdio};

/// Signs the file; its signature stands beside it, with this comment, which it covers.
pub fn sign(key: &Path, file: &Path, comment: &str) -> Result<(), String> {
    let mut command = Command::new("minisign");
    command.arg("-S").arg("-s").arg(key).arg("-m").arg(file).args(["-t", comment]);
    // It asks for the password of the key on the terminal.
    let status = command
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("minisign could not be started ({error}). Install it: apt-get install minisign"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("minisign did not sign with {}; its message above says why", key.display())),
    }
}

/// Checks the signature of `signed` by a public key, given as 56 characters or as the file that holds it; returns the
/// comment that the signature covers.
pub fn verify(key: &str, signed: &[u8], signature: &str) -> Result<String, String> {
    let key = public(key)?;
    let signature = Signature::decode(signature).map_err(|error| format!("the signature cannot be read: {error}"))?;
    key.verify(signed, &signature, false)
        .map_err(|error| format!("the signature is not one of this key for these bytes: {error}"))?;
    Ok(signature.trusted_comment().to_owned())
}

fn public(key: &str) -> Result<PublicKey, String> {
    if let Ok(key) = PublicKey::from_base64(key) {
        return Ok(key);
    }
    let text = std::fs::read_to_string(key).map_err(|error| {
        format!("the key {key:?} is neither the 56 characters of a public key of minisign nor a file with one: {error}")
    })?;
    PublicKey::decode(&text).map_err(|error| format!("{key} has no public key of minisign in it: {error}"))
}
