//! `outpost release`: what a folder of finished files needs before it is given away.
//!
//! ```text
//! Cargo.lock, cargo tree, ELF with symbols ──▶ outpost-{image,loader,command}.cdx.json            what is inside
//! git, rustc, every file of the folder ──────▶ provenance.json                                    where it comes from
//! every file of the folder ──────────────────▶ SHA256SUMS ──minisign──▶ SHA256SUMS.minisig        that it is that
//! ```
//!
//! Nothing here has the time, a path or a name of the machine in it: the same files and the same checkout give the same
//! bytes, and with the same key the same signature.

pub mod provenance;
pub mod sbom;
pub mod signature;
pub mod source;
pub mod sums;

use crate::image;
use serde_json::json;
use sha2::{Digest, Sha256};
use source::Source;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The checksums of a release, in the form of sha256sum.
pub const SUMS: &str = "SHA256SUMS";

/// The signature of the checksums, in the form of minisign.
pub const SIGNATURE: &str = "SHA256SUMS.minisig";

/// What is linked into the image.
pub const IMAGE_SBOM: &str = "outpost-image.cdx.json";

/// What is linked into the command.
pub const COMMAND_SBOM: &str = "outpost-command.cdx.json";

/// What is linked into the loader of disks.
pub const LOADER_SBOM: &str = "outpost-loader.cdx.json";

/// Where the files come from, as an in-toto statement.
pub const PROVENANCE: &str = "provenance.json";

/// What a former run of this command wrote, in any order.
const OWN: [&str; 6] = [SUMS, SIGNATURE, IMAGE_SBOM, LOADER_SBOM, COMMAND_SBOM, PROVENANCE];

const EXAMPLES: &str = "\
Examples:
  outpost release dist                                 writes SHA256SUMS, SBOMs and provenance for the files in dist
  outpost release dist --sign-with ~/.minisign/minisign.key
  minisign -Vm dist/SHA256SUMS -p minisign.pub && cd dist && sha256sum -c SHA256SUMS

Run it in the checkout that the files were built from. The signature is made by the program minisign, which asks for the
key's password itself; a key is made by: minisign -G
Exit code: 0 everything is written, 1 something is not, and what is missing was said.";

/// What `outpost release` is told.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The folder with the finished files, the image among them as outpost.elf
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Sign SHA256SUMS with this secret key of minisign
    #[arg(long, value_name = "KEY")]
    sign_with: Option<PathBuf>,
    /// Who built the files, as a URI, for the provenance
    #[arg(long, value_name = "URI", default_value = "urn:outpost:builder:local")]
    builder: String,
    /// The command that built the files, for the provenance
    #[arg(long, value_name = "COMMAND", default_value = "make dist")]
    built_by: String,
    /// The image with its symbols [default: DIR/outpost.debug.elf, else dist/outpost.debug.elf of the checkout]
    #[arg(long, value_name = "FILE")]
    debug_image: Option<PathBuf>,
    /// What `outpost` itself was compiled for, for its SBOM
    #[arg(long, value_name = "TRIPLE", default_value = "x86_64-unknown-linux-musl")]
    target: String,
    /// Tell what was written as JSON
    #[arg(long)]
    json: bool,
}

/// A file of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its path in the folder, parted by `/`.
    pub name: String,
    /// Its SHA-256, as 64 hex digits.
    pub sha256: String,
}

/// Writes everything; has told everything when it returns.
pub fn run(args: &Args) -> ExitCode {
    match write(args) {
        Ok(written) if args.json => println!("{}", json!({ "folder": args.dir, "written": written })),
        Ok(written) => written.iter().for_each(|name| println!("{}", args.dir.join(name).display())),
        Err(problem) => {
            eprintln!("outpost release: {problem}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn write(args: &Args) -> Result<Vec<&'static str>, String> {
    let root = image::checkout()?;
    let dir = args.dir.as_path();
    for own in OWN {
        // An old signature beside new checksums would be worse than none.
        match fs::remove_file(dir.join(own)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("{} cannot be replaced: {error}", dir.join(own).display()));
            }
            _ => {}
        }
    }
    let source = Source::of(&root)?;
    if source.changed {
        eprintln!("outpost release: the checkout has changes that are not committed; what is written says so");
    }
    let elf = read(&dir.join("outpost.elf")).map_err(|problem| {
        format!("{problem}. A release has the image as outpost.elf: build it (make image) and copy it there")
    })?;
    let debug = debug_image(args, &root, &elf)?;
    let mut written = vec![IMAGE_SBOM];
    put(dir, IMAGE_SBOM, &sbom::of_image(&root, &source, &elf, &debug)?)?;
    if let Ok(loader) = fs::read(dir.join("outpost.efi")) {
        put(dir, LOADER_SBOM, &sbom::of_loader(&root, &source, &loader)?)?;
        written.push(LOADER_SBOM);
    }
    if let Ok(command) = fs::read(dir.join("outpost")) {
        put(dir, COMMAND_SBOM, &sbom::of_command(&root, &source, &args.target, &command)?)?;
        written.push(COMMAND_SBOM);
    }
    let files = sums::list(dir)?;
    put(dir, PROVENANCE, &provenance::statement(&root, &source, &args.builder, &args.built_by, &files)?)?;
    put(dir, SUMS, &sums::write(&sums::list(dir)?))?;
    written.extend([PROVENANCE, SUMS]);
    if let Some(key) = &args.sign_with {
        let comment = format!("outpost {} {}", env!("CARGO_PKG_VERSION"), source.revision());
        signature::sign(key, &dir.join(SUMS), &comment)?;
        written.push(SIGNATURE);
    }
    Ok(written)
}

/// The image with its symbols, of the very build that is released.
fn debug_image(args: &Args, root: &Path, elf: &[u8]) -> Result<Vec<u8>, String> {
    let beside = args.dir.join("outpost.debug.elf");
    let built = if beside.exists() { beside } else { root.join("dist/outpost.debug.elf") };
    let path = args.debug_image.as_ref().unwrap_or(&built);
    let debug = read(path)?;
    let ids = (crate::elf::Inside::read(elf)?.id, crate::elf::Inside::read(&debug)?.id);
    if ids.0 != ids.1 {
        return Err(format!(
            "{} is of another build than {}: what is linked into it cannot be told. Build again (make image), or name \
             the right one with --debug-image",
            path.display(),
            args.dir.join("outpost.elf").display(),
        ));
    }
    Ok(debug)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

fn put(dir: &Path, name: &str, text: &str) -> Result<(), String> {
    let path = dir.join(name);
    fs::write(&path, text).map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

/// The SHA-256 of these bytes, as 64 hex digits.
pub fn sha256(bytes: &[u8]) -> String {
    crate::key::hex(&Sha256::digest(bytes))
}
