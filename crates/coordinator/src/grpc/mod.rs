//! The gRPC services.

pub mod marble;
