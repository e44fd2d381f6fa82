//! What the spool must be told; filled by `config`, carried to the engine as JSON.

use serde::{Deserialize, Serialize};

/// Settings of the spool. Sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The spool's folder; it must exist and belong to the engine's user.
    pub path: String,
    /// Size of one segment.
    pub segment: u64,
    /// Spare segments kept for outcomes, bounces and compaction on a full disk.
    pub reserve: u32,
    /// New mail is refused when the file system has less free than this.
    pub min_free: u64,
    /// Bodies of this size and more go to files of their own.
    pub large: u64,
    /// Memory for content in sessions, writer and hot messages.
    pub memory: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            path: "/var/spool/postrider".into(),
            segment: 16 << 20,
            reserve: 2,
            min_free: 16 << 20,
            large: 64 << 10,
            memory: 32 << 20,
        }
    }
}
