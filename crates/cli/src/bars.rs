//! Progress for people: a bar for each part of the work, on a terminal; nothing elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar of so many steps, on standard error.
pub(crate) fn bar(steps: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:>24} [{bar:40}] {human_pos}/{human_len} {elapsed}");
    let style = style.expect("the template is well-formed").progress_chars("=> ");
    // Drawn only if standard error is a terminal.
    ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr()).with_style(style).with_message(what)
}

/// A bar that fills by itself in that time.
pub(crate) async fn fill(time: Duration, what: &'static str) {
    let bar = bar(time.as_secs(), what);
    for _ in 0..time.as_secs() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        bar.inc(1);
    }
    bar.finish_and_clear();
}
