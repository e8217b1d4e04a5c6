//! The actions on campaigns that exist, extensions of the imitated API:
//! DescribeRotationCampaign, ListRotationCampaigns, and the orders
//! PauseRotationCampaign, ResumeRotationCampaign and CancelRotationCampaign.

use serde::Serialize;

use super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::campaign::{CampaignRecord, MemberRecord, MemberState};
use crate::model::{CampaignId, RequestId, Timestamp};
use crate::rotation::fleet::{self, CampaignError, Order, WaveCount};

/// Members that are not as they should be, in one answer at most.
const MAX_TROUBLES: usize = 1_000;

/// An answer about one campaign.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Described<'a> {
    pub(super) request_id: &'a RequestId,
    #[serde(flatten)]
    pub(super) campaign: CampaignBody<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CampaignBody<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    canary: u32,
    wave_size: String,
    max_failures: String,
    windows: Vec<String>,
    pause_seconds: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_until: Option<String>,
    waves: Vec<Counts>,
    total: Counts,
    trouble_count: usize,
    troubles: Vec<TroubleBody<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Head<'a> {
    campaign_id: &'a str,
    state: &'static str,
    started_by: &'a str,
    create_time: String,
    update_time: String,
    name_prefix: &'a str,
    tags: Vec<TagBody<'a>>,
    wave: u32,
    wave_count: usize,
    total_count: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TagBody<'a> {
    tag_key: &'a str,
    tag_value: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Counts {
    size: u32,
    waiting: u32,
    begun: u32,
    stuck: u32,
    done: u32,
    failed: u32,
    skipped: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TroubleBody<'a> {
    secret_name: &'a str,
    instance_id: &'a str,
    wave: u32,
    state: &'static str,
    code: &'a str,
    message: &'a str,
    version_id: String,
}

impl From<WaveCount> for Counts {
    fn from(count: WaveCount) -> Self {
        Self {
            size: count.all(),
            waiting: count.waiting,
            begun: count.begun,
            stuck: count.stuck,
            done: count.done,
            failed: count.failed,
            skipped: count.skipped,
        }
    }
}

fn head(record: &CampaignRecord) -> Head<'_> {
    let tags = &record.selector.tags;
    Head {
        campaign_id: record.id.as_str(),
        state: record.state.as_str(),
        started_by: &record.started_by,
        create_time: record.created.to_string(),
        update_time: record.updated.to_string(),
        name_prefix: &record.selector.prefix,
        tags: tags.iter().map(|t| TagBody { tag_key: &t.key, tag_value: &t.value }).collect(),
        wave: record.wave.saturating_add(1),
        wave_count: record.waves.len(),
        total_count: record.waves.iter().sum(),
    }
}

/// A campaign for an answer. Waves are counted from 1 there.
pub(super) fn described<'a>(
    record: &'a CampaignRecord,
    members: &'a [MemberRecord],
    now: Timestamp,
) -> CampaignBody<'a> {
    let counts = fleet::count(record.waves.len(), members);
    let total = counts.iter().fold(WaveCount::default(), |sum, count| sum.plus(*count));
    let is_trouble = |m: &&MemberRecord| {
        matches!(m.state, MemberState::Stuck | MemberState::Failed | MemberState::Skipped)
    };
    let troubles = members.iter().filter(is_trouble).map(|member| TroubleBody {
        secret_name: member.name.as_str(),
        instance_id: member.instance.as_str(),
        wave: member.wave.saturating_add(1),
        state: member.state.as_str(),
        code: member.reason.as_ref().map_or("", |reason| &reason.code),
        message: member.reason.as_ref().map_or("", |reason| &reason.text),
        version_id: member.version().to_string(),
    });
    CampaignBody {
        head: head(record),
        canary: record.course.canary,
        wave_size: record.course.wave.to_string(),
        max_failures: record.course.failures.to_string(),
        windows: record.course.windows.iter().map(ToString::to_string).collect(),
        pause_seconds: record.course.pause_seconds,
        waits_until: fleet::waits_until(record, &counts, now).map(|t| t.to_string()),
        waves: counts.into_iter().map(Counts::from).collect(),
        trouble_count: members.iter().filter(is_trouble).count(),
        troubles: troubles.take(MAX_TROUBLES).collect(),
        total: total.into(),
    }
}

impl From<CampaignError> for ApiError {
    fn from(error: CampaignError) -> Self {
        match error {
            CampaignError::Exists => Self::new(
                "Rejected.ResourceExist",
                409,
                "A campaign with that CampaignId and other settings exists: choose another CampaignId.",
            ),
            CampaignError::NotFound => {
                Self::new("Forbidden.ResourceNotFound", 404, "There is no campaign with that CampaignId.")
            }
            CampaignError::Empty => Self::new(
                "Rejected.ResourceNotFound",
                409,
                "The campaign would rotate no secret: PlanRotationCampaign says what is left out, and why.",
            ),
            CampaignError::TooLarge => {
                Self::invalid("The campaign would rotate more than 100000 secrets: choose fewer.")
            }
            CampaignError::Changed => Self::new(
                "Rejected.PlanChanged",
                409,
                "What the campaign would rotate has changed since it was planned: look at the plan again.",
            ),
            CampaignError::State(state) => Self::new(
                "Rejected.StateModifiedFailed",
                409,
                format!("The campaign is in state {}, in which that cannot be done.", state.as_str()),
            ),
            CampaignError::Vault(error) => error.into(),
        }
    }
}

/// How a campaign stands.
#[derive(Debug)]
pub(super) struct DescribeRotationCampaign {
    id: CampaignId,
}

impl Action for DescribeRotationCampaign {
    const SPEC: Spec = spec!(Kms, "DescribeRotationCampaign");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { id: input.parsed("CampaignId", CampaignId::parse)? })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![Question { action: Self::SPEC.right, resource: asking.container() }]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let (record, members) = services.rotations.campaign(&self.id).await?;
        let campaign = described(&record, &members, services.vault.now());
        Ok(Done::answer(Answer::json(&Described { request_id, campaign }, &[])?))
    }
}

/// The newest campaigns.
#[derive(Debug)]
pub(super) struct ListRotationCampaigns {
    limit: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListBody<'a> {
    request_id: &'a RequestId,
    campaigns: List<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct List<'a> {
    campaign: Vec<Head<'a>>,
}

impl Action for ListRotationCampaigns {
    const SPEC: Spec = spec!(Kms, "ListRotationCampaigns");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { limit: input.number("MaxItems")? })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![Question { action: Self::SPEC.right, resource: asking.container() }]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let records = services.rotations.campaigns(self.limit).await?;
        let campaigns = List { campaign: records.iter().map(head).collect() };
        Ok(Done::answer(Answer::json(&ListBody { request_id, campaigns }, &[])?))
    }
}

async fn order(
    services: &Services,
    access: &Access,
    id: &CampaignId,
    order: Order,
    request_id: &RequestId,
) -> Result<Done, ApiError> {
    services.rotations.order_campaign(access, id, order).await?;
    let (record, members) = services.rotations.campaign(id).await?;
    let campaign = described(&record, &members, services.vault.now());
    let elements = vec![("CampaignId", id.to_string()), ("State", record.state.as_str().to_owned())];
    let answer = Answer::json(&Described { request_id, campaign }, &[])?;
    Ok(Done::answer(answer).telling(elements))
}

macro_rules! order {
    ($(#[$doc:meta])* $name:ident, $text:literal, $order:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(super) struct $name {
            id: CampaignId,
        }

        impl Action for $name {
            const SPEC: Spec = spec!(Kms, $text);

            fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
                Ok(Self { id: input.parsed("CampaignId", CampaignId::parse)? })
            }

            fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
                vec![Question { action: Self::SPEC.right, resource: asking.container() }]
            }

            async fn run(
                self,
                services: &Services,
                _caller: &Caller,
                access: &Access,
                request_id: &RequestId,
            ) -> Result<Done, ApiError> {
                order(services, access, &self.id, $order, request_id).await
            }
        }
    };
}

order!(
    /// Gives a campaign up; what is going on goes on to its end.
    CancelRotationCampaign, "CancelRotationCampaign", Order::Cancel
);
order!(
    /// Has a campaign begin nothing more for now.
    PauseRotationCampaign, "PauseRotationCampaign", Order::Pause
);
order!(
    /// Has a campaign go on, also after a halt.
    ResumeRotationCampaign, "ResumeRotationCampaign", Order::Resume
);
