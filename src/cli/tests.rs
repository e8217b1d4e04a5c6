//! The command line as a whole: every command parses, teaches, and says no to
//! what it should.

use clap::{CommandFactory, Parser};

use super::Cli;

/// Every command that `docs/commands.md` describes, in a form that is accepted.
const ACCEPTED: &[&str] = &[
    "init",
    "init --data-dir ./v --listen 0.0.0.0:8443 --account 123 --region cn-beijing --name a --name b --admin root",
    "init --module /m.so --token-label t --pin-file /p --credentials-file c.toml",
    "serve --config f",
    "doctor --config f --json",
    "hsm-worker",
    "cloud credentials --config f --access-key-id LTAI1",
    "cloud credentials --config f --access-key-id LTAI1 --secret-file -",
    "audit verify DIR",
    "audit tail DIR -n 5 --follow --action RotateSecret --user alice --secret acs/ecs/a",
    "rotate plan --prefix acs/ecs/ --canary 2 --wave 20%",
    "rotate plan --tag env=prod --tag tier=web",
    "rotate start --prefix acs/ecs/ --max-failures 3 --pause 600 --yes --watch --id c-1",
    "rotate status c-1 --watch --json",
    "rotate list",
    "rotate pause c-1",
    "rotate resume c-1",
    "rotate cancel c-1",
    "cmk create --description d --alias a --rotate-every 365d --tag k=v --tag l=",
    "cmk list --state enabled --state pending-deletion --tag-key k",
    "cmk describe alias/a",
    "cmk disable id",
    "cmk enable id",
    "cmk delete id --window-days 7",
    "cmk restore id",
    "cmk rotate id",
    "cmk rotation-policy id --every 7d",
    "cmk rotation-policy id --off",
    "cmk protect id --reason r",
    "cmk protect id --off",
    "cmk alias create a id",
    "cmk alias point alias/a id",
    "cmk alias delete a",
    "cmk alias list --key id",
    "cmk encrypt alias/a --in f --out g --context a=b --context c=d",
    "cmk decrypt --context a=b",
    "secret create a --value-file -",
    "secret create a --value-file f --binary --tag k=v --tag l= --description text --version-id v1",
    "secret create acs/ecs/a --type ecs --instance i-1 --user root --password-file f --rotate-every 7d",
    "secret create acs/ecs/a --instance i-1 --user root --private-key f --public-key g --sub-type ssh-key",
    "secret get a",
    "secret get a --stage ACSPrevious --field Password --out f",
    "secret get a --version-id v1 --raw",
    "secret put a --value-file f --stage ACSCurrent --stage blue",
    "secret list --type ecs --name a --tag-key k",
    "secret describe a",
    "secret versions a --all",
    "secret rotate a",
    "secret rotate a --version-id v2 --wait --timeout 5",
    "secret rotate a --password-file f --wait",
    "secret rotate a --private-key-file - --version-id v2",
    "secret rotate a --prompt",
    "secret rotate a --give-up v2 --wait",
    "secret rotations a --limit 3",
    "secret update a --description text",
    "secret update acs/ecs/a --custom-data k=v --custom-data l=",
    "secret update acs/ecs/a --no-custom-data --description text",
    "secret stage a ACSCurrent --to v1 --from v2",
    "secret stage a blue --from v2",
    "secret policy get a",
    "secret policy reset a --config f",
    "secret policy set a --document-file -",
    "secret rotation-policy a --every 12h",
    "secret rotation-policy a --off",
    "secret delete a --window-days 7",
    "secret delete a --without-recovery",
    "secret restore a",
    "secret random-password --length 24 --exclude abc --no-punctuation --no-numbers --no-lowercase",
    "user create alice --display-name A --comments C",
    "user list",
    "user delete alice",
    "key create --user alice --credentials-file f",
    "key list",
    "key disable LTAI1 --user alice",
    "key enable LTAI1",
    "key delete LTAI1",
    "policy create p --document-file f --description d",
    "policy list --type system",
    "policy show p --type system",
    "policy delete p",
    "policy attach p --user alice",
    "policy detach p --user alice --type system",
    "policy attached --user alice",
    "plugin commands --region cn-hangzhou --cloud-endpoint h:1 --cloud-ca-file f --cloud-profile cloud",
    "plugin install i-1 --binary f --region cn-hangzhou",
    "plugin install i-1 --os windows --region cn-hangzhou",
    "plugin stub --os windows",
    "secret --endpoint h:1 --ca-file f --profile p --region r get a",
    "secret get a --endpoint h:1 --ca-file f --profile p --region r --json",
];

/// What is refused, and a word of the reason.
const REFUSED: &[(&str, &str)] = &[
    ("", "Usage"),
    ("serve", "--config"),
    ("init --account 12a", "1 to 20 digits"),
    ("init --token-label t", "--module"),
    ("rotate plan", "--prefix"),
    ("rotate plan --all --prefix a", "cannot be used with"),
    ("rotate plan --tag env", "KEY=VALUE"),
    ("rotate start --prefix a --wave 101%", "0% to 100%"),
    ("rotate start --prefix a --canary 1001", "0..=1000"),
    ("rotate status a/b", "CampaignId"),
    ("plugin install i-1 --region cn-hangzhou", "--binary"),
    ("cmk delete id --window-days 6", "7..=366"),
    ("cmk rotation-policy id", "--every"),
    ("cmk rotation-policy id --every 7d --off", "cannot be used with"),
    ("cmk protect id --off --reason r", "cannot be used with"),
    ("cmk encrypt alias/a plain", "unexpected argument"),
    ("cmk encrypt alias/a --context a", "KEY=VALUE"),
    ("cmk list --state gone", "pending-deletion"),
    ("secret get", "NAME"),
    ("secret get a//b", "SecretName"),
    ("secret get a --field Passwort", "Password"),
    ("secret get a --value s3cret", "--value"),
    ("secret create a --value s3cret", "--value"),
    ("secret put a", "--value-file"),
    ("secret rotate a --timeout 5", "--wait"),
    ("secret rotate a --wait --timeout 0", "1..=86400"),
    ("secret rotate a --prompt --password-file f", "cannot be used with"),
    ("secret rotate a --give-up v2 --version-id v3", "cannot be used with"),
    ("secret rotate a --give-up v2 --prompt", "cannot be used with"),
    ("secret rotate a --password s3cret", "--password"),
    ("secret rotations a --limit 0", "1..=100"),
    ("secret update a", "--description"),
    ("secret update a --custom-data k", "KEY=VALUE"),
    ("secret update a --custom-data k=v --no-custom-data", "cannot be used with"),
    ("secret stage a ACSCurrent", "--to"),
    ("secret stage a b*c --to v1", "a stage is"),
    ("secret policy reset a", "--config"),
    ("secret policy set a", "--document-file"),
    ("secret rotation-policy a", "--every"),
    ("secret rotation-policy a --every 7d --off", "cannot be used with"),
    ("secret rotation-policy a --every 400d", "365d"),
    ("secret delete a --window-days 6", "7..=30"),
    ("secret delete a --window-days 7 --without-recovery", "cannot be used with"),
    ("secret random-password --length 7", "8..=128"),
    ("secret list --region Hangzhou", "a-z, 0-9"),
    ("key disable", "ID"),
    ("policy attach p", "--user"),
    ("audit verify DIR --anchor x", "anchor"),
    ("cloud credentials --config f --access-key-id k --secret s3cret", "--secret"),
    ("plugin install i-1 --binary f", "--region"),
];

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("strongroom").chain(line.split_ascii_whitespace()))
}

#[test]
fn every_documented_form_is_accepted() {
    for line in ACCEPTED {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_the_reason() {
    for (line, reason) in REFUSED {
        let error = parse(line).map(|cli| format!("{cli:?}")).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(reason), "{line}: {text}");
    }
}

#[test]
fn no_command_takes_a_value_as_an_argument() {
    fn walk(command: &clap::Command) {
        for argument in command.get_arguments() {
            let name = argument.get_id().as_str();
            let names_a_file = name.ends_with("_file") || ["private_key", "public_key"].contains(&name);
            // A label, and the name of a secret.
            let names_a_thing = name == "token_label"
                || (["tail", "events"].contains(&command.get_name()) && name == "secret");
            let is_secret = ["password", "value", "pin", "token", "secret", "private"]
                .iter()
                .any(|word| name.contains(word));
            assert!(!is_secret || names_a_file || names_a_thing, "{} {name}", command.get_name());
        }
        command.get_subcommands().for_each(walk);
    }
    walk(&Cli::command());
}

#[test]
fn every_command_teaches_by_an_example() {
    fn walk(command: &clap::Command, path: &str) {
        let path = format!("{path} {}", command.get_name());
        if command.is_hide_set() {
            return;
        }
        assert!(command.get_about().is_some(), "{path} says nothing");
        if command.has_subcommands() {
            command.get_subcommands().for_each(|inner| walk(inner, &path));
            return;
        }
        let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains(path.trim_start()), "no example of{path}: {help}");
    }
    walk(&Cli::command(), "");
}

#[test]
fn the_documentation_shows_every_command() {
    fn walk(command: &clap::Command, path: &str, documented: &str) {
        let path = if path.is_empty() {
            command.get_name().to_owned()
        } else {
            format!("{path} {}", command.get_name())
        };
        if command.is_hide_set() {
            return;
        }
        if command.has_subcommands() {
            command.get_subcommands().for_each(|inner| walk(inner, &path, documented));
            return;
        }
        assert!(documented.contains(&path), "docs/commands.md does not show {path}");
    }
    walk(&Cli::command(), "", include_str!("../../docs/commands.md"));
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}
