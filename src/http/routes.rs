//! The paths, and what answers them: from a parsed request and a view of the agent to an answer, nothing else.

use super::beat::Beat;
use super::document::{self, Document};
use super::probes::classify;
use super::query::{Query, decode};
use super::request::{Method, Request};
use crate::content::{self, Kind};
use crate::hash::fnv1a;
use crate::health::{Check, Health, State};
use crate::limits;
use crate::view::dialects::{envoy, passes, write_check, write_live, write_ready};
use crate::view::{View, page, statuspage};

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Route {
    /// `/`
    Root,
    /// `/favicon.ico`
    Icon,
    /// `/livez`
    Livez,
    /// `/readyz`
    Readyz,
    /// `/readyz/CHECK`: one check alone.
    ReadyzCheck,
    /// `/healthz`: the same as `/livez`.
    Healthz,
    /// `/health`
    Health,
    /// `/status`
    Status,
    /// `/about`
    About,
    /// `/metrics`
    Metrics,
    /// `/config`
    Config,
    /// `/events`
    Events,
    /// `/debug/net`
    DebugNet,
    /// `/schema/`: the list of documents.
    Schemas,
    /// `/schema/...`: one of them.
    Schema,
    /// `/.well-known/security.txt`
    SecurityTxt,
    /// `/runbook/`: the list of runbooks.
    Runbooks,
    /// `/runbook/...`: one of them.
    Runbook,
    /// `/contacts`
    Contacts,
    /// `/beat`, `/beat/...`: those who push say that they live.
    Beat,
    /// `/feed.atom`
    Feed,
    /// `/api/v2/...`: the dialect of Atlassian Statuspage.
    Statuspage,
    /// `/badge.svg`: all targets.
    Badge,
    /// `/badge/...`: one of them.
    BadgeOf,
    /// `*`, the server itself (OPTIONS only).
    Server,
    /// No such path.
    NotFound,
}

impl Route {
    /// How many routes there are.
    pub const COUNT: usize = Route::NotFound as usize + 1;

    /// All of them, in the order of their numbers.
    pub const ALL: [Route; Route::COUNT] = [
        Route::Root,
        Route::Icon,
        Route::Livez,
        Route::Readyz,
        Route::ReadyzCheck,
        Route::Healthz,
        Route::Health,
        Route::Status,
        Route::About,
        Route::Metrics,
        Route::Config,
        Route::Events,
        Route::DebugNet,
        Route::Schemas,
        Route::Schema,
        Route::SecurityTxt,
        Route::Runbooks,
        Route::Runbook,
        Route::Contacts,
        Route::Beat,
        Route::Feed,
        Route::Statuspage,
        Route::Badge,
        Route::BadgeOf,
        Route::Server,
        Route::NotFound,
    ];

    /// Those with a path, most asked for first.
    const PATHS: [Route; 18] = [
        Route::Livez,
        Route::Readyz,
        Route::Healthz,
        Route::Metrics,
        Route::Health,
        Route::Status,
        Route::About,
        Route::Root,
        Route::Icon,
        Route::Events,
        Route::Config,
        Route::DebugNet,
        Route::Schemas,
        Route::SecurityTxt,
        Route::Runbooks,
        Route::Contacts,
        Route::Feed,
        Route::Badge,
    ];

    /// Its path, or a word for what has none. It names the route in records and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Route::Root => "/",
            Route::Icon => "/favicon.ico",
            Route::Livez => "/livez",
            Route::Readyz => "/readyz",
            Route::ReadyzCheck => "/readyz/*",
            Route::Healthz => "/healthz",
            Route::Health => "/health",
            Route::Status => "/status",
            Route::About => "/about",
            Route::Metrics => "/metrics",
            Route::Config => "/config",
            Route::Events => "/events",
            Route::DebugNet => "/debug/net",
            Route::Schemas => "/schema/",
            Route::Schema => "/schema/*",
            Route::SecurityTxt => "/.well-known/security.txt",
            Route::Runbooks => "/runbook/",
            Route::Runbook => "/runbook/*",
            Route::Contacts => "/contacts",
            Route::Beat => "/beat/*",
            Route::Feed => "/feed.atom",
            Route::Statuspage => "/api/v2/*",
            Route::Badge => "/badge.svg",
            Route::BadgeOf => "/badge/*",
            Route::Server => "*",
            Route::NotFound => "(not found)",
        }
    }

    /// Whether only the addresses of `http.operator_allow` may see it.
    pub const fn is_operator(self) -> bool {
        // A new route is the operator's until it is named here.
        !matches!(
            self,
            Route::Root
                | Route::Icon
                | Route::Livez
                | Route::Readyz
                | Route::Healthz
                | Route::SecurityTxt
                // Whoever pushes may be anywhere: its token is what lets it in.
                | Route::Beat
                | Route::Feed
                | Route::Statuspage
                | Route::Badge
                | Route::BadgeOf
                | Route::Server
                | Route::NotFound
        )
    }

    /// Whether its answer is rendered for everyone alike and may be that of a moment ago.
    pub const fn is_shown_again(self) -> bool {
        matches!(self, Route::Root | Route::Feed | Route::Statuspage | Route::Badge | Route::BadgeOf)
    }

    /// How many shared buffers its answer may need in an agent with so many checks.
    pub const fn buffers(self, checks: usize) -> usize {
        match self {
            // Of the longest; `Request::buffers` knows which is asked for.
            Route::Schema => document::BUFFERS,
            Route::Metrics => 3 + (checks * limits::CHECK_METRICS).div_ceil(limits::ANSWER),
            Route::Statuspage => {
                1 + (checks * limits::CHECK_STATUSPAGE + limits::INCIDENTS_STATUSPAGE).div_ceil(limits::ANSWER)
            }
            Route::Status => 1 + (checks * limits::CHECK_STATUS + limits::INCIDENTS_STATUS).div_ceil(limits::ANSWER),
            Route::Config => 1 + (checks * limits::CHECK_CONFIG).div_ceil(limits::ANSWER),
            Route::Events | Route::DebugNet => 2,
            _ => 1,
        }
    }

    /// The statuses that its answers usually have: `/metrics` counts them from 0 on.
    pub const fn usual_statuses(self) -> &'static [u16] {
        match self {
            Route::NotFound => &[404],
            Route::Beat => &[],
            Route::Readyz | Route::ReadyzCheck | Route::Health => &[200, 503],
            _ => &[200],
        }
    }

    /// The route of a path with valid percent-encoding, and what the query asks of it.
    pub fn find(path: &[u8], query: &[u8]) -> (Route, Query) {
        let found = |path: &[u8]| {
            let route = Route::PATHS.into_iter().find(|route| route.name().as_bytes() == path);
            let check = || Check::named(path.strip_prefix(b"/readyz/")?);
            let document = || document::find(path.strip_prefix(b"/schema/")?);
            let runbook = || path.strip_prefix(b"/runbook/").filter(|name| !name.contains(&b'%')).map(fnv1a);
            let beat = || Beat::find(path);
            let badge = || path.strip_prefix(b"/badge/")?.strip_suffix(b".svg").filter(|name| !name.contains(&b'%'));
            let statuspage = || statuspage::find(path.strip_prefix(b"/api/v2/")?);
            let bare = Query::NONE;
            match route {
                Some(route) => Some((route, bare)),
                None if path == b"/schema" => Some((Route::Schemas, bare)),
                None if path == b"/runbook" => Some((Route::Runbooks, bare)),
                None => check()
                    .map(|check| (Route::ReadyzCheck, Query { check: Some(check), ..bare }))
                    .or_else(|| Some((Route::Schema, Query { document: Some(document()?), ..bare })))
                    .or_else(|| Some((Route::Runbook, Query { named: Some(runbook()?), ..bare })))
                    .or_else(|| Some((Route::BadgeOf, Query { named: Some(fnv1a(badge()?)), ..bare })))
                    .or_else(|| Some((Route::Statuspage, Query { document: Some(statuspage()?), ..bare })))
                    .or_else(|| Some((Route::Beat, Query { beat: Some(beat()?), ..bare }))),
            }
        };
        let nothing = (Route::NotFound, Query::NONE);
        let (route, named) = match found(path) {
            Some(found) => found,
            // RFC 3986, section 6.2.2.2: %6C is l.
            None if path.contains(&b'%') => {
                let mut plain = [0; PATH_MAX];
                decode(path, &mut plain).and_then(found).unwrap_or(nothing)
            }
            None => nothing,
        };
        let query = if query.is_empty() { Query::NONE } else { Query::read(query) };
        let probe = if route == Route::NotFound { classify(path) } else { None };
        let Query { check, document, named: hash, beat, .. } = named;
        (route, Query { check, document, named: hash, beat, probe, ..query })
    }
}

/// The longest path there is, in bytes; a longer one leads nowhere.
const PATH_MAX: usize = "/badge/.svg".len() + content::NAME;

/// The media type of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// `text/plain; charset=utf-8`
    Text,
    /// `text/html; charset=utf-8`
    Html,
    /// `image/svg+xml`
    Svg,
    /// `application/json`
    Json,
    /// `application/health+json`
    Health,
    /// `text/plain` in the format of Prometheus
    Metrics,
    /// `application/openmetrics-text`
    OpenMetrics,
    /// `application/atom+xml`
    Atom,
    /// `application/x-ndjson`: a JSON document a line.
    Lines,
}

impl Media {
    /// As Content-Type names it.
    pub const fn name(self) -> &'static str {
        match self {
            Media::Text => "text/plain; charset=utf-8",
            Media::Html => "text/html; charset=utf-8",
            Media::Svg => "image/svg+xml",
            Media::Json => "application/json",
            Media::Health => "application/health+json",
            Media::Metrics => "text/plain; version=0.0.4; charset=utf-8",
            Media::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Media::Atom => "application/atom+xml; charset=utf-8",
            Media::Lines => "application/x-ndjson",
        }
    }
}

/// A body: a fixed one of any length, or so many bytes of the buffer it was rendered into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// The same for every request.
    Fixed(&'static [u8]),
    /// The first bytes of the buffer.
    Rendered(usize),
}

/// What answers a request, before there is a head around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// What the body is.
    pub media: Media,
    /// The body (RFC 9110: left out of the answer to HEAD, counted all the same).
    pub body: Body,
    /// Header lines that only this answer has, one of Cache-Control first: each begins with CRLF, at most [`limits::ANSWER_HEADERS`] bytes.
    pub headers: &'static str,
}

/// What the documents of the image are served with: they change with the image alone.
const KEPT: &str = "\r\nCache-Control: max-age=3600\r\nVary: Accept-Encoding";
const KEPT_GZIP: &str = "\r\nCache-Control: max-age=3600\r\nVary: Accept-Encoding\r\nContent-Encoding: gzip";

/// A page of the content bundle.
fn from_bundle(page: Option<&'static [u8]>) -> Answer {
    match page {
        Some(page) => Answer { status: 200, media: Media::Html, body: Body::Fixed(page), headers: BUNDLED },
        None => Answer::text(404, "Not Found: it did not come along in a content bundle; see /about and /runbook/\n"),
    }
}

/// Pages of a bundle have a style and nothing else that a browser would have to fetch or run.
const BUNDLED: &str = "\r\nCache-Control: max-age=60\
                       \r\nContent-Security-Policy: default-src 'none'; style-src 'unsafe-inline'";

/// What is allowed on every path.
const ALLOW: &str = "\r\nAllow: GET, HEAD, OPTIONS";

/// What is allowed on `/beat`. A HEAD that changes nothing must not look as if it had.
const ALLOW_BEAT: &str = "\r\nAllow: GET, POST, OPTIONS";

impl Answer {
    const fn text(status: u16, body: &'static str) -> Answer {
        Answer { status, media: Media::Text, body: Body::Fixed(body.as_bytes()), headers: "" }
    }

    const fn rendered(status: u16, media: Media, len: usize) -> Answer {
        Answer { status, media, body: Body::Rendered(len), headers: "" }
    }

    /// The answer that only says its status.
    pub const fn status_only(status: u16) -> Answer {
        Answer::text(status, reason(status))
    }
}

/// The answer that needs no buffer; `None` when [`respond`] must render one.
pub fn respond_at_once(
    request: &Request,
    health: &Health,
    client_is_operator: impl FnOnce() -> bool,
) -> Option<Answer> {
    Some(match (request.method, request.route) {
        (_, Route::NotFound) => NOT_FOUND,
        // The same whatever the token is: who asks so learns nothing.
        (Method::NotAllowed | Method::Head, Route::Beat) => Answer { headers: ALLOW_BEAT, ..Answer::status_only(405) },
        (Method::Options, Route::Beat) => Answer { headers: ALLOW_BEAT, ..Answer::text(200, "") },
        (Method::NotAllowed, _) => Answer { headers: ALLOW, ..Answer::status_only(405) },
        // HAProxy's `option httpchk` and `option httpchk /readyz` ask with OPTIONS, and go by the status.
        (Method::Options, Route::Root | Route::Readyz) if !health.is_ready() => {
            Answer { headers: ALLOW, ..Answer::status_only(503) }
        }
        (Method::Options, _) => Answer { headers: ALLOW, ..Answer::text(200, "") },
        (_, Route::Server) => Answer::status_only(400),
        _ if request.needs_operator() && !client_is_operator() => {
            Answer::text(403, "Forbidden: this address is not in http.operator_allow\n")
        }
        (_, Route::Icon) => Answer { media: Media::Svg, ..Answer::text(200, page::ICON) },
        (_, Route::Livez | Route::Healthz) if !request.query.verbose => ok(health),
        (_, Route::Readyz) if !request.query.verbose && passes(health, request.query.exclude) => ok(health),
        (_, Route::ReadyzCheck) if health.get(request.query.check?).state() != State::Fail => ok(health),
        (_, Route::Schemas) => {
            Answer { status: 200, media: Media::Json, body: Body::Fixed(document::LIST), headers: KEPT }
        }
        (_, Route::Schema) if request.wants.gzip() => {
            let gzip = request.query.document.and_then(Document::get)?.gzip;
            Answer { status: 200, media: Media::Json, body: Body::Fixed(gzip), headers: KEPT_GZIP }
        }
        (_, Route::Events)
            if request.query.unreadable
                || request.query.limit.is_some_and(|limit| !(1..=limits::EVENTS_MAX).contains(&limit)) =>
        {
            Answer::text(400, EVENTS_ALLOWED)
        }
        _ => return None,
    })
}

/// What a beat is answered with when it counts.
pub const HEARD: Answer = Answer::text(200, "ok\n");

/// What there is not.
pub const NOT_FOUND: Answer = Answer::text(404, "Not Found: see /\n");

/// What a check that passes is answered with.
const fn ok(health: &Health) -> Answer {
    Answer { headers: envoy(health), ..Answer::text(200, "ok") }
}

/// Renders the answer into `out`; `None` when it does not fit.
pub fn respond(request: &Request, view: &View<'_, '_>, out: &mut [u8]) -> Option<Answer> {
    let (health, content) = (view.known.health, &view.known.facts.content);
    let json = |len| Some(Answer::rendered(200, Media::Json, len));
    let told = |status, media, len| Some(Answer { headers: envoy(health), ..Answer::rendered(status, media, len) });
    match request.route {
        Route::Root => {
            let html = request.wants.html();
            let len = view.write_page(html, out.get_mut(..limits::PAGE)?)?;
            let media = if html { Media::Html } else { Media::Text };
            Some(Answer { headers: page::HEADERS, ..Answer::rendered(200, media, len) })
        }
        Route::Readyz => {
            let status = if passes(health, request.query.exclude) { 200 } else { 503 };
            told(status, Media::Text, write_ready(health, &request.query, out)?)
        }
        Route::ReadyzCheck => told(503, Media::Text, write_check(health, request.query.check?, out)?),
        Route::Livez | Route::Healthz => {
            told(200, Media::Text, write_live(&request.route.name()[1..], &request.query, out)?)
        }
        Route::Health => {
            let status = if health.is_ready() { 200 } else { 503 };
            told(status, Media::Health, serde_json_core::to_slice(&view.health(), out).ok()?)
        }
        Route::Status => json(serde_json_core::to_slice(&view.status(), out).ok()?),
        Route::About => json(serde_json_core::to_slice(&view.about(), out).ok()?),
        Route::Metrics => {
            let openmetrics = request.wants.openmetrics();
            let media = if openmetrics { Media::OpenMetrics } else { Media::Metrics };
            Some(Answer::rendered(200, media, view.write_metrics(openmetrics, out)?))
        }
        Route::Config => json(serde_json_core::to_slice(&view.config_answer(), out).ok()?),
        Route::DebugNet => json(serde_json_core::to_slice(&view.debug_net(), out).ok()?),
        Route::Events => Some(match view.write_events(&request.query, out) {
            Some(len) => Answer::rendered(200, Media::Lines, len),
            None => Answer::text(404, "Not Found: no record of that boot is held; /events names those that are\n"),
        }),
        Route::Schema => {
            let len = request.query.document.and_then(Document::get)?.inflate(out)?;
            Some(Answer { headers: KEPT, ..Answer::rendered(200, Media::Json, len) })
        }
        Route::Runbooks => Some(from_bundle(content.page(Kind::List))),
        Route::Runbook => Some(from_bundle(content.runbook(request.query.named?))),
        Route::Contacts => Some(from_bundle(content.page(Kind::Contacts))),
        Route::Feed => Some(match view.write_feed(out) {
            Some(len) => Answer::rendered(200, Media::Atom, len),
            None => {
                Answer::text(503, "Service Unavailable: what happened has no date yet, the clock is not synchronised\n")
            }
        }),
        Route::Statuspage => json(view.write_statuspage(request.query.document?, out)?),
        Route::Badge | Route::BadgeOf => Some(match view.write_badge(request.query.named, out) {
            Some(len) => Answer::rendered(200, Media::Svg, len),
            None => NOT_FOUND,
        }),
        Route::Icon | Route::Schemas | Route::Beat | Route::Server | Route::NotFound => Some(Answer::status_only(404)),
        Route::SecurityTxt => match view.write_security(out) {
            Some(len) => Some(Answer::rendered(200, Media::Text, len)),
            None => Some(NOT_FOUND),
        },
    }
}

/// What `/events` takes.
const EVENTS_ALLOWED: &str = "Bad Request: allowed are since=SEQ (a whole number), limit=N (1 to 1000; default 100) and \
boot=ID (16 hex digits)\n";

const _: () = assert!(limits::EVENTS_DEFAULT == 100 && limits::EVENTS_MAX == 1000, "EVENTS_ALLOWED names them");

/// The reason phrase of a status code (RFC 9110, section 15).
pub const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Internal Server Error",
    }
}

const _: () = assert!(limits::ANSWER >= 4096, "every rendered answer but the page fits with room to spare");
