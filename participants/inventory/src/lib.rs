//! The stock of a shop, as a participant of sagas.

pub mod audit;
pub mod balance;
pub mod cart;
pub mod hold;
pub mod ledger;
pub mod listing;
pub mod outcome;
pub mod sqlite;
