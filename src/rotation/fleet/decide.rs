//! What a campaign does next, as one pure function.

use crate::model::Timestamp;
use crate::model::campaign::{CampaignRecord, CampaignState, MemberRecord, MemberState};

/// How many members of a wave stand where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WaveCount {
    /// Not begun.
    pub waiting: u32,
    /// Their rotations go on.
    pub begun: u32,
    /// Their rotations wait for an instance that does not answer.
    pub stuck: u32,
    /// Rotated.
    pub done: u32,
    /// Failed.
    pub failed: u32,
    /// Left out since nothing is to be rotated any more.
    pub skipped: u32,
}

impl WaveCount {
    /// All members of the wave.
    #[must_use]
    pub const fn all(self) -> u32 {
        self.waiting + self.begun + self.settled()
    }

    /// Those for which the wave is not kept waiting. A rotation that is stuck
    /// does not end by itself: it counts as a failure, and is not waited for.
    #[must_use]
    pub const fn settled(self) -> u32 {
        self.stuck + self.done + self.failed + self.skipped
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            waiting: self.waiting + other.waiting,
            begun: self.begun + other.begun,
            stuck: self.stuck + other.stuck,
            done: self.done + other.done,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }

    /// Those that are not as they should be.
    #[must_use]
    pub const fn troubled(self) -> u32 {
        self.stuck + self.failed
    }
}

/// The counts of all waves.
#[must_use]
pub fn count(waves: usize, members: &[MemberRecord]) -> Vec<WaveCount> {
    let mut counts = vec![WaveCount::default(); waves];
    for member in members {
        let Some(count) = usize::try_from(member.wave).ok().and_then(|wave| counts.get_mut(wave)) else {
            continue;
        };
        let place = match member.state {
            MemberState::Waiting => &mut count.waiting,
            MemberState::Begun => &mut count.begun,
            MemberState::Stuck => &mut count.stuck,
            MemberState::Done => &mut count.done,
            MemberState::Failed => &mut count.failed,
            MemberState::Skipped => &mut count.skipped,
        };
        *place += 1;
    }
    counts
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Begin members of the present wave.
    Begin,
    /// Every member is over.
    Finish,
    /// Too many have failed.
    Halt,
    /// The present wave is over: the next one is the present one.
    NextWave,
    /// Nothing before that moment, or before something happens.
    Wait(Option<Timestamp>),
}

/// What a campaign does next.
///
/// It halts before anything else, so that no more is begun after a failure too
/// many; what is going on then goes on. A wave is over when all of its members
/// are settled, and the next one begins a pause later, within a window.
pub(super) fn decide(campaign: &CampaignRecord, counts: &[WaveCount], now: Timestamp) -> Decision {
    if campaign.state != CampaignState::Running {
        return Decision::Wait(None);
    }
    let wave = usize::try_from(campaign.wave).unwrap_or(usize::MAX);
    let Some(present) = counts.get(wave) else { return Decision::Finish };
    let is_over = present.waiting == 0 && present.begun == 0;
    let is_last = wave.saturating_add(1) >= counts.len();
    if is_over && is_last {
        return Decision::Finish;
    }
    if halts(campaign, counts) {
        return Decision::Halt;
    }
    if is_over {
        return Decision::NextWave;
    }
    if present.waiting == 0 {
        return Decision::Wait(None);
    }
    let pause = i64::from(campaign.course.pause_seconds);
    if let Some(over) = campaign.wave_over {
        let from = over.plus_seconds(pause);
        // A moment that a clock that ran ahead has written is not waited for.
        if now < from && now.plus_seconds(pause) >= from {
            return Decision::Wait(Some(from));
        }
    }
    let windows = &campaign.course.windows;
    if windows.is_empty() || windows.iter().any(|window| window.contains(now)) {
        return Decision::Begin;
    }
    Decision::Wait(windows.iter().map(|window| window.next_start(now)).min())
}

/// Until when a campaign begins nothing because of a pause or its windows.
#[must_use]
pub fn waits_until(campaign: &CampaignRecord, counts: &[WaveCount], now: Timestamp) -> Option<Timestamp> {
    match decide(campaign, counts, now) {
        Decision::Wait(until) => until,
        Decision::Begin | Decision::Finish | Decision::Halt | Decision::NextWave => None,
    }
}

/// Whether more have failed than are borne. In the canary wave none is.
fn halts(campaign: &CampaignRecord, counts: &[WaveCount]) -> bool {
    let so_far = usize::try_from(campaign.wave).unwrap_or(usize::MAX).saturating_add(1);
    let begun = counts.iter().take(so_far);
    let (mut members, mut troubled) = (0_u32, 0_u32);
    for count in begun {
        members = members.saturating_add(count.all());
        troubled = troubled.saturating_add(count.troubled());
    }
    let unforgiven = troubled.saturating_sub(campaign.forgiven);
    let borne = if campaign.wave == 0 && campaign.course.canary > 0 {
        0
    } else {
        campaign.course.failures.of(members)
    };
    unforgiven > borne
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
