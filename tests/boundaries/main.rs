//! What the crates may know of each other and of the libraries they stand on, and what may be in the repository.

mod crates;
mod dsl;
mod repository;
mod sources;
