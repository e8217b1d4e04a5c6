//! A client that signs with ACS3-HMAC-SHA256, the product's own.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use strongroom::api::actions::{Service, TABLE};
use strongroom::rpc::client::{self, CallError, Credentials, Endpoint, Roots, Timeouts};
use strongroom_hsm::SecretBytes;

use super::described;

/// An access key with its secret.
#[derive(Debug, Clone)]
pub(crate) struct AccessKey {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// What the appliance answered instead of doing what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) request_id: String,
    pub(crate) retry_after_ms: Option<u64>,
}

/// A client of one appliance with one access key.
pub(crate) struct Client {
    kms: client::Client,
    ram: client::Client,
    sts: client::Client,
    credentials: Credentials,
    key: AccessKey,
}

#[expect(clippy::disallowed_methods, reason = "the appliance runs on the real clock")]
fn now(ahead: i64) -> client::Now {
    let (whole, forward) = (Duration::from_secs(ahead.unsigned_abs()), ahead >= 0);
    Arc::new(move || if forward { SystemTime::now() + whole } else { SystemTime::now() - whole })
}

impl Client {
    pub(crate) fn new(host: &str, ca_file: &Path, key: &AccessKey, clock_ahead: i64) -> Self {
        let service = |service: Service| {
            let endpoint = Endpoint {
                host: host.to_owned(),
                roots: Roots::File(ca_file.to_owned()),
                version: service.version(),
                timeouts: Timeouts { connect: Duration::from_secs(10), call: Duration::from_secs(30) },
            };
            client::Client::new(endpoint, now(clock_ahead)).unwrap()
        };
        let credentials =
            Credentials::new(key.id.clone(), &SecretBytes::copy_of(key.secret.as_bytes()), None);
        let [kms, ram, sts] = Service::ALL.map(service);
        Self { kms, ram, sts, credentials, key: key.clone() }
    }

    /// The same client with a security token.
    pub(crate) fn with_token(mut self, token: &str) -> Self {
        let secret = SecretBytes::copy_of(self.key.secret.as_bytes());
        let token = SecretBytes::copy_of(token.as_bytes());
        self.credentials = Credentials::new(self.key.id.clone(), &secret, Some(token));
        self
    }

    /// The key that it signs with.
    pub(crate) const fn key(&self) -> &AccessKey {
        &self.key
    }

    /// Calls an action, the parameters in the body; gives no answer when the connection broke.
    pub(crate) async fn try_call(
        &self,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Result<Value, Refused>, CallError> {
        let row = TABLE.iter().find(|row| row.spec.name == action);
        let client = match row.map(|row| row.spec.service) {
            Some(Service::Ram) => &self.ram,
            Some(Service::Sts) => &self.sts,
            Some(Service::Kms) | None => &self.kms,
        };
        match client.call(&self.credentials, action, &[], parameters).await {
            Ok(answer) => {
                let answer = serde_json::from_slice(answer.expose()).unwrap();
                described::check_answer(action, &answer);
                Ok(Ok(answer))
            }
            Err(CallError::Refused { status, code, message, request_id, retry_after_ms }) => {
                described::check_error(action, status, &code);
                Ok(Err(Refused { status, code, message, request_id, retry_after_ms }))
            }
            Err(error) => Err(error),
        }
    }

    /// Calls an action, the parameters in the body.
    pub(crate) async fn call(&self, action: &str, parameters: &[(&str, &str)]) -> Result<Value, Refused> {
        self.try_call(action, parameters)
            .await
            .unwrap_or_else(|error| panic!("{action} had no answer: {error:?}"))
    }

    /// Calls an action that is to succeed.
    pub(crate) async fn ok(&self, action: &str, parameters: &[(&str, &str)]) -> Value {
        self.call(action, parameters)
            .await
            .unwrap_or_else(|refused| panic!("{action} was refused: {refused:?}"))
    }

    /// Calls an action that is to be refused; gives status and code.
    pub(crate) async fn refused(&self, action: &str, parameters: &[(&str, &str)]) -> (u16, String) {
        match self.call(action, parameters).await {
            Err(refused) => (refused.status, refused.code),
            Ok(answer) => panic!("{action} was not refused: {answer}"),
        }
    }

    /// Creates a Generic secret whose first version is `v1`.
    pub(crate) async fn create_secret(&self, name: &str, value: &str) -> Value {
        self.ok("CreateSecret", &[("SecretName", name), ("VersionId", "v1"), ("SecretData", value)]).await
    }

    /// The current value of a secret.
    pub(crate) async fn value(&self, name: &str) -> String {
        let answer = self.ok("GetSecretValue", &[("SecretName", name)]).await;
        answer["SecretData"].as_str().unwrap().to_owned()
    }
}
