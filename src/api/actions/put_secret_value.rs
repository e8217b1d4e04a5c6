//! PutSecretValue (kms-secrets.md section 5.3).

use serde::{Deserialize, Serialize};

use super::get_secret_value::Stages;
use super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::{RequestId, SecretName, VersionId, VersionStage};
use crate::vault::NewVersion;

/// Stages named in one call at most.
const MAX_STAGES: usize = 8;

/// Adds a version to a Generic secret.
#[derive(Debug)]
pub(super) struct PutSecretValue {
    name: SecretName,
    new: NewVersion,
}

/// `VersionStages` comes as a list, or as the object in which answers wrap lists.
#[derive(Deserialize)]
#[serde(untagged)]
enum StagesText {
    Bare(Vec<String>),
    #[serde(rename_all = "PascalCase")]
    Wrapped {
        version_stage: Vec<String>,
    },
}

fn stages(input: &Input<'_>) -> Result<Vec<VersionStage>, ApiError> {
    let rule = "The parameter VersionStages must be a JSON array of 1 to 8 stages of 1 to 64 of A-Z a-z 0-9 _ -, without ACSPrevious and ACSPending.";
    let refuse = || ApiError::invalid(rule);
    let Some(text) = input.optional("VersionStages").filter(|t| !t.is_empty()) else { return Ok(Vec::new()) };
    let names = match serde_json::from_str(text).ok().ok_or_else(refuse)? {
        StagesText::Bare(names) | StagesText::Wrapped { version_stage: names } => names,
    };
    let stages: Option<Vec<VersionStage>> = names.iter().map(|name| VersionStage::parse(name)).collect();
    let stages = stages.ok_or_else(refuse)?;
    let allowed = |s: &VersionStage| matches!(s, VersionStage::Current | VersionStage::Custom(_));
    if stages.is_empty() || stages.len() > MAX_STAGES || !stages.iter().all(allowed) {
        return Err(refuse());
    }
    Ok(stages)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    request_id: &'a RequestId,
    secret_name: &'a SecretName,
    version_id: &'a VersionId,
    version_stages: Stages<'a>,
}

impl Action for PutSecretValue {
    const SPEC: Spec = spec!(Kms, "PutSecretValue");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self {
            name: input.secret_name()?,
            new: NewVersion {
                id: input.version_id()?,
                data_type: input.data_type()?,
                data: input.secret_data()?,
                stages: stages(input)?,
            },
        })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        let resource = asking.secret(&self.name);
        vec![Question { action: Self::SPEC.right, resource }]
    }

    fn secret(&self) -> Option<&SecretName> {
        Some(&self.name)
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let put = services.vault.put(access, &self.name, &self.new).await?;
        let body = Body {
            request_id,
            secret_name: &put.record.name,
            version_id: &put.version.id,
            version_stages: Stages { version_stage: &put.version.stages },
        };
        let answer = Answer::json(&body, &[])?;
        Ok(Done::answer(answer).of_version(put.version.id, put.version.stages))
    }
}
