//! CreateKey (kms-secrets.md section 8.1).

use super::super::tags::tags;
use super::super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use super::describe::{Body, Metadata};
use super::rotation_interval;
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::keys::NewKey;
use crate::model::key::ProtectionLevel;
use crate::model::{Arn, RequestId, RotationInterval, Tag};

/// Kinds of keys that the imitated service has and this one does not.
const OTHER_SPECS: [&str; 13] = [
    "Aliyun_AES_128",
    "Aliyun_AES_192",
    "Aliyun_SM4",
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "EC_P256",
    "EC_P256K",
    "EC_SM2",
    "HMAC_256",
    "HMAC_SHA256",
    "HMAC_SM3",
    "HMAC_512",
];

/// Makes a key.
#[derive(Debug)]
pub(in crate::api::actions) struct CreateKey {
    description: String,
    protection: ProtectionLevel,
    interval: Option<RotationInterval>,
    tags: Vec<Tag>,
}

impl Action for CreateKey {
    const SPEC: Spec = spec!(Kms, "CreateKey");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        match input.optional("KeySpec") {
            None | Some("Aliyun_AES_256") => {}
            Some(other) if OTHER_SPECS.contains(&other) => {
                return Err(ApiError::unsupported(
                    "Keys of that KeySpec are not supported: use Aliyun_AES_256.",
                ));
            }
            Some(_) => return Err(ApiError::invalid("The parameter KeySpec must be Aliyun_AES_256.")),
        }
        if input.optional("KeyUsage").is_some_and(|usage| usage != "ENCRYPT/DECRYPT") {
            return Err(ApiError::unsupported(
                "Keys of that KeyUsage are not supported: use ENCRYPT/DECRYPT.",
            ));
        }
        if input.optional("Origin") == Some("EXTERNAL") {
            return Err(ApiError::new(
                "Unsupported.Origin",
                400,
                "Key material cannot be imported: leave Origin out, and the key is made in the token.",
            ));
        }
        if input.optional("KeyStorageMechanism") == Some("HsmEncryptedDatabase") {
            return Err(ApiError::unsupported(
                "Every key lies in the token itself: leave KeyStorageMechanism out, or send HsmInternal.",
            ));
        }
        if input.optional("Policy").is_some_and(|policy| !policy.is_empty()) {
            return Err(ApiError::unsupported(
                "Key policies are not supported: attach a RAM policy to the user.",
            ));
        }
        let rotates = input.boolean("EnableAutomaticRotation")?.unwrap_or(false);
        Ok(Self {
            description: input.optional("Description").unwrap_or("").to_owned(),
            protection: match input.optional("ProtectionLevel") {
                Some("SOFTWARE") => ProtectionLevel::Software,
                Some(_) | None => ProtectionLevel::Hsm,
            },
            interval: rotation_interval(input, rotates)?,
            tags: tags(input)?,
        })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        let resource = Arn::key_container(&asking.scope.region, &asking.scope.account);
        vec![Question { action: Self::SPEC.right, resource }]
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
        let new = NewKey {
            description: self.description,
            creator: services.keys.account().to_string(),
            protection: self.protection,
            interval: self.interval,
            tags: self.tags,
        };
        let key = services.keys.create(access, new).await?;
        let body = Body { request_id, key_metadata: Metadata::of(&key) };
        let arn = Arn::key(&key.region, &key.account, &key.id);
        Ok(Done {
            elements: vec![("Arn", arn.to_string()), ("KeyId", key.id.to_string())],
            ..Done::answer(Answer::json(&body, &[&key.description])?)
        })
    }
}
