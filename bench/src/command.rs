//! Programs that we run to their end, never longer than a limit.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How often a program that has not ended yet is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// What is quoted of a program's complaint, in bytes.
const QUOTED: usize = 2000;

/// Runs a program; what it wrote on standard output, or a sentence about what went wrong.
pub fn run(command: &mut Command, limit: Duration) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("{name} is not installed. Run: make bench, which installs it"),
        _ => format!("{name} could not be run: {error}"),
    };
    // Into files, because a pipe that nobody reads stops the program.
    let (mut out, mut err) = (tempfile::tempfile().map_err(failed)?, tempfile::tempfile().map_err(failed)?);
    command.stdin(Stdio::null());
    command.stdout(out.try_clone().map_err(failed)?).stderr(err.try_clone().map_err(failed)?);
    let mut child = command.spawn().map_err(failed)?;
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if Instant::now() >= deadline {
            // Both fail only when it has ended meanwhile.
            let (_, _) = (child.kill(), child.wait());
            return Err(format!("{name} did not end within {limit:?}"));
        }
        thread::sleep(LOOK);
    };
    if status.success() {
        return text(&mut out).map_err(failed);
    }
    let complaint = text(&mut err).map_err(failed)?;
    Err(format!("{name} failed ({status}): {}", complaint.chars().take(QUOTED).collect::<String>().trim()))
}

/// Everything in a file from its beginning.
fn text(file: &mut File) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_is_ended() {
        // One hanging wrk would hold up the whole benchmark for ever.
        let error = run(Command::new("sleep").arg("60"), Duration::from_millis(50)).unwrap_err();
        assert!(error.contains("did not end within 50ms"), "{error}");
    }

    #[test]
    fn a_failure_quotes_the_programs_own_words() {
        // "Failed" alone sends people to strace.
        let limit = Duration::from_secs(10);
        let shell = |script| run(Command::new("sh").args(["-c", script]), limit);
        assert_eq!(shell("echo fine").unwrap(), "fine\n");
        assert!(shell("echo no such tap >&2; exit 3").unwrap_err().contains("no such tap"));
        assert!(run(&mut Command::new("no-such-program"), limit).unwrap_err().contains("is not installed"));
    }
}
