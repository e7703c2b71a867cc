//! Logs, on standard error: for people or as JSON, one line an event, written by a thread of its own.
//!
//! What is logged may hold what strangers chose (nicks, paths), so no control character reaches the terminal: see [`escape`].

mod escape;
mod queue;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use guildhall_node::AUDIT;
use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Metadata};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

use escape::escape_controls;
use queue::{Queue, Sort};

pub(crate) use queue::Lost;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people: time, level, origin, message, fields
    Human,
    /// For programs: one JSON object a line
    Json,
}

/// From which importance on events are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// Nothing
    Off,
    /// What failed
    Error,
    /// Also what should not be
    Warn,
    /// Also changes of state
    Info,
    /// Also their reasons
    Debug,
    /// All there is
    Trace,
}

/// Logging under way. Ends with [`Logs::finish`].
pub(crate) struct Logs {
    queue: Arc<Queue>,
    format: Format,
}

impl Logs {
    /// Begins to log to standard error, for the whole process.
    ///
    /// # Errors
    /// If the writing thread cannot be started, or something else has begun to log.
    pub(crate) fn start(format: Format, level: Level) -> anyhow::Result<Self> {
        let queue = Queue::start(io::stderr())?;
        let lines = Lines { queue: Arc::clone(&queue), format, sort: Sort::Other };
        tracing::dispatcher::set_global_default(dispatch(format, level, lines))?;
        Ok(Self { queue, format })
    }

    /// Lines that are lost, as they are counted on.
    pub(crate) fn lost(&self) -> Lost {
        self.queue.lost().clone()
    }

    /// Has what is queued written, waiting at most [`FINISH_WAIT`], and says how many lines were lost, if any were.
    pub(crate) fn finish(self) {
        self.queue.finish(FINISH_WAIT);
        let (audit, other) = self.queue.lost().counts();
        let lost = audit + other;
        if lost > 0 {
            let line = match self.format {
                Format::Human => format!("{lost} log lines were dropped, {audit} of them of what operators did"),
                Format::Json => {
                    serde_json::json!({"level": "WARN", "dropped_lines": lost, "dropped_audit_lines": audit})
                        .to_string()
                }
            };
            // There is nobody left to tell if this fails.
            drop(writeln!(io::stderr(), "{line}"));
        }
    }
}

/// Makes the lines, out of events of at least that level, and of what operators do.
fn dispatch(format: Format, level: Level, lines: Lines) -> Dispatch {
    let level_of = match level {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let mut filter = Targets::new().with_default(level_of);
    if level != Level::Off {
        filter = filter.with_target(AUDIT, level_of.max(LevelFilter::INFO));
    }
    // Without colours: they are control characters, and all of those are escaped.
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_max_level(LevelFilter::TRACE).with_writer(lines);
    match format {
        Format::Human => Dispatch::new(subscriber.finish().with(filter)),
        Format::Json => Dispatch::new(subscriber.json().flatten_event(true).finish().with(filter)),
    }
}

/// Takes finished lines from the formatter, which writes each event with one call.
#[derive(Clone)]
struct Lines {
    queue: Arc<Queue>,
    format: Format,
    sort: Sort,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Self {
        let sort = if event.target() == AUDIT { Sort::Audit } else { Sort::Other };
        Self { sort, ..self.clone() }
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.queue.push(self.sort, escape_controls(line, self.format));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How long the end of the process waits for log lines to be taken by whoever reads standard error.
const FINISH_WAIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::mpsc;

    use super::*;

    /// A nick that would colour the terminal (in 7 and in 8 bits), erase the line, and forge another.
    const HOSTILE: &str = "ada\u{1b}[31m\u{9b}2K\u{7f}\r\n\t\u{0}WARN forged \u{e9}";

    #[derive(Debug)]
    struct Cause;

    impl fmt::Display for Cause {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(HOSTILE)
        }
    }

    impl std::error::Error for Cause {}

    /// What is written, as `format` and from `level` on, of what happens.
    fn written(format: Format, level: Level, happens: impl FnOnce()) -> String {
        let (sink, written) = mpsc::channel();
        let queue = Queue::start(queue::tests::Channel(sink)).unwrap();
        let lines = Lines { queue: Arc::clone(&queue), format, sort: Sort::Other };
        tracing::dispatcher::with_default(&dispatch(format, level, lines), happens);
        queue.finish(FINISH_WAIT);
        assert_eq!(queue.lost().counts(), (0, 0));
        drop(queue);
        String::from_utf8(written.iter().flatten().collect()).unwrap()
    }

    /// What is written of one event that holds a hostile nick wherever one can stand.
    fn logged(format: Format) -> String {
        written(format, Level::Info, || {
            let _span = tracing::info_span!("span", spanned = HOSTILE).entered();
            let cause: &dyn std::error::Error = &Cause;
            tracing::info!(text = HOSTILE, shown = %HOSTILE, debugged = ?HOSTILE, cause, "says {HOSTILE}");
            tracing::debug!("not asked for");
        })
    }

    #[test]
    fn what_operators_do_is_logged_from_whichever_importance_on() {
        let happens = || {
            tracing::info!(target: AUDIT, "on record");
            tracing::info!("asked for or not");
        };
        for (level, lines) in
            [(Level::Off, 0), (Level::Error, 1), (Level::Warn, 1), (Level::Info, 2), (Level::Trace, 2)]
        {
            let written = written(Format::Json, level, happens);
            assert_eq!((written.lines().count(), written.contains("on record")), (lines, lines > 0), "{level:?}");
        }
    }

    #[test]
    fn lines_of_what_operators_do_are_counted_apart() {
        let (sink, written) = mpsc::channel();
        drop(written);
        let queue = Queue::start(queue::tests::Channel(sink)).unwrap();
        let lines = Lines { queue: Arc::clone(&queue), format: Format::Json, sort: Sort::Other };
        tracing::dispatcher::with_default(&dispatch(Format::Json, Level::Info, lines), || {
            tracing::info!(target: AUDIT, "on record");
            tracing::info!("something else");
            tracing::info!("something else");
        });
        queue.finish(FINISH_WAIT);
        assert_eq!(queue.lost().counts(), (1, 2), "the sink takes nothing");
    }

    #[test]
    fn no_control_character_of_a_nick_reaches_the_terminal() {
        for format in [Format::Human, Format::Json] {
            let line = logged(format);
            let line = line.strip_suffix('\n').unwrap();
            assert!(!line.contains(char::is_control), "{format:?}: {line:?}");
            assert!(line.contains('\u{e9}'), "{format:?}: letters stay: {line}");
            // Fields, span and message are all there.
            assert!(line.matches("forged").count() >= 6, "{format:?}: {line}");
        }
    }

    #[test]
    fn a_json_line_still_means_what_was_logged() {
        let line: serde_json::Value = serde_json::from_str(&logged(Format::Json)).unwrap();
        assert_eq!(line["text"], HOSTILE);
        assert_eq!(line["shown"], HOSTILE);
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["span"]["spanned"], HOSTILE);
    }
}
