//! The way to a real LXD.
