//! UpdateSecret (kms-secrets.md section 5.4).

use serde::Deserialize;
use serde_json::{Map, Value};

use super::ecs_value::{MAX_CONFIG, MAX_CUSTOM_DATA};
use super::rotate_secret::NameBody;
use super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::{RequestId, SecretName};
use crate::vault::VaultError;

/// Changes what is said of a secret: its description, and the custom data of a
/// managed one.
#[derive(Debug)]
pub(super) struct UpdateSecret {
    name: SecretName,
    description: Option<String>,
    custom_data: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ConfigJson {
    custom_data: Map<String, Value>,
}

/// The custom data in whichever of its three spellings; one at a time.
fn custom_data(input: &Input<'_>) -> Result<Option<Map<String, Value>>, ApiError> {
    let refuse = || {
        ApiError::invalid(
            "Custom data must be a JSON object of at most 10 pairs and 1024 characters, sent once: as ExtendedConfig.CustomData, as ExtendedConfig.CustomData.<key> for each pair, or as ExtendedConfig={\"CustomData\":{…}}.",
        )
    };
    let flat: Map<String, Value> = input
        .parameters
        .iter()
        .filter_map(|(name, value)| {
            Some((name.strip_prefix("ExtendedConfig.CustomData.")?.to_owned(), Value::from(value)))
        })
        .collect();
    let pairs = match (input.optional("ExtendedConfig.CustomData"), input.optional("ExtendedConfig")) {
        (None, None) if flat.is_empty() => return Ok(None),
        (None, None) => flat,
        (Some(text), None) if flat.is_empty() => serde_json::from_str(text).ok().ok_or_else(refuse)?,
        (None, Some(text)) if flat.is_empty() => {
            let config: ConfigJson = serde_json::from_str(text).ok().ok_or_else(refuse)?;
            config.custom_data
        }
        (Some(_) | None, Some(_) | None) => return Err(refuse()),
    };
    let length = serde_json::to_string(&pairs).map_or(usize::MAX, |text| text.chars().count());
    if pairs.len() > MAX_CUSTOM_DATA || length > MAX_CONFIG || pairs.contains_key("") {
        return Err(refuse());
    }
    Ok(Some(pairs))
}

impl Action for UpdateSecret {
    const SPEC: Spec = spec!(Kms, "UpdateSecret");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self {
            name: input.secret_name()?,
            description: input.optional("Description").map(str::to_owned),
            custom_data: custom_data(input)?,
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
        let entry = services.vault.find(&self.name).await?;
        if self.custom_data.is_some() && entry.record.ecs.is_none() {
            return Err(ApiError::invalid(
                "Secrets of type Generic have no custom data: leave ExtendedConfig out.",
            ));
        }
        let change = services.vault.change(access, &self.name, |record| {
            if let Some(until) = record.planned_delete {
                return Err(VaultError::InDeleteWindow { until });
            }
            if let Some(description) = &self.description {
                record.description.clone_from(description);
            }
            if let Some(custom_data) = &self.custom_data {
                let ecs = record.ecs.as_mut().ok_or(VaultError::WrongType)?;
                ecs.custom_data.clone_from(custom_data);
            }
            Ok(())
        });
        let record = change.await?;
        let body = NameBody { request_id, secret_name: &record.name };
        Ok(Done::answer(Answer::json(&body, &[])?))
    }
}
