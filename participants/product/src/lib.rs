//! Products.

mod body;
pub mod cart;
pub mod load;
pub mod quote;
pub mod table;
