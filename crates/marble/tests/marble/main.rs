//! The marble side against a small Coordinator that does as each test says.

#![cfg(test)]

mod activation;
mod counter;
mod examples;
mod library_os;
mod pinned;
mod refusals;
mod sdk;
mod support;
