//! Customers and people are given out and erased as a whole, and nobody else with them: canaries are planted through the
//! webhooks and the address book, and then everything is searched.

mod chores;
mod customers;
mod people;
mod world;
