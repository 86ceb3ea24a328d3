//! A server that answers as a test wants.
