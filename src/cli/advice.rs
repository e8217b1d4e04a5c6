//! The next step after an error, where one is known.

use std::io::ErrorKind;

use rustls::CertificateError;

use super::connection::Service;
use super::error::{CliError, is_authentication};
use super::profile::ProfileError;
use crate::rpc::client::{CallError, TransportError};

/// What the user can do about the error, as a sentence without full stop.
pub(super) fn next_step(error: &CliError) -> Option<String> {
    match error {
        CliError::Call { service, action, source, .. } => of_call(*service, action, source),
        CliError::Profile(ProfileError::Readable { path, .. }) => {
            Some(format!("chmod 600 {}", path.display()))
        }
        CliError::RotationFailed { secret, trouble, .. } => Some(match trouble {
            Some(trouble) => format!("{} (all of it: strongroom secret rotations {secret})", trouble.advice),
            None => format!("see strongroom secret rotations {secret}, and rotate again"),
        }),
        CliError::RotationGoesOn { secret, trouble, .. } => {
            let advice = trouble.as_ref().map(|trouble| format!(" {}", trouble.advice)).unwrap_or_default();
            Some(format!(
                "the vault goes on and keeps both credentials until it knows which is in force; \
                 follow it with: strongroom secret rotations {secret}.{advice}"
            ))
        }
        CliError::WatchStopped { secret, .. } => {
            Some(format!("strongroom secret rotations {secret} says what becomes of it"))
        }
        CliError::Answer { .. }
        | CliError::Appliance(_)
        | CliError::Audit(_)
        | CliError::Client(_)
        | CliError::Cloud(_)
        | CliError::Config(_)
        | CliError::File { .. }
        | CliError::Install(_)
        | CliError::Missing { .. }
        | CliError::Output(_)
        | CliError::Profile(_)
        | CliError::Usage(_) => None,
    }
}

fn of_call(service: Service, action: &str, error: &CallError) -> Option<String> {
    match error {
        CallError::Malformed { .. } => {
            Some("something else than a vault seems to answer there: check --endpoint".to_owned())
        }
        CallError::Refused { code, message, retry_after_ms, .. } => {
            of_refusal(service, action, code, message, *retry_after_ms)
        }
        CallError::Transport { source, .. } => of_transport(source),
        CallError::Unsendable { .. } => None,
    }
}

fn of_refusal(
    service: Service,
    action: &str,
    code: &str,
    message: &str,
    retry_after_ms: Option<u64>,
) -> Option<String> {
    let fixed = match code {
        "Forbidden.NoPermission" | "NoPermission" => {
            let resource = message
                .split_ascii_whitespace()
                .find(|word| word.starts_with("acs:"))
                .unwrap_or("the resource");
            return Some(format!(
                "ask an administrator for a policy that allows {}:{action} on {resource}",
                service.prefix()
            ));
        }
        "InvalidAccessKeyId.NotFound" => "check the access key id: the vault does not know it",
        "Forbidden.AccessKey" | "InvalidAccessKeyId.Inactive" => {
            "the access key is switched off: use another, or have it enabled (strongroom key enable)"
        }
        "SignatureDoesNotMatch" | "IncompleteSignature" => "check the secret of the access key",
        "Rejected.ResourceInUse" if action == "RotateSecret" => {
            "a rotation is going on: see strongroom secret rotations NAME"
        }
        "Rejected.ResourceInDeleteWindow" => {
            "it is scheduled for deletion: strongroom secret restore NAME brings it back"
        }
        "Rejected.ResourceExist" if action == "CreateSecret" => {
            "choose another name, or add a version with strongroom secret put"
        }
        "Rejected.ResourceExist" => "that version id is taken by another value: leave --version-id out",
        "UnsupportedOperation" if action == "PutSecretValue" => {
            "an ECS secret changes by rotation only: strongroom secret rotate NAME"
        }
        "UnsupportedOperation" if action == "CreateSecret" => {
            "on the vault's machine strongroom doctor says whether instances can be rotated"
        }
        "Forbidden.ResourceNotFound" | "Rejected.StateModifiedFailed" if action == "GiveUpSecretRotation" => {
            "see strongroom secret rotations NAME: only one in state Unknown or Stuck can be given up"
        }
        "UnsupportedOperation"
            if matches!(action, "ListSecretRotations" | "RotateSecret" | "UpdateSecretRotationPolicy") =>
        {
            "only ECS secrets rotate; others change with strongroom secret put"
        }
        "AliasAlreadyExists" => "strongroom cmk alias point NAME KEY-ID gives it another key",
        "Forbidden.AliasNotFound" => "see strongroom cmk alias list",
        "Forbidden.KeyNotFound" => "see strongroom cmk list, and check --endpoint",
        "Rejected.Disabled" => "the key is switched off: strongroom cmk enable KEY-ID",
        "Rejected.PendingDeletion" => {
            "the key is scheduled for deletion: strongroom cmk restore KEY-ID brings it back"
        }
        "Unsupported.Alias" => "strongroom cmk describe ALIAS shows the id that it stands for",
        "EntityNotExist.Policy" => "see strongroom policy list; policies of the system need --type system",
        "EntityNotExist.User" => "see strongroom user list",
        "Forbidden.ResourceNotFound" => "see strongroom secret list, and check --endpoint",
        "DeleteConflict.User.AccessKey" => "delete the user's keys first: strongroom key list --user NAME",
        "DeleteConflict.User.Policy" => {
            "detach the user's policies first: strongroom policy attached --user NAME"
        }
        "DeleteConflict.Policy.User" => "detach the policy first: strongroom policy detach NAME --user USER",
        "LimitExceeded.User.AccessKey" => "a user has two keys at most: delete one first",
        code if code.starts_with("InvalidTimeStamp") => {
            "set this machine's clock: it differs from the vault's"
        }
        code if code.contains("Throttling") => {
            let wait = retry_after_ms.map_or_else(String::new, |ms| format!(" in {} s", ms.div_ceil(1000)));
            return Some(format!("try again{wait}"));
        }
        code if code.starts_with("ServiceUnavailable") => {
            "try again later; on the vault's machine strongroom doctor says what is wrong"
        }
        code if is_authentication(code) => {
            "check the access key, and get a new session if it is a temporary one"
        }
        _ => return None,
    };
    Some(fixed.to_owned())
}

fn of_transport(error: &TransportError) -> Option<String> {
    let text = match error {
        TransportError::Connect { source, .. } if source.kind() == ErrorKind::ConnectionRefused => {
            "nothing listens there: check --endpoint, and that strongroom serve runs"
        }
        // The resolver's errors have no kind of their own.
        TransportError::Connect { source, .. } if source.to_string().contains("lookup") => {
            "check the host name in --endpoint"
        }
        TransportError::Connect { .. } => "check --endpoint and the network between",
        TransportError::ConnectDeadline { .. } => "check --endpoint and the firewalls between",
        TransportError::Deadline { .. } => {
            "it may have been carried out nevertheless: look before you repeat it"
        }
        TransportError::Http { .. } => "check that --endpoint is the vault's own port",
        TransportError::Tls { source, .. } => of_certificate(source)?,
    };
    Some(text.to_owned())
}

fn of_certificate(error: &std::io::Error) -> Option<&'static str> {
    let cause = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(problem) = cause else {
        return Some("check that --endpoint is the vault's TLS port");
    };
    let is = |names: &[CertificateError]| names.contains(problem);
    Some(if is(&[CertificateError::UnknownIssuer]) {
        "the certificate is signed by an authority that is not trusted: give the vault's with --ca-file"
    } else if is(&[CertificateError::NotValidForName])
        || matches!(problem, CertificateError::NotValidForNameContext { .. })
    {
        "the certificate is for another host name: use one of its names in --endpoint"
    } else if is(&[CertificateError::Expired, CertificateError::NotValidYet])
        || matches!(
            problem,
            CertificateError::ExpiredContext { .. } | CertificateError::NotValidYetContext { .. }
        )
    {
        "renew the vault's certificate, or set this machine's clock"
    } else {
        "check the vault's certificate"
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn tls(problem: CertificateError) -> String {
        let source = io::Error::other(rustls::Error::InvalidCertificate(problem));
        of_transport(&TransportError::Tls { host: "h:1".to_owned(), source }).unwrap()
    }

    #[test]
    fn an_untrusted_certificate_leads_to_the_ca_file() {
        assert!(tls(CertificateError::UnknownIssuer).contains("--ca-file"));
        assert!(tls(CertificateError::NotValidForName).contains("--endpoint"));
        assert!(tls(CertificateError::Expired).contains("renew"));
    }

    #[test]
    fn a_port_where_nothing_listens_leads_to_the_server() {
        let source = io::Error::from(io::ErrorKind::ConnectionRefused);
        let text = of_transport(&TransportError::Connect { host: "h:1".to_owned(), source }).unwrap();
        assert!(text.contains("strongroom serve"), "{text}");
    }

    #[test]
    fn a_throttled_caller_learns_how_long_to_wait() {
        let text = of_refusal(Service::Kms, "RotateSecret", "Rejected.Throttling", "", Some(1500));
        assert_eq!(text.as_deref(), Some("try again in 2 s"));
    }

    #[test]
    fn only_what_is_about_rotation_leads_to_it() {
        let of = |action| of_refusal(Service::Kms, action, "UnsupportedOperation", "", None);
        assert!(of("RotateSecret").unwrap().contains("only ECS secrets rotate"));
        assert_eq!(of("ListSecrets"), None);
    }

    #[test]
    fn a_denial_without_a_resource_still_names_the_action() {
        let text = of_refusal(Service::Ram, "CreateUser", "NoPermission", "You are not authorized.", None);
        assert!(text.unwrap().contains("ram:CreateUser on the resource"));
    }
}
