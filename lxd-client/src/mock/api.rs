//! What the generator makes of the description for the mock: an expectation for each method of the client.

use crate::call::Answers;

lxd_macros::lxd_api!("spec/rest-api.yaml", mock);
