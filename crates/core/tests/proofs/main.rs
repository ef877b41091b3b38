//! Promises about secrets, proven through the flows: which keys come from what, that freed memory holds none of
//! them, that they cannot print, that nobody pays for secrets of others.

#![cfg(test)]

mod allocator;
mod appraisal;
mod cost;
mod keys;
mod support;
mod unprintable;
mod wiped;

#[global_allocator]
static ALLOCATOR: allocator::Checking = allocator::Checking;
