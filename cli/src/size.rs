//! `outpost size`: what the image's bytes are spent on, by segment, by crate and by symbol.
//!
//! It reads the image with its symbols, which is the one that boots before it is packed. A function that was inlined counts for
//! the one it was inlined into; constants have few symbols, so most of them are one row.

use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// The most that the packed image should have, in bytes: what is promised (PROMISES.md).
const BUDGET: u64 = 512 * 1024;

/// Crates and symbols that are listed.
const LISTED: usize = 40;

/// What `outpost size` is told.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  outpost size                             of the image that `outpost image` built last
  outpost size old/outpost.debug.elf       of another one")]
pub struct Args {
    /// The image with its symbols
    #[arg(value_name = "DEBUG_ELF", default_value = "dist/outpost.debug.elf")]
    pub image: PathBuf,
}

/// Prints the tables.
pub fn run(args: &Args) -> ExitCode {
    let path = args.image.display();
    let bytes = std::fs::read(&args.image);
    let told = bytes.map_err(|error| error.to_string()).and_then(|bytes| {
        let packed = std::fs::metadata(args.image.with_extension("").with_extension("elf")).map(|file| file.len());
        tables(&bytes, packed.ok()).map_err(|error| error.to_string())
    });
    match told {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("outpost size: {path} cannot be read: {problem}. Run: make image");
            ExitCode::FAILURE
        }
    }
}

/// The tables of an image; `packed` is the length of the file that boots.
fn tables(bytes: &[u8], packed: Option<u64>) -> Result<String, object::Error> {
    let elf = object::File::parse(bytes)?;
    let mut text = String::new();
    // Writing into a String cannot fail, here and below.
    if let Some(packed) = packed {
        let share = packed as f64 / BUDGET as f64 * 100.0;
        let _ = writeln!(text, "{packed} bytes of {BUDGET} ({share:.0} %), packed");
    }
    let mut rest = BTreeMap::new();
    for section in elf.sections() {
        if let SectionKind::Text | SectionKind::ReadOnlyData | SectionKind::Data | SectionKind::Note = section.kind() {
            rest.insert(section.index().0, (section.name().unwrap_or("?").to_owned(), section.size()));
        }
    }
    let unpacked: u64 = rest.values().map(|(_, size)| size).sum();
    let _ = writeln!(text, "{unpacked} bytes unpacked, without what is all zeros\n\n{:>8}  section", "bytes");
    for (name, size) in rest.values() {
        let _ = writeln!(text, "{size:>8}  {name}");
    }
    let mut symbols: Vec<(u64, u64, usize, String)> = Vec::new();
    for symbol in elf.symbols() {
        if let (SymbolKind::Text | SymbolKind::Data, Some(section)) =
            (symbol.kind(), symbol.section_index().map(|section| section.0))
            && symbol.size() > 0
            && rest.contains_key(&section)
        {
            let name = format!("{:#}", rustc_demangle::demangle(symbol.name().unwrap_or("?")));
            symbols.push((symbol.address(), symbol.size(), section, name));
        }
    }
    // Identical functions share one place, which counts once.
    symbols.sort();
    symbols.dedup_by_key(|(address, ..)| *address);
    let mut crates: BTreeMap<String, u64> = BTreeMap::new();
    for (_, size, section, name) in &symbols {
        if let Some((_, left)) = rest.get_mut(section) {
            *left = left.saturating_sub(*size);
        }
        *crates.entry(crate_of(name).to_owned()).or_default() += size;
    }
    for (name, size) in rest.into_values() {
        crates.insert(format!("({name}, no symbol)"), size);
    }
    table(&mut text, "crate", crates.into_iter().map(|(name, size)| (size, name)).collect());
    table(&mut text, "symbol", symbols.into_iter().map(|(_, size, _, name)| (size, name)).collect());
    Ok(text)
}

fn table(text: &mut String, head: &str, mut rows: Vec<(u64, String)>) {
    rows.sort_by(|a, b| b.cmp(a));
    let _ = writeln!(text, "\n{:>8}  {head}", "bytes");
    for (size, name) in rows.iter().take(LISTED) {
        let _ = writeln!(text, "{size:>8}  {name}");
    }
}

/// The crate that a symbol is from, by the first path in its name: the type's for `<T as Trait>::method`.
fn crate_of(name: &str) -> &str {
    let path = name.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '_');
    let path = path.strip_prefix("mut ").or(path.strip_prefix("dyn ")).unwrap_or(path);
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
    if path[end..].starts_with("::") { &path[..end] } else { "(no crate)" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_belongs_to_the_crate_that_its_name_begins_with() {
        // Under the wrong crate, somebody looks for the bytes where they are not.
        for (name, expected) in [
            ("outpost::agent::Agent::serve", "outpost"),
            ("<smoltcp::wire::ip::Address as core::fmt::Display>::fmt", "smoltcp"),
            (
                "<&mut serde_json_core::ser::Serializer as serde_core::ser::Serializer>::serialize_u64",
                "serde_json_core",
            ),
            ("<[outpost_wire::Event; 3] as core::fmt::Debug>::fmt", "outpost_wire"),
            ("memcpy", "(no crate)"),
            ("", "(no crate)"),
        ] {
            assert_eq!(crate_of(name), expected, "{name}");
        }
    }

    #[test]
    fn what_is_no_image_is_an_error() {
        // A table of nothing would look like an image without bytes.
        assert!(tables(b"no ELF", None).is_err());
    }
}
