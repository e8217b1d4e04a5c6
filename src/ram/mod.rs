//! Decides by policy whether a request is allowed (ram.md section 1).
//!
//! Documents are checked and compiled once, by [`Policy::parse`]; what applies
//! to one caller is gathered in a [`PolicySet`]; [`decide`] is a pure function
//! of that set, the policy of the resource and the [`Request`]. Nothing here
//! does I/O, reads a clock or keeps a secret.
//!
//! The module fails closed: no statement at all is a deny, a document that
//! breaks a rule is refused as a whole, and a stored document that is found
//! damaged ([`Policy::unusable`]) denies every request that would use it.
//!
//! Time and memory of a decision are bounded by the size of the policies:
//! wildcards are matched without backtracking, and a request brings no
//! pattern of its own.
//!
//! ```
//! use std::sync::Arc;
//!
//! use strongroom::ram::{Attached, Context, Decision, Policy, PolicyKind, PolicySet, Principal, Request, decide};
//!
//! let text = r#"{"Version": "1", "Statement": [
//!     {"Effect": "Allow", "Action": "kms:Get*", "Resource": "acs:kms:*:*:secret/db/*"}]}"#;
//! let policy = Policy::parse(PolicyKind::Identity, text)?;
//! let policies = PolicySet::identity([Attached::new("database-readers", Arc::new(policy))]);
//! let alice = Principal::User { account: "1234567890123456".into(), name: "alice".into() };
//! let request = Request {
//!     principal: &alice,
//!     action: "kms:GetSecretValue",
//!     resource: "acs:kms:cn-hangzhou:1234567890123456:secret/db/prod",
//!     resource_group: None,
//!     context: &Context::default(),
//! };
//! assert!(matches!(decide(&policies, None, &request), Decision::Allow { .. }));
//! # Ok::<(), strongroom::ram::PolicyError>(())
//! ```

mod condition;
mod context;
mod decide;
mod document;
mod error;
mod json;
mod pairs;
mod pattern;
mod policy_set;
mod principal;
mod statement;
mod value;

pub use context::{Context, Entry, Value};
pub use decide::{Decision, Layer, Match, Request, decide};
pub use document::{Policy, PolicyKind};
pub use error::PolicyError;
pub use policy_set::{Attached, PolicySet};
pub use principal::Principal;
