//! What users and marbles may do through the client API, through the flows: every rule and every refusal.

#[cfg(test)]
mod counters;
#[cfg(test)]
mod model;
#[cfg(test)]
mod packages;
#[cfg(test)]
mod previous;
#[cfg(test)]
mod quotes;
#[cfg(test)]
mod recorded;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod support;
#[cfg(test)]
mod updates;
#[cfg(test)]
mod users;
