//! Identifiers, each parsed once where it enters; inside there are no bare
//! strings for them.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that does not have the form of the identifier it should be.
///
/// It names the kind and the rule, never the text itself: what was sent may
/// have been a secret in the wrong parameter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} must be {rule}")]
pub struct InvalidId {
    kind: &'static str,
    rule: &'static str,
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses the text, which is kept as it is.
            ///
            /// # Errors
            ///
            /// [`InvalidId`] when the text breaks the rule of the type.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(Arc::from(text)))
                } else {
                    Err(InvalidId { kind: $kind, rule: $rule })
                }
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), &*self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

fn made_of(text: &str, min: usize, max: usize, extra: &str) -> bool {
    (min..=max).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => matches!(b, b'0'..=b'9' | b'a'..=b'f'),
        })
}

fn lower_hex_32(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

identifier!(
    /// The account that owns everything here: 1 to 20 digits.
    AccountId, "account id", "1 to 20 digits",
    |t| (1..=20).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit())
);
identifier!(
    /// A region such as `cn-hangzhou`.
    RegionId, "region", "1 to 64 of a-z, 0-9 and -",
    |t| (1..=64).contains(&t.len()) && t.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
);
identifier!(
    /// Name of a secret, unique in account and region
    /// (kms-secrets.md section 5.1, `SecretName`).
    ///
    /// Dot segments and doubled slashes are refused, so that a name never reads
    /// as another one to anything that treats it as a path.
    SecretName, "SecretName", "1 to 192 of A-Z a-z 0-9 _ / + = . @ - without empty, . or .. segments",
    |t| made_of(t, 1, 192, "_/+=.@-") && !t.split('/').any(|s| matches!(s, "" | "." | ".."))
);
identifier!(
    /// Id of a version, chosen by the caller, unique in its secret
    /// (kms-secrets.md section 11 point 13).
    VersionId, "VersionId", "1 to 64 of A-Z a-z 0-9 _ / + = . @ -",
    |t| made_of(t, 1, 64, "_/+=.@-")
);
identifier!(
    /// What a secret is to the vault whatever its name: 32 hexadecimal digits,
    /// random, never used again. It is the plug-in's `sid`
    /// (cloud-assistant.md section 5.2).
    SecretId, "secret id", "32 lower-case hexadecimal digits", lower_hex_32
);
identifier!(
    /// One rotation with all its attempts; the plug-in's `rid`
    /// (cloud-assistant.md section 5.2).
    RotationId, "rotation id", "32 lower-case hexadecimal digits", lower_hex_32
);
identifier!(
    /// One campaign, an id that its starter chooses, never used again.
    CampaignId, "CampaignId", "1 to 40 of A-Z a-z 0-9 - _",
    |t| made_of(t, 1, 40, "-_")
);
identifier!(
    /// Name of a RAM user (ram.md section 3): 1 to 64 of `a-z A-Z 0-9 . - _`.
    UserName, "UserName", "1 to 64 of A-Z a-z 0-9 . - _",
    |t| made_of(t, 1, 64, ".-_")
);
identifier!(
    /// Name of a RAM policy: 1 to 128 of `a-z A-Z 0-9 -`.
    PolicyName, "PolicyName", "1 to 128 of A-Z a-z 0-9 -",
    |t| made_of(t, 1, 128, "-")
);
identifier!(
    /// Name of a RAM group (ram.md section 3.3): 1 to 64 of `a-z A-Z 0-9 . - _`.
    GroupName, "GroupName", "1 to 64 of A-Z a-z 0-9 . - _",
    |t| made_of(t, 1, 64, ".-_")
);
identifier!(
    /// Name of a RAM role (ram.md section 3.3): 1 to 64 of `a-z A-Z 0-9 . -`.
    RoleName, "RoleName", "1 to 64 of A-Z a-z 0-9 . -",
    |t| made_of(t, 1, 64, ".-")
);
identifier!(
    /// Id of an access key, such as `LTAI…`.
    AccessKeyId, "AccessKeyId", "1 to 128 of A-Z a-z 0-9 . - _",
    |t| made_of(t, 1, 128, ".-_")
);
identifier!(
    /// Id of an ECS instance, such as `i-bp1…`.
    InstanceId, "InstanceId", "1 to 64 of A-Z a-z 0-9 - _",
    |t| made_of(t, 1, 64, "-_")
);
identifier!(
    /// Name of a user on an instance (kms-secrets.md section 6.2): no blanks,
    /// `:`, `/`, `"` or control characters, no leading `-`, at most 32 bytes.
    OsUser, "UserName", "1 to 32 visible ASCII characters without : / , = quotes and shell signs, no leading -, not . or ..",
    |t| (1..=32).contains(&t.len())
        && !t.starts_with('-')
        && !matches!(t, "." | "..")
        && t.bytes().all(|b| b.is_ascii_graphic() && !b":/,=\"'\\`$;&|<>(){}*?!#".contains(&b))
);
identifier!(
    /// Id of one API call, a lower-case UUID.
    RequestId, "RequestId", "a lower-case UUID", is_uuid
);
identifier!(
    /// Id of a customer master key, a lower-case UUID (kms-secrets.md section 8.1).
    KeyId, "KeyId", "a lower-case UUID", is_uuid
);
identifier!(
    /// Id of a version of a customer master key, a lower-case UUID.
    KeyVersionId, "KeyVersionId", "a lower-case UUID", is_uuid
);
identifier!(
    /// Another name of a customer master key, with its prefix `alias/`
    /// (kms-secrets.md section 8.1, CreateAlias). Those that begin with
    /// `alias/acs` are kept for the service.
    AliasName, "AliasName",
    "alias/ and 1 to 255 of A-Z a-z 0-9 _ / - behind it, without empty segments, and not alias/acs...",
    |t| t.strip_prefix("alias/").is_some_and(|name| {
        made_of(name, 1, 255, "_/-") && !name.starts_with("acs") && !name.split('/').any(str::is_empty)
    })
);

/// The letters and digits of `bytes` in lower-case hexadecimal.
fn hex(bytes: &[u8; 16]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

impl SecretId {
    /// The id with these 16 random bytes.
    #[must_use]
    pub fn from_random(bytes: &[u8; 16]) -> Self {
        Self(Arc::from(hex(bytes)))
    }
}

impl RotationId {
    /// The id with these 16 random bytes.
    #[must_use]
    pub fn from_random(bytes: &[u8; 16]) -> Self {
        Self(Arc::from(hex(bytes)))
    }
}

/// A UUID version 4 (RFC 9562 section 5.4) out of 16 random bytes, lower case.
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    uuid_text(bytes)
}

/// These bytes as the text of a UUID.
fn uuid_text(bytes: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(char::from(hex_digit(byte >> 4)));
        text.push(char::from(hex_digit(byte & 0x0f)));
    }
    text
}

/// The bytes of a text that is a UUID.
fn uuid_bytes(text: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    let digits = text.bytes().filter(|b| *b != b'-').map(|b| match b {
        b'0'..=b'9' => b - b'0',
        _ => b.saturating_sub(b'a').saturating_add(10) & 0x0f,
    });
    for (at, digit) in digits.enumerate() {
        if let Some(byte) = bytes.get_mut(at / 2) {
            *byte = (*byte << 4) | digit;
        }
    }
    bytes
}

const fn hex_digit(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0' + nibble,
        _ => b'a' + (nibble - 10),
    }
}

impl RequestId {
    /// The id with these 16 random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(Arc::from(uuid(bytes)))
    }
}

impl KeyId {
    /// The id with these 16 random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(Arc::from(uuid(bytes)))
    }

    /// The 16 bytes that the text stands for.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 16] {
        uuid_bytes(&self.0)
    }

    /// The id that these bytes stand for.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Arc::from(uuid_text(bytes)))
    }
}

impl KeyVersionId {
    /// The id with these 16 random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(Arc::from(uuid(bytes)))
    }

    /// The 16 bytes that the text stands for.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 16] {
        uuid_bytes(&self.0)
    }

    /// The id that these bytes stand for.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Arc::from(uuid_text(bytes)))
    }
}

impl VersionId {
    /// A version id made by the vault itself: a UUID
    /// (kms-secrets.md section 6.6).
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(Arc::from(uuid(bytes)))
    }

    /// The version that a campaign makes of a secret: always the same one, so
    /// that however often its rotation is begun there is but one.
    #[must_use]
    pub fn of_campaign(campaign: &CampaignId, secret: &SecretId) -> Self {
        let digits = secret.as_str().get(..20).unwrap_or(secret.as_str());
        Self(Arc::from(format!("{campaign}.{digits}")))
    }
}

/// The resource name a policy speaks of, `acs:<service>:<region>:<account>:<relative id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Arn(String);

impl Arn {
    /// The secret of that name (ram.md section 2).
    #[must_use]
    pub fn secret(region: &RegionId, account: &AccountId, name: &SecretName) -> Self {
        Self(format!("acs:kms:{region}:{account}:secret/{name}"))
    }

    /// The container of all secrets, for CreateSecret and ListSecrets.
    #[must_use]
    pub fn secret_container(region: &RegionId, account: &AccountId) -> Self {
        Self(format!("acs:kms:{region}:{account}:secret"))
    }

    /// The customer master key of that id (kms-secrets.md section 1).
    #[must_use]
    pub fn key(region: &RegionId, account: &AccountId, id: &KeyId) -> Self {
        Self(format!("acs:kms:{region}:{account}:key/{id}"))
    }

    /// The container of all keys, for CreateKey and ListKeys.
    #[must_use]
    pub fn key_container(region: &RegionId, account: &AccountId) -> Self {
        Self(format!("acs:kms:{region}:{account}:key"))
    }

    /// Any key: what must be allowed where the key that was named is none.
    #[must_use]
    pub fn any_key(region: &RegionId, account: &AccountId) -> Self {
        Self(format!("acs:kms:{region}:{account}:key/*"))
    }

    /// An alias (kms-secrets.md section 1).
    #[must_use]
    pub fn alias(region: &RegionId, account: &AccountId, name: &AliasName) -> Self {
        Self(format!("acs:kms:{region}:{account}:{name}"))
    }

    /// The container of all aliases, for ListAliases.
    #[must_use]
    pub fn alias_container(region: &RegionId, account: &AccountId) -> Self {
        Self(format!("acs:kms:{region}:{account}:alias"))
    }

    /// The id of the key that this names, if it names one.
    #[must_use]
    pub fn as_key(&self) -> Option<KeyId> {
        let (_, id) = self.0.strip_prefix("acs:kms:")?.split_once(":key/")?;
        KeyId::parse(id).ok()
    }

    /// No resource in particular, for GetRandomPassword (ram.md section 2.1).
    #[must_use]
    pub fn any_kms(region: &RegionId, account: &AccountId) -> Self {
        Self(format!("acs:kms:{region}:{account}:*"))
    }

    /// An ECS instance.
    #[must_use]
    pub fn instance(region: &RegionId, account: &AccountId, id: &InstanceId) -> Self {
        Self(format!("acs:ecs:{region}:{account}:instance/{id}"))
    }

    /// A RAM resource with an empty region (ram.md section 2), such as `user/alice` or `policy/*`.
    #[must_use]
    pub fn ram(account: &AccountId, relative: &str) -> Self {
        Self(format!("acs:ram::{account}:{relative}"))
    }

    /// A system policy, which belongs to no account.
    #[must_use]
    pub fn system_policy(name: &PolicyName) -> Self {
        Self(format!("acs:ram::system:policy/{name}"))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_read_as_paths_are_refused() {
        for bad in ["", "/", "a//b", "a/../b", "./a", "a/", "a b", "a\0", "ä", &"x".repeat(193)] {
            assert!(SecretName::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["acs/ecs/web-01", "a", "A.b_c+d=e@f", &"x".repeat(192)] {
            assert!(SecretName::parse(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn the_version_of_a_campaign_is_a_version_id_and_differs_by_campaign_and_secret() {
        let campaigns = ["c", &"x".repeat(40)].map(|id| CampaignId::parse(id).unwrap());
        let secrets = [1_u8, 2].map(|byte| SecretId::from_random(&[byte; 16]));
        let mut made = std::collections::HashSet::new();
        for campaign in &campaigns {
            for secret in &secrets {
                let version = VersionId::of_campaign(campaign, secret);
                assert!(VersionId::parse(version.as_str()).is_ok(), "{version}");
                assert_eq!(version, VersionId::of_campaign(campaign, secret));
                made.insert(version.to_string());
            }
        }
        assert_eq!(made.len(), 4);
    }

    #[test]
    fn os_users_cannot_carry_shell_or_chpasswd_syntax() {
        for bad in [".", "..", "a,b", "a=b", "a:b", "a b", "$(id)", "`id`", "a;b", "-rf", "a/b", "a\nb", ""] {
            assert!(OsUser::parse(bad).is_err(), "{bad:?}");
        }
        assert!(OsUser::parse("ecs-user").is_ok());
    }

    #[test]
    fn the_id_of_a_key_is_the_text_of_its_bytes() {
        let id = KeyId::from_random([0xab; 16]);
        assert_eq!(KeyId::from_bytes(id.to_bytes()), id);
        let other = KeyId::parse("01234567-89ab-4cde-8f01-23456789abcd").unwrap();
        assert_eq!(KeyId::from_bytes(other.to_bytes()), other);
        assert!(KeyId::parse("01234567-89AB-4cde-8f01-23456789abcd").is_err());
        let (region, account) = (RegionId::parse("r").unwrap(), AccountId::parse("1").unwrap());
        assert_eq!(Arn::key(&region, &account, &other).as_key(), Some(other));
        assert_eq!(Arn::any_key(&region, &account).as_key(), None);
        let secret = SecretName::parse("a").unwrap();
        assert_eq!(Arn::secret(&region, &account, &secret).as_key(), None);
    }

    #[test]
    fn aliases_have_their_prefix_and_leave_that_of_the_service_alone() {
        for good in ["alias/a", "alias/A-b_c/d", &format!("alias/{}", "x".repeat(255))] {
            assert!(AliasName::parse(good).is_ok(), "{good}");
        }
        for bad in ["a", "alias/", "alias/acs/kms", "alias/a b", "alias//a", "alias/a/", &"x".repeat(262)] {
            assert!(AliasName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_request_id_made_of_random_bytes_is_a_version_4_uuid() {
        let id = RequestId::from_random([0xff; 16]);
        assert_eq!(id.as_str(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert!(RequestId::parse(id.as_str()).is_ok());
    }
}
