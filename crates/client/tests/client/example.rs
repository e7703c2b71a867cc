//! The chat backend of `examples`, as its reader runs it.

use std::io;
use std::sync::{Arc, Mutex};

use crate::backend::chat;
use crate::world::{World, soon};

/// What is shown while somebody says these lines.
async fn shown(world: &World, number: u64, lines: &[&str]) -> Vec<String> {
    let shown = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&shown);
    let show = move |told| kept.lock().unwrap().push(told);
    let lines: Vec<io::Result<String>> = lines.iter().map(|line| Ok((*line).to_owned())).collect();
    soon(chat(world.config(number), lines.into_iter(), show)).await.unwrap();
    let mut shown = shown.lock().unwrap().clone();
    // Each hears in order; who of them is shown first is left open.
    shown.sort_by_key(|told| told.starts_with("Bo"));
    shown
}

#[tokio::test]
async fn the_example_shows_each_user_all_that_is_said_also_when_it_comes_again() {
    let world = World::new().await;
    let heard = ["Ada hears: one", "Ada hears: two", "Bo hears: one", "Bo hears: two"];
    assert_eq!(shown(&world, 1, &["one", "two"]).await, heard);
    assert_eq!(shown(&world, 2, &["one", "two"]).await, heard);
    world.stop().await;
}
