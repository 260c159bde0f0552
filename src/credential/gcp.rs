//! Google Cloud: tokens for a workload of another place, of a service account, and of a node's own metadata server.

pub mod impersonation;
pub mod metadata;
pub mod sts;

/// The scope of a token that may do whatever the account may.
pub(super) const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";
