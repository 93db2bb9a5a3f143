//! What is said when nobody has time to find words, and what a postmortem has to answer.

use super::book::told;
use outpost_wire::limits::INCIDENT_ID_MAX;

/// The first update.
pub fn first(title: &str, targets: &[String]) -> String {
    let affected = if targets.is_empty() { String::new() } else { format!(" Affected: {}.", targets.join(", ")) };
    format!("We are investigating: {}.{affected}", title.trim_end_matches('.'))
}

/// The last one.
pub fn resolved(began: i64, now: i64) -> String {
    format!("This is resolved since {}. It was first reported here at {}.", told(now), told(began))
}

/// What a postmortem begins as; what stands in brackets is to be filled in.
pub fn postmortem(title: &str, began: i64, ended: Option<i64>) -> String {
    let ended = ended.map_or("[when it ended]".to_owned(), told);
    format!(
        "I am sorry. From {} to {ended} {title}, and you relied on us. [Whom it hit, and what they could not do.]\n\
         \n\
         What failed: [what broke, in words a customer understands, with times in UTC.]\n\
         \n\
         Why: [the cause that was confirmed, and why it was not noticed or held off before.]\n\
         \n\
         What we do: [what was changed already, and what is changed by when, so that it does not happen again.]\n",
        told(began),
        title = format_args!("this went wrong: {}", title.trim_end_matches('.')),
    )
}

/// A blank of the template that nobody filled in.
pub fn blank(text: &str) -> Option<&str> {
    let from = text.find('[')?;
    let to = text[from..].find(']')?;
    Some(&text[from..=from + to])
}

/// An id made of a title: its first words, as they can stand in a URL.
pub fn id_of(title: &str) -> String {
    let lower = title.to_lowercase();
    let words = lower.split(|sign: char| !sign.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let day = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    words.fold(day, |id, word| if id.len() + word.len() < INCIDENT_ID_MAX { format!("{id}-{word}") } else { id })
}
