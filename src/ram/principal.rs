//! Who asks, and whom a policy names (rules V9, M6, E7 and E9).

use std::fmt;
use std::sync::Arc;

/// Who makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// The account itself.
    Root {
        /// The account's id.
        account: Arc<str>,
    },
    /// A RAM user.
    User {
        /// The id of the user's account.
        account: Arc<str>,
        /// The user's name.
        name: Arc<str>,
    },
    /// A session of a role.
    AssumedRole {
        /// The id of the role's account.
        account: Arc<str>,
        /// The role's name.
        role: Arc<str>,
        /// The name that was given to the session.
        session: Arc<str>,
    },
    /// A service, by its name, such as `ecs.aliyuncs.com`.
    Service(Arc<str>),
    /// Somebody known to an identity provider, by the provider's ARN, such as
    /// `acs:ram::ACCOUNT:saml-provider/NAME`.
    Federated(Arc<str>),
}

impl Principal {
    /// The account whose policies and rights the principal has, if any.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        match self {
            Self::Root { account } | Self::User { account, .. } | Self::AssumedRole { account, .. } => {
                Some(account)
            }
            Self::Service(_) | Self::Federated(_) => None,
        }
    }

    /// The value of the condition key `acs:PrincipalArn`: for a session it is
    /// the ARN of the role, with its name in lower case (ram.md section 1.6).
    #[must_use]
    pub fn condition_arn(&self) -> String {
        match self {
            Self::AssumedRole { account, role, .. } => {
                format!("acs:ram::{account}:role/{}", role.to_ascii_lowercase())
            }
            Self::Root { .. } | Self::User { .. } | Self::Service(_) | Self::Federated(_) => self.to_string(),
        }
    }
}

/// The ARN of the principal as GetCallerIdentity gives it (ram.md section 4.2);
/// the bare name of a service.
impl fmt::Display for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root { account } => write!(formatter, "acs:ram::{account}:root"),
            Self::User { account, name } => write!(formatter, "acs:ram::{account}:user/{name}"),
            Self::AssumedRole { account, role, session } => {
                write!(formatter, "acs:ram::{account}:assumed-role/{role}/{session}")
            }
            Self::Service(name) | Self::Federated(name) => formatter.write_str(name),
        }
    }
}

/// Whom a statement of a trust or resource policy names.
#[derive(Debug)]
pub(super) enum Named {
    /// `root` or `*` of an account.
    Account(Box<str>),
    User {
        account: Box<str>,
        name: Box<str>,
    },
    Role {
        account: Box<str>,
        role: Box<str>,
    },
    Session {
        account: Box<str>,
        role: Box<str>,
        session: Box<str>,
    },
    Service(Box<str>),
    Federated(Box<str>),
}

/// What `root` and `*` of an account stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AccountMeans {
    /// Its users and role sessions, as in trust policies (rule E7).
    UsersAndSessions,
    /// The account alone, as in what a resource policy allows: rights of its
    /// users and roles come from their own policies (rule E9).
    Itself,
    /// Every principal of it, as in what a resource policy denies (rule E9).
    Everyone,
}

impl Named {
    /// Reads a value of `Principal` of the kind `kind`.
    pub(super) fn parse(kind: &str, text: &str) -> Option<Self> {
        match kind {
            "RAM" => Self::parse_ram(text),
            "Service" => is_service(text).then(|| Self::Service(text.into())),
            "Federated" => {
                let (_, rest) = account_and_rest(text)?;
                let name =
                    rest.strip_prefix("saml-provider/").or_else(|| rest.strip_prefix("oidc-provider/"))?;
                is_name(name).then(|| Self::Federated(text.into()))
            }
            _ => None,
        }
    }

    fn parse_ram(text: &str) -> Option<Self> {
        let (account, rest) = account_and_rest(text)?;
        let account = Box::from(account);
        if rest == "root" || rest == "*" {
            return Some(Self::Account(account));
        }
        match rest.split_once('/')? {
            ("user", name) => is_name(name).then(|| Self::User { account, name: name.into() }),
            ("role", role) => is_name(role).then(|| Self::Role { account, role: role.into() }),
            ("assumed-role", session) => {
                let (role, session) = session.split_once('/')?;
                (is_name(role) && is_name(session)).then(|| Self::Session {
                    account,
                    role: role.into(),
                    session: session.into(),
                })
            }
            _ => None,
        }
    }

    /// Whether the principal is one of those named. Names of users and roles
    /// compare without ASCII case, since they are unique without it (rule M6).
    pub(super) fn covers(&self, principal: &Principal, means: AccountMeans) -> bool {
        match (self, principal) {
            (Self::Account(named), Principal::Root { account }) => {
                **named == **account && means != AccountMeans::UsersAndSessions
            }
            (
                Self::Account(named),
                Principal::User { account, .. } | Principal::AssumedRole { account, .. },
            ) => **named == **account && means != AccountMeans::Itself,
            (Self::User { account: named, name }, Principal::User { account, name: user }) => {
                **named == **account && name.eq_ignore_ascii_case(user)
            }
            (Self::Role { account: named, role: name }, Principal::AssumedRole { account, role, .. }) => {
                **named == **account && name.eq_ignore_ascii_case(role)
            }
            (
                Self::Session { account: named, role: name, session: named_session },
                Principal::AssumedRole { account, role, session },
            ) => **named == **account && name.eq_ignore_ascii_case(role) && **named_session == **session,
            (Self::Service(named), Principal::Service(name)) => **named == **name,
            (Self::Federated(named), Principal::Federated(provider)) => **named == **provider,
            (
                Self::Account(_)
                | Self::User { .. }
                | Self::Role { .. }
                | Self::Session { .. }
                | Self::Service(_)
                | Self::Federated(_),
                Principal::Root { .. }
                | Principal::User { .. }
                | Principal::AssumedRole { .. }
                | Principal::Service(_)
                | Principal::Federated(_),
            ) => false,
        }
    }
}

/// Splits `acs:ram::<digits>:<rest>`.
fn account_and_rest(text: &str) -> Option<(&str, &str)> {
    let (account, rest) = text.strip_prefix("acs:ram::")?.split_once(':')?;
    let digits = !account.is_empty() && account.bytes().all(|b| b.is_ascii_digit());
    digits.then_some((account, rest))
}

/// The characters that names of users, roles, sessions and providers are made
/// of; neither a wildcard nor a separator is among them.
fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@".contains(&b))
}

/// A lower-case name of at least two labels.
fn is_service(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.contains('.') && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_forms_of_the_contract_are_principals() {
        for (kind, text) in [
            ("RAM", "acs:ram::1:root"),
            ("RAM", "acs:ram::1:*"),
            ("RAM", "acs:ram::1:user/a.b"),
            ("RAM", "acs:ram::1:role/a"),
            ("RAM", "acs:ram::1:assumed-role/a/b@c"),
            ("Service", "ecs.aliyuncs.com"),
            ("Federated", "acs:ram::1:saml-provider/a"),
            ("Federated", "acs:ram::1:oidc-provider/a"),
        ] {
            assert!(Named::parse(kind, text).is_some(), "{kind} {text}");
        }
        for (kind, text) in [
            ("RAM", "*"),
            ("RAM", "acs:ram::*:root"),
            ("RAM", "acs:ram:::root"),
            ("RAM", "acs:ram:*:1:root"),
            ("RAM", "acs:ram::1:user/*"),
            ("RAM", "acs:ram::1:user/"),
            ("RAM", "acs:ram::1:user/a?"),
            ("RAM", "acs:ram::1:user/a/b"),
            ("RAM", "acs:ram::1:group/a"),
            ("RAM", "acs:ram::1:assumed-role/a"),
            ("RAM", "acs:ram::1:assumed-role/a/*"),
            ("RAM", "acs:ram::1:Root"),
            ("RAM", "acs:ram::x1:root"),
            ("RAM", "ecs.aliyuncs.com"),
            ("Service", "ECS.aliyuncs.com"),
            ("Service", "ecs"),
            ("Service", "*.com"),
            ("Service", ".ecs"),
            ("Service", "ecs..com"),
            ("Federated", "acs:ram::1:root"),
            ("Federated", "acs:ram::1:saml-provider/"),
            ("Federated", "acs:ram::1:saml-provider/*"),
            ("AWS", "acs:ram::1:root"),
        ] {
            assert!(Named::parse(kind, text).is_none(), "{kind} {text}");
        }
    }

    #[test]
    fn a_session_has_the_arn_of_its_role_in_conditions() {
        let session =
            Principal::AssumedRole { account: "1".into(), role: "Ops".into(), session: "S1".into() };
        assert_eq!(session.to_string(), "acs:ram::1:assumed-role/Ops/S1");
        assert_eq!(session.condition_arn(), "acs:ram::1:role/ops");
    }

    #[test]
    fn names_compare_without_case_and_session_names_with_it() {
        let session =
            Principal::AssumedRole { account: "1".into(), role: "ops".into(), session: "s1".into() };
        let user = Principal::User { account: "1".into(), name: "ops".into() };
        for (text, of_session, of_user) in [
            ("acs:ram::1:role/OPS", true, false),
            ("acs:ram::2:role/ops", false, false),
            ("acs:ram::1:assumed-role/Ops/s1", true, false),
            ("acs:ram::1:assumed-role/ops/S1", false, false),
            ("acs:ram::1:user/Ops", false, true),
        ] {
            let named = Named::parse("RAM", text).unwrap();
            assert_eq!(named.covers(&session, AccountMeans::Everyone), of_session, "{text}");
            assert_eq!(named.covers(&user, AccountMeans::Everyone), of_user, "{text}");
        }
    }

    #[test]
    fn an_account_stands_for_different_principals_in_different_policies() {
        let root = Principal::Root { account: "1".into() };
        let user = Principal::User { account: "1".into(), name: "a".into() };
        let named = Named::parse("RAM", "acs:ram::1:*").unwrap();
        for (means, of_root, of_user) in [
            (AccountMeans::UsersAndSessions, false, true),
            (AccountMeans::Itself, true, false),
            (AccountMeans::Everyone, true, true),
        ] {
            assert_eq!(
                (named.covers(&root, means), named.covers(&user, means)),
                (of_root, of_user),
                "{means:?}"
            );
        }
        assert!(!named.covers(&Principal::Service("ecs.aliyuncs.com".into()), AccountMeans::Everyone));
    }
}
