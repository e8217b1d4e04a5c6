//! The plug-in's codes in words: what happened, and what to do
//! (cloud-assistant.md section 5.5).

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
