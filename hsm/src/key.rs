//! The names of keys, and what is kept beside them.

use serde::{Deserialize, Serialize};

/// The name of a key in the token; never the key.
///
/// Labels and ids are not unique in PKCS#11: a key counts as found only if
/// exactly one object carries the id, and then its label, its template and its
/// check value must agree too.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyRef {
    /// Readable name, `CKA_LABEL`: `strongroom/<deployment>/<key>/v<n>`.
    pub label: String,
    /// 16 random bytes made by whoever creates the key, `CKA_ID`.
    #[serde(with = "hex_text")]
    pub id: [u8; 16],
    /// What the key is for; one key has one use.
    pub kind: KeyKind,
}

/// What a key is for. Each kind has one strict template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KeyKind {
    /// AES-256 that encrypts data keys, with `CKM_AES_GCM` and nothing else.
    CustomerMaster,
    /// 32 bytes of generic secret for `CKM_SHA256_HMAC`.
    Integrity,
    /// An EC key pair on P-256 that signs digests with `CKM_ECDSA`.
    AuditSigning,
}

/// A data key encrypted by a customer master key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Wrapped {
    /// The initialisation vector that came back from the token: some tokens
    /// replace the one they were given. 12 or 16 bytes.
    #[serde(with = "hex_text")]
    pub iv: Vec<u8>,
    /// Ciphertext, followed by the 16-byte tag.
    #[serde(with = "hex_text")]
    pub ciphertext: Vec<u8>,
}

/// A key together with the value that proves it is still the same key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KnownKey {
    /// Which key.
    pub key: KeyRef,
    /// The key check value, made when the key was created. Opaque outside this
    /// package; the appliance stores it, and the worker verifies it each time
    /// it connects, so that a key swapped under the same name is noticed.
    #[serde(with = "hex_text")]
    pub check: Vec<u8>,
}

/// Byte strings as lower-case hexadecimal text.
mod hex_text {
    use data_encoding::HEXLOWER;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(
        bytes: &impl AsRef<[u8]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEXLOWER.encode(bytes.as_ref()))
    }

    pub(super) fn deserialize<'de, D, T>(deserializer: D) -> Result<T, D::Error>
    where
        D: Deserializer<'de>,
        T: TryFrom<Vec<u8>>,
    {
        let text = String::deserialize(deserializer)?;
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(D::Error::custom)?;
        let len = bytes.len();
        T::try_from(bytes).map_err(|_wrong| D::Error::custom(format!("{len} bytes are too few or too many")))
    }
}

#[cfg(test)]
mod tests {
    use super::{KeyKind, KeyRef, Wrapped};

    #[test]
    fn ids_are_written_as_hexadecimal_text() {
        let key = KeyRef { label: "k".into(), id: [0xab; 16], kind: KeyKind::Integrity };
        let text = serde_json::to_string(&key).unwrap();
        assert_eq!(text, r#"{"label":"k","id":"abababababababababababababababab","kind":"Integrity"}"#);
        assert_eq!(serde_json::from_str::<KeyRef>(&text).unwrap(), key);
    }

    #[test]
    fn an_id_of_another_length_is_refused() {
        let short = r#"{"label":"k","id":"abab","kind":"Integrity"}"#;
        assert!(serde_json::from_str::<KeyRef>(short).is_err());
    }

    #[test]
    fn wrapped_keys_survive_a_round_trip() {
        let wrapped = Wrapped { iv: vec![1; 12], ciphertext: vec![2; 48] };
        let text = serde_json::to_string(&wrapped).unwrap();
        assert_eq!(serde_json::from_str::<Wrapped>(&text).unwrap(), wrapped);
    }
}
