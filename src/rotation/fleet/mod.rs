//! Campaigns: many secrets rotated in waves, the rest halted when too many fail.
//!
//! Which rotation is begun next is decided by one pure function (`decide`);
//! here is what comes of it. A campaign and its members are rows like others: a
//! change is durable before it counts. A member's rotation makes a version whose
//! id follows from campaign and secret, and before it is begun the rotations of
//! the secret are searched for it, so that a crash at any moment has none begun
//! twice. The rotations themselves are like all others, and wait for their turn
//! in the same queue.

mod decide;
mod member;
mod plan;
mod rows;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Rotations;
use super::worker::Job;
use crate::audit::Access;
use crate::model::campaign::{
    CampaignRecord, CampaignState, Course, MAX_MEMBERS, MemberRecord, MemberState, Selector,
};
use crate::model::rotation::RotationRecord;
use crate::model::{CampaignId, SecretId, SecretRecord, Timestamp};
use crate::store::StoreError;
use crate::vault::VaultError;

use decide::{Decision, decide};

pub use decide::{WaveCount, count, waits_until};
pub use plan::{Candidate, LeftOut, Plan, Why};

/// Between two looks at all rotations that are going on.
const LOOK_SECONDS: i64 = 5;

/// Why a campaign cannot be started or changed. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    /// A campaign with that id and other contents exists.
    #[error("a campaign with that id exists")]
    Exists,
    /// There is no such campaign.
    #[error("there is no such campaign")]
    NotFound,
    /// It contains no secret.
    #[error("no secret would be rotated")]
    Empty,
    /// It contains too many.
    #[error("more than {MAX_MEMBERS} secrets would be rotated")]
    TooLarge,
    /// What would be done is not what was shown.
    #[error("the plan has changed since it was shown")]
    Changed,
    /// It is over, or stands otherwise.
    #[error("the campaign is {}", .0.as_str())]
    State(CampaignState),
    /// The vault's trouble.
    #[error("use the vault")]
    Vault(#[from] VaultError),
}

impl From<StoreError> for CampaignError {
    fn from(error: StoreError) -> Self {
        Self::Vault(error.into())
    }
}

/// What is known of the campaigns that are not over.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    live: Mutex<Campaigns>,
    /// Held while a campaign's own row is changed.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Campaigns {
    loaded: bool,
    by_id: BTreeMap<CampaignId, Live>,
}

/// A campaign that is not over, with its members.
#[derive(Debug)]
struct Live {
    record: CampaignRecord,
    members: Vec<MemberRecord>,
    ended: BTreeSet<SecretId>,
    looked: Option<Timestamp>,
    later: HashMap<u32, Later>,
    /// Places of members whose rotations are being begun.
    beginning: BTreeSet<u32>,
}

/// A member that could not be begun yet.
#[derive(Debug, Clone, Copy)]
struct Later {
    from: Timestamp,
    tries: u32,
}

impl Live {
    fn new(record: CampaignRecord, members: Vec<MemberRecord>) -> Self {
        let (ended, beginning) = (BTreeSet::new(), BTreeSet::new());
        Self { record, members, ended, looked: None, later: HashMap::new(), beginning }
    }

    fn decide(&self, now: Timestamp) -> Decision {
        decide(&self.record, &count(self.record.waves.len(), &self.members), now)
    }

    /// Whether rotations of it are going on.
    fn is_at_work(&self) -> bool {
        let open = |m: &MemberRecord| matches!(m.state, MemberState::Begun | MemberState::Stuck);
        !self.beginning.is_empty() || self.members.iter().any(open)
    }

    fn member(&mut self, position: u32) -> Option<&mut MemberRecord> {
        self.members.get_mut(usize::try_from(position).ok()?)
    }
}

/// What somebody wants of a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Begin nothing more for now.
    Pause,
    /// Go on, also after a halt: the failures so far are accepted.
    Resume,
    /// Begin nothing more at all.
    Cancel,
}

impl Rotations {
    fn campaigns_live(&self) -> MutexGuard<'_, Campaigns> {
        self.fleet.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Secrets that a campaign which is not over will still rotate.
    ///
    /// # Errors
    ///
    /// The vault's trouble.
    pub async fn in_campaigns(&self) -> Result<BTreeSet<SecretId>, VaultError> {
        self.load_campaigns().await?;
        let campaigns = self.campaigns_live();
        let members = campaigns.by_id.values().flat_map(|live| {
            let begins = !live.record.state.is_over();
            live.members.iter().filter(move |member| match member.state {
                MemberState::Waiting => begins,
                MemberState::Begun => true,
                MemberState::Stuck | MemberState::Done | MemberState::Failed | MemberState::Skipped => false,
            })
        });
        Ok(members.map(|member| member.secret.clone()).collect())
    }

    /// Starts a campaign over these secrets, in this order. The same once more
    /// is the same campaign.
    ///
    /// # Errors
    ///
    /// [`CampaignError`].
    pub async fn start_campaign(
        &self,
        _access: &Access,
        id: CampaignId,
        started_by: &str,
        selector: Selector,
        course: Course,
        secrets: &[SecretRecord],
    ) -> Result<CampaignRecord, CampaignError> {
        self.load_campaigns().await?;
        let _changing = self.fleet.changing.lock().await;
        if let Some(known) = self.campaign_row(&id).await? {
            let same = known.selector == selector && known.course == course;
            return if same { Ok(known) } else { Err(CampaignError::Exists) };
        }
        let size = u32::try_from(secrets.len()).ok().filter(|_| secrets.len() <= MAX_MEMBERS);
        let size = size.ok_or(CampaignError::TooLarge)?;
        if size == 0 {
            return Err(CampaignError::Empty);
        }
        let now = self.vault.now();
        let record = CampaignRecord {
            id: id.clone(),
            started_by: started_by.to_owned(),
            selector,
            waves: course.waves(size),
            course,
            wave: 0,
            wave_over: None,
            state: CampaignState::Running,
            forgiven: 0,
            settling: false,
            created: now,
            updated: now,
            revision: 1,
        };
        let members = rows::members_of(&record, secrets, now);
        let mut changes = vec![self.campaign_change(&record, None)?];
        for member in &members {
            changes.push(self.member_change(member, None)?);
        }
        self.vault.store().commit(changes).await?;
        self.campaigns_live().by_id.insert(id, Live::new(record.clone(), members));
        self.wake();
        Ok(record)
    }

    /// Pauses, resumes or cancels. What is going on goes on to its end.
    ///
    /// # Errors
    ///
    /// [`CampaignError::NotFound`], or [`CampaignError::State`] where the order
    /// makes no sense. An order that is carried out already is no error.
    pub async fn order_campaign(
        &self,
        _access: &Access,
        id: &CampaignId,
        order: Order,
    ) -> Result<CampaignRecord, CampaignError> {
        self.load_campaigns().await?;
        let changed = {
            let _changing = self.fleet.changing.lock().await;
            let known = self.campaign_row(id).await?.ok_or(CampaignError::NotFound)?;
            let wanted = match order {
                Order::Pause => CampaignState::Paused,
                Order::Resume => CampaignState::Running,
                Order::Cancel => CampaignState::Cancelled,
            };
            if known.state == wanted {
                return Ok(known);
            }
            let possible = match order {
                Order::Pause => known.state == CampaignState::Running,
                Order::Resume | Order::Cancel => !known.state.is_over(),
            };
            if !possible {
                return Err(CampaignError::State(known.state));
            }
            self.change_campaign(id, |live| {
                live.record.state = wanted;
                // Who pauses a campaign has not accepted what failed in it.
                if order == Order::Resume && known.state == CampaignState::Halted {
                    let counts = count(live.record.waves.len(), &live.members);
                    live.record.forgiven = counts.iter().map(|count| count.troubled()).sum();
                }
            })
            .await?
        };
        self.wake();
        changed.ok_or(CampaignError::NotFound)
    }

    /// Changes a live campaign's own row; what is over is forgotten when nothing
    /// of it is going on any more.
    async fn change_campaign(
        &self,
        id: &CampaignId,
        change: impl FnOnce(&mut Live) + Send,
    ) -> Result<Option<CampaignRecord>, VaultError> {
        let now = self.vault.now();
        let (before, after) = {
            let mut campaigns = self.campaigns_live();
            let Some(live) = campaigns.by_id.get_mut(id) else { return Ok(None) };
            let before = live.record.clone();
            change(live);
            live.record.settling = live.record.state.is_over() && live.is_at_work();
            live.record.updated = now;
            live.record.revision = before.revision.saturating_add(1);
            // It counts once it is durable.
            let after = std::mem::replace(&mut live.record, before.clone());
            (before, after)
        };
        let row = self.campaign_change(&after, Some(before.revision))?;
        self.vault.store().commit(vec![row]).await?;
        let mut campaigns = self.campaigns_live();
        if after.state.is_over() && !after.settling {
            campaigns.by_id.remove(id);
        } else if let Some(live) = campaigns.by_id.get_mut(id) {
            live.record = after.clone();
        }
        Ok(Some(after))
    }

    /// Has every campaign do what is next.
    pub(super) async fn campaigns_round(&self) -> Result<(), VaultError> {
        self.load_campaigns().await?;
        let ids: Vec<CampaignId> = self.campaigns_live().by_id.keys().cloned().collect();
        for id in ids {
            // One that cannot be worked on does not keep the others.
            if let Err(error) = self.campaign_round(&id).await {
                tracing::error!(campaign = %id, error = ?error, "a campaign cannot go on now");
            }
        }
        Ok(())
    }

    async fn campaign_round(&self, id: &CampaignId) -> Result<(), VaultError> {
        self.look_after_members(id).await?;
        let is_settled = |live: &Live| live.record.state.is_over() && !live.is_at_work();
        if self.campaigns_live().by_id.get(id).is_some_and(is_settled) {
            let _changing = self.fleet.changing.lock().await;
            self.change_campaign(id, |_| {}).await?;
            return Ok(());
        }
        loop {
            let now = self.vault.now();
            let decision = match self.campaigns_live().by_id.get(id) {
                Some(live) => live.decide(now),
                None => return Ok(()),
            };
            match decision {
                Decision::Begin => {
                    self.enqueue_members(id, now);
                    return Ok(());
                }
                Decision::Wait(_) => return Ok(()),
                Decision::Finish | Decision::Halt | Decision::NextWave => {
                    let _changing = self.fleet.changing.lock().await;
                    // An order may have come in between.
                    let same = self.campaigns_live().by_id.get(id).map(|live| live.decide(now));
                    if same != Some(decision) {
                        continue;
                    }
                    self.change_campaign(id, |live| carry_out(live, decision, now)).await?;
                    if decision != Decision::NextWave {
                        tracing::info!(campaign = %id, decision = ?decision, "a campaign has come to a stop");
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Has members of the present wave wait for their turn: with those whose
    /// rotations go on no more than may be in flight. So many secrets at most are
    /// in the balance when failures show, also where a rotation that does not
    /// get on gives its place in the region to others.
    fn enqueue_members(&self, id: &CampaignId, now: Timestamp) {
        let campaigns = self.campaigns_live();
        let Some(live) = campaigns.by_id.get(id) else { return };
        let most = self.settings.concurrency.max(1);
        let mut ahead = live.members.iter().filter(|m| m.state == MemberState::Begun).count();
        for member in &live.members {
            if member.wave != live.record.wave || member.state != MemberState::Waiting {
                continue;
            }
            let job = Job::Member(id.clone(), member.position);
            if self.is_enqueued(&job) {
                ahead += 1;
            } else if ahead < most && live.later.get(&member.position).is_none_or(|later| later.from <= now) {
                self.enqueue(job, &member.instance, live.record.created);
                ahead += 1;
            }
        }
    }

    /// A rotation is over: if it was a campaign's, that is looked at at once.
    pub(super) fn campaign_rotation_ended(&self, rotation: &RotationRecord) {
        let mut campaigns = self.campaigns_live();
        for live in campaigns.by_id.values_mut() {
            live.ended.insert(rotation.secret.clone());
        }
        if !campaigns.by_id.is_empty() {
            drop(campaigns);
            self.wake();
        }
    }
}

fn carry_out(live: &mut Live, decision: Decision, now: Timestamp) {
    let record = &mut live.record;
    match decision {
        Decision::Begin | Decision::Wait(_) => {}
        Decision::Finish => record.state = CampaignState::Done,
        Decision::Halt => record.state = CampaignState::Halted,
        Decision::NextWave => {
            record.wave = record.wave.saturating_add(1);
            record.wave_over = Some(now);
        }
    }
}
