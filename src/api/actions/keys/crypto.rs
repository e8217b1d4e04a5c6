//! Encrypt, Decrypt, GenerateDataKey and GenerateDataKeyWithoutPlaintext
//! (kms-secrets.md section 8.1).

use data_encoding::BASE64;
use serde::Serialize;
use strongroom_hsm::SecretBytes;
use zeroize::Zeroizing;

use super::super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use super::Named;
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::key::{EncryptionContext, KeyName};
use crate::model::{Ciphertext, KeyId, KeyVersionId, RequestId};

/// Bytes that Encrypt takes at most.
const MAX_PLAINTEXT: usize = 6 * 1_024;
/// Bytes of a data key unless another length is asked for.
const DATA_KEY_BYTES: usize = 32;

/// The answer of all four.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    request_id: &'a RequestId,
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphertext_blob: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext: Option<&'a str>,
    key_id: &'a KeyId,
    key_version_id: &'a KeyVersionId,
}

/// What was encrypted, decrypted or made.
struct Outcome {
    ciphertext: Ciphertext,
    shows_ciphertext: bool,
    plaintext: Option<SecretBytes>,
}

impl Outcome {
    fn answer(&self, dry_run: bool, request_id: &RequestId) -> Result<Done, ApiError> {
        if dry_run {
            return Err(ApiError::new("DryRunOperationError", 400, "The call would have succeeded."));
        }
        let blob = self.shows_ciphertext.then(|| BASE64.encode(&self.ciphertext.encode()));
        let plaintext = self.plaintext.as_ref().map(encoded);
        let plaintext = plaintext.as_ref().map(|text| text.as_str());
        let body = Body {
            request_id,
            ciphertext_blob: blob.as_deref(),
            plaintext,
            key_id: &self.ciphertext.key,
            key_version_id: &self.ciphertext.version,
        };
        let long_texts = [blob.as_deref().unwrap_or(""), plaintext.unwrap_or("")];
        Ok(Done::answer(Answer::json(&body, &long_texts)?))
    }
}

/// Base64 in a buffer of the final size, which is wiped.
fn encoded(bytes: &SecretBytes) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(BASE64.encode_len(bytes.len())));
    BASE64.encode_append(bytes.expose(), &mut text);
    text
}

/// A parameter that is base64 of 1 to `max` bytes which must not be seen.
fn secret_bytes(input: &Input<'_>, name: &str, max: usize) -> Result<SecretBytes, ApiError> {
    let rule = || ApiError::invalid(format!("The parameter {name} must be 1 to {max} bytes in base64."));
    let text = input.required(name)?;
    // The library reads several texts behind one another, each with its padding.
    if text.trim_end_matches('=').contains('=') {
        return Err(rule());
    }
    let text = text.as_bytes();
    let mut buffer = Zeroizing::new(vec![0; BASE64.decode_len(text.len()).ok().ok_or_else(rule)?]);
    let length = BASE64.decode_mut(text, &mut buffer).ok().ok_or_else(rule)?;
    let bytes = buffer.get(..length).filter(|bytes| (1..=max).contains(&bytes.len()));
    bytes.map(SecretBytes::copy_of).ok_or_else(rule)
}

/// `EncryptionContext`.
fn context(input: &Input<'_>) -> Result<EncryptionContext, ApiError> {
    EncryptionContext::parse(input.optional("EncryptionContext").unwrap_or(""))
        .map_err(|error| ApiError::invalid(format!("The parameter {error}.")))
}

fn dry_run(input: &Input<'_>) -> Result<bool, ApiError> {
    Ok(input.boolean("DryRun")?.unwrap_or(false))
}

/// `Recipient`, which would have the answer encrypted for an enclave.
fn no_recipient(input: &Input<'_>) -> Result<(), ApiError> {
    match input.optional("Recipient") {
        None | Some("") => Ok(()),
        Some(_) => Err(ApiError::unsupported("The parameter Recipient is not supported: leave it out.")),
    }
}

/// Encrypts a few bytes.
#[derive(Debug)]
pub(in crate::api::actions) struct Encrypt {
    key: Named,
    plaintext: SecretBytes,
    context: EncryptionContext,
    dry_run: bool,
}

impl Action for Encrypt {
    const SPEC: Spec = spec!(Kms, "Encrypt");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self {
            key: Named::any(input)?,
            plaintext: secret_bytes(input, "Plaintext", MAX_PLAINTEXT)?,
            context: context(input)?,
            dry_run: dry_run(input)?,
        })
    }

    fn resolve(&mut self, services: &Services) {
        self.key.resolve(&services.keys);
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![self.key.question(asking, Self::SPEC.right)]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let ciphertext =
            services.keys.encrypt(access, self.key.id()?, &self.plaintext, &self.context).await?;
        Outcome { ciphertext, shows_ciphertext: true, plaintext: None }.answer(self.dry_run, request_id)
    }
}

/// Decrypts what says itself under which key it was encrypted.
#[derive(Debug)]
pub(in crate::api::actions) struct Decrypt {
    key: Named,
    ciphertext: Ciphertext,
    context: EncryptionContext,
    dry_run: bool,
}

impl Action for Decrypt {
    const SPEC: Spec = spec!(Kms, "Decrypt");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        no_recipient(input)?;
        let blob = BASE64.decode(input.required("CiphertextBlob")?.as_bytes()).ok();
        let ciphertext = blob.and_then(|bytes| Ciphertext::decode(&bytes).ok()).ok_or_else(|| {
            ApiError::invalid("The parameter CiphertextBlob must be what Encrypt or GenerateDataKey gave.")
        })?;
        Ok(Self {
            key: Named::of(KeyName::Id(ciphertext.key.clone())),
            ciphertext,
            context: context(input)?,
            dry_run: dry_run(input)?,
        })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![self.key.question(asking, Self::SPEC.right)]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let plaintext = services.keys.decrypt(access, &self.ciphertext, &self.context).await?;
        let plaintext = Some(plaintext);
        Outcome { ciphertext: self.ciphertext, shows_ciphertext: false, plaintext }
            .answer(self.dry_run, request_id)
    }
}

/// What both ways of making a data key are told.
#[derive(Debug)]
struct Wanted {
    key: Named,
    length: usize,
    context: EncryptionContext,
    dry_run: bool,
}

impl Wanted {
    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let length = match (input.optional("NumberOfBytes"), input.optional("KeySpec")) {
            (Some(_), _) => usize::try_from(input.number("NumberOfBytes")?).unwrap_or(0),
            (None, Some("AES_128")) => 16,
            (None, Some(_) | None) => DATA_KEY_BYTES,
        };
        Ok(Self { key: Named::any(input)?, length, context: context(input)?, dry_run: dry_run(input)? })
    }

    async fn run(
        self,
        with_plaintext: bool,
        services: &Services,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let (keys, key) = (&services.keys, self.key.id()?);
        let (plaintext, ciphertext) = keys.generate_data_key(access, key, self.length, &self.context).await?;
        let plaintext = Some(plaintext).filter(|_| with_plaintext);
        Outcome { ciphertext, shows_ciphertext: true, plaintext }.answer(self.dry_run, request_id)
    }
}

/// Makes a data key, in clear and encrypted.
#[derive(Debug)]
pub(in crate::api::actions) struct GenerateDataKey {
    wanted: Wanted,
}

impl Action for GenerateDataKey {
    const SPEC: Spec = spec!(Kms, "GenerateDataKey");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        no_recipient(input)?;
        Ok(Self { wanted: Wanted::parse(input)? })
    }

    fn resolve(&mut self, services: &Services) {
        self.wanted.key.resolve(&services.keys);
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![self.wanted.key.question(asking, Self::SPEC.right)]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        self.wanted.run(true, services, access, request_id).await
    }
}

/// Makes a data key, encrypted only.
#[derive(Debug)]
pub(in crate::api::actions) struct GenerateDataKeyWithoutPlaintext {
    wanted: Wanted,
}

impl Action for GenerateDataKeyWithoutPlaintext {
    const SPEC: Spec = spec!(Kms, "GenerateDataKeyWithoutPlaintext");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { wanted: Wanted::parse(input)? })
    }

    fn resolve(&mut self, services: &Services) {
        self.wanted.key.resolve(&services.keys);
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        vec![self.wanted.key.question(asking, Self::SPEC.right)]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        self.wanted.run(false, services, access, request_id).await
    }
}
