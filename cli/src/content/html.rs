//! Markdown to plain HTML: headings, lists, tables, code, links. What a page of the bundle cannot have (pictures, HTML of
//! its own, links that lead nowhere) is an error with its line, not something that is silently left out.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};
use std::ops::Range;

/// A page, rendered.
pub struct Page {
    /// Its first heading, or else its name.
    pub title: String,
    /// The whole document.
    pub html: String,
}

/// What is wrong with a page.
pub struct Refused {
    /// In which line, from 1.
    pub line: usize,
    /// What is wrong, and what is allowed.
    pub problem: String,
}

/// Where a link to a file leads.
pub enum Target {
    /// To this path of the image.
    Path(String),
    /// Nowhere.
    Missing,
}

/// What may stand before the colon of a link: what a telephone, a mail program and a browser open.
const SCHEMES: [&str; 4] = ["http://", "https://", "mailto:", "tel:"];

/// Renders a page. `target` tells where a link to a file leads.
pub fn page(markdown: &str, name: &str, target: &dyn Fn(&str) -> Target) -> Result<Page, Refused> {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut events = Vec::new();
    let (mut title, mut in_first_heading) = (String::new(), false);
    for (event, place) in Parser::new_ext(markdown, options).into_offset_iter() {
        let event = check(event, target).map_err(|problem| Refused { line: line_of(markdown, &place), problem })?;
        match &event {
            Event::Start(Tag::Heading { .. }) if title.is_empty() => in_first_heading = true,
            Event::End(TagEnd::Heading(_)) => in_first_heading = false,
            Event::Text(text) | Event::Code(text) if in_first_heading => title.push_str(text),
            _ => {}
        }
        events.push(event);
    }
    if title.is_empty() {
        title.push_str(name);
    }
    let mut body = String::new();
    html::push_html(&mut body, events.into_iter());
    let html = document(&title, &body);
    Ok(Page { title, html })
}

/// The list of runbooks: their names and titles.
pub fn list(runbooks: &[(String, String)]) -> String {
    let mut body = String::from("<h1>Runbooks</h1>\n<ul>\n");
    for (name, title) in runbooks {
        body += &format!("<li><a href=\"/runbook/{name}\">{}</a></li>\n", escaped(title));
    }
    body += "</ul>\n";
    document("Runbooks", &body)
}

fn check<'m>(event: Event<'m>, target: &dyn Fn(&str) -> Target) -> Result<Event<'m>, String> {
    match event {
        Event::Html(_) | Event::InlineHtml(_) => Err(String::from(
            "has HTML, which is not rendered: write it in Markdown, or in backticks to show it as it is",
        )),
        Event::Start(Tag::Image { .. }) => {
            Err(String::from("has a picture, and a bundle carries none: describe it, or link to it"))
        }
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            let dest_url = match SCHEMES.iter().any(|scheme| dest_url.starts_with(scheme)) {
                true => dest_url,
                // `<mail@example.org>`: the renderer puts the scheme before it.
                false if link_type == pulldown_cmark::LinkType::Email => dest_url,
                false => match target(&dest_url) {
                    Target::Path(path) => CowStr::from(path),
                    Target::Missing => {
                        return Err(format!(
                            "the link to {dest_url} leads nowhere: allowed are runbooks (NAME.md), contacts.md, http, \
                             https, mailto and tel"
                        ));
                    }
                },
            };
            Ok(Event::Start(Tag::Link { link_type, dest_url, title, id }))
        }
        other => Ok(other),
    }
}

fn line_of(text: &str, place: &Range<usize>) -> usize {
    text.bytes().take(place.start).filter(|byte| *byte == b'\n').count() + 1
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:44em;margin:0 auto;padding:1em;\
color-scheme:light dark}pre{overflow-x:auto;padding:.6em;background:#8882}code{font:14px ui-monospace,monospace}\
table{border-collapse:collapse}td,th{border:1px solid #8886;padding:.2em .6em;text-align:left}\
nav a{margin-right:1em}";

fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{}</title><style>{STYLE}</style>\n<nav><a href=\"/\">Status</a>\
         <a href=\"/runbook/\">Runbooks</a><a href=\"/contacts\">Contacts</a></nav>\n<main>\n{body}</main></html>\n",
        escaped(title)
    )
}
