//! What the image consists of: sections, code and functions, read from dist/outpost.debug.elf.
//!
//! The image that boots is packed; the one with debug information is what it unpacks to.

use crate::counter::Code;
use addr2line::Context;
use addr2line::gimli::{Dwarf, EndianSlice, LittleEndian, SectionId};
use object::elf::SHF_ALLOC;
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags, SymbolKind};
use std::collections::HashMap;
use std::path::Path;

/// The note whose last bytes are the image id.
const ID_NOTE: &str = ".note.outpost.image";

/// Bytes of the id: a SHA-256.
const ID_LEN: usize = 32;

/// One section that is in memory when the image runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// Bytes in memory.
    pub memory: u64,
    /// Bytes in the file: none of what is zero at first.
    pub file: u64,
}

/// A function and the addresses it covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name, without the compiler's hash.
    pub name: String,
    /// Its first address.
    pub begin: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

/// The image, taken apart.
pub struct Image {
    /// Its id, as hex digits: which image was measured, whatever the checkout has become since it was built.
    pub id: String,
    /// In the order of their addresses.
    pub sections: Vec<Section>,
    /// Where its instructions are.
    pub code: Code,
    /// In the order of their addresses.
    pub functions: Vec<Function>,
    /// The file, with its debug information.
    bytes: Vec<u8>,
}

impl Image {
    /// Reads an ELF file with its section table and symbols.
    pub fn read(path: &Path) -> Result<Image, String> {
        let problem = |error: &dyn std::fmt::Display| format!("{}: {error}. Run: make image", path.display());
        let bytes = std::fs::read(path).map_err(|error| problem(&error))?;
        let elf = object::File::parse(bytes.as_slice()).map_err(|error| problem(&error))?;
        let in_memory = elf.sections().filter(
            |section| matches!(section.flags(), SectionFlags::Elf { sh_flags, .. } if sh_flags.contains(SHF_ALLOC)),
        );
        let sections = in_memory.map(|section| Section {
            name: section.name().unwrap_or("?").to_owned(),
            memory: section.size(),
            file: section.file_range().map_or(0, |(_, length)| length),
        });
        let note = elf.section_by_name(ID_NOTE).and_then(|section| section.data().ok()).unwrap_or_default();
        let id = note.get(note.len().saturating_sub(ID_LEN)..).unwrap_or_default();
        let id = id.iter().map(|byte| format!("{byte:02x}")).collect();
        // Not the first with instructions: that is the entry, which has a page of its own.
        let text = elf.section_by_name(".text");
        let text = text.ok_or_else(|| problem(&"it has no code"))?;
        let code = Code { begin: text.address(), bytes: text.size() };
        let symbols = elf.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0);
        let mut functions: Vec<Function> = symbols
            .map(|symbol| Function {
                name: format!("{:#}", rustc_demangle::demangle(symbol.name().unwrap_or("?"))),
                begin: symbol.address(),
                bytes: symbol.size(),
            })
            .collect();
        functions.sort_by_key(|function| function.begin);
        let sections = sections.collect();
        Ok(Image { id, sections, code, functions, bytes })
    }

    /// Sums the counters of `counts` by the function that the source has there, also where it was inlined into
    /// another; the largest first.
    pub fn by_source(&self, counts: &[u64]) -> Result<Vec<(String, u64)>, String> {
        let damaged = |error: &dyn std::fmt::Display| format!("the image's debug information: {error}");
        let elf = object::File::parse(self.bytes.as_slice()).map_err(|error| damaged(&error))?;
        let section = |id: SectionId| {
            let data = elf.section_by_name(id.name()).map(|section| section.data()).transpose()?;
            Ok::<_, object::Error>(EndianSlice::new(data.unwrap_or_default(), LittleEndian))
        };
        let context = Dwarf::load(section).map_err(|error| damaged(&error))?;
        let context = Context::from_dwarf(context).map_err(|error| damaged(&error))?;
        let mut sums: HashMap<String, u64> = HashMap::new();
        for (address, count) in (self.code.begin..).zip(counts).filter(|(_, count)| **count > 0) {
            let frame = context.find_frames(address).skip_all_loads().and_then(|mut frames| frames.next());
            let name = frame.map_err(|error| damaged(&error))?.and_then(|frame| {
                let name = frame.function?.demangle().ok()?.into_owned();
                let file = frame.location?.file?.rsplit('/').next()?.to_owned();
                Some(format!("{name} ({file})"))
            });
            *sums.entry(name.unwrap_or_else(|| String::from("(no source)"))).or_default() += count;
        }
        let mut sums: Vec<(String, u64)> = sums.into_iter().collect();
        sums.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        Ok(sums)
    }

    /// Sums the counters of `counts`, one for each address of the code, by function; the largest first. What
    /// belongs to no function is under "(no symbol)".
    pub fn by_function(&self, counts: &[u64]) -> Vec<(String, u64)> {
        let sum = |from: u64, length: u64| -> u64 {
            let begin = usize::try_from(from.saturating_sub(self.code.begin)).unwrap_or(usize::MAX);
            let end = begin.saturating_add(usize::try_from(length).unwrap_or(usize::MAX)).min(counts.len());
            counts.get(begin..end).unwrap_or_default().iter().sum()
        };
        let mut sums: Vec<(String, u64)> = Vec::new();
        let mut free_from = 0;
        // Identical functions share one place: it is counted under the first of their names.
        for function in self.functions.iter().filter(|function| function.begin >= self.code.begin) {
            if function.begin >= free_from {
                sums.push((function.name.clone(), sum(function.begin, function.bytes)));
                free_from = function.begin + function.bytes;
            }
        }
        let named: u64 = sums.iter().map(|(_, count)| count).sum();
        sums.push((String::from("(no symbol)"), counts.iter().sum::<u64>().saturating_sub(named)));
        sums.retain(|(_, count)| *count > 0);
        sums.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_is_counted_once() {
        // Functions that the linker folded into one have several names at one address.
        let function = |name: &str, begin, bytes| Function { name: name.to_owned(), begin, bytes };
        let functions = vec![function("a", 100, 2), function("also_a", 100, 2), function("b", 103, 9)];
        let image = Image {
            id: String::new(),
            sections: Vec::new(),
            code: Code { begin: 100, bytes: 6 },
            functions,
            bytes: Vec::new(),
        };
        let sums = image.by_function(&[1, 2, 4, 8, 16, 32]);
        let expected = [("b", 56), ("(no symbol)", 4), ("a", 3)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(sums, expected);
    }
}
