//! The static command: outside a checkout, with its pages, its completions and its notices.

use crate::support::{Why, left_out};
use crate::{beside, installed, program, released, run, told};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// How long a guest may take to answer, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn it_boots_the_image_it_carries_in_an_empty_folder() {
    // What a user downloads would need a checkout, a library of the machine it was built on, or the network.
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut up = Command::new(released("outpost"))
        .args(["up", "--json", "--accel", "tcg", "--port", &port.to_string()])
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(up.stderr.take().unwrap()).lines();
    let said = thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>().join("\n"));
    let url = format!("http://127.0.0.1:{port}/about");
    let began = Instant::now();
    let about = loop {
        let (code, text) = run(program("curl").args(["-sf", "--max-time", "5", &url]));
        match code {
            Some(0) => break text,
            _ if began.elapsed() > PATIENCE => {
                let _ = up.kill();
                panic!("no answer:\n{}", said.join().unwrap());
            }
            _ => thread::sleep(Duration::from_millis(100)),
        }
    };
    told(program("kill").args(["-INT", &up.id().to_string()]));
    assert_eq!(up.wait().unwrap().code(), Some(0), "{}", said.join().unwrap());
    // It is the image that the release has as a file.
    let written =
        told(program(released("outpost")).args(["image", "--format", "raw", "--out", "."]).current_dir(folder.path()));
    let id = written.lines().find_map(|line| line.strip_prefix("image id ")).unwrap();
    assert!(about.contains(id), "{about} does not report {id}");
    assert!(fs::read(folder.path().join("outpost.elf")).unwrap() == fs::read(released("outpost.elf")).unwrap());
    assert!(fs::read(folder.path().join("outpost.raw")).unwrap() == fs::read(released("outpost.raw")).unwrap());
    assert!(folder.path().join("up.db").exists());
}

#[test]
fn a_command_without_an_image_says_where_one_comes_from() {
    // A command that was built by hand and copied elsewhere must not fail with "linker.ld: no such file".
    let folder = tempfile::tempdir().unwrap();
    for subcommand in ["up", "image", "licenses"] {
        let (code, text) = run(program(env!("CARGO_BIN_EXE_outpost")).arg(subcommand).current_dir(folder.path()));
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("is not inside a checkout of Outpost") && text.contains("--image FILE"), "{text}");
    }
}

#[test]
fn a_credential_of_systemd_may_show_an_access_list() {
    // systemd 254 and later gives a service its key file with an access list, whose mask looks like a group's right.
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    fs::write(&keys, format!("outpost {}\n", "5a".repeat(32))).unwrap();
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o440)).unwrap();
    let collect = |credentials: &Path| {
        let mut command = Command::new("timeout");
        command.args(["--signal=INT", "2", env!("CARGO_BIN_EXE_outpost"), "collect", "--listen", "127.0.0.1:0"]);
        command.arg("--store").arg(folder.path().join("store.db")).arg("--keys").arg(&keys);
        run(command.stdin(Stdio::null()).env("CREDENTIALS_DIRECTORY", credentials)).1
    };
    let text = collect(folder.path());
    assert!(text.contains("collecting on 127.0.0.1:"), "{text}");
    for other in [Path::new("/run/credentials/other.service"), Path::new("")] {
        let text = collect(other);
        assert!(text.contains("can be read or changed by other users"), "{text}");
    }
}

#[test]
fn it_needs_nothing_of_the_machine_and_names_nothing_of_the_one_it_was_built_on() {
    // A dynamic loader that a user's system has not, or somebody's home folder in a release.
    let command = fs::read(released("outpost")).unwrap();
    let elf = object::read::elf::ElfFile64::<object::LittleEndian>::parse(&*command).unwrap();
    let interpreter = elf
        .elf_program_headers()
        .iter()
        .any(|segment| segment.p_type.get(object::LittleEndian) == object::elf::PT_INTERP);
    assert!(!interpreter, "it asks for a dynamic loader (PT_INTERP)");
    let mut folders = vec![beside("").to_string_lossy().into_owned()];
    folders.extend(std::env::home_dir().map(|home| format!("{}/.cargo", home.display())));
    for folder in folders {
        let found = command.windows(folder.len()).any(|bytes| bytes == folder.as_bytes());
        assert!(!found, "it names {folder}");
    }
}

/// The crates whose sources a binary names, as `NAME VERSION`: paths of theirs are `crates/NAME-VERSION/…` in it.
fn crates_named_in(binary: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(binary);
    let places = text.split("crates/").skip(1);
    let folders = places.filter_map(|rest| rest.get(..64.min(rest.len())).unwrap_or_default().split_once('/'));
    let named = folders.filter_map(|(folder, _)| {
        let (name, version) = folder.match_indices('-').find_map(|(at, _)| {
            let (name, version) = (&folder[..at], &folder[at + 1..]);
            version.starts_with(|c: char| c.is_ascii_digit()).then_some((name, version))
        })?;
        let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c));
        (plain(name) && plain(version)).then(|| format!("{name} {version}"))
    });
    named.collect()
}

#[test]
fn every_crate_that_a_binary_names_is_in_the_notices() {
    // Cargo's tree, from which the notices are made, might be asked for another target or other features than are built.
    // What the binaries themselves say of their sources is the other witness.
    let notices = told(program(released("outpost")).arg("licenses"));
    assert_eq!(notices, fs::read_to_string(released("THIRD-PARTY.txt")).unwrap());
    let mut all = BTreeSet::new();
    for (binary, least) in [(released("outpost"), 20), (released("outpost.debug.elf"), 10)] {
        let named = crates_named_in(&fs::read(&binary).unwrap_or_else(|error| panic!("{}: {error}", binary.display())));
        assert!(named.len() >= least, "{} names only {named:?}", binary.display());
        all.extend(named);
    }
    let missing: Vec<_> =
        all.iter().filter(|name| !notices.lines().any(|line| line.starts_with(&format!("{name}  ")))).collect();
    assert!(missing.is_empty(), "linked and not in the notices: {missing:?}");
    assert_eq!(
        crates_named_in(b"..crates/a-b-1.2.3/src/lib.rs crates/x/1").into_iter().collect::<Vec<_>>(),
        ["a-b 1.2.3"]
    );
}

/// The pages of a release in `folder`.
fn pages(folder: &Path) -> Vec<std::path::PathBuf> {
    told(program(released("outpost")).arg("man").arg(folder).env("SOURCE_DATE_EPOCH", "86400"));
    let mut pages: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    pages
}

#[test]
fn its_pages_are_read_without_a_warning() {
    // Pages that lose lines or show requests as text; a date that makes each build another.
    let name = "manual pages";
    if let Some(missing) = ["groff", "mandoc"].into_iter().find(|program| !installed(program)) {
        return left_out(Why::Skipped, name, &format!("{missing} is not installed: scripts/setup test"));
    }
    let folder = tempfile::tempdir().unwrap();
    let pages = pages(folder.path());
    assert!(pages.len() >= 16, "{pages:?}");
    assert_eq!(told(program("groff").args(["-man", "-ww", "-z"]).args(&pages)), "");
    assert_eq!(told(program("mandoc").args(["-Tlint", "-Werror"]).args(&pages)), "");
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        assert!(text.contains("1970-01-02"), "{}", page.display());
    }
    let page = folder.path().join("outpost-up.1");
    let shown = told(program("mandoc").args(["-Tascii", "-Owidth=200"]).arg(page));
    assert!(shown.contains("outpost up --port 8081 --machine q35   another port, another board\n"), "{shown}");
}

#[test]
fn shells_complete_it() {
    // A script that a shell cannot read, or that completes a command of another name.
    let folder = tempfile::tempdir().unwrap();
    let outpost = released("outpost");
    let script = |shell: &str, name: &str| {
        let path = folder.path().join(name);
        fs::write(&path, told(program(&outpost).args(["completions", shell]))).unwrap();
        path.to_string_lossy().into_owned()
    };
    let complete = |shell: &str, text: &str| {
        if !installed(shell) {
            left_out(
                Why::Skipped,
                &format!("completions in {shell}"),
                &format!("{shell} is not installed: scripts/setup test"),
            );
            return None;
        }
        let path = format!("{}:{}", outpost.parent().unwrap().display(), std::env::var("PATH").unwrap());
        let mut command = program(shell);
        let quiet = if shell == "bash" { ["--norc", "--noprofile"].as_slice() } else { ["-f"].as_slice() };
        command.args(if shell == "fish" { &[] } else { quiet }).args(["-c", text]);
        Some(told(command.env("PATH", path).env("HOME", folder.path())))
    };
    let bash = script("bash", "outpost.bash");
    let words = "COMP_WORDS=(outpost colle); COMP_CWORD=1; _outpost outpost colle outpost; echo \"${COMPREPLY[@]}\"";
    if let Some(text) = complete("bash", &format!("source {bash}; complete -p outpost; {words}")) {
        assert!(text.ends_with("\ncollect\n") && text.contains("-F _outpost"), "{text}");
    }
    // A shell of its own at a terminal: only there zsh completes. Tab makes of the line one that runs.
    script("zsh", "_outpost");
    let keys = format!(
        "zmodload zsh/zpty; zpty shell zsh -f -i
         zpty -w shell 'fpath=({} $fpath); autoload -U compinit; compinit -u -d {}/dump; print rea''dy'
         zpty -r -m shell line '*ready*' && zpty -w shell $'outpost colle\\t--vers\\t' && zpty -r -m shell line '*-collect {}*'
         print -r -- $line",
        folder.path().display(),
        folder.path().display(),
        env!("CARGO_PKG_VERSION")
    );
    if let Some(text) = complete("zsh", &keys) {
        assert!(text.contains(&format!("outpost-collect {}", env!("CARGO_PKG_VERSION"))), "{text}");
    }
    let fish = script("fish", "outpost.fish");
    if let Some(text) = complete("fish", &format!("source {fish}; complete -C 'outpost colle'")) {
        assert!(text.starts_with("collect\t"), "{text}");
    }
}
