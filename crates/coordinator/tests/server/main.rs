//! Tests of the servers through their sockets, in one program so that it is linked once.

#[cfg(test)]
mod listener;
#[cfg(test)]
mod support;
