//! What a guild accepts: the event each command makes, and when there is none.

mod channels;
mod guild;
mod members;
mod messages;
mod roles;
mod sessions;
mod sponsors;
mod told;
