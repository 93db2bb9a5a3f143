//! The papers of a release are what they say they are, by the judgement of others' programs: CycloneDX's own validator,
//! in-toto's own message types, sha256sum, minisign. And what they say is so.

use crate::folder::{Folder, OUTPOST, root, succeeded};
use crate::support::{Why, left_out};
use object::{Object, ObjectSymbol};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

/// Crates of Rust's own library, and of the compiler's shims.
const STANDARD: [&str; 8] =
    ["core", "alloc", "std", "std_detect", "panic_unwind", "unwind", "compiler_builtins", "__rustc"];

/// A document of the folder.
fn document(folder: &Folder, name: &str) -> Value {
    serde_json::from_slice(&folder.get(name)).unwrap()
}

/// The names of crates as symbols have them.
fn crates_in_symbols(elf: &[u8]) -> BTreeSet<String> {
    let file = object::File::parse(elf).unwrap();
    let mut crates = BTreeSet::new();
    for symbol in file.symbols().filter(|symbol| symbol.is_definition()) {
        let Ok(mangled) = rustc_demangle::try_demangle(symbol.name().unwrap_or_default()) else { continue };
        // `<a::B as c::D>::e` is a function of `a` or of `c`; the path before the first `::` that is a plain word is one.
        let name = format!("{mangled:#}");
        let first = name.split("::").next().unwrap_or_default();
        if !first.is_empty() && first.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            crates.insert(first.to_owned());
        }
    }
    for standard in STANDARD {
        crates.remove(standard);
    }
    crates
}

/// What the symbols and the debug information of an image, and its bill of materials, do not agree in.
fn disagreements(bom: &Value, debug: &[u8]) -> Vec<String> {
    let components = bom["components"].as_array().unwrap();
    let word = |component: &Value, key: &str| component[key].as_str().unwrap_or_default().to_owned();
    let name = |component: &Value| word(component, "name").replace('-', "_");
    let with_code: BTreeSet<_> = components.iter().filter(|c| c["scope"] == "required").map(name).collect();
    let text = String::from_utf8_lossy(debug);
    let mut wrong = Vec::new();
    for found in crates_in_symbols(debug) {
        // The program itself is a part of the package `outpost`.
        let found = if found == "image" { "outpost".to_owned() } else { found };
        if !with_code.contains(&found) {
            wrong.push(format!("{found} has code in the image and is not listed with it"));
        }
    }
    for component in components.iter().filter(|c| word(c, "purl").starts_with("pkg:cargo/") && c["scope"] == "required")
    {
        let folder = match word(component, "name").starts_with("outpost") {
            true => "outpost".to_owned(),
            false => format!("crates/{}-{}", word(component, "name"), word(component, "version")),
        };
        if !text.contains(&folder) {
            wrong.push(format!("{} is listed with code, and no source of it is in the image", word(component, "name")));
        }
    }
    wrong
}

#[test]
fn the_bill_of_materials_and_the_image_agree() {
    // A list that names what is not there, or misses what is: the next advisory is answered wrongly.
    let Some(folder) = Folder::new("the_bill_of_materials_and_the_image_agree") else { return };
    folder.release();
    let debug = folder.get("outpost.debug.elf");
    let mut bom = document(&folder, "outpost-image.cdx.json");
    assert!(crates_in_symbols(&debug).len() > 10, "{:?}", crates_in_symbols(&debug));
    assert_eq!(disagreements(&bom, &debug), Vec::<String>::new());
    // It can say no: a crate that is missing, one of another version, one that has no code after all.
    let components = bom["components"].as_array_mut().unwrap();
    let smoltcp = components.iter().position(|component| component["name"] == "smoltcp").unwrap();
    let removed = components.remove(smoltcp);
    assert!(disagreements(&bom, &debug)[0].contains("smoltcp has code in the image"));
    let components = bom["components"].as_array_mut().unwrap();
    components.push(removed);
    components.last_mut().unwrap()["version"] = "0.13.0".into();
    assert!(disagreements(&bom, &debug)[0].contains("smoltcp is listed with code"));
    let components = bom["components"].as_array_mut().unwrap();
    components.last_mut().unwrap()["scope"] = "optional".into();
    assert!(disagreements(&bom, &debug)[0].contains("smoltcp has code in the image"));
    // And every crate is locked, with the checksum of its archive.
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    for component in bom["components"].as_array().unwrap() {
        if let Some(checksum) = component["hashes"][0]["content"].as_str() {
            assert!(lock.contains(checksum), "{component}");
        }
    }
}

#[test]
fn the_commands_bill_of_materials_names_every_crate_in_it() {
    // A crate of the collector that nobody knows of: it is the part that listens on a network of a real host.
    let Some(folder) = Folder::new("the_commands_bill_of_materials_names_every_crate_in_it") else { return };
    folder.release();
    let bom = document(&folder, "outpost-command.cdx.json");
    let listed: BTreeSet<String> = bom["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|component| component["name"].as_str().unwrap().replace('-', "_"))
        .collect();
    let found = crates_in_symbols(&fs::read(OUTPOST).unwrap());
    assert!(found.len() > 40, "{found:?}");
    let unnamed: Vec<_> = found.iter().filter(|name| !listed.contains(*name) && *name != "outpost_cli").collect();
    assert!(unnamed.is_empty(), "in the command and not in its bill of materials: {unnamed:?}");
    assert!(listed.contains("sqlite") && listed.contains("outpost"));
}

#[test]
fn others_programs_accept_the_papers() {
    // Papers that only we can read prove nothing to anybody.
    const NAME: &str = "others_programs_accept_the_papers";
    let Some(folder) = Folder::new(NAME) else { return };
    folder.release();
    let checked = Command::new("sha256sum").args(["-c", "SHA256SUMS"]).current_dir(folder.dir()).output().unwrap();
    let lines = succeeded(checked);
    for name in ["man/outpost.1", "outpost.elf", "outpost.qcow2", "outpost-image.cdx.json", "provenance.json"] {
        assert!(lines.contains(&format!("{name}: OK")), "{lines}");
    }
    let minisign = Command::new("minisign")
        .args(["-V", "-m", "SHA256SUMS", "-p"])
        .arg(folder.beside("key.pub"))
        .current_dir(folder.dir())
        .output()
        .unwrap();
    assert!(succeeded(minisign).contains("Signature and comment signature verified"));

    let python = root().join("target/python/bin/python");
    let judge = |arguments: &[&str]| {
        let papers = root().join("tests/python/papers.py");
        Command::new(&python).arg(papers).args(arguments).current_dir(folder.dir()).output()
    };
    let ready = Command::new(&python).args(["-c", "import cyclonedx, in_toto_attestation"]).output();
    if !ready.is_ok_and(|output| output.status.success()) {
        let why = "cyclonedx-python-lib and in-toto-attestation are not in target/python: scripts/setup test";
        return left_out(Why::Skipped, NAME, why);
    }
    succeeded(
        judge(&["sbom", "outpost-image.cdx.json", "outpost-loader.cdx.json", "outpost-command.cdx.json"]).unwrap(),
    );
    succeeded(judge(&["provenance", "provenance.json"]).unwrap());
    // They can say no.
    for (kind, name, field) in
        [("sbom", "outpost-image.cdx.json", "bom-ref"), ("provenance", "provenance.json", "builder")]
    {
        let text = String::from_utf8(folder.get(name)).unwrap();
        folder.put(name, text.replace(field, "misspelt").as_bytes());
        assert_eq!(judge(&[kind, name]).unwrap().status.code(), Some(1), "{name} with {field} misspelt");
    }
}

#[test]
fn the_same_files_get_the_same_papers() {
    // A time, a host's name or a path in the papers: two builds of one commit could not be compared as a whole.
    let Some(folder) = Folder::new("the_same_files_get_the_same_papers") else { return };
    folder.release();
    let names =
        ["SHA256SUMS", "SHA256SUMS.minisig", "outpost-image.cdx.json", "outpost-command.cdx.json", "provenance.json"];
    let first = names.map(|name| folder.get(name));
    folder.release();
    for (name, first) in names.iter().zip(first) {
        let second = folder.get(name);
        assert!(second == first, "{name} changed:\n{}", String::from_utf8_lossy(&second));
        let text = String::from_utf8(second).unwrap();
        for private in [root().to_str().unwrap(), folder.dir().to_str().unwrap()] {
            assert!(!text.contains(private), "{name} has {private} in it");
        }
    }
    // Every file is a subject of the provenance but what is made from it.
    let provenance = document(&folder, "provenance.json");
    let subjects: Vec<_> =
        provenance["subject"].as_array().unwrap().iter().map(|subject| subject["name"].as_str().unwrap()).collect();
    assert_eq!(
        subjects,
        [
            "man/outpost.1",
            "outpost",
            "outpost-command.cdx.json",
            "outpost-image.cdx.json",
            "outpost-loader.cdx.json",
            "outpost.debug.elf",
            "outpost.efi",
            "outpost.elf",
            "outpost.qcow2",
            "outpost.raw"
        ]
    );
    let materials = provenance["predicate"]["buildDefinition"]["resolvedDependencies"].as_array().unwrap();
    let lock = materials.iter().find(|material| material["name"] == "Cargo.lock").unwrap();
    let sum = succeeded(Command::new("sha256sum").arg(root().join("Cargo.lock")).output().unwrap());
    assert_eq!(lock["digest"]["sha256"], sum[..64]);
}

#[test]
fn symbols_of_another_build_are_refused() {
    // The bill of materials of yesterday's image beside today's.
    let Some(folder) = Folder::new("symbols_of_another_build_are_refused") else { return };
    let mut debug = folder.get("outpost.debug.elf");
    let at = debug.windows(8).position(|bytes| bytes == b"Outpost\0").unwrap() + 8;
    debug[at] ^= 1;
    folder.put("outpost.debug.elf", &debug);
    let output = Command::new(OUTPOST).arg("release").arg(folder.dir()).current_dir(root()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is of another build than"), "{output:?}");
}
