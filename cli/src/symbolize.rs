//! `outpost symbolize`: the addresses of a panic as functions and lines, by the debug information of the image that
//! panicked.
//!
//! A function that was inlined into another is told with it, innermost first: one address can be several lines.

use addr2line::Context;
use addr2line::gimli::{Dwarf, EndianSlice, LittleEndian, SectionId};
use object::{Object, ObjectSection, SectionKind, SymbolMap, SymbolMapName};
use std::fmt::Write;
use std::io::{IsTerminal, Read, stdin};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Longest text that is searched for addresses, in bytes: a long console log.
const TEXT_MAX: u64 = 64 * 1024 * 1024;

/// Hex digits of a `backtrace` as records show it: eight times the low four bytes of an address.
const BACKTRACE_DIGITS: usize = 64;

/// What the high four bytes are: the image lies in the last two GiB.
const HIGH: u64 = 0xffff_ffff_0000_0000;

const EXAMPLES: &str = "\
Examples:
  outpost symbolize dist/outpost.debug.elf 0xffffffff8053532a
  grep 'outpost: ' console.log | outpost symbolize dist/outpost.debug.elf
  outpost logs --event panic | outpost symbolize dist/outpost.debug.elf

Addresses of a backtrace are those of calls. It is searched on the stack, not walked: a name that does not fit the
story is a call that had already returned.

Exit code: 0 every address was named, 1 some are not in the image's code, 2 the image or the input cannot be read.";

/// What `outpost symbolize` is told.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The image with its symbols, of the very build that panicked
    #[arg(value_name = "DEBUG_ELF")]
    pub image: PathBuf,
    /// Addresses; without any, text with addresses or backtraces is read from standard input
    #[arg(value_name = "ADDRESS")]
    pub addresses: Vec<String>,
}

/// Names and prints; has told everything when it returns.
pub fn run(args: &Args) -> ExitCode {
    match named(args) {
        Ok((text, all)) => {
            print!("{text}");
            ExitCode::from(u8::from(!all))
        }
        Err(problem) => {
            eprintln!("outpost symbolize: {problem}");
            ExitCode::from(2)
        }
    }
}

/// What is to be printed, and whether everything has a name.
fn named(args: &Args) -> Result<(String, bool), String> {
    let bytes =
        std::fs::read(&args.image).map_err(|error| format!("{} cannot be read: {error}", args.image.display()))?;
    let symbols = Symbols::read(&args.image, &bytes)?;
    let addresses = if args.addresses.is_empty() { found_in(&input()?) } else { given(&args.addresses)? };
    if addresses.is_empty() {
        return Err("there is no address in the input; give some, or pipe in a panic's line".to_owned());
    }
    let mut text = String::new();
    let mut all = true;
    for address in addresses {
        let frames = symbols.frames(address);
        all &= !frames.is_empty();
        let frames = if frames.is_empty() { vec!["not in the code of this image".to_owned()] } else { frames };
        for (depth, frame) in frames.iter().enumerate() {
            let lead = if depth == 0 { format!("{address:#018x}") } else { " ".repeat(18) };
            // Writing into a String does not fail.
            let _ = writeln!(text, "{lead}  {frame}");
        }
    }
    Ok((text, all))
}

/// The addresses of a command line.
fn given(words: &[String]) -> Result<Vec<u64>, String> {
    let parse = |word: &String| {
        let digits = word.strip_prefix("0x").unwrap_or(word);
        u64::from_str_radix(digits, 16)
            .map_err(|_| format!("{word} is not an address; give one like 0xffffffff80500000"))
    };
    words.iter().map(parse).collect()
}

fn input() -> Result<String, String> {
    if stdin().is_terminal() {
        eprintln!("Reading from the terminal; Ctrl-D ends it.");
    }
    let mut bytes = Vec::new();
    let read = stdin().lock().take(TEXT_MAX).read_to_end(&mut bytes);
    read.map_err(|error| format!("standard input cannot be read: {error}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The addresses in a text, in order: in hex behind 0x, or as a record's backtrace. Zero means "none".
fn found_in(text: &str) -> Vec<u64> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let addresses = words.flat_map(|word| match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).into_iter().collect(),
        None if word.len() == BACKTRACE_DIGITS => low_halves(word),
        None => vec![],
    });
    addresses.filter(|address| *address > HIGH).collect()
}

fn low_halves(digits: &str) -> Vec<u64> {
    let halves = (0..digits.len()).step_by(8).map(|at| digits.get(at..at + 8));
    halves.map_while(|half| u64::from_str_radix(half?, 16).ok()).map(|low| HIGH | low).collect()
}

/// An image's debug information.
struct Symbols<'b> {
    context: Context<EndianSlice<'b, LittleEndian>>,
    /// The symbols in the code: assembler has no other name.
    names: SymbolMap<SymbolMapName<'b>>,
    code: Vec<Range<u64>>,
}

impl<'b> Symbols<'b> {
    fn read(path: &Path, bytes: &'b [u8]) -> Result<Symbols<'b>, String> {
        let shown = path.display();
        let file = object::File::parse(bytes).map_err(|error| format!("{shown} is not an ELF file: {error}"))?;
        let section = |id: SectionId| {
            let data = file.section_by_name(id.name()).map(|section| section.data()).transpose()?;
            Ok::<_, object::Error>(EndianSlice::new(data.unwrap_or_default(), LittleEndian))
        };
        let dwarf = Dwarf::load(section).map_err(|error| format!("{shown} is damaged: {error}"))?;
        if file.section_by_name(SectionId::DebugLine.name()).is_none() {
            return Err(format!(
                "{shown} has no debug information; `outpost image` writes it to dist/outpost.debug.elf"
            ));
        }
        let context = Context::from_dwarf(dwarf).map_err(|error| format!("{shown} is damaged: {error}"))?;
        let code = file.sections().filter(|section| section.kind() == SectionKind::Text);
        let code = code.map(|section| section.address()..section.address() + section.size()).collect();
        Ok(Symbols { context, names: file.symbol_map(), code })
    }

    /// The functions and lines of an address, innermost first; none when it is not in the code.
    fn frames(&self, address: u64) -> Vec<String> {
        let mut told = vec![];
        let Ok(mut frames) = self.context.find_frames(address).skip_all_loads() else { return told };
        while let Ok(Some(frame)) = frames.next() {
            let function = frame.function.as_ref().and_then(|function| function.demangle().ok());
            let place = frame.location.map(|place| {
                format!("{}:{}", place.file.unwrap_or("?"), place.line.map_or("?".to_owned(), |line| line.to_string()))
            });
            let function = function.as_deref().unwrap_or("(no name)");
            told.push(format!("{function} at {}", place.as_deref().unwrap_or("?")));
        }
        if told.is_empty() && self.code.iter().any(|code| code.contains(&address)) {
            told.extend(self.names.before(address).map(|symbol| format!("{} (assembler)", symbol.name())));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_all_that_shows_a_panic() {
        // Who reads a panic at night pipes in what is there, and must not have to cut it.
        let serial = "outpost: backtrace 0xffffffff8053532a 0xffffffff80528dec\n\
                      outpost: panic: cr2 0x10 at page fault rip 0xffffffff80501000: resetting";
        assert_eq!(found_in(serial), [0xffff_ffff_8053_532a, 0xffff_ffff_8052_8dec, 0xffff_ffff_8050_1000]);
        let record = format!("backtrace={}{} x", "8053532a80528dec", "0".repeat(48));
        assert_eq!(found_in(&record), [0xffff_ffff_8053_532a, 0xffff_ffff_8052_8dec]);
        assert!(found_in("a number is no address: 12, nor is 0x10").is_empty());
        assert!(given(&["0xzz".to_owned()]).is_err());
    }
}
