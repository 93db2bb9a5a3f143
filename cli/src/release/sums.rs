//! SHA256SUMS: the checksums of a release, as `sha256sum -c` reads them.

use super::{Listed, SIGNATURE, SUMS, sha256};
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Files in a release; more are somebody's home folder.
const FILES_MAX: usize = 1000;

/// Folders in folders.
const DEPTH_MAX: usize = 8;

/// Every file in the folder but the checksums themselves and their signature, sorted by name.
pub fn list(dir: &Path) -> Result<Vec<Listed>, String> {
    let mut files = Vec::new();
    collect(dir, "", DEPTH_MAX, &mut files)?;
    files.sort_by(|a: &Listed, b| a.name.cmp(&b.name));
    Ok(files)
}

fn collect(dir: &Path, path: &str, depth: usize, files: &mut Vec<Listed>) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{} cannot be read: {error}", dir.display());
    for entry in fs::read_dir(dir).map_err(told)? {
        let entry = entry.map_err(told)?;
        let name = entry.file_name().into_string().ok().filter(|name| !name.contains(['\n', '\r', '\\']));
        let shown = entry.path();
        let name = name.ok_or_else(|| format!("{}: a name that checksums cannot hold", shown.display()))?;
        let name = if path.is_empty() { name } else { format!("{path}/{name}") };
        let kind = entry.file_type().map_err(told)?;
        if name == SUMS || name == SIGNATURE {
            continue;
        }
        if files.len() == FILES_MAX || depth == 0 {
            return Err(format!("{}: more than {FILES_MAX} files or {DEPTH_MAX} folders deep", shown.display()));
        }
        if kind.is_dir() {
            collect(&shown, &name, depth - 1, files)?;
        } else if kind.is_file() {
            files.push(Listed { name, sha256: sha256(&super::read(&shown)?) });
        } else {
            return Err(format!("{} is neither a file nor a folder; a release has no links", shown.display()));
        }
    }
    Ok(())
}

/// As text.
pub fn write(files: &[Listed]) -> String {
    files.iter().fold(String::new(), |mut text, file| {
        let _ = writeln!(text, "{}  {}", file.sha256, file.name); // writing into a String cannot fail
        text
    })
}

/// From text. Every line must be one: what cannot be read is not skipped.
pub fn parse(text: &str) -> Result<Vec<Listed>, String> {
    let line = |(number, line): (usize, &str)| {
        let parts = line.split_once("  ").or_else(|| line.split_once(" *"));
        let known = parts.filter(|(sha256, name)| {
            sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) && !name.is_empty()
        });
        let (sha256, name) = known.ok_or_else(|| format!("line {} is no checksum and name", number + 1))?;
        let name = name.strip_prefix("./").unwrap_or(name);
        Ok(Listed { name: name.to_owned(), sha256: sha256.to_ascii_lowercase() })
    };
    text.lines().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        // A line that is skipped is a file that nobody checks.
        let files = vec![
            Listed { name: "a b/c.elf".into(), sha256: "0a".repeat(32) },
            Listed { name: "d".into(), sha256: "ff".repeat(32) },
        ];
        assert_eq!(parse(&write(&files)).unwrap(), files);
        let other = format!("{} *./d\n", "FF".repeat(32));
        assert_eq!(parse(&other).unwrap(), files[1..]);
        for bad in ["", "0a  d\n", &format!("{}  \n", "0a".repeat(32)), &format!("{} d\n", "0a".repeat(32)), "#\n"] {
            assert_eq!(parse(bad).is_ok(), bad.is_empty(), "{bad:?}");
        }
    }

    #[test]
    fn everything_in_the_folder_is_listed_and_links_are_not_followed() {
        // A file that is not listed can be exchanged; a link can lead anywhere.
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("man")).unwrap();
        for name in ["man/outpost.1", "outpost", SUMS, SIGNATURE] {
            fs::write(dir.path().join(name), b"x").unwrap();
        }
        let names: Vec<_> = list(dir.path()).unwrap().into_iter().map(|file| file.name).collect();
        assert_eq!(names, ["man/outpost.1", "outpost"]);
        std::os::unix::fs::symlink("/etc", dir.path().join("link")).unwrap();
        assert!(list(dir.path()).unwrap_err().contains("no links"));
    }
}
