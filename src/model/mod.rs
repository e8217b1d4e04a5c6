//! The nouns of the vault: identifiers, times, secrets, sealed versions, users,
//! policies and rotations. No input or output and no plaintext: whatever must be
//! kept is a type of this module, whatever is done with it stands above.

mod access;
pub mod campaign;
mod chain;
mod ciphertext;
mod clock;
mod event;
mod filter;
mod guarded;
mod ids;
mod interval;
pub mod key;
pub mod rotation;
mod sealed;
mod secret;
mod tags;

pub use access::{
    AccessKeyRecord, AccessKeyStatus, Attachment, CloudCredentials, GroupRecord, Holder, Membership,
    PolicyRecord, PolicyType, PolicyVersion, RoleDeletion, RoleRecord, UserRecord,
};
pub use chain::error_chain;
pub use ciphertext::{Ciphertext, NoCiphertext};
pub use clock::{Clock, ManualClock, Timestamp};
pub use event::{EventName, FailureInfo, RotationEvent};
pub use filter::SecretFilter;
pub use guarded::Guarded;
pub use ids::{
    AccessKeyId, AccountId, AliasName, Arn, CampaignId, GroupName, InstanceId, InvalidId, KeyId,
    KeyVersionId, OsUser, PolicyName, RegionId, RequestId, RoleName, RotationId, SecretId, SecretName,
    UserName, VersionId,
};
pub use interval::{InvalidInterval, RotationInterval};
pub use sealed::{Binding, Recipient, Sealed, SealedFormatError};
pub use secret::{
    AutomaticRotation, EcsBinding, OsFamily, Schedule, SecretDataType, SecretRecord, SecretSubType,
    SecretType, Tag, VersionMeta, VersionStage,
};
pub use tags::{MAX_TAGS, Untag, with_tags};
