//! What a campaign would do, before anything is done.

use std::collections::BTreeSet;

use crate::model::campaign::Course;
use crate::model::{SecretId, SecretName, SecretRecord, SecretType, VersionStage};

/// Why a secret that was chosen is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It is scheduled for deletion.
    InDeletion,
    /// A rotation of it is going on.
    InProgress,
    /// Another campaign will rotate it.
    InCampaign,
    /// It is none that the service rotates.
    NotManaged,
    /// The caller may not rotate it.
    NotPermitted,
}

impl Why {
    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InDeletion => "InDeletion",
            Self::InProgress => "InProgress",
            Self::InCampaign => "InCampaign",
            Self::NotManaged => "NotManaged",
            Self::NotPermitted => "NotPermitted",
        }
    }
}

/// A secret that was chosen and is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name.
    pub name: SecretName,
    /// Why.
    pub why: Why,
}

/// A chosen secret, and whether the caller may rotate it.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The secret.
    pub secret: SecretRecord,
    /// Whether the caller may rotate it.
    pub permitted: bool,
}

/// What a campaign would do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The secrets in the order in which they are begun.
    pub members: Vec<SecretRecord>,
    /// How many of them are in each wave.
    pub waves: Vec<u32>,
    /// What was chosen and is left out.
    pub left_out: Vec<LeftOut>,
    /// Stands for all of it: a campaign that is started with it does this or nothing.
    pub digest: String,
}

impl Plan {
    /// Makes it out of what was chosen. `taken` are the secrets of other
    /// campaigns. The order is that of their ids, which are random, so that a
    /// wave is spread over names and instances, and the same at each look.
    #[must_use]
    pub fn of(candidates: Vec<Candidate>, taken: &BTreeSet<SecretId>, course: &Course) -> Self {
        let (mut members, mut left_out) = (Vec::new(), Vec::new());
        for candidate in candidates {
            match refusal(&candidate, taken) {
                None => members.push(candidate.secret),
                Some(why) => {
                    left_out.push(LeftOut { name: candidate.secret.name, why });
                }
            }
        }
        members.sort_by(|a, b| a.id.cmp(&b.id));
        left_out.sort_by(|a, b| (a.why, &a.name).cmp(&(b.why, &b.name)));
        let waves = course.waves(u32::try_from(members.len()).unwrap_or(u32::MAX));
        let mut text = String::new();
        for secret in &members {
            text.push_str(secret.id.as_str());
        }
        text.push_str(&format!("{waves:?}"));
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        let digest = data_encoding::HEXLOWER.encode(digest.as_ref());
        Self { members, waves, left_out, digest }
    }
}

fn refusal(candidate: &Candidate, taken: &BTreeSet<SecretId>) -> Option<Why> {
    let secret = &candidate.secret;
    if !candidate.permitted {
        Some(Why::NotPermitted)
    } else if secret.kind != SecretType::Ecs || secret.ecs.is_none() {
        Some(Why::NotManaged)
    } else if secret.planned_delete.is_some() {
        Some(Why::InDeletion)
    } else if secret.at_stage(&VersionStage::Pending).is_some() {
        Some(Why::InProgress)
    } else if taken.contains(&secret.id) {
        Some(Why::InCampaign)
    } else {
        None
    }
}
