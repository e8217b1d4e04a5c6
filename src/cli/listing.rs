//! Lists of the RAM API, which come in pages with a marker (ram.md section 3.1).

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::connection::Connection;
use super::error::CliError;
use super::output::Output;

/// A list action and how its answer is nested, such as `Users.User`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listing {
    pub(super) action: &'static str,
    pub(super) outer: &'static str,
    pub(super) inner: &'static str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    is_truncated: bool,
    marker: Option<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Listing {
    /// All rows, as they came.
    ///
    /// # Errors
    ///
    /// [`CliError::Call`] of the first page that fails, [`CliError::Answer`].
    pub(super) async fn rows(
        self,
        connection: &Connection,
        query: &[(&str, &str)],
    ) -> Result<Vec<Value>, CliError> {
        let mut rows = Vec::new();
        let mut marker: Option<String> = None;
        loop {
            let mut query = query.to_vec();
            if let Some(marker) = &marker {
                query.push(("Marker", marker));
            }
            let page: Page = connection.call(self.action, &query, &[]).await?.into()?;
            let (more, next) = self.take(page)?;
            rows.extend(more);
            match next {
                Some(next) if marker.as_ref() != Some(&next) => marker = Some(next),
                _ => return Ok(rows),
            }
        }
    }

    /// The rows of a page, and the marker of the next one.
    fn take(self, mut page: Page) -> Result<(Vec<Value>, Option<String>), CliError> {
        let malformed = CliError::Answer { action: self.action };
        let Some(Value::Object(mut outer)) = page.rest.remove(self.outer) else { return Err(malformed) };
        let Some(Value::Array(rows)) = outer.remove(self.inner) else { return Err(malformed) };
        Ok((rows, page.marker.filter(|_| page.is_truncated)))
    }

    /// Writes the rows nested as the service nests them, for programs.
    ///
    /// # Errors
    ///
    /// [`CliError::Output`].
    pub(super) fn json(self, rows: &[Value], output: &mut Output) -> Result<(), CliError> {
        Ok(output.json(&serde_json::json!({ self.outer: { self.inner: rows } }))?)
    }

    /// One row in the form that is shown.
    ///
    /// # Errors
    ///
    /// [`CliError::Answer`].
    pub(super) fn read<T: DeserializeOwned>(self, row: Value) -> Result<T, CliError> {
        serde_json::from_value(row).ok().ok_or(CliError::Answer { action: self.action })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const USERS: Listing = Listing { action: "ListUsers", outer: "Users", inner: "User" };

    fn take(page: Value) -> Result<(Vec<Value>, Option<String>), CliError> {
        USERS.take(serde_json::from_value(page).unwrap())
    }

    #[test]
    fn the_marker_counts_only_while_the_list_is_truncated() {
        let rows = json!({"User": [{"UserName": "a"}]});
        let (found, next) = take(json!({"Users": rows, "IsTruncated": true, "Marker": "m"})).unwrap();
        assert_eq!((found.len(), next.as_deref()), (1, Some("m")));
        let (_, next) = take(json!({"Users": rows, "IsTruncated": false, "Marker": "m"})).unwrap();
        assert_eq!(next, None);
    }

    #[test]
    fn an_empty_list_is_no_error_and_a_missing_one_is() {
        assert!(take(json!({"Users": {"User": []}})).unwrap().0.is_empty());
        assert!(take(json!({"RequestId": "r"})).is_err());
        assert!(take(json!({"Users": {}})).is_err());
    }
}
