//! `outpost top`: an agent live on a terminal.
//!
//! Every second three answers are fetched and one screen is drawn from them; nothing is kept but the counters of the
//! second before, for rates. An agent that does not answer leaves its last state on the screen, with since when.

use crate::collect::escape;
use crate::fetch::Client;
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often the screen is drawn anew.
const REFRESH: Duration = Duration::from_secs(1);

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Events that are asked for; as many are shown as there is room.
const EVENTS: usize = 20;

/// Columns and rows where they cannot be found out.
const SIZE: (usize, usize) = (80, 24);

const EXAMPLES: &str = "\
Examples:
  outpost top http://10.0.0.5           until q or Ctrl-C
  outpost top 127.0.0.1:8080 --once     one picture as plain text, for scripts
  outpost top 127.0.0.1:8080 --once --json | jq .status.ready

Run it from an address of the agent's http.operator_allow (loopback and RFC 1918 unless configured). NO_COLOR is honoured.
Exit code: 0 it was left, 1 with --once the agent did not answer, 2 this cannot be done.";

/// What `outpost top` is told.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The agent, like http://10.0.0.5
    #[arg(value_name = "URL")]
    url: String,
    /// Show one picture and end
    #[arg(long)]
    once: bool,
    /// With --once: the answers that the picture is made of, as JSON
    #[arg(long, requires = "once")]
    json: bool,
}

/// What was fetched at one moment.
#[derive(Clone)]
struct Sample {
    at: Instant,
    status: Value,
    /// Requests answered, bytes received and sent; `None` where `/metrics` did not say.
    counters: Option<[f64; 3]>,
    /// The newest first.
    events: Vec<Value>,
}

/// How the picture is drawn.
#[derive(Clone, Copy)]
struct Style {
    colour: bool,
    columns: usize,
    rows: usize,
}

/// Draws until it is left, and has told everything when it returns.
pub fn run(args: &Args) -> ExitCode {
    let done = match Client::new(&args.url, TIMEOUT) {
        Err(problem) => Err(problem),
        Ok(client) if args.once => return once(&client, args.json),
        Ok(client) => live(&client).map_err(|error| format!("the terminal cannot be used: {error}. Try --once")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("outpost top: {problem}.");
            ExitCode::from(2)
        }
    }
}

fn once(client: &Client, as_json: bool) -> ExitCode {
    let sample = match fetch(client) {
        Ok(sample) => sample,
        Err(why) => {
            eprintln!("outpost top: {} {}.", client.base(), escape(&why));
            return ExitCode::FAILURE;
        }
    };
    if as_json {
        let requests = sample.counters.map(|[requests, ..]| requests);
        println!("{}", json!({ "status": sample.status, "requests": requests, "events": sample.events }));
    } else {
        let style = Style { colour: false, columns: usize::MAX, rows: usize::MAX };
        // A reader that went away (`| head`) has what it wanted.
        let _ = io::stdout().write_all(picture(client.base(), Some(&sample), None, None, style).as_bytes());
    }
    ExitCode::SUCCESS
}

/// The terminal as it was, put back when this is dropped.
struct Screen(Termios);

impl Screen {
    fn open() -> io::Result<Screen> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        // Keys come one by one and are not echoed; Ctrl-C stays a signal.
        raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        let screen = Screen(before);
        // The alternate screen, without a cursor.
        io::stdout().write_all(b"\x1b[?1049h\x1b[?25l")?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // There is nobody left to tell when this fails.
        let _ = io::stdout().write_all(b"\x1b[?25h\x1b[?1049l").and_then(|()| io::stdout().flush());
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

fn live(client: &Client) -> io::Result<()> {
    let [left, resized] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, left.clone())?;
    }
    signal_hook::flag::register(SIGWINCH, resized)?;
    let _screen = Screen::open()?;
    let (mut now, mut before) = (None::<Sample>, None::<Sample>);
    let mut down: Option<(Timestamp, String)> = None;
    while !left.load(Ordering::Relaxed) {
        let drawn = Instant::now();
        match fetch(client) {
            Ok(sample) => {
                before = now.replace(sample);
                down = None;
            }
            Err(why) => down = Some((down.map_or_else(Timestamp::now, |(since, _)| since), why)),
        }
        let told = down.as_ref().map(|(since, why)| (*since, why.as_str()));
        let text = picture(client.base(), now.as_ref(), before.as_ref(), told, style());
        // Each line is cleared behind its end, and what is below the last one: nothing flickers.
        let text = text.replace('\n', "\x1b[K\r\n");
        io::stdout().write_all(format!("\x1b[H{text}\x1b[J").as_bytes())?;
        io::stdout().flush()?;
        if quits(REFRESH.saturating_sub(drawn.elapsed()))? {
            break;
        }
    }
    Ok(())
}

/// Waits so long; `true` when somebody pressed q meanwhile, or there is no more input.
fn quits(wait: Duration) -> io::Result<bool> {
    let stdin = io::stdin();
    let mut waiting = [PollFd::new(&stdin, PollFlags::IN)];
    let timeout = Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: wait.subsec_nanos().into() };
    match poll(&mut waiting, Some(&timeout)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(false),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let mut keys = [0; 16];
    let count = stdin.lock().read(&mut keys)?;
    Ok(count == 0 || keys.iter().take(count).any(|key| b"qQ\x03".contains(key)))
}

fn style() -> Style {
    let size = tcgetwinsize(io::stdout()).map_or(SIZE, |size| (size.ws_col.into(), size.ws_row.into()));
    let (columns, rows) = if size.0 == 0 || size.1 == 0 { SIZE } else { size };
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    Style { colour: io::stdout().is_terminal() && !refused, columns, rows }
}

/// Asks for everything that the picture shows; why not, in words that go behind the URL.
fn fetch(client: &Client) -> Result<Sample, String> {
    let answer = client.get("/status").map_err(|why| format!("does not answer: {why}"))?;
    match answer.status {
        200 => {}
        403 => {
            return Err(
                "answers 403: this machine's address is not in the agent's http.operator_allow. Run it on one \
                        that is, or add its network to the configuration and boot again"
                    .to_owned(),
            );
        }
        status => return Err(format!("answers {status}: is this an agent? Try {}/livez", client.base())),
    }
    let status =
        serde_json::from_slice(&answer.body).map_err(|error| format!("does not answer as an agent: {error}"))?;
    let metrics = client.get("/metrics").ok().filter(|answer| answer.status == 200);
    let counters = metrics.and_then(|answer| counters(&String::from_utf8_lossy(&answer.body)));
    let events = client.get(&format!("/events?limit={EVENTS}")).ok().filter(|answer| answer.status == 200);
    let events = events.map_or_else(Vec::new, |answer| {
        let lines = String::from_utf8_lossy(&answer.body).into_owned();
        let records = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        records.filter(|line| line["event"].is_string()).collect::<Vec<_>>().into_iter().rev().collect()
    });
    Ok(Sample { at: Instant::now(), status, counters, events })
}

/// The counters of `/metrics` that rates are made of.
fn counters(text: &str) -> Option<[f64; 3]> {
    let sum = |family: &str| {
        let samples =
            text.lines().filter(|line| line.strip_prefix(family).is_some_and(|rest| rest.starts_with([' ', '{'])));
        samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    };
    text.contains("outpost_http_requests_total").then(|| {
        ["outpost_http_requests_total", "node_network_receive_bytes_total", "node_network_transmit_bytes_total"]
            .map(sum)
    })
}

/// The picture, line by line, each cut at the terminal's width.
fn picture(
    base: &str,
    now: Option<&Sample>,
    before: Option<&Sample>,
    down: Option<(Timestamp, &str)>,
    style: Style,
) -> String {
    let mut page = Page { text: String::new(), lines: 0, style };
    if let Some((since, why)) = down {
        let seconds = Timestamp::now().duration_since(since).as_secs();
        let since = since.strftime("%H:%M:%S");
        page.line("\x1b[31m", &format!("{base} {} (since {since} UTC, for {seconds} s)", escape(why)));
        if now.is_some() {
            page.line("\x1b[2m", "below is how it was before");
        }
    }
    if let Some(sample) = now {
        draw(&mut page, base, sample, before);
    }
    page.text
}

fn draw(page: &mut Page, base: &str, sample: &Sample, before: Option<&Sample>) {
    let status = &sample.status;
    let ready = status["ready"] == true;
    let head = format!(
        "{} {}  Outpost {}, up {}  {base}",
        text(&status["name"]),
        if ready { "READY" } else { "NOT READY" },
        text(&status["version"]),
        duration(status["uptime_s"].as_u64().unwrap_or(0)),
    );
    page.line(if ready { "\x1b[1;32m" } else { "\x1b[1;31m" }, &head);
    page.line("", "");
    for check in status["checks"].as_array().into_iter().flatten() {
        let state = text(&check["status"]);
        let colour = match state.as_str() {
            "pass" => "",
            "warn" => "\x1b[33m",
            _ => "\x1b[31m",
        };
        let since = duration(check["since_s"].as_u64().unwrap_or(0));
        let reason = check["reason"].as_str().map(escape).unwrap_or_default();
        page.line(colour, &format!("{:<12} {state:<5} for {since:<9} {reason}", text(&check["name"])));
    }
    page.line("", "");
    let rates = sample.counters.zip(before.and_then(|before| before.counters));
    let seconds = before.map_or(1.0, |before| sample.at.duration_since(before.at).as_secs_f64().max(0.001));
    let rate = |at: usize| rates.map(|(now, before)| ((now[at] - before[at]) / seconds).max(0.0));
    let (connections, log) = (&status["connections"], &status["log"]);
    let requests = match (rate(0), sample.counters) {
        (Some(rate), _) => format!("{rate:.1}/s"),
        (None, Some([total, ..])) => format!("{total} since boot"),
        (None, None) => "unknown".to_owned(),
    };
    page.line("", &format!("requests     {requests}"));
    page.line(
        "",
        &format!(
            "connections  {} of {}: {} idle, {} half open; {} refused",
            connections["open"],
            connections["limit"],
            connections["idle"],
            connections["half_open"],
            connections["refused"]
        ),
    );
    let lost = log["lost"].as_u64().is_some_and(|lost| lost > 0);
    page.line(
        if lost { "\x1b[33m" } else { "" },
        &format!(
            "log          {} emitted, {} delivered, {} lost, {} buffered",
            log["emitted"], log["delivered"], log["lost"], log["buffered"]
        ),
    );
    let collector = match &status["collector"] {
        Value::Null => "none is configured".to_owned(),
        session => {
            let since = duration(session["since_s"].as_u64().unwrap_or(0));
            let proven = if session["authenticated"] == true { ", authenticated" } else { "" };
            format!("{} {} for {since}{proven}", text(&session["address"]), text(&session["state"]))
        }
    };
    page.line("", &format!("collector    {collector}"));
    let network = &status["network"];
    let traffic = match (rate(1), rate(2)) {
        (Some(received), Some(sent)) => format!(", {}/s in, {}/s out", bytes(received), bytes(sent)),
        _ => String::new(),
    };
    let address = network["address"].as_str().map_or_else(|| "no address".to_owned(), escape);
    page.line("", &format!("network      {}, {address}{traffic}", text(&network["state"])));
    page.line("", "");
    for event in &sample.events {
        let severity = text(&event["severity"]);
        let colour = match severity.as_str() {
            "error" | "fatal" => "\x1b[31m",
            "warn" => "\x1b[33m",
            _ => "",
        };
        page.line(colour, &format!("{} {severity:<6} {}", moment(event), story(event)));
    }
}

/// When it happened: UTC where that is known, else time since boot.
fn moment(event: &Value) -> String {
    match event["utc"].as_str().and_then(|utc| utc.get(11..23)) {
        Some(time) => escape(time),
        None => format!("{:>11.3}s", event["mono_us"].as_f64().unwrap_or(0.0) / 1e6),
    }
}

fn story(event: &Value) -> String {
    let mut story = text(&event["event"]);
    for (name, value) in event["fields"].as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        // Writing to a string does not fail.
        let _ = write!(story, " {}={}", escape(name), escape(&value));
    }
    story
}

/// Text of the agent, made harmless for a terminal.
fn text(value: &Value) -> String {
    escape(value.as_str().unwrap_or("?"))
}

fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {:02} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes:02} min"),
        _ => format!("{days} d {hours:02} h"),
    }
}

fn bytes(count: f64) -> String {
    match count {
        0.0..1e3 => format!("{count:.0} B"),
        1e3..1e6 => format!("{:.1} kB", count / 1e3),
        _ => format!("{:.1} MB", count / 1e6),
    }
}

/// Lines of at most the terminal's width, at most as many as it has rows.
struct Page {
    text: String,
    lines: usize,
    style: Style,
}

impl Page {
    fn line(&mut self, colour: &str, text: &str) {
        // The last row stays empty: a line end there would scroll.
        if self.lines + 1 >= self.style.rows {
            return;
        }
        self.lines += 1;
        let cut: String = text.chars().take(self.style.columns).collect();
        let painted = self.style.colour && !colour.is_empty();
        let (paint, plain) = if painted { (colour, "\x1b[0m") } else { ("", "") };
        self.text += &format!("{paint}{}{plain}\n", cut.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Sample {
        let status = json!({
            "name": "fra1\u{1b}[2J", "ready": false, "version": "0.1.0", "uptime_s": 93_784,
            "checks": [{ "name": "network", "status": "fail", "reason": "no address", "since_s": 61 }],
            "network": { "state": "no_address", "address": null },
            "log": { "emitted": 5, "delivered": 3, "lost": 1, "buffered": 1 },
            "collector": null,
            "connections": { "open": 2, "limit": 1024, "idle": 1, "half_open": 0, "refused": 0 },
        });
        let event = json!({ "severity": "warn", "event": "network.down", "utc": null, "mono_us": 1_500_000,
            "fields": { "reason": "no_link\n" } });
        Sample { at: Instant::now(), status, counters: Some([40.0, 0.0, 0.0]), events: vec![event; 30] }
    }

    #[test]
    fn the_picture_fits_any_terminal_and_carries_no_escape_of_the_agent() {
        // A narrow terminal would wrap every line and scroll; an agent's name could clear the screen.
        let style = Style { colour: false, columns: 20, rows: 10 };
        let text = picture("http://a", Some(&sample()), None, None, style);
        assert!(text.lines().count() == 9 && text.lines().all(|line| line.chars().count() <= 20), "{text}");
        let style = Style { colour: false, columns: usize::MAX, rows: usize::MAX };
        let text = picture("http://a", Some(&sample()), None, None, style);
        assert!(!text.contains('\u{1b}') && text.contains("NOT READY") && text.contains("no_link\\u{a}"), "{text}");
        assert!(text.contains("40 since boot") && text.contains("up 1 d 02 h") && text.contains("none is configured"));
        let painted = picture("http://a", Some(&sample()), None, None, Style { colour: true, ..style });
        assert!(painted.contains("\x1b[31mnetwork"), "{painted}");
    }

    #[test]
    fn rates_come_from_two_samples_and_a_silent_agent_is_told() {
        // A rate since boot would hide what happens now; a frozen picture would pass for a healthy agent.
        let mut later = sample();
        later.at += Duration::from_secs(2);
        later.counters = Some([60.0, 4e6, 10.0]);
        let mut before = sample();
        before.at = later.at - Duration::from_secs(2);
        let style = Style { colour: false, columns: 200, rows: 60 };
        let text = picture("http://a", Some(&later), Some(&before), None, style);
        assert!(text.contains("10.0/s") && text.contains("2.0 MB/s in, 5 B/s out"), "{text}");
        let since = Timestamp::now() - Duration::from_secs(12);
        let text = picture("http://a", Some(&later), None, Some((since, "does not answer: refused")), style);
        assert!(text.starts_with("http://a does not answer: refused (since ") && text.contains("for 12 s)"), "{text}");
        assert!(text.contains("below is how it was before"));
    }

    #[test]
    fn counters_are_summed_over_labels_and_only_of_their_family() {
        let text = "# HELP outpost_http_requests_total x\noutpost_http_requests_total{route=\"/\",code=\"200\"} 3\n\
                    outpost_http_requests_total{route=\"/livez\",code=\"200\"} 4\noutpost_http_requests_total_x 9\n\
                    node_network_receive_bytes_total{device=\"eth0\"} 10\n";
        assert_eq!(counters(text), Some([7.0, 10.0, 0.0]));
        assert_eq!(counters("nothing 1\n"), None);
    }
}
