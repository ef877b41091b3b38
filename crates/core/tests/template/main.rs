//! The template language through its public door.

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod fixture;
