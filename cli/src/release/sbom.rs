//! What is linked into the image, its loader and the command: software bills of materials in the form of CycloneDX 1.6.
//!
//! Cargo says which crates are given to the linker, resolved for the target and the features of what is released. Of the
//! image, its debug information says independently whose code is really in it. Both must agree: code of a crate that
//! cargo does not name is an error, and a crate that left no code of its own (macros, types, constants) is listed with
//! the scope `optional`, which CycloneDX has for what cannot be called.

use super::sha256;
use super::source::{Source, said};
use addr2line::gimli::{Dwarf, EndianSlice, LittleEndian, SectionId};
use object::{Object, ObjectSection, SectionKind};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::{env, iter};

/// Where the standard library's sources are in debug information, before the compiler's commit.
const STANDARD: &str = "/rustc/";

/// Where crates from a registry are, by the flags of `outpost image`.
const CRATES: &str = "crates/";

/// Where our own are.
const OWN: &str = "outpost";

/// A crate that is given to the linker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Component {
    license: String,
    repository: String,
    /// Where it is in the checkout, when it is ours.
    folder: Option<String>,
    needs: BTreeSet<Key>,
}

/// Name and version.
type Key = (String, String);

/// The SBOM of the image; `debug` is the same with its symbols.
pub fn of_image(root: &Path, source: &Source, elf: &[u8], debug: &[u8]) -> Result<String, String> {
    let crates = tree(root, "outpost", "x86_64-unknown-none")?;
    let code = code_in(debug)?;
    let mut seen = BTreeSet::new();
    for folder in &code {
        seen.insert(owner(folder, &crates).ok_or_else(|| {
            format!(
                "the image has code from {folder:?}, which is in no crate that cargo names for it: build it again with \
                 the Cargo.lock of this checkout (make image)"
            )
        })?);
    }
    let inside = crate::elf::Inside::read(elf)?;
    let subject = json!({
        "type": "application",
        "bom-ref": "outpost-image",
        "name": "outpost-image",
        "version": inside.version,
        "description": "An ops agent that is its own operating system: the image",
        "licenses": [license("MIT OR Apache-2.0")],
        "hashes": [{ "alg": "SHA-256", "content": sha256(elf) }],
        "properties": [
            { "name": "outpost:image-id", "value": crate::key::hex(&inside.id) },
            { "name": "outpost:revision", "value": inside.revision },
            { "name": "outpost:catalogue", "value": crate::key::hex(&inside.catalogue) },
            { "name": "outpost:target", "value": "x86_64-unknown-none" },
        ],
    });
    let scope = |key: &Key| if seen.contains(&Owner::Crate(key.clone())) { "required" } else { "optional" };
    Ok(document(source, subject, &crates, scope, vec![standard(source, "core")]))
}

/// The SBOM of the loader on disks for UEFI machines.
pub fn of_loader(root: &Path, source: &Source, file: &[u8]) -> Result<String, String> {
    let target = "x86_64-unknown-uefi";
    let crates = tree(root, "outpost-uefi", target)?;
    let subject = subject(source, "outpost-loader", "What starts the image on a UEFI machine", target, file);
    Ok(document(source, subject, &crates, |_| "required", vec![standard(source, "core"), standard(source, "alloc")]))
}

/// The SBOM of the command, compiled for `target`.
pub fn of_command(root: &Path, source: &Source, target: &str, file: &[u8]) -> Result<String, String> {
    let crates = tree(root, "outpost-cli", target)?;
    let subject = subject(source, "outpost-command", "The outpost command, which carries the image", target, file);
    let sqlite = rusqlite::version();
    let mut others = vec![
        standard(source, "std"),
        json!({
            "type": "library",
            "bom-ref": format!("pkg:generic/sqlite@{sqlite}"),
            "name": "sqlite",
            "version": sqlite,
            "purl": format!("pkg:generic/sqlite@{sqlite}"),
            "description": "compiled into libsqlite3-sys",
            "licenses": [license("blessing")],
            "scope": "required",
        }),
    ];
    if target.ends_with("-musl") {
        others.push(json!({
            "type": "library",
            "bom-ref": "musl",
            "name": "musl",
            "description": "the C library that comes with Rust's libraries for this target",
            "licenses": [license("MIT")],
            "scope": "required",
        }));
    }
    Ok(document(source, subject, &crates, |_| "required", others))
}

/// What a bill of materials is about, when the checkout says all there is to say of it.
fn subject(source: &Source, name: &str, description: &str, target: &str, file: &[u8]) -> Value {
    json!({
        "type": "application",
        "bom-ref": name,
        "name": name,
        "version": env!("CARGO_PKG_VERSION"),
        "description": description,
        "licenses": [license("MIT OR Apache-2.0")],
        "hashes": [{ "alg": "SHA-256", "content": sha256(file) }],
        "properties": [
            { "name": "outpost:revision", "value": source.revision() },
            { "name": "outpost:target", "value": target },
        ],
    })
}

fn document(
    source: &Source,
    subject: Value,
    crates: &BTreeMap<Key, Component>,
    scope: impl Fn(&Key) -> &'static str,
    others: Vec<Value>,
) -> String {
    let mut components: Vec<Value> = crates
        .iter()
        .map(|(key, component)| {
            let mut told = json!({
                "type": "library",
                "bom-ref": reference(key),
                "name": key.0,
                "version": key.1,
                "scope": scope(key),
                "licenses": [license(&component.license)],
                "purl": reference(key),
            });
            if let Some(checksum) = source.checksum(&key.0, &key.1) {
                told["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
            }
            if component.repository.starts_with("https://") {
                told["externalReferences"] = json!([{ "type": "vcs", "url": component.repository }]);
            }
            told
        })
        .collect();
    components.extend(others.iter().cloned());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let main = text(&subject["bom-ref"]);
    let names = |needs: &BTreeSet<Key>| needs.iter().map(reference).collect::<Vec<_>>();
    let root = crates.iter().find(|(_, component)| component.folder.is_some() && !needed(crates, component));
    let first = root.map(|(key, _)| reference(key)).into_iter();
    let first: Vec<String> = first.chain(others.iter().map(|other| text(&other["bom-ref"]))).collect();
    let mut dependencies = vec![json!({ "ref": main, "dependsOn": first })];
    dependencies.extend(
        crates.iter().map(|(key, component)| json!({ "ref": reference(key), "dependsOn": names(&component.needs) })),
    );
    let mut metadata = json!({
        "tools": { "components": [{ "type": "application", "name": "outpost release", "version": env!("CARGO_PKG_VERSION") }] },
        "component": subject,
        "properties": [{ "name": "outpost:rustc", "value": format!("{} ({})", source.rustc, source.rustc_commit) }],
    });
    if let Some(time) = source.time {
        metadata["timestamp"] = json!(time.to_string());
    }
    let mut bom = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": metadata,
        "components": components,
        "dependencies": dependencies,
        "compositions": [{ "aggregate": "complete", "assemblies": [main], "dependencies": [main] }],
    });
    // The same for the same contents, as RFC 9562, 5.8 allows.
    let digest = sha256(bom.to_string().as_bytes());
    bom["serialNumber"] = json!(format!(
        "urn:uuid:{}-{}-8{}-8{}-{}",
        &digest[..8],
        &digest[8..12],
        &digest[13..16],
        &digest[17..20],
        &digest[20..32],
    ));
    format!("{bom:#}\n")
}

/// Whether one of the others needs this one.
fn needed(crates: &BTreeMap<Key, Component>, component: &Component) -> bool {
    let key = crates.iter().find(|(_, other)| std::ptr::eq(*other, component)).map(|(key, _)| key);
    crates.values().any(|other| key.is_some_and(|key| other.needs.contains(key)))
}

fn reference(key: &Key) -> String {
    format!("pkg:cargo/{}@{}", key.0, key.1)
}

/// As SPDX writes it; a slash is how crates said OR before there was a rule.
fn license(expression: &str) -> Value {
    json!({ "expression": expression.replace('/', " OR ") })
}

fn standard(source: &Source, name: &str) -> Value {
    json!({
        "type": "library",
        "bom-ref": format!("pkg:generic/rust-{name}@{}", source.rustc),
        "name": format!("rust-{name}"),
        "version": source.rustc,
        "purl": format!("pkg:generic/rust-{name}@{}", source.rustc),
        "description": format!("Rust's own library, of the compiler's commit {}", source.rustc_commit),
        "licenses": [license("MIT OR Apache-2.0")],
        "scope": "required",
    })
}

/// The crates that are given to the linker for this package.
fn tree(root: &Path, package: &str, target: &str) -> Result<BTreeMap<Key, Component>, String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["tree", "--locked", "--quiet", "--package", package, "--target", target]).args([
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "depth",
        "--format",
        "\t{p}\t{l}\t{r}\t",
    ]);
    let lines = said(&mut command, root).ok_or_else(|| {
        format!("`cargo tree --locked --package {package} --target {target}` failed in {}", root.display())
    })?;
    let mut crates: BTreeMap<Key, Component> = BTreeMap::new();
    let mut path: Vec<Key> = Vec::new();
    for line in lines.lines() {
        let odd = || format!("cargo tree said something unexpected: {line:?}");
        let mut parts = line.split('\t');
        let depth: usize = parts.next().and_then(|depth| depth.parse().ok()).ok_or_else(odd)?;
        let [Some(package), Some(license), Some(repository)] = [parts.next(), parts.next(), parts.next()] else {
            return Err(odd());
        };
        let mut words = package.splitn(3, ' ');
        let [Some(name), Some(version)] = [words.next(), words.next().and_then(|word| word.strip_prefix('v'))] else {
            return Err(odd());
        };
        let key = (name.to_owned(), version.to_owned());
        let place = words.next().and_then(|place| place.strip_prefix('(')?.strip_suffix(')'));
        let folder = place.and_then(|place| Path::new(place).strip_prefix(root).ok());
        path.truncate(depth);
        if let Some(parent) = path.last().and_then(|parent| crates.get_mut(parent)) {
            parent.needs.insert(key.clone());
        }
        let known = crates.entry(key.clone()).or_default();
        known.license = license.to_owned();
        known.repository = repository.to_owned();
        known.folder = folder.map(|folder| folder.to_string_lossy().into_owned());
        path.push(key);
    }
    Ok(crates)
}

/// Whose code it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Standard,
    Crate(Key),
}

/// Who owns the sources in a folder of debug information.
fn owner(path: &str, crates: &BTreeMap<Key, Component>) -> Option<Owner> {
    if path.starts_with(STANDARD) {
        return Some(Owner::Standard);
    }
    if let Some(path) = path.strip_prefix(CRATES) {
        let folder = path.split('/').next()?;
        let mut keys = crates.keys();
        return keys.find(|(name, version)| format!("{name}-{version}") == folder).cloned().map(Owner::Crate);
    }
    let path = path.strip_prefix(OWN)?.trim_start_matches('/');
    // Of folders inside each other the innermost.
    let fits =
        |component: &Component| component.folder.as_ref().is_some_and(|folder| path.starts_with(folder.as_str()));
    let own = crates.iter().filter(|(_, component)| fits(component));
    own.max_by_key(|(_, component)| component.folder.as_ref().map(String::len))
        .map(|(key, _)| Owner::Crate(key.clone()))
}

/// The source files whose code is in this ELF, by its debug information.
fn code_in(elf: &[u8]) -> Result<BTreeSet<String>, String> {
    let told = |error: &dyn std::fmt::Display| format!("the debug information of the image cannot be read: {error}");
    let file = object::File::parse(elf).map_err(|error| told(&error))?;
    let section = |id: SectionId| {
        let data = file.section_by_name(id.name()).map(|section| section.data()).transpose()?;
        Ok::<_, object::Error>(EndianSlice::new(data.unwrap_or_default(), LittleEndian))
    };
    let dwarf = Dwarf::load(section).map_err(|error| told(&error))?;
    let text: Vec<_> = file.sections().filter(|section| section.kind() == SectionKind::Text).collect();
    let in_text = |address: u64| {
        text.iter().any(|section| (section.address()..section.address() + section.size()).contains(&address))
    };
    let mut files = BTreeSet::new();
    let mut units = dwarf.units();
    while let Some(header) = units.next().map_err(|error| told(&error))? {
        let unit = dwarf.unit(header).map_err(|error| told(&error))?;
        let folder = unit.comp_dir.map(|folder| folder.to_string_lossy().into_owned()).unwrap_or_default();
        let Some(program) = unit.line_program.clone() else { continue };
        let mut indices = BTreeSet::new();
        let mut rows = program.rows();
        while let Some((_, row)) = rows.next_row().map_err(|error| told(&error))? {
            if !row.end_sequence() && in_text(row.address()) {
                indices.insert(row.file_index());
            }
        }
        let lines = rows.header();
        for entry in indices.into_iter().filter_map(|index| lines.file(index)) {
            let name = |value| dwarf.attr_string(&unit, value).map(|text| text.to_string_lossy().into_owned());
            let place = entry.directory(lines).map(name).transpose().map_err(|error| told(&error))?;
            let name = name(entry.path_name()).map_err(|error| told(&error))?;
            files.insert(joined([folder.as_str(), place.as_deref().unwrap_or_default(), &name]));
        }
    }
    if files.is_empty() {
        return Err(String::from("the image has no debug information: it must be outpost.debug.elf of the build"));
    }
    Ok(files)
}

/// One path of several, each of which starts anew when it is complete: absolute, or as the build names it.
fn joined(parts: [&str; 3]) -> String {
    let complete = |part: &str| part.starts_with('/') || part.starts_with(CRATES);
    let start = parts.iter().rposition(|part| complete(part)).unwrap_or(0);
    let parts = parts.get(start..).unwrap_or_default().iter().filter(|part| !part.is_empty());
    parts.flat_map(|part| iter::once("/").chain(iter::once(*part))).skip(1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crates() -> BTreeMap<Key, Component> {
        let component = |folder: Option<&str>| Component { folder: folder.map(str::to_owned), ..Component::default() };
        let key = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        BTreeMap::from([
            (key("outpost", "0.1.0"), component(Some(""))),
            (key("outpost-wire", "0.1.0"), component(Some("wire"))),
            (key("sha2", "0.11.1"), component(None)),
        ])
    }

    #[test]
    fn code_belongs_to_the_crate_and_version_of_its_folder() {
        // Code of another version than the listed one is what a bill of materials is read for.
        let owner = |path: &str| match owner(path, &crates()) {
            Some(Owner::Crate((name, _))) => name,
            Some(Owner::Standard) => "standard".into(),
            None => "nobody".into(),
        };
        for (path, expected) in [
            ("/rustc/59807616e1fa/library/core/src/num/mod.rs", "standard"),
            ("crates/sha2-0.11.1/src/lib.rs", "sha2"),
            ("crates/sha2-0.10.0/src/lib.rs", "nobody"),
            ("outpost/wire/src/lib.rs", "outpost-wire"),
            ("outpost/src/lib.rs", "outpost"),
            ("/some/me/sha2-0.11.1/src/lib.rs", "nobody"),
        ] {
            assert_eq!(owner(path), expected, "{path}");
        }
    }

    #[test]
    fn a_path_starts_where_it_is_complete() {
        // A folder put before a complete path would make every crate nobody's.
        assert_eq!(joined(["outpost", "src", "lib.rs"]), "outpost/src/lib.rs");
        assert_eq!(joined(["outpost", "crates/a-1.0.0/src", "lib.rs"]), "crates/a-1.0.0/src/lib.rs");
        assert_eq!(joined(["crates/a-1.0.0", "/rustc/1/library", "x.rs"]), "/rustc/1/library/x.rs");
        assert_eq!(joined(["outpost", "", "a.rs"]), "outpost/a.rs");
    }
}
