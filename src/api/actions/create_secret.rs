//! CreateSecret (kms-secrets.md sections 5.1 and 6.2).

use serde::Serialize;
use strongroom_hsm::SecretBytes;

use super::describe_secret::{RotationFields, extended_config};
use super::ecs_value::{self, ExtendedConfig};
use super::keys::Named;
use super::secret_policies;
use super::tags::tags;
use super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::key::KeyName;
use crate::model::{
    Arn, AutomaticRotation, EcsBinding, OsFamily, RequestId, RotationInterval, Schedule, SecretDataType,
    SecretName, SecretSubType, SecretType, Tag, VersionId, VersionStage,
};
use crate::vault::NewSecret;

/// The prefix of names of managed secrets, and that of ECS secrets.
const MANAGED: &str = "acs/";
const ECS: &str = "acs/ecs/";

/// Creates a secret with its first version.
#[derive(Debug)]
pub(super) struct CreateSecret {
    name: SecretName,
    version: VersionId,
    data: SecretBytes,
    data_type: SecretDataType,
    description: String,
    tags: Vec<Tag>,
    dkms_instance: String,
    policy: Option<String>,
    encryption_key: Option<Named>,
    interval: Option<RotationInterval>,
    ecs: Option<(ExtendedConfig, ecs_value::Credential)>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    request_id: &'a RequestId,
    arn: Arn,
    secret_name: &'a SecretName,
    version_id: &'a VersionId,
    secret_type: &'static str,
    #[serde(rename = "DKMSInstanceId")]
    dkms_instance_id: &'a str,
    #[serde(flatten)]
    rotation: Option<RotationFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extended_config: Option<String>,
}

fn kind(input: &Input<'_>) -> Result<SecretType, ApiError> {
    match input.optional("SecretType") {
        None | Some("Generic") => Ok(SecretType::Generic),
        Some("ECS") => Ok(SecretType::Ecs),
        Some("Rds" | "Redis" | "RAMCredentials" | "PolarDB") => {
            Err(ApiError::unsupported("Secrets of that SecretType are not supported: use Generic or ECS."))
        }
        Some(_) => Err(ApiError::invalid("The parameter SecretType must be Generic or ECS.")),
    }
}

impl Action for CreateSecret {
    const SPEC: Spec = spec!(Kms, "CreateSecret");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        // The other types have names and values of their own forms, which are not looked at.
        let kind = kind(input)?;
        let name = input.parsed("SecretName", SecretName::parse)?;
        let version = input.version_id()?;
        let data = input.secret_data()?;
        let data_type = input.data_type()?;
        let policy = input.optional("Policy").filter(|text| !text.is_empty());
        let policy = policy.map(secret_policies::checked).transpose()?;
        let rotates = input.boolean("EnableAutomaticRotation")?.unwrap_or(false);
        let interval = match input.optional("RotationInterval").filter(|_| rotates) {
            Some(text) => Some(RotationInterval::parse(text).map_err(|e| {
                ApiError::invalid(format!("The parameter RotationInterval is not valid: {e}."))
            })?),
            None if rotates && kind == SecretType::Ecs => return Err(ApiError::missing("RotationInterval")),
            None => None,
        };
        let ecs = match kind {
            SecretType::Generic if name.as_str().starts_with(MANAGED) => {
                return Err(ApiError::invalid(
                    "The SecretName of a Generic secret must not begin with acs/.",
                ));
            }
            SecretType::Generic if rotates => {
                return Err(ApiError::unsupported("Secrets of type Generic do not rotate by themselves."));
            }
            SecretType::Generic => None,
            SecretType::Ecs => {
                if !name.as_str().starts_with(ECS) {
                    return Err(ApiError::invalid(
                        "The SecretName of an ECS secret must begin with acs/ecs/.",
                    ));
                }
                if data_type != SecretDataType::Text {
                    return Err(ApiError::invalid("The SecretDataType of an ECS secret must be text."));
                }
                let config = ExtendedConfig::parse(input.required("ExtendedConfig")?, &input.scope.region)?;
                let credential = ecs_value::check(config.sub_type, data.expose())?;
                Some((config, credential))
            }
        };
        Ok(Self {
            name,
            version,
            data,
            data_type,
            description: input.optional("Description").unwrap_or("").to_owned(),
            tags: tags(input)?,
            encryption_key: Named::encryption_key(input)?,
            dkms_instance: input.optional("DKMSInstanceId").unwrap_or("").to_owned(),
            policy,
            interval,
            ecs,
        })
    }

    fn resolve(&mut self, services: &Services) {
        if let Some(key) = &mut self.encryption_key {
            key.resolve(&services.keys);
        }
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        let container = asking.container();
        let mut questions = vec![Question { action: Self::SPEC.right, resource: container }];
        if let Some((config, _)) = &self.ecs {
            // ram.md section 2.3.
            let resource = Arn::instance(&asking.scope.region, &asking.scope.account, &config.instance);
            questions.push(Question { action: "ecs:DescribeInstances", resource });
        }
        if let Some(key) = &self.encryption_key {
            questions.push(key.question(asking, "kms:GenerateDataKey"));
        }
        questions
    }

    fn secret(&self) -> Option<&SecretName> {
        Some(&self.name)
    }

    fn request_tags(&self) -> &[Tag] {
        &self.tags
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let encryption_key = match &self.encryption_key {
            Some(key) => Some(services.keys.usable(&KeyName::Id(key.id()?.clone()))?.id.clone()),
            None => None,
        };
        let mut ecs = None;
        let mut key_fingerprint = None;
        if let Some((config, credential)) = self.ecs {
            let os = services.rotations.operating_system(&config.instance).await.map_err(instance_error)?;
            if os == OsFamily::Windows && config.sub_type == SecretSubType::SshKey {
                return Err(ApiError::invalid(
                    "The instance runs Windows, and SSH keys are managed on Linux instances only: use SecretSubType Password.",
                ));
            }
            if !os.admits(&credential.user) {
                return Err(ApiError::invalid(
                    "UserName in SecretData is no name of a local account on Windows: those have up to 20 characters without [ ] + @, and do not end with a dot.",
                ));
            }
            key_fingerprint = credential.key_fingerprint;
            ecs = Some(EcsBinding {
                sub_type: config.sub_type,
                instance: config.instance,
                region: config.region,
                user: credential.user,
                os,
                custom_data: config.custom_data,
            });
        }
        let now = services.vault.now();
        let schedule = match self.interval {
            Some(interval) => Schedule {
                automatic: AutomaticRotation::Enabled,
                interval: Some(interval),
                next: Some(now.plus_seconds(interval.seconds().into())),
                since: Some(now),
                ..Schedule::OFF
            },
            None => Schedule::OFF,
        };
        let record = services
            .vault
            .create(
                access,
                NewSecret {
                    name: self.name,
                    kind: if ecs.is_some() { SecretType::Ecs } else { SecretType::Generic },
                    description: self.description,
                    encryption_key,
                    ecs,
                    schedule,
                    tags: self.tags,
                    dkms_instance: self.dkms_instance,
                    policy: self.policy,
                    version: self.version.clone(),
                    data_type: self.data_type,
                    data: self.data,
                    key_fingerprint,
                },
            )
            .await?;
        services.rotations.wake();
        let arn = Arn::secret(&record.region, &record.account, &record.name);
        let body = Body {
            request_id,
            arn: arn.clone(),
            secret_name: &record.name,
            version_id: &self.version,
            secret_type: record.kind.as_str(),
            dkms_instance_id: &record.dkms_instance,
            rotation: RotationFields::of(&record),
            extended_config: extended_config(&record),
        };
        let elements = vec![("Arn", arn.to_string()), ("VersionId", self.version.to_string())];
        let done = Done::answer(Answer::json(&body, &[])?).telling(elements);
        Ok(done.of_version(self.version, vec![VersionStage::Current]))
    }
}

fn instance_error(error: crate::rotation::InstanceError) -> ApiError {
    use crate::rotation::InstanceError;
    match error {
        InstanceError::NoCloud => crate::rotation::RotationError::NoCloud.into(),
        InstanceError::Unknown => ApiError::invalid(
            "The InstanceId in ExtendedConfig is that of no instance in this region: check it, and the vault's right to ecs:DescribeInstances.",
        ),
        InstanceError::Unreachable(_) => {
            ApiError::unavailable("The ECS service cannot be asked for the instance now: try again.")
        }
    }
}
