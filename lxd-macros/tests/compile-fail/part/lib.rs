lxd_macros::lxd_api!("spec/rest-api.yaml", typse);
