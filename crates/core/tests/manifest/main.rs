//! Manifests from outside: accepted, refused, in the forms existing clients write.

#![recursion_limit = "512"]

mod accepted;
mod arbitrary;
mod broken;
mod broken_certificates;
mod golden;
mod large;
mod spelling;
mod support;
