//! Orders.

pub mod audit;
pub mod body;
pub mod book;
pub mod command;
pub mod listing;
pub mod money;
pub mod state;
pub mod table;
