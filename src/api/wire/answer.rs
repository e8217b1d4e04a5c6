//! What goes back to the client.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::api::ApiError;
use crate::audit::Recorded;
use crate::model::RequestId;

/// The body of a successful answer, wiped once it is sent.
pub struct Answer {
    body: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answer({} bytes)", self.body.len())
    }
}

impl Answer {
    /// The JSON of `value`. `long_texts` are its members of unknown length, the
    /// plaintext among them: there is room for all of them escaped, so that the
    /// buffer never has to grow and leave a copy behind.
    ///
    /// # Errors
    ///
    /// [`ApiError::internal`] when the value cannot be written, which no
    /// answer of the table does.
    pub fn json(value: &impl Serialize, long_texts: &[&str]) -> Result<Self, ApiError> {
        Self::list(value, 0, long_texts)
    }

    /// The same for an answer with so many items, each of which may be as long
    /// as a whole answer without its long texts.
    ///
    /// # Errors
    ///
    /// As [`json`](Self::json).
    pub fn list(value: &impl Serialize, items: usize, long_texts: &[&str]) -> Result<Self, ApiError> {
        let usual = USUAL_BYTES.saturating_mul(items.saturating_add(1));
        let room = long_texts.iter().fold(usual, |sum, text| sum.saturating_add(escaped_len(text)));
        let mut body = Zeroizing::new(Vec::with_capacity(room));
        serde_json::to_writer(&mut *body, value).ok().ok_or_else(ApiError::internal)?;
        Ok(Self { body })
    }
}

/// Room for everything but long texts: names, ids and stages have limits.
const USUAL_BYTES: usize = 2_048;

/// Length of a text in a JSON string (RFC 8259 section 7).
fn escaped_len(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        0..=0x1f => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum()
}

/// An answer or an error, on its way out.
#[derive(Debug)]
pub enum Reply {
    /// What was asked for.
    Done(Answer),
    /// Why not.
    Failed(ApiError),
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorBody<'a> {
    request_id: &'a RequestId,
    host_id: &'a str,
    http_status: u16,
    code: &'a str,
    message: &'a str,
    recommend: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_denied_detail: Option<&'a crate::api::AccessDeniedDetail>,
}

impl Reply {
    /// The HTTP response, which exists only once the call is on record.
    #[must_use]
    pub fn recorded(self, request_id: &RequestId, host: &str, _record: &Recorded) -> Response<Full<Bytes>> {
        self.response(request_id, host)
    }

    /// The response to a call that could not be recorded, or was none: it
    /// carries an error and nothing else.
    #[must_use]
    pub fn unrecorded(error: ApiError, request_id: &RequestId, host: &str) -> Response<Full<Bytes>> {
        Self::Failed(error).response(request_id, host)
    }

    fn response(self, request_id: &RequestId, host: &str) -> Response<Full<Bytes>> {
        let (status, body, retry_after) = match self {
            Self::Done(answer) => (StatusCode::OK, answer.body, None),
            Self::Failed(error) => {
                let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let body = ErrorBody {
                    request_id,
                    host_id: host,
                    http_status: error.status,
                    code: &error.code,
                    message: &error.message,
                    recommend: "",
                    access_denied_detail: error.detail.as_deref(),
                };
                // Its fields are texts and numbers: it always has a JSON form.
                (status, Zeroizing::new(serde_json::to_vec(&body).unwrap_or_default()), error.retry_after_ms)
            }
        };
        let mut response = Response::new(Full::new(Bytes::from_owner(Wiped(body))));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(id) = HeaderValue::from_str(request_id.as_str()) {
            headers.insert("x-acs-request-id", id);
        }
        if let Some(millis) = retry_after {
            headers.insert("x-acs-retry-after", HeaderValue::from(millis));
            headers.insert(hyper::header::RETRY_AFTER, HeaderValue::from(millis.div_ceil(1000)));
        }
        response
    }
}

/// A body that is wiped when hyper has sent it.
struct Wiped(Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
