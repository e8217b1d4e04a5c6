//! What becomes of a key file's content; nothing here touches the system.

use crate::authorized_keys::entry::entries;
use crate::public_key::{Fingerprint, PublicKey};

/// `content` with one more line for `key`; none if the key is let in already.
///
/// The line repeats the options of the secret's former key: the last line
/// whose key is in `former`, else the last one that bears the mark of this
/// secret. `mark` is `strongroom:` and the first eight characters of the
/// secret's identifier; the new line ends with it and the generation.
pub(crate) fn add(
    content: &[u8],
    key: &PublicKey,
    former: &[Fingerprint],
    mark: &str,
    generation: u64,
    now: u64,
) -> Option<Vec<u8>> {
    let fingerprint = key.fingerprint();
    let marked = format!("{mark}:");
    let mut by_key = None;
    let mut by_mark = None;
    for entry in entries(content).filter_map(|(_, entry)| entry) {
        if entry.fingerprint == fingerprint && entry.is_accepted(now) {
            return None;
        }
        if former.contains(&entry.fingerprint) {
            by_key = Some(entry.inherited_options());
        } else if entry.comment.starts_with(marked.as_bytes()) {
            by_mark = Some(entry.inherited_options());
        }
    }
    let options = by_key.or(by_mark).unwrap_or_default();

    let mut new = content.to_vec();
    if !content.is_empty() && !content.ends_with(b"\n") {
        new.push(b'\n');
    }
    if !options.is_empty() {
        new.extend(options);
        new.push(b' ');
    }
    new.extend(format!("{} {mark}:{generation}\n", key.line()).bytes());
    Some(new)
}

/// `content` without any line whose key is in `keys`; none if there is no such
/// line.
pub(crate) fn remove(content: &[u8], keys: &[Fingerprint]) -> Option<Vec<u8>> {
    let mut new = Vec::with_capacity(content.len());
    for (line, entry) in entries(content) {
        let goes = entry.is_some_and(|entry| keys.contains(&entry.fingerprint));
        if !goes {
            new.extend(line);
        }
    }
    (new.len() != content.len()).then_some(new)
}

/// `content` with the first line that lets `key` in and no other line of that
/// key; none if it is so already, or no line lets it in.
pub(crate) fn keep_one(content: &[u8], key: &Fingerprint, now: u64) -> Option<Vec<u8>> {
    let mut new = Vec::with_capacity(content.len());
    let mut kept = false;
    for (line, entry) in entries(content) {
        let stays = match entry.filter(|entry| entry.fingerprint == *key) {
            Some(entry) if kept || !entry.is_accepted(now) => false,
            Some(_) => {
                kept = true;
                true
            }
            None => true,
        };
        if stays {
            new.extend(line);
        }
    }
    (kept && new.len() != content.len()).then_some(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g";
    const NEW: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAICAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g";
    const MARK: &str = "strongroom:01234567";

    fn fingerprint(key: &str) -> Fingerprint {
        PublicKey::parse(key).expect("a key").fingerprint()
    }

    fn added(content: &str, former: &[Fingerprint]) -> Option<String> {
        let key = PublicKey::parse(NEW).expect("a key");
        add(content.as_bytes(), &key, former, MARK, 7, 1_750_000_000)
            .map(|content| String::from_utf8(content).expect("text"))
    }

    #[test]
    fn every_other_byte_is_kept_when_a_key_is_added() {
        let line = format!("{NEW} {MARK}:7\n");
        for (content, result) in [
            (String::new(), line.clone()),
            ("# mine\r\n\r\n".to_owned(), format!("# mine\r\n\r\n{line}")),
            ("no end".to_owned(), format!("no end\n{line}")),
            (format!("{OLD} me\r\n"), format!("{OLD} me\r\n{line}")),
        ] {
            assert_eq!(added(&content, &[]), Some(result));
        }
    }

    #[test]
    fn the_new_key_has_the_options_of_the_one_before_it() {
        let content = format!("restrict,from=\"10.0.0.0/8\" {OLD} whatever\n");
        let expected = format!("{content}restrict,from=\"10.0.0.0/8\" {NEW} {MARK}:7\n");
        assert_eq!(added(&content, &[fingerprint(OLD)]), Some(expected));

        let content = format!("restrict {OLD} {MARK}:6\n");
        let expected = format!("{content}restrict {NEW} {MARK}:7\n");
        assert_eq!(added(&content, &[]), Some(expected));

        let content = format!("restrict {OLD} strongroom:99999999:6\n");
        assert_eq!(added(&content, &[]), Some(format!("{content}{NEW} {MARK}:7\n")));
    }

    #[test]
    fn a_key_that_is_let_in_already_is_not_added_again() {
        assert_eq!(added(&format!("restrict {NEW} other comment\n"), &[]), None);
        for dead in ["cert-authority", "expiry-time=\"20200101\""] {
            assert!(added(&format!("{dead} {NEW}\n"), &[]).is_some(), "{dead}");
        }
    }

    #[test]
    fn of_the_lines_of_one_key_the_first_that_lets_it_in_is_kept() {
        let key = fingerprint(NEW);
        let content = format!(
            "# a\r\n{OLD} x\nexpiry-time=\"20200101\" {NEW} dead\nrestrict {NEW} {MARK}:7\n{NEW} copy\n{NEW}"
        );
        let left = keep_one(content.as_bytes(), &key, 1_750_000_000).expect("a change");
        let expected = format!("# a\r\n{OLD} x\nrestrict {NEW} {MARK}:7\n");
        assert_eq!(String::from_utf8(left).expect("text"), expected);
        assert_eq!(keep_one(expected.as_bytes(), &key, 1_750_000_000), None);
        let dead = format!("expiry-time=\"20200101\" {NEW}\ncert-authority {NEW}\n");
        assert_eq!(keep_one(dead.as_bytes(), &key, 1_750_000_000), None);
    }

    #[test]
    fn exactly_the_named_keys_are_removed_however_often_they_stand_there() {
        let content = format!("# a\r\n{OLD} x\r\n\nrestrict {OLD}\n{NEW} y\nbroken {OLD} z\n{OLD}");
        let left = remove(content.as_bytes(), &[fingerprint(OLD)]).expect("a change");
        assert_eq!(String::from_utf8(left).expect("text"), format!("# a\r\n\n{NEW} y\n"));
        assert_eq!(remove(content.as_bytes(), &[Fingerprint::of(b"none")]), None);
    }
}
