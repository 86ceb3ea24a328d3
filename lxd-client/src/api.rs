//! What the generator makes of the description: the methods of [`Client`] and the parameters of
//! their calls.

lxd_macros::lxd_api!("spec/rest-api.yaml", methods);
