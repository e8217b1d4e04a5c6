//! What is read of the answers about campaigns.

use serde::{Deserialize, Serialize};

/// PlanRotationCampaign.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Plan {
    pub(super) plan_digest: String,
    pub(super) total_count: u64,
    pub(super) waves: Vec<u64>,
    pub(super) members: Vec<Member>,
    pub(super) left_out: Vec<LeftOut>,
}

/// A secret that would be rotated.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Member {
    pub(super) secret_name: String,
    pub(super) instance_id: String,
    pub(super) wave: u64,
}

/// A secret that would not.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct LeftOut {
    pub(super) secret_name: String,
    pub(super) reason: String,
}

/// DescribeRotationCampaign, and what starts and orders answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Campaign {
    pub(super) campaign_id: String,
    pub(super) state: String,
    pub(super) started_by: String,
    pub(super) create_time: String,
    pub(super) wave: u64,
    pub(super) waits_until: Option<String>,
    pub(super) waves: Vec<Counts>,
    pub(super) total: Counts,
    pub(super) trouble_count: u64,
    pub(super) troubles: Vec<Trouble>,
}

/// How many members stand where.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Counts {
    pub(super) size: u64,
    pub(super) waiting: u64,
    pub(super) begun: u64,
    pub(super) stuck: u64,
    pub(super) done: u64,
    pub(super) failed: u64,
    pub(super) skipped: u64,
}

impl Counts {
    /// Those that are not as they should be.
    pub(super) fn troubled(self) -> u64 {
        self.stuck + self.failed
    }

    /// Those that are over.
    pub(super) fn over(self) -> u64 {
        self.stuck + self.done + self.failed + self.skipped
    }
}

/// A member that is not rotated.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Trouble {
    pub(super) secret_name: String,
    pub(super) wave: u64,
    pub(super) state: String,
    pub(super) code: String,
    pub(super) message: String,
}

/// ListRotationCampaigns.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Campaigns {
    pub(super) campaigns: List,
}

/// Its list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct List {
    pub(super) campaign: Vec<Row>,
}

/// A campaign in a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Row {
    pub(super) campaign_id: String,
    pub(super) state: String,
    pub(super) started_by: String,
    pub(super) create_time: String,
    pub(super) wave: u64,
    pub(super) wave_count: u64,
    pub(super) total_count: u64,
}
