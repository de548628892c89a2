//! The webhook relay, between a WA server that signs and receivers that misbehave.

mod journeys;
mod killed;
mod passing_on;
mod put_aside;
mod read_marks;
mod standing;
mod taking_in;
mod trouble;
pub(crate) mod world;
