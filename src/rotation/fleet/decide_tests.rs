use super::*;
use crate::model::CampaignId;
use crate::model::campaign::{Amount, Course, Selector, Window};

fn campaign(waves: &[u32], failures: Amount, canary: u32) -> CampaignRecord {
    let start = Timestamp::from_millis(0);
    CampaignRecord {
        id: CampaignId::parse("c").unwrap(),
        started_by: "admin".to_owned(),
        selector: Selector { prefix: String::new(), tags: Vec::new() },
        course: Course { canary, wave: Amount::Count(2), failures, windows: Vec::new(), pause_seconds: 0 },
        waves: waves.to_vec(),
        wave: 0,
        wave_over: None,
        state: CampaignState::Running,
        forgiven: 0,
        settling: false,
        created: start,
        updated: start,
        revision: 1,
    }
}

const STATES: [MemberState; 6] = [
    MemberState::Waiting,
    MemberState::Begun,
    MemberState::Stuck,
    MemberState::Done,
    MemberState::Failed,
    MemberState::Skipped,
];

fn counted(states: &[MemberState], waves: &[u32]) -> Vec<WaveCount> {
    let mut counts = vec![WaveCount::default(); waves.len()];
    let mut states = states.iter();
    for (count, size) in counts.iter_mut().zip(waves) {
        for state in states.by_ref().take(usize::try_from(*size).unwrap()) {
            match state {
                MemberState::Waiting => count.waiting += 1,
                MemberState::Begun => count.begun += 1,
                MemberState::Stuck => count.stuck += 1,
                MemberState::Done => count.done += 1,
                MemberState::Failed => count.failed += 1,
                MemberState::Skipped => count.skipped += 1,
            }
        }
    }
    counts
}

/// Every campaign of up to four members in all divisions into waves, with every
/// way its members can stand, every limit, in every wave.
#[test]
fn nothing_is_begun_beyond_a_limit_or_before_a_wave_is_over_in_any_small_campaign() {
    let mut seen = 0;
    for waves in [&[1_u32][..], &[2], &[1, 1], &[1, 2], &[2, 2], &[1, 1, 1], &[1, 3]] {
        let members: u32 = waves.iter().sum();
        for mut code in 0..6_u32.pow(members) {
            let mut states = Vec::new();
            for _ in 0..members {
                states.push(STATES[usize::try_from(code % 6).unwrap()]);
                code /= 6;
            }
            let counts = counted(&states, waves);
            for wave in 0..=u32::try_from(waves.len()).unwrap() {
                for (limit, canary, forgiven) in [
                    (Amount::Count(0), 0, 0),
                    (Amount::Count(1), 0, 0),
                    (Amount::Count(1), 1, 0),
                    (Amount::Percent(50), 0, 0),
                    (Amount::Percent(50), 1, 1),
                ] {
                    let mut campaign = campaign(waves, limit, canary);
                    (campaign.wave, campaign.forgiven) = (wave, forgiven);
                    check(&campaign, &counts);
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 40_000, "{seen}");
}

fn check(campaign: &CampaignRecord, counts: &[WaveCount]) {
    let now = Timestamp::from_millis(0);
    let wave = usize::try_from(campaign.wave).unwrap();
    let decision = decide(campaign, counts, now);
    let context = || format!("{campaign:?} {counts:?} {decision:?}");
    let so_far = counts.iter().take(wave + 1);
    let troubled: u32 = so_far.clone().map(|c| c.failed + c.stuck).sum();
    let members: u32 = so_far.map(|c| c.all()).sum();
    let borne = match campaign.course.failures {
        _ if wave == 0 && campaign.course.canary > 0 => 0,
        Amount::Count(count) => count,
        Amount::Percent(percent) => members * u32::from(percent) / 100,
    };
    let too_many = troubled > borne + campaign.forgiven;
    let present = counts.get(wave);
    let going_on = present.is_some_and(|c| c.waiting + c.begun > 0);
    let later = counts.get(wave + 1).is_some();
    match decision {
        Decision::Begin => {
            assert!(!too_many, "{}", context());
            assert!(present.unwrap().waiting > 0, "{}", context());
        }
        Decision::Finish => assert!(!going_on && !later, "{}", context()),
        Decision::Halt => assert!(too_many && (going_on || later), "{}", context()),
        Decision::NextWave => assert!(!too_many && !going_on && later, "{}", context()),
        Decision::Wait(moment) => {
            assert_eq!(moment, None);
            let present = present.unwrap();
            assert!(present.waiting == 0 && present.begun > 0 && !too_many, "{}", context());
        }
    }
}

#[test]
fn a_campaign_that_does_not_run_begins_nothing() {
    for state in [CampaignState::Paused, CampaignState::Halted, CampaignState::Cancelled, CampaignState::Done]
    {
        let mut campaign = campaign(&[2], Amount::Count(0), 0);
        campaign.state = state;
        let counts = counted(&[MemberState::Waiting, MemberState::Failed], &[2]);
        assert_eq!(decide(&campaign, &counts, Timestamp::from_millis(0)), Decision::Wait(None));
    }
}

#[test]
fn a_wave_begins_a_pause_after_the_last_and_within_a_window() {
    let at = |text| Timestamp::parse(text).unwrap();
    let mut campaign = campaign(&[1, 1], Amount::Count(0), 0);
    let counts = counted(&[MemberState::Done, MemberState::Waiting], &[1, 1]);
    campaign.wave = 1;
    campaign.wave_over = Some(at("2024-06-01T10:00:00Z"));
    campaign.course.pause_seconds = 600;
    let then = |campaign: &CampaignRecord, now| decide(campaign, &counts, at(now));
    let until = at("2024-06-01T10:10:00Z");
    assert_eq!(then(&campaign, "2024-06-01T10:00:00Z"), Decision::Wait(Some(until)));
    assert_eq!(then(&campaign, "2024-06-01T10:10:00Z"), Decision::Begin);
    // A clock that was set back by hours does not make it wait for hours.
    assert_eq!(then(&campaign, "2024-06-01T02:00:00Z"), Decision::Begin);
    campaign.course.windows = vec![Window::parse("Sun 01:00-02:00 Z").unwrap()];
    let sunday = at("2024-06-02T01:00:00Z");
    assert_eq!(then(&campaign, "2024-06-01T10:10:00Z"), Decision::Wait(Some(sunday)));
    assert_eq!(then(&campaign, "2024-06-02T01:59:59Z"), Decision::Begin);
}
