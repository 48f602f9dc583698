//! The rules of the house: what is true of the whole repository and what no single crate can check of itself.
//!
//! Each module keeps one kind of rule, as data at its top and one function that reads it. A rule that breaks says which
//! file breaks it and what to do. Numbers that should only ever get smaller are ratchets: they may be lowered, never
//! raised.

mod checklist;
mod code;
mod definitions;
mod delivery;
mod documents;
mod fences;
mod manifests;
mod migrations;
mod observability;
mod sources;
mod supply;
mod tree;
