//! The public key infrastructure through its public doors: recordings of the original system, independent
//! readers and verifiers, hostile input.

#[cfg(test)]
mod chains;
#[cfg(test)]
mod external;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod profile;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod secret_certificates;
#[cfg(test)]
mod support;
