//! What is read of the answers about secrets (kms-secrets.md section 5); never
//! a value. Each answer is kept whole besides, for output in JSON.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// When a secret rotates, as answers tell it.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Rotation {
    pub(super) automatic_rotation: Option<String>,
    pub(super) rotation_interval: Option<String>,
    pub(super) next_rotation_date: Option<String>,
    pub(super) last_rotation_date: Option<String>,
    pub(super) rotation_overdue_seconds: Option<u64>,
}

impl Rotation {
    /// In words; `None` for a secret that cannot rotate by itself.
    pub(super) fn in_words(&self) -> Option<String> {
        let automatic = self.automatic_rotation.as_deref()?;
        let mut words = match automatic {
            "Disabled" => "by hand only".to_owned(),
            "Invalid" => "automatic, but the last one failed and needs somebody to look".to_owned(),
            _ => "automatic".to_owned(),
        };
        if automatic != "Disabled" {
            if let Some(interval) = &self.rotation_interval {
                words.push_str(&format!(", every {}", duration(interval)));
            }
            if let Some(next) = &self.next_rotation_date {
                words.push_str(&format!(", next {next}"));
            }
            if let Some(seconds) = self.rotation_overdue_seconds {
                words.push_str(&format!(", overdue by {}", rough(seconds)));
            }
        }
        Some(words)
    }
}

/// A length of time in the largest unit that it has at least two of.
pub(in crate::cli) fn rough(seconds: u64) -> String {
    match seconds {
        172_800.. => format!("{}d", seconds / 86_400),
        7_200.. => format!("{}h", seconds / 3_600),
        120.. => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

/// `604800s` as `7d`: the largest unit that it is a whole number of.
pub(super) fn duration(interval: &str) -> String {
    let seconds = interval.strip_suffix('s').and_then(|digits| digits.parse::<u64>().ok());
    match seconds {
        Some(s) if s > 0 && s % 86_400 == 0 => format!("{}d", s / 86_400),
        Some(s) if s > 0 && s % 3_600 == 0 => format!("{}h", s / 3_600),
        Some(s) if s > 0 && s % 60 == 0 => format!("{}m", s / 60),
        _ => interval.to_owned(),
    }
}

/// CreateSecret.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Created {
    pub(super) secret_name: String,
    pub(super) version_id: String,
    #[serde(flatten)]
    pub(super) rotation: Rotation,
}

/// DescribeSecret.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Described {
    pub(super) arn: String,
    pub(super) secret_name: String,
    #[serde(default)]
    pub(super) secret_type: String,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) create_time: String,
    #[serde(default)]
    pub(super) update_time: String,
    pub(super) planned_delete_time: Option<String>,
    pub(super) extended_config: Option<String>,
    pub(super) tags: Option<Tags>,
    /// Nobody knows which of two versions is in force.
    #[serde(default)]
    pub(super) rotation_in_doubt: bool,
    #[serde(flatten)]
    pub(super) rotation: Rotation,
}

/// Where an ECS secret logs on, the text inside `ExtendedConfig`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EcsConfig {
    pub(super) secret_sub_type: String,
    pub(super) instance_id: String,
    pub(super) region_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tags {
    #[serde(default)]
    pub(super) tag: Vec<Tag>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tag {
    pub(super) tag_key: String,
    #[serde(default)]
    pub(super) tag_value: String,
}

/// One page of ListSecrets. The rows are kept as they came, for JSON.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SecretPage {
    pub(super) total_count: u64,
    pub(super) secret_list: SecretRows,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SecretRows {
    pub(super) secret: Vec<Value>,
}

/// One row of ListSecrets.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SecretRow {
    pub(super) secret_name: String,
    #[serde(default)]
    pub(super) secret_type: String,
    #[serde(default)]
    pub(super) update_time: String,
    #[serde(default)]
    pub(super) planned_delete_time: String,
    /// Nobody knows which of two versions is in force.
    #[serde(default)]
    pub(super) rotation_in_doubt: bool,
    /// Only where labels were asked for.
    pub(super) tags: Option<Tags>,
}

/// One page of ListSecretVersionIds.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct VersionPage {
    pub(super) total_count: u64,
    pub(super) version_ids: VersionRows,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct VersionRows {
    pub(super) version_id: Vec<VersionRow>,
}

/// A version of a secret and the stages that point to it.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct VersionRow {
    pub(super) version_id: String,
    #[serde(default)]
    pub(super) create_time: String,
    #[serde(default)]
    pub(super) version_stages: Stages,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Stages {
    #[serde(default)]
    pub(super) version_stage: Vec<String>,
}

impl Stages {
    pub(super) fn in_words(&self) -> String {
        self.version_stage.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_shown_in_its_largest_whole_unit() {
        for (interval, shown) in [
            ("604800s", "7d"),
            ("43200s", "12h"),
            ("21660s", "361m"),
            ("21601s", "21601s"),
            ("0s", "0s"),
            ("x", "x"),
        ] {
            assert_eq!(duration(interval), shown);
        }
    }

    #[test]
    fn rotation_is_told_in_words_only_where_there_is_one() {
        let rotation = |text| serde_json::from_str::<Rotation>(text).unwrap().in_words();
        assert_eq!(rotation("{}"), None);
        assert_eq!(
            rotation(r#"{"AutomaticRotation":"Disabled","RotationInterval":"604800s"}"#).unwrap(),
            "by hand only"
        );
        let enabled = r#"{"AutomaticRotation":"Enabled","RotationInterval":"604800s","NextRotationDate":"2024-05-13T07:08:09Z"}"#;
        assert_eq!(rotation(enabled).unwrap(), "automatic, every 7d, next 2024-05-13T07:08:09Z");
        assert!(rotation(r#"{"AutomaticRotation":"Invalid"}"#).unwrap().contains("failed"));
        let late = r#"{"AutomaticRotation":"Enabled","RotationOverdueSeconds":7260}"#;
        assert_eq!(rotation(late).unwrap(), "automatic, overdue by 2h");
    }
}
