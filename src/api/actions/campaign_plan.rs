//! PlanRotationCampaign and StartRotationCampaign, extensions of the imitated
//! API: what a campaign would do, and its start.

use serde::Serialize;

use super::campaigns::{Described, described};
use super::tags::tags;
use super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::campaign::{Amount, Course, Selector, Window};
use crate::model::{CampaignId, RequestId};
use crate::rotation::fleet::{Candidate, Plan};

/// Windows of a campaign at most.
const MAX_WINDOWS: usize = 20;
/// The right that a caller must have on each secret of a campaign.
const ROTATE: &str = "kms:RotateSecret";

/// What both actions ask for.
#[derive(Debug)]
struct Wanted {
    selector: Selector,
    course: Course,
    chosen: Vec<Candidate>,
}

impl Wanted {
    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let tags = tags(input)?;
        let all = input.boolean("AllSecrets")?.unwrap_or(false);
        let given = input.optional("NamePrefix");
        let prefix = given.unwrap_or_default();
        match (prefix.is_empty() && tags.is_empty(), all) {
            (true, true) | (false, false) => {}
            (true, false) if given.is_none() => return Err(ApiError::missing("NamePrefix")),
            (true, false) => {
                return Err(ApiError::invalid(
                    "The parameter NamePrefix must not be empty without Tags: AllSecrets=true means all secrets.",
                ));
            }
            (false, true) => {
                return Err(ApiError::invalid(
                    "The parameter AllSecrets goes with neither NamePrefix nor Tags.",
                ));
            }
        }
        if prefix.len() > 192 || !prefix.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ApiError::invalid(
                "The parameter NamePrefix must be the beginning of a name, at most 192 characters long.",
            ));
        }
        let amount = |name: &str, usual: Amount| match input.optional(name) {
            None => Ok(usual),
            Some(text) => Amount::parse(text)
                .map_err(|error| ApiError::invalid(format!("The parameter {name} is not valid: {error}."))),
        };
        let course = Course {
            canary: input.number("Canary")?,
            wave: amount("WaveSize", Amount::Percent(10))?,
            failures: amount("MaxFailures", Amount::Percent(5))?,
            windows: windows(input)?,
            pause_seconds: input.number("PauseSeconds")?,
        };
        Ok(Self { selector: Selector { prefix: prefix.to_owned(), tags }, course, chosen: Vec::new() })
    }

    async fn plan(self, services: &Services) -> Result<(Selector, Course, Plan), ApiError> {
        let taken = services.rotations.in_campaigns().await?;
        let plan = Plan::of(self.chosen, &taken, &self.course);
        Ok((self.selector, self.course, plan))
    }
}

fn windows(input: &Input<'_>) -> Result<Vec<Window>, ApiError> {
    let Some(text) = input.optional("Windows") else { return Ok(Vec::new()) };
    let read: Option<Vec<Window>> = serde_json::from_str(text).ok();
    read.filter(|windows| windows.len() <= MAX_WINDOWS).ok_or_else(|| {
        ApiError::invalid(
            "The parameter Windows must be a JSON array of at most 20 texts such as \"Sat,Sun 01:00-05:00 +08:00\" or \"daily 22:00-04:00 Z\".",
        )
    })
}

/// Says what a campaign would do.
#[derive(Debug)]
pub(super) struct PlanRotationCampaign {
    wanted: Wanted,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PlanBody<'a> {
    request_id: &'a RequestId,
    plan_digest: &'a str,
    total_count: usize,
    waves: &'a [u32],
    members: Vec<MemberBody<'a>>,
    left_out_count: usize,
    left_out: Vec<LeftOutBody<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MemberBody<'a> {
    secret_name: &'a str,
    instance_id: &'a str,
    wave: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct LeftOutBody<'a> {
    secret_name: &'a str,
    reason: &'static str,
}

fn plan_answer(plan: &Plan, request_id: &RequestId) -> Result<Answer, ApiError> {
    let places = (1_u32..).zip(&plan.waves).flat_map(|(wave, size)| (0..*size).map(move |_| wave));
    let members = plan.members.iter().zip(places).map(|(secret, wave)| MemberBody {
        secret_name: secret.name.as_str(),
        instance_id: secret.ecs.as_ref().map_or("", |ecs| ecs.instance.as_str()),
        wave,
    });
    let left_out = plan
        .left_out
        .iter()
        .map(|one| LeftOutBody { secret_name: one.name.as_str(), reason: one.why.as_str() });
    let body = PlanBody {
        request_id,
        plan_digest: &plan.digest,
        total_count: plan.members.len(),
        waves: &plan.waves,
        members: members.collect(),
        left_out_count: plan.left_out.len(),
        left_out: left_out.collect(),
    };
    Answer::json(&body, &[])
}

impl Action for PlanRotationCampaign {
    const SPEC: Spec = spec!(Kms, "PlanRotationCampaign");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { wanted: Wanted::parse(input)? })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![Question { action: Self::SPEC.right, resource: asking.container() }]
    }

    fn selection(&self) -> Option<(&'static str, &Selector)> {
        Some((ROTATE, &self.wanted.selector))
    }

    fn select(&mut self, chosen: Vec<Candidate>) {
        self.wanted.chosen = chosen;
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let (_, _, plan) = self.wanted.plan(services).await?;
        Ok(Done::answer(plan_answer(&plan, request_id)?))
    }
}

/// Starts a campaign; it goes on by itself.
#[derive(Debug)]
pub(super) struct StartRotationCampaign {
    id: CampaignId,
    digest: Option<String>,
    wanted: Wanted,
}

impl Action for StartRotationCampaign {
    const SPEC: Spec = spec!(Kms, "StartRotationCampaign");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let id = input.parsed("CampaignId", CampaignId::parse)?;
        let wanted = Wanted::parse(input)?;
        let digest = match input.optional("PlanDigest") {
            Some(text) if text.len() != 64 => {
                return Err(ApiError::invalid(
                    "The parameter PlanDigest must be the one that PlanRotationCampaign has answered.",
                ));
            }
            digest => digest.map(str::to_owned),
        };
        Ok(Self { id, digest, wanted })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![Question { action: Self::SPEC.right, resource: asking.container() }]
    }

    fn selection(&self) -> Option<(&'static str, &Selector)> {
        Some((ROTATE, &self.wanted.selector))
    }

    fn select(&mut self, chosen: Vec<Candidate>) {
        self.wanted.chosen = chosen;
    }

    async fn run(
        self,
        services: &Services,
        caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let rotations = &services.rotations;
        let (selector, course, plan) = self.wanted.plan(services).await?;
        // A repetition finds its secrets in the campaign that it has started itself.
        let is_new = rotations.campaign(&self.id).await.is_err();
        if is_new && self.digest.is_some_and(|digest| digest != plan.digest) {
            return Err(crate::rotation::fleet::CampaignError::Changed.into());
        }
        let started_by = &*caller.name;
        rotations
            .start_campaign(access, self.id.clone(), started_by, selector, course, &plan.members)
            .await?;
        let (record, members) = rotations.campaign(&self.id).await?;
        let body = Described { request_id, campaign: described(&record, &members, services.vault.now()) };
        let elements = vec![("CampaignId", self.id.to_string()), ("TotalCount", members.len().to_string())];
        Ok(Done::answer(Answer::json(&body, &[])?).telling(elements))
    }
}
