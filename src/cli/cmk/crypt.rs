//! `strongroom cmk encrypt` and `decrypt`: up to 6 KiB from files or standard
//! input, never from the command line.

use std::path::{Path, PathBuf};

use clap::Args;
use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::value::RawValue;
use strongroom_hsm::SecretBytes;

use super::{Any, pair};
use crate::cli::connection::Connection;
use crate::cli::error::CliError;
use crate::cli::input;
use crate::cli::output::Output;
use crate::cli::wiped;

/// The most that Encrypt takes (kms-secrets.md section 8.1).
const MAX_PLAINTEXT_BYTES: usize = 6 * 1_024;
/// The longest ciphertext that Decrypt takes, in base64.
const MAX_BLOB_BYTES: usize = 16 * 1_024;

/// Encrypt a file or standard input under a key
///
/// Up to 6 KiB; the ciphertext is written in Base64 and names its key. What is given as --context
/// is not encrypted, stands in the audit journal, and is needed to decrypt.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  strongroom cmk encrypt alias/shop --in card.txt --out card.enc --context order=4711
  pg_dump --globals-only | head -c 6000 | strongroom cmk encrypt alias/shop > globals.enc")]
pub(super) struct EncryptArgs {
    #[command(flatten)]
    key: Any,
    #[command(flatten)]
    files: Files,
}

/// Decrypt what `cmk encrypt` has written
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  strongroom cmk decrypt --in card.enc --context order=4711
  strongroom cmk decrypt --in card.enc --context order=4711 --out card.txt")]
pub(super) struct DecryptArgs {
    #[command(flatten)]
    files: Files,
}

#[derive(Debug, Args)]
struct Files {
    /// File to read, or - for standard input
    #[arg(long = "in", value_name = "FILE", default_value = "-")]
    input: PathBuf,
    /// Write into this new file, which only you can read
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Bind the ciphertext to this; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    context: Vec<(String, String)>,
}

impl Files {
    /// `EncryptionContext`.
    fn context(&self) -> Result<Option<String>, CliError> {
        let mut context = serde_json::Map::new();
        for (key, value) in &self.context {
            if context.insert(key.clone(), value.clone().into()).is_some() {
                return Err(CliError::Usage(format!("--context {key} is there twice")));
            }
        }
        Ok((!context.is_empty()).then(|| serde_json::Value::Object(context).to_string()))
    }
}

pub(super) async fn encrypt(
    args: &EncryptArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Made {
        ciphertext_blob: String,
    }
    let context = args.files.context()?;
    let plaintext = input::read_file(&args.files.input, MAX_PLAINTEXT_BYTES)?;
    let encoded = SecretBytes::filled(BASE64.encode_len(plaintext.len()), |text| {
        BASE64.encode_mut(plaintext.expose(), text);
        Ok::<(), CliError>(())
    })?;
    let text = str::from_utf8(encoded.expose()).ok().ok_or(CliError::Answer { action: "Encrypt" })?;
    let mut query = vec![("KeyId", args.key.key.as_str())];
    query.extend(context.iter().map(|context| ("EncryptionContext", context.as_str())));
    let answer = connection.call("Encrypt", &query, &[("Plaintext", text)]).await?;
    let made: Made = answer.read()?;
    match &args.files.out {
        Some(path) => {
            let line = format!("{}\n", made.ciphertext_blob);
            input::write_new_file(path, line.as_bytes())?;
            told(path, line.len(), output)
        }
        None if output.is_json() => Ok(output.answer(&answer.body)?),
        None => Ok(output.line(&made.ciphertext_blob)?),
    }
}

pub(super) async fn decrypt(
    args: &DecryptArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let context = args.files.context()?;
    let blob = input::read_file(&args.files.input, MAX_BLOB_BYTES)?;
    let blob = str::from_utf8(blob.expose()).ok().ok_or_else(|| {
        CliError::Usage("it is no ciphertext in Base64, as strongroom cmk encrypt writes it".to_owned())
    })?;
    let context: Vec<_> = context.iter().map(|context| ("EncryptionContext", context.as_str())).collect();
    let answer = connection.call("Decrypt", &context, &[("CiphertextBlob", blob.trim_ascii())]).await?;
    if output.is_json() && args.files.out.is_none() {
        return Ok(output.answer(&answer.body)?);
    }
    let plaintext = plaintext(&answer.body)?;
    match &args.files.out {
        Some(path) => {
            input::write_new_file(path, plaintext.expose())?;
            told(path, plaintext.len(), output)
        }
        None => Ok(output.lone_value(&plaintext)?),
    }
}

/// The bytes that an answer of Decrypt has in Base64.
fn plaintext(body: &SecretBytes) -> Result<SecretBytes, CliError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Opened<'a> {
        #[serde(borrow)]
        plaintext: &'a RawValue,
    }
    let malformed = || CliError::Answer { action: "Decrypt" };
    let opened: Opened<'_> = serde_json::from_slice(body.expose()).ok().ok_or_else(malformed)?;
    let text = wiped::read_string(opened.plaintext).ok_or_else(malformed)?;
    let room = BASE64.decode_len(text.len()).ok().ok_or_else(malformed)?;
    let mut length = 0;
    let padded = SecretBytes::filled(room, |bytes| {
        length = BASE64.decode_mut(text.expose(), bytes).ok().ok_or_else(malformed)?;
        Ok::<(), CliError>(())
    })?;
    padded.expose().get(..length).map(SecretBytes::copy_of).ok_or_else(malformed)
}

fn told(path: &Path, bytes: usize, output: &mut Output) -> Result<(), CliError> {
    if output.is_json() {
        return Ok(output.json(&serde_json::json!({ "File": path, "Bytes": bytes }))?);
    }
    Ok(output.line(&format!("wrote {bytes} bytes to {}", path.display()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(context: &[(&str, &str)]) -> Files {
        let context = context.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Files { input: PathBuf::from("-"), out: None, context }
    }

    #[test]
    fn a_context_is_one_json_object_and_no_key_stands_twice() {
        assert_eq!(files(&[]).context().unwrap(), None);
        let context = files(&[("order", "4711"), ("app", "\"x\"")]).context().unwrap();
        let read: serde_json::Value = serde_json::from_str(&context.unwrap()).unwrap();
        assert_eq!(read, serde_json::json!({ "order": "4711", "app": "\"x\"" }));
        assert!(files(&[("a", "1"), ("a", "2")]).context().is_err());
    }

    #[test]
    fn a_plaintext_is_given_back_byte_for_byte() {
        for bytes in [&b"a"[..], b"ab", b"abc", b"\0\xff\n"] {
            let body = format!(r#"{{"Plaintext":"{}","KeyId":"k"}}"#, BASE64.encode(bytes));
            assert_eq!(plaintext(&SecretBytes::copy_of(body.as_bytes())).unwrap().expose(), bytes);
        }
        for body in [r#"{"KeyId":"k"}"#, r#"{"Plaintext":"a"}"#, r#"{"Plaintext":1}"#] {
            assert!(plaintext(&SecretBytes::copy_of(body.as_bytes())).is_err(), "{body}");
        }
    }
}
