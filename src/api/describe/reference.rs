//! The API as a page for people.

use super::{Audit, Description, Kind, MemberKind, Parameter, Service, all};

/// The reference in Markdown: what docs/api.md is.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from(HEAD);
    for service in Service::ALL {
        let actions = || all().iter().filter(move |d| d.service == service);
        push(&mut out, &["## ", service.name(), " ", service.version(), "\n\n| action | |\n| --- | --- |\n"]);
        for action in actions() {
            let mark = if action.extension { " *(extension)*" } else { "" };
            let link = action.name.to_ascii_lowercase();
            push(
                &mut out,
                &["| [", action.name, "](#", &link, ")", mark, " | ", &cell(action.summary), " |\n"],
            );
        }
        out.push('\n');
        for action in actions() {
            describe(&mut out, action);
        }
    }
    errors(&mut out);
    out
}

const HEAD: &str = "\
# The API

Made by `strongroom api reference` from `schema/api`; a test compares the two.
The same as an OpenAPI 3.1 document: `GET /openapi.json`, or `strongroom api openapi`.

Every action is a signed `POST` or `GET` of `/`; parameters stand in the query or in a
form body. Answers are JSON and carry `RequestId`, under which the audit journal
has the call. Actions marked *extension* are Strongroom's own. How clients are
pointed here is told in [clients.md](clients.md).

";

fn push(out: &mut String, parts: &[&str]) {
    for part in parts {
        out.push_str(part);
    }
}

/// A text that does not end a cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('\n', " ")
}

fn describe(out: &mut String, action: &Description) {
    let mark = if action.extension { "An extension. " } else { "" };
    push(out, &["### ", action.name, "\n\n", action.summary, " ", mark, "(", action.source, ")\n\n"]);
    out.push_str(&action.right_in_words("`"));
    for also in action.also {
        push(out, &["; also ", &cell(also)]);
    }
    out.push_str(".\n\n");
    if !action.parameters.is_empty() {
        out.push_str("| parameter | type | | |\n| --- | --- | --- | --- |\n");
        for parameter in action.parameters {
            let need = if parameter.required { "required" } else { "" };
            let (kind, text) = (kind(parameter), cell(parameter.text));
            push(out, &["| `", parameter.name, "` | ", &kind, " | ", need, " | ", &text, " |\n"]);
        }
        out.push('\n');
    }
    if !action.answer.is_empty() {
        out.push_str("| answer | type | | |\n| --- | --- | --- | --- |\n");
        for member in action.answer {
            let there = if member.optional { "optional" } else { "" };
            let text = cell(member.text);
            push(
                out,
                &["| `", member.name, "` | ", member_kind(member.kind), " | ", there, " | ", &text, " |\n"],
            );
        }
        out.push('\n');
    }
    if !action.errors.is_empty() {
        push(out, &["Errors: `", &action.errors.join("`, `"), "`, and those common to all.\n\n"]);
    }
}

fn kind(parameter: &Parameter) -> String {
    let mut text = match parameter.kind {
        Kind::Base64 => "base64",
        Kind::Boolean => "boolean",
        Kind::Integer => "integer",
        Kind::Json => "JSON text",
        Kind::String => "string",
    }
    .to_owned();
    match (parameter.min, parameter.max, parameter.max_bytes) {
        (_, _, Some(bytes)) => push(&mut text, &[", up to ", &bytes.to_string(), " bytes"]),
        (Some(min), Some(max), None) => push(&mut text, &[", ", &min.to_string(), " to ", &max.to_string()]),
        (None, Some(max), None) => push(&mut text, &[", up to ", &max.to_string()]),
        (_, None, None) => {}
    }
    if matches!(parameter.kind, Kind::Base64 | Kind::Json | Kind::String) && parameter.max.is_some() {
        text.push_str(" characters");
    }
    if !parameter.values.is_empty() {
        push(&mut text, &[": `", &parameter.values.join("`, `"), "`"]);
    }
    if let Some(default) = parameter.default {
        push(&mut text, &["; default `", default, "`"]);
    }
    if parameter.audit == Audit::Secret {
        text.push_str("; secret");
    }
    text.replace('|', "\\|")
}

const fn member_kind(kind: MemberKind) -> &'static str {
    match kind {
        MemberKind::Base64 => "base64",
        MemberKind::Boolean => "boolean",
        MemberKind::Integer => "integer",
        MemberKind::Json => "JSON text",
        MemberKind::Object => "object",
        MemberKind::Secret => "string; secret",
        MemberKind::String => "string",
        MemberKind::Time => "time",
    }
}

fn errors(out: &mut String) {
    out.push_str("## Errors\n\n| code | status | | |\n| --- | --- | --- | --- |\n");
    for error in super::errors() {
        let common = if error.common { "any action" } else { "" };
        let text = cell(error.text);
        push(
            out,
            &["| `", error.code, "` | ", &error.status.to_string(), " | ", common, " | ", &text, " |\n"],
        );
    }
}
