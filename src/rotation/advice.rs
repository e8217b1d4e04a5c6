//! Codes in words: what happened, and what to do about it
//! (cloud-assistant.md sections 1.7, 1.10 and 5.5).

use crate::cloud_assistant::plugin::Code;

/// The word of the protocol, and a sentence for the operator.
pub(super) const fn advice(code: Code) -> (&'static str, &'static str) {
    match code {
        Code::Ok => ("ok", "done"),
        Code::Already => ("already", "it was in force before"),
        Code::StaleGen => (
            "stale_gen",
            "the instance knows a later rotation of this secret: was the vault's database restored from a backup?",
        ),
        Code::WrongRid => ("wrong_rid", "another rotation of this secret is going on on the instance"),
        Code::Fenced => ("fenced", "this rotation was given up before"),
        Code::Busy => ("busy", "another run of the plug-in still works on this user: it is tried again"),
        Code::KeyExpired => ("key_expired", "the key for sealing has expired: it is tried again"),
        Code::DecryptFailed => ("decrypt_failed", "the instance could not open the request"),
        Code::BadRequest => {
            ("bad_request", "the plug-in does not understand the request: install its present version")
        }
        Code::PluginMissing => (
            "plugin_missing",
            "the plug-in is not installed: run `strongroom plugin install` for the instance",
        ),
        Code::NotRoot => ("not_root", "the plug-in must run as root: leave the command's user name unset"),
        Code::WrongInstance => {
            ("wrong_instance", "the command reached another instance than the one it was meant for")
        }
        Code::UserMissing => ("user_missing", "the user does not exist on the instance: create it there"),
        Code::NotLocalUser => (
            "not_local_user",
            "the user comes from a directory such as LDAP: only local users can be rotated",
        ),
        Code::AccountLocked => {
            ("account_locked", "the account was locked on purpose: unlock it on the instance")
        }
        Code::AccountExpired => ("account_expired", "the account has expired: extend it on the instance"),
        Code::AccountDisabled => ("account_disabled", "the account is disabled: enable it on the instance"),
        Code::DomainController => ("domain_controller", "a domain controller has no local accounts"),
        Code::LapsManaged => (
            "laps_managed",
            "Windows LAPS manages this account: take it out of the LAPS policy, or leave it to LAPS",
        ),
        Code::PolicyRefused => ("policy_refused", "the instance's password policy refused the new password"),
        Code::NoShadowEntry => {
            ("no_shadow_entry", "the user has no line in /etc/shadow: run pwconv on the instance")
        }
        Code::ShadowBusy => {
            ("shadow_busy", "/etc/shadow is locked: look for a leftover lock file on the instance")
        }
        Code::ShadowReadonly => {
            ("shadow_readonly", "/etc/shadow cannot be written: is /etc read-only or the file immutable?")
        }
        Code::ToolMissing => ("tool_missing", "chpasswd is missing on the instance: install it"),
        Code::ToolFailed => ("tool_failed", "chpasswd changed nothing: it is tried again"),
        Code::VerifyFailed => ("verify_failed", "what is in force is not what was set"),
        Code::Restored => ("restored", "the change did not hold and was taken back: it is tried again"),
        Code::RestoreFailed => ("restore_failed", "the change did not hold and could not be taken back"),
        Code::HomeUnsafe => {
            ("home_unsafe", "the user's home or .ssh folder may be written by others: correct owner and mode")
        }
        Code::AuthorizedKeysSymlink => {
            ("authorized_keys_symlink", "authorized_keys is a symbolic link: replace it by a file")
        }
        Code::AuthorizedKeysUnsafe => (
            "authorized_keys_unsafe",
            "authorized_keys is no plain file of the user's, or immutable or read-only: correct it",
        ),
        Code::KeysDisabled => {
            ("keys_disabled", "sshd on the instance accepts no keys of this user: look at sshd_config")
        }
        Code::DiskFull => ("disk_full", "the instance's disk is full: make room"),
        Code::Internal => ("internal", "the plug-in failed: look at the run in Cloud Assistant"),
        Code::Unlisted => ("unlisted", "the plug-in is newer than this vault: update the vault"),
    }
}

/// What to do about a trouble of a rotation, by its code: one of the plug-in's,
/// of Cloud Assistant's (cloud-assistant.md sections 1.6, 1.7 and 1.10), or of
/// the vault's own. One or two sentences, the same for every rotation.
#[must_use]
pub fn what_to_do(code: &str) -> &'static str {
    of_the_plug_in(code).or_else(|| of_the_vault(code)).or_else(|| of_cloud_assistant(code)).unwrap_or(
        "The code is Cloud Assistant's or that of a newer plug-in: look at the run in Cloud Assistant's records.",
    )
}

fn of_the_plug_in(code: &str) -> Option<&'static str> {
    Some(match code {
        "ok" | "already" => "There is nothing to do.",
        "stale_gen" => {
            "If the vault was restored from a backup: rotate again, which takes control. If another vault manages this user: leave the user to one of them."
        }
        "wrong_rid" => {
            "Wait for the other rotation's end. If another vault manages this user, leave the user to one of them."
        }
        "fenced" => "Rotate again: this rotation was given up, and a new one is free to go.",
        "busy" => {
            "Nothing: it is tried again. If it stays, look for a run of the plug-in that hangs on the instance."
        }
        "key_expired" => {
            "Nothing: a new key is made and it is tried again. If it stays, check the instance's clock."
        }
        "decrypt_failed" => {
            "Nothing: it is sealed to a new key and tried again. If it stays, install the plug-in anew."
        }
        "bad_request" | "unlisted" => {
            "Bring plug-in and vault to the same release: strongroom plugin install INSTANCE."
        }
        "plugin_missing" => {
            "Install the plug-in: strongroom plugin install INSTANCE. The rotation then ends by itself."
        }
        "not_root" => {
            "Leave the user name of the command in Cloud Assistant unset, so that it runs as root or SYSTEM."
        }
        "wrong_instance" => {
            "Check the InstanceId of the secret, and whether the instance was made from an image of another."
        }
        "user_missing" => {
            "Create the user on the instance, then rotate again; or delete the secret if the user is gone for good."
        }
        "not_local_user" => {
            "Change the password where the user is kept, such as LDAP, and delete this secret."
        }
        "account_locked" => {
            "Find out who locked the account and why; once it is unlocked on the instance, rotate again."
        }
        "account_expired" => {
            "Extend the account (Linux: chage -E -1 USER; Windows: net user USER /expires:never), then rotate again."
        }
        "account_disabled" => "Enable the account on the instance, then rotate again.",
        "domain_controller" => {
            "Delete the secret: what is set on a domain controller is an account of the whole domain."
        }
        "laps_managed" => {
            "Take the account out of the Windows LAPS policy and rotate again, or delete this secret."
        }
        "policy_refused" => {
            "Give a value that the instance's password policy takes (strongroom secret rotate NAME --prompt), or loosen the policy."
        }
        "no_shadow_entry" => "Run pwconv on the instance, then rotate again.",
        "shadow_busy" => {
            "Remove leftover lock files such as /etc/shadow.lock on the instance, then rotate again."
        }
        "shadow_readonly" => {
            "Make /etc writable, and take an immutable mark off (chattr -i /etc/shadow), then rotate again."
        }
        "tool_missing" => {
            "Install chpasswd (package passwd, or shadow-utils) on the instance, then rotate again."
        }
        "tool_failed" => {
            "Nothing: it is tried again. If it stays, run chpasswd by hand on the instance and see what it says."
        }
        "verify_failed" => {
            "Look whether something else sets the same credential, such as a configuration management; the vault asks and sets again."
        }
        "restored" => "Nothing: the former credential is in force and it is tried again.",
        "restore_failed" => {
            "Keep the instance running: both credentials stay in the vault while it is tried again. If it stays, set one of them by hand."
        }
        "home_unsafe" => {
            "Let only the user and root write the user's home and .ssh (chmod go-w), then rotate again."
        }
        "authorized_keys_symlink" => {
            "Replace the symbolic link by a plain file of the user's, then rotate again."
        }
        "authorized_keys_unsafe" => {
            "Make authorized_keys a plain file that belongs to the user and that nobody else can write, then rotate again."
        }
        "keys_disabled" => {
            "Allow the user's keys in sshd_config (PubkeyAuthentication, AuthorizedKeysFile, PubkeyAcceptedAlgorithms), then rotate again."
        }
        "disk_full" => "Make room on the instance's disk, then rotate again.",
        "internal" => {
            "Look at the run in Cloud Assistant's records, and install the plug-in anew if it was damaged."
        }
        _ => return None,
    })
}

fn of_the_vault(code: &str) -> Option<&'static str> {
    Some(match code {
        "token_expired" | "no_result" | "NoResult" | "NoAnswer" => {
            "Nothing: the vault goes on asking. If it stays, check that Cloud Assistant can be reached and its agent runs on the instance."
        }
        "os_changed" => "Create a new secret for the instance as it is now, and delete this one.",
        "instance_not_running" => "Start the instance, then rotate again.",
        "instance_missing" => {
            "Delete the secret if the instance was released; else check the vault's region and its right to ecs:DescribeInstances."
        }
        "not_observed" => {
            "Try both versions (ACSCurrent and ACSPending); rotate --give-up ends the doubt once the instance can be asked."
        }
        "no_key" | "bad_key" => {
            "Install the present plug-in on the instance, and check its clock and its free disk space."
        }
        "hsm_unavailable" => {
            "Bring the hardware security module back: strongroom doctor says what is wrong. The rotation then goes on."
        }
        "key_disabled" => {
            "Enable the key that the secret is encrypted under: EnableKey. The rotation then goes on."
        }
        "key_pending_deletion" => {
            "Take the key back that the secret is encrypted under: CancelKeyDeletion. The rotation then goes on."
        }
        "key_unavailable" => {
            "Bring the key back into the hardware security module: strongroom doctor names it. The rotation then goes on."
        }
        "OldKeyNotRemoved" => {
            "Rotate again, which removes the keys of all earlier versions, or take the old key out of authorized_keys by hand."
        }
        _ => return None,
    })
}

fn of_cloud_assistant(code: &str) -> Option<&'static str> {
    let agent = "Start Cloud Assistant's agent on the instance (systemctl restart aliyun; on Windows the service AliyunService). The vault goes on asking.";
    let again = "Nothing: it is tried again. If it stays, look at the state of Cloud Assistant's service.";
    let key = "Give the vault a key of the cloud account that works: strongroom cloud credentials.";
    Some(match code {
        "ClientNotRunning" | "ClientNotResponse" | "DeliveryTimeout" | "Aborted" => agent,
        "ClientIsUpgrading" => "Nothing: the agent is being upgraded and is asked again.",
        "ClientNeedUpgrade" => "Upgrade Cloud Assistant's agent on the instance.",
        "InstanceNotRunning" => "Start the instance. The vault goes on asking.",
        "InstanceNotExists" | "InstanceReleased" | "InvalidInstance.NotFound" => {
            "Delete the secret if the instance was released; else check its InstanceId and region."
        }
        "InvalidInstance.NotMatch" | "CommandNotApplicable" => {
            "Check that the instance runs and still has the operating system for which the secret was made."
        }
        "AccountNotExists" | "DirectoryNotExists" => {
            "Leave the command's user name and working folder in Cloud Assistant unset: strongroom plugin commands creates it so."
        }
        "SecurityGroupRuleDenied" => {
            "Let the instance reach Cloud Assistant's service: check the rules of its security group."
        }
        "ExecutionTimeout" | "Timeout" => {
            "Nothing: the instance is asked what is in force. If it stays, look what keeps the instance so busy."
        }
        "ExecutionException"
        | "ExecutionInterrupted"
        | "ExitCodeNonzero"
        | "Failed"
        | "Error"
        | "Success"
        | "Cancelled"
        | "Terminated"
        | "Stopped" => {
            "Nothing: the instance is asked what is in force. If it stays, look at the run in Cloud Assistant's records."
        }
        "InvalidCmdId.NotFound" => {
            "Create the commands of this region: strongroom plugin commands, and enter them in the configuration."
        }
        "Invocation.ExceedQuota" | "CmdCount.ExceedQuota" => {
            "Ask for a higher quota of Cloud Assistant, or rotate less often; the quota of invocations counts a day."
        }
        "Forbidden.RAM" | "Forbidden" | "Operation.Forbidden" => {
            "Allow the vault's key ecs:DescribeInstances, ecs:RunCommand or ecs:InvokeCommand, and ecs:DescribeInvocationResults."
        }
        "InvalidAccessKeyId.NotFound"
        | "InvalidAccessKeyId.Inactive"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature" => key,
        "InvalidTimeStamp.Expired" | "IllegalTimestamp" => "Set the clock of the vault's machine.",
        "IdempotentParameterMismatch" | "IdempotentProcessing" | "SignatureNonceUsed" => {
            "Nothing: the instance is asked what is in force."
        }
        "InvalidRegionId.NotFound" | "RegionId.ApiNotSupported" => {
            "Check the region and the endpoint in the vault's [cloud] configuration."
        }
        code if code.starts_with("Throttling")
            || code.starts_with("ServiceUnavailable")
            || code.starts_with("InternalError") =>
        {
            again
        }
        code if code.starts_with("Forbidden") => key,
        code if code.starts_with("Invalid") || code.starts_with("Cmd") || code.starts_with("Param") => {
            "Create the commands of this region anew (strongroom plugin commands): Cloud Assistant refused the request itself."
        }
        _ => return None,
    })
}

/// A warning of the plug-in or the vault in words, with what to do
/// (cloud-assistant.md section 5.5, `warn`).
#[must_use]
pub fn warning_in_words(word: &str) -> &'static str {
    match word {
        "account_unlocked" => {
            "The account was locked; setting the password unlocked it, as the options asked for."
        }
        "added_key_kept" => {
            "A key of this rotation stays on the instance, since nothing else would let the user in: rotate again."
        }
        "accounts_not_flushed" => {
            "The new password is lost if the instance loses power within seconds: rotate again then."
        }
        "candidate_not_opened" => {
            "The instance could not open the sealed credential to compare with it; it is sealed anew."
        }
        "changed_outside" => {
            "Somebody else had changed the credential since the last rotation: find out who. The new one replaces it."
        }
        "check_failed" => {
            "The instance would refuse a rotation as it is now: the troubles of the next one say why."
        }
        "failed_logons_counted" => {
            "pam_faillock counts failed logons of this user, and too many lock the good password out as well: see faillock --user USER."
        }
        "foreign_rotation" => {
            "The instance's notes are of a rotation that this vault has not made: its database was set back, or another vault manages the same user. Find out which."
        }
        "had_no_password" => "The user had no password before: logon by password is possible from now on.",
        "journal_damaged" => {
            "The plug-in's notes on the instance were damaged and are begun anew: check the instance's disk."
        }
        "journal_not_written" => "The plug-in could not write its notes: make room on the instance's disk.",
        "key_duplicates_left" => {
            "The secret's key stands more than once in authorized_keys and could not be taken out: do so by hand."
        }
        "key_duplicates_removed" => "The secret's key stood more than once in authorized_keys; one is left.",
        "key_file_group_writable" => {
            "The user's own group may write the key file, which sshd bears here; let only the user write it (chmod g-w)."
        }
        "key_login_blocked" => {
            "sshd refuses this user's keys as it is configured: look at sshd_config, or nobody can use the new key."
        }
        "key_pair_not_removed" => {
            "The key pair to which the credential was sealed could not be removed at once; it dies by itself."
        }
        "logon_restricted" => {
            "Windows knows the password and restricts the logon of this account: look at its logon rights and hours."
        }
        "managed_key_missing" => {
            "The key that the last rotation had set was gone: find out who removed it. The new one was added."
        }
        "max_days_limited" => {
            "The password expires after some days by the instance's rules: rotate more often than that."
        }
        "max_days_shorter_than_interval" => {
            "The password expires on the instance before the next rotation: rotate more often, or extend it (chage -M)."
        }
        "must_change" => {
            "Windows wants the password changed at the next logon: take that mark off, or logons stop there."
        }
        "no_journal" => {
            "Earlier rotations left no notes on the instance: it was rebuilt, or its system disk replaced. Check that it is the right one."
        }
        "not_observed" => "The plug-in could not look what is in force; the vault asks again.",
        "other_key_file_unsafe" => {
            "A further file of AuthorizedKeysFile is not safe to be read and was left alone: check its owner and mode."
        }
        "password_expired" => {
            "The user must change the password at the next logon: lift that (chage -d today USER), or logons stop there."
        }
        "sshd_not_found" => "No sshd was found on the instance; the usual place of keys was taken.",
        _ => {
            "The plug-in is newer than the vault and says something that the vault does not know: update the vault."
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    const UNKNOWN: &str = "no such word";

    /// Every text between `before` and a quotation mark in the plug-in's code.
    fn words(before: &str) -> BTreeSet<String> {
        fn files(folder: &Path, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { files(&path, found) } else { found.push(path) }
            }
        }
        let mut found = Vec::new();
        files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("plugin/src"), &mut found);
        let mut words = BTreeSet::new();
        for path in found {
            let text = fs::read_to_string(path).unwrap();
            for rest in text.split(before).skip(1) {
                let word: String = rest.chars().take_while(|c| *c != '"').collect();
                if word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
                    words.insert(word);
                }
            }
        }
        words
    }

    #[test]
    fn every_warning_of_the_plug_in_has_words() {
        let mut said = words("warn(\"");
        said.extend(words("warnings.push(\""));
        assert!(said.len() > 10 && said.contains("journal_damaged"), "{said:?}");
        let notes = ["changed_outside", "managed_key_missing", "no_journal", "key_duplicates_removed"];
        let own = ["foreign_rotation", "candidate_not_opened", "logon_restricted", "must_change"];
        said.extend(notes.iter().chain(&own).map(|word| (*word).to_owned()));
        for word in said {
            assert_ne!(warning_in_words(&word), warning_in_words(UNKNOWN), "{word}");
        }
    }

    #[test]
    fn every_code_of_a_trouble_has_an_advice_of_its_own() {
        let codes = [
            "ok",
            "already",
            "stale_gen",
            "wrong_rid",
            "fenced",
            "busy",
            "key_expired",
            "decrypt_failed",
            "bad_request",
            "plugin_missing",
            "not_root",
            "wrong_instance",
            "user_missing",
            "not_local_user",
            "account_locked",
            "account_expired",
            "account_disabled",
            "domain_controller",
            "laps_managed",
            "policy_refused",
            "no_shadow_entry",
            "shadow_busy",
            "shadow_readonly",
            "tool_missing",
            "tool_failed",
            "verify_failed",
            "restored",
            "restore_failed",
            "home_unsafe",
            "authorized_keys_symlink",
            "authorized_keys_unsafe",
            "keys_disabled",
            "disk_full",
            "internal",
        ];
        for word in codes {
            let code: Code = serde_json::from_value(serde_json::json!(word)).unwrap();
            assert_eq!(advice(code).0, word);
            assert!(of_the_plug_in(word).is_some(), "{word}");
        }
        let others = [
            "token_expired",
            "no_result",
            "NoResult",
            "NoAnswer",
            "os_changed",
            "instance_not_running",
            "instance_missing",
            "not_observed",
            "no_key",
            "bad_key",
            "hsm_unavailable",
            "key_disabled",
            "key_pending_deletion",
            "key_unavailable",
            "OldKeyNotRemoved",
            "InstanceNotExists",
            "InstanceReleased",
            "InstanceNotRunning",
            "CommandNotApplicable",
            "AccountNotExists",
            "DirectoryNotExists",
            "ClientNotRunning",
            "ClientNotResponse",
            "ClientIsUpgrading",
            "ClientNeedUpgrade",
            "DeliveryTimeout",
            "ExecutionTimeout",
            "ExecutionException",
            "ExecutionInterrupted",
            "ExitCodeNonzero",
            "SecurityGroupRuleDenied",
            "Aborted",
            "Cancelled",
            "Terminated",
            "Invalid",
            "InvalidInstance.NotFound",
            "InvalidInstance.NotMatch",
            "InvalidCmdId.NotFound",
            "Invocation.ExceedQuota",
            "CmdContent.ExceedLimit",
            "Forbidden.RAM",
            "IdempotentParameterMismatch",
            "Throttling.User",
            "InternalError.Dispatch",
            "ServiceUnavailable",
            "SignatureDoesNotMatch",
        ];
        for code in others {
            assert_ne!(what_to_do(code), what_to_do(UNKNOWN), "{code}");
        }
    }
}
