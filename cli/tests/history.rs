//! `outpost history` on stores whose every day is known, and what a content bundle makes of it.

#[path = "support/fill.rs"]
mod fill;

use fill::{Line, boot};
use outpost::content::Kind;
use outpost::watch::{Day, brought};
use outpost_cli::{content, history};
use outpost_wire::{CheckDay, Event, HistoryKept, HistoryRestored, Intern, NameId, Text};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn name(id: u16, text: &str) -> Line<'_> {
    Line::Record(0, None, Event::from(Intern { id: NameId(id), text: Text::new(text) }))
}

fn kept(days: u16) -> Line<'static> {
    Line::Record(0, None, Event::from(HistoryKept { days }))
}

fn restored(days: u16) -> Line<'static> {
    Line::Record(0, None, Event::from(HistoryRestored { days, left_out: 0 }))
}

fn day(check: u16, day: u32, good: u32, bad: u32) -> Line<'static> {
    Line::Record(0, None, Event::from(CheckDay { check: NameId(check), day, good, bad }))
}

/// fra1 was booted four times, and another machine took its place once; ams1 beside it.
fn store(today: u32) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store.db");
    boot(
        &store,
        "fra1",
        1,
        &[
            name(7, "shop"),
            name(8, "mail"),
            kept(0),
            day(7, today - 90, 9, 9),
            day(7, today - 89, 5, 0),
            day(7, today - 3, 100, 40),
            day(7, today - 3, 110, 50),
            day(8, today - 3, 160, 0),
            day(7, today + 1, 1, 1),
        ],
    );
    // Reset: it kept what it had and goes on. The names have other ids.
    boot(&store, "fra1", 2, &[name(1, "shop"), kept(3), day(1, today - 3, 120, 50)]);
    // Switched off: it begins anew, and this day grows longer than what was before.
    boot(
        &store,
        "fra1",
        3,
        &[name(1, "shop"), name(2, "mail"), kept(0), day(1, today - 3, 500, 60), day(2, today - 3, 1, 1)],
    );
    // Another machine that was given the days.
    boot(
        &store,
        "fra1",
        4,
        &[name(1, "shop"), kept(0), restored(2), day(1, today - 3, 630, 110), day(99, today, 1, 1)],
    );
    boot(&store, "ams1", 5, &[name(1, "shop"), kept(0), day(1, today, 3, 0)]);
    (directory, store)
}

fn outpost(arguments: &[&str], paths: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_outpost")).args(arguments).args(paths).output().unwrap()
}

#[test]
fn a_day_of_several_boots_is_all_that_they_saw() {
    // A cold boot that makes the outage of the morning green, or a reset that counts it twice.
    let today = history::today();
    let (_directory, store) = store(today);
    let found = history::read(&store, Some("fra1"), today).unwrap();
    assert_eq!(found.future, 1);
    let days = |check: &str| found.checks[check].clone().into_iter().collect::<Vec<_>>();
    assert_eq!(
        days("shop"),
        [(today - 89, Day { good: 5, bad: 0 }), (today - 3, Day { good: 630, bad: 110 })],
        "120 and 50 until it was switched off, 500 and 60 until it moved, 10 since"
    );
    assert_eq!(days("mail"), [(today - 3, Day { good: 161, bad: 1 })]);
    assert_eq!(found.checks.len(), 2, "a name that is not known is nobody's");

    let whose = history::read(&store, None, today).unwrap_err();
    assert!(whose.contains("--agent (ams1, fra1)"), "{whose}");
}

#[test]
fn the_command_writes_what_an_image_reads() {
    // A file that only its writer understands is found out on the day of the move.
    let today = history::today();
    let (directory, store) = store(today);
    let out = directory.path().join("history.bin");
    let output = outpost(&["history", "--agent", "fra1", "--out"], &[&out, &store]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("fra1: 2 checks") && text.contains("1 days of the future are left out"), "{text}");

    // It is a bundle by itself, and goes into one with pages; the store gives the same.
    let folder = directory.path().join("content");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("contacts.md"), "# Who\n").unwrap();
    let bundles = [("a.bin", vec!["--history"]), ("b.bin", vec!["--agent", "fra1", "--store"])].map(|(to, from)| {
        let (to, from_file) = (directory.path().join(to), if to == "a.bin" { &out } else { &store });
        let arguments = [&["content", "build", "--json"], &from[..]].concat();
        let output = outpost(&arguments, &[from_file, Path::new("--out"), &to, &folder]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&told["history"], &told["paths"][0]), (&2.into(), &"/contacts".into()), "{told}");
        std::fs::read(&to).unwrap()
    });
    assert_eq!(bundles[0], bundles[1]);
    for bundle in [&bundles[0], &std::fs::read(&out).unwrap()] {
        let rows = content::open(bundle).unwrap().page(Kind::History).unwrap();
        let read: Vec<_> = brought::rows(rows)
            .map(|(name, days)| {
                (String::from_utf8_lossy(name).into_owned(), days.filter(|(_, day)| *day != Day::default()))
            })
            .map(|(name, days)| (name, days.collect::<Vec<_>>()))
            .collect();
        let shop = vec![(today - 89, Day { good: 5, bad: 0 }), (today - 3, Day { good: 630, bad: 110 })];
        let mail = vec![(today - 3, Day { good: 161, bad: 1 })];
        assert_eq!(read, [("mail".to_owned(), mail), ("shop".to_owned(), shop)]);
    }
}

#[test]
fn what_cannot_be_done_is_said() {
    // An empty history in a bundle: nobody notices until the page is grey.
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store.db");
    boot(&store, "fra1", 1, &[name(7, "shop"), kept(0)]);
    let output = outpost(&["history"], &[&store]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("has no days of the last 90"), "{output:?}");
    let output = outpost(&["history"], &[&directory.path().join("none.db")]);
    assert_eq!(output.status.code(), Some(2));

    let folder = directory.path().join("content");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("contacts.md"), "# Who\n").unwrap();
    let plain = directory.path().join("plain.bin");
    assert!(outpost(&["content", "build", "--out"], &[&plain, &folder]).status.success());
    for (how, file, said) in
        [("--history", &plain, "has no days of checks in it"), ("--store", &store, "has no days of the last 90")]
    {
        let output = outpost(&["content", "build", how], &[file, &folder]);
        assert_eq!(output.status.code(), Some(1), "{how}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(said), "{output:?}");
    }
}
