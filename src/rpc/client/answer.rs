//! What a response says: a body, or a refusal (kms-secrets.md section 2.10).

use serde::Deserialize;
use strongroom_hsm::SecretBytes;

use super::CallError;
use super::connection::Whole;

/// How much of a service's own words is kept.
const MAX_CODE: usize = 128;
const MAX_MESSAGE: usize = 1024;

/// The body of an error; `HostId` and `Recommend` are of no use here.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    request_id: String,
}

/// The body of a success, or the error that the response is.
pub(super) fn read(response: Whole) -> Result<SecretBytes, CallError> {
    let status = response.parts.status;
    let malformed = |what| CallError::Malformed { status: status.as_u16(), what };
    let body = response.body.ok_or(malformed("it is longer than 4 MiB"))?;
    if status.is_success() {
        return Ok(body);
    }
    let refusal: Refusal =
        serde_json::from_slice(body.expose()).ok().ok_or(malformed("it is not an error of the protocol"))?;
    let retry_after_ms = response
        .parts
        .headers
        .get("x-acs-retry-after")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.trim().parse().ok());
    Err(CallError::Refused {
        status: status.as_u16(),
        code: harmless(&refusal.code, MAX_CODE),
        message: harmless(&refusal.message, MAX_MESSAGE),
        request_id: harmless(&refusal.request_id, MAX_CODE),
        retry_after_ms,
    })
}

/// Text of another party without control characters, which could forge log
/// lines, cut to at most `max` bytes.
pub(crate) fn harmless(text: &str, max: usize) -> String {
    let mut kept = String::new();
    for letter in text.chars() {
        if kept.len() + letter.len_utf8() > max {
            break;
        }
        kept.push(if letter.is_control() { ' ' } else { letter });
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_service_are_cut_and_cannot_break_a_line() {
        assert_eq!(harmless("a\r\nb\u{1b}[0m", 100), "a  b [0m");
        assert_eq!(harmless("ééé", 5), "éé");
    }
}
