//! Campaigns, the rotation of many secrets in waves: what is asked for, and the
//! rows in which it is kept.

mod window;

use serde::{Deserialize, Serialize};

use super::{CampaignId, InstanceId, SecretId, SecretName, SecretRecord, Tag, Timestamp, VersionId};

pub use window::{InvalidWindow, Window};

/// Secrets in one campaign at most.
pub const MAX_MEMBERS: usize = 100_000;

/// A number, or a share of something in percent: `20`, `5%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Amount {
    /// So many.
    Count(u32),
    /// So many of a hundred, 0 to 100.
    Percent(u8),
}

/// A text that is no [`Amount`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an amount is a whole number up to 100000, or a share from 0% to 100%")]
pub struct InvalidAmount;

impl Amount {
    /// Reads `20` or `5%`.
    ///
    /// # Errors
    ///
    /// [`InvalidAmount`].
    pub fn parse(text: &str) -> Result<Self, InvalidAmount> {
        let (digits, share) = match text.strip_suffix('%') {
            Some(digits) => (digits, true),
            None => (text, false),
        };
        if digits.is_empty() || digits.len() > 6 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(InvalidAmount);
        }
        let number: u32 = digits.parse().ok().ok_or(InvalidAmount)?;
        match (share, u8::try_from(number)) {
            (true, Ok(percent)) if percent <= 100 => Ok(Self::Percent(percent)),
            (false, _) if number <= 100_000 => Ok(Self::Count(number)),
            _ => Err(InvalidAmount),
        }
    }

    /// How many that are of `whole`; shares are rounded down.
    #[must_use]
    pub fn of(self, whole: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let part = u64::from(whole) * u64::from(percent) / 100;
                u32::try_from(part).unwrap_or(whole)
            }
        }
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// Which secrets: all of whose name begins so and that carry these tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    /// How names begin; empty for all.
    pub prefix: String,
    /// Tags, all of which a secret must carry.
    pub tags: Vec<Tag>,
}

impl Selector {
    /// Whether a secret is meant.
    #[must_use]
    pub fn takes(&self, secret: &SecretRecord) -> bool {
        secret.name.as_str().starts_with(&self.prefix) && self.tags.iter().all(|t| secret.tags.contains(t))
    }
}

/// How a campaign goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Course {
    /// Secrets in the first wave, whose first failure halts the campaign; 0 for
    /// no such wave.
    pub canary: u32,
    /// Secrets in each later wave; a share is one of all members.
    pub wave: Amount,
    /// More failures than that halt the campaign; a share is one of the members
    /// of the waves so far.
    pub failures: Amount,
    /// When rotations may be begun; at any time if there is none.
    pub windows: Vec<Window>,
    /// Seconds between the end of a wave and the next one.
    pub pause_seconds: u32,
}

impl Course {
    /// The sizes of the waves of so many members: none is empty, and together
    /// they are all.
    #[must_use]
    pub fn waves(&self, members: u32) -> Vec<u32> {
        let size = self.wave.of(members).max(1);
        let mut left = members;
        let mut waves = Vec::new();
        let mut next = if self.canary == 0 { size } else { self.canary };
        while left > 0 {
            let taken = next.min(left);
            waves.push(taken);
            left -= taken;
            next = size;
        }
        waves
    }
}

/// Where a campaign stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CampaignState {
    /// It goes on by itself.
    Running,
    /// Somebody stopped it; it goes on when told to.
    Paused,
    /// Too many rotations failed; it goes on when told to.
    Halted,
    /// Given up; nothing more is begun.
    Cancelled,
    /// Every member is over.
    Done,
}

impl CampaignState {
    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Paused => "Paused",
            Self::Halted => "Halted",
            Self::Cancelled => "Cancelled",
            Self::Done => "Done",
        }
    }

    /// Whether it can go on.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Cancelled | Self::Done)
    }
}

/// A campaign as it is kept, under a MAC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignRecord {
    /// The id.
    pub id: CampaignId,
    /// The user who started it.
    pub started_by: String,
    /// Which secrets were asked for.
    pub selector: Selector,
    /// How it goes on.
    pub course: Course,
    /// The sizes of its waves.
    pub waves: Vec<u32>,
    /// The wave that is being worked on, from 0.
    pub wave: u32,
    /// When the wave before that was over.
    pub wave_over: Option<Timestamp>,
    /// Where it stands.
    pub state: CampaignState,
    /// Failures that somebody has accepted by having it go on.
    pub forgiven: u32,
    /// Whether it is over while rotations of it are still going on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub settling: bool,
    /// When it was started.
    pub created: Timestamp,
    /// When its state last changed.
    pub updated: Timestamp,
    /// Counts the changes of this row.
    pub revision: u64,
}

/// Where a member of a campaign stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MemberState {
    /// Not begun.
    Waiting,
    /// Its rotation goes on.
    Begun,
    /// Its rotation waits for an instance that does not answer; it counts as a
    /// failure until it has come to an end.
    Stuck,
    /// Rotated.
    Done,
    /// Its rotation failed, or could not be begun.
    Failed,
    /// Left out, because there is nothing to rotate any more.
    Skipped,
}

impl MemberState {
    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "Waiting",
            Self::Begun => "Begun",
            Self::Stuck => "Stuck",
            Self::Done => "Done",
            Self::Failed => "Failed",
            Self::Skipped => "Skipped",
        }
    }
}

/// Why a member is not rotated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Such as `no_space`, or `InDeletion`.
    pub code: String,
    /// What it means and what to do.
    pub text: String,
}

/// A member of a campaign as it is kept, under a MAC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// The campaign.
    pub campaign: CampaignId,
    /// Its place in it, from 0.
    pub position: u32,
    /// The wave it belongs to, from 0.
    pub wave: u32,
    /// The secret.
    pub secret: SecretId,
    /// Its name.
    pub name: SecretName,
    /// The instance.
    pub instance: InstanceId,
    /// Where it stands.
    pub state: MemberState,
    /// Why it is not rotated.
    pub reason: Option<Reason>,
    /// When its state last changed.
    pub updated: Timestamp,
    /// Counts the changes of this row.
    pub revision: u64,
}

impl MemberRecord {
    /// The version that its rotation makes.
    #[must_use]
    pub fn version(&self) -> VersionId {
        VersionId::of_campaign(&self.campaign, &self.secret)
    }

    /// The key of its row.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}", self.campaign, self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_counts_or_shares_and_nothing_else() {
        assert_eq!(Amount::parse("20"), Ok(Amount::Count(20)));
        assert_eq!(Amount::parse("5%"), Ok(Amount::Percent(5)));
        assert_eq!(Amount::parse("100%"), Ok(Amount::Percent(100)));
        for bad in ["", "%", "-1", "101%", "1.5%", "100001", "20 %", "x"] {
            assert_eq!(Amount::parse(bad), Err(InvalidAmount), "{bad}");
        }
        assert_eq!(Amount::Percent(5).of(39), 1);
        assert_eq!(Amount::Percent(100).of(u32::MAX), u32::MAX);
    }

    #[test]
    fn waves_are_never_empty_and_together_are_all_members() {
        let course = |canary, wave| Course {
            canary,
            wave,
            failures: Amount::Count(0),
            windows: Vec::new(),
            pause_seconds: 0,
        };
        assert_eq!(course(1, Amount::Count(10)).waves(25), [1, 10, 10, 4]);
        assert_eq!(course(0, Amount::Percent(50)).waves(5), [2, 2, 1]);
        assert_eq!(course(3, Amount::Count(10)).waves(2), [2]);
        for members in 0..60 {
            for canary in 0..4 {
                for wave in [Amount::Count(0), Amount::Count(7), Amount::Percent(0), Amount::Percent(33)] {
                    let waves = course(canary, wave).waves(members);
                    assert_eq!(waves.iter().sum::<u32>(), members);
                    assert!(!waves.contains(&0));
                }
            }
        }
    }
}
