//! Manifests from outside: accepted, refused, in the forms existing clients write.

#![recursion_limit = "512"]

#[cfg(test)]
mod accepted;
#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod broken;
#[cfg(test)]
mod broken_access;
#[cfg(test)]
mod broken_certificates;
#[cfg(test)]
mod broken_templates;
#[cfg(test)]
mod budget;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod large;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod spelling;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tees;
