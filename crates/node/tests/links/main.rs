//! A node that serves links, and plain dialers that speak to it frame by frame, over loopback.

mod calls;
mod feeds;
mod hostile;
mod reads;
mod roles;
mod world;
