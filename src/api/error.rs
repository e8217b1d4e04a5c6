//! All that a client ever learns of a failure.

use std::borrow::Cow;

use serde::Serialize;

use crate::identity::{AuthError, IdentityError};
use crate::keys::KeyError;
use crate::rotation::RotationError;
use crate::rpc::encoding::ParameterError;
use crate::rpc::signature::ClaimError;
use crate::seal::{KeyRefusal, SealError};
use crate::store::StoreError;
use crate::vault::VaultError;

/// What a denial tells the caller (ram.md section 5.2).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AccessDeniedDetail {
    /// The action that was refused.
    pub auth_action: String,
    /// `SubUser` for users.
    pub auth_principal_type: &'static str,
    /// The caller's account.
    pub auth_principal_owner_id: String,
    /// The caller's user id.
    pub auth_principal_display_name: String,
    /// The layer that did not allow it.
    pub policy_type: &'static str,
    /// `ImplicitDeny` or `ExplicitDeny`.
    pub no_permission_type: &'static str,
}

/// A failure as the client sees it: code, HTTP status and public words
/// (kms-secrets.md sections 2.10 and 10).
#[derive(Debug, Clone)]
pub struct ApiError {
    /// The code of the contract.
    pub code: Cow<'static, str>,
    /// The HTTP status.
    pub status: u16,
    /// What happened and what to do, never with a value that was sent.
    pub message: Cow<'static, str>,
    /// For denials.
    pub detail: Option<Box<AccessDeniedDetail>>,
    /// When to try again, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// What really happened, for the log only.
    pub cause: Option<Box<str>>,
}

impl ApiError {
    /// An error with that code, status and message.
    #[must_use]
    pub fn new(
        code: impl Into<Cow<'static, str>>,
        status: u16,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            code: code.into(),
            status,
            message: message.into(),
            detail: None,
            retry_after_ms: None,
            cause: None,
        }
    }

    /// 400 `InvalidParameter`.
    #[must_use]
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("InvalidParameter", 400, message)
    }

    /// 400 `MissingParameter`.
    #[must_use]
    pub fn missing(name: &str) -> Self {
        Self::new("MissingParameter", 400, format!("The parameter {name} is required and was not sent."))
    }

    /// 404 `Forbidden.ResourceNotFound`.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(
            "Forbidden.ResourceNotFound",
            404,
            "The secret, version or stage does not exist. Check its name, the account and the region.",
        )
    }

    /// 500 `InternalFailure`, with fixed words; the log has the cause under the request id.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            "InternalFailure",
            500,
            "The request failed for a reason that lies inside the service. Give the RequestId to its operator.",
        )
    }

    /// The same error with its cause for the log.
    #[must_use]
    fn because(mut self, error: &dyn std::error::Error) -> Self {
        self.cause = Some(crate::model::error_chain(error).into());
        self
    }

    /// 503 `ServiceUnavailableTemporary`.
    #[must_use]
    pub fn unavailable(what: &'static str) -> Self {
        Self { retry_after_ms: Some(1_000), ..Self::new("ServiceUnavailableTemporary", 503, what) }
    }

    /// Why a customer master key was not used (kms-secrets.md section 8.2).
    #[must_use]
    pub fn key_refused(refusal: KeyRefusal) -> Self {
        match refusal {
            KeyRefusal::Disabled => Self::new(
                "Rejected.Disabled",
                409,
                "The key is disabled: enable it with EnableKey, or use another.",
            ),
            KeyRefusal::NotFound => Self::key_not_found(),
            KeyRefusal::PendingDeletion => Self::new(
                "Rejected.PendingDeletion",
                409,
                "The key is scheduled for deletion: take it back with CancelKeyDeletion, or use another.",
            ),
            KeyRefusal::Unavailable => Self::new(
                "Rejected.Unavailable",
                409,
                "The hardware security module does not have the key: tell the operator, who sees more in strongroom doctor.",
            ),
        }
    }

    /// 404 `Forbidden.KeyNotFound`.
    #[must_use]
    pub fn key_not_found() -> Self {
        Self::new(
            "Forbidden.KeyNotFound",
            404,
            "The key does not exist. Check its id, the account and the region.",
        )
    }

    /// 400 `UnsupportedOperation`.
    #[must_use]
    pub fn unsupported(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("UnsupportedOperation", 400, message)
    }
}

impl From<ParameterError> for ApiError {
    fn from(error: ParameterError) -> Self {
        Self::new(error.code(), 400, sentence(&error))
    }
}

impl From<ClaimError> for ApiError {
    fn from(error: ClaimError) -> Self {
        Self::new(error.code(), 400, sentence(&error))
    }
}

/// The error's clause as a sentence.
pub(crate) fn sentence(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), characters.as_str()),
        None => text,
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Expired => Self::new(
                "InvalidTimeStamp.Expired",
                400,
                "The time of the request is more than 15 minutes from the server's: check the client's clock.",
            ),
            AuthError::UnknownKey => {
                Self::new("InvalidAccessKeyId.NotFound", 404, "The AccessKeyId does not exist.")
            }
            AuthError::InactiveKey => Self::new(
                "Forbidden.AccessKey",
                403,
                "The access key is not active: activate it, or use another.",
            ),
            // The gate adds the string to sign.
            AuthError::BadSignature => Self::new("SignatureDoesNotMatch", 400, "The signature does not fit."),
            AuthError::NonceUsed => Self::new(
                "SignatureNonceUsed",
                400,
                "The SignatureNonce was used before: sign each request, also a repeated one, with a new one.",
            ),
            AuthError::BadToken => Self::new(
                "InvalidSecurityToken.Malformed",
                400,
                "The SecurityToken is none that this vault has made: assume the role again.",
            ),
            AuthError::ForeignToken => Self::new(
                "InvalidSecurityToken.MismatchWithAccessKey",
                400,
                "The SecurityToken belongs to another access key: use the two that came together.",
            ),
            AuthError::SessionOver => Self::new(
                "InvalidSecurityToken.Expired",
                400,
                "The session is over, or its role was deleted or revoked: assume the role again.",
            ),
            AuthError::MissingToken => Self::new(
                "MissingSecurityToken",
                400,
                "The access key is a temporary one, and the SecurityToken that belongs to it was not sent.",
            ),
            AuthError::Key(error) => error.into(),
        }
    }
}

impl From<SealError> for ApiError {
    fn from(error: SealError) -> Self {
        let public = match &error {
            SealError::Token(_) => {
                Self::unavailable("The hardware security module cannot be reached now: try again.")
            }
            SealError::Key(refusal) => Self::key_refused(*refusal),
            SealError::Format(_) | SealError::NotAuthentic | SealError::Local | SealError::UnknownKey => {
                Self::internal()
            }
        };
        public.because(&error)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let public = match &error {
            StoreError::Conflict | StoreError::Unavailable(_) | StoreError::Locked => {
                Self::unavailable("The database cannot be used now: try again.")
            }
            StoreError::Exists | StoreError::Full | StoreError::Damaged(_) | StoreError::Newer { .. } => {
                Self::internal()
            }
        };
        public.because(&error)
    }
}

impl From<VaultError> for ApiError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Altered(error) => Self::internal().because(&error),
            VaultError::Contended => Self::unavailable("The secret is being changed by others: try again."),
            VaultError::Exists => {
                Self::new("Rejected.ResourceExist", 409, "A secret of that name exists: choose another name.")
            }
            VaultError::InDeleteWindow { until } => Self::new(
                "Rejected.ResourceInDeleteWindow",
                409,
                format!(
                    "The secret is scheduled for deletion at {until}: restore it, or delete it at once with ForceDeleteWithoutRecovery=true."
                ),
            ),
            VaultError::Full { limit } => Self::new(
                "Rejected.LimitExceeded",
                400,
                format!(
                    "The secret has {limit} versions, as many as the quota allows, all with a stage: take a stage off an old version."
                ),
            ),
            VaultError::NotFound => Self::not_found(),
            VaultError::Quota { limit } => Self::new(
                "Rejected.LimitExceeded",
                400,
                format!(
                    "There are {limit} secrets, as many as the quota allows: delete some for good, or have the quota raised."
                ),
            ),
            VaultError::NotInDeleteWindow => {
                Self::new("Rejected.ResourceInUse", 409, "The secret is not scheduled for deletion.")
            }
            VaultError::Rotating => Self::new(
                "Rejected.ResourceInUse",
                409,
                "The secret is being rotated: try again when the rotation is over.",
            ),
            VaultError::Seal(error) => error.into(),
            VaultError::StageElsewhere => Self::invalid(
                "The stage is not on the version that RemoveFromVersion names: list the versions to see where it is.",
            ),
            VaultError::StagesFull => Self::new(
                "Rejected.LimitExceeded",
                400,
                "The secret has as many stages of your own as it may have: take one off a version.",
            ),
            VaultError::Store(error) => error.into(),
            VaultError::TargetTaken => Self::new(
                "Rejected.ResourceExist",
                409,
                "Another secret, perhaps one that is scheduled for deletion, holds the same credential of that user on that instance: use it, or delete it with ForceDeleteWithoutRecovery=true.",
            ),
            VaultError::TooManyTags => Self::new(
                "Rejected.LimitExceeded",
                400,
                "A resource has 20 tags at most: take some off first. Nothing was changed.",
            ),
            VaultError::VersionExists => Self::new(
                "Rejected.ResourceExist",
                409,
                "A version of that VersionId exists and holds another value: choose another VersionId.",
            ),
            VaultError::WrongType => Self::unsupported("The action is not for secrets of this type."),
        }
    }
}

impl From<KeyError> for ApiError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::AliasExists => {
                Self::new("AliasAlreadyExists", 400, "An alias of that name exists: choose another name.")
            }
            KeyError::AliasNotFound => Self::new(
                "Forbidden.AliasNotFound",
                404,
                "The alias does not exist. Check its name, the account and the region.",
            ),
            KeyError::Altered(error) => Self::internal().because(&error),
            KeyError::Audit(error) => Self::internal().because(&error),
            KeyError::Damaged => Self::invalid(
                "The parameter CiphertextBlob is no ciphertext of that key in that EncryptionContext: both must be those with which it was made.",
            ),
            KeyError::Protected => Self::new(
                "Rejected.StateModifiedFailed",
                409,
                "The key is protected against deletion: lift that with SetDeletionProtection first.",
            ),
            KeyError::InUse { secrets } => Self::new(
                "Rejected.ResourceInUse",
                409,
                format!(
                    "{secrets} secrets are encrypted under the key, and would be lost with it: delete them first."
                ),
            ),
            KeyError::Invalid(rule) => Self::invalid(format!("{rule}.")),
            KeyError::KeyNotFound => Self::key_not_found(),
            KeyError::Limit(what) => {
                Self::new("Rejected.LimitExceeded", 400, format!("The limit of {what} is reached."))
            }
            KeyError::PendingDeletion => Self::key_refused(KeyRefusal::PendingDeletion),
            KeyError::Seal(error) => error.into(),
            KeyError::State => Self::new(
                "Rejected.StateModifiedFailed",
                409,
                "The state of the key does not allow that: DescribeKey shows it.",
            ),
            KeyError::Store(error) => error.into(),
            KeyError::VersionNotFound => {
                Self::new("Forbidden.KeyVersionNotFound", 404, "The key has no version of that id.")
            }
        }
    }
}

impl From<RotationError> for ApiError {
    fn from(error: RotationError) -> Self {
        match error {
            RotationError::InProgress | RotationError::NotDue => Self::from(VaultError::Rotating),
            RotationError::NotManaged => {
                Self::unsupported("Secrets of type Generic are not rotated by the service.")
            }
            RotationError::NoKeysOnWindows => Self::unsupported(
                "Instances that run Windows have no SSH keys to rotate: create a secret with a password for it.",
            ),
            RotationError::NotInDoubt(state) => Self::new(
                "Rejected.StateModifiedFailed",
                409,
                format!(
                    "The rotation is in state {}, in which it ends by itself: only one that is in doubt can be given up.",
                    state.as_str()
                ),
            ),
            RotationError::NotOpen => {
                Self::new("Forbidden.ResourceNotFound", 404, "No rotation to that version is going on.")
            }
            RotationError::NoCloud => Self::unsupported(
                "No Cloud Assistant endpoint is configured, so no instance can be rotated: see the [cloud] section of the configuration.",
            ),
            RotationError::Throttled { retry_after_ms } => Self {
                retry_after_ms: Some(retry_after_ms),
                ..Self::new(
                    "Rejected.Throttling",
                    429,
                    "The limit of manual rotations in an hour is reached: try later.",
                )
            },
            RotationError::Material => Self::internal(),
            RotationError::Vault(error) => error.into(),
        }
    }
}

impl From<IdentityError> for ApiError {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Exists(what) => {
                Self::new(format!("EntityAlreadyExists.{what}"), 409, format!("The {what} exists already."))
            }
            IdentityError::Missing(what) => {
                Self::new(format!("EntityNotExist.{what}"), 404, format!("The {what} does not exist."))
            }
            IdentityError::InUse(what) => Self::new(
                format!("DeleteConflict.{what}"),
                409,
                format!("It still has a {what}: remove that first."),
            ),
            IdentityError::Limit(what) => {
                Self::new(format!("LimitExceeded.{what}"), 409, format!("The limit of {what} is reached."))
            }
            IdentityError::SessionSeconds { longest } => Self::new(
                "InvalidParameter.DurationSeconds",
                400,
                format!(
                    "The parameter DurationSeconds must be 900 to {longest} for this role and this caller."
                ),
            ),
            IdentityError::TokenLength => Self::new(
                "InvalidParameter.PolicySize",
                400,
                "The parameter Policy has too many bytes for what comes along with every call.",
            ),
            IdentityError::ServiceRole => Self::unsupported(
                "The role belongs to a service: delete it with DeleteServiceLinkedRole, or leave it as it is.",
            ),
            IdentityError::Policy(error) => Self::new("MalformedPolicyDocument", 400, sentence(&error)),
            IdentityError::Seal(error) => error.into(),
            IdentityError::Store(error) => error.into(),
            IdentityError::Altered(error) => Self::internal().because(&error),
            IdentityError::Directory(error) => Self::internal().because(&*error),
        }
    }
}
