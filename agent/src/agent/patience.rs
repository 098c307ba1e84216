//! Patience with clients that do not read what they asked for.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A connection that fails when what is to be written does not get through within a time, however slowly it is read. The time
/// begins when the other end takes no more, and ends when everything is through.
pub(super) struct Patient<S> {
    stream: S,
    limit: Duration,
    /// Running while something waits.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, waiting: None }
    }

    /// What becomes of a step that may have to wait.
    fn watch<T>(&mut self, cx: &mut Context<'_>, step: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if step.is_ready() {
            return step;
        }
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(limit)));
        waiting.as_mut().poll(cx).map(|()| Err(ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let step = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, step)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let step = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, step)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Who writes flushes when everything was written: what waited is through.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let step = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(step, Poll::Ready(Ok(()))) {
            self.waiting = None;
        }
        self.watch(cx, step)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let step = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, step)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// Time passes by itself as soon as nothing else is to be done.
    fn run<T>(what: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(what)
    }

    const LIMIT: Duration = Duration::from_millis(50);

    #[test]
    fn gives_up_on_who_reads_nothing() {
        run(async {
            let (here, _there) = duplex(16);
            let mut here = Patient::new(here, LIMIT);
            let written = here.write_all(&[0; 17]).await.map_err(|e| e.kind());
            assert_eq!(written, Err(ErrorKind::TimedOut));
        });
    }

    #[test]
    fn gives_up_on_who_reads_byte_by_byte() {
        run(async {
            let (here, mut there) = duplex(16);
            let mut here = Patient::new(here, LIMIT);
            let slowly = async move {
                while there.read_u8().await.is_ok() {
                    sleep(LIMIT / 4).await;
                }
            };
            let (written, ()) =
                tokio::join!(async move { here.write_all(&[0; 1000]).await.map_err(|e| e.kind()) }, slowly);
            assert_eq!(written, Err(ErrorKind::TimedOut));
        });
    }

    #[test]
    fn an_answer_that_is_read_leaves_all_the_time_for_the_next() {
        run(async {
            let (here, mut there) = duplex(16);
            let mut here = Patient::new(here, LIMIT);
            for _ in 0..3 {
                let (written, read) = tokio::join!(
                    async {
                        here.write_all(&[0; 17]).await?;
                        here.flush().await
                    },
                    async {
                        sleep(LIMIT / 2).await;
                        there.read_exact(&mut [0; 17]).await
                    }
                );
                assert_eq!((written.map_err(|e| e.kind()), read.map_err(|e| e.kind())), (Ok(()), Ok(17)));
                assert!(here.waiting.is_none());
            }
        });
    }
}
