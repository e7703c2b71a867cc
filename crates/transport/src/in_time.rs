//! Waiting for no longer than until then, with no timer where there is nothing to wait for.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tokio::time::{Instant, timeout_at};

/// What that comes to; `None` if it has not come to it by the deadline, if there is one. Of what is ready at once, as most that is asked of a link is, neither a timer is made nor the
/// clock read. It stays where it is pinned: a future that is handed on by value is kept twice by whoever awaits it.
pub async fn in_time<F: Future + Unpin>(
    deadline: impl FnOnce() -> Option<Instant>,
    mut future: F,
) -> Option<F::Output> {
    match poll_fn(|context| Poll::Ready(Pin::new(&mut future).poll(context))).await {
        Poll::Ready(output) => Some(output),
        Poll::Pending => match deadline() {
            Some(deadline) => timeout_at(deadline, future).await.ok(),
            None => Some(future.await),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::pin::pin;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_ready_needs_no_time_and_what_is_not_is_given_up_when_its_time_is_over() {
        let never = || -> Option<Instant> { panic!("the clock is not asked") };
        assert_eq!(in_time(never, ready(1)).await, Some(1));
        let begin = Instant::now();
        let deadline = begin + Duration::from_secs(3);
        assert_eq!(in_time(|| Some(deadline), pending::<()>()).await, None);
        assert_eq!(Instant::now(), deadline);
        let later = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            2
        };
        assert_eq!(in_time(|| None, pin!(later)).await, Some(2));
    }
}
