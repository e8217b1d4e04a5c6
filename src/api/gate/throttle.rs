//! How often a principal may call: so many actions of a class a second, and of
//! a single action where that is set (kms-secrets.md section 9).
//!
//! Only calls whose signature is good are counted, so that nobody spends the
//! budget of another. Nothing is waited for: a call too many is refused and
//! told when to come again.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::api::actions::{Service, Spec, TABLE};
use crate::audit::EventAccess;
use crate::model::Timestamp;

/// Nanoseconds.
const SECOND: i64 = 1_000_000_000;
/// Principals are spread over so many locks.
const SHARDS: usize = 16;
/// Principals of a shard that are told apart; the others share one account.
const PRINCIPALS: usize = 1_000;

/// Actions that share a limit (kms-secrets.md section 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// CreateSecret and DeleteSecret.
    CreateSecrets,
    /// DescribeSecret, GetSecretValue and BatchGetSecretValue.
    ReadSecrets,
    /// Every other action on secrets.
    OtherSecrets,
    /// What reads keys, aliases and tags, or tells of the service itself.
    ReadKeys,
    /// CreateKey.
    CreateKeys,
    /// What changes keys, aliases and tags.
    WriteKeys,
    /// Encryption and decryption with symmetric keys, data keys included.
    Encryption,
    /// Users, access keys and policies.
    Users,
}

impl Class {
    /// All of them, in the order of the settings.
    pub const ALL: [Self; 8] = [
        Self::CreateSecrets,
        Self::ReadSecrets,
        Self::OtherSecrets,
        Self::ReadKeys,
        Self::CreateKeys,
        Self::WriteKeys,
        Self::Encryption,
        Self::Users,
    ];

    /// Its name as a setting and as a label of numbers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CreateSecrets => "create_secrets",
            Self::ReadSecrets => "read_secrets",
            Self::OtherSecrets => "other_secrets",
            Self::ReadKeys => "read_keys",
            Self::CreateKeys => "create_keys",
            Self::WriteKeys => "write_keys",
            Self::Encryption => "encryption",
            Self::Users => "users",
        }
    }

    /// The class of an action.
    #[must_use]
    pub fn of(spec: &Spec) -> Self {
        // What is about neither a secret nor a key tells of the service itself.
        const OF_THE_SERVICE: [&str; 3] = ["DescribeAccountKmsStatus", "DescribeRegions", "ListKmsInstances"];
        let is_asked_on = |kind| spec.description.resource.starts_with(kind);
        let is_about_keys = is_asked_on("key")
            || is_asked_on("alias")
            || spec.name.contains("Tag")
            || OF_THE_SERVICE.contains(&spec.name);
        match (spec.service, spec.name) {
            (Service::Ram | Service::Sts, _) => Self::Users,
            (Service::Kms, "CreateSecret" | "DeleteSecret") => Self::CreateSecrets,
            (Service::Kms, "BatchGetSecretValue" | "DescribeSecret" | "GetSecretValue") => Self::ReadSecrets,
            (Service::Kms, "CreateKey") => Self::CreateKeys,
            (Service::Kms, "Decrypt" | "Encrypt" | "GenerateDataKey" | "GenerateDataKeyWithoutPlaintext") => {
                Self::Encryption
            }
            (Service::Kms, _) if is_about_keys => match spec.access() {
                EventAccess::Read => Self::ReadKeys,
                EventAccess::Write => Self::WriteKeys,
            },
            (Service::Kms, _) => Self::OtherSecrets,
        }
    }
}

/// How often each principal may call, in calls a second; what is not named is
/// not limited.
#[derive(Debug, Clone, Default)]
pub struct Rates {
    /// All actions of a class together, at least 1.
    pub classes: Vec<(Class, u32)>,
    /// Single actions by name, at least 1; they count against their class as well.
    pub actions: Vec<(String, u32)>,
}

/// The buckets that one call takes from, as places in a principal's account.
#[derive(Debug, Clone, Copy)]
struct Rule {
    class: Class,
    places: [Option<usize>; 2],
}

/// A limit in nanoseconds: what a call costs, and what is saved up at most. A
/// bucket holds the calls of a second.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    cost: i64,
    capacity: i64,
}

impl Bucket {
    fn of(rate: u32) -> Self {
        let rate = i64::from(rate.max(1));
        let cost = SECOND / rate;
        Self { cost, capacity: cost * rate }
    }
}

/// What a principal has used. For each bucket the moment, in nanoseconds, at
/// which it is full again: one number says both how much is in it and since when.
type Account = Box<[i64]>;

#[derive(Debug, Default)]
struct Shard {
    accounts: HashMap<Arc<str>, Account>,
    /// Shared by all that are not told apart.
    others: Option<Account>,
}

/// The budgets of all principals.
#[derive(Debug)]
pub(super) struct Throttle {
    /// One for each place of an account.
    buckets: Box<[Bucket]>,
    /// The actions that are limited at all.
    rules: HashMap<&'static str, Rule>,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    refused: [AtomicU64; Class::ALL.len()],
}

impl Throttle {
    pub(super) fn new(rates: &Rates) -> Self {
        let of_class = |class: Class| rates.classes.iter().position(|(limited, _)| *limited == class);
        let of_action = |name: &str| rates.actions.iter().position(|(limited, _)| limited == name);
        let mut rules = HashMap::new();
        for row in TABLE {
            let class = Class::of(&row.spec);
            let own = of_action(row.spec.name).map(|at| rates.classes.len() + at);
            let places = [of_class(class), own];
            if places.iter().any(Option::is_some) {
                rules.insert(row.spec.name, Rule { class, places });
            }
        }
        let classes = rates.classes.iter().map(|(_, rate)| Bucket::of(*rate));
        let actions = rates.actions.iter().map(|(_, rate)| Bucket::of(*rate));
        Self {
            buckets: classes.chain(actions).collect(),
            rules,
            hasher: RandomState::new(),
            shards: Default::default(),
            refused: Default::default(),
        }
    }

    /// Takes one call of an action from the principal's budget.
    ///
    /// # Errors
    ///
    /// The milliseconds after which there is room for it again; nothing is taken then.
    pub(super) fn take(&self, principal: &Arc<str>, action: &str, now: Timestamp) -> Result<(), u64> {
        let Some(rule) = self.rules.get(action) else { return Ok(()) };
        // Any moment that is possible, so that what is added to it stays a number.
        let now = now.millis().clamp(0, i64::MAX / 2_000_000) * 1_000_000;
        let place = usize::try_from(self.hasher.hash_one(&**principal) % 16).unwrap_or(0);
        let Some(shard) = self.shards.get(place) else { return Ok(()) };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = self.take_from(shard.account(principal, now, self.buckets.len()), rule, now);
        drop(shard);
        if taken.is_err() {
            let at = Class::ALL.iter().position(|class| *class == rule.class);
            if let Some(count) = at.and_then(|at| self.refused.get(at)) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        taken
    }

    fn take_from(&self, account: &mut Account, rule: &Rule, now: i64) -> Result<(), u64> {
        let mut lacking = 0;
        for place in rule.places.iter().copied().flatten() {
            let (Some(full), Some(bucket)) = (account.get_mut(place), self.buckets.get(place)) else {
                continue;
            };
            // It is later than a whole bucket only when the clock was set back.
            *full = (*full).clamp(now, now.saturating_add(bucket.capacity));
            lacking = lacking.max(*full + bucket.cost - now - bucket.capacity);
        }
        if lacking > 0 {
            return Err(u64::try_from(lacking).unwrap_or(0).div_ceil(1_000_000));
        }
        for place in rule.places.iter().copied().flatten() {
            if let (Some(full), Some(bucket)) = (account.get_mut(place), self.buckets.get(place)) {
                *full += bucket.cost;
            }
        }
        Ok(())
    }

    /// How many calls were refused since the start, by class.
    pub(super) fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Class::ALL
            .iter()
            .zip(&self.refused)
            .map(|(class, count)| (class.as_str(), count.load(Ordering::Relaxed)))
    }
}

impl Shard {
    /// The principal's account. One whose buckets are all full says nothing and
    /// is given up when others need its room.
    fn account(&mut self, principal: &Arc<str>, now: i64, places: usize) -> &mut Account {
        let fresh = || vec![i64::MIN; places].into_boxed_slice();
        if self.accounts.len() >= PRINCIPALS && !self.accounts.contains_key(principal) {
            self.accounts.retain(|_, account| account.iter().any(|full| *full > now));
            if self.accounts.len() >= PRINCIPALS {
                return self.others.get_or_insert_with(fresh);
            }
        }
        self.accounts.entry(Arc::clone(principal)).or_insert_with(fresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle(classes: &[(Class, u32)], actions: &[(&str, u32)]) -> Throttle {
        Throttle::new(&Rates {
            classes: classes.to_vec(),
            actions: actions.iter().map(|(name, rate)| ((*name).to_owned(), *rate)).collect(),
        })
    }

    const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn after(millis: i64) -> Timestamp {
        Timestamp::from_millis(START.millis() + millis)
    }

    #[test]
    fn a_second_brings_so_many_calls_and_no_more_are_saved_up() {
        for rate in [1, 3, 7, 10, 30, 40, 50, 450, 1_000, 99_999] {
            let throttle = throttle(&[(Class::ReadSecrets, rate)], &[]);
            let one: Arc<str> = "one".into();
            let taken = |moment| {
                (0..2 * rate).filter(|_| throttle.take(&one, "GetSecretValue", moment).is_ok()).count()
            };
            assert_eq!(taken(START), rate as usize, "{rate}");
            assert_eq!(taken(START), 0, "{rate}");
            assert_eq!(taken(after(1_000)), rate as usize, "{rate}");
            assert_eq!(taken(after(3_600_000)), rate as usize, "{rate}");
        }
    }

    #[test]
    fn who_waits_as_long_as_was_told_is_let_in_and_nobody_earlier() {
        for rate in [1, 3, 40, 450] {
            let throttle = throttle(&[(Class::OtherSecrets, rate)], &[]);
            let one: Arc<str> = "one".into();
            let mut now = 0;
            for _ in 0..5 * rate {
                if let Err(millis) = throttle.take(&one, "ListSecrets", after(now)) {
                    assert!(millis >= 1);
                    let millis = i64::try_from(millis).unwrap();
                    assert!(throttle.take(&one, "ListSecrets", after(now + millis - 1)).is_err(), "{rate}");
                    now += millis;
                    assert!(throttle.take(&one, "ListSecrets", after(now)).is_ok(), "{rate}");
                }
            }
            assert!((3_900..=5_000).contains(&now), "{rate}: {now}");
        }
    }

    #[test]
    fn classes_and_principals_have_budgets_of_their_own() {
        let throttle = throttle(&[(Class::ReadSecrets, 1), (Class::CreateSecrets, 1)], &[]);
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        assert!(throttle.take(&one, "GetSecretValue", START).is_ok());
        assert!(throttle.take(&one, "DescribeSecret", START).is_err());
        assert!(throttle.take(&one, "CreateSecret", START).is_ok());
        assert!(throttle.take(&one, "ListSecrets", START).is_ok());
        assert!(throttle.take(&other, "DescribeSecret", START).is_ok());
        let refused: Vec<_> = throttle.refused().filter(|(_, count)| *count > 0).collect();
        assert_eq!(refused, [("read_secrets", 1)]);
    }

    #[test]
    fn a_single_action_is_limited_besides_its_class_and_a_refusal_takes_from_neither() {
        let throttle = throttle(&[(Class::ReadSecrets, 4)], &[("GetSecretValue", 2)]);
        let one: Arc<str> = "one".into();
        for _ in 0..2 {
            assert!(throttle.take(&one, "GetSecretValue", START).is_ok());
        }
        for _ in 0..100 {
            assert!(throttle.take(&one, "GetSecretValue", START).is_err());
        }
        for _ in 0..2 {
            assert!(throttle.take(&one, "DescribeSecret", START).is_ok());
        }
        assert!(throttle.take(&one, "DescribeSecret", START).is_err());
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_out_for_longer_than_a_second() {
        let throttle = throttle(&[(Class::ReadSecrets, 1)], &[]);
        let one: Arc<str> = "one".into();
        assert!(throttle.take(&one, "GetSecretValue", START).is_ok());
        assert_eq!(throttle.take(&one, "GetSecretValue", after(-3_600_000)), Err(1_000));
        assert!(throttle.take(&one, "GetSecretValue", after(-3_600_000 + 1_000)).is_ok());
    }

    #[test]
    fn the_memory_is_bounded_whoever_calls() {
        let throttle = throttle(&[(Class::ReadSecrets, 1)], &[]);
        for number in 0..40_000 {
            let principal: Arc<str> = format!("principal-{number}").into();
            throttle.take(&principal, "GetSecretValue", START).ok();
        }
        let kept: usize = throttle.shards.iter().map(|shard| shard.lock().unwrap().accounts.len()).sum();
        assert!(kept <= SHARDS * PRINCIPALS, "{kept}");
        // Once their buckets are full again they make room.
        let late: Arc<str> = "late".into();
        assert!(throttle.take(&late, "GetSecretValue", after(2_000)).is_ok());
    }

    #[test]
    fn every_action_has_a_class_and_those_of_the_contract_theirs() {
        let classes: HashMap<_, _> = TABLE.iter().map(|row| (row.spec.name, Class::of(&row.spec))).collect();
        for (name, class) in [
            ("CreateKey", Class::CreateKeys),
            ("CreateSecret", Class::CreateSecrets),
            ("CreateUser", Class::Users),
            ("Decrypt", Class::Encryption),
            ("DeleteAlias", Class::WriteKeys),
            ("DeleteSecret", Class::CreateSecrets),
            ("DescribeRegions", Class::ReadKeys),
            ("DescribeSecret", Class::ReadSecrets),
            ("GetRandomPassword", Class::OtherSecrets),
            ("GetSecretValue", Class::ReadSecrets),
            ("ListAccessKeys", Class::Users),
            ("ListSecrets", Class::OtherSecrets),
            ("ListKeys", Class::ReadKeys),
            ("RotateSecret", Class::OtherSecrets),
            ("UpdateRotationPolicy", Class::WriteKeys),
        ] {
            assert_eq!(classes[name], class, "{name}");
        }
    }
}
