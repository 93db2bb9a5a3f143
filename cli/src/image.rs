//! `outpost image`: builds the image and gives it its id.
//!
//! ```text
//! cargo build ──▶ ELF with debug info ──what is loaded, packed──▶ packed ELF ──SHA-256──▶ id
//!                        └─▶ dist/outpost.debug.elf    dist/outpost.elf ◀── id into the note of both
//! ```
//!
//! A release of this command carries the image it was released with and writes that one instead: it builds nothing.
//!
//! The packed image (`pack`) is made of what a loader reads of the linked one, and of no other byte. So its bytes
//! depend on the compiler and the sources alone, neither on binutils nor on the folder it was built in.

use crate::{check, content, disk, embedded, pack};
use object::LittleEndian;
use object::elf::{FileHeader64, PT_NOTE};
use object::read::elf::{FileHeader, ProgramHeader};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs, io};

/// The target of the image.
const TARGET: &str = "x86_64-unknown-none";

/// The target of the loader on disk images.
const LOADER_TARGET: &str = "x86_64-unknown-uefi";

/// The loader, bound to the image: what a disk image has, and what is signed for Secure Boot.
const LOADER: &str = "outpost.efi";

/// Bytes of the image id: a SHA-256.
const ID_LEN: usize = 32;

/// The arguments of `outpost image`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  outpost image                  dist/outpost.elf and dist/outpost.debug.elf of this checkout
  outpost image --out .          the image that a release carries, into this folder
  outpost image --json           the same, told as one line of JSON
  outpost image --format qcow2 --config config.json
                                 dist/outpost.qcow2 too: a disk for UEFI machines, with its configuration
  readelf -n dist/outpost.elf    shows the image id in the image

A disk is never written to: another configuration is another disk. For Secure Boot, sign dist/outpost.efi and
put it on the disk: outpost image --format raw --loader signed.efi

A release of this command carries its image and writes it out, wherever it runs. One that was built in a
checkout carries none: it builds the image of the checkout it is in.")]
pub struct Args {
    /// What to make: the ELF for a VMM's -kernel, or with it a disk for UEFI machines.
    #[arg(long, value_enum, default_value_t = Format::Elf)]
    format: Format,
    /// The configuration document on the disk.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The content bundle on the disk.
    #[arg(long, value_name = "FILE")]
    content: Option<PathBuf>,
    /// Another loader for the disk: outpost.efi with a signature.
    #[arg(long, value_name = "FILE")]
    loader: Option<PathBuf>,
    /// Folder that the files go to [default: dist of the checkout; dist for the image of a release]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Tell the result as one line of JSON.
    #[arg(long)]
    json: bool,
}

/// What `outpost image` makes.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// The ELF alone.
    Elf,
    /// A disk, byte for byte.
    Raw,
    /// A disk in QEMU's format.
    Qcow2,
}

/// An image that was written.
pub struct Image {
    /// The packed ELF.
    pub path: PathBuf,
    /// The same with its symbols and line numbers, where it was built.
    pub debug_path: Option<PathBuf>,
    /// Bytes of the packed ELF.
    pub size: usize,
    /// The image id, as 64 hex digits.
    pub id: String,
}

/// Writes the image and tells what came out.
pub fn run(args: &Args) -> ExitCode {
    let (image, disk) = match make(args) {
        Ok(made) => made,
        Err(problem) => {
            eprintln!("outpost image: {problem}");
            return ExitCode::FAILURE;
        }
    };
    let path = |path: &Path| path.to_string_lossy().into_owned();
    if args.json {
        let (file, debug) = (path(&image.path), image.debug_path.as_deref().map(path));
        let disk = disk.as_deref().map(path);
        let (bytes, id) = (image.size, image.id);
        println!("{}", json!({ "image": file, "debug": debug, "disk": disk, "bytes": bytes, "id": id }));
    } else {
        println!("{}  {} bytes ({:.0} KiB)", image.path.display(), image.size, image.size as f64 / 1024.0);
        if let Some(debug) = &image.debug_path {
            println!("{}  with symbols, for gdb and addr2line", debug.display());
        }
        if let Some(disk) = &disk {
            let bytes = fs::metadata(disk).map_or(0, |disk| disk.len());
            println!("{}  {bytes} bytes ({:.0} KiB), a disk for UEFI machines", disk.display(), bytes as f64 / 1024.0);
        }
        println!("image id {}", image.id);
    }
    ExitCode::SUCCESS
}

/// Writes the image, and the disk if one is wanted.
fn make(args: &Args) -> Result<(Image, Option<PathBuf>), String> {
    let format = match args.format {
        Format::Elf if args.config.is_some() || args.content.is_some() || args.loader.is_some() => {
            return Err(String::from(
                "only a disk has a configuration, a content bundle and a loader on it. Add --format raw or --format qcow2, or give the \
                 configuration beside the ELF (QEMU: -initrd config.json)",
            ));
        }
        Format::Elf => None,
        Format::Raw => Some(disk::Format::Raw),
        Format::Qcow2 => Some(disk::Format::Qcow2),
    };
    let config = args.config.as_deref().map(check::accepted).transpose()?;
    let content = args.content.as_deref().map(content::accepted).transpose()?;
    let image = write(args.out.as_deref())?;
    let Some(format) = format else { return Ok((image, None)) };
    let elf = read(&image.path)?;
    let loader = match &args.loader {
        Some(path) => read(path)?,
        None => loader(&elf, &image.path.with_file_name(LOADER))?,
    };
    let disk = disk::image(&elf, &loader, config.as_deref(), content.as_deref())?;
    let path = image.path.with_extension(if format == disk::Format::Raw { "raw" } else { "qcow2" });
    replace(&path, &disk::encode(&disk, format)).map_err(|error| unwritable(&path, &error))?;
    Ok((image, Some(path)))
}

/// Writes the loader of this image to `path`: the one that this command carries, or the one of the checkout.
fn loader(elf: &[u8], path: &Path) -> Result<Vec<u8>, String> {
    let loader = match embedded::file(LOADER) {
        Some(loader) => loader.to_vec(),
        None => {
            let mut loader = read(&compile(&checkout()?, LOADER_TARGET, &["-p", "outpost-uefi"])?)?;
            disk::bind(&mut loader, &id(elf)?)?;
            loader
        }
    };
    replace(path, &loader).map_err(|error| unwritable(path, &error))?;
    Ok(loader)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

fn unwritable(path: &Path, error: &io::Error) -> String {
    format!("{} cannot be written: {error}", path.display())
}

/// Writes the image that this command carries, or builds the one of the checkout.
fn write(folder: Option<&Path>) -> Result<Image, String> {
    match embedded::image() {
        Some(bytes) => extract(bytes, folder.unwrap_or(Path::new("dist"))),
        None => {
            let root = checkout()?;
            build(&root, &folder.map_or_else(|| root.join("dist"), Path::to_path_buf))
        }
    }
}

/// Writes the image that a release carries into `folder`.
pub fn extract(bytes: &[u8], folder: &Path) -> Result<Image, String> {
    let broken = |problem| format!("the image that this command carries is damaged: {problem}. Install it again.");
    let id = place_of_id(bytes).map_err(broken)?;
    let id = bytes.get(id).ok_or_else(|| broken(String::from("it is cut off")))?;
    let path = folder.join("outpost.elf");
    fs::create_dir_all(folder).and_then(|()| replace(&path, bytes)).map_err(|error| unwritable(&path, &error))?;
    Ok(Image { path, debug_path: None, size: bytes.len(), id: hex(id) })
}

/// The checkout that the current directory is in.
pub fn checkout() -> Result<PathBuf, String> {
    let here = env::current_dir().map_err(|error| format!("the current directory cannot be read: {error}"))?;
    let root =
        here.ancestors().find(|folder| folder.join("boot/main.rs").exists() && folder.join("linker.ld").exists());
    root.map(Path::to_path_buf).ok_or_else(|| {
        format!(
            "this `outpost` carries no image, as a release does, and {} is not inside a checkout of Outpost to build \
                 one. Use a release, change into a checkout, or name an image: outpost up --image FILE",
            here.display()
        )
    })
}

/// Builds the image of the checkout `root` into the folder `dist`.
pub fn build(root: &Path, dist: &Path) -> Result<Image, String> {
    let sealed = sealed(read(&compile(root, TARGET, &["--bin", "image"])?)?)?;
    let (path, debug_path) = (dist.join("outpost.elf"), dist.join("outpost.debug.elf"));
    fs::create_dir_all(dist)
        .and_then(|()| replace(&path, &sealed.packed))
        .and_then(|()| replace(&debug_path, &sealed.debug))
        .map_err(|error| unwritable(dist, &error))?;
    Ok(Image { path, debug_path: Some(debug_path), size: sealed.packed.len(), id: hex(&sealed.id) })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing into a String cannot fail
        text
    })
}

/// Without the target's libraries cargo fails with a page of errors that do not say what to do.
fn check_target(root: &Path, target: &str) -> Result<(), String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let libraries =
        Command::new(rustc).args(["--print", "target-libdir", "--target", target]).current_dir(root).output();
    match libraries {
        Ok(output) if Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir() => Ok(()),
        Ok(_) => Err(format!("Rust's libraries for the image are missing. Run: rustup target add {target}")),
        Err(error) => Err(format!("rustc could not be started ({error}). Install Rust from https://rustup.rs")),
    }
}

/// Compiles and links the image, or its loader; returns the path of the linked file.
fn compile(root: &Path, target: &str, what: &[&str]) -> Result<PathBuf, String> {
    check_target(root, target)?;
    // Before it is unpacked, nobody knows where a crate will lie: `path_flags` could not hide it.
    run_cargo(Command::new(cargo()).args(["fetch", "--quiet", "--target", target]), root)?;
    let output = run_cargo(
        Command::new(cargo())
            .args(["build", "--profile", "image", "--target", target])
            .args(what)
            .args(["--message-format", "json-render-diagnostics", "--config"])
            .arg(path_flags(root, target)),
        root,
    )?;
    let messages = String::from_utf8_lossy(&output);
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .ok_or_else(|| String::from("cargo built the image and did not say where it put it."))
}

/// The cargo that started this command, else the user's.
fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// What a cargo says, run in the checkout `root`.
fn run_cargo(command: &mut Command, root: &Path) -> Result<Vec<u8>, String> {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(changes_the_build) {
            command.env_remove(name);
        }
    }
    match command.current_dir(root).stderr(Stdio::inherit()).output() {
        Ok(output) if output.status.success() => Ok(output.stdout),
        Ok(_) => Err(String::from("the image does not build; cargo's messages above say why.")),
        Err(error) => Err(format!("cargo could not be started ({error}). Install Rust from https://rustup.rs")),
    }
}

/// Whether this variable, set by an outer cargo or by the user, would change how the image is compiled: flags that
/// replace those it needs, or, as an incremental build does, other bytes from the same sources.
fn changes_the_build(variable: &str) -> bool {
    let flags =
        ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_INCREMENTAL"];
    let of_target = variable.starts_with("CARGO_TARGET_") && variable != "CARGO_TARGET_DIR";
    flags.contains(&variable) || of_target || variable.starts_with("CARGO_PROFILE_")
}

/// Compiler flags, as a `--config` argument that adds to those of the checkout, which keep the folders of this machine
/// out of what is built for `target`: the same sources give the same bytes, wherever they lie (tests/release).
fn path_flags(root: &Path, target: &str) -> OsString {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::home_dir().map(|home| home.join(".cargo"))).unwrap_or_default();
    let registries = fs::read_dir(home.join("registry/src")).into_iter().flatten().flatten();
    let mut remaps: Vec<(PathBuf, &str)> = registries.map(|entry| (entry.path(), "crates")).collect();
    remaps.extend(env::var_os("CARGO_TARGET_DIR").map(|folder| (root.join(folder), "outpost/target")));
    remaps.push((root.to_path_buf(), "outpost"));
    // The compiler sees a folder as cargo names it and, where it runs in it, without symbolic links.
    let real: Vec<_> = remaps.iter().filter_map(|(from, to)| Some((fs::canonicalize(from).ok()?, *to))).collect();
    remaps.extend(real);
    // The last that fits counts: of folders inside each other the inner.
    remaps.sort();
    let flags = remaps.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()));
    format!("target.{target}.rustflags={}", serde_json::json!(flags.collect::<Vec<_>>())).into()
}

/// Writes a file in one step, so that a machine that boots it meanwhile never sees half of it.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension(format!("new.{}", std::process::id()));
    fs::write(&new, bytes)?;
    fs::rename(&new, path)
}

/// An image with its id.
#[derive(Debug)]
pub struct Sealed {
    /// The file that is deployed.
    pub packed: Vec<u8>,
    /// The linked one, with its symbols.
    pub debug: Vec<u8>,
    /// The SHA-256 of the packed one with zeros in the id's place.
    pub id: [u8; ID_LEN],
}

/// The image id in an image.
pub fn id(elf: &[u8]) -> Result<[u8; ID_LEN], String> {
    let place = place_of_id(elf).map_err(|problem| format!("this is no image of Outpost: {problem}"))?;
    let id = elf.get(place).and_then(|id| id.try_into().ok());
    id.ok_or_else(|| String::from("this is no image of Outpost: it ends too early"))
}

/// Packs a linked image and writes its id into both.
pub fn sealed(linked: Vec<u8>) -> Result<Sealed, String> {
    let packed =
        pack::pack(&linked).map_err(|problem| format!("the linked image is not as it should be: {problem}"))?;
    seal(packed, linked)
}

/// Writes the id of a packed image into it and into the one with symbols.
fn seal(mut packed: Vec<u8>, mut debug: Vec<u8>) -> Result<Sealed, String> {
    let [in_packed, in_debug] = [&packed, &debug].map(|elf| place_of_id(elf));
    let (in_packed, in_debug) = (in_packed?, in_debug?);
    let not_inside = || String::from("the linked image ends inside its own notes");
    packed.get_mut(in_packed.clone()).ok_or_else(not_inside)?.fill(0);
    let id: [u8; ID_LEN] = Sha256::digest(&packed).into();
    packed.get_mut(in_packed).ok_or_else(not_inside)?.copy_from_slice(&id);
    debug.get_mut(in_debug).ok_or_else(not_inside)?.copy_from_slice(&id);
    Ok(Sealed { packed, debug, id })
}

/// Where the image id is in a file: in the note with the name `Outpost`.
fn place_of_id(elf: &[u8]) -> Result<Range<usize>, String> {
    let text = |error: object::Error| error.to_string();
    let header = FileHeader64::<LittleEndian>::parse(elf).map_err(text)?;
    let endian = header.endian().map_err(text)?;
    for segment in header.program_headers(endian, elf).map_err(text)? {
        if segment.p_type(endian) != PT_NOTE {
            continue;
        }
        let mut notes = segment.notes(endian, elf).map_err(text)?.ok_or("its notes cannot be read")?;
        while let Some(note) = notes.next().map_err(text)? {
            if note.name() == b"Outpost" && note.desc().len() == ID_LEN {
                // The description is a part of `elf`, so the distance of the two is its place in the file.
                let start = note.desc().as_ptr().addr() - elf.as_ptr().addr();
                return Ok(start..start + ID_LEN);
            }
        }
    }
    Err(String::from("it has no note for the image id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF64 header, one PT_NOTE segment with the id's note, and 64 bytes of "debug info" behind it.
    fn linked(id: u8) -> Vec<u8> {
        let mut elf = Vec::new();
        elf.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        elf.extend_from_slice(&[2, 0, 62, 0, 1, 0, 0, 0]);
        elf.extend([0, 64, 180].iter().flat_map(|value: &u64| value.to_le_bytes()));
        elf.extend_from_slice(&[0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 1, 0, 0, 0]);
        elf.extend_from_slice(&[4, 0, 0, 0, 4, 0, 0, 0]);
        elf.extend([120, 0, 0, 52, 52, 4].iter().flat_map(|value: &u64| value.to_le_bytes()));
        elf.extend_from_slice(&[8, 0, 0, 0, 32, 0, 0, 0, 1, 0, 0, 0]);
        elf.extend_from_slice(b"Outpost\0");
        elf.extend_from_slice(&[id; 32]);
        elf.extend_from_slice(&[0xdb; 64]);
        elf
    }

    #[test]
    fn the_id_is_the_hash_of_the_image_without_it() {
        // An id that covers itself, or the debug info, could be checked by nobody else.
        let packed = linked(0)[..172].to_vec();
        let sealed = seal(packed.clone(), linked(0)).unwrap();
        let mut blank = sealed.packed.clone();
        blank[140..172].fill(0);
        assert_eq!(sealed.id, <[u8; 32]>::from(Sha256::digest(&blank)));
        assert_eq!(sealed.packed[140..172], sealed.id);
        assert_eq!(sealed.debug[140..172], sealed.id);
        assert_eq!((sealed.packed.len(), sealed.debug.len()), (172, 236));
        assert_eq!(seal(linked(7)[..172].to_vec(), linked(7)).unwrap().id, sealed.id, "an old id must not count");
    }

    #[test]
    fn the_environment_does_not_change_the_image() {
        // An image with other bytes, or one that dies at its first instruction, because of a variable in a profile.
        for variable in
            ["RUSTFLAGS", "CARGO_INCREMENTAL", "CARGO_PROFILE_IMAGE_LTO", "CARGO_TARGET_X86_64_UNKNOWN_NONE_RUSTFLAGS"]
        {
            assert!(changes_the_build(variable), "{variable}");
        }
        for variable in
            ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_BUILD_JOBS", "CARGO_NET_OFFLINE", "RUSTC_WRAPPER", "PATH"]
        {
            assert!(!changes_the_build(variable), "{variable}");
        }
    }

    #[test]
    fn a_file_that_is_no_image_is_refused() {
        // A linker script that lost the note must fail the build, not ship an image without an id.
        assert!(sealed(Vec::new()).is_err());
        assert!(seal(linked(0)[..100].to_vec(), linked(0)).is_err());
        let mut nameless = linked(0);
        nameless[132] = b'X';
        assert!(seal(nameless, linked(0)).unwrap_err().contains("no note for the image id"));
    }
}
