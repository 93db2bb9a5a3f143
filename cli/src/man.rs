//! `outpost man`: the manual pages, one for each subcommand.

use clap::Command;
use clap_mangen::Man;
use jiff::Timestamp;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

/// The arguments of `outpost man`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  outpost man ~/.local/share/man/man1      then: man outpost, man outpost-up
  outpost man . && man -l outpost-up.1

The Debian package has them in place.")]
pub struct Args {
    /// Folder that the pages are written to
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Writes the pages of `command`; has told everything when it returns.
pub fn run(args: &Args, command: Command) -> ExitCode {
    let mut command = command.disable_help_subcommand(true);
    // Gives each subcommand its name in full, as its page is called.
    command.build();
    match fs::create_dir_all(&args.folder).and_then(|()| write(&command, &args.folder, &date())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outpost man: {} cannot be written: {error}", args.folder.display());
            ExitCode::FAILURE
        }
    }
}

/// The day that the pages say they are of: that of SOURCE_DATE_EPOCH, which makes a release the same whenever it is built
/// (reproducible-builds.org/specs/source-date-epoch), else today.
fn date() -> String {
    let epoch = env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| seconds.parse().ok());
    let moment = epoch.and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or_else(Timestamp::now);
    moment.strftime("%Y-%m-%d").to_string()
}

/// Writes the page of `command` and of everything below it.
fn write(command: &Command, folder: &Path, date: &str) -> io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write(below, folder, date)?;
    }
    let version = format!("outpost {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).date(date).source(version).manual("Outpost");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let notes = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    page.extend_from_slice(examples(&notes).as_bytes());
    fs::write(folder.join(man.get_filename()), page)
}

/// What stands below the options in the help, line by line as it stands there: `clap_mangen` would fill its paragraphs.
fn examples(notes: &str) -> String {
    let mut section = String::from(".SH EXAMPLES\n.nf\n");
    for line in notes.lines().filter(|line| *line != "Examples:") {
        // A line must not begin as a request does (groff(7)).
        section += if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        for sign in line.chars() {
            match sign {
                '\\' => section += "\\e",
                '-' => section += "\\-",
                '\'' => section += "\\(aq",
                '`' => section += "\\(ga",
                sign if sign.is_ascii() => section.push(sign),
                sign => section += &format!("\\[u{:04X}]", u32::from(sign)),
            }
        }
        section.push('\n');
    }
    section + ".fi\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_can_be_copied_from_a_page() {
        // Hyphens that are none, quotes that are typographic, and lines that vanish because they look like requests.
        let page = examples("Examples:\n  outpost up --port 1 | jq '.a'\n.x `y` \\n \u{2026}");
        let expected = "  outpost up \\-\\-port 1 | jq \\(aq.a\\(aq\n\\&.x \\(gay\\(ga \\en \\[u2026]\n";
        assert_eq!(page, format!(".SH EXAMPLES\n.nf\n{expected}.fi\n"));
    }
}
