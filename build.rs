//! Turns the description of the API (`schema/api`) into tables of the program,
//! so that a description that is wrong, or an action without one, does not build.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde::Deserialize;

/// The form of `schema/api/<service>/<action>.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    name: String,
    access: Access,
    summary: String,
    source: String,
    resource: String,
    #[serde(default)]
    also: Vec<String>,
    #[serde(default)]
    extension: bool,
    #[serde(default)]
    parameters: Vec<Parameter>,
    #[serde(default)]
    errors: Vec<String>,
    #[serde(default)]
    answer: Vec<Member>,
}

#[derive(Debug, Deserialize)]
enum Access {
    #[serde(rename = "read")]
    Read,
    #[serde(rename = "write")]
    Write,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameter {
    name: String,
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(default)]
    required: bool,
    default: Option<String>,
    min: Option<u64>,
    max: Option<u64>,
    max_bytes: Option<usize>,
    max_items: Option<u32>,
    #[serde(default)]
    values: Vec<String>,
    pattern: Option<String>,
    rule: Option<String>,
    ignored_with: Option<String>,
    example: Option<String>,
    #[serde(default)]
    audit: Audit,
    text: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Base64,
    Boolean,
    Integer,
    Json,
    String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Audit {
    Clear,
    #[default]
    Masked,
    Secret,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    name: String,
    #[serde(rename = "type")]
    kind: MemberKind,
    #[serde(default)]
    optional: bool,
    text: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum MemberKind {
    Base64,
    Boolean,
    Integer,
    Json,
    Object,
    Secret,
    String,
    Time,
}

/// The form of `schema/api/errors.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Errors {
    error: Vec<ErrorCode>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorCode {
    code: String,
    status: u16,
    #[serde(default)]
    common: bool,
    services: Vec<String>,
    text: String,
}

const SERVICES: [(&str, &str); 3] = [("kms", "Kms"), ("ram", "Ram"), ("sts", "Sts")];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("schema/api");
    println!("cargo::rerun-if-changed=schema/api");
    let mut errors: Errors = read(&root.join("errors.toml"))?;
    errors.error.sort_by(|a, b| a.code.cmp(&b.code));
    let mut out = String::from("pub(super) static ERRORS: &[ErrorCode] = &[\n");
    for error in &errors.error {
        let ErrorCode { code, status, common, services, text } = error;
        writeln!(
            out,
            "ErrorCode {{ code: {code:?}, status: {status}, common: {common}, services: &{services:?}, text: {text:?} }},"
        )?;
    }
    out.push_str("];\npub(super) static DESCRIPTIONS: &[Description] = &[\n");
    let mut found = BTreeMap::new();
    for (folder, service) in SERVICES {
        for entry in fs::read_dir(root.join(folder))? {
            let path = entry?.path();
            let description: Description = read(&path)?;
            check(&description, folder, &errors.error, &path)?;
            found.insert((description.name.clone(), folder), (service, description));
        }
    }
    for (service, description) in found.values() {
        write_description(&mut out, service, description)?;
    }
    out.push_str("];\n");
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("descriptions.rs"), out)?;
    Ok(())
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Box<dyn Error>> {
    let text = fs::read_to_string(path)?;
    toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn check(
    description: &Description,
    folder: &str,
    errors: &[ErrorCode],
    path: &Path,
) -> Result<(), Box<dyn Error>> {
    let fault =
        |what: String| -> Result<(), Box<dyn Error>> { Err(format!("{}: {what}", path.display()).into()) };
    if path.file_stem().and_then(|stem| stem.to_str()) != Some(&description.name) {
        return fault("the file must bear the name of its action".to_owned());
    }
    for code in &description.errors {
        let known = errors.iter().any(|e| e.code == *code && e.services.iter().any(|s| s == folder));
        if !known {
            return fault(format!("the code {code} is not in errors.toml for {folder}"));
        }
    }
    for parameter in &description.parameters {
        if let Some(pattern) = &parameter.pattern {
            regex_lite::Regex::new(pattern)
                .map_err(|e| format!("{}: {}: {e}", path.display(), parameter.name))?;
        }
        if let Some(name) = &parameter.ignored_with {
            let is_boolean = |p: &Parameter| p.name == *name && matches!(p.kind, Kind::Boolean);
            if !description.parameters.iter().any(is_boolean) {
                return fault(format!("{} is ignored with what is no boolean", parameter.name));
            }
        }
        if matches!(parameter.kind, Kind::Integer) && (parameter.min.is_none() || parameter.max.is_none()) {
            return fault(format!("{} has no limits", parameter.name));
        }
    }
    Ok(())
}

fn write_description(out: &mut String, service: &str, d: &Description) -> Result<(), Box<dyn Error>> {
    let Description { name, access, summary, source, resource, also, extension, errors, .. } = d;
    writeln!(
        out,
        "Description {{ service: Service::{service}, name: {name:?}, access: EventAccess::{access:?}, \
         summary: {summary:?}, source: {source:?}, resource: {resource:?}, also: &{also:?}, \
         extension: {extension}, errors: &{errors:?}, parameters: &["
    )?;
    for p in &d.parameters {
        let Parameter { name, kind, required, default, min, max, max_bytes, max_items, .. } = p;
        let Parameter { values, pattern, rule, ignored_with, example, audit, text, .. } = p;
        writeln!(
            out,
            "Parameter {{ name: {name:?}, kind: Kind::{kind:?}, required: {required}, default: {default:?}, \
             min: {min:?}, max: {max:?}, max_bytes: {max_bytes:?}, max_items: {max_items:?}, \
             values: &{values:?}, pattern: {pattern:?}, rule: {rule:?}, ignored_with: {ignored_with:?}, example: {example:?}, \
             audit: Audit::{audit:?}, text: {text:?} }},"
        )?;
    }
    out.push_str("], answer: &[\n");
    for Member { name, kind, optional, text } in &d.answer {
        writeln!(
            out,
            "Member {{ name: {name:?}, kind: MemberKind::{kind:?}, optional: {optional}, text: {text:?} }},"
        )?;
    }
    out.push_str("] },\n");
    Ok(())
}
