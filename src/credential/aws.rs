//! Steps at Amazon Web Services.

pub mod pod_identity;
pub mod rds_token;
pub mod redshift_credentials;
pub mod web_identity;
pub mod web_identity_token;
