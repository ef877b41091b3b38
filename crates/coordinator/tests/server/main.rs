//! Tests of the servers through their sockets, in one program so that it is linked once.

#[cfg(test)]
mod activation;
#[cfg(test)]
mod authorization;
#[cfg(test)]
mod campaign;
#[cfg(test)]
mod certificates;
#[cfg(test)]
mod client_api;
#[cfg(test)]
mod evidence;
#[cfg(test)]
mod export;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod hardware;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod listener;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod original;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod refused;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod secrecy;
#[cfg(test)]
mod start;
#[cfg(test)]
mod support;
#[cfg(test)]
mod telemetry;
#[cfg(test)]
mod updates;
#[cfg(test)]
mod users;
