//! What a guild refuses: each time with an error that says what and by how much, and unchanged.

mod authority;
mod ids;
mod limits;
mod operations;
mod publishing;
mod room;
mod shapes;
mod typing;
