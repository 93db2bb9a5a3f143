//! The simulation: the unchanged agent against a seeded network, with clients, a collector and an oracle.
//!
//! Each seed is a world of its own. `OUTPOST_SEED=S cargo test -p outpost-cli --test simulation` runs one seed and shows what it
//! did; `OUTPOST_SEEDS=N` runs another number of them. A run that fails prints its seed; the seed alone repeats it.

mod alone;
#[path = "../support/answer.rs"]
mod answer;
mod attacker;
mod bad_input;
mod client;
mod collector;
mod conform;
#[path = "../support/conformance.rs"]
mod conformance;
mod dialects;
#[path = "../support/events.rs"]
mod events;
mod frames;
mod gateway;
mod heartbeat;
mod history;
mod http;
mod incidents;
mod independent;
mod isolation;
mod link;
mod names;
mod nic;
#[path = "../support/openapi.rs"]
mod openapi;
mod oracle;
mod packets;
mod probe;
mod probing;
mod rare;
mod real;
mod redirects;
mod rng;
mod scenario;
mod siege;
mod station;
mod syslog;
mod tls;
#[path = "../tls/server.rs"]
mod tls_server;
mod watch;
mod world;

use collector::Mood;
use outpost::log::Bug;
use scenario::Scenario;
use world::{Outcome, World};

/// Seeds of one `cargo test`.
const SEEDS: u64 = 200;

/// Every so many seeds one is run a second time and compared.
const REPEAT_EVERY: u64 = 20;

/// One request in so many may find the answer buffers taken.
const BUSY_SHARE: u64 = 1_000;

/// Seeds in which a named bug must be found at the latest.
const BUG_SEEDS: u64 = 20;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// Runs one seed; a panic of the agent is a violation like any other.
fn run(scenario: &Scenario) -> Outcome {
    run_with(scenario, None)
}

/// Runs one seed with a bug planted in the agent.
fn run_with(scenario: &Scenario, bug: Option<Bug>) -> Outcome {
    let world = || {
        World::new(scenario.clone()).run(|agent| {
            if let Some(bug) = bug {
                agent.log().plant(bug);
            }
        })
    };
    probe::alone(world)
        .unwrap_or_else(|panic| Outcome { violations: vec![format!("panic: {panic}")], ..Outcome::default() })
}

#[test]
fn every_seed_keeps_the_law() {
    // What could go wrong: anything a network, a peer or a reset can do to the agent.
    let seeds = match variable("OUTPOST_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("OUTPOST_SEEDS").unwrap_or(SEEDS),
    };
    let verbose = seeds.end - seeds.start == 1;
    let mut failed = Vec::new();
    let mut total = Outcome::default();
    for seed in seeds.clone() {
        let scenario = Scenario::new(seed);
        let outcome = run(&scenario);
        if verbose {
            println!("{scenario:#?}\n{outcome:#?}");
        }
        total.add(&outcome);
        let mut violations = outcome.violations.clone();
        if seed % REPEAT_EVERY == 0 && run(&scenario) != outcome {
            violations.push("two runs of this seed differ".into());
        }
        if !violations.is_empty() {
            println!("seed {seed} fails:");
            violations.iter().for_each(|violation| println!("  {violation}"));
            println!(
                "  again: OUTPOST_SEED={seed} cargo test -p outpost-cli --test simulation every_seed -- --nocapture"
            );
            failed.push(seed);
        }
    }
    println!("{} seeds: {total}", seeds.end - seeds.start);
    assert!(failed.is_empty(), "{} of {} seeds fail: {failed:?}", failed.len(), seeds.end - seeds.start);
    // Three clients with lost packets fill the answer buffers at times, and no more than that.
    assert!(verbose || total.busy * BUSY_SHARE < total.answered, "{} of {} were busy", total.busy, total.answered);
}

#[test]
fn a_collector_that_refuses_is_told_of_with_its_reason() {
    // "refused", and somebody looks for a firewall while the collector's disk is full. That the outage began as another one
    // must not hide it.
    for seed in 0..5 {
        for (mood, told) in [(Mood::Full, true), (Mood::Mute, false)] {
            let outcome = run(&Scenario::with_moody_collector(seed, mood));
            assert_eq!(outcome.violations, [""; 0], "seed {seed}");
            assert_eq!(outcome.ends.contains("refused_storage"), told, "seed {seed}, {mood:?}: {:?}", outcome.ends);
            assert!(!outcome.ends.contains("refused") && outcome.ends.len() > usize::from(told), "{:?}", outcome.ends);
        }
    }
}

/// The first of these worlds in which something is found, with what was found.
fn first_found(world: impl Fn(u64) -> Scenario, bug: Option<Bug>) -> Option<(u64, String)> {
    (0..BUG_SEEDS).find_map(|seed| {
        let scenario = world(seed);
        let found = run_with(&scenario, bug).violations.into_iter().next()?;
        let clean = Scenario { ack_before_commit: false, ..scenario };
        assert_eq!(run(&clean).violations, [""; 0], "seed {seed} fails without the bug, too");
        Some((seed, found))
    })
}

#[test]
fn an_oracle_that_finds_the_named_bugs() {
    // An oracle that cannot fail proves nothing: each bug must be found by what it does, and only with the bug.
    let overflow: fn(u64) -> Scenario = Scenario::with_overflow;
    let hasty: fn(u64) -> Scenario = Scenario::with_hasty_collector;
    let worlds = [
        ("ack before commit", hasty, None, "CollectorRolledBack"),
        ("drop without Lost", overflow, Some(Bug::DropWithoutLost), "was to come"),
        ("range off by one", overflow, Some(Bug::RangeOffByOne), "is in the ring"),
        ("replay", overflow, Some(Bug::Replay), "was to come"),
    ];
    for (name, world, bug, sign) in worlds {
        let found = first_found(world, bug);
        println!("{name}: {found:?}");
        assert!(found.is_some_and(|(_, found)| found.contains(sign)), "{name} was not found");
    }
}
