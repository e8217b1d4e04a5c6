//! `[quotas]`: how much there may be, and how often principals may call.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::config::ConfigError;
use crate::api::actions::TABLE;
use crate::api::gate::{Class, Rates};
use crate::vault::USUAL_VERSIONS;

/// The highest rate that can be set; a bucket counts in nanoseconds.
const MAX_RATE: u32 = 1_000_000;

/// `[quotas]`
///
/// 0 is no limit, except for versions. The defaults are far above what Alibaba Cloud
/// grants an account (kms-secrets.md section 9): one appliance has one owner.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quotas {
    /// Secrets, those that wait for their deletion included.
    pub secrets: u64,
    /// Customer master keys, those that wait for their deletion included.
    pub keys: u64,
    /// Aliases of keys.
    pub aliases: u64,
    /// Versions of a secret; the oldest without a stage goes when there are more.
    pub versions: usize,
    /// Calls a second of each principal, by class of actions or single action.
    pub per_second: BTreeMap<String, u32>,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            secrets: 1_000_000,
            keys: 1_000,
            aliases: 10_000,
            versions: USUAL_VERSIONS,
            per_second: BTreeMap::new(),
        }
    }
}

/// A quota as a number that nothing exceeds where there is none.
pub(super) fn at_most(quota: u64) -> usize {
    if quota == 0 { usize::MAX } else { usize::try_from(quota).unwrap_or(usize::MAX) }
}

fn class(name: &str) -> Option<Class> {
    Class::ALL.into_iter().find(|class| class.as_str() == name)
}

impl Quotas {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let value =
            |holds: bool, name, rule| if holds { Ok(()) } else { Err(ConfigError::Value { name, rule }) };
        let is_known = |name: &str| class(name).is_some() || TABLE.iter().any(|row| row.spec.name == name);
        // Current, previous, and the one that a rotation makes; each costs room in the row.
        value((4..=100).contains(&self.versions), "quotas.versions", "from 4 to 100")?;
        value(
            self.per_second.keys().all(|name| is_known(name)),
            "quotas.per_second",
            "named by a class (create_secrets, read_secrets, other_secrets, read_keys, create_keys, write_keys, encryption, users) or by an action",
        )?;
        value(
            self.per_second.values().all(|rate| *rate <= MAX_RATE),
            "quotas.per_second",
            "at most 1000000 for each name",
        )
    }

    /// The rates that are limited.
    pub(super) fn rates(&self) -> Rates {
        let mut rates = Rates::default();
        for (name, rate) in self.per_second.iter().filter(|(_, rate)| **rate > 0) {
            match class(name) {
                Some(class) => rates.classes.push((class, *rate)),
                None => rates.actions.push((name.clone(), *rate)),
            }
        }
        rates
    }
}
