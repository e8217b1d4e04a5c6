//! The rows of campaigns.

use super::super::Rotations;
use super::{CampaignError, Live};
use crate::model::campaign::{CampaignRecord, MemberRecord, MemberState};
use crate::model::{CampaignId, SecretRecord, Timestamp};
use crate::store::Change;
use crate::vault::VaultError;

/// The table names that the MACs cover.
const CAMPAIGNS: &str = "campaigns";
const MEMBERS: &str = "campaign_members";
/// Members read at once.
const PAGE: u32 = 1_000;
/// Campaigns that are not over, at most, as far as they are driven.
const MOST_OPEN: u32 = 1_000;

/// The members of a new campaign, all waiting.
pub(super) fn members_of(
    campaign: &CampaignRecord,
    secrets: &[SecretRecord],
    now: Timestamp,
) -> Vec<MemberRecord> {
    let waves = (0_u32..).zip(&campaign.waves);
    let places = waves.flat_map(|(wave, size)| (0..*size).map(move |_| wave));
    let bound = secrets.iter().filter_map(|secret| secret.ecs.as_ref().map(|ecs| (secret, ecs)));
    (0_u32..)
        .zip(places.zip(bound))
        .map(|(position, (wave, (secret, ecs)))| MemberRecord {
            campaign: campaign.id.clone(),
            position,
            wave,
            secret: secret.id.clone(),
            name: secret.name.clone(),
            instance: ecs.instance.clone(),
            state: MemberState::Waiting,
            reason: None,
            updated: now,
            revision: 1,
        })
        .collect()
}

impl Rotations {
    pub(super) fn campaign_change(
        &self,
        record: &CampaignRecord,
        expect: Option<u64>,
    ) -> Result<Change, VaultError> {
        let row = self.vault.integrity().guard(CAMPAIGNS, record.id.as_str(), record)?;
        Ok(Change::PutCampaign { record: Box::new(record.clone()), row, expect })
    }

    pub(super) fn member_change(
        &self,
        record: &MemberRecord,
        expect: Option<u64>,
    ) -> Result<Change, VaultError> {
        let row = self.vault.integrity().guard(MEMBERS, &record.key(), record)?;
        Ok(Change::PutMember { record: Box::new(record.clone()), row, expect })
    }

    pub(super) async fn campaign_row(&self, id: &CampaignId) -> Result<Option<CampaignRecord>, VaultError> {
        let Some(row) = self.vault.store().campaign(id).await? else { return Ok(None) };
        Ok(Some(self.vault.integrity().check(CAMPAIGNS, id.as_str(), &row)?))
    }

    /// A campaign with its members, over or not.
    ///
    /// # Errors
    ///
    /// [`CampaignError::NotFound`], or the vault's trouble.
    pub async fn campaign(
        &self,
        id: &CampaignId,
    ) -> Result<(CampaignRecord, Vec<MemberRecord>), CampaignError> {
        let record = self.campaign_row(id).await?.ok_or(CampaignError::NotFound)?;
        Ok((record, self.members(id).await?))
    }

    /// The newest campaigns, newest first.
    ///
    /// # Errors
    ///
    /// The vault's trouble.
    pub async fn campaigns(&self, limit: u32) -> Result<Vec<CampaignRecord>, VaultError> {
        let rows = self.vault.store().campaigns(false, limit).await?;
        let checked = rows.iter().map(|(id, row)| self.vault.integrity().check(CAMPAIGNS, id.as_str(), row));
        Ok(checked.collect::<Result<_, _>>()?)
    }

    async fn members(&self, campaign: &CampaignId) -> Result<Vec<MemberRecord>, VaultError> {
        let mut members: Vec<MemberRecord> = Vec::new();
        loop {
            let from = u32::try_from(members.len()).unwrap_or(u32::MAX);
            let rows = self.vault.store().members(campaign, from, PAGE).await?;
            let is_last = rows.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
            for (position, row) in rows {
                let key = format!("{campaign}/{position}");
                members.push(self.vault.integrity().check(MEMBERS, &key, &row)?);
            }
            if is_last {
                return Ok(members);
            }
        }
    }

    /// Takes up the campaigns that are not over, once after a start.
    pub(super) async fn load_campaigns(&self) -> Result<(), VaultError> {
        if self.campaigns_live().loaded {
            return Ok(());
        }
        let _changing = self.fleet.changing.lock().await;
        if self.campaigns_live().loaded {
            return Ok(());
        }
        let rows = self.vault.store().campaigns(true, MOST_OPEN).await?;
        let mut found = Vec::new();
        for (id, row) in rows {
            let taken_up = async {
                let record: CampaignRecord = self.vault.integrity().check(CAMPAIGNS, id.as_str(), &row)?;
                Ok::<_, VaultError>(Live::new(record, self.members(&id).await?))
            };
            match taken_up.await {
                Ok(live) => found.push((id, live)),
                Err(VaultError::Store(error)) => return Err(error.into()),
                // One that was altered does not keep the others.
                Err(error) => tracing::error!(campaign = %id, error = ?error, "a campaign is not driven"),
            }
        }
        let mut campaigns = self.campaigns_live();
        campaigns.by_id.extend(found);
        campaigns.loaded = true;
        Ok(())
    }
}
