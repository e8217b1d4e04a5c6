//! What becomes of the members of a campaign.

use super::super::ledger::LedgerError;
use super::super::{RotationError, Rotations};
use super::decide::Decision;
use super::{LOOK_SECONDS, Later};
use crate::model::campaign::{MemberRecord, MemberState, Reason};
use crate::model::rotation::{RotationRecord, State, Trigger};
use crate::model::{CampaignId, SecretRecord, VersionStage};
use crate::vault::VaultError;

/// A member that could not be begun is tried again so much later.
const LATER_SECONDS: i64 = 60;
/// After so many tries it counts as failed.
const TRIES: u32 = 60;

/// What became of beginning a member.
enum Begun {
    /// Its rotation is there.
    Rotation(Box<RotationRecord>),
    /// Not now.
    Later(Reason),
    /// Never.
    Never(MemberState, Reason),
}

fn reason(code: &str, text: &str) -> Reason {
    Reason { code: code.to_owned(), text: text.to_owned() }
}

impl Rotations {
    /// Begins the rotation of a member whose turn has come, if the campaign
    /// still wants it; gives the rotation if it is going on.
    pub(in crate::rotation) async fn begin_member(
        &self,
        campaign: &CampaignId,
        position: u32,
    ) -> Option<RotationRecord> {
        let member = {
            let now = self.vault.now();
            let mut campaigns = self.campaigns_live();
            let live = campaigns.by_id.get_mut(campaign)?;
            // Much may have happened since it was put in line.
            if live.decide(now) != Decision::Begin {
                return None;
            }
            let wave = live.record.wave;
            let member = live.member(position);
            let member = member.filter(|m| m.state == MemberState::Waiting && m.wave == wave)?.clone();
            live.beginning.insert(position);
            member
        };
        let rotation = self.begin_wanted(&member).await;
        if let Some(live) = self.campaigns_live().by_id.get_mut(campaign) {
            live.beginning.remove(&position);
        }
        rotation.filter(|rotation| !rotation.state.is_over())
    }

    async fn begin_wanted(&self, member: &MemberRecord) -> Option<RotationRecord> {
        let (campaign, position) = (&member.campaign, member.position);
        let begun = self.begin_rotation_of(member).await.unwrap_or_else(|error| {
            tracing::error!(campaign = %campaign, secret = %member.name, error = ?error, "begin a member of a campaign");
            Begun::Later(reason("NotBegun", "The vault could not begin the rotation: its log says why."))
        });
        let (state, why, rotation) = match begun {
            Begun::Rotation(rotation) => (MemberState::Begun, None, Some(*rotation)),
            Begun::Never(state, why) => (state, Some(why), None),
            Begun::Later(why) => {
                if !self.is_last_try(campaign, position) {
                    return None;
                }
                (MemberState::Failed, Some(why), None)
            }
        };
        if let Err(error) = self.settle(member, state, why).await {
            // The row still says that it waits: it is found to be begun at the next try.
            tracing::error!(campaign = %campaign, secret = %member.name, error = ?error, "store a member of a campaign");
        }
        rotation
    }

    fn is_last_try(&self, campaign: &CampaignId, position: u32) -> bool {
        let from = self.vault.now().plus_seconds(LATER_SECONDS);
        let mut campaigns = self.campaigns_live();
        let Some(live) = campaigns.by_id.get_mut(campaign) else { return false };
        let later = live.later.entry(position).or_insert(Later { from, tries: 0 });
        (later.from, later.tries) = (from, later.tries.saturating_add(1));
        later.tries >= TRIES
    }

    async fn begin_rotation_of(&self, member: &MemberRecord) -> Result<Begun, LedgerError> {
        let secret = match self.vault.find_by_id(&member.secret).await {
            Ok(entry) => entry.record.clone(),
            Err(VaultError::NotFound) => {
                let why = reason("Deleted", "The secret was deleted after the campaign had started.");
                return Ok(Begun::Never(MemberState::Skipped, why));
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(rotation) = self.rotation_of(member, &secret).await? {
            return Ok(Begun::Rotation(Box::new(rotation)));
        }
        if secret.planned_delete.is_some() {
            let why =
                reason("InDeletion", "The secret is scheduled for deletion: restore it to have it rotated.");
            return Ok(Begun::Never(MemberState::Skipped, why));
        }
        if secret.at_stage(&VersionStage::Pending).is_some() {
            return Ok(Begun::Later(in_progress()));
        }
        let version = member.version();
        let access = self.record_beginning(&secret, member.campaign.as_str()).await?;
        let begun = self.begin(&access, &secret.name, version.clone(), Trigger::Campaign, None).await;
        let failed = begun.err();
        self.record_begun(access, &secret, member.campaign.as_str(), &version, failed.as_ref()).await?;
        let Some(error) = failed else {
            let rotation = self.rotation_of(member, &secret).await?;
            return Ok(match rotation {
                Some(rotation) => Begun::Rotation(Box::new(rotation)),
                None => Begun::Later(reason("NotBegun", "The rotation is not found.")),
            });
        };
        tracing::warn!(secret = %secret.name, error = ?error, "a rotation of a campaign was not begun");
        Ok(match error {
            RotationError::InProgress => Begun::Later(in_progress()),
            RotationError::Vault(VaultError::NotFound | VaultError::InDeleteWindow { .. }) => {
                let why = reason("InDeletion", "The secret was deleted after the campaign had started.");
                Begun::Never(MemberState::Skipped, why)
            }
            RotationError::Vault(_) | RotationError::Material | RotationError::NoCloud => {
                let text =
                    "The vault cannot begin rotations now: look at its log, the token and the database.";
                Begun::Later(reason("VaultTrouble", text))
            }
            other @ (RotationError::NotDue
            | RotationError::NotManaged
            | RotationError::NoKeysOnWindows
            | RotationError::NotOpen
            | RotationError::NotInDoubt(_)
            | RotationError::Throttled { .. }) => {
                Begun::Never(MemberState::Failed, reason("NotBegun", &format!("{other}.")))
            }
        })
    }

    /// The rotation of a member, wherever it stands.
    async fn rotation_of(
        &self,
        member: &MemberRecord,
        secret: &SecretRecord,
    ) -> Result<Option<RotationRecord>, VaultError> {
        let version = member.version();
        if let Some(open) = self.open_rotation_of(&secret.id).await?.filter(|r| r.version == version) {
            return Ok(Some(open));
        }
        let rotations = self.history(secret, u32::MAX).await?;
        Ok(rotations.into_iter().find(|rotation| rotation.version == version))
    }

    /// Looks at the rotations that are going on, those first that are said to
    /// have ended.
    pub(super) async fn look_after_members(&self, campaign: &CampaignId) -> Result<(), VaultError> {
        let members: Vec<MemberRecord> = {
            let now = self.vault.now();
            let mut campaigns = self.campaigns_live();
            let Some(live) = campaigns.by_id.get_mut(campaign) else { return Ok(()) };
            let ended = std::mem::take(&mut live.ended);
            let all = live.looked.is_none_or(|at| !(0..LOOK_SECONDS).contains(&now.seconds_since(at)));
            if all {
                live.looked = Some(now);
            }
            let open = |m: &&MemberRecord| matches!(m.state, MemberState::Begun | MemberState::Stuck);
            let wanted = live.members.iter().filter(open);
            wanted.filter(|m| all || ended.contains(&m.secret)).cloned().collect()
        };
        for member in members {
            let secret = match self.vault.find_by_id(&member.secret).await {
                Ok(entry) => entry,
                Err(VaultError::NotFound) => {
                    let why = reason("Deleted", "The secret was deleted while it was rotated.");
                    self.settle(&member, MemberState::Skipped, Some(why)).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Some(rotation) = self.rotation_of(&member, &secret.record).await? else { continue };
            let state = match rotation.state {
                State::Done => MemberState::Done,
                State::Failed => MemberState::Failed,
                State::Stuck => MemberState::Stuck,
                // The labels have moved: what is left is to remove the old key.
                State::Committed | State::Finalizing if member.state == MemberState::Stuck => {
                    MemberState::Begun
                }
                State::Staged
                | State::Sending
                | State::Sent
                | State::Unknown
                | State::Applied
                | State::Verified
                | State::Committed
                | State::Finalizing
                | State::Fencing => continue,
            };
            if state != member.state {
                let trouble = rotation.trouble.filter(|_| state != MemberState::Done);
                let why = trouble.map(|t| Reason { code: t.code, text: t.text });
                self.settle(&member, state, why).await?;
            }
        }
        Ok(())
    }

    /// Stores where a member stands; it counts once it is durable.
    async fn settle(
        &self,
        member: &MemberRecord,
        state: MemberState,
        why: Option<Reason>,
    ) -> Result<(), VaultError> {
        let mut after = member.clone();
        (after.state, after.reason, after.updated) = (state, why, self.vault.now());
        after.revision = member.revision.saturating_add(1);
        let change = self.member_change(&after, Some(member.revision))?;
        self.vault.store().commit(vec![change]).await?;
        let mut campaigns = self.campaigns_live();
        if let Some(live) = campaigns.by_id.get_mut(&member.campaign)
            && let Some(kept) = live.member(member.position)
        {
            *kept = after;
        }
        Ok(())
    }
}

fn in_progress() -> Reason {
    reason(
        "InProgress",
        "Another rotation of the secret, or of its user on the instance, is going on: when it is over, start a campaign for what is left.",
    )
}
