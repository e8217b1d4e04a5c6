//! Labels of secrets and keys, and how they change.

use super::Tag;

/// Tags of a secret or key at most (kms-secrets.md sections 5.1 and 7).
pub const MAX_TAGS: usize = 20;

/// Which tags are taken off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Untag {
    /// All.
    All,
    /// Those with these keys; the others, and keys that are not there, do not matter.
    Keys(Vec<String>),
}

impl Untag {
    /// Takes them off.
    pub fn apply(&self, tags: &mut Vec<Tag>) {
        match self {
            Self::All => tags.clear(),
            Self::Keys(keys) => tags.retain(|tag| !keys.contains(&tag.key)),
        }
    }
}

/// Adds tags to others; one whose key is there gets the new value. `None` when
/// there would be more than [`MAX_TAGS`]; the tags are as they were then.
#[must_use]
pub fn with_tags(tags: &[Tag], more: &[Tag]) -> Option<Vec<Tag>> {
    let mut all = tags.to_vec();
    for tag in more {
        match all.iter_mut().find(|present| present.key == tag.key) {
            Some(present) => present.value.clone_from(&tag.value),
            None => all.push(tag.clone()),
        }
    }
    (all.len() <= MAX_TAGS).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(key: &str, value: &str) -> Tag {
        Tag { key: key.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn a_key_that_is_there_gets_the_new_value_and_keeps_its_place() {
        let tags = with_tags(&[tag("a", "1"), tag("b", "2")], &[tag("a", "3"), tag("c", "4")]).unwrap();
        assert_eq!(tags, [tag("a", "3"), tag("b", "2"), tag("c", "4")]);
    }

    #[test]
    fn twenty_tags_are_all_that_fit() {
        let many: Vec<Tag> = (0..20).map(|n| tag(&format!("k{n}"), "v")).collect();
        assert_eq!(with_tags(&[], &many).unwrap().len(), 20);
        assert!(with_tags(&many, &[tag("k7", "w")]).is_some());
        assert!(with_tags(&many, &[tag("k20", "v")]).is_none());
    }

    #[test]
    fn what_is_not_there_can_be_taken_off() {
        let mut tags = vec![tag("a", "1"), tag("b", "2")];
        Untag::Keys(vec!["b".to_owned(), "x".to_owned()]).apply(&mut tags);
        assert_eq!(tags, [tag("a", "1")]);
        Untag::All.apply(&mut tags);
        assert!(tags.is_empty());
    }
}
