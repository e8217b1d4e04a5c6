//! Signs as the clients of the header schemes do, in the tests' own words.

use std::collections::BTreeMap;

use aws_lc_rs::{digest, hmac};
use data_encoding::HEXLOWER;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;

use crate::harness::wire::{encode_all, nonce, timestamp};
use crate::harness::{AccessKey, Appliance, Request};

pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// A scheme of the header `Authorization`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Acs3Sha256,
    Acs3Sm3,
    Acs4,
}

impl Scheme {
    pub(super) const ALL: [Self; 3] = [Self::Acs3Sha256, Self::Acs3Sm3, Self::Acs4];

    const fn name(self) -> &'static str {
        match self {
            Self::Acs3Sha256 => "ACS3-HMAC-SHA256",
            Self::Acs3Sm3 => "ACS3-HMAC-SM3",
            Self::Acs4 => "ACS4-HMAC-SHA256",
        }
    }

    fn hash(self, bytes: &[u8]) -> String {
        match self {
            Self::Acs3Sm3 => HEXLOWER.encode(&openssl::hash::hash(MessageDigest::sm3(), bytes).unwrap()),
            Self::Acs3Sha256 | Self::Acs4 => HEXLOWER.encode(digest::digest(&digest::SHA256, bytes).as_ref()),
        }
    }

    fn hmac(self, key: &[u8], text: &[u8]) -> Vec<u8> {
        match self {
            Self::Acs3Sm3 => {
                let key = PKey::hmac(key).unwrap();
                let mut signer = Signer::new(MessageDigest::sm3(), &key).unwrap();
                signer.update(text).unwrap();
                signer.sign_to_vec().unwrap()
            }
            Self::Acs3Sha256 | Self::Acs4 => {
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
            }
        }
    }
}

/// A request in the making.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) scheme: Scheme,
    pub(super) method: &'static str,
    pub(super) query: BTreeMap<String, String>,
    /// All of them are signed.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
    pub(super) key: AccessKey,
}

impl Draft {
    /// A request without parameters.
    pub(super) fn new(
        appliance: &Appliance,
        scheme: Scheme,
        key: &AccessKey,
        action: &str,
        version: &str,
    ) -> Self {
        let headers = [
            ("host", appliance.endpoint()),
            ("x-acs-action", action.to_owned()),
            ("x-acs-version", version.to_owned()),
            ("x-acs-date", timestamp(0)),
            ("x-acs-signature-nonce", nonce()),
        ];
        Self {
            scheme,
            method: "POST",
            query: BTreeMap::new(),
            headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            body: Vec::new(),
            key: key.clone(),
        }
    }

    pub(super) fn query(mut self, parameters: &[(&str, &str)]) -> Self {
        self.query.extend(parameters.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        self
    }

    pub(super) fn form(self, parameters: &[(&str, &str)]) -> Self {
        let body = encode_all(parameters.iter().copied()).into_bytes();
        Self { body, ..self.header("content-type", FORM) }
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The string to sign, and the names of the headers in it.
    pub(super) fn string_to_sign(&self) -> (String, String) {
        let query = encode_all(self.query.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        let lines: String = self.headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let names = self.headers.keys().cloned().collect::<Vec<_>>().join(";");
        let hash = self.scheme.hash(&self.body);
        let canonical = format!("{}\n/\n{query}\n{lines}\n{names}\n{hash}", self.method);
        (format!("{}\n{}", self.scheme.name(), self.scheme.hash(canonical.as_bytes())), names)
    }

    pub(super) fn sign(mut self) -> Request {
        let hash = self.scheme.hash(&self.body);
        self.headers.entry("x-acs-content-sha256".to_owned()).or_insert(hash);
        let (text, names) = self.string_to_sign();
        let secret = self.key.secret.as_bytes();
        let (credential, key) = if self.scheme == Scheme::Acs4 {
            let day: String = self.headers["x-acs-date"].chars().take(10).filter(|c| *c != '-').collect();
            let scope = [day.as_str(), "cn-hangzhou", "Kms", "aliyun_v4_request"];
            let start = [b"aliyun_v4", secret].concat();
            let key = scope.iter().fold(start, |key, part| self.scheme.hmac(&key, part.as_bytes()));
            (format!("{}/{}", self.key.id, scope.join("/")), key)
        } else {
            (self.key.id.clone(), secret.to_vec())
        };
        let signature = HEXLOWER.encode(&self.scheme.hmac(&key, text.as_bytes()));
        let authorization = format!(
            "{} Credential={credential},SignedHeaders={names},Signature={signature}",
            self.scheme.name()
        );
        let query = encode_all(self.query.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        let target = if query.is_empty() { "/".to_owned() } else { format!("/?{query}") };
        let mut request = Request::new(self.method, &target).body(self.body);
        request.headers = self.headers.into_iter().collect();
        request.header("authorization", &authorization)
    }
}
