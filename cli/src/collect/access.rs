//! Who may open a session: the keys of the agents, and whether clear sessions are served.
//!
//! What always holds: a key is never shown, not in an error and not by `Debug`; a name without a key costs the same
//! work and gets the same answer as a wrong key, so that the port does not tell which names there are.

use outpost_wire::limits::AGENT_NAME_MAX;
use outpost_wire::noise::{Ephemeral, Ephemerals, HANDSHAKE_LEN, KEY_LEN, Key, NotAuthentic, Opening, Transport};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Largest key file in bytes: ten thousand agents.
const FILE_MAX: u64 = 2 * 1024 * 1024;

/// The keys of the agents by name.
#[derive(Clone, Debug, Default)]
pub struct Keys(BTreeMap<String, Key>);

impl Keys {
    /// One agent's key.
    pub fn one(agent: &str, key: Key) -> Keys {
        Keys(BTreeMap::from([(agent.to_owned(), key)]))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads a key file: one JSON object {agent: key}, or a line `agent key` each, with `#` comments. Refuses one
    /// that others can read; of a credential systemd sees to that itself (systemd.exec(5)), and its mode may show the
    /// mask of an access list as a group's rights.
    pub fn read(path: &Path) -> Result<Keys, KeysError> {
        let shown = path.display();
        let cannot = |error: std::io::Error| KeysError(format!("{shown} cannot be read: {error}."));
        let file = std::fs::File::open(path).map_err(cannot)?;
        // Of the open file, not of the path: what is checked is what is read.
        let mode = file.metadata().map_err(cannot)?.permissions().mode();
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty());
        if mode & 0o077 != 0 && !credentials.is_some_and(|folder| path.starts_with(folder)) {
            return Err(KeysError(format!(
                "{shown} can be read or changed by other users (mode {:03o}), and who has a key can erase the records \
                 of its agent. Run: chmod 600 {shown}",
                mode & 0o777
            )));
        }
        let mut text = String::new();
        file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(cannot)?;
        if text.len() as u64 > FILE_MAX {
            return Err(KeysError(format!("{shown} is larger than {FILE_MAX} bytes: is it a key file?")));
        }
        Keys::parse(&text).map_err(|why| KeysError(format!("{shown}: {why}")))
    }

    /// Reads the text of a key file. Errors name the place and never what stands there.
    fn parse(text: &str) -> Result<Keys, String> {
        let mut keys = Keys::default();
        if text.trim_start().starts_with('{') {
            let object: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(text).map_err(|e| format!("line {}: it is not JSON", e.line()))?;
            for (agent, key) in &object {
                keys.add(agent, key.as_str().unwrap_or_default()).map_err(|why| format!("{agent:?}: {why}"))?;
            }
        } else {
            for (line, number) in text.lines().zip(1..) {
                let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
                let result = match (words.next(), words.next(), words.next()) {
                    (None, ..) => Ok(()),
                    (Some(agent), Some(key), None) => keys.add(agent, key),
                    _ => Err("allowed is an agent's name and its key".to_owned()),
                };
                result.map_err(|why| format!("line {number}: {why}"))?;
            }
        }
        if keys.is_empty() {
            return Err("there is no key in it. Make one: outpost key new --agent NAME".to_owned());
        }
        Ok(keys)
    }

    fn add(&mut self, agent: &str, key: &str) -> Result<(), String> {
        if agent.is_empty() || agent.len() > AGENT_NAME_MAX {
            return Err(format!("an agent's name has 1 to {AGENT_NAME_MAX} bytes"));
        }
        let key = Key::from_hex(key)
            .ok_or("the key (secret, not shown) is not 64 hex digits. Make one: outpost key new --agent NAME")?;
        match self.0.insert(agent.to_owned(), key) {
            None => Ok(()),
            Some(_) => Err("this agent has a key already".to_owned()),
        }
    }
}

/// Why a key file cannot be used, in words for people.
#[derive(Debug)]
pub struct KeysError(String);

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeysError {}

/// Who may open a session.
#[derive(Debug)]
pub struct Access {
    /// Without them only clear sessions are served.
    keys: Option<Keys>,
    allow_clear: bool,
    ephemerals: Ephemerals,
    /// What stands in for the key of a name that has none: known to nobody.
    decoy: Key,
}

impl Access {
    /// Clear sessions alone: whoever reaches the port may open one.
    pub fn clear() -> Access {
        Access {
            keys: None,
            allow_clear: true,
            ephemerals: Ephemerals::new(&[0; KEY_LEN]),
            decoy: Key::new([0; KEY_LEN]),
        }
    }

    /// Sessions with these keys, and clear ones if they are allowed beside. The seed is random and secret.
    pub fn keyed(keys: Keys, allow_clear: bool, seed: &[u8; KEY_LEN]) -> Access {
        let mut ephemerals = Ephemerals::new(seed);
        let decoy = ephemerals.fresh().into_key();
        Access { keys: Some(keys), allow_clear, ephemerals, decoy }
    }

    /// Whether clear sessions are served.
    pub fn allows_clear(&self) -> bool {
        self.allow_clear
    }

    /// Whether keyed sessions are served.
    pub fn has_keys(&self) -> bool {
        self.keys.is_some()
    }

    /// Answers an opening with the key of the agent that it names.
    pub fn answer(&mut self, opening: &Opening<'_>) -> Result<(Transport, [u8; HANDSHAKE_LEN]), NotAuthentic> {
        let secret: Ephemeral = self.ephemerals.fresh();
        let key = self.keys.as_ref().and_then(|keys| keys.0.get(opening.agent));
        opening.answer(key.unwrap_or(&self.decoy), secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";

    #[test]
    fn both_forms_of_a_key_file_say_the_same() {
        let lines = Keys::parse(&format!("# agents\nfra1 {HEX}\n\n  fra2\t{HEX} # the spare\n")).unwrap();
        let json = Keys::parse(&format!(r#" {{"fra1": "{HEX}", "fra2": "{HEX}"}}"#)).unwrap();
        assert!(lines.0 == json.0 && lines.len() == 2);
    }

    #[test]
    fn what_is_wrong_is_told_without_the_key() {
        // Error messages end up in journals that many can read.
        let canary = &HEX[..60];
        for text in [
            format!("fra1 {canary}"),
            format!("fra1 {HEX}0"),
            format!("fra1 {HEX} more"),
            HEX.to_owned(),
            format!("fra1 {HEX}\nfra1 {HEX}"),
            format!("{} {HEX}", "n".repeat(64)),
            format!(r#"{{"fra1": "{HEX}", "fra2": "{canary}"}}"#),
            format!(r#"{{"fra1": ["{HEX}"]}}"#),
            format!(r#"{{"fra1": "{HEX}""#),
            "# nothing\n".to_owned(),
            "{}".to_owned(),
        ] {
            let why = Keys::parse(&text).unwrap_err();
            assert!(!why.contains(&HEX[..8]), "{why}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        std::fs::write(&path, format!("fra1 {HEX}\n")).unwrap();
        for (mode, good) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let read = Keys::read(&path);
            assert_eq!(read.is_ok(), good, "{mode:o}");
            assert!(read.err().is_none_or(|why| why.to_string().contains("chmod 600")));
        }
    }
}
